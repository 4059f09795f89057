//! Logs, exec and proxies: what reaches the kubelet, and what comes back.
#![allow(clippy::unwrap_used)] // tests may fail by panicking

mod support;

use bytes::Bytes;
use fluyt_apiserver::testing::{self, TestServer};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::{PODS, call, get, pod, post, put};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers as a kubelet without TLS would behind `services/proxy`: says what it was asked, or echoes after an
/// upgrade.
async fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(
                |mut request: http::Request<hyper::body::Incoming>| async move {
                    if request.headers().contains_key("upgrade") {
                        let upgrade = hyper::upgrade::on(&mut request);
                        tokio::spawn(async move {
                            let mut stream = TokioIo::new(upgrade.await.unwrap());
                            let mut buffer = [0; 64];
                            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                                stream.write_all(&buffer[..read]).await.unwrap();
                            }
                        });
                        let response = http::Response::builder()
                            .status(101)
                            .header("connection", "Upgrade")
                            .header("upgrade", "echo/1")
                            .body(Full::new(Bytes::new()));
                        return response;
                    }
                    let text = format!(
                        "{} {} authorization={}",
                        request.method(),
                        request.uri(),
                        request.headers().contains_key("authorization")
                    );
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let text = format!("{text} body={}", String::from_utf8_lossy(&body));
                    http::Response::builder().body(Full::new(Bytes::from(text)))
                },
            );
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    port
}

async fn with_running_pod(server: &TestServer) {
    post(server, PODS, &pod("p")).await.expect(201);
    let mut object = get(server, &format!("{PODS}/p")).await.expect(200).body;
    object["status"] = json!({"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}]});
    put(server, &format!("{PODS}/p/status"), &object)
        .await
        .expect(200);
}

#[tokio::test]
async fn requests_and_upgrades_pass_through() {
    let server = testing::start().await;
    let port = backend().await;
    with_running_pod(&server).await;
    let path = format!("{PODS}/p:{port}/proxy/some/where?x=1");
    let headers = [("authorization", "Bearer secret")];
    let answer = call(&server, "POST", &path, &headers, "hello")
        .await
        .expect(200);
    assert_eq!(
        answer.text,
        "POST /some/where?x=1 authorization=false body=hello"
    );

    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "GET {PODS}/p:{port}/proxy/ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: echo/1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("upgrade: echo/1"),
        "{head}"
    );
    stream.write_all(b"ping").await.unwrap();
    let mut buffer = [0; 4];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"ping");
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn containers_must_be_named_when_there_are_several() {
    let server = testing::start().await;
    let mut two: Value = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    post(&server, PODS, &two).await.expect(201);
    let log = get(&server, &format!("{PODS}/two/log")).await.expect(400);
    assert_eq!(
        log.message(),
        "a container name must be specified for pod two, choose one of: [a b]"
    );
    let log = get(&server, &format!("{PODS}/two/log?container=c"))
        .await
        .expect(400);
    assert_eq!(log.message(), "container c is not valid for pod two");
    let exec = format!("{PODS}/two/exec?container=a&command=ls&stdout=1");
    let exec = call(&server, "POST", &exec, &[], "").await.expect(400);
    assert_eq!(exec.message(), "pod two does not have a host assigned");
    let exec = format!("{PODS}/two/exec?container=a&command=ls");
    let exec = call(&server, "POST", &exec, &[], "").await.expect(400);
    assert_eq!(
        exec.message(),
        "you must specify at least one of stdin, stdout, stderr"
    );
    get(&server, &format!("{PODS}/none/log")).await.expect(404);
    server.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_is_away_is_an_error() {
    let server = testing::start().await;
    // A port that was just free.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let node = json!({"metadata": {"name": "n"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    post(&server, "/api/v1/nodes", &node).await.expect(201);
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    post(&server, PODS, &bound).await.expect(201);
    let log = get(&server, &format!("{PODS}/p/log")).await.expect(500);
    assert!(
        log.message().contains(&format!(
            "dial tcp 127.0.0.1:{port}: connect: connection refused"
        )),
        "{}",
        log.message()
    );
    server.stop().await;
}

#[tokio::test]
async fn evictions_respect_the_budget() {
    let server = testing::start().await;
    with_running_pod(&server).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}},
    });
    let mut budget = post(&server, budgets, &budget).await.expect(201).body;
    budget["status"] = json!({
        "observedGeneration": budget["metadata"]["generation"], "disruptionsAllowed": 0,
        "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    });
    let mut stored = put(&server, &format!("{budgets}/b/status"), &budget)
        .await
        .expect(200)
        .body;
    let eviction = json!({"metadata": {"name": "p"}});
    let path = format!("{PODS}/p/eviction");
    let refused = post(&server, &path, &eviction).await.expect(429);
    assert!(
        refused
            .message()
            .starts_with("Cannot evict pod as it would violate"),
        "{}",
        refused.text
    );
    stored["status"]["disruptionsAllowed"] = 1.into();
    put(&server, &format!("{budgets}/b/status"), &stored)
        .await
        .expect(200);
    post(&server, &path, &eviction).await.expect(201);
    let after = get(&server, &format!("{budgets}/b")).await.expect(200).body;
    assert_eq!(after["status"]["disruptionsAllowed"], 0);
    server.stop().await;
}
