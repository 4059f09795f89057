//! A pod as controllers see it: placement, readiness, addresses, ports and tolerations, in about a kilobyte.

use jiff::Timestamp;
use serde::Deserialize;

use super::{ConditionStatus, Meta, Object, Pairs, nullable, present, time};

/// status.phase; a pod whose phase was never written is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl Phase {
    /// No container will run again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The Ready condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub status: ConditionStatus,
    pub since: Option<Timestamp>,
}

/// Which taints a toleration covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Operator {
    #[default]
    Equal,
    Exists,
    Lt,
    Gt,
    /// Unset in JSON is "".
    #[serde(rename = "")]
    Unset,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    pub key: Box<str>,
    pub operator: Operator,
    pub value: Box<str>,
    pub effect: Box<str>,
    pub toleration_seconds: Option<i64>,
}

/// A named container port, which a service may refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    pub name: Box<str>,
    pub protocol: Box<str>,
    pub port: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "WirePod")]
pub struct Pod {
    pub meta: Meta,
    /// annotation controller.kubernetes.io/pod-deletion-cost, 0 when absent or malformed.
    pub deletion_cost: i32,
    pub node_name: Box<str>,
    pub hostname: Box<str>,
    pub subdomain: Box<str>,
    pub tolerations: Box<[Toleration]>,
    pub ports: Box<[NamedPort]>,
    pub restart_always: bool,
    pub termination_grace_period_seconds: Option<i64>,
    pub phase: Phase,
    pub evicted: bool,
    pub ready: Option<Ready>,
    pub ips: Box<[Box<str>]>,
    /// The highest restart count of a container.
    pub restarts: i32,
}

impl Object for Pod {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Pod {
    pub fn is_ready(&self) -> bool {
        self.ready
            .is_some_and(|ready| ready.status == ConditionStatus::True)
    }

    /// Neither finished nor being deleted: it counts as a replica.
    pub fn is_active(&self) -> bool {
        !self.phase.is_terminal() && !self.meta.is_deleting()
    }

    /// Ready for at least `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.available_at(min_ready_seconds)
            .is_some_and(|at| at <= now)
    }

    /// When a ready pod counts as available.
    pub fn available_at(&self, min_ready_seconds: i64) -> Option<Timestamp> {
        let ready = self
            .ready
            .filter(|ready| ready.status == ConditionStatus::True)?;
        if min_ready_seconds == 0 {
            return Some(Timestamp::MIN);
        }
        Some(ready.since? + jiff::SignedDuration::from_secs(min_ready_seconds))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WirePod {
    metadata: Meta,
    #[serde(deserialize_with = "super::or_default")]
    spec: WireSpec,
    #[serde(deserialize_with = "super::or_default")]
    status: WireStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    node_name: Box<str>,
    hostname: Box<str>,
    subdomain: Box<str>,
    restart_policy: Box<str>,
    termination_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "nullable")]
    tolerations: Vec<Toleration>,
    #[serde(deserialize_with = "nullable")]
    containers: Vec<WireContainer>,
    #[serde(deserialize_with = "nullable")]
    init_containers: Vec<WireContainer>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireContainer {
    #[serde(deserialize_with = "present")]
    restart_policy: bool,
    #[serde(deserialize_with = "nullable")]
    ports: Vec<WirePort>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    name: Box<str>,
    protocol: Box<str>,
    container_port: i32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    phase: Option<Phase>,
    reason: Box<str>,
    #[serde(rename = "podIP")]
    pod_ip: Box<str>,
    #[serde(rename = "podIPs", deserialize_with = "nullable")]
    pod_ips: Vec<WireIp>,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<WireCondition>,
    #[serde(deserialize_with = "nullable")]
    container_statuses: Vec<WireContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireIp {
    ip: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: Box<str>,
    #[serde(deserialize_with = "super::or_default")]
    status: ConditionStatus,
    #[serde(deserialize_with = "time")]
    last_transition_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireContainerStatus {
    restart_count: i32,
}

fn named_ports(spec: WireSpec) -> Box<[NamedPort]> {
    // Init containers that restart are sidecars: their ports count, after those of the containers.
    let sidecars = spec
        .init_containers
        .into_iter()
        .filter(|container| container.restart_policy);
    spec.containers
        .into_iter()
        .chain(sidecars)
        .flat_map(|container| container.ports)
        .filter(|port| !port.name.is_empty())
        .map(|port| NamedPort {
            name: port.name,
            protocol: if port.protocol.is_empty() {
                "TCP".into()
            } else {
                port.protocol
            },
            port: port.container_port,
        })
        .collect()
}

impl From<WirePod> for Pod {
    fn from(mut wire: WirePod) -> Self {
        let annotations = std::mem::take(&mut wire.metadata.annotations);
        let deletion_cost = annotations.get("controller.kubernetes.io/pod-deletion-cost");
        wire.metadata.shrink();
        let status = wire.status;
        let ready = status
            .conditions
            .iter()
            .find(|condition| &*condition.type_ == "Ready");
        let ips = if status.pod_ips.is_empty() && !status.pod_ip.is_empty() {
            vec![status.pod_ip]
        } else {
            status.pod_ips.into_iter().map(|ip| ip.ip).collect()
        };
        Self {
            meta: wire.metadata,
            deletion_cost: deletion_cost
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0),
            node_name: std::mem::take(&mut wire.spec.node_name),
            hostname: std::mem::take(&mut wire.spec.hostname),
            subdomain: std::mem::take(&mut wire.spec.subdomain),
            restart_always: matches!(&*wire.spec.restart_policy, "" | "Always"),
            termination_grace_period_seconds: wire.spec.termination_grace_period_seconds,
            tolerations: std::mem::take(&mut wire.spec.tolerations).into_boxed_slice(),
            ports: named_ports(wire.spec),
            phase: status.phase.unwrap_or_default(),
            evicted: &*status.reason == "Evicted",
            ready: ready.map(|condition| Ready {
                status: condition.status,
                since: condition.last_transition_time,
            }),
            ips: ips.into_boxed_slice(),
            restarts: status
                .container_statuses
                .iter()
                .map(|c| c.restart_count)
                .max()
                .unwrap_or(0),
        }
    }
}

/// Labels of a pod, for tests and selectors.
impl AsRef<Pairs> for Pod {
    fn as_ref(&self) -> &Pairs {
        &self.meta.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_whole_pod_becomes_slim() {
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"app": "x"},
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5", "other": "kept out"}},
            "spec": {"nodeName": "n1", "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 3}],
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}]}],
                "initContainers": [{"name": "s", "restartPolicy": "Always", "ports": [{"name": "m", "containerPort": 9}]},
                    {"name": "i", "ports": [{"name": "no", "containerPort": 8}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "containerStatuses": [{"name": "c", "restartCount": 2}]}
        }))
        .unwrap();
        assert_eq!(pod.meta.key(), "n/a");
        assert_eq!((pod.deletion_cost, pod.restarts), (-5, 2));
        assert_eq!(
            pod.ports.iter().map(|port| port.port).collect::<Vec<_>>(),
            [80, 9]
        );
        assert_eq!(&*pod.ips[0], "10.0.0.1");
        assert!(pod.is_ready() && pod.is_active());
        let since = pod.ready.unwrap().since.unwrap();
        assert!(pod.is_available(0, since));
        assert!(!pod.is_available(10, since + jiff::SignedDuration::from_secs(9)));
        assert!(pod.is_available(10, since + jiff::SignedDuration::from_secs(10)));
    }
}
