//! List, then watch, one resource into slim objects.
//!
//! A type that implements [`Slim`] decodes only the fields its component reads, which keeps a cache of thousands of pods at a few
//! megabytes. The stream never ends and never fails: it resumes a broken watch where it was, lists again when the server has
//! forgotten that place (410), waits with back-off while the server is away, and skips (and logs) an object that does not decode.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::Method;
use http_body_util::BodyExt;
use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::backoff::Backoff;
use crate::{availability, rest};

/// An object as a cache keeps it.
pub trait Slim: DeserializeOwned + Send + Sync + 'static {
    /// metadata.resourceVersion: where a broken watch resumes.
    fn resource_version(&self) -> &str;
}

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
    /// Sent as the Accept header, for example to receive metav1.PartialObjectMetadata instead of whole objects.
    pub accept: Option<String>,
    /// A server without this resource is one where there are none.
    pub optional: bool,
}

/// Accept header values that ask for the metadata of objects only.
pub const METADATA_ONLY_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
pub const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

impl Source {
    pub fn new(group: &str, version: &str, plural: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            ..Self::default()
        }
    }

    /// The server may be one that does not know the resource.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    pub fn labels(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.label_selector);
        self
    }

    pub fn fields(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.field_selector);
        self
    }

    /// Receive metadata only; for garbage collection and namespace deletion.
    pub fn metadata_only(mut self) -> Self {
        self.accept = Some(METADATA_ONLY.to_owned());
        self
    }

    pub fn path(&self) -> String {
        rest::path(
            &self.group,
            &self.version,
            &self.namespace,
            &self.plural,
            "",
        )
    }

    fn url(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = form(parameters);
        for (name, value) in [
            ("labelSelector", &self.label_selector),
            ("fieldSelector", &self.field_selector),
        ] {
            if !value.is_empty() {
                query.push('&');
                query.push_str(&form(&[(name, value)]));
            }
        }
        format!("{}?{query}", self.path())
    }
}

/// Query parameters, percent-encoded where it matters.
fn form(parameters: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z'
                | b'a'..=b'z'
                | b'0'..=b'9'
                | b'-'
                | b'_'
                | b'.'
                | b'~'
                | b','
                | b'/' => {
                    out.push(byte as char);
                }
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    out
}

/// What an informer tells, in order. After `Restarted` everything that is not in it is gone.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event<T> {
    /// The whole list: at the start, and again whenever the watch could not be resumed.
    Restarted(Vec<T>),
    /// Added or modified.
    Applied(T),
    /// Deleted; the object's last state.
    Deleted(T),
}

/// Watches for ever. Dropping the stream closes the watch.
pub fn watch<T: Slim>(client: Client, source: Source) -> impl Stream<Item = Event<T>> + Send {
    let informer = Informer {
        client,
        source,
        state: State::List,
        backoff: Backoff::for_server(),
        ready: VecDeque::new(),
    };
    futures::stream::unfold(informer, |mut informer| async move {
        let event = informer.next().await;
        Some((event, informer))
    })
}

/// As [`watch`], with all events that have arrived together, so that a burst is handled as one batch.
pub fn watch_batches<T: Slim>(
    client: Client,
    source: Source,
) -> impl Stream<Item = Vec<Event<T>>> + Send {
    let informer = Informer {
        client,
        source,
        state: State::List,
        backoff: Backoff::for_server(),
        ready: VecDeque::new(),
    };
    futures::stream::unfold(informer, |mut informer| async move {
        let first = informer.next().await;
        let mut batch = Vec::with_capacity(1 + informer.ready.len());
        batch.push(first);
        batch.extend(informer.ready.drain(..));
        Some((batch, informer))
    })
}

/// Where an informer stands. List leads to Watch; Watch to Streaming, or back to List when its place is forgotten (410);
/// Streaming to Watch when the connection ends, or to List on an ERROR event.
enum State {
    List,
    Watch {
        resource_version: String,
    },
    Streaming {
        body: kube::client::Body,
        line: BytesMut,
        resource_version: String,
    },
}

struct Informer<T> {
    client: Client,
    source: Source,
    state: State,
    backoff: Backoff,
    ready: VecDeque<Event<T>>,
}

#[derive(Deserialize)]
struct ListHead<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    continue_: String,
}

#[derive(Deserialize)]
struct WatchLine<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: HeadMeta,
    #[serde(default)]
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HeadMeta {
    name: String,
    namespace: String,
    resource_version: String,
}

