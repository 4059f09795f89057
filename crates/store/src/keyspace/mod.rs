//! The live key space of the memory and embedded backends: an ordered persistent map.
//! Cloning it is O(1), so a reader works on one revision without holding a lock, and a writer
//! that fails to reach the disk goes back to the clone that is published.

mod pins;
mod ring;
mod shared;
mod watchers;

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

pub(crate) use shared::Shared;
pub(crate) use watchers::LocalWatch;

use crate::embedded::format::Item;
use crate::types::{Committed, Entry, Op, Precondition, Revision, SpliceFn, StoreError, splice_in};
use crate::watch::{Event, EventKind};

#[derive(Clone, Debug)]
struct Record {
    value: Bytes,
    create_revision: Revision,
    mod_revision: Revision,
}

/// All live keys at one revision.
#[derive(Clone, Default)]
pub(crate) struct KeySpace {
    map: OrdMap<Arc<str>, Record>,
    revision: Revision,
}

impl KeySpace {
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// For recovery and restore: the counter moves on without a commit, never back.
    pub(crate) fn advance_to(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.map.get_key_value(key).map(entry)
    }

    /// Entries with `prefix`, after `start_after` (exclusive), in byte order.
    pub(crate) fn iter_from<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> impl Iterator<Item = EntryRef<'a>> {
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.map
            .range::<(Bound<&str>, Bound<&str>), str>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, record)| EntryRef { key, record })
    }

    /// Checks `ops` against this state and applies them as the next revision, or changes
    /// nothing and says which precondition failed.
    pub(crate) fn commit(
        &mut self,
        ops: Vec<Op>,
        splice: SpliceFn,
        events: &mut Vec<Event>,
    ) -> Result<Committed, StoreError> {
        self.check(&ops)?;
        let revision = self.revision + 1;
        let before = events.len();
        let entries = ops
            .into_iter()
            .map(|op| self.apply(op, revision, splice, events))
            .collect();
        if events.len() > before {
            self.revision = revision;
        }
        Ok(Committed {
            revision: self.revision,
            entries,
        })
    }

    fn check(&self, ops: &[Op]) -> Result<(), StoreError> {
        if ops.len() > 1 {
            let mut keys = HashSet::with_capacity(ops.len());
            if let Some(op) = ops.iter().find(|op| !keys.insert(op.key())) {
                let key = op.key();
                return Err(StoreError::Invalid(format!(
                    "key {key} appears twice in one commit"
                )));
            }
        }
        for (index, op) in ops.iter().enumerate() {
            let precondition = op.precondition();
            if precondition == Precondition::None {
                continue;
            }
            let current = self.map.get_key_value(op.key());
            if !holds(precondition, current.map(|(_, record)| record.mod_revision)) {
                let current = current.map(entry);
                return Err(StoreError::PreconditionFailed { index, current });
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        op: Op,
        revision: Revision,
        splice: SpliceFn,
        events: &mut Vec<Event>,
    ) -> Option<Entry> {
        match op {
            Op::Put { key, value, .. } => {
                let value = splice_in(splice, value, revision);
                let prev = self.get(&key);
                // An update keeps the key's allocation: one copy of each key, however old.
                let key = prev
                    .as_ref()
                    .map_or_else(|| Arc::from(key), |prev| prev.key.clone());
                let create_revision = prev.as_ref().map_or(revision, |prev| prev.create_revision);
                let entry = Entry {
                    key,
                    value,
                    create_revision,
                    mod_revision: revision,
                };
                self.insert(entry.clone());
                let kind = EventKind::Put {
                    entry: entry.clone(),
                    prev,
                };
                events.push(Event { revision, kind });
                Some(entry)
            }
            Op::Delete { key, .. } => {
                let prev = self.remove(&key)?;
                let kind = EventKind::Delete {
                    key: prev.key.clone(),
                    prev: prev.clone(),
                };
                events.push(Event { revision, kind });
                Some(prev)
            }
        }
    }

    /// The state at an older revision, given what to take back from this one. It is true only
    /// for the keys that `undo` covers.
    fn rewound(mut self, revision: Revision, undo: ring::Undo) -> Self {
        for (key, then) in undo {
            match then {
                Some(entry) => self.insert(entry),
                None => drop(self.remove(&key)),
            }
        }
        self.revision = revision;
        self
    }

    /// Without a check or an event: for recovery and restore.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let Entry {
            key,
            value,
            create_revision,
            mod_revision,
        } = entry;
        self.map.insert(
            key,
            Record {
                value,
                create_revision,
                mod_revision,
            },
        );
    }

    /// Without a check or an event: for recovery.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let (key, record) = self.map.remove_with_key(key)?;
        let Record {
            value,
            create_revision,
            mod_revision,
        } = record;
        Some(Entry {
            key,
            value,
            create_revision,
            mod_revision,
        })
    }
}

/// A borrowed [`Entry`].
pub(crate) struct EntryRef<'a> {
    key: &'a Arc<str>,
    record: &'a Record,
}

impl<'a> EntryRef<'a> {
    pub(crate) fn key(&self) -> &'a Arc<str> {
        self.key
    }

    pub(crate) fn value(&self) -> &'a Bytes {
        &self.record.value
    }

    pub(crate) fn to_item(&self) -> Item<'a> {
        Item::Entry {
            key: self.key,
            create_revision: self.record.create_revision,
            mod_revision: self.record.mod_revision,
            value: &self.record.value,
        }
    }

    pub(crate) fn to_entry(&self) -> Entry {
        entry((self.key, self.record))
    }
}

fn entry((key, record): (&Arc<str>, &Record)) -> Entry {
    Entry {
        key: key.clone(),
        value: record.value.clone(),
        create_revision: record.create_revision,
        mod_revision: record.mod_revision,
    }
}

fn holds(precondition: Precondition, mod_revision: Option<Revision>) -> bool {
    match precondition {
        Precondition::None => true,
        Precondition::Absent => mod_revision.is_none(),
        Precondition::Exists => mod_revision.is_some(),
        Precondition::ModRevision(wanted) => mod_revision == Some(wanted),
    }
}
