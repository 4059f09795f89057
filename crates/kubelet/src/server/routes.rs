//! Which path is answered by what.

use super::auth::{Peer, Refusal};
use super::{Server, logs, stats, stream};
use bytes::Bytes;
use fluyt_kubelet_core::model;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

pub(super) type Body = BoxBody<Bytes, std::convert::Infallible>;

/// Plain text.
pub(super) fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    body(code, "text/plain; charset=utf-8", text)
}

fn body(code: u16, kind: &str, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(content.into()).boxed());
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(kind) = kind.parse() {
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, kind);
    }
    response
}

/// JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => body(200, "application/json", bytes),
        Err(error) => text(500, error.to_string()),
    }
}

/// The query's parameters.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(uri: &http::Uri) -> Self {
        let text = uri.query().unwrap_or_default();
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// True for any of the names given as 1 or true.
    pub fn flag(&self, names: &[&str]) -> bool {
        names
            .iter()
            .any(|name| matches!(self.get(name), Some("1" | "true" | "True")))
    }
}

/// Answers one request.
pub(super) async fn answer(
    server: Arc<Server>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let token = request
        .headers()
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match server
        .authority
        .check(peer, request.method(), &path, token)
        .await
    {
        Ok(()) => route(server, &path, request).await,
        Err(Refusal::Unauthorized) => text(401, "Unauthorized"),
        Err(Refusal::Forbidden(message)) => text(403, message),
    }
}

async fn route(server: Arc<Server>, path: &str, request: Request<Incoming>) -> Response<Body> {
    let query = Query::of(request.uri());
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let get = request.method() == Method::GET;
    let post = request.method() == Method::POST;
    match parts.as_slice() {
        ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => text(200, "ok"),
        ["pods"] if get => json(&pod_list(&server, false)),
        ["runningpods"] if get => json(&pod_list(&server, true)),
        ["metrics"] if get => body(
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            stats::metrics(&server),
        ),
        ["metrics", "resource" | "cadvisor"] if get => body(
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            stats::resource_metrics(&server).await,
        ),
        ["stats", "summary"] if get => json(&stats::summary(&server).await),
        ["configz"] if get => json(&serde_json::json!({"kubeletconfig": {
            "maxPods": server.context.settings.max_pods,
            "cgroupRoot": server.context.settings.cgroup_root,
            "clusterDomain": server.context.settings.dns.domain,
            "clusterDNS": server.context.settings.dns.servers,
        }})),
        ["containerLogs", namespace, pod, container] if get => {
            logs::answer(&server, namespace, pod, container, &query)
        }
        ["run", namespace, pod, container] | ["run", namespace, pod, _, container] if post => {
            stream::run(&server, namespace, pod, container, &query).await
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container]
            if get || post =>
        {
            stream::exec(&server, namespace, pod, container, &query, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container]
            if get || post =>
        {
            stream::attach(&server, namespace, pod, container, &query, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] if get || post => {
            stream::port_forward(&server, namespace, pod, &query, request).await
        }
        _ => text(404, "404 page not found\n"),
    }
}

fn pod_list(server: &Server, running: bool) -> serde_json::Value {
    let handles = server.handles.read();
    let pods: Vec<Arc<Pod>> = handles
        .values()
        .filter(|handle| !running || !handle.observed.read().all_stopped())
        .map(|handle| handle.current.read().clone())
        .collect();
    let items: Vec<serde_json::Value> = pods
        .iter()
        .map(|pod| {
            let mut value = serde_json::to_value(&**pod).unwrap_or_default();
            // In a list the items' kind is the list's.
            if let Some(object) = value.as_object_mut() {
                object.remove("kind");
                object.remove("apiVersion");
            }
            value
        })
        .collect();
    serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// The worker's handle of a pod by namespace and name.
pub(super) fn find(
    server: &Server,
    namespace: &str,
    name: &str,
) -> Option<crate::pods::worker::Handle> {
    let handles = server.handles.read();
    let matches = |handle: &&crate::pods::worker::Handle| {
        let pod = handle.current.read();
        model::namespace(&pod) == namespace && model::name(&pod) == name
    };
    let all: Vec<_> = handles.values().filter(matches).cloned().collect();
    // Of two pods of one name the one that is not about to leave.
    let staying = all
        .iter()
        .find(|handle| !handle.desired.borrow().gone)
        .cloned();
    staying.or_else(|| all.into_iter().next())
}
