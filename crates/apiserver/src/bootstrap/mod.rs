//! What a server puts in place before it is ready: the namespaces and policy that everything relies on, the
//! `kubernetes` service, and the health checks that say when.

pub(crate) mod objects;
pub(crate) mod policy;

use std::sync::atomic::{AtomicBool, Ordering};

use http::{Response, StatusCode};

use crate::dispatch::Request;
use crate::http::body::Body;
use crate::http::respond;

/// What /readyz depends on.
#[derive(Default)]
pub(crate) struct Health {
    ready: AtomicBool,
    notify: tokio::sync::Notify,
}

impl Health {
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) async fn wait(&self) {
        loop {
            let notified = self.notify.notified();
            if self.is_ready() {
                return;
            }
            notified.await;
        }
    }
}

/// The checks behind an endpoint, in the order in which `?verbose` lists them.
fn checks(endpoint: &str) -> &'static [&'static str] {
    match endpoint {
        "readyz" => &[
            "ping",
            "log",
            "etcd",
            "poststarthook/rbac/bootstrap-roles",
            "shutdown",
        ],
        "livez" => &["ping", "log", "etcd"],
        _ => &["ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"],
    }
}

/// /healthz, /livez, /readyz and their single checks.
pub(crate) fn health(request: &Request, endpoint: &str, rest: &[&str]) -> Response<Body> {
    let core = &request.core;
    let passes = |check: &str| match check {
        "poststarthook/rbac/bootstrap-roles" => core.health.is_ready(),
        "shutdown" => !core.shutdown.is_cancelled(),
        _ => true,
    };
    let known = checks(endpoint);
    if !rest.is_empty() {
        let wanted = rest.join("/");
        return match known.iter().find(|check| **check == wanted) {
            None => respond::text(StatusCode::NOT_FOUND, "404 page not found\n"),
            Some(check) if passes(check) => respond::text(StatusCode::OK, "ok"),
            Some(_) => respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal server error: not finished\n",
            ),
        };
    }
    let excluded: Vec<&str> = request.query.all("exclude").collect();
    let failed = known
        .iter()
        .any(|check| !excluded.contains(check) && !passes(check));
    let verbose = request.query.get("verbose").is_some();
    if !failed && !verbose {
        return respond::text(StatusCode::OK, "ok");
    }
    let mut text = String::new();
    for check in known {
        if excluded.contains(check) {
            text.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(check) {
            text.push_str(&format!("[+]{check} ok\n"));
        } else {
            text.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    if failed {
        text.push_str(&format!("{endpoint} check failed\n"));
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, text);
    }
    text.push_str(&format!("{endpoint} check passed\n"));
    respond::text(StatusCode::OK, text)
}
