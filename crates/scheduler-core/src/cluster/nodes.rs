//! Nodes as columns: what every decision reads (amounts) lies in arrays of i64, the rest beside it.
//!
//! Invariant: a row outlives its node while pods are still placed on it; `present` says whether the node object exists.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::{Change, Cluster, ImageState, NodeId, PodId};
use crate::labels::Labels;
use crate::objects::{self, Taint, Text};
use crate::requests::{self, Requests};
use crate::spec::{HostPort, normalized_image};

/// One resource on all nodes.
#[derive(Clone, Debug, Default)]
pub struct Column {
    pub allocatable: Vec<i64>,
    pub used: Vec<i64>,
}

impl Column {
    fn grow(&mut self, rows: usize) {
        self.allocatable.resize(rows, 0);
        self.used.resize(rows, 0);
    }

    pub fn free(&self, node: NodeId) -> i64 {
        self.allocatable[node as usize] - self.used[node as usize]
    }
}

#[derive(Default)]
pub struct Nodes {
    ids: HashMap<Text, NodeId>,
    free: BinaryHeap<Reverse<NodeId>>,
    present: usize,
    /// How many rows were ever given out.
    claims: u64,
    /// Millicores.
    pub cpu: Column,
    /// Bytes.
    pub memory: Column,
    pub ephemeral_storage: Column,
    pub pods: Column,
    /// What pods use when those that do not say count with a default; for scoring.
    pub nonzero_cpu: Vec<i64>,
    pub nonzero_memory: Vec<i64>,
    pub scalars: HashMap<Text, Column>,
    pub entries: Vec<NodeEntry>,
}

#[derive(Default)]
pub struct NodeEntry {
    pub name: Text,
    pub present: bool,
    pub facts: NodeFacts,
    pub ports: Vec<(HostPort, u32)>,
    pub pods: Vec<PodId>,
    /// Distinguishes the users of a reused row.
    pub serial: u64,
    images: Vec<Text>,
}

/// The parts of a node object that filters read; kept so that an update can be compared with what was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: requests::Amounts,
    pub features: Vec<Text>,
}

impl NodeFacts {
    pub fn of(node: &objects::Node) -> Self {
        Self {
            labels: node.metadata.labels.clone(),
            taints: node.spec.taints.clone(),
            unschedulable: node.spec.unschedulable,
            allocatable: requests::amounts(&node.status.allocatable),
            features: node.status.declared_features.clone(),
        }
    }

    pub fn amount(&self, name: &str) -> i64 {
        self.allocatable.get(name).copied().unwrap_or(0)
    }
}

impl Nodes {
    pub fn id(&self, name: &str) -> Option<NodeId> {
        let id = *self.ids.get(name)?;
        self.entries[id as usize].present.then_some(id)
    }

    pub fn entry(&self, id: NodeId) -> &NodeEntry {
        &self.entries[id as usize]
    }

    pub fn name(&self, id: NodeId) -> &Text {
        &self.entry(id).name
    }

    pub fn is_present(&self, id: NodeId) -> bool {
        self.entry(id).present
    }

    pub fn present(&self) -> usize {
        self.present
    }

    pub fn rows(&self) -> usize {
        self.entries.len()
    }

