//! What /healthz, /livez and /readyz say, in the format of upstream's checks.

use std::sync::atomic::{AtomicBool, Ordering};

/// How the scheduler is. It is healthy while it answers, and ready once it has seen the cluster.
#[derive(Default)]
pub struct Health {
    synced: AtomicBool,
    /// It watches only once it leads, and does not yet.
    standby: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    pub fn synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    pub fn set_standby(&self, standby: bool) {
        self.standby.store(standby, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The checks of a path with what fails.
    pub fn checks(&self, path: &str) -> Vec<(&'static str, Option<&'static str>)> {
        let mut checks = vec![("ping", None)];
        if path.starts_with("/readyz") {
            let ready = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
            let sync = match ready(&self.synced) || ready(&self.standby) {
                true => None,
                false => Some("handlers are not fully synchronized"),
            };
            let stopping = ready(&self.stopping).then_some("process is shutting down");
            checks.extend([("sched-handler-sync", sync), ("shutdown", stopping)]);
        }
        checks
    }
}
