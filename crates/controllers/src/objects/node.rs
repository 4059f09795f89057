//! Nodes and their leases: health, taints and addresses ranges.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ConditionStatus, Meta, Object, Pairs, nullable, time};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    pub key: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub value: Box<str>,
    pub effect: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Box<str>>,
}

impl Taint {
    /// Two taints are the same taint when key and effect agree.
    pub fn same(&self, other: &Self) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCondition {
    #[serde(rename = "type")]
    pub type_: Box<str>,
    #[serde(deserialize_with = "super::or_default")]
    pub status: ConditionStatus,
    #[serde(deserialize_with = "time")]
    pub last_heartbeat_time: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub last_transition_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "WireNode")]
pub struct Node {
    pub meta: Meta,
    pub pod_cidrs: Box<[Box<str>]>,
    pub taints: Box<[Taint]>,
    pub unschedulable: bool,
    pub conditions: Box<[NodeCondition]>,
}

impl Object for Node {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// The labels of nodes that controllers read; the others are not kept.
const LABELS: [&str; 7] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/exclude-disruption",
    "kubernetes.io/os",
    "kubernetes.io/arch",
];

impl Node {
    pub fn condition(&self, type_: &str) -> Option<&NodeCondition> {
        self.conditions
            .iter()
            .find(|condition| &*condition.type_ == type_)
    }

    pub fn ready(&self) -> Option<&NodeCondition> {
        self.condition("Ready")
    }

    pub fn is_ready(&self) -> bool {
        self.ready()
            .is_some_and(|ready| ready.status == ConditionStatus::True)
    }

    pub fn has_taint(&self, key: &str, effect: &str) -> bool {
        self.taints
            .iter()
            .any(|taint| &*taint.key == key && &*taint.effect == effect)
    }

    pub fn zone(&self) -> &str {
        let labels = &self.meta.labels;
        let zone = labels.get(LABELS[0]).or_else(|| labels.get(LABELS[2]));
        zone.unwrap_or("")
    }

    pub fn region(&self) -> &str {
        let labels = &self.meta.labels;
        let region = labels.get(LABELS[1]).or_else(|| labels.get(LABELS[3]));
        region.unwrap_or("")
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireNode {
    metadata: Meta,
    #[serde(deserialize_with = "super::or_default")]
    spec: WireSpec,
    #[serde(deserialize_with = "super::or_default")]
    status: WireStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Box<str>,
    #[serde(rename = "podCIDRs", deserialize_with = "nullable")]
    pod_cidrs: Vec<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    taints: Vec<Taint>,
    unschedulable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireStatus {
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<NodeCondition>,
}

impl From<WireNode> for Node {
    fn from(wire: WireNode) -> Self {
        let mut meta = wire.metadata;
        meta.labels = meta.labels.filtered(|key| LABELS.contains(&key));
        meta.annotations = Pairs::default();
        meta.shrink();
        let pod_cidrs = if wire.spec.pod_cidrs.is_empty() && !wire.spec.pod_cidr.is_empty() {
            vec![wire.spec.pod_cidr]
        } else {
            wire.spec.pod_cidrs
        };
        Self {
            meta,
            pod_cidrs: pod_cidrs.into_boxed_slice(),
            taints: wire.spec.taints.into_boxed_slice(),
            unschedulable: wire.spec.unschedulable,
            conditions: wire.status.conditions.into_boxed_slice(),
        }
    }
}

/// A node's lease in kube-node-lease: its heartbeat.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
    pub metadata: Meta,
    #[serde(deserialize_with = "super::or_default")]
    pub spec: LeaseSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    #[serde(deserialize_with = "time")]
    pub renew_time: Option<Timestamp>,
}

impl Object for Lease {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
