//! A real run is recorded, and decided again from the recording alone: the same decisions; a recording that was tampered with is
//! told from one that was not.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use fluyt_apiserver::testing;
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use fluyt_scheduler::replay;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: fluyt_scheduler::Options,
}

fn options(words: &[&str]) -> fluyt_scheduler::Options {
    let fixed = ["kube-scheduler", "--leader-elect=false", "--secure-port=0"];
    let line = <Line as clap::Parser>::try_parse_from(fixed.iter().chain(words));
    line.unwrap().options
}

async fn create(client: &Client, path: &str, object: Value) {
    let _: Value = rest::create(client, path, &object).await.unwrap();
}

async fn node(client: &Client, name: &str, zone: &str) {
    let amounts = json!({"cpu": "2", "memory": "8Gi", "pods": "110"});
    let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone});
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
                        "status": {"allocatable": amounts, "capacity": amounts}});
    create(client, "/api/v1/nodes", object).await;
    let untaint = json!({"spec": {"taints": null}});
    let path = format!("/api/v1/nodes/{name}");
    let _: Value = rest::patch(client, &path, rest::PatchType::Merge, &untaint)
        .await
        .unwrap();
}

async fn pod(client: &Client, index: usize) {
    let labels = json!({"app": format!("a{}", index % 3)});
    let mut spec = json!({"containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "300m"}}}]});
    if index.is_multiple_of(2) {
        spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}}]);
    }
    let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
                        "metadata": {"name": format!("p{index}"), "namespace": "default", "labels": labels}});
    create(client, "/api/v1/namespaces/default/pods", object).await;
}

async fn nodes_of_pods(client: &Client) -> Vec<(String, Option<String>)> {
    let list: Value = rest::get(client, "/api/v1/namespaces/default/pods")
        .await
        .unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pods = list["items"].as_array().unwrap().iter();
    pods.map(|pod| {
        (
            text(&pod["metadata"]["name"]).unwrap(),
            text(&pod["spec"]["nodeName"]),
        )
    })
    .collect()
}

async fn until_bound(client: &Client, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let bound = nodes_of_pods(client)
            .await
            .iter()
            .filter(|(_, node)| node.is_some())
            .count();
        if bound == count {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{bound} of {count} pods are bound"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn decide_again(file: &Path) -> anyhow::Result<(replay::Summary, String)> {
    let mut told = Vec::new();
    let options = replay::Options {
        file: file.to_owned(),
        quiet: false,
    };
    let summary = replay::run(&options, &mut told)?;
    Ok((summary, String::from_utf8(told).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_run_is_decided_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("decisions.jsonl");
    let server = testing::start().await;
    let connect = ClientOptions {
        server: Some(server.url()),
        ..ClientOptions::default()
    };
    let client = fluyt_client::connect(&connect).await.unwrap();
    for (name, zone) in [("node1", "a"), ("node2", "b"), ("node3", "b")] {
        node(&client, name, zone).await;
    }
    let stop = CancellationToken::new();
    let words = ["--seed=7", "--record", file.to_str().unwrap()];
    let run = fluyt_scheduler::run(options(&words), client.clone(), stop.clone());
    let scheduler = tokio::spawn(run);
    // Room for eighteen: two wait until another node comes.
    for index in 0..20 {
        pod(&client, index).await;
    }
    until_bound(&client, 18).await;
    node(&client, "node4", "a").await;
    until_bound(&client, 20).await;
    let bound = nodes_of_pods(&client).await;
    stop.cancel();
    scheduler.await.unwrap().unwrap();
    server.stop().await;

    let (summary, told) = decide_again(&file).unwrap();
    assert!(summary.decisions > summary.placed, "{told}");
    for (pod, node) in bound {
        assert_eq!(
            summary.nodes.get(&format!("default/{pod}")),
            node.as_ref(),
            "{told}"
        );
    }
    assert_eq!(decide_again(&file).unwrap().1, told);

    let text = std::fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .position(|line| line.contains("\"node\":\"node4\""))
        .unwrap();
    let tampered: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, text)| match at == line {
            true => text.replace("\"node\":\"node4\"", "\"node\":\"node9\""),
            false => text.to_owned(),
        })
        .collect();
    std::fs::write(&file, tampered.join("\n")).unwrap();
    let error = decide_again(&file).unwrap_err().to_string();
    assert!(
        error.contains(&format!("{}:{}", file.display(), line + 1)),
        "{error}"
    );
    assert!(
        error.contains("node9") && error.contains("node4"),
        "{error}"
    );
}
