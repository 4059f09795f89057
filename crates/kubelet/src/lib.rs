//! The node agent: runs the pods that the API server (or a directory) names on a container
//! runtime, and tells how they are.
//!
//! The decisions are in fluyt-kubelet-core; this crate carries them out. It must not know
//! any other component: everything it learns comes through the API, files and the runtime.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cgroups;
mod changes;
mod context;
mod http_get;
mod images;
mod logs;
mod network;
mod node;
mod objects;
mod options;
mod pods;
mod runtime;
mod server;
mod services;
mod settings;
mod volumes;
mod yaml;

pub use options::Options;
pub use runtime::containerd::socket_of as runtime_of;
pub use runtime::import::import_image;

/// Images from files into a runtime.
pub mod import {
    pub use crate::runtime::import::{import, import_bytes};
}

use anyhow::Context as _;
use context::{Context, PARALLEL_PULLS};
use fluyt_client::events::Recorder;
use fluyt_cri::{Client as Cri, VersionRequest};
use fluyt_kubelet_core::files;
use settings::Settings;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// What the kubelet says it is.
pub const VERSION: &str = "v1.36.0+fluyt";

/// Where the private containerd of a kubelet with these options listens.
pub fn runtime_socket(options: &Options) -> anyhow::Result<PathBuf> {
    let settings = Settings::resolve(options)?;
    Ok(match &settings.endpoint {
        Some(endpoint) => endpoint.strip_prefix("unix://").unwrap_or(endpoint).into(),
        None => runtime::containerd::Layout::new(&settings).socket,
    })
}

/// The cgroup below which a kubelet with these options makes its pods' cgroups.
pub fn cgroup_root(options: &Options) -> anyhow::Result<String> {
    Ok(Settings::resolve(options)?.cgroup_root)
}

/// Runs the kubelet until `shutdown`. Containers outlive it, and so does its containerd.
pub async fn run(
    options: Options,
    client: kube::Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let settings = Settings::resolve(&options)?;
    std::fs::create_dir_all(&settings.root).with_context(|| settings.root.display().to_string())?;
    let cri = connect_runtime(&settings).await?;
    let machine = node::machine::Machine::read(&settings);
    let context = Arc::new(make_context(settings, cri, client, &machine).await?);
    if context.settings.endpoint.is_some()
        && let Ok(()) = network::network_condition(&context).await
    {
        let _ = context.network.send_replace(Ok(()));
    }
    if let Some(cidr) = context.settings.pod_cidr.clone() {
        network::configure(&context, &cidr).await;
    }
    let contradicted = Arc::new(Notify::new());
    let mut tasks = tokio::task::JoinSet::new();
    let handles = pods::manager::Handles::default();
    let listening = server::Server::bind(context.clone(), handles.clone()).await?;
    let port = listening.as_ref().map_or(0, server::Listening::port);
    if let Some(listening) = listening {
        tasks.spawn(listening.run(shutdown.clone()));
    }
    let reporter = node::status::Reporter {
        context: context.clone(),
        machine,
        contradicted: contradicted.clone(),
        port,
    };
    if context.settings.register {
        tasks.spawn(reporter.run(shutdown.clone()));
        tasks.spawn(node::lease::run(context.clone(), shutdown.clone()));
    }
    tasks.spawn(node::peers::run(
        context.clone(),
        contradicted,
        shutdown.clone(),
    ));
    let manager = pods::manager::Manager::new(context.clone(), handles, shutdown.clone());
    tasks.spawn(manager.run());
    shutdown.cancelled().await;
    // Nothing here needs longer; what does is not worth waiting for.
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(3), ended).await;
    Ok(())
}

/// The given runtime, or one of our own with the pause image in it.
async fn connect_runtime(settings: &Settings) -> anyhow::Result<Cri> {
    if let Some(endpoint) = &settings.endpoint {
        let cri = Cri::new(endpoint);
        cri.version(VersionRequest::default())
            .await
            .with_context(|| format!("--container-runtime-endpoint {endpoint}"))?;
        return Ok(cri);
    }
    let image = settings.sandbox_image();
    let cri = runtime::containerd::ensure(settings, &image).await?;
    if image == fluyt_image::PAUSE_IMAGE && cri.find_image(&image).await.ok().flatten().is_none() {
        import::import_bytes(cri.socket(), &image, &fluyt_image::pause_archive()).await?;
    }
    Ok(cri)
}

async fn make_context(
    settings: Settings,
    cri: Cri,
    client: kube::Client,
    machine: &node::machine::Machine,
) -> anyhow::Result<Context> {
    let version = cri
        .version(VersionRequest::default())
        .await
        .context("the container runtime's version")?;
    let resolv_conf = std::fs::read_to_string(&settings.resolv_conf).unwrap_or_default();
    let (network, _) = watch::channel(Err(network::NOT_CONFIGURED.to_owned()));
    Ok(Context {
        recorder: Recorder::new(client.clone(), "kubelet", &settings.node_name),
        objects: objects::Objects::new(client.clone()),
        services: services::Services::start(client.clone()),
        host_ips: node::machine::host_ips(&settings),
        host_dns: files::parse_resolv_conf(&resolv_conf),
        memory_bytes: machine.memory_bytes,
        allocatable: machine.capacity(settings.max_pods),
        runtime_name: version.runtime_name,
        runtime_version: version.runtime_version,
        network,
        routes: parking_lot::Mutex::default(),
        masquerade: parking_lot::Mutex::default(),
        pulls: Semaphore::new(PARALLEL_PULLS),
        pull_backoff: parking_lot::Mutex::default(),
        node_uid: parking_lot::RwLock::default(),
        own_node: parking_lot::RwLock::default(),
        started_at: jiff::Timestamp::now(),
        client,
        cri,
        settings,
    })
}
