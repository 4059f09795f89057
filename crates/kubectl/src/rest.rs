//! Requests and answers as raw JSON. Nothing here knows a resource; errors are the server's own
//! `Status`, warnings of the server go to standard error.

use crate::failure::{ApiError, Failure};
use crate::output;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::time::Duration;

pub(crate) const JSON: &str = "application/json";
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// A connection to one API server.
#[derive(Clone)]
pub(crate) struct Rest {
    client: kube::Client,
    host: String,
    url: String,
    timeout: Option<Duration>,
    verbosity: u8,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    accept: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            query: Vec::new(),
            accept: JSON,
            content_type: None,
            body: Vec::new(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Call {
        Call::new(Method::POST, path).body(JSON, body.to_string().into_bytes())
    }

    pub(crate) fn put(path: impl Into<String>, body: &Value) -> Call {
        Call::new(Method::PUT, path).body(JSON, body.to_string().into_bytes())
    }

    pub(crate) fn delete(path: impl Into<String>, options: &Value) -> Call {
        Call::new(Method::DELETE, path).body(JSON, options.to_string().into_bytes())
    }

    pub(crate) fn patch(path: impl Into<String>, media: &'static str, body: Vec<u8>) -> Call {
        Call::new(Method::PATCH, path).body(media, body)
    }

    fn body(mut self, media: &'static str, body: Vec<u8>) -> Call {
        self.content_type = Some(media);
        self.body = body;
        self
    }

    pub(crate) fn accept(mut self, accept: &'static str) -> Call {
        self.accept = accept;
        self
    }

    pub(crate) fn query(mut self, key: &str, value: impl Into<String>) -> Call {
        self.query.push((key.to_owned(), value.into()));
        self
    }

    /// Leaves out empty values.
    pub(crate) fn query_opt(self, key: &str, value: Option<&str>) -> Call {
        match value {
            Some(value) if !value.is_empty() => self.query(key, value),
            _ => self,
        }
    }

    pub(crate) fn dry_run(self, server: bool) -> Call {
        if server {
            self.query("dryRun", "All")
        } else {
            self
        }
    }

    /// Path and query as they go into the request line.
    pub(crate) fn target(&self) -> String {
        let mut target = self.path.clone();
        let mut separator = if target.contains('?') { '&' } else { '?' };
        for (key, value) in &self.query {
            target.push(separator);
            target.push_str(&encode(key));
            target.push('=');
            target.push_str(&encode(value));
            separator = '&';
        }
        target
    }

    fn request(&self) -> Result<Request<Vec<u8>>, Failure> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.target())
            .header(http::header::ACCEPT, self.accept);
        if let Some(media) = self.content_type {
            request = request.header(http::header::CONTENT_TYPE, media);
        }
        request
            .body(self.body.clone())
            .map_err(|error| Failure::message(format!("invalid request {}: {error}", self.path)))
    }
}

impl Rest {
    /// `url` is the server's, for messages.
    pub(crate) fn new(
        client: kube::Client,
        url: &str,
        timeout: Option<Duration>,
        verbosity: u8,
    ) -> Rest {
        let host = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        Rest {
            client,
            host,
            url: url.trim_end_matches('/').to_owned(),
            timeout,
            verbosity,
        }
    }

    /// The server's URL, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and waits for the head of a successful answer.
    pub(crate) async fn open(&self, call: &Call) -> Result<Response<Body>, Failure> {
        let started = std::time::Instant::now();
        let request = call.request()?.map(Body::from);
        let answer = self.limited(self.client.send(request)).await?;
        let response = answer.map_err(|error| self.transport(&error))?;
        if self.verbosity >= 6 {
            output::error_line(format!(
                "{} {}{} {} in {} milliseconds",
                call.method,
                self.url,
                call.target(),
                response.status(),
                started.elapsed().as_millis()
            ));
        }
        for warning in response.headers().get_all("warning") {
            print_warning(warning.to_str().unwrap_or_default());
        }
        if response.status().is_success() || response.status().is_redirection() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = self.limited(response.into_body().collect()).await?;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(Failure::Api(Box::new(ApiError::from_answer(code, &body))))
    }

