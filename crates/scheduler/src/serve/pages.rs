//! Pages for people and probes: health, flags, status; in upstream's layout.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::{PLAIN, text};
use crate::health::Health;

/// `/healthz`, `/livez`, `/readyz`, each with `/CHECK` below it, `?verbose` and `?exclude=CHECK`.
pub fn health(health: &Health, path: &str, query: Option<&str>) -> Response<Full<Bytes>> {
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let (root, one) = (parts.next().unwrap_or_default(), parts.next());
    let words: Vec<&str> = query.unwrap_or_default().split('&').collect();
    let verbose = words
        .iter()
        .any(|word| *word == "verbose" || word.starts_with("verbose="));
    let excluded = |name: &str| {
        words
            .iter()
            .any(|word| word.strip_prefix("exclude=") == Some(name))
    };
    let checks = health.checks(path);
    if let Some(one) = one {
        return match checks.iter().find(|(name, _)| *name == one) {
            None => text(
                StatusCode::NOT_FOUND,
                PLAIN,
                "404 page not found\n".to_owned(),
            ),
            Some((_, None)) => text(StatusCode::OK, PLAIN, "ok".to_owned()),
            Some((_, Some(why))) => {
                let body = format!("internal server error: {why}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, body)
            }
        };
    }
    let (mut lines, mut failed) = (String::new(), false);
    for (name, why) in checks {
        lines += &match why {
            _ if excluded(name) => format!("[+]{name} excluded: ok\n"),
            None => format!("[+]{name} ok\n"),
            Some(_) => {
                failed = true;
                format!("[-]{name} failed: reason withheld\n")
            }
        };
    }
    match (failed, verbose) {
        (true, _) => {
            let body = format!("{lines}{root} check failed\n");
            text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, body)
        }
        (false, true) => text(
            StatusCode::OK,
            PLAIN,
            format!("{lines}{root} check passed\n"),
        ),
        (false, false) => text(StatusCode::OK, PLAIN, "ok".to_owned()),
    }
}

const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";

pub fn flags(flags: &str) -> String {
    format!("\nkube-scheduler flagz\n{WARNING}\n\n{flags}")
}

pub fn status(started: jiff::Timestamp) -> String {
    let up = jiff::Timestamp::now().as_second() - started.as_second();
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "\nkube-scheduler statusz\n{WARNING}\n\nStarted: {started}\nUp: {hours} hr {minutes:02} min {seconds:02} sec\n\
         Binary version: {version}\nEmulation version: 1.36\n\
         Paths: /configz /flagz /healthz /livez /metrics /metrics/resources /readyz /statusz\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_waits_for_the_cluster() {
        let state = Health::default();
        let code = |path: &str, query| health(&state, path, query).status().as_u16();
        assert_eq!(code("/healthz", None), 200);
        assert_eq!(code("/readyz", None), 500);
        assert_eq!(code("/readyz", Some("exclude=sched-handler-sync")), 200);
        assert_eq!(code("/readyz/sched-handler-sync", None), 500);
        assert_eq!(code("/readyz/ping", None), 200);
        assert_eq!(code("/readyz/nope", None), 404);
        state.synced();
        assert_eq!(code("/readyz", None), 200);
        state.stop();
        assert_eq!(code("/readyz", None), 500);
        assert_eq!(code("/livez", None), 200);
    }
}