    /// All nodes that exist, by row.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        let present = |(id, entry): (usize, &NodeEntry)| entry.present.then_some(id as NodeId);
        self.entries.iter().enumerate().filter_map(present)
    }

    fn claim(&mut self, name: &Text) -> NodeId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = match self.free.pop() {
            Some(Reverse(id)) => id,
            None => {
                self.entries.push(NodeEntry::default());
                let rows = self.entries.len();
                for column in [
                    &mut self.cpu,
                    &mut self.memory,
                    &mut self.ephemeral_storage,
                    &mut self.pods,
                ] {
                    column.grow(rows);
                }
                self.scalars
                    .values_mut()
                    .for_each(|column| column.grow(rows));
                self.nonzero_cpu.resize(rows, 0);
                self.nonzero_memory.resize(rows, 0);
                NodeId::try_from(rows - 1).expect("fewer than 2^32 nodes")
            }
        };
        self.claims += 1;
        self.entries[id as usize].serial = self.claims;
        self.entries[id as usize].name = name.clone();
        self.ids.insert(name.clone(), id);
        id
    }

    fn scalar(&mut self, name: &Text) -> &mut Column {
        let rows = self.entries.len();
        self.scalars.entry(name.clone()).or_insert_with(|| {
            let mut column = Column::default();
            column.grow(rows);
            column
        })
    }

    fn set_allocatable(&mut self, id: NodeId, facts: &NodeFacts) {
        let row = id as usize;
        self.cpu.allocatable[row] = facts.amount("cpu");
        self.memory.allocatable[row] = facts.amount("memory");
        self.ephemeral_storage.allocatable[row] = facts.amount("ephemeral-storage");
        self.pods.allocatable[row] = facts.amount("pods");
        for column in self.scalars.values_mut() {
            column.allocatable[row] = 0;
        }
        for (name, amount) in &facts.allocatable {
            if requests::is_scalar(name) {
                self.scalar(name).allocatable[row] = *amount;
            }
        }
    }

    /// Adds (sign 1) or takes away (sign -1) what one pod uses.
    pub(super) fn account(&mut self, id: NodeId, requests: &Requests, sign: i64) {
        let row = id as usize;
        self.cpu.used[row] += sign * requests.milli_cpu;
        self.memory.used[row] += sign * requests.memory;
        self.ephemeral_storage.used[row] += sign * requests.ephemeral_storage;
        self.pods.used[row] += sign;
        self.nonzero_cpu[row] += sign * requests.nonzero_milli_cpu;
        self.nonzero_memory[row] += sign * requests.nonzero_memory;
        for (name, amount) in &requests.scalars {
            self.scalar(name).used[row] += sign * amount;
        }
    }

    pub(super) fn occupy(&mut self, id: NodeId, port: &HostPort, sign: i64) {
        let ports = &mut self.entries[id as usize].ports;
        let found = ports.iter().position(|(own, _)| own == port);
        match (found, sign) {
            (Some(at), 1) => ports[at].1 += 1,
            (None, 1) => ports.push((port.clone(), 1)),
            (Some(at), _) if ports[at].1 > 1 => ports[at].1 -= 1,
            (Some(at), _) => drop(ports.swap_remove(at)),
            (None, _) => {}
        }
    }

    /// Gives the row back when neither node nor pods are left on it.
    pub(super) fn free_if_empty(&mut self, id: NodeId) {
        let entry = &mut self.entries[id as usize];
        if !entry.present && entry.pods.is_empty() && !entry.name.is_empty() {
            self.ids.remove(&entry.name);
            *entry = NodeEntry::default();
            self.free.push(Reverse(id));
        }
    }

    pub(super) fn claim_for_pod(&mut self, name: &Text) -> NodeId {
        self.claim(name)
    }
}

impl Cluster {
    /// Adds or updates a node; returns what it was before, when it was there.
    pub fn set_node(&mut self, node: &objects::Node) -> Option<NodeFacts> {
        let facts = NodeFacts::of(node);
        let id = self.nodes.claim(&node.metadata.name);
        let was_present = self.nodes.is_present(id);
        let images_changed = self.set_images(id, node);
        let entry = &mut self.nodes.entries[id as usize];
        let before = std::mem::replace(&mut entry.facts, facts.clone());
        entry.present = true;
        if !was_present {
            self.nodes.present += 1;
        }
        if was_present && before == facts && !images_changed {
            return Some(before);
        }
        self.nodes.set_allocatable(id, &facts);
        self.keys.place(id, Some(&facts.labels));
        self.note(id, Change::Object);
        was_present.then_some(before)
    }

    /// Returns what the node was, when it was there.
    pub fn remove_node(&mut self, name: &str) -> Option<NodeFacts> {
        let id = self.nodes.id(name)?;
        self.forget_images(id);
        let entry = &mut self.nodes.entries[id as usize];
        entry.present = false;
        let facts = std::mem::take(&mut entry.facts);
        self.nodes.present -= 1;
        self.nodes.set_allocatable(id, &NodeFacts::default());
        self.keys.place(id, None);
        self.note(id, Change::Object);
        self.nodes.free_if_empty(id);
        Some(facts)
    }

    /// Gives a node other labels, taints or cordon for a moment; answers those that it had, to be put back. For questions of the
    /// kind "what if"; amounts are left alone.
    pub(crate) fn swap_facts(&mut self, id: NodeId, facts: NodeFacts) -> NodeFacts {
        self.keys.place(id, Some(&facts.labels));
        self.note(id, Change::Object);
        std::mem::replace(&mut self.nodes.entries[id as usize].facts, facts)
    }

    fn set_images(&mut self, id: NodeId, node: &objects::Node) -> bool {
        let mut names: Vec<(Text, i64)> = Vec::new();
        for image in &node.status.images {
            for name in &image.names {
                names.push((normalized_image(name), image.size_bytes));
            }
        }
        names.sort();
        names.dedup_by(|a, b| a.0 == b.0);
        let own = &self.nodes.entry(id).images;
        if own.len() == names.len() && own.iter().eq(names.iter().map(|(name, _)| name)) {
            return false;
        }
        self.forget_images(id);
        for (name, size) in &names {
            let fresh = ImageState {
                size: *size,
                nodes: 0,
            };
            self.images.entry(name.clone()).or_insert(fresh).nodes += 1;
        }
        self.nodes.entries[id as usize].images = names.into_iter().map(|(name, _)| name).collect();
        true
    }

    fn forget_images(&mut self, id: NodeId) {
        for name in std::mem::take(&mut self.nodes.entries[id as usize].images) {
            if let Some(state) = self.images.get_mut(&name) {
                state.nodes -= 1;
                if state.nodes == 0 {
                    self.images.remove(&name);
                }
            }
        }
    }

    pub fn has_image(&self, id: NodeId, name: &Text) -> bool {
        self.nodes.entry(id).images.binary_search(name).is_ok()
    }
}
