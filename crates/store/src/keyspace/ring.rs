//! The window of recent events, shared by all watchers and by reads of older revisions.
//! It is bounded by count, by the bytes that only it keeps alive, and by age; the oldest commits
//! leave first, whole, and `floor` says how far back the rest reaches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::types::{Entry, Options, Revision};
use crate::watch::{Event, EventKind};

/// What an event costs besides the superseded value.
const EVENT_BYTES: usize = std::mem::size_of::<Event>();
/// Ages are known to about this.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// What each changed key held before; `None`: it did not exist.
pub(super) type Undo = BTreeMap<Arc<str>, Option<Entry>>;

pub(super) struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
    max_age: Duration,
    /// What the newest revision was at some moments, oldest first.
    marks: VecDeque<(Instant, Revision)>,
    /// Every event above this revision is in the window.
    floor: Revision,
}

impl Ring {
    pub(super) fn new(options: &Options) -> Self {
        Ring {
            events: VecDeque::new(),
            bytes: 0,
            max_events: options.window_events,
            max_bytes: options.window_bytes,
            max_age: options.window_age,
            marks: VecDeque::new(),
            floor: 0,
        }
    }

    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    pub(super) fn push(&mut self, events: Vec<Event>, now: Instant) {
        let newest = events.last().map(|event| event.revision);
        for event in events {
            self.bytes += cost(&event);
            self.events.push_back(event);
        }
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(oldest) = self.events.front() else {
                break;
            };
            self.forget_to(oldest.revision);
        }
        self.forget_old(newest, now);
    }

    /// Only a commit makes others old: nothing wakes up for it, and an idle store keeps its
    /// history.
    fn forget_old(&mut self, newest: Option<Revision>, now: Instant) {
        while let Some(&(at, revision)) = self.marks.front()
            && now.duration_since(at) > self.max_age
        {
            self.marks.pop_front();
            self.forget_to(revision);
        }
        let due = self
            .marks
            .back()
            .is_none_or(|(at, _)| now.duration_since(*at) >= MARK_EVERY);
        if let Some(newest) = newest
            && due
        {
            self.marks.push_back((now, newest));
        }
    }

    /// Drops every event up to and including `revision`.
    pub(super) fn forget_to(&mut self, revision: Revision) {
        while self
            .events
            .front()
            .is_some_and(|event| event.revision <= revision)
        {
            let event = self.events.pop_front().expect("front was there");
            self.bytes -= cost(&event);
        }
        self.floor = self.floor.max(revision);
        if self.events.capacity() > 1024 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    /// Events above `after`, oldest first.
    pub(super) fn after(&self, after: Revision) -> impl Iterator<Item = &Event> {
        let start = self.events.partition_point(|event| event.revision <= after);
        self.events.range(start..)
    }

    /// What each key under `prefix` that changed after `revision` held at `revision`.
    pub(super) fn undo(&self, prefix: &str, revision: Revision) -> Undo {
        let mut then = BTreeMap::new();
        for event in self.after(revision) {
            if event.key().starts_with(prefix) {
                then.entry(event.key().clone())
                    .or_insert_with(|| event.prev().cloned());
            }
        }
        then
    }
}

fn cost(event: &Event) -> usize {
    let superseded = event.prev().map_or(0, |prev| prev.value.len());
    let key = match event.kind {
        EventKind::Put { .. } => 0,
        EventKind::Delete { .. } => event.key().len(),
    };
    EVENT_BYTES + key + superseded
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(revision: Revision, superseded: usize) -> Event {
        let entry = |revision, size| Entry {
            key: "/k".into(),
            value: Bytes::from(vec![0; size]),
            create_revision: 1,
            mod_revision: revision,
        };
        let prev = (superseded > 0).then(|| entry(revision - 1, superseded));
        Event {
            revision,
            kind: EventKind::Put {
                entry: entry(revision, 1),
                prev,
            },
        }
    }

    fn ring(options: Options) -> Ring {
        Ring::new(&options)
    }

    #[test]
    fn every_bound_drops_the_oldest_commits_whole() {
        let now = Instant::now();
        let mut by_count = ring(Options {
            window_events: 10,
            ..Options::default()
        });
        for revision in 1..=20 {
            by_count.push(
                vec![put(revision, 0), put(revision, 0), put(revision, 0)],
                now,
            );
            assert!(by_count.events.len() <= 10 && by_count.events.len().is_multiple_of(3));
        }
        assert_eq!(by_count.floor(), 17);
        assert_eq!(by_count.after(18).count(), 6);

        let mut by_bytes = ring(Options {
            window_bytes: 100_000,
            ..Options::default()
        });
        for revision in 2..=100 {
            by_bytes.push(vec![put(revision, 10_000)], now);
            assert!(by_bytes.bytes <= 100_000);
        }
        assert!((88..96).contains(&by_bytes.floor()), "{}", by_bytes.floor());
    }

    #[test]
    fn old_events_go_when_newer_ones_come() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ring = ring(Options {
            window_age: Duration::from_secs(60),
            ..Options::default()
        });
        for second in 0..100 {
            ring.push(
                vec![put(2 * second + 1, 0), put(2 * second + 2, 0)],
                at(second),
            );
            assert!(ring.marks.len() <= 62);
        }
        // Second 99 is here: what came up to second 38 is gone.
        assert_eq!(ring.floor(), 78);
        ring.push(vec![put(1000, 0)], at(100_000));
        assert_eq!(ring.events.len(), 1);
    }
}