/// What the caller of a step must do next.
enum Step {
    Again,
    Wait(Duration),
}

impl<T: Slim> Informer<T> {
    async fn next(&mut self) -> Event<T> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let step = match &self.state {
                State::List => self.list().await,
                State::Watch { .. } => self.open().await,
                State::Streaming { .. } => self.read().await,
            };
            if let Step::Wait(delay) = step {
                tokio::time::sleep(delay).await;
            }
        }
    }

    fn failed(&mut self, error: &kube::Error, what: &str) -> Step {
        if availability::is_transport(error) {
            availability::away(error);
        } else if self.backoff.attempts() == 0 {
            tracing::warn!("{what} {}: {error}", self.source.path());
        }
        Step::Wait(self.backoff.next_delay())
    }

    async fn list(&mut self) -> Step {
        let asked = availability::asking();
        match self.list_all().await {
            Ok((objects, resource_version)) => {
                availability::reachable(asked);
                self.backoff.reset();
                self.ready.push_back(Event::Restarted(objects));
                self.state = State::Watch { resource_version };
                Step::Again
            }
            // The server does not have this resource (an older one, or the group is switched off): as good as empty, for now.
            Err(error) if self.source.optional && rest::is_not_found(&error) => self.absent(),
            Err(error) => self.failed(&error, "cannot list"),
        }
    }

    /// Says once that there is nothing, and asks again now and then: the resource may come with an upgrade.
    fn absent(&mut self) -> Step {
        if self.backoff.attempts() > 0 {
            return Step::Wait(self.backoff.next_delay());
        }
        let _ = self.backoff.next_delay();
        tracing::info!("{}: the server has no such resource", self.source.path());
        self.ready.push_back(Event::Restarted(Vec::new()));
        Step::Again
    }

    /// All pages; `resourceVersion=0` is not used, so that the list is not older than what was already seen.
    async fn list_all(&mut self) -> Result<(Vec<T>, String), kube::Error> {
        let mut objects = Vec::new();
        let mut continue_ = String::new();
        loop {
            let mut parameters = vec![("limit", "1000")];
            if !continue_.is_empty() {
                parameters.push(("continue", &continue_));
            }
            let bytes = self.get_list(&self.source.url(&parameters)).await?;
            let page: ListHead = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
            for raw in page.items.unwrap_or_default() {
                objects.extend(self.decode(raw));
            }
            if page.metadata.continue_.is_empty() {
                objects.shrink_to_fit();
                return Ok((objects, page.metadata.resource_version));
            }
            continue_ = page.metadata.continue_;
        }
    }

    async fn get_list(&mut self, url: &str) -> Result<Bytes, kube::Error> {
        let mut request = rest::request(Method::GET, url, "", Vec::new())?;
        if self.source.accept.is_some() {
            let value = http::HeaderValue::from_static(METADATA_ONLY_LIST);
            request.headers_mut().insert(http::header::ACCEPT, value);
        }
        rest::send(&self.client, request).await
    }

    /// A bad object is left out, named in the log, and never fatal.
    fn decode(&self, raw: &RawValue) -> Option<T> {
        match serde_json::from_str::<T>(raw.get()) {
            Ok(object) => Some(object),
            Err(error) => {
                let head = serde_json::from_str::<Head>(raw.get()).ok();
                let (namespace, name) = head
                    .map(|head| (head.metadata.namespace, head.metadata.name))
                    .unwrap_or_default();
                tracing::error!(
                    "{} {namespace}/{name} is skipped, it does not decode: {error}",
                    self.source.plural
                );
                None
            }
        }
    }

    async fn open(&mut self) -> Step {
        let State::Watch { resource_version } = &self.state else {
            return Step::Again;
        };
        let resource_version = resource_version.clone();
        let asked = availability::asking();
        match self.open_watch(&resource_version).await {
            Ok(body) => {
                availability::reachable(asked);
                self.state = State::Streaming {
                    body,
                    line: BytesMut::new(),
                    resource_version,
                };
                Step::Again
            }
            Err(kube::Error::Api(status)) if status.code == 410 => {
                self.state = State::List;
                Step::Again
            }
            Err(error) => self.failed(&error, "cannot watch"),
        }
    }

    async fn open_watch(
        &mut self,
        resource_version: &str,
    ) -> Result<kube::client::Body, kube::Error> {
        // Spread over 5 to 10 minutes, as reflectors do, so that watches are not renewed together.
        let timeout = rand::random_range(300..600u32).to_string();
        let url = self.source.url(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", &timeout),
        ]);
        let mut request = rest::request(Method::GET, &url, "", Vec::new())?;
        if let Some(accept) = &self.source.accept
            && let Ok(value) = http::HeaderValue::from_str(accept)
        {
            request.headers_mut().insert(http::header::ACCEPT, value);
        }
        let response = self
            .client
            .send(request.map(kube::client::Body::from))
            .await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let code = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        let status = serde_json::from_slice::<kube::core::Status>(&body)
            .unwrap_or_else(|_| kube::core::Status::failure("watch refused", "").with_code(code));
        Err(kube::Error::Api(status.boxed()))
    }

    async fn read(&mut self) -> Step {
        let State::Streaming { body, .. } = &mut self.state else {
            return Step::Again;
        };
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.take(&data);
                }
                Step::Again
            }
            Some(Err(error)) => self.ended(Some(error.to_string())),
            None => self.ended(None),
        }
    }

    /// The connection is over: resume where it was. An end without an error is the server's time-out, and normal.
    fn ended(&mut self, error: Option<String>) -> Step {
        let State::Streaming {
            resource_version, ..
        } = &mut self.state
        else {
            return Step::Again;
        };
        let resource_version = std::mem::take(resource_version);
        self.state = State::Watch { resource_version };
        match error {
            Some(error) => {
                tracing::debug!("watch of {} broke: {error}", self.source.path());
                Step::Wait(self.backoff.next_delay())
            }
            None => Step::Again,
        }
    }

    /// Splits what arrived into lines; the rest of an unfinished line waits for more.
    fn take(&mut self, data: &[u8]) {
        let State::Streaming { line, .. } = &mut self.state else {
            return;
        };
        line.extend_from_slice(data);
        while let State::Streaming { line, .. } = &mut self.state {
            let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
                return;
            };
            let one = line.split_to(end).freeze();
            line.advance(1);
            self.take_line(&one);
        }
    }

    fn take_line(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let parsed: WatchLine = match serde_json::from_slice(bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::error!("watch of {}: bad line: {error}", self.source.path());
                self.state = State::List;
                return;
            }
        };
        self.backoff.reset();
        match parsed.kind {
            "ADDED" | "MODIFIED" => self.take_object(parsed.object, Event::Applied),
            "DELETED" => self.take_object(parsed.object, Event::Deleted),
            "BOOKMARK" => self.seen_head(parsed.object),
            "ERROR" => self.take_error(parsed.object),
            other => tracing::debug!("unknown watch event type {other}"),
        }
    }

    fn take_object(&mut self, raw: &RawValue, event: fn(T) -> Event<T>) {
        match self.decode(raw) {
            Some(object) => {
                self.seen(object.resource_version().to_owned());
                self.ready.push_back(event(object));
            }
            None => self.seen_head(raw),
        }
    }

    fn seen_head(&mut self, raw: &RawValue) {
        if let Ok(head) = serde_json::from_str::<Head>(raw.get()) {
            self.seen(head.metadata.resource_version);
        }
    }

    fn seen(&mut self, version: String) {
        if let State::Streaming {
            resource_version, ..
        } = &mut self.state
            && !version.is_empty()
        {
            *resource_version = version;
        }
    }

    fn take_error(&mut self, raw: &RawValue) {
        let code = serde_json::from_str::<Head>(raw.get()).map_or(0, |head| head.code);
        if code != 410 {
            tracing::warn!("watch of {}: {}", self.source.path(), raw.get());
        }
        self.state = State::List;
    }
}

