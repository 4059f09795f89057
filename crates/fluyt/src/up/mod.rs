//! `fluyt up`: a whole cluster on this machine. The control plane runs in this process and meets itself only through the API
//! (over an in-process transport); so does the node that uses the machine's network, over TLS. Nodes with a network namespace are
//! child processes.
//!
//! Life cycle: lock the data directory → keys → API server → `ready` → scheduler and controllers → nodes → wait for a signal →
//! stop nodes and their containers → stop the control plane. All of it resumes from what a former run left.

mod control_plane;
mod detach;
pub mod down;
mod identity;
mod kubelet_here;
mod kubelet_process;
mod layout;
mod network;
mod nodes;
mod pod_routes;
mod progress;
mod state;
pub mod status;
mod teardown;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Args;

use crate::{logging, signals};
pub use layout::{Layout, default_data_dir};
use progress::Progress;
pub use state::State;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # One node, in the foreground
  fluyt up

  # Two nodes in the background
  fluyt up --nodes 2 --detach

  # A test API server with scheduler and controllers, on a free port
  fluyt up --nodes 0 --data-dir /tmp/test --secure-port 0")]
pub struct Options {
    /// Where everything is kept; a second `up` on it resumes
    #[arg(long, value_name = "DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,
    /// Nodes to run: 1 uses the machine's network, more get a network namespace each, 0 is a control plane alone
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub nodes: usize,
    /// The address that the API server listens on (and, with private nodes, their bridge's too)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind_address: IpAddr,
    /// The API server's TLS port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub secure_port: u16,
    /// Return when the cluster runs, and leave it running
    #[arg(long)]
    pub detach: bool,
    /// Give even a single node a network namespace of its own
    #[arg(long)]
    pub private_network: bool,
    /// Addresses of services
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: String,
    /// Addresses of pods; each node gets a /24 of it (default: 10.244.0.0/16, or with private nodes the next that is free)
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Option<String>,
    /// Keep the objects in etcd instead of the data directory
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// How long a node may be silent before it is NotReady
    #[arg(long, value_name = "DURATION", default_value = "50s")]
    pub node_monitor_grace_period: String,
    /// The CRI socket of a container runtime that runs already; without it each node starts its own containerd
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// For measurements: no controllers, and the scheduler pauses on SIGUSR1 and resumes on SIGUSR2
    #[arg(long, hide = true)]
    pub scheduler_only: bool,
}

impl Options {
    fn cluster_cidr(&self) -> &str {
        self.cluster_cidr.as_deref().unwrap_or("10.244.0.0/16")
    }

    /// Whether nodes live in namespaces joined by a bridge.
    fn private_nodes(&self) -> bool {
        self.nodes > 1 || (self.nodes == 1 && self.private_network)
    }
}

pub fn run(options: Options, started: Instant) -> anyhow::Result<ExitCode> {
    if options.detach {
        return detach::run(&options);
    }
    detach::become_session_leader();
    let layout = Layout::new(&options.data_dir)?;
    let lock = state::lock(&layout)?;
    logging::to_file(&layout.log("fluyt"))
        .with_context(|| format!("cannot write logs to {}", layout.log("fluyt").display()))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(cluster(options, layout, started));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    drop(lock);
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn cluster(mut options: Options, layout: Layout, started: Instant) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let progress = Progress::new();
    let mut state = State::load_or_new(&layout, &options)?;
    let network = match options.private_nodes() {
        true => {
            let wish = options.cluster_cidr.as_deref();
            let network = network::ensure(&mut state, options.nodes, wish)?;
            options.cluster_cidr.clone_from(&state.pod_range);
            Some(network)
        }
        false => None,
    };
    let identity = identity::prepare(&layout, &options, network.as_ref())?;
    progress.step("starting the API server");
    let plane = control_plane::start(&options, &layout, &identity, network.as_ref()).await?;
    state.server = plane.server.clone();
    state.save(&layout)?;
    identity.write_admin(&layout, &plane.server)?;
    // The interface of this line is fixed: scripts and tests wait for it.
    progress.ready(started.elapsed());
    let mut nodes = nodes::start(&options, &layout, &identity, network.as_ref(), &plane).await?;
    let routes = async {
        match &network {
            Some(network) => pod_routes::keep(&plane.admin, network).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        outcome = live(&options, &layout, &progress, &plane, &mut nodes, &shutdown) => outcome,
        () = routes => Err(anyhow::anyhow!("the watch of nodes ended")),
    };
    progress.step("stopping");
    nodes.stop(&layout).await;
    plane.stop().await;
    progress.finish("stopped");
    outcome
}

/// From ready to the signal (or to a failure of the control plane).
async fn live(
    options: &Options,
    layout: &Layout,
    progress: &Progress,
    plane: &control_plane::ControlPlane,
    nodes: &mut nodes::Nodes,
    shutdown: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    let serve = async {
        nodes::wait_ready(&plane.admin, options.nodes, progress).await?;
        progress.running(&status::summary(layout, &plane.server, options.nodes));
        detach::let_go(layout)?;
        nodes.supervise().await
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        outcome = serve => outcome,
        outcome = plane.failed() => outcome,
    }
}
