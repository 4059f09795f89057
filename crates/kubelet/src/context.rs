//! What every part of the kubelet shares: settings, connections, caches. Everything in it
//! is cheap to use from many tasks at once.

use crate::objects::Objects;
use crate::runtime::containerd;
use crate::services::Services;
use crate::settings::Settings;
use fluyt_client::events::Recorder;
use fluyt_cri::Client as Cri;
use fluyt_kubelet_core::admission::NodeFacts;
use fluyt_kubelet_core::amount::ResourceList;
use fluyt_kubelet_core::backoff::Backoff;
use fluyt_kubelet_core::fields::Facts;
use fluyt_kubelet_core::files::Dns;
use fluyt_kubelet_core::model;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Client;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use tokio::sync::{Semaphore, watch};

/// Images that are pulled at the same time.
pub(crate) const PARALLEL_PULLS: usize = 4;

/// Whether pods can be given addresses; the reason if not.
pub(crate) type NetworkState = Result<(), String>;

pub(crate) struct Context {
    pub settings: Settings,
    pub cri: Cri,
    /// "containerd", before container ids.
    pub runtime_name: String,
    pub runtime_version: String,
    pub client: Client,
    pub recorder: Recorder,
    pub objects: Objects,
    pub services: Services,
    pub host_ips: Vec<String>,
    pub host_dns: Dns,
    pub memory_bytes: i64,
    pub allocatable: ResourceList,
    pub network: watch::Sender<NetworkState>,
    /// The routes and rules that this kubelet has set.
    pub routes: Mutex<crate::network::routes::Routes>,
    pub masquerade: Mutex<String>,
    pub pulls: Semaphore,
    pub pull_backoff: Mutex<Backoff>,
    /// The node's uid once it is registered: events about the node refer to it.
    pub node_uid: RwLock<String>,
    /// The node as the API last showed it; absent until it did.
    pub own_node: RwLock<Option<NodeFacts>>,
    pub started_at: jiff::Timestamp,
}

impl Context {
    /// The facts that the downward API may tell a pod.
    pub fn facts(&self, pod_ips: &[String]) -> Facts {
        Facts {
            node_name: self.settings.node_name.clone(),
            host_ips: self.host_ips.clone(),
            pod_ips: pod_ips.to_vec(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// The pod's own directory.
    pub fn pod_directory(&self, uid: &str) -> PathBuf {
        fluyt_kubelet_core::names::pod_directory(&self.settings.root, uid)
    }

    /// Where the private containerd keeps things; unused with another runtime.
    pub fn layout(&self) -> containerd::Layout {
        containerd::Layout::new(&self.settings)
    }

    /// Records an event about a pod, or about one of its containers.
    pub fn event(
        &self,
        pod: &Pod,
        container: Option<&str>,
        warning: bool,
        reason: &str,
        message: String,
    ) {
        let reference = pod_reference(pod, container);
        tracing::debug!(pod = %model::describe(pod), reason, message);
        if warning {
            self.recorder.warning(&reference, reason, message);
        } else {
            self.recorder.normal(&reference, reason, message);
        }
    }

    /// Records an event about the node.
    pub fn node_event(&self, warning: bool, reason: &str, message: String) {
        let reference = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.settings.node_name.clone()),
            uid: Some(self.settings.node_name.clone()),
            ..ObjectReference::default()
        };
        if warning {
            self.recorder.warning(&reference, reason, message);
        } else {
            self.recorder.normal(&reference, reason, message);
        }
    }
}

/// A reference to a pod; for a static pod its mirror is found by name.
fn pod_reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let path = container.map(|name| match model::find_container(pod, name) {
        Some((model::Kind::Init, _)) => format!("spec.initContainers{{{name}}}"),
        Some((model::Kind::Ephemeral, _)) => format!("spec.ephemeralContainers{{{name}}}"),
        _ => format!("spec.containers{{{name}}}"),
    });
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(model::namespace(pod).to_owned()),
        name: Some(model::name(pod).to_owned()),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: path,
    }
}
