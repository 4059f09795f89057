//! The scheduler's picture of the cluster: nodes as columns, placed pods, and the counts that rules between pods need.
//!
//! It has one writer and no locks. Every change of a node, or of what runs on it, is one entry in a change log; whoever derives
//! something from the cluster (see [`crate::classes`]) remembers a position in that log and looks again only at the nodes after it.
//!
//! Invariant: whatever a filter or score reads of a node is constant between two log entries of that node.

pub mod devices;
mod namespaces;
mod nodes;
mod pods;
mod tallies;
mod topology;
pub mod volumes;

use hashbrown::HashMap;

pub use namespaces::NamespaceEntry;
pub use nodes::{Column, NodeEntry, NodeFacts, Nodes};
pub use pods::{PodEntry, PodId};
pub use tallies::{Predicate, PredicateId, Scope, Source, TermId, TermKind};
pub use topology::{KeyId, NO_DOMAIN, TopologyKey};

use crate::intern::Interner;
use crate::objects::Text;
use crate::spec::{Identity, Spec};

/// A node's row in the columns. Freed rows are reused, the lowest first.
pub type NodeId = u32;
pub type SpecId = u32;
pub type IdentityId = u32;
pub type ShapeId = u32;

#[derive(Default)]
pub struct Cluster {
    pub nodes: Nodes,
    pub(crate) pods: pods::Pods,
    pub(crate) specs: Interner<Spec>,
    pub(crate) identities: Interner<Identity>,
    /// By identity: the predicates it matches.
    pub(crate) matches: Vec<Vec<PredicateId>>,
    pub(crate) shapes: Interner<(SpecId, IdentityId)>,
    pub(crate) shape_entries: Vec<ShapeEntry>,
    pub(crate) tallies: tallies::Tallies,
    pub(crate) keys: topology::Keys,
    pub(crate) namespaces: HashMap<Text, NamespaceEntry>,
    /// Rises when a namespace's labels change.
    pub(crate) namespace_version: u64,
    pub(crate) images: HashMap<Text, ImageState>,
    pub volumes: volumes::Volumes,
    pub devices: devices::Devices,
    /// Pods by pod group (`namespace/name`).
    pub(crate) groups: HashMap<Text, std::collections::BTreeSet<PodId>>,
    log: Log,
    shape_serial: u64,
}

/// What is derived once from a pod's spec and identity together.
#[derive(Default)]
pub(crate) struct ShapeEntry {
    /// Distinguishes the users of a reused id.
    pub serial: u64,
    /// The (anti-)affinity terms that a pod of this shape brings to its node.
    pub holds: Vec<TermId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageState {
    /// As the first node that has it says.
    pub size: i64,
    pub nodes: u32,
}

/// What changed on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node object: labels, taints, capacity; or it came or went.
    Object,
    /// What runs on it.
    Pods,
}

/// Changed nodes in order. Bounded: the oldest half is dropped, and readers that were there start afresh.
#[derive(Default)]
struct Log {
    start: u64,
    entries: Vec<u32>,
    minimum: usize,
}

impl Cluster {
    /// `log`: how many changes are remembered at least.
    pub fn new(log: usize) -> Self {
        let mut cluster = Self::default();
        cluster.log.minimum = log;
        cluster
    }

    /// The generation: rises with every change that a decision can depend on.
    pub fn generation(&self) -> u64 {
        self.log.start + self.log.entries.len() as u64
    }

    /// Changes since a generation; `None` when they are no longer known.
    pub fn changes_since(&self, generation: u64) -> Option<impl Iterator<Item = (NodeId, Change)>> {
        let skip = generation.checked_sub(self.log.start)?;
        let entries = self.log.entries.get(skip as usize..)?;
        Some(entries.iter().map(|entry| {
            let change = match entry & 1 {
                0 => Change::Pods,
                _ => Change::Object,
            };
            (entry >> 1, change)
        }))
    }

    pub(crate) fn note(&mut self, node: NodeId, change: Change) {
        let bound = self.log.minimum.max(4 * self.nodes.rows()).max(2);
        if self.log.entries.len() >= bound {
            let half = self.log.entries.len() / 2;
            self.log.entries.drain(..half);
            self.log.start += half as u64;
        }
        self.log
            .entries
            .push(node << 1 | u32::from(change == Change::Object));
    }

    pub fn spec(&self, id: SpecId) -> &std::sync::Arc<Spec> {
        self.specs.get(id)
    }

    pub fn identity(&self, id: IdentityId) -> &std::sync::Arc<Identity> {
        self.identities.get(id)
    }

    pub fn shape(&self, id: ShapeId) -> (SpecId, IdentityId) {
        **self.shapes.get(id)
    }

    pub fn shape_serial(&self, id: ShapeId) -> u64 {
        self.shape_entries[id as usize].serial
    }

    pub fn image(&self, name: &str) -> Option<ImageState> {
        self.images.get(name).copied()
    }

    /// How many nodes there are to choose from.
    pub fn node_count(&self) -> usize {
        self.nodes.present()
    }
}
