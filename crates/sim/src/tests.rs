//! The simulation against a scripted API server: what it sends, and when it sends it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use fluyt_client::kube;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Options;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn options(flags: &[&str]) -> Options {
    Flags::parse_from(std::iter::once("sim").chain(flags.iter().copied())).options
}

/// Objects by path, and every write that came.
#[derive(Default)]
struct Server {
    writes: Mutex<Vec<(String, Value)>>,
    changed: Notify,
    /// Answered once each, before anything else.
    failures: Mutex<HashMap<String, u16>>,
    watch: Mutex<Option<String>>,
}

impl Server {
    fn client(self: &Arc<Self>) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(
        &self,
        request: Request<kube::client::Body>,
    ) -> Response<http_body_util::Full<bytes::Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.method == Method::GET {
            return self.read(parts.uri.query().unwrap_or_default()).await;
        }
        let line = format!("{} {}", parts.method, parts.uri.path());
        let failure = self.failures.lock().unwrap().remove(&line);
        let body: Value = serde_json::from_slice(&body).unwrap();
        self.writes.lock().unwrap().push((line, body));
        self.changed.notify_waiters();
        let (status, reason) = match failure {
            Some(409) => (409, "AlreadyExists"),
            Some(404) => (404, "NotFound"),
            Some(status) => (status, "InternalError"),
            None => (200, ""),
        };
        let object = match status {
            200 => json!({ "metadata": { "uid": "u-1", "name": "x" } }),
            _ => {
                json!({ "kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": "no" })
            }
        };
        response(status, object.to_string())
    }

    async fn read(&self, query: &str) -> Response<http_body_util::Full<bytes::Bytes>> {
        if !query.contains("watch=true") {
            assert!(
                query.contains("fieldSelector=spec.nodeName%21%3D"),
                "{query}"
            );
            return response(
                200,
                json!({ "metadata": { "resourceVersion": "1" }, "items": [] }).to_string(),
            );
        }
        let lines = self.watch.lock().unwrap().take();
        match lines {
            Some(lines) => response(200, lines),
            None => std::future::pending().await,
        }
    }

    fn count(&self, line: &str) -> usize {
        self.writes
            .lock()
            .unwrap()
            .iter()
            .filter(|(found, _)| found == line)
            .count()
    }

    fn body(&self, line: &str) -> Value {
        let writes = self.writes.lock().unwrap();
        writes
            .iter()
            .find(|(found, _)| found == line)
            .unwrap()
            .1
            .clone()
    }

    async fn until(&self, line: &str, count: usize) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if self.count(line) >= count {
                    return;
                }
                changed.await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(3600), wait).await;
        assert!(
            came.is_ok(),
            "{line} did not come {count} times: {:?}",
            self.writes.lock().unwrap()
        );
    }
}

fn response(status: u16, body: String) -> Response<http_body_util::Full<bytes::Bytes>> {
    Response::builder()
        .status(status)
        .body(http_body_util::Full::from(body))
        .unwrap()
}

fn pod(node: &str, uid: &str, more: Value) -> Value {
    let mut metadata =
        json!({ "name": uid, "namespace": "default", "uid": uid, "resourceVersion": "5" });
    metadata
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let containers =
        json!([{ "name": "main", "image": "pause" }, { "name": "side", "image": "busybox" }]);
    json!({
        "metadata": metadata,
        "spec": { "nodeName": node, "containers": containers },
        "status": { "phase": "Pending" },
    })
}

fn events(pods: &[Value]) -> String {
    pods.iter()
        .map(|pod| json!({ "type": "MODIFIED", "object": pod }).to_string() + "\n")
        .collect()
}

