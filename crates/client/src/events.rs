//! Events: what a component wants people to see, sent in the background.
//!
//! Recording never blocks and never fails: the queue is bounded and drops the newest when the server cannot keep up. Equal events
//! are counted on one object (count, lastTimestamp) instead of being written again, as upstream's correlator does.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::rest::{self, PatchType};

/// Events that wait at most; more are dropped (and that is logged once).
const QUEUE: usize = 10_000;
/// Distinct events whose counts are remembered.
const REMEMBERED: usize = 4096;
/// Requests in flight together.
const PARALLEL: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    regarding: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: jiff::Timestamp,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    uid: String,
    name: String,
    namespace: String,
    field_path: String,
    kind: EventType,
    reason: String,
    message: String,
}

struct Seen {
    event_name: String,
    count: i64,
}

impl Recorder {
    /// `component` is event.source.component ("default-scheduler", "kubelet"), `host` its node or empty.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            component: component.to_owned(),
            host: host.to_owned(),
            seen: HashMap::new(),
        };
        tokio::spawn(writer.run(receiver));
        Self { queue }
    }

    pub fn event(
        &self,
        regarding: &ObjectReference,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let recorded = Recorded {
            regarding: regarding.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            at: jiff::Timestamp::now(),
        };
        if self.queue.try_send(recorded).is_err() {
            tracing::debug!("event queue is full, {reason} is dropped");
        }
    }

    pub fn normal(&self, regarding: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(regarding, EventType::Normal, reason, message);
    }

    pub fn warning(&self, regarding: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(regarding, EventType::Warning, reason, message);
    }
}

struct Writer {
    client: Client,
    component: String,
    host: String,
    seen: HashMap<Identity, Seen>,
}

/// What one recorded event becomes.
enum Request {
    Create {
        path: String,
        body: Value,
    },
    Count {
        path: String,
        body: Value,
        create: Box<(String, Value)>,
    },
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Recorded>) {
        let mut batch = Vec::with_capacity(PARALLEL);
        while receiver.recv_many(&mut batch, PARALLEL).await > 0 {
            let requests: Vec<Request> = batch.drain(..).map(|one| self.request(one)).collect();
            let client = &self.client;
            // Requests about one event stay in order because a repeated event waits for its batch.
            futures::future::join_all(requests.into_iter().map(|one| send(client, one))).await;
        }
    }

    fn request(&mut self, recorded: Recorded) -> Request {
        let identity = identity(&recorded);
        let namespace = event_namespace(&recorded.regarding).to_owned();
        let collection = rest::path("", "v1", &namespace, "events", "");
        let time = rfc3339(recorded.at);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        if let Some(seen) = self.seen.get_mut(&identity) {
            seen.count += 1;
            let count = seen.count;
            let body = json!({"count": count, "lastTimestamp": time});
            let path = format!("{collection}/{}", seen.event_name);
            let name = seen.event_name.clone();
            let create = self.body(&recorded, &namespace, &name, count, &time);
            return Request::Count {
                path,
                body,
                create: Box::new((collection, create)),
            };
        }
        let name = event_name(&recorded);
        let body = self.body(&recorded, &namespace, &name, 1, &time);
        self.seen.insert(
            identity,
            Seen {
                event_name: name,
                count: 1,
            },
        );
        Request::Create {
            path: collection,
            body,
        }
    }

    fn body(
        &self,
        recorded: &Recorded,
        namespace: &str,
        name: &str,
        count: i64,
        time: &str,
    ) -> Value {
        let mut source = json!({"component": self.component});
        if !self.host.is_empty() {
            source["host"] = json!(self.host);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": recorded.regarding,
            "reason": recorded.reason,
            "message": recorded.message,
            "source": source,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": count,
            "type": recorded.kind.as_str(),
            "eventTime": null,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        })
    }
}

async fn send(client: &Client, request: Request) {
    let outcome = match request {
        Request::Create { path, body } => rest::create::<Value>(client, &path, &body).await,
        Request::Count { path, body, create } => {
            match rest::patch::<Value>(client, &path, PatchType::Merge, &body).await {
                // The event was deleted or has expired meanwhile.
                Err(error) if rest::is_not_found(&error) => {
                    rest::create::<Value>(client, &create.0, &create.1).await
                }
                other => other,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!("an event was not written: {error}");
    }
}

/// Events about cluster-scoped objects live in the default namespace, as upstream's do.
fn event_namespace(regarding: &ObjectReference) -> &str {
    match regarding.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => namespace,
        _ => "default",
    }
}

/// Upstream's form: the object's name, a dot, the time in hexadecimal nanoseconds; a counter keeps equal times apart.
fn event_name(recorded: &Recorded) -> String {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = i64::try_from(recorded.at.as_nanosecond()).unwrap_or(i64::MAX);
    let last = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            Some(now.max(last + 1))
        })
        .unwrap_or(now);
    let name = recorded.regarding.name.as_deref().unwrap_or("unknown");
    format!("{name}.{:x}", now.max(last + 1))
}

fn identity(recorded: &Recorded) -> Identity {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Identity {
        uid: text(&recorded.regarding.uid),
        name: text(&recorded.regarding.name),
        namespace: text(&recorded.regarding.namespace),
        field_path: text(&recorded.regarding.field_path),
        kind: recorded.kind,
        reason: recorded.reason.clone(),
        message: recorded.message.clone(),
    }
}

/// metav1.Time: seconds.
pub fn rfc3339(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// metav1.MicroTime.
pub fn rfc3339_micro(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Sent = Arc<Mutex<Vec<(String, String, Value)>>>;

    fn noting() -> (Client, Sent, Arc<tokio::sync::Notify>) {
        let sent: Sent = Arc::default();
        let wake = Arc::new(tokio::sync::Notify::new());
        let (noted, notify) = (sent.clone(), wake.clone());
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (noted, notify) = (noted.clone(), notify.clone());
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&bytes).unwrap();
                noted.lock().unwrap().push((
                    parts.method.to_string(),
                    parts.uri.path().to_owned(),
                    body,
                ));
                notify.notify_one();
                Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(
                    bytes::Bytes::from("{}"),
                )))
            }
        });
        (Client::new(service, "default"), sent, wake)
    }

    #[tokio::test]
    async fn equal_events_are_counted() {
        let (client, sent, wake) = noting();
        let recorder = Recorder::new(client, "kubelet", "node1");
        let pod = ObjectReference {
            kind: Some("Pod".into()),
            name: Some("p".into()),
            namespace: Some("ns".into()),
            ..Default::default()
        };
        recorder.normal(&pod, "Started", "Started container c");
        wake.notified().await;
        recorder.normal(&pod, "Started", "Started container c");
        wake.notified().await;
        let sent = sent.lock().unwrap();
        assert_eq!(
            (sent[0].0.as_str(), sent[0].1.as_str()),
            ("POST", "/api/v1/namespaces/ns/events")
        );
        assert_eq!(
            sent[0].2["source"],
            json!({"component": "kubelet", "host": "node1"})
        );
        assert_eq!(sent[1].0, "PATCH");
        assert_eq!(sent[1].2["count"], 2);
        let name = sent[0].2["metadata"]["name"].as_str().unwrap();
        assert!(sent[1].1.ends_with(name));
    }
}
