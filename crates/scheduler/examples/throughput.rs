//! Pods bound in a second over the API, by the scheduler and an API server with its durable store in one process.
//!
//! `cargo run --release -p fluyt-scheduler --example throughput [NODES] [PODS]`. Two figures: pods that wait when the scheduler
//! starts, and pods that are created while it runs (64 requests at a time). Bindings are counted by an independent watch.

use std::time::{Duration, Instant};

use anyhow::Context;
use fluyt_apiserver::testing;
use fluyt_client::informer::{self, Event, Slim, Source};
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use futures::StreamExt;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 64;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: fluyt_scheduler::Options,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Seen {
    metadata: Meta,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
}

impl Slim for Seen {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

async fn create_all(
    client: &Client,
    path: &str,
    bodies: Vec<serde_json::Value>,
) -> anyhow::Result<()> {
    let creates = bodies.into_iter().map(|body| async move {
        rest::create::<IgnoredAny>(client, path, &body)
            .await
            .map(drop)
    });
    let mut running = futures::stream::iter(creates).buffer_unordered(CONNECTIONS);
    while let Some(created) = running.next().await {
        created?;
    }
    Ok(())
}

fn pods(prefix: &str, count: usize) -> Vec<serde_json::Value> {
    let pod = |index| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("{prefix}-{index}"), "labels": {"app": "a"}},
               "spec": {"containers": [{"name": "c", "image": "i",
                        "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}}}]}})
    };
    (0..count).map(pod).collect()
}

/// Counts pods of this prefix that have a node, until there are enough; returns when.
async fn bound(client: Client, prefix: String, count: usize) -> Instant {
    let mut names = std::collections::HashSet::new();
    let source = Source::new("", "v1", "pods");
    let mut batches = Box::pin(informer::watch_batches::<Seen>(client, source));
    while let Some(batch) = batches.next().await {
        for event in batch {
            let pods = match event {
                Event::Restarted(pods) => pods,
                Event::Applied(pod) => vec![pod],
                Event::Deleted(_) => Vec::new(),
            };
            let placed = pods.into_iter().filter(|pod| {
                !pod.spec.node_name.is_empty() && pod.metadata.name.starts_with(&prefix)
            });
            names.extend(placed.map(|pod| pod.metadata.name));
        }
        if names.len() >= count {
            break;
        }
    }
    Instant::now()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let number = |at: usize, default: usize| {
        let word = std::env::args().nth(at);
        word.and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let (nodes, count) = (number(1, 1000), number(2, 3000));
    let directory = tempfile::tempdir().context("a directory for the store")?;
    let server = testing::start_in(directory.path()).await;
    let options = ClientOptions {
        server: Some(server.url()),
        ..ClientOptions::default()
    };
    let client = fluyt_client::connect(&options).await?;
    let node = |index| {
        let amounts = json!({"cpu": "32", "memory": "256Gi", "pods": "500"});
        json!({"apiVersion": "v1", "kind": "Node",
               "metadata": {"name": format!("node-{index}"), "labels": {"kubernetes.io/hostname": format!("node-{index}")}},
               "status": {"allocatable": amounts, "capacity": amounts}})
    };
    create_all(&client, "/api/v1/nodes", (0..nodes).map(node).collect()).await?;
    let path = "/api/v1/namespaces/default/pods";
    create_all(&client, path, pods("waiting", count)).await?;

    let watch = tokio::spawn(bound(client.clone(), "waiting-".to_owned(), count));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stop = CancellationToken::new();
    let words = ["kube-scheduler", "--leader-elect=false", "--secure-port=0"];
    let line = <Line as clap::Parser>::try_parse_from(words)?;
    let own = fluyt_client::connect(&options).await?;
    let started = Instant::now();
    let scheduler = tokio::spawn(fluyt_scheduler::run(line.options, own, stop.clone()));
    let took = watch.await? - started;
    println!(
        "{nodes} nodes: {count} waiting pods bound in {took:.2?}, {:.0} pods/s",
        count as f64 / took.as_secs_f64()
    );

    tokio::time::sleep(Duration::from_secs(2)).await;
    let watch = tokio::spawn(bound(client.clone(), "created-".to_owned(), count));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    create_all(&client, path, pods("created", count)).await?;
    let created = started.elapsed();
    let took = watch.await? - started;
    println!(
        "{count} pods created in {created:.2?} and bound after {took:.2?}, {:.0} pods/s",
        count as f64 / took.as_secs_f64()
    );
    stop.cancel();
    scheduler.await??;
    server.stop().await;
    Ok(())
}
