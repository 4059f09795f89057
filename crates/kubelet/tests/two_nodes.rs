//! The pods' network over two nodes, without a controller that hands out addresses.
#![allow(clippy::unwrap_used)]

mod support;

use fluyt_client::rest;
use serde_json::{Value, json};
use std::sync::Arc;
use support::{BUSYBOX, Node, Tell, eventually, in_two_namespaces};
use tokio::sync::Notify;

const PODS: &str = "/api/v1/namespaces/default/pods";
const PORT: u16 = 18080;

fn client() -> kube::Client {
    let url = format!("http://192.168.78.1:{PORT}").parse().unwrap();
    kube::Client::try_from(kube::Config::new(url)).unwrap()
}

async fn web_pod(client: &kube::Client, node: &str) -> String {
    let body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("web-{node}"), "namespace": "default"},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "containers": [{"name": format!("web-{node}"), "image": BUSYBOX,
                "command": ["sh", "-c", format!("echo {node} > /tmp/index.html; exec httpd -f -p 80 -h /tmp")]}]},
    });
    eventually("the API takes the pod", async || {
        rest::create::<Value>(client, PODS, &body).await.is_ok()
    })
    .await;
    let mut ip = String::new();
    eventually("it has an address", async || {
        let pod: Value = rest::get(client, &format!("{PODS}/web-{node}"))
            .await
            .unwrap();
        ip = pod["status"]["podIP"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        pod["status"]["phase"] == "Running"
    })
    .await;
    ip
}

/// A request that needs no more than busybox; its wget crashes where names are resolved.
fn request(ip: &str) -> String {
    format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 2 {ip} 80 | busybox tail -n 1")
}

async fn page(ip: &str) -> String {
    let output = tokio::process::Command::new("sh")
        .args(["-c", &request(ip)])
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pods_reach_each_other_over_nodes() {
    let served = Arc::new(Notify::new());
    let done = Arc::new(Notify::new());
    let (served_too, done_too) = (served.clone(), done.clone());
    in_two_namespaces(
        move || async move {
            let done = Tell(done);
            let options = fluyt_apiserver::Options {
                insecure_bind_address: "0.0.0.0".parse().unwrap(),
                insecure_port: PORT,
                any_insecure_port: false,
                ..fluyt_apiserver::testing::options()
            };
            let server = fluyt_apiserver::testing::serve(options).await;
            served.notify_one();
            let client = client();
            let node = Node::start("node1", client.clone(), &["--pod-cidr="]).await;
            let here = web_pod(&client, "node1").await;
            let there = web_pod(&client, "node2").await;
            assert_ne!(
                here.rsplit_once('.').unwrap().0,
                there.rsplit_once('.').unwrap().0
            );
            let id = node.running("web-node1").await;
            for (ip, expected) in [(&here, "node1\n"), (&there, "node2\n")] {
                eventually("a page for the node", async || page(ip).await == expected).await;
                eventually("a page for the pod", async || {
                    node.exec(&id, &request(ip)).await == expected
                })
                .await;
            }
            drop(done);
            node.destroy().await;
            server.stop().await;
        },
        move || async move {
            served_too.notified().await;
            let node = Node::start("node2", client(), &["--pod-cidr="]).await;
            done_too.notified().await;
            node.destroy().await;
        },
    );
}
