//! CSIStorageCapacity: how large a volume a class still has room for, where.

use hashbrown::HashMap;

use super::index::{LabelIndex, needed_by_selector};
use crate::cluster::{Change, Cluster};
use crate::labels::{Labels, Selector};
use crate::objects::Text;
use crate::storage::CsiStorageCapacity;

#[derive(Default)]
pub struct Capacities {
    ids: HashMap<Text, u32>,
    entries: Vec<Option<Capacity>>,
    free: Vec<u32>,
    by_class: HashMap<Text, LabelIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Capacity {
    class: Text,
    /// The nodes that have access; absent upstream means none.
    nodes: Selector,
    /// Bytes of the largest volume; `None`: nothing fits.
    limit: Option<i64>,
}

impl Capacities {
    /// There is room for a volume of this class and size on a node with these labels.
    pub fn suffice(&self, class: &str, bytes: i64, labels: &Labels) -> bool {
        let Some(index) = self.by_class.get(class) else {
            return false;
        };
        index.candidates(labels).any(|id| {
            self.entries[id as usize].as_ref().is_some_and(|one| {
                one.limit.is_some_and(|limit| limit >= bytes) && one.nodes.matches(labels)
            })
        })
    }

    fn take(&mut self, key: &str) -> Option<Capacity> {
        let id = self.ids.remove(key)?;
        let capacity = self.entries[id as usize].take()?;
        self.free.push(id);
        if let Some(index) = self.by_class.get_mut(&capacity.class) {
            index.remove(id, &needed_by_selector(&capacity.nodes));
        }
        Some(capacity)
    }

    fn put(&mut self, key: Text, capacity: Capacity) {
        let index = self.by_class.entry(capacity.class.clone()).or_default();
        let needed = needed_by_selector(&capacity.nodes);
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = Some(capacity);
                id
            }
            None => {
                self.entries.push(Some(capacity));
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 capacities")
            }
        };
        index.insert(id, &needed);
        self.ids.insert(key, id);
    }
}

/// What an update means for waiting pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityChange {
    pub added: bool,
    pub raised: bool,
}

impl Cluster {
    /// Adds or updates a capacity; `None`: nothing new.
    pub fn set_storage_capacity(&mut self, object: &CsiStorageCapacity) -> Option<CapacityChange> {
        let meta = &object.metadata;
        let key = super::claim_key(&meta.namespace, &meta.name);
        let new = Capacity {
            class: object.storage_class_name.clone(),
            nodes: Selector::new(object.node_topology.as_ref()),
            limit: object.limit(),
        };
        let before = self.volumes.capacities.take(&key);
        self.volumes.capacities.put(key, new.clone());
        if before.as_ref() == Some(&new) {
            return None;
        }
        if let Some(before) = &before
            && before.nodes != new.nodes
        {
            self.note_selected(&before.nodes);
        }
        self.note_selected(&new.nodes);
        let limit = before.as_ref().and_then(|before| before.limit);
        Some(CapacityChange {
            added: before.is_none(),
            raised: new
                .limit
                .is_some_and(|new| limit.is_none_or(|limit| new > limit)),
        })
    }

    pub fn remove_storage_capacity(&mut self, key: &str) {
        if let Some(capacity) = self.volumes.capacities.take(key) {
            self.note_selected(&capacity.nodes);
        }
    }

    fn note_selected(&mut self, selector: &Selector) {
        for node in self.nodes_with(&needed_by_selector(selector)) {
            if selector.matches(&self.nodes.entry(node).facts.labels) {
                self.note(node, Change::Pods);
            }
        }
    }
}
