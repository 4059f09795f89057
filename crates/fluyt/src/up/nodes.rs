//! The nodes of `up`: a kubelet each, started again when it ends by itself. Nodes with a network namespace of their own are
//! processes of their own (`kubelet_process`); the one that uses the machine's network runs in this process (`kubelet_here`).

use std::time::Duration;

use fluyt_client::backoff::Backoff;
use fluyt_client::informer::{Event, Slim, Source, watch};
use fluyt_client::kube::Client;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Deserialize;

use super::control_plane::ControlPlane;
use super::identity::Identity;
use super::kubelet_here::Here;
use super::kubelet_process::Process;
use super::network::Network;
use super::progress::Progress;
use super::{Layout, Options, teardown};

/// How long the nodes may take to be Ready before `up` gives up waiting (the cluster goes on).
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long a kubelet has to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_millis(1500);

pub struct Nodes {
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    kubelet: Kubelet,
}

enum Kubelet {
    Process(Process),
    Here(Here),
}

pub async fn start(
    options: &Options,
    layout: &Layout,
    identity: &Identity,
    network: Option<&Network>,
    plane: &ControlPlane,
) -> anyhow::Result<Nodes> {
    let mut nodes = Vec::with_capacity(options.nodes);
    for index in 1..=options.nodes {
        let name = name(options, index);
        let (address, server) = match network {
            Some(network) => (
                network.address(index),
                format!("https://{}:{}", network.gateway(), plane.port),
            ),
            None => (machine_address()?, plane.server.clone()),
        };
        identity.write_node(layout, &name, &address, &server)?;
        let flags = flags(options, layout, &name, &address);
        let kubelet = match network {
            Some(network) => {
                let (namespace, log) = (network.namespace_path(index), layout.log(&name));
                Kubelet::Process(Process::start(&namespace, flags, log)?)
            }
            None => Kubelet::Here(Here::start(flags)),
        };
        nodes.push(Node { name, kubelet });
    }
    Ok(Nodes { nodes })
}

/// Private nodes are node1, node2 ...; the one on the machine's network has the machine's name.
fn name(options: &Options, index: usize) -> String {
    if options.private_nodes() {
        return format!("node{index}");
    }
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .map_or_else(|| "node1".to_owned(), |name| name.to_lowercase())
}

/// The address of this machine towards its default route; loopback where there is no network.
fn machine_address() -> anyhow::Result<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // Connecting a datagram socket sends nothing; it only asks the routing table. 192.0.2.1 is a documentation address.
    let address = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    Ok(address.map_or_else(
        |_| "127.0.0.1".to_owned(),
        |address| address.ip().to_string(),
    ))
}

/// The kubelet's flags, the same at each start.
fn flags(options: &Options, layout: &Layout, name: &str, address: &str) -> Vec<String> {
    let node = layout.node(name);
    let file = |name: &str| node.join(name).display().to_string();
    let mut flags = vec![
        format!("--kubeconfig={}", file("kubeconfig")),
        format!("--hostname-override={name}"),
        format!("--node-ip={address}"),
        format!("--root-dir={}", node.display()),
        format!("--cgroup-root=/fluyt-{}/{name}", layout.tag()),
        format!("--tls-cert-file={}", file("serving.crt")),
        format!("--tls-private-key-file={}", file("serving.key")),
        format!("--client-ca-file={}", layout.pki().join("ca.crt").display()),
        format!("--cluster-cidr={}", options.cluster_cidr()),
        "--anonymous-auth=false".into(),
        "--authorization-mode=Webhook".into(),
    ];
    if let Some(socket) = &options.container_runtime_endpoint {
        flags.push(format!("--container-runtime-endpoint={socket}"));
    }
    flags
}

impl Node {
    /// Runs until the caller stops listening: a kubelet that ends is started again, later each time.
    async fn supervise(&mut self) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        loop {
            let started = std::time::Instant::now();
            let end = match &mut self.kubelet {
                Kubelet::Process(process) => process.ended().await?,
                Kubelet::Here(here) => here.ended().await,
            };
            if started.elapsed() > Duration::from_secs(60) {
                backoff.reset();
            }
            tracing::warn!(
                "the kubelet of {} ended ({end}); it is started again",
                self.name
            );
            tokio::time::sleep(backoff.next_delay()).await;
            match &mut self.kubelet {
                Kubelet::Process(process) => process.start_again()?,
                Kubelet::Here(here) => here.start_again(),
            }
        }
    }

    async fn stop(&mut self) {
        match &mut self.kubelet {
            Kubelet::Process(process) => process.stop(STOP_LIMIT).await,
            Kubelet::Here(here) => here.stop(STOP_LIMIT).await,
        }
    }
}

impl Nodes {
    pub async fn supervise(&mut self) -> anyhow::Result<()> {
        if self.nodes.is_empty() {
            return std::future::pending().await;
        }
        let mut watched: FuturesUnordered<_> = self.nodes.iter_mut().map(Node::supervise).collect();
        // A node that cannot even be started again is reported; the others go on.
        while let Some(outcome) = watched.next().await {
            if let Err(error) = outcome {
                tracing::error!("a node is lost: {error:#}");
            }
        }
        std::future::pending().await
    }

    /// Kubelets first, so that they do not restart what is then stopped: the containers, and the nodes' container runtimes.
    pub async fn stop(&mut self, layout: &Layout) {
        futures::future::join_all(self.nodes.iter_mut().map(Node::stop)).await;
        let layout = layout.clone();
        let stopped = tokio::task::spawn_blocking(move || teardown::stop_containers(&layout)).await;
        if stopped.is_err() {
            tracing::error!("stopping the containers panicked");
        }
    }
}

#[derive(Deserialize)]
struct NodeView {
    metadata: fluyt_client::ObjectMeta,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Slim for NodeView {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl NodeView {
    fn is_ready(&self) -> bool {
        self.status
            .conditions
            .iter()
            .any(|one| one.kind == "Ready" && one.status == "True")
    }
}

/// Returns when `count` nodes are Ready, or after [`READY_LIMIT`] with a line that says so.
pub async fn wait_ready(client: &Client, count: usize, progress: &Progress) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    progress.step(&format!("waiting for {count} node(s) to be Ready"));
    let ready = async {
        let mut seen = std::collections::HashMap::new();
        let events = watch::<NodeView>(client.clone(), Source::new("", "v1", "nodes"));
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Restarted(all) => {
                    seen = all
                        .into_iter()
                        .map(|node| (node.metadata.name.clone(), node.is_ready()))
                        .collect();
                }
                Event::Applied(node) => {
                    seen.insert(node.metadata.name.clone(), node.is_ready());
                }
                Event::Deleted(node) => {
                    seen.remove(&node.metadata.name);
                }
            }
            if seen.values().filter(|ready| **ready).count() >= count {
                return;
            }
        }
    };
    if tokio::time::timeout(READY_LIMIT, ready).await.is_err() {
        progress.say("not all nodes are Ready yet; their logs are in the data directory's log/");
    }
    Ok(())
}
