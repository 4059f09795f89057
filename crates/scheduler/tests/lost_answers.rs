//! A binding that takes effect although the connection breaks before the answer: until the scheduler knows what became of it, the
//! room on that node is not given to another pod.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluyt_client::kube::Client;
use fluyt_client::kube::client::Body;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

type Answer = http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>;

#[derive(Default)]
struct Server {
    /// Pod and node, as requested.
    bindings: Mutex<Vec<(String, String)>>,
    /// An event says that a pod was scheduled.
    scheduled: tokio::sync::Notify,
}

fn whole(code: StatusCode, value: &Value) -> Response<Answer> {
    let mut response = Response::new(Full::new(bytes::Bytes::from(value.to_string())).boxed());
    *response.status_mut() = code;
    response
}

fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({"metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"schedulerName": "default-scheduler", "containers": [{"image": "a"}]}});
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> io::Result<Response<Answer>> {
        let (parts, body) = request.into_parts();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let body = body.collect_bytes().await.unwrap();
        if let Some(pod) = path.strip_suffix("/binding") {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let pod = pod.rsplit('/').next().unwrap().to_owned();
            return self.bind(pod, body["target"]["name"].as_str().unwrap());
        }
        if path.ends_with("/events") && String::from_utf8_lossy(&body).contains("\"Scheduled\"") {
            self.scheduled.notify_one();
        }
        if query.contains("watch=true") {
            let silence = http_body_util::StreamBody::new(futures::stream::pending());
            return Ok(Response::new(silence.boxed()));
        }
        if let Some(name) = path.strip_prefix("/api/v1/namespaces/default/pods/") {
            let bindings = self.bindings.lock().unwrap();
            let bound = bindings.iter().find(|(pod, _)| pod == name);
            let node = bound.map(|(_, node)| node.as_str());
            return Ok(whole(StatusCode::OK, &pod(name, node)));
        }
        let items = match path {
            "/api/v1/nodes" => json!([{"metadata": {"name": "n1"},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "1"}}}]),
            "/api/v1/pods" => json!([pod("p1", None), pod("p2", None)]),
            _ => json!([]),
        };
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": items});
        Ok(whole(StatusCode::OK, &list))
    }

    /// The first binding of all takes effect, and its connection breaks.
    fn bind(&self, pod: String, node: &str) -> io::Result<Response<Answer>> {
        let mut bindings = self.bindings.lock().unwrap();
        let again = bindings.iter().any(|(bound, _)| *bound == pod);
        bindings.push((pod, node.to_owned()));
        if bindings.len() == 1 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let status = match again {
            true => StatusCode::CONFLICT,
            false => StatusCode::CREATED,
        };
        let reason = if again { "Conflict" } else { "" };
        let body = json!({"kind": "Status", "apiVersion": "v1", "reason": reason, "code": status.as_u16(),
                          "status": if again { "Failure" } else { "Success" }, "message": "pod is already assigned to node \"n1\""});
        Ok(whole(status, &body))
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: fluyt_scheduler::Options,
}

#[tokio::test]
async fn room_stays_taken_until_the_outcome_is_known() {
    let server = Arc::new(Server::default());
    let shared = server.clone();
    let service = tower::service_fn(move |request| {
        let server = shared.clone();
        async move { server.answer(request).await }
    });
    let words = ["kube-scheduler", "--leader-elect=false", "--secure-port=0"];
    let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
    let stop = CancellationToken::new();
    let client = Client::new(service, "default");
    let task = tokio::spawn(fluyt_scheduler::run(line.options, client, stop.clone()));
    let scheduled = server.scheduled.notified();
    tokio::time::timeout(Duration::from_secs(120), scheduled)
        .await
        .expect("the pod is known to be bound");
    stop.cancel();
    task.await.unwrap().unwrap();
    let bindings = server.bindings.lock().unwrap();
    assert!(
        bindings.len() >= 2,
        "the binding was tried again: {bindings:?}"
    );
    assert!(
        bindings
            .iter()
            .all(|(pod, node)| *pod == bindings[0].0 && node == "n1"),
        "{bindings:?}"
    );
}
