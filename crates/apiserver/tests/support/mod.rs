//! A small HTTP client for the tests: one connection per request, so that nothing is shared between them.
#![allow(dead_code)]

use std::time::Duration;

use bytes::Bytes;
use fluyt_apiserver::testing::TestServer;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub struct Answer {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or("")
    }

    #[track_caller]
    pub fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    pub fn warnings(&self) -> Vec<String> {
        self.headers
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }
}

pub async fn send(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> http::Response<Incoming> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    sender.send_request(request).await.unwrap()
}

pub async fn call(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let response = send(server, method, path, headers, body).await;
    let code = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer {
        code,
        headers,
        body,
        text,
    }
}

pub async fn get(server: &TestServer, path: &str) -> Answer {
    call(server, "GET", path, &[], "").await
}

pub async fn delete(server: &TestServer, path: &str) -> Answer {
    call(server, "DELETE", path, &[], "").await
}

const JSON: (&str, &str) = ("content-type", "application/json");

pub async fn post(server: &TestServer, path: &str, body: &Value) -> Answer {
    call(server, "POST", path, &[JSON], body.to_string()).await
}

pub async fn put(server: &TestServer, path: &str, body: &Value) -> Answer {
    call(server, "PUT", path, &[JSON], body.to_string()).await
}

pub async fn patch(server: &TestServer, path: &str, kind: &str, body: &Value) -> Answer {
    let content_type = format!("application/{kind}+json");
    let headers = [("content-type", content_type.as_str())];
    call(server, "PATCH", path, &headers, body.to_string()).await
}

/// An open watch.
pub struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    pub async fn open(server: &TestServer, path: &str) -> Self {
        let response = send(server, "GET", path, &[], "").await;
        assert_eq!(response.status(), 200);
        Watch {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// The next event, within ten seconds; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame())
                .await
                .expect("an event comes in time")?;
            let data = frame.ok()?.into_data().ok()?;
            self.buffer.extend_from_slice(&data);
        }
    }

    /// The next event as type and name.
    pub async fn step(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

pub fn config_map(name: &str) -> Value {
    serde_json::json!({ "metadata": { "name": name }, "data": { "k": "v" } })
}

pub fn pod(name: &str) -> Value {
    serde_json::json!({
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "containers": [{ "name": "c", "image": "nginx" }] },
    })
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