/// Feeds a closure until `shutdown`; for callers that want a task rather than a stream.
pub async fn run<T: Slim>(
    client: Client,
    source: Source,
    shutdown: tokio_util::sync::CancellationToken,
    mut handle: impl FnMut(Event<T>) + Send,
) {
    let events = watch(client, source);
    let mut events = std::pin::pin!(events);
    while let Some(Some(event)) = shutdown.run_until_cancelled(events.next()).await {
        handle(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::ObjectMeta;
    use http::{Request, Response};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Debug, Deserialize, PartialEq)]
    struct Thing {
        metadata: ObjectMeta,
        spec: Option<u32>,
    }

    impl Slim for Thing {
        fn resource_version(&self) -> &str {
            &self.metadata.resource_version
        }
    }

    fn thing(name: &str, version: u32) -> String {
        format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}},"spec":1}}"#)
    }

    /// Answers requests in order from a script; notes each path. After the script, answers hang.
    fn scripted(script: Vec<(u16, String)>) -> (Client, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let noted = seen.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let next = script.lock().unwrap().pop_front();
            noted.lock().unwrap().push(request.uri().to_string());
            async move {
                match next {
                    Some((code, body)) => Ok::<_, std::convert::Infallible>(
                        Response::builder()
                            .status(code)
                            .body(http_body_util::Full::new(Bytes::from(body)))
                            .unwrap(),
                    ),
                    None => std::future::pending().await,
                }
            }
        });
        (Client::new(service, "default"), seen)
    }

    async fn take(client: Client, count: usize) -> Vec<Event<Thing>> {
        watch(client, Source::new("", "v1", "things"))
            .take(count)
            .collect()
            .await
    }

    fn list(version: u32, items: &[String], continue_: &str) -> String {
        format!(
            r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{continue_}"}},"items":[{}]}}"#,
            items.join(",")
        )
    }

    #[tokio::test]
    async fn lists_pages_then_watches_and_resumes() {
        let line =
            |kind: &str, object: &str| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        let (client, seen) = scripted(vec![
            (200, list(7, &[thing("a", 3)], "next")),
            (200, list(7, &[thing("b", 4)], "")),
            (
                200,
                line("ADDED", &thing("c", 8))
                    + &line("BOOKMARK", r#"{"metadata":{"resourceVersion":"12"}}"#),
            ),
            (200, line("DELETED", &thing("a", 13))),
        ]);
        let events = take(client, 3).await;
        let names: Vec<_> = match &events[0] {
            Event::Restarted(all) => all.iter().map(|t| t.metadata.name.clone()).collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(names, ["a", "b"]);
        assert!(matches!(&events[1], Event::Applied(t) if t.metadata.name == "c"));
        assert!(matches!(&events[2], Event::Deleted(t) if t.metadata.name == "a"));
        let seen = seen.lock().unwrap();
        assert!(seen[1].contains("continue=next"), "{seen:?}");
        assert!(seen[2].contains("resourceVersion=7&"), "{seen:?}");
        assert!(seen[3].contains("resourceVersion=12&"), "{seen:?}");
    }

    #[tokio::test]
    async fn a_resource_that_the_server_lacks_is_an_empty_one_until_it_comes() {
        let missing = r#"{"kind":"Status","code":404,"reason":"NotFound"}"#.to_owned();
        let (client, _) = scripted(vec![
            (404, missing.clone()),
            (404, missing),
            (200, list(7, &[thing("a", 1)], "")),
        ]);
        let source = Source::new("", "v1", "things").optional();
        let events: Vec<Event<Thing>> = watch(client, source).take(2).collect().await;
        assert_eq!(events[0], Event::Restarted(vec![]));
        assert!(matches!(&events[1], Event::Restarted(all) if all.len() == 1));
    }

    #[tokio::test]
    async fn lists_again_when_its_place_is_forgotten() {
        let (client, _) = scripted(vec![
            (200, list(7, &[], "")),
            (
                200,
                "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"reason\":\"Expired\"}}\n".into(),
            ),
            (200, list(20, &[thing("z", 19)], "")),
        ]);
        let events = take(client, 2).await;
        assert_eq!(events[0], Event::Restarted(vec![]));
        assert!(matches!(&events[1], Event::Restarted(all) if all.len() == 1));
    }

    #[tokio::test]
    async fn a_bad_object_is_left_out() {
        let bad = r#"{"metadata":{"name":"bad","resourceVersion":"5"},"spec":"text"}"#;
        let (client, _) = scripted(vec![(200, list(7, &[bad.into(), thing("good", 6)], ""))]);
        let events = take(client, 1).await;
        assert!(
            matches!(&events[0], Event::Restarted(all) if all.len() == 1 && all[0].metadata.name == "good")
        );
    }

    #[test]
    fn selectors_are_encoded() {
        let source = Source::new("", "v1", "pods")
            .fields("spec.nodeName!=")
            .labels("a in (b,c)");
        let url = source.url(&[("watch", "true")]);
        assert_eq!(
            url,
            "/api/v1/pods?watch=true&labelSelector=a%20in%20%28b,c%29&fieldSelector=spec.nodeName%21%3D"
        );
    }
}
