//! The bounded window of a resource's recent events. Invariant: frames are in revision order, and every event with
//! a revision above `floor` is in the ring; a reader whose position fell out of it is told so, never served a gap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluyt_store::Revision;

use super::frame::Frame;

/// Bounds of one ring. Whichever is hit first drops the oldest frame.
const MAX_FRAMES: usize = 8192;
/// As much as the store keeps for those who fall behind: seconds of a busy cluster. What is superseded is held by nobody else.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Beyond this many frames, those older than [`KEEP`] go.
const KEEP_FRAMES: usize = 512;
const KEEP: Duration = Duration::from_secs(90);

#[derive(Default)]
pub(crate) struct Ring {
    frames: VecDeque<Arc<Frame>>,
    /// Sequence number of the front frame.
    first: u64,
    /// Events up to this revision may be missing.
    floor: Revision,
    /// Every event up to this revision has been seen.
    progress: Revision,
    bytes: usize,
}

/// A reader fell behind the window.
#[derive(Debug)]
pub(crate) struct Lagged;

impl Ring {
    pub(crate) fn new(floor: Revision) -> Self {
        Ring {
            floor,
            progress: floor,
            ..Default::default()
        }
    }

    /// Forgets everything; readers at older positions will be told that they lag.
    pub(crate) fn reset(&mut self, floor: Revision) {
        self.first += self.frames.len() as u64 + 1;
        self.frames.clear();
        self.bytes = 0;
        self.floor = floor;
        self.progress = floor;
    }

    pub(crate) fn push(&mut self, frame: Arc<Frame>) {
        self.bytes += frame.size_bytes();
        let now = frame.at;
        self.frames.push_back(frame);
        self.trim(now);
    }

    fn trim(&mut self, now: Instant) {
        while let Some(front) = self.frames.front() {
            let full = self.frames.len() > MAX_FRAMES || self.bytes > MAX_BYTES;
            let stale = self.frames.len() > KEEP_FRAMES && now.duration_since(front.at) > KEEP;
            if !(full || stale) || self.frames.len() == 1 {
                break;
            }
            self.bytes -= front.size_bytes();
            self.floor = front.revision;
            self.first += 1;
            self.frames.pop_front();
        }
    }

    /// Every event up to this revision has been pushed. What has become too old goes, also while nothing happens to this resource.
    pub(crate) fn advance(&mut self, progress: Revision, now: Instant) {
        self.progress = self.progress.max(progress);
        self.trim(now);
    }

    pub(crate) fn progress(&self) -> Revision {
        self.progress
    }

    #[cfg(test)]
    fn floor(&self) -> Revision {
        self.floor
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// The position behind all events up to `revision`; `None` when the window does not reach back to it.
    pub(crate) fn position(&self, revision: Revision) -> Option<u64> {
        if revision < self.floor {
            return None;
        }
        let index = self
            .frames
            .partition_point(|frame| frame.revision <= revision);
        Some(self.first + index as u64)
    }

    /// Up to `limit` frames from `position` on.
    pub(crate) fn read(
        &self,
        position: u64,
        limit: usize,
        into: &mut Vec<Arc<Frame>>,
    ) -> Result<(), Lagged> {
        if position < self.first {
            return Err(Lagged);
        }
        let start = (position - self.first) as usize;
        into.extend(self.frames.iter().skip(start).take(limit).cloned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fluyt_store::{Entry, Event, EventKind};

    use super::*;

    fn frame(revision: Revision) -> Arc<Frame> {
        let entry = Entry {
            key: "/a/b".into(),
            value: Bytes::from_static(b"{}"),
            create_revision: revision,
            mod_revision: revision,
        };
        Arc::new(Frame::new(Event {
            revision,
            kind: EventKind::Put { entry, prev: None },
        }))
    }

    #[test]
    fn positions_follow_revisions_and_lagging_readers_are_told() {
        let mut ring = Ring::new(10);
        for revision in [12, 12, 15] {
            ring.push(frame(revision));
        }
        assert_eq!(ring.position(9), None);
        assert_eq!(ring.position(10), Some(0));
        assert_eq!(ring.position(12), Some(2));
        assert_eq!(ring.position(99), Some(3));
        for revision in 16..16 + MAX_FRAMES as u64 {
            ring.push(frame(revision));
        }
        let mut frames = Vec::new();
        assert!(ring.read(0, 10, &mut frames).is_err());
        assert_eq!(ring.position(12), None);
        let position = ring.position(ring.floor()).unwrap();
        ring.read(position, 10, &mut frames).unwrap();
        assert_eq!(frames[0].revision, ring.floor() + 1);
    }

    #[test]
    fn old_frames_go_although_no_new_ones_come() {
        let mut ring = Ring::new(0);
        for revision in 1..=2 * KEEP_FRAMES as u64 {
            ring.push(frame(revision));
        }
        ring.advance(5000, Instant::now());
        assert_eq!(ring.position(0), Some(0));
        ring.advance(6000, Instant::now() + KEEP + Duration::from_secs(1));
        assert_eq!(ring.position(0), None);
        assert_eq!(ring.floor(), KEEP_FRAMES as u64);
        assert_eq!(ring.progress(), 6000);
    }
}
