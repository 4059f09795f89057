//! A containerd of the node's own: private root, state and socket below the kubelet's root.
//! It outlives the kubelet, so that containers do; a restarted kubelet finds it again by
//! its socket. It is started in a session of its own and inherits the kubelet's network
//! namespace: that is how several nodes live on one machine.

use crate::settings::Settings;
use anyhow::{Context, bail};
use fluyt_cri::{Client, StatusRequest, VersionRequest};
use nix::sys::prctl::{get_thp_disable, set_thp_disable};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel's limit on a unix socket's path, less a terminating zero.
const SOCKET_PATH_LIMIT: usize = 107;
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Where CNI plugins are looked for.
const CNI_DIRECTORIES: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// Where the private containerd keeps things.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub root: PathBuf,
    pub state: PathBuf,
    pub socket: PathBuf,
    pub cni_conf: PathBuf,
    pub pidfile: PathBuf,
}

impl Layout {
    /// Below the kubelet's root, except for the state when the socket's path would be too long.
    pub fn new(settings: &Settings) -> Self {
        Self::of(&settings.root)
    }

    fn of(kubelet_root: &Path) -> Self {
        let root = kubelet_root.join("containerd");
        let inside = root.join("run");
        let state = if inside.join("containerd.sock.ttrpc").as_os_str().len() <= SOCKET_PATH_LIMIT {
            inside
        } else {
            PathBuf::from("/run/fluyt").join(crate::settings::short_id(kubelet_root))
        };
        Self {
            socket: state.join("containerd.sock"),
            pidfile: state.join("containerd.pid"),
            cni_conf: kubelet_root.join("cni/net.d"),
            root,
            state,
        }
    }
}

/// The socket of the private containerd of a kubelet with that root directory.
pub fn socket_of(kubelet_root: &Path) -> anyhow::Result<PathBuf> {
    let root =
        std::path::absolute(kubelet_root).with_context(|| kubelet_root.display().to_string())?;
    let socket = Layout::of(&root).socket;
    if !socket.exists() {
        bail!(
            "no kubelet with the root directory {} has a running containerd",
            root.display()
        );
    }
    Ok(socket)
}

/// Finds or starts the private containerd; answers once it serves CRI.
pub(crate) async fn ensure(settings: &Settings, sandbox_image: &str) -> anyhow::Result<Client> {
    let layout = Layout::new(settings);
    let client = Client::new(&layout.socket.to_string_lossy());
    if serves(&client).await {
        tracing::info!(socket = %layout.socket.display(), "adopted the running containerd");
        return Ok(client);
    }
    start(&layout, sandbox_image)?;
    let deadline = Instant::now() + START_TIMEOUT;
    let mut pause = Duration::from_millis(5);
    // The one wait that nothing can announce: a process that opens its socket.
    while !serves(&client).await {
        if Instant::now() > deadline {
            bail!(
                "containerd did not serve {} within {START_TIMEOUT:?}; see {}",
                layout.socket.display(),
                log_path(&layout).display()
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(client)
}

async fn serves(client: &Client) -> bool {
    client.socket().exists()
        && client.version(VersionRequest::default()).await.is_ok()
        && client.status(StatusRequest::default()).await.is_ok()
}

fn log_path(layout: &Layout) -> PathBuf {
    layout.root.join("containerd.log")
}

fn start(layout: &Layout, sandbox_image: &str) -> anyhow::Result<()> {
    for directory in [&layout.root, &layout.state, &layout.cni_conf] {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    // A socket whose server is gone would only refuse connections.
    let _ = std::fs::remove_file(&layout.socket);
    let config = layout.root.join("config.toml");
    let cgroup_free = !has_sys_resource();
    std::fs::write(
        &config,
        config_text(layout, sandbox_image, &cni_directory(), cgroup_free),
    )
    .with_context(|| config.display().to_string())?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_path(layout))
        .with_context(|| log_path(layout).display().to_string())?;
    let errors = log.try_clone().context("containerd's log")?;
    let mut command = Command::new("containerd");
    command
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0);
    let child = with_huge_pages(|| command.spawn()).context(
        "cannot start containerd (is it installed? --container-runtime-endpoint names a running one)",
    )?;
    std::fs::write(&layout.pidfile, child.id().to_string())
        .with_context(|| layout.pidfile.display().to_string())?;
    tracing::info!(pid = child.id(), socket = %layout.socket.display(), "started containerd");
    reap(child);
    Ok(())
}

/// Our process does without huge pages, and children inherit that; whether containers use them is for these to decide.
fn with_huge_pages<T>(spawn: impl FnOnce() -> T) -> T {
    let without = get_thp_disable().unwrap_or(false);
    if without {
        let _ = set_thp_disable(false);
    }
    let spawned = spawn();
    if without {
        let _ = set_thp_disable(true);
    }
    spawned
}

/// Waits for the child in a thread of its own, so that it never stays a zombie.
fn reap(mut child: std::process::Child) {
    std::thread::spawn(move || {
        if let Ok(status) = child.wait() {
            tracing::warn!(%status, "containerd ended");
        }
    });
}

/// The first directory with the bridge plugin.
pub(crate) fn cni_directory() -> PathBuf {
    CNI_DIRECTORIES
        .iter()
        .map(Path::new)
        .find(|directory| directory.join("bridge").exists())
        .unwrap_or(Path::new("/opt/cni/bin"))
        .to_owned()
}

/// Whether oom_score_adj can be lowered: CAP_SYS_RESOURCE, bit 24 of the effective set.
fn has_sys_resource() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << 24) != 0)
}

fn config_text(layout: &Layout, sandbox_image: &str, cni_bin: &Path, restrict_oom: bool) -> String {
    let cri = "io.containerd.grpc.v1.cri";
    let (root, state) = (layout.root.display(), layout.state.display());
    let (socket, conf, bin) = (
        layout.socket.display(),
        layout.cni_conf.display(),
        cni_bin.display(),
    );
    format!(
        r#"# Written by the kubelet at each start; changes are lost.
version = 2
root = "{root}"
state = "{state}"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.nri.v1.nri",
]
[grpc]
  address = "{socket}"
[debug]
  level = "warn"
[plugins."{cri}"]
  sandbox_image = "{sandbox_image}"
  restrict_oom_score_adj = {restrict_oom}
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  stats_collect_period = 86400
  max_container_log_line_size = 16384
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
[plugins."{cri}".cni]
  bin_dir = "{bin}"
  conf_dir = "{conf}"
[plugins."{cri}".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."{cri}".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."{cri}".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{state}/runc"
[plugins."{cri}".registry]
  config_path = "{root}/certs.d"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_root_keeps_its_socket_short() {
        let settings = |root: &str| {
            let mut settings = crate::settings::tests_support::settings();
            settings.root = PathBuf::from(root);
            settings
        };
        let short = Layout::new(&settings("/var/lib/kubelet"));
        assert_eq!(
            short.socket,
            Path::new("/var/lib/kubelet/containerd/run/containerd.sock")
        );
        let long = Layout::new(&settings(&format!("/tmp/{}", "x".repeat(100))));
        assert!(long.socket.starts_with("/run/fluyt"));
        assert!(long.socket.as_os_str().len() < SOCKET_PATH_LIMIT);
    }
}
