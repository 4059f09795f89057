//! Key spaces kept for paged reads: the pages after the first read the same revision, however
//! many commits came in between. Bounded by count and age; a read that comes back later than
//! that is told `Compacted`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::KeySpace;
use crate::types::Revision;

/// As long as upstream keeps history between compactions.
const MAX_AGE: Duration = Duration::from_secs(300);
const MAX_PINS: usize = 16;

#[derive(Default)]
pub(super) struct Pins {
    pins: VecDeque<(Instant, KeySpace)>,
}

impl Pins {
    /// Called when a page leaves more to read.
    pub(super) fn pin(&mut self, space: &KeySpace) {
        self.expire();
        if self.find(space.revision()).is_none() {
            if self.pins.len() == MAX_PINS {
                self.pins.pop_front();
            }
            self.pins.push_back((Instant::now(), space.clone()));
        }
    }

    /// Called with each commit: only then does a pin start to cost memory.
    pub(super) fn expire(&mut self) {
        while self
            .pins
            .front()
            .is_some_and(|(at, _)| at.elapsed() > MAX_AGE)
        {
            self.pins.pop_front();
        }
    }

    pub(super) fn find(&self, revision: Revision) -> Option<&KeySpace> {
        self.pins
            .iter()
            .map(|(_, space)| space)
            .find(|space| space.revision() == revision)
    }

    pub(super) fn forget_below(&mut self, revision: Revision) {
        self.pins.retain(|(_, space)| space.revision() >= revision);
    }
}
