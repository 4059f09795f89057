//! The worked example of docs/scheduler-plugins.md does what it says, by its own configuration.

#![allow(clippy::unwrap_used)]

#[path = "../examples/own_plugin.rs"]
#[allow(dead_code)]
mod example;
mod support;

use serde_json::json;
use support::{Cluster, options, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_filters_and_scores() {
    let cluster = Cluster::start().await;
    for (name, zone) in [("dear", "zone-a"), ("cheap", "zone-b")] {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        cluster.node(name, labels, "4").await;
    }
    let closed = json!({"topology.kubernetes.io/zone": "zone-c", "example.com/maintenance": "", "kubernetes.io/hostname": "closed"});
    cluster.node("closed", closed, "4").await;
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own_plugin.yaml");
    let plugins = example::plugins();
    let _scheduler = start(options(&file, &[]), plugins, cluster.client.clone());
    let ours = json!({"schedulerName": "thrifty-scheduler"});
    let requests = json!({"cpu": "100m"});
    cluster
        .pod("a", json!({}), requests.clone(), ours.clone())
        .await;
    assert_eq!(cluster.bound("a").await, "cheap");
    // A zone that is not named costs nothing.
    let survives = json!({"example.com/survives-maintenance": "true"});
    cluster.pod("b", survives, requests.clone(), ours).await;
    assert_eq!(cluster.bound("b").await, "closed");
    let there = json!({"schedulerName": "thrifty-scheduler", "nodeSelector": {"kubernetes.io/hostname": "closed"}});
    cluster.pod("c", json!({}), requests, there).await;
    let message = cluster.pending("c", "Unschedulable").await;
    let expected = "0/3 nodes are available: 1 node(s) were under maintenance, 2 node(s) didn't match Pod's node affinity/selector.";
    assert!(message.starts_with(expected), "{message}");
    cluster.server.stop().await;
}
