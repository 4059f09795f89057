//! Topology keys in use: for each, which domain (label value) every node belongs to.
//!
//! Invariant: `domain_of[node]` is [`NO_DOMAIN`] exactly when the node is not present or lacks the label.

use hashbrown::HashMap;

use super::{Cluster, NodeId};
use crate::labels::Labels;
use crate::objects::Text;

pub type KeyId = u32;

pub const NO_DOMAIN: u32 = u32::MAX;

#[derive(Default)]
pub struct Keys {
    ids: HashMap<Text, KeyId>,
    keys: Vec<TopologyKey>,
}

pub struct TopologyKey {
    pub name: Text,
    values: HashMap<Text, u32>,
    domain_of: Vec<u32>,
    members: Vec<Vec<NodeId>>,
}

impl TopologyKey {
    pub fn domain(&self, node: NodeId) -> u32 {
        self.domain_of
            .get(node as usize)
            .copied()
            .unwrap_or(NO_DOMAIN)
    }

    pub fn members(&self, domain: u32) -> &[NodeId] {
        &self.members[domain as usize]
    }

    /// Nodes whose label has this value.
    pub fn members_of(&self, value: &str) -> &[NodeId] {
        match self.values.get(value) {
            Some(&domain) => self.members(domain),
            None => &[],
        }
    }

    /// How many values were ever seen.
    pub fn domains(&self) -> usize {
        self.members.len()
    }

    fn place(&mut self, node: NodeId, value: Option<&Text>) {
        let row = node as usize;
        if self.domain_of.len() <= row {
            self.domain_of.resize(row + 1, NO_DOMAIN);
        }
        let new = match value {
            None => NO_DOMAIN,
            Some(value) => match self.values.get(value) {
                Some(&domain) => domain,
                None => {
                    let domain = self.members.len() as u32;
                    self.values.insert(value.clone(), domain);
                    self.members.push(Vec::new());
                    domain
                }
            },
        };
        let old = std::mem::replace(&mut self.domain_of[row], new);
        if old == new {
            return;
        }
        if old != NO_DOMAIN {
            self.members[old as usize].retain(|member| *member != node);
        }
        if new != NO_DOMAIN {
            self.members[new as usize].push(node);
        }
    }
}

impl Keys {
    pub fn get(&self, id: KeyId) -> &TopologyKey {
        &self.keys[id as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Forgets the keys beyond the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        for key in self.keys.drain(len..) {
            self.ids.remove(&key.name);
        }
    }

    /// Puts a node where its labels say; `None`: it is gone.
    pub(super) fn place(&mut self, node: NodeId, labels: Option<&Labels>) {
        for key in &mut self.keys {
            let value = labels.and_then(|labels| labels.get(&key.name));
            key.place(node, value);
        }
    }
}

impl Cluster {
    pub fn key(&self, id: KeyId) -> &TopologyKey {
        self.keys.get(id)
    }

    pub(crate) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Forgets the topology keys beyond the first `len`; nothing may use them any more.
    pub(crate) fn forget_keys(&mut self, len: usize) {
        self.keys.truncate(len);
    }

    /// The key's id; a new key is filled in from all nodes. Keys are few (they are part of rules) and are kept.
    pub fn intern_key(&mut self, name: &Text) -> KeyId {
        if let Some(&id) = self.keys.ids.get(name) {
            return id;
        }
        let mut key = TopologyKey {
            name: name.clone(),
            values: HashMap::new(),
            domain_of: Vec::new(),
            members: Vec::new(),
        };
        for node in self.nodes.iter() {
            key.place(node, self.nodes.entry(node).facts.labels.get(name));
        }
        let id = self.keys.keys.len() as KeyId;
        self.keys.keys.push(key);
        self.keys.ids.insert(name.clone(), id);
        id
    }
}