async fn simulate(server: &Arc<Server>, flags: &[&str], check: impl Future<Output = ()>) {
    let shutdown = CancellationToken::new();
    let simulation = tokio::spawn(crate::run(
        options(flags),
        server.client(),
        shutdown.clone(),
    ));
    check.await;
    shutdown.cancel();
    simulation.await.unwrap().unwrap();
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

#[tokio::test(start_paused = true)]
async fn nodes_register_and_renew() {
    let server = Arc::new(Server::default());
    simulate(&server, &["--nodes", "3"], async {
        server.until(&format!("PATCH {LEASES}/sim-2"), 3).await;
        assert_eq!(server.count("POST /api/v1/nodes"), 3);
        assert_eq!(server.count(&format!("POST {LEASES}")), 3);
        for node in ["sim-0", "sim-1"] {
            assert!((2..=3).contains(&server.count(&format!("PATCH {LEASES}/{node}"))));
        }
        let node = server.body("POST /api/v1/nodes");
        assert_eq!(
            node["metadata"]["labels"]["kubernetes.io/hostname"],
            "sim-0"
        );
        assert_eq!(node["status"]["allocatable"]["pods"], "110");
        assert_eq!(node["status"]["conditions"][3]["type"], "Ready");
        let lease = server.body(&format!("POST {LEASES}"));
        assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], "u-1");
        assert_eq!(lease["spec"]["holderIdentity"], "sim-0");
        server.until("PATCH /api/v1/nodes/sim-1/status", 2).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nodes_of_an_earlier_run_are_taken_over() {
    let server = Arc::new(Server::default());
    let exists = [
        ("POST /api/v1/nodes".to_owned(), 409),
        (format!("POST {LEASES}"), 409),
    ];
    server.failures.lock().unwrap().extend(exists);
    simulate(&server, &["--nodes", "1"], async {
        server.until(&format!("PATCH {LEASES}/sim-0"), 2).await;
        assert_eq!(server.count("PATCH /api/v1/nodes/sim-0/status"), 1);
        let taken = server.body(&format!("PATCH {LEASES}/sim-0"));
        assert_eq!(taken["spec"]["holderIdentity"], "sim-0");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again() {
    let server = Arc::new(Server::default());
    let failures = [
        ("POST /api/v1/nodes".to_owned(), 500),
        (format!("PATCH {LEASES}/sim-0"), 404),
    ];
    server.failures.lock().unwrap().extend(failures);
    simulate(&server, &["--nodes", "1"], async {
        // Refused once, then registered; registered again after its lease was not there.
        server.until("POST /api/v1/nodes", 3).await;
        server.until(&format!("PATCH {LEASES}/sim-0"), 3).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pods_run_and_end() {
    let server = Arc::new(Server::default());
    let ending =
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30 });
    let pods = [
        pod("sim-1", "a", json!({})),
        pod("sim-1", "a", json!({})),
        pod("sim-9", "not-ours", json!({})),
        pod("sim-01", "not-ours-either", json!({})),
        pod("sim-0", "b", ending.clone()),
        pod("sim-0", "b", ending),
    ];
    *server.watch.lock().unwrap() = Some(events(&pods));
    simulate(&server, &["--nodes", "2"], async {
        server
            .until("PATCH /api/v1/namespaces/default/pods/a/status", 1)
            .await;
        server
            .until("DELETE /api/v1/namespaces/default/pods/b", 1)
            .await;
        let body = server.body("PATCH /api/v1/namespaces/default/pods/a/status");
        assert_eq!(body["metadata"]["uid"], "a");
        let status = &body["status"];
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["podIP"], "10.64.0.1");
        assert_eq!(status["hostIP"], "100.64.0.2");
        assert_eq!(status["containerStatuses"][1]["name"], "side");
        assert!(status["containerStatuses"][0]["state"]["running"]["startedAt"].is_string());
        assert!(status.get("initContainerStatuses").is_none());
        let gone = server.body("DELETE /api/v1/namespaces/default/pods/b");
        assert_eq!(
            (&gone["gracePeriodSeconds"], &gone["preconditions"]["uid"]),
            (&json!(0), &json!("b"))
        );
        let writes = server.writes.lock().unwrap();
        let to_pods = writes.iter().filter(|(line, _)| line.contains("/pods/"));
        assert_eq!(to_pods.count(), 2);
    })
    .await;
}
