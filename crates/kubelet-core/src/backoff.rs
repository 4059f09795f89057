//! Back-off per key: 10 s, doubling to 5 min, forgotten after 10 min without a failure.
//! Used for containers that keep ending and for images that cannot be pulled.

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// The first delay.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay; twice this without a failure forgets the key.
pub const LONGEST: SignedDuration = SignedDuration::from_secs(300);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// The delays that are in force.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    entries: HashMap<String, Entry>,
}

impl Backoff {
    /// When the delay that a failure at `since` started ends, if it has not ended.
    pub fn due(&self, key: &str, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.entries.get(key)?;
        if expired(entry, since) {
            return None;
        }
        let due = since.saturating_add(entry.delay).unwrap_or(Timestamp::MAX);
        (now < due).then_some(due)
    }

    /// When the key's delay ends, counted from the last failure, if it has not ended.
    pub fn due_since_update(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let updated = self.entries.get(key)?.updated;
        self.due(key, updated, now)
    }

    /// The key's delay; zero when it has none.
    pub fn delay(&self, key: &str) -> SignedDuration {
        self.entries
            .get(key)
            .map_or(SignedDuration::ZERO, |entry| entry.delay)
    }

    /// Notes another try after a failure at `since`: the delay doubles.
    pub fn next(&mut self, key: &str, since: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !expired(entry, since) => (entry.delay * 2).min(LONGEST),
            _ => INITIAL,
        };
        self.entries.insert(
            key.to_owned(),
            Entry {
                delay,
                updated: now,
            },
        );
    }

    /// Forgets a key: it succeeded.
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets what has not failed for long.
    pub fn collect(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| !expired(entry, now));
    }
}

fn expired(entry: &Entry, at: Timestamp) -> bool {
    at.duration_since(entry.updated) > LONGEST * 2
}

/// A delay as messages show it: "10s", "1m20s", "5m0s".
pub fn display(delay: SignedDuration) -> String {
    let seconds = delay.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn the_delay_doubles_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        let mut seen = Vec::new();
        for _ in 0..7 {
            backoff.next("a", at(now), at(now));
            seen.push(backoff.delay("a").as_secs());
            now += backoff.delay("a").as_secs();
        }
        assert_eq!(seen, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn the_first_failure_waits_for_nothing() {
        assert_eq!(Backoff::default().due("a", at(0), at(0)), None);
    }

    #[test]
    fn due_is_counted_from_the_failure() {
        let mut backoff = Backoff::default();
        backoff.next("a", at(0), at(0));
        assert_eq!(backoff.due("a", at(5), at(6)), Some(at(15)));
        assert_eq!(backoff.due("a", at(5), at(15)), None);
    }

    #[test]
    fn ten_quiet_minutes_forget() {
        let mut backoff = Backoff::default();
        backoff.next("a", at(0), at(0));
        backoff.next("a", at(1), at(1));
        assert_eq!(backoff.due("a", at(602), at(602)), None);
        backoff.next("a", at(602), at(602));
        assert_eq!(backoff.delay("a").as_secs(), 10);
    }

    #[test]
    fn delays_read_as_upstream_prints_them() {
        assert_eq!(display(SignedDuration::from_secs(10)), "10s");
        assert_eq!(display(SignedDuration::from_secs(80)), "1m20s");
        assert_eq!(display(SignedDuration::from_secs(300)), "5m0s");
    }
}
