//! What a controller has asked for and not yet seen in its cache, so that a second look at a cache that lags does not create or
//! delete twice.
//!
//! Creates are counted, deletions are remembered by uid. An expectation that is not met within five minutes counts as met: the
//! cache has missed something, and the next reconcile must look again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const EXPIRY: Duration = Duration::from_secs(5 * 60);

#[derive(Default)]
pub struct Expectations {
    keys: Mutex<HashMap<Arc<str>, Expected>>,
}

struct Expected {
    creations: usize,
    deletions: HashSet<Box<str>>,
    since: Instant,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            creations: 0,
            deletions: HashSet::new(),
            since: Instant::now(),
        }
    }
}

impl Expectations {
    /// Before `count` creates are sent.
    pub fn expect_creations(&self, key: &str, count: usize) {
        let mut keys = self.keys.lock();
        let expected = keys.entry(key.into()).or_default();
        expected.creations += count;
        expected.since = Instant::now();
    }

    /// Before deletes are sent.
    pub fn expect_deletions<'a>(&self, key: &str, uids: impl IntoIterator<Item = &'a str>) {
        let mut keys = self.keys.lock();
        let expected = keys.entry(key.into()).or_default();
        expected.deletions.extend(uids.into_iter().map(Box::from));
        expected.since = Instant::now();
    }

    /// `count` created objects have been seen, or will never come.
    pub fn creations_observed(&self, key: &str, count: usize) {
        if let Some(expected) = self.keys.lock().get_mut(key) {
            expected.creations = expected.creations.saturating_sub(count);
        }
    }

    /// An object is gone, or going, or could not be deleted.
    pub fn deletion_observed(&self, key: &str, uid: &str) {
        if let Some(expected) = self.keys.lock().get_mut(key) {
            expected.deletions.remove(uid);
        }
    }

    /// Whether the cache shows everything that was asked for.
    pub fn satisfied(&self, key: &str) -> bool {
        self.keys.lock().get(key).is_none_or(|expected| {
            (expected.creations == 0 && expected.deletions.is_empty())
                || expected.since.elapsed() > EXPIRY
        })
    }

    pub fn forget(&self, key: &str) {
        self.keys.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn met_when_seen_or_when_too_old() {
        let expectations = Expectations::default();
        assert!(expectations.satisfied("a"));
        expectations.expect_creations("a", 2);
        expectations.expect_deletions("a", ["u1"]);
        expectations.creations_observed("a", 1);
        expectations.deletion_observed("a", "other");
        assert!(!expectations.satisfied("a"));
        expectations.creations_observed("a", 1);
        expectations.deletion_observed("a", "u1");
        assert!(expectations.satisfied("a"));
        expectations.creations_observed("a", 1);
        expectations.expect_creations("a", 1);
        assert!(
            !expectations.satisfied("a"),
            "an event too many is not saved up"
        );
        tokio::time::advance(EXPIRY + Duration::from_secs(1)).await;
        assert!(expectations.satisfied("a"));
    }
}
