//! The objects that scenarios make, and their set-up and clean-up. All of them carry one label
//! or live in one namespace, so that a server that is not ours can be left as it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};

use crate::Context;
use crate::target::Target;

pub(super) const NAMESPACE: &str = "fluyt-bench";
const LABEL: &str = "fluyt-bench";

pub(super) fn pods() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

pub(super) fn config_maps() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

/// Those that are ours: controllers put some of their own into every namespace.
pub(super) fn own_config_maps() -> String {
    format!("{}?labelSelector={LABEL}%3Dtrue", config_maps())
}

pub(super) fn label() -> Value {
    json!({ LABEL: "true" })
}

/// A pod as people write them; `scheduler` is whom it waits for.
pub(super) fn pod(name: &str, scheduler: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": { "app": "bench", LABEL: "true" },
        },
        "spec": {
            "automountServiceAccountToken": false,
            "schedulerName": scheduler,
            "containers": [{
                "name": "main",
                "image": "registry.k8s.io/pause:3.10",
                "resources": { "requests": { "cpu": "100m", "memory": "100Mi" } },
            }],
        },
    })
    .to_string()
}

/// Requests that create pods `PREFIX-0` and so on.
pub(super) fn pod_creates(
    target: &Target,
    prefix: &str,
    scheduler: &str,
    count: usize,
) -> Arc<[Arc<[u8]>]> {
    let request = |number| {
        target.request(
            "POST",
            &pods(),
            &pod(&format!("{prefix}-{number}"), scheduler),
        )
    };
    (0..count)
        .map(|number| Arc::from(request(number)))
        .collect()
}

pub(super) fn node(name: &str, number: usize) -> String {
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let resources =
        json!({ "cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                LABEL: "true",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
            },
        },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "simulated",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }],
        },
    })
    .to_string()
}

/// The namespace, with the service account that upstream wants before pods. Once per server.
pub(super) async fn prepare(context: &Context) -> anyhow::Result<()> {
    if context.prepared.replace(true) {
        return Ok(());
    }
    let target = &context.target;
    let body =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    target
        .write("POST", "/api/v1/namespaces", &body.to_string(), &[409])
        .await?;
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
    let there = async || Ok(target.read(&account).await?.is_some());
    // Not every server has a controller for that, nor wants it.
    let _ = until(
        "the namespace has a service account",
        Duration::from_secs(10),
        there,
    )
    .await;
    Ok(())
}

pub(super) async fn delete_pods(target: &Target) -> anyhow::Result<()> {
    delete_all(target, &pods()).await
}

pub(super) async fn delete_all(target: &Target, path: &str) -> anyhow::Result<()> {
    let body = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0 });
    target
        .write("DELETE", path, &body.to_string(), &[404])
        .await?;
    until(
        "everything is deleted",
        Duration::from_secs(120),
        async || Ok(count(target, path).await? == 0),
    )
    .await
}

/// The path of our nodes among all nodes.
pub(super) fn nodes() -> String {
    format!("/api/v1/nodes?labelSelector={LABEL}%3Dtrue")
}

/// How many objects a list has, without reading all of it.
pub(super) async fn count(target: &Target, path: &str) -> anyhow::Result<usize> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let list = target
        .read(&format!("{path}{separator}limit=1"))
        .await?
        .unwrap_or_default();
    let here = list["items"].as_array().map_or(0, Vec::len);
    let remaining = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) as usize;
    let more = list["metadata"]["continue"]
        .as_str()
        .is_some_and(|token| !token.is_empty());
    Ok(here + if more { remaining.max(1) } else { 0 })
}

/// The revision of the list at `path` now.
pub(super) async fn revision(target: &Target, path: &str) -> anyhow::Result<String> {
    let list = target
        .read(&format!("{path}?limit=1"))
        .await?
        .unwrap_or_default();
    match &list["metadata"]["resourceVersion"] {
        Value::String(revision) => Ok(revision.clone()),
        _ => bail!("the list at {path} has no resourceVersion"),
    }
}

/// Asks four times a second, during set-up only.
pub(super) async fn until(
    what: &str,
    within: Duration,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + within;
    while !holds().await? {
        if Instant::now() > deadline {
            bail!("gave up after {} s: {what}", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Names differ from run to run: what is deleted may linger on some servers.
pub(super) fn run_prefix(context: &Context, scenario: &str, run: usize, runs: usize) -> String {
    context
        .progress
        .step(&format!("{scenario}, run {} of {runs}", run + 1));
    format!("{scenario}-{:x}-{run}", std::process::id())
}
