//! The one clock of the controllers: wall time in production, time that tests can pause and move.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// Tells the time. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Starts at `base` and moves with tokio's clock, which a test can pause and advance.
    Tokio { base: Timestamp, start: Instant },
}

impl Clock {
    /// A clock that follows tokio's, for tests.
    pub fn tokio(base: Timestamp) -> Self {
        Self::Tokio {
            base,
            start: Instant::now(),
        }
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Tokio { base, start } => {
                let elapsed =
                    SignedDuration::try_from(start.elapsed()).unwrap_or(SignedDuration::ZERO);
                *base + elapsed
            }
        }
    }
}

/// How long from `now` until `then`; zero if it has passed.
pub fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// `time` moved by a number of seconds.
pub fn plus_seconds(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// `time` moved by a duration.
pub fn plus(time: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
