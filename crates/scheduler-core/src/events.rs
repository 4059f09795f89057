//! What happens in the cluster, as the plugins' queueing hints see it: could it let a waiting pod in?

use crate::cluster::volumes::{CapacityChange, CsiNodeChange, VolumeChange};
use crate::cluster::{Cluster, NodeFacts, PodId};
use crate::labels::Labels;
use crate::objects::{Taint, Text};
use crate::requests::Amounts;
use crate::spec::{Identity, Spec};

/// A pod that some plugin turned away.
pub struct Waiting<'a> {
    pub cluster: &'a Cluster,
    pub pod: PodId,
    pub spec: &'a Spec,
    pub identity: &'a Identity,
}

/// A node before or after a change.
pub struct NodeView<'a> {
    pub name: &'a Text,
    pub labels: &'a Labels,
    pub taints: &'a [Taint],
    pub unschedulable: bool,
    pub allocatable: &'a Amounts,
    /// Declared features.
    pub features: &'a [Text],
}

impl<'a> NodeView<'a> {
    pub fn new(name: &'a Text, facts: &'a NodeFacts) -> Self {
        Self {
            name,
            labels: &facts.labels,
            taints: &facts.taints,
            unschedulable: facts.unschedulable,
            allocatable: &facts.allocatable,
            features: &facts.features,
        }
    }

    pub fn amount(&self, resource: &str) -> i64 {
        self.allocatable.get(resource).copied().unwrap_or(0)
    }
}

/// What of a waiting pod changed, as far as it can let the pod in (upstream's update actions of pods).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodChange {
    pub labels: bool,
    pub tolerations: bool,
    /// It asks for less of something.
    pub scaled_down: bool,
    /// Claims were made for it.
    pub claims: bool,
}

impl PodChange {
    pub fn between(old: (&Spec, &Identity), new: (&Spec, &Identity)) -> Self {
        Self {
            labels: old.1.labels != new.1.labels,
            tolerations: old.0.tolerations != new.0.tolerations,
            scaled_down: new.0.requests.shrunk_from(&old.0.requests, None),
            claims: false,
        }
    }
}

pub enum Event<'a> {
    NodeAdded {
        new: NodeView<'a>,
    },
    NodeUpdated {
        old: NodeView<'a>,
        new: NodeView<'a>,
    },
    NodeDeleted {
        old: NodeView<'a>,
    },
    PlacedPodAdded {
        new: &'a Spec,
        identity: &'a Identity,
    },
    PlacedPodUpdated {
        old: &'a Spec,
        old_identity: &'a Identity,
        new: &'a Spec,
        identity: &'a Identity,
    },
    /// Deleted, or its placement was taken back.
    PlacedPodDeleted {
        old: &'a Spec,
        identity: &'a Identity,
    },
    /// The waiting pod itself changed.
    PodUpdated {
        pod: PodId,
        change: PodChange,
    },
    NamespaceChanged,
    /// A claim was added or updated.
    ClaimChanged {
        namespace: &'a Text,
        name: &'a Text,
        added: bool,
    },
    VolumeChanged {
        change: VolumeChange,
    },
    StorageClassChanged {
        added: bool,
        waits: bool,
        topologies: bool,
    },
    CsiNodeChanged {
        change: CsiNodeChange,
    },
    /// The driver has stopped to report its capacity.
    CsiDriverCapacityOff {
        driver: &'a Text,
    },
    StorageCapacityChanged {
        change: CapacityChange,
    },
    /// A VolumeAttachment is gone.
    VolumeDetached {
        driver: &'a Text,
    },
    /// Devices may have become free, or known: a claim, a slice or a class changed. Upstream's name of the event.
    DevicesChanged(&'static str),
}

impl Event<'_> {
    /// For metrics: scheduler_queue_incoming_pods_total{event}.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NodeAdded { .. } => "NodeAdd",
            Self::NodeUpdated { .. } => "NodeUpdate",
            Self::NodeDeleted { .. } => "NodeDelete",
            Self::PlacedPodAdded { .. } => "AssignedPodAdd",
            Self::PlacedPodUpdated { .. } => "AssignedPodUpdate",
            Self::PlacedPodDeleted { .. } => "AssignedPodDelete",
            Self::PodUpdated { .. } => "UnschedulablePodUpdate",
            Self::NamespaceChanged => "NamespaceUpdate",
            Self::ClaimChanged { added: true, .. } => "PersistentVolumeClaimAdd",
            Self::ClaimChanged { .. } => "PersistentVolumeClaimUpdate",
            Self::VolumeChanged { change } => match change.added {
                true => "PersistentVolumeAdd",
                false => "PersistentVolumeUpdate",
            },
            Self::StorageClassChanged { added: true, .. } => "StorageClassAdd",
            Self::StorageClassChanged { .. } => "StorageClassUpdate",
            Self::CsiNodeChanged { change } => match change.added {
                true => "CSINodeAdd",
                false => "CSINodeUpdate",
            },
            Self::CsiDriverCapacityOff { .. } => "CSIDriverUpdate",
            Self::StorageCapacityChanged { change } => match change.added {
                true => "CSIStorageCapacityAdd",
                false => "CSIStorageCapacityUpdate",
            },
            Self::VolumeDetached { .. } => "VolumeAttachmentDelete",
            Self::DevicesChanged(label) => label,
        }
    }
}
