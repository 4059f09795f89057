//! Who waits for which prefix. A commit wakes only watchers whose prefix it touches; each of
//! them holds nothing but the revision of the first event it has not yet taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use super::shared::Shared;
use crate::types::{Revision, StoreError};
use crate::watch::{Batch, Event};

/// A batch never holds more events than this (plus the rest of one commit).
pub(super) const BATCH_EVENTS: usize = 1000;

/// The part of a watcher that commits touch.
#[derive(Default)]
pub(super) struct Slot {
    id: u64,
    /// The first event not yet taken; 0 when there is none.
    pending: AtomicU64,
    closed: AtomicBool,
    waker: AtomicWaker,
}

impl Slot {
    fn notify(&self, revision: Revision) {
        let _ = self
            .pending
            .compare_exchange(0, revision, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }
}

/// Watchers by prefix. Prefixes that end in `/` are found by the slashes of a key; others,
/// which are rare, by the lengths in use.
#[derive(Default)]
pub(super) struct Watchers {
    by_prefix: HashMap<Box<str>, Vec<Arc<Slot>>>,
    other_lengths: BTreeMap<usize, usize>,
    next_id: u64,
}

impl Watchers {
    /// `pending`: the first revision the watcher has not seen, if it is to be replayed.
    fn add(&mut self, prefix: &str, pending: Option<Revision>) -> Arc<Slot> {
        self.next_id += 1;
        let pending = AtomicU64::new(pending.unwrap_or(0));
        let slot = Arc::new(Slot {
            id: self.next_id,
            pending,
            ..Slot::default()
        });
        self.by_prefix
            .entry(prefix.into())
            .or_default()
            .push(slot.clone());
        if !prefix.ends_with('/') {
            *self.other_lengths.entry(prefix.len()).or_default() += 1;
        }
        slot
    }

    fn remove(&mut self, prefix: &str, id: u64) {
        let Some(slots) = self.by_prefix.get_mut(prefix) else {
            return;
        };
        slots.retain(|slot| slot.id != id);
        if slots.is_empty() {
            self.by_prefix.remove(prefix);
        }
        if !prefix.ends_with('/')
            && let Some(count) = self.other_lengths.get_mut(&prefix.len())
        {
            *count -= 1;
            if *count == 0 {
                self.other_lengths.remove(&prefix.len());
            }
        }
    }

    pub(super) fn notify(&self, events: &[Event]) {
        if self.by_prefix.is_empty() {
            return;
        }
        for event in events {
            let key: &str = event.key();
            for (at, _) in key.match_indices('/') {
                self.notify_prefix(&key[..=at], event.revision);
            }
            for &length in self.other_lengths.keys() {
                if let Some(prefix) = key.get(..length)
                    && !prefix.ends_with('/')
                {
                    self.notify_prefix(prefix, event.revision);
                }
            }
        }
    }

    fn notify_prefix(&self, prefix: &str, revision: Revision) {
        for slot in self.by_prefix.get(prefix).into_iter().flatten() {
            slot.notify(revision);
        }
    }

    pub(super) fn close(&mut self) {
        for slot in self.by_prefix.values().flatten() {
            slot.closed.store(true, Ordering::Release);
            slot.waker.wake();
        }
    }
}

/// A watch of an in-memory key space.
pub(crate) struct LocalWatch {
    shared: Arc<Shared>,
    prefix: Box<str>,
    slot: Arc<Slot>,
    position: Revision,
}

impl LocalWatch {
    pub(super) fn new(
        shared: Arc<Shared>,
        watchers: &mut Watchers,
        prefix: &str,
        after: Revision,
        replay: bool,
    ) -> Self {
        let slot = watchers.add(prefix, replay.then_some(after + 1));
        LocalWatch {
            shared,
            prefix: prefix.into(),
            slot,
            position: after,
        }
    }

    pub(crate) fn position(&self) -> Revision {
        self.position
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Batch, StoreError>>> {
        // Registered first: a commit between the look and the sleep must wake us.
        self.slot.waker.register(cx.waker());
        if self.slot.pending.load(Ordering::Acquire) != 0
            && let Some(item) = self.take()
        {
            return Poll::Ready(Some(item));
        }
        if self.slot.closed.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// The events not yet taken, or `None` if there are none up to `position`.
    pub(crate) fn take(&mut self) -> Option<Result<Batch, StoreError>> {
        let state = self.shared.read();
        let from = self.slot.pending.load(Ordering::Acquire);
        if from == 0 {
            self.position = state.space.revision();
            return None;
        }
        if from <= state.ring.floor() {
            let oldest = state.ring.floor();
            return Some(Err(StoreError::Compacted { oldest }));
        }
        let mut events: Vec<Event> = Vec::new();
        let mut next = 0;
        for event in state.ring.after(from - 1) {
            if !event.key().starts_with(&*self.prefix) {
                continue;
            }
            let whole_commit = events
                .last()
                .is_none_or(|last| last.revision != event.revision);
            if events.len() >= BATCH_EVENTS && whole_commit {
                next = event.revision;
                break;
            }
            events.push(event.clone());
        }
        // Commits notify under the write lock, so nothing comes in between.
        self.slot.pending.store(next, Ordering::Release);
        let revision = if next == 0 {
            state.space.revision()
        } else {
            next - 1
        };
        self.position = revision;
        (!events.is_empty()).then_some(Ok(Batch { revision, events }))
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.shared
            .write()
            .watchers
            .remove(&self.prefix, self.slot.id);
    }
}
