//! The published state: what readers and watchers see. It changes only whole commits at a
//! time, under one short write lock; readers clone the map out of it and iterate unlocked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::KeySpace;
use super::pins::Pins;
use super::ring::{Ring, Undo};
use super::watchers::{LocalWatch, Watchers};
use crate::types::{Entry, Options, Page, Revision, StoreError};
use crate::watch::{Event, EventKind};

pub(crate) struct Shared {
    state: RwLock<State>,
}

pub(crate) struct State {
    pub(super) space: KeySpace,
    pub(super) ring: Ring,
    pub(super) watchers: Watchers,
    pins: Pins,
    counts: Counts,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        let state = State {
            space: KeySpace::default(),
            ring: Ring::new(options),
            watchers: Watchers::default(),
            pins: Pins::default(),
            counts: Counts::default(),
            closed: false,
        };
        Arc::new(Shared {
            state: RwLock::new(state),
        })
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }

    fn open(&self) -> Result<RwLockReadGuard<'_, State>, StoreError> {
        let state = self.read();
        if state.closed {
            Err(StoreError::Closed)
        } else {
            Ok(state)
        }
    }

    /// The current state to read from without a lock.
    pub(crate) fn space(&self) -> Result<KeySpace, StoreError> {
        Ok(self.open()?.space.clone())
    }

    /// For the writer, which finishes what it accepted before it closes.
    pub(crate) fn space_even_if_closed(&self) -> KeySpace {
        self.read().space.clone()
    }

    pub(crate) fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.open()?.space.revision())
    }

    pub(crate) fn get(&self, key: &str) -> Result<(Option<Entry>, Revision), StoreError> {
        let state = self.open()?;
        Ok((state.space.get(key), state.space.revision()))
    }

    pub(crate) fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        let state = self.open()?;
        if let Some(count) = state.counts.get(prefix) {
            return Ok(count);
        }
        let space = state.space.clone();
        drop(state);
        Ok(space.iter_from(prefix, None).count() as u64)
    }

    pub(crate) fn range(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        revision: Option<Revision>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let state = self.open()?;
        let newest = state.space.revision();
        let at = revision.unwrap_or(newest);
        if at > newest {
            return Err(StoreError::FutureRevision { current: newest });
        }
        let pinned = at == newest || state.pins.find(at).is_some();
        let space = if pinned {
            state.pins.find(at).unwrap_or(&state.space).clone()
        } else {
            let (space, undo) = (state.space.clone(), state.undo(prefix, at)?);
            drop(state);
            let space = space.rewound(at, undo);
            return Ok(read_page(&space, prefix, start_after, limit, None));
        };
        let first = start_after.is_none() && at == newest;
        let total = if first {
            state.counts.get(prefix)
        } else {
            None
        };
        drop(state);
        let page = read_page(&space, prefix, start_after, limit, total);
        if page.more && at == newest {
            self.write().pins.pin(&space);
        }
        Ok(page)
    }

    pub(crate) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: Revision,
    ) -> Result<LocalWatch, StoreError> {
        let mut state = self.write();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let (current, oldest) = (state.space.revision(), state.ring.floor());
        if after > current {
            return Err(StoreError::FutureRevision { current });
        }
        if after < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        let replay = after < current;
        Ok(LocalWatch::new(
            self.clone(),
            &mut state.watchers,
            prefix,
            after,
            replay,
        ))
    }

    pub(crate) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut state = self.write();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let current = state.space.revision();
        if revision > current {
            return Err(StoreError::FutureRevision { current });
        }
        state.ring.forget_to(revision);
        state.pins.forget_below(revision);
        Ok(())
    }

    /// No commit or read after this; watches end.
    pub(crate) fn close(&self) {
        let mut state = self.write();
        state.closed = true;
        state.watchers.close();
    }
}

impl State {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// For a writer that commits under the lock; `published` must follow.
    pub(crate) fn space_mut(&mut self) -> &mut KeySpace {
        &mut self.space
    }

    /// Makes `space`, which is the state after `events`, what everyone sees.
    pub(crate) fn publish(&mut self, space: KeySpace, events: Vec<Event>) {
        self.space = space;
        self.published(events);
    }

    /// The space already holds `events`: counts, window and watchers follow.
    pub(crate) fn published(&mut self, events: Vec<Event>) {
        self.pins.expire();
        for event in &events {
            match &event.kind {
                EventKind::Put { entry, prev: None } => self.counts.add(&entry.key),
                EventKind::Put { .. } => {}
                EventKind::Delete { key, .. } => self.counts.remove(key),
            }
        }
        self.watchers.notify(&events);
        self.ring.push(events, Instant::now());
    }

    /// Fills the window from a log that is read again; the state itself comes by `reset`.
    pub(crate) fn replay(&mut self, events: Vec<Event>) {
        self.ring.push(events, Instant::now());
    }

    /// Replaces everything, as after recovery or a restore. History starts at `floor`.
    pub(crate) fn reset(&mut self, space: KeySpace, floor: Revision) {
        self.counts = Counts::default();
        for entry in space.iter_from("", None) {
            self.counts.add(entry.key());
        }
        self.ring.forget_to(floor);
        self.space = space;
    }

    /// For a read of an older revision that nobody pinned: what to take back from the newest.
    fn undo(&self, prefix: &str, at: Revision) -> Result<Undo, StoreError> {
        let oldest = self.ring.floor();
        if at < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        Ok(self.ring.undo(prefix, at))
    }
}

fn read_page(
    space: &KeySpace,
    prefix: &str,
    start_after: Option<&str>,
    limit: usize,
    total: Option<u64>,
) -> Page {
    let revision = space.revision();
    let mut rest = space.iter_from(prefix, start_after);
    let take = if limit == 0 { usize::MAX } else { limit };
    let mut entries = Vec::with_capacity(take.min(total.unwrap_or(0) as usize));
    entries.extend(rest.by_ref().take(take).map(|entry| entry.to_entry()));
    let remaining = match total {
        _ if limit == 0 => 0,
        Some(total) => total.saturating_sub(entries.len() as u64),
        None => rest.count() as u64,
    };
    Page {
        entries,
        revision,
        more: remaining > 0,
        remaining: Some(remaining),
    }
}

/// How many keys lie under each directory (`/a/`, `/a/b/`), so that counting does not walk.
#[derive(Default)]
struct Counts {
    by_directory: HashMap<Box<str>, u64>,
}

impl Counts {
    /// `None` when `prefix` is not a directory.
    fn get(&self, prefix: &str) -> Option<u64> {
        prefix
            .ends_with('/')
            .then(|| self.by_directory.get(prefix).copied().unwrap_or(0))
    }

    fn add(&mut self, key: &str) {
        for (at, _) in key.match_indices('/') {
            match self.by_directory.get_mut(&key[..=at]) {
                Some(count) => *count += 1,
                None => drop(self.by_directory.insert(key[..=at].into(), 1)),
            }
        }
    }

    fn remove(&mut self, key: &str) {
        for (at, _) in key.match_indices('/') {
            let directory = &key[..=at];
            if let Some(count) = self.by_directory.get_mut(directory) {
                *count -= 1;
                if *count == 0 {
                    self.by_directory.remove(directory);
                }
            }
        }
    }
}
