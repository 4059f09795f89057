//! Whether the API server can be reached, said once: many informers and loops share one server, and when it goes away the log
//! gets one line for the whole process, and one more when it is back.

use std::sync::atomic::{AtomicBool, Ordering};

static AWAY: AtomicBool = AtomicBool::new(false);

/// Notes that a request could not be delivered. Logs the first time only.
pub fn away(why: &dyn std::fmt::Display) {
    if !AWAY.swap(true, Ordering::Relaxed) {
        tracing::warn!("the API server cannot be reached ({why}); retrying with back-off");
    }
}

/// Notes that the server answered. Logs only if it was away.
pub fn reachable() {
    if AWAY.load(Ordering::Relaxed) && AWAY.swap(false, Ordering::Relaxed) {
        tracing::info!("the API server answers again");
    }
}

/// True if an error means that the server could not be reached, as opposed to one it answered with.
pub fn is_transport(error: &kube::Error) -> bool {
    !matches!(
        error,
        kube::Error::Api(_) | kube::Error::SerdeError(_) | kube::Error::BuildRequest(_)
    )
}
