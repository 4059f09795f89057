//! What the runtime was seen to hold for one pod, and small questions about the pod.

use crate::api::{Container as ContainerSpec, Pod};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A sandbox as the runtime tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    pub created_at: Timestamp,
    /// The pod's addresses, the first is the pod IP; empty with the host's network.
    pub ips: Vec<String>,
}

/// A container's state in the runtime. Created and Unknown lead to a restart; Running is
/// left by Exited only; Exited is final (a restart is a new container).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

/// A container as the runtime tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub sandbox_id: String,
    /// How often the container was started before this one.
    pub restart_count: u32,
    pub state: State,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub image: String,
    pub image_id: String,
    /// The hash of the specification it was created from; empty when unknown.
    pub hash: String,
}

/// Everything that the runtime holds for a pod; both lists newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<Container>,
}

impl Observed {
    /// Sorts both lists newest first, which every question below relies on.
    pub fn new(mut sandboxes: Vec<Sandbox>, mut containers: Vec<Container>) -> Self {
        sandboxes.sort_by_key(|sandbox| Reverse((sandbox.created_at, sandbox.attempt)));
        containers
            .sort_by_key(|container| Reverse((container.created_at, container.restart_count)));
        Self {
            sandboxes,
            containers,
        }
    }

    /// The newest container of that name.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }

    /// The newest sandbox.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest sandbox, if it is ready and has an address (or needs none).
    pub fn ready_sandbox(&self, pod: &Pod) -> Option<&Sandbox> {
        self.sandbox()
            .filter(|sandbox| sandbox.ready && (host_network(pod) || !sandbox.ips.is_empty()))
    }

    /// True when a container that is not an init container exists, in whatever state.
    pub fn any_regular_container(&self, pod: &Pod) -> bool {
        containers(pod)
            .iter()
            .any(|spec| self.latest(&spec.name).is_some())
    }

    /// True when nothing of the pod runs any more.
    pub fn all_stopped(&self) -> bool {
        self.sandboxes.iter().all(|sandbox| !sandbox.ready)
            && self
                .containers
                .iter()
                .all(|container| container.state != State::Running)
    }
}

/// Which list of the specification a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Init,
    Regular,
    Ephemeral,
}

/// The pod's containers.
pub fn containers(pod: &Pod) -> &[ContainerSpec] {
    pod.spec.as_ref().map_or(&[], |spec| &spec.containers)
}

/// The pod's init containers, restartable ones included.
pub fn init_containers(pod: &Pod) -> &[ContainerSpec] {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or(&[])
}

/// The pod's ephemeral containers in the shape of ordinary ones.
pub fn ephemeral_containers(pod: &Pod) -> Vec<ContainerSpec> {
    let list = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.ephemeral_containers.as_ref());
    let convert = |container| {
        let value = serde_json::to_value(container).ok()?;
        serde_json::from_value(value).ok()
    };
    list.map_or_else(Vec::new, |list| list.iter().filter_map(convert).collect())
}

/// A container of the pod by name, wherever it is listed.
pub fn find_container(pod: &Pod, name: &str) -> Option<(Kind, ContainerSpec)> {
    let find = |list: &[ContainerSpec]| list.iter().find(|spec| spec.name == name).cloned();
    find(containers(pod))
        .map(|spec| (Kind::Regular, spec))
        .or_else(|| find(init_containers(pod)).map(|spec| (Kind::Init, spec)))
        .or_else(|| find(&ephemeral_containers(pod)).map(|spec| (Kind::Ephemeral, spec)))
}

/// True for an init container that keeps running: a sidecar.
pub fn is_sidecar(container: &ContainerSpec) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// When an ended container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// The pod's restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    match policy {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

/// The policy that holds for one container: its own, else the pod's.
/// An init container that is no sidecar runs to its end, so Always means OnFailure there.
pub fn container_restart_policy(pod: &Pod, kind: Kind, container: &ContainerSpec) -> RestartPolicy {
    let policy = match container.restart_policy.as_deref() {
        Some("Always") => return RestartPolicy::Always,
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => restart_policy(pod),
    };
    match (kind, policy) {
        (Kind::Ephemeral, _) => RestartPolicy::Never,
        (Kind::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
        (_, policy) => policy,
    }
}

/// True when a container that ended with `exit_code` is to be started again: its
/// `restartPolicyRules` first, then the policy.
pub fn restarts(pod: &Pod, kind: Kind, container: &ContainerSpec, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        let matches = if codes.operator == "NotIn" {
            !listed
        } else {
            listed
        };
        if matches && rule.action == "Restart" {
            return true;
        }
    }
    match container_restart_policy(pod, kind, container) {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// True when the pod shares the node's network.
pub fn host_network(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.host_network)
        .unwrap_or(false)
}

/// The pod's uid; empty when it has none.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// "name_namespace(uid)", as messages name a pod.
pub fn describe(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// Verdicts of the probes by container id; absent means not known yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeResults {
    results: BTreeMap<(String, crate::probe::Kind), bool>,
}

impl ProbeResults {
    /// The verdict on a container, if there is one.
    pub fn get(&self, container_id: &str, kind: crate::probe::Kind) -> Option<bool> {
        self.results.get(&(container_id.to_owned(), kind)).copied()
    }

    /// Remembers a verdict; true when it is news.
    pub fn set(&mut self, container_id: &str, kind: crate::probe::Kind, success: bool) -> bool {
        self.results
            .insert((container_id.to_owned(), kind), success)
            != Some(success)
    }

    /// Forgets containers that are no longer there.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.results.retain(|(id, _), _| keep(id));
    }
}
