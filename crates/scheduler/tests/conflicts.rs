//! A server that refuses a binding the first time: the pod is bound the second time, and never twice.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluyt_client::kube::Client;
use fluyt_client::kube::client::Body;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Server {
    bindings: Mutex<Vec<Value>>,
    bound: tokio::sync::Notify,
}

type Answer = http_body_util::combinators::BoxBody<bytes::Bytes, Infallible>;

fn whole(value: &Value) -> Answer {
    use http_body_util::BodyExt;
    Full::new(bytes::Bytes::from(value.to_string())).boxed()
}

/// A watch that says nothing.
fn silence() -> Answer {
    use http_body_util::BodyExt;
    http_body_util::StreamBody::new(futures::stream::pending()).boxed()
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let watch = parts
            .uri
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let items = match path {
            "/api/v1/nodes" => {
                json!([{"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}}])
            }
            "/api/v1/pods" => {
                json!([{"metadata": {"name": "p", "namespace": "default", "uid": "u1"},
                "spec": {"schedulerName": "default-scheduler", "containers": [{"image": "a"}]}}])
            }
            _ => json!([]),
        };
        if path.ends_with("/binding") {
            let body: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
            let mut bindings = self.bindings.lock().unwrap();
            bindings.push(body);
            if bindings.len() == 1 {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409,
                                    "message": "Operation cannot be fulfilled"});
                let mut response = Response::new(whole(&status));
                *response.status_mut() = http::StatusCode::CONFLICT;
                return response;
            }
            self.bound.notify_one();
            return Response::new(whole(&json!({"kind": "Status", "status": "Success"})));
        }
        match watch {
            true => Response::new(silence()),
            false => Response::new(whole(
                &json!({"metadata": {"resourceVersion": "1"}, "items": items}),
            )),
        }
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: fluyt_scheduler::Options,
}

#[tokio::test]
async fn a_refused_binding_is_tried_again() {
    let server = Arc::new(Server::default());
    let shared = server.clone();
    let service = tower::service_fn(move |request| {
        let server = shared.clone();
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let line = <Line as clap::Parser>::try_parse_from([
        "kube-scheduler",
        "--leader-elect=false",
        "--secure-port=0",
    ]);
    let stop = CancellationToken::new();
    let run = fluyt_scheduler::run(
        line.unwrap().options,
        Client::new(service, "default"),
        stop.clone(),
    );
    let task = tokio::spawn(run);
    tokio::time::timeout(Duration::from_secs(120), server.bound.notified())
        .await
        .unwrap();
    stop.cancel();
    task.await.unwrap().unwrap();
    let bindings = server.bindings.lock().unwrap();
    assert_eq!(bindings.len(), 2);
    for binding in bindings.iter() {
        assert_eq!(binding["target"]["name"], "n1");
        assert_eq!(binding["metadata"]["uid"], "u1");
    }
}
