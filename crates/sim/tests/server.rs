//! Simulated nodes against a real API server: they appear with their leases, run the pods that
//! are given to them, and let them go.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use clap::Parser;
use fluyt_apiserver::testing;
use fluyt_client::{ClientOptions, kube, rest};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: fluyt_sim::Options,
}

async fn read(client: &kube::Client, path: &str) -> Option<Value> {
    rest::get_opt(client, path).await.unwrap()
}

const DEADLINE: Duration = Duration::from_secs(120);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(DEADLINE, wait).await;
    assert!(
        came.is_ok(),
        "in {DEADLINE:?} it did not come about that {what}"
    );
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_appear_and_pods_live_and_end() {
    let server = testing::start().await;
    let options = ClientOptions {
        server: Some(server.url()),
        ..ClientOptions::default()
    };
    let client = fluyt_client::connect(&options).await.unwrap();
    let shutdown = CancellationToken::new();
    let words = [
        "sim",
        "--nodes",
        "5",
        "--pod-stop-ms",
        "10",
        "--lease-renew-seconds",
        "1",
    ];
    let options = Flags::parse_from(words).options;
    let simulation = tokio::spawn(fluyt_sim::run(options, client.clone(), shutdown.clone()));

    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    until("there are five nodes with leases", async || {
        let count = |list: Value| list["items"].as_array().unwrap().len();
        let nodes = read(&client, "/api/v1/nodes").await.map_or(0, count);
        nodes == 5 && read(&client, leases).await.map_or(0, count) == 5
    })
    .await;
    let node = read(&client, "/api/v1/nodes/sim-3").await.unwrap();
    assert_eq!(node["status"]["allocatable"]["cpu"], "32");
    let renewed = async || {
        read(&client, &format!("{leases}/sim-3")).await.unwrap()["spec"]["renewTime"].clone()
    };
    let before = renewed().await;
    until("a lease is renewed", async || renewed().await != before).await;

    let containers = json!([{ "name": "main", "image": "pause" }]);
    let spec = json!({ "nodeName": "sim-3", "containers": containers });
    let pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "spec": spec });
    rest::create::<Value>(&client, PODS, &pod).await.unwrap();
    let path = format!("{PODS}/a");
    until("the pod runs", async || {
        read(&client, &path).await.unwrap()["status"]["phase"] == "Running"
    })
    .await;
    let status = &read(&client, &path).await.unwrap()["status"];
    assert_eq!(status["podIP"], "10.64.0.1");
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    let conditions = status["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    );

    rest::delete(&client, &path, &json!({})).await.unwrap();
    until("the pod is gone", async || {
        read(&client, &path).await.is_none()
    })
    .await;
    shutdown.cancel();
    simulation.await.unwrap().unwrap();
    server.stop().await;
}
