//! Exponential back-off with jitter, as a value: the caller sleeps.

use std::time::Duration;

/// Doubles from `first` to `max`; each delay is spread over [d/2, d] so that many clients do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            attempts: 0,
        }
    }

    /// For connections to the API server: 100 ms doubling to 10 s.
    pub const fn for_server() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let factor = 1u32 << self.attempts.min(20);
        let full = self.first.saturating_mul(factor).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts again from the first delay.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_resets() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let delays: Vec<_> = (0..6).map(|_| backoff.next_delay()).collect();
        for (delay, full) in delays.iter().zip([100, 200, 400, 800, 1000, 1000]) {
            assert!(
                *delay >= Duration::from_millis(full / 2) && *delay <= Duration::from_millis(full)
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