    pub(crate) async fn bytes(&self, call: &Call) -> Result<Bytes, Failure> {
        let response = self.open(call).await?;
        let body = self.limited(response.into_body().collect()).await?;
        Ok(body.map_err(|error| self.transport(&error))?.to_bytes())
    }

    pub(crate) async fn json(&self, call: &Call) -> Result<Value, Failure> {
        let bytes = self.bytes(call).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::message(format!(
                "couldn't read the server's answer to {} {}: {error}",
                call.method, call.path
            ))
        })
    }

    /// Lines of an answer that does not end (a watch, a log).
    pub(crate) async fn lines(&self, call: &Call) -> Result<Lines, Failure> {
        Ok(Lines {
            body: self.open(call).await?.into_body(),
            buffer: BytesMut::new(),
            ended: false,
        })
    }

    /// Upgrades to a WebSocket with one of the channel protocols.
    pub(crate) async fn upgrade(&self, call: &Call) -> Result<kube::client::Connection, Failure> {
        let request = call.request()?;
        self.client
            .connect(request)
            .await
            .map_err(|error| match error {
                kube::Error::Api(status) => Failure::Api(Box::new(ApiError {
                    code: status.code,
                    reason: status.reason.clone(),
                    message: status.message.clone(),
                    details: Value::Null,
                })),
                kube::Error::UpgradeConnection(error) => {
                    Failure::message(format!("unable to upgrade connection: {error}"))
                }
                other => self.transport(&other),
            })
    }

    async fn limited<F: Future>(&self, future: F) -> Result<F::Output, Failure> {
        match self.timeout {
            None => Ok(future.await),
            Some(limit) => tokio::time::timeout(limit, future).await.map_err(|_| Failure::Transport {
                host: self.host.clone(),
                refused: false,
                text: "net/http: request canceled (Client.Timeout exceeded while awaiting headers)".to_owned(),
            }),
        }
    }

    fn transport(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        let mut refused = false;
        let mut innermost = String::new();
        let mut current = Some(error);
        while let Some(error) = current {
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                refused |= io.kind() == std::io::ErrorKind::ConnectionRefused;
            }
            innermost = error.to_string();
            refused |= innermost.contains("Connection refused");
            current = error.source();
        }
        Failure::Transport {
            host: self.host.clone(),
            refused,
            text: innermost,
        }
    }
}

/// The lines of a body, without their newline.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    ended: bool,
}

impl Lines {
    /// None at the end, also when the connection broke: a watch ends either way.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                return Some(line.slice(..end));
            }
            if self.ended {
                let rest = self.buffer.split().freeze();
                return (!rest.is_empty()).then_some(rest);
            }
            match self.chunk().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }

    /// The next bytes as they come.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(data);
                    }
                }
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next line as JSON.
    pub(crate) async fn next_json(&mut self) -> Option<Value> {
        loop {
            let line = self.next().await?;
            if let Ok(value) = serde_json::from_slice(&line) {
                return Some(value);
            }
        }
    }
}

/// `299 - "text"`.
fn print_warning(header: &str) {
    let text = header.splitn(3, ' ').nth(2).unwrap_or(header);
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    output::warning(text.replace("\\\"", "\"").replace("\\\\", "\\"));
}

/// Percent-encodes a segment of a path or a part of a query.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte as char)
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let call = Call::get("/api/v1/pods")
            .query("labelSelector", "a in (b,c)")
            .query_opt("x", Some(""))
            .query("limit", "500");
        assert_eq!(
            call.target(),
            "/api/v1/pods?labelSelector=a%20in%20%28b%2Cc%29&limit=500"
        );
    }
}
