//! Starting and ending a server. Invariant: when `start` returns, the ports are bound; when `ready` returns, the
//! bootstrap objects are stored; when `wait` returns, nothing that was started is left.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fluyt_store::{EtcdTls, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Chain;
use crate::alloc::Allocators;
use crate::authn::{Authenticator, User};
use crate::authz::Authorizer;
use crate::bootstrap::Health;
use crate::bootstrap::objects::{self, Endpoint};
use crate::core::Core;
use crate::dispatch::Peer;
use crate::feeds;
use crate::kubelet::KubeletClient;
use crate::metrics::Metrics;
use crate::options::{Options, Storage};
use crate::server::listener::{self, Server};
use crate::server::{tls, transport::Transport};
use crate::stored;
use crate::views::Views;
use crate::watch::hub::Hubs;

/// Requests that are under way at shutdown get this long.
const DRAIN: Duration = Duration::from_secs(3);

/// A started server.
pub struct Running {
    core: Arc<Core>,
    secure: Option<SocketAddr>,
    insecure: Option<SocketAddr>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

fn store_options(relaxed: bool) -> fluyt_store::Options {
    fluyt_store::Options {
        splice: stored::splice,
        relaxed,
        ..Default::default()
    }
}

/// Opens the embedded store of a data directory as the API server does.
pub async fn open_embedded(directory: &Path) -> anyhow::Result<Arc<dyn Store>> {
    Ok(fluyt_store::embedded(directory, &store_options(true)).await?)
}

/// Opens an etcd cluster as the API server does, without TLS.
pub async fn open_etcd(endpoints: &[String]) -> anyhow::Result<Arc<dyn Store>> {
    Ok(fluyt_store::etcd(endpoints, None, "/registry/", &store_options(false)).await?)
}

async fn open(options: &Options) -> anyhow::Result<Arc<dyn Store>> {
    let store_options = store_options(options.relaxed_durability);
    match options.storage() {
        Storage::Memory => Ok(fluyt_store::memory(store_options)),
        Storage::Embedded => fluyt_store::embedded(&options.data_dir, &store_options)
            .await
            .with_context(|| format!("--data-dir {}", options.data_dir.display())),
        Storage::Etcd => {
            anyhow::ensure!(
                options.etcd_prefix.trim_end_matches('/') == "/registry",
                "--etcd-prefix: only /registry is supported"
            );
            let tls = etcd_tls(options)?;
            fluyt_store::etcd(
                &options.etcd_servers,
                tls.as_ref(),
                "/registry/",
                &store_options,
            )
            .await
            .with_context(|| format!("--etcd-servers {}", options.etcd_servers.join(",")))
        }
    }
}

fn etcd_tls(options: &Options) -> anyhow::Result<Option<EtcdTls>> {
    let read = |path: &std::path::PathBuf, flag: &str| {
        std::fs::read(path).with_context(|| format!("--{flag} {}", path.display()))
    };
    let ca = match &options.etcd_cafile {
        Some(path) => Some(read(path, "etcd-cafile")?),
        None => None,
    };
    let identity = match (&options.etcd_certfile, &options.etcd_keyfile) {
        (Some(certificate), Some(key)) => Some((
            read(certificate, "etcd-certfile")?,
            read(key, "etcd-keyfile")?,
        )),
        (None, None) => None,
        _ => anyhow::bail!("--etcd-certfile and --etcd-keyfile belong together"),
    };
    Ok((ca.is_some() || identity.is_some()).then_some(EtcdTls { ca, identity }))
}

/// Starts a server and returns when its ports are bound.
pub async fn start(options: Options, shutdown: CancellationToken) -> anyhow::Result<Running> {
    anyhow::ensure!(
        options.secure_port != 0
            || options.insecure_port != 0
            || options.any_secure_port
            || options.any_insecure_port
            || options.in_process_only,
        "--secure-port and --insecure-port are both 0: nobody could reach this server"
    );
    let allocators = Allocators::new(&options)?;
    let service_ip = allocators.first_ip();
    let authenticator = Authenticator::new(&options)?;
    let authorizer = Arc::new(Authorizer::new(&options.authorization_modes())?);
    let admission = Chain::new(&options)?;
    let kubelet = KubeletClient::new(&options)?;
    let secure = bind_secure(&options, service_ip).await?;
    let insecure = bind_insecure(&options).await?;
    let store = open(&options).await?;
    let core = Arc::new(Core {
        hubs: Hubs::new(store.clone(), shutdown.clone()),
        views: Views::for_store(&*store),
        store,
        authenticator,
        authorizer,
        admission,
        allocators,
        kubelet,
        metrics: Metrics::new(),
        health: Health::default(),
        options,
        reading: Default::default(),
        writing: Default::default(),
        shutdown: shutdown.clone(),
    });
    let mut running = Running {
        core: core.clone(),
        secure: None,
        insecure: None,
        shutdown: shutdown.clone(),
        tasks: TaskTracker::new(),
    };
    for (listener, tls) in secure {
        let address = listener.local_addr()?;
        running.secure.get_or_insert(address);
        running.serve(listener, Some(tls));
    }
    if let Some(listener) = insecure {
        running.insecure = Some(listener.local_addr()?);
        running.serve(listener, None);
    }
    let endpoint = running.endpoint(service_ip);
    feeds::start(&core, &running.tasks).await?;
    objects::ensure(&core, &endpoint).await?;
    core.authorizer.wait_for_bootstrap(&core).await;
    let expiry = core.shutdown.clone();
    let expired = crate::expiry::run(core.clone());
    running.tasks.spawn(async move {
        expiry.run_until_cancelled(expired).await;
    });
    core.health.set_ready();
    tracing::info!(secure = ?running.secure, insecure = ?running.insecure, "the API server is ready");
    Ok(running)
}

type Secure = Vec<(tokio::net::TcpListener, tokio_rustls::TlsAcceptor)>;

async fn bind_secure(options: &Options, service_ip: IpAddr) -> anyhow::Result<Secure> {
    let mut listeners = Vec::new();
    if options.secure_port == 0 && !options.any_secure_port {
        return Ok(listeners);
    }
    let acceptor = tls::acceptor(options, Some(service_ip))?;
    let address = SocketAddr::new(options.bind_address, options.secure_port);
    let first = listener::bind(address, "secure-port").await?;
    let port = first.local_addr()?.port();
    listeners.push((first, acceptor.clone()));
    if !options.bind_address.is_unspecified() {
        for ip in &options.additional_bind_address {
            let address = SocketAddr::new(*ip, port);
            let more = listener::bind(address, "additional-bind-address").await?;
            listeners.push((more, acceptor.clone()));
        }
    }
    Ok(listeners)
}

async fn bind_insecure(options: &Options) -> anyhow::Result<Option<tokio::net::TcpListener>> {
    if options.insecure_port == 0 && !options.any_insecure_port {
        return Ok(None);
    }
    let address = SocketAddr::new(options.insecure_bind_address, options.insecure_port);
    let listener = listener::bind(address, "insecure-port").await?;
    tracing::warn!(
        address = %listener.local_addr()?,
        "serving without TLS, authentication and authorization: whoever reaches this address is the cluster's administrator, and others on the way can read and change everything"
    );
    Ok(Some(listener))
}

impl Running {
    fn serve(&self, listener: tokio::net::TcpListener, tls: Option<tokio_rustls::TlsAcceptor>) {
        let server = Server {
            core: self.core.clone(),
            listener,
            tls,
            shutdown: self.shutdown.clone(),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(server.run());
    }

    /// What the `kubernetes` service points to.
    fn endpoint(&self, service_ip: IpAddr) -> Endpoint {
        let options = &self.core.options;
        let (bound, scheme) = match (self.secure, self.insecure) {
            (Some(address), _) => (Some(address), "https"),
            (None, Some(address)) => (Some(address), "http"),
            (None, None) => (None, "https"),
        };
        // Loopback addresses would mean another machine to every client.
        let address = bound.and_then(|bound| {
            let candidates = options
                .advertise_address
                .into_iter()
                .chain(options.additional_bind_address.iter().copied())
                .chain([bound.ip()])
                .chain(outward_address());
            candidates
                .into_iter()
                .find(|ip| !ip.is_loopback() && !ip.is_unspecified())
                .map(|ip| SocketAddr::new(ip, bound.port()))
        });
        Endpoint {
            service_ip,
            address,
            scheme,
        }
    }

    pub fn secure_addr(&self) -> Option<SocketAddr> {
        self.secure
    }

    pub fn insecure_addr(&self) -> Option<SocketAddr> {
        self.insecure
    }

    /// Resolves when /readyz holds.
    pub async fn ready(&self) {
        self.core.health.wait().await;
    }

    /// A service for requests from within the process, as the given user.
    pub fn transport(&self, user: &str, groups: &[&str]) -> Transport {
        let groups = groups.iter().map(|group| (*group).to_owned());
        Transport {
            core: self.core.clone(),
            peer: Arc::new(Peer {
                user: Some(User::authenticated(user, groups)),
                unchecked: false,
            }),
        }
    }

    /// The store, for snapshots of a running server.
    pub fn store(&self) -> Arc<dyn Store> {
        self.core.store.clone()
    }

    /// Runs until shutdown, then ends everything that was started.
    pub async fn wait(self) -> anyhow::Result<()> {
        self.shutdown.cancelled().await;
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("requests that did not end in time are cut off");
        }
        self.core.store.close().await;
        Ok(())
    }
}

/// The address that packets to other networks leave from; nothing is sent to find out.
fn outward_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
