//! A kubelet of a test's own: private containerd, own network namespace, temporary root.
//! Everything it started is gone when the test ends, passed or not.
#![allow(dead_code, unreachable_pub)]

use clap::Parser;
use fluyt_cri::{
    Client as Cri, ListPodSandboxRequest, RemovePodSandboxRequest, StopPodSandboxRequest,
};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub const BUSYBOX: &str = "fluyt.local/busybox:1";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: fluyt_kubelet::Options,
}

/// A running kubelet.
pub struct Node {
    pub directory: tempfile::TempDir,
    pub cri: Cri,
    pub options: fluyt_kubelet::Options,
    client: kube::Client,
    shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

/// Runs a test in a network namespace of its own.
pub fn in_namespace<F, R>(test: F)
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = ()>,
{
    require_programs();
    let body = std::thread::spawn(move || {
        enter_namespace();
        run(
            "ip",
            &[
                "link", "add", "eth0", "type", "veth", "peer", "name", "eth1",
            ],
        );
        run("ip", &["link", "set", "eth1", "up"]);
        address("192.168.77.1/24");
        run("ip", &["route", "add", "default", "dev", "eth0"]);
        let runtime = runtime();
        runtime.block_on(test());
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    if let Err(panic) = body.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs two halves of a test in two namespaces joined by a cable: 192.168.78.1 and .2.
pub fn in_two_namespaces<F, R, G, S>(one: F, other: G)
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = ()>,
    G: FnOnce() -> S + Send + 'static,
    S: Future<Output = ()>,
{
    require_programs();
    let (send_thread, thread) = std::sync::mpsc::channel();
    let (send_joined, joined) = std::sync::mpsc::channel::<()>();
    let second = std::thread::spawn(move || {
        enter_namespace();
        send_thread.send(nix::unistd::gettid()).unwrap();
        joined.recv().unwrap();
        address("192.168.78.2/24");
        let runtime = runtime();
        runtime.block_on(other());
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    let first = std::thread::spawn(move || {
        enter_namespace();
        let other = thread.recv().unwrap().to_string();
        run(
            "ip",
            &[
                "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &other,
            ],
        );
        address("192.168.78.1/24");
        send_joined.send(()).unwrap();
        let runtime = runtime();
        runtime.block_on(one());
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    // Both have cleaned up before either's failure is reported.
    for result in [first.join(), second.join()] {
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Notifies when it is dropped: also after a failure.
pub struct Tell(pub std::sync::Arc<tokio::sync::Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn require_programs() {
    for program in ["containerd", "runc", "ctr", "busybox", "ip", "nft"] {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(program).exists())
        });
        assert!(
            found,
            "{program} is missing: these tests need containerd, runc, busybox, nftables and iproute2"
        );
    }
}

/// Threads that are born in this one inherit the namespace.
fn enter_namespace() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("a network namespace needs root");
    run("ip", &["link", "set", "lo", "up"]);
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn address(address: &str) {
    run("ip", &["addr", "add", address, "dev", "eth0"]);
    run("ip", &["link", "set", "eth0", "up"]);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program)
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// A client of an API server that is not there.
pub fn nowhere() -> kube::Client {
    kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap()
}

impl Node {
    /// Starts a kubelet with these further flags and imports busybox.
    pub async fn start(name: &str, client: kube::Client, flags: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("fk").tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(directory.path().join("manifests")).unwrap();
        let mut arguments = vec![
            "kubelet".to_owned(),
            format!("--root-dir={}", root.display()),
            format!(
                "--pod-manifest-path={}",
                directory.path().join("manifests").display()
            ),
            format!("--hostname-override={name}"),
            "--address=127.0.0.1".to_owned(),
            "--port=10250".to_owned(),
            "--healthz-port=0".to_owned(),
        ];
        if !flags.iter().any(|flag| flag.starts_with("--pod-cidr")) {
            arguments.push("--pod-cidr=10.77.0.0/24".to_owned());
        }
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let options = Command::parse_from(arguments).options;
        let socket = fluyt_kubelet::runtime_socket(&options).unwrap();
        let mut node = Self {
            directory,
            cri: Cri::new(&socket.to_string_lossy()),
            options,
            client,
            shutdown: CancellationToken::new(),
            task: None,
        };
        node.resume();
        let deadline = Instant::now() + Duration::from_secs(120);
        while node.cri.version(Default::default()).await.is_err() {
            assert!(Instant::now() < deadline, "containerd does not come up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let image = node.directory.path().join("busybox.tar");
        busybox_image(&image);
        fluyt_kubelet::import::import(&socket, &image)
            .await
            .unwrap();
        node
    }

    /// Starts the kubelet again after [`Node::stop`].
    pub fn resume(&mut self) {
        self.shutdown = CancellationToken::new();
        let run = fluyt_kubelet::run(
            self.options.clone(),
            self.client.clone(),
            self.shutdown.clone(),
        );
        self.task = Some(tokio::spawn(run));
    }

    /// Stops the kubelet; its containers go on.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap().unwrap();
        }
    }

    /// Kills the runtime's daemon as a crash would.
    pub fn kill_containerd(&self) {
        let pid = containerd_pid(self.cri.socket()).expect("containerd runs");
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Writes a static pod.
    pub fn manifest(&self, name: &str, text: &str) {
        let temporary = self.directory.path().join("manifest.tmp");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(
            temporary,
            self.directory.path().join("manifests").join(name),
        )
        .unwrap();
    }

    pub fn remove_manifest(&self, name: &str) {
        std::fs::remove_file(self.directory.path().join("manifests").join(name)).unwrap();
    }

    /// The containers of that name, newest first: (id, state).
    pub async fn containers(&self, name: &str) -> Vec<(String, i32)> {
        let mut list = self
            .cri
            .list_containers(Default::default())
            .await
            .unwrap()
            .containers;
        list.retain(|container| {
            container
                .metadata
                .as_ref()
                .is_some_and(|metadata| metadata.name == name)
        });
        list.sort_by_key(|container| std::cmp::Reverse(container.created_at));
        list.into_iter()
            .map(|container| (container.id, container.state))
            .collect()
    }

    /// Waits until a container of that name runs; its id.
    pub async fn running(&self, name: &str) -> String {
        let mut id = String::new();
        eventually(&format!("container {name} runs"), async || {
            let found = self
                .containers(name)
                .await
                .into_iter()
                .find(|(_, state)| *state == 1);
            found.is_some_and(|(found, _)| {
                id = found;
                true
            })
        })
        .await;
        id
    }

    /// What a command prints in a container.
    pub async fn exec(&self, id: &str, command: &str) -> String {
        let command = ["/bin/busybox", "sh", "-c", command]
            .map(str::to_owned)
            .to_vec();
        let answer = self.cri.exec_sync(id, command, 10).await.unwrap();
        String::from_utf8(answer.stdout).unwrap() + &String::from_utf8(answer.stderr).unwrap()
    }

    /// Ends everything; dropping does the same after a failure.
    pub async fn destroy(mut self) {
        self.stop().await;
    }
}

/// Removes every pod of a runtime.
async fn remove_pods(cri: Cri) {
    let Ok(list) = cri.list_pod_sandbox(ListPodSandboxRequest::default()).await else {
        return;
    };
    for sandbox in list.items {
        let stop = StopPodSandboxRequest {
            pod_sandbox_id: sandbox.id.clone(),
        };
        let _ = cri.stop_pod_sandbox(stop).await;
        let remove = RemovePodSandboxRequest {
            pod_sandbox_id: sandbox.id,
        };
        let _ = cri.remove_pod_sandbox(remove).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let socket = self.cri.socket().to_string_lossy().into_owned();
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let _ =
                    tokio::time::timeout(Duration::from_secs(120), remove_pods(Cri::new(&socket)))
                        .await;
            });
        });
        let _ = cleaner.join();
        let Some(state) = self.cri.socket().parent().map(Path::to_owned) else {
            return;
        };
        if let Some(pid) = containerd_pid(self.cri.socket()) {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(5);
            while nix::sys::signal::kill(pid, None).is_ok() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        unmount_below(self.directory.path());
        unmount_below(&state);
        remove_cgroups(
            fluyt_kubelet::cgroup_root(&self.options)
                .unwrap()
                .trim_start_matches('/'),
        );
        if state.starts_with("/run/fluyt") {
            let _ = std::fs::remove_dir_all(&state);
        }
    }
}

fn containerd_pid(socket: &Path) -> Option<nix::unistd::Pid> {
    let text = std::fs::read_to_string(socket.with_extension("pid")).ok()?;
    text.trim().parse().ok().map(nix::unistd::Pid::from_raw)
}

/// Removes a cgroup and those in it, in every hierarchy.
fn remove_cgroups(name: &str) {
    fn remove(directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                remove(&entry.path());
            }
        }
        let _ = std::fs::remove_dir(directory);
    }
    remove(&Path::new("/sys/fs/cgroup").join(name));
    for entry in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        let directory = entry.path().join(name);
        if directory.is_dir() {
            remove(&directory);
        }
    }
}

fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    points.retain(|point| Path::new(point).starts_with(directory));
    points.reverse();
    for point in points {
        let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// An image with nothing but busybox and its names.
fn busybox_image(path: &Path) {
    let rootfs = tempfile::tempdir().unwrap();
    let bin = rootfs.path().join("bin");
    for name in ["bin", "tmp", "etc", "root"] {
        std::fs::create_dir(rootfs.path().join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for name in [
        "sh", "sleep", "cat", "echo", "ls", "httpd", "wget", "true", "false", "env", "id", "touch",
        "stat", "date", "hostname", "mount", "nc", "tail", "head", "printf", "grep", "wc",
    ] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let config = fluyt_image::Config {
        name: BUSYBOX.to_owned(),
        command: vec!["/bin/sh".to_owned()],
        environment: vec!["PATH=/bin".to_owned()],
        ..Default::default()
    };
    fluyt_image::build(rootfs.path(), &config, std::fs::File::create(path).unwrap()).unwrap();
}

/// Waits for a condition, at most two minutes.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition().await {
        assert!(Instant::now() < deadline, "did not come true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A WebSocket over TLS whose certificate is not checked; and the protocol agreed on.
pub async fn websocket(
    authority: &str,
    path: &str,
    protocol: &str,
) -> (
    tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>,
    String,
) {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(Anything))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    let mut request = format!("wss://{authority}{path}")
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    let (socket, answer) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let agreed = answer
        .headers()
        .get("Sec-WebSocket-Protocol")
        .map(|value| value.to_str().unwrap().to_owned());
    (socket, agreed.unwrap_or_default())
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
