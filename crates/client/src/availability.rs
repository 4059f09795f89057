//! Whether the API server can be reached, said once: many informers and loops share one server, and when it goes away the log
//! gets one line for the whole process, and one more when it is back.

use std::sync::atomic::{AtomicU64, Ordering};

static SERVER: Changes = Changes(AtomicU64::new(0));

/// When a request was begun, in changes.
#[derive(Clone, Copy, Debug)]
pub struct Asked(u64);

/// To be called before a request whose answer is then told to [`reachable`].
pub fn asking() -> Asked {
    SERVER.asking()
}

/// Notes that a request could not be delivered. Logs the first time only.
pub fn away(why: &dyn std::fmt::Display) {
    if SERVER.lost() {
        tracing::warn!("the API server cannot be reached ({why}); retrying with back-off");
    }
}

/// Notes that the server answered. Logs only if it was away, and only for a request begun since then: what it answered before it went
/// away may be read later.
pub fn reachable(asked: Asked) {
    if SERVER.found(asked) {
        tracing::info!("the API server answers again");
    }
}

/// Counts losses and returns: odd while the server is away.
struct Changes(AtomicU64);

impl Changes {
    fn asking(&self) -> Asked {
        Asked(self.0.load(Ordering::Relaxed))
    }

    /// Whether this is news.
    fn lost(&self) -> bool {
        let Asked(now) = self.asking();
        now.is_multiple_of(2) && self.change(now)
    }

    /// Whether this is news.
    fn found(&self, Asked(then): Asked) -> bool {
        !then.is_multiple_of(2) && self.change(then)
    }

    /// False if it has changed since `from`.
    fn change(&self, from: u64) -> bool {
        self.0
            .compare_exchange(from, from + 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// True if an error means that the server could not be reached, as opposed to one it answered with.
pub fn is_transport(error: &kube::Error) -> bool {
    !matches!(
        error,
        kube::Error::Api(_) | kube::Error::SerdeError(_) | kube::Error::BuildRequest(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_does_not_end_a_loss() {
        let server = Changes(AtomicU64::new(0));
        let early = server.asking();
        assert!(server.lost() && !server.lost());
        assert!(!server.found(early), "it was asked before the loss");
        let since = server.asking();
        assert!(server.found(since) && !server.found(since));
        assert!(server.lost());
        assert!(!server.found(since), "it was asked in an earlier loss");
    }
}
