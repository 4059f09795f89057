//! A cluster with one node: what it costs while idle, and how long a pod takes to run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::Outcome;
use super::cost::{SETTLE, idle_cpu};
use super::objects::{NAMESPACE, delete_pods, pods, prepare, revision, run_prefix, until};
use crate::Context;
use crate::processes::memory_mb;
use crate::report::Measured;
use crate::target::Target;

/// The runtime's own image, which every node of ours has.
const PAUSE: &str = "fluyt.local/pause:1";
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// One pod alone says little.
const LEAST_RUNS: usize = 5;

/// Memory and CPU of everything but the container runtime.
pub(super) async fn idle(context: &Context) -> Outcome {
    if context.pids.is_empty() || context.ready_ms.is_none() {
        return Ok(Vec::new());
    }
    node_is_ready(&context.target).await?;
    tokio::time::sleep(SETTLE).await;
    let mut measured = vec![Measured {
        name: "memory-node",
        runs: vec![memory_mb(&context.pids)],
    }];
    measured.extend(idle_cpu(context, "cpu-node").await);
    Ok(measured)
}

/// From the request that creates a pod to its container's start as the API tells it.
pub(super) async fn pod_start(context: &Context) -> Outcome {
    let image = match (&context.options.image, context.ready_ms) {
        (Some(image), _) => image.as_str(),
        (None, Some(_)) => PAUSE,
        // Which image another cluster's nodes have is not known.
        (None, None) => return Ok(Vec::new()),
    };
    prepare(context).await?;
    node_is_ready(&context.target).await?;
    // The first pod finds nothing warm.
    start_one(&context.target, "warm-up", image).await?;
    let mut runs = Vec::new();
    let total = context.options.runs().max(LEAST_RUNS);
    for run in 0..total {
        let name = run_prefix(context, "pod-start", run, total);
        runs.push(
            start_one(&context.target, &name, image)
                .await?
                .as_secs_f64()
                * 1e3,
        );
    }
    Ok(vec![Measured {
        name: "pod-start",
        runs,
    }])
}

async fn node_is_ready(target: &Target) -> anyhow::Result<()> {
    until("a node is ready", STARTED_WITHIN, async || {
        let list = target.read("/api/v1/nodes").await?.unwrap_or_default();
        let nodes = list["items"].as_array().context("a list without items")?;
        Ok(nodes.iter().any(is_ready))
    })
    .await
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    ready && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}

fn pod(name: &str, image: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": image, "imagePullPolicy": "IfNotPresent" }],
        },
    })
    .to_string()
}

async fn start_one(target: &Arc<Target>, name: &str, image: &str) -> anyhow::Result<Duration> {
    let since = revision(target, &pods()).await?;
    let mut watch = target.connect().await?;
    let path = format!(
        "{}?watch=true&resourceVersion={since}&fieldSelector=metadata.name%3D{name}&timeoutSeconds=120",
        pods()
    );
    let head = watch.send(&target.get(&path)).await?;
    if head.status != 200 {
        bail!("a watch was answered with HTTP {}", head.status);
    }
    let (started, running) = tokio::sync::oneshot::channel();
    let watching = tokio::spawn(async move {
        let (mut started, mut line) = (Some(started), Vec::new());
        watch
            .body(head, |part| {
                line.extend_from_slice(part);
                while let Some(end) = memchr::memchr(b'\n', &line) {
                    let event: Vec<u8> = line.drain(..=end).collect();
                    if runs(&event)
                        && let Some(started) = started.take()
                    {
                        let _ = started.send(Instant::now());
                    }
                }
            })
            .await
    });
    let asked = Instant::now();
    target
        .write("POST", &pods(), &pod(name, image), &[])
        .await?;
    let running = tokio::time::timeout(STARTED_WITHIN, running).await;
    watching.abort();
    let running = running
        .with_context(|| format!("pod {NAMESPACE}/{name} did not start in time"))?
        .context("the watch ended")?;
    delete_pods(target).await?;
    Ok(running - asked)
}

/// Whether an event of the watch tells that the pod's container runs.
fn runs(event: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    let statuses = event["object"]["status"]["containerStatuses"].as_array();
    statuses
        .into_iter()
        .flatten()
        .any(|status| status["state"]["running"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_container_is_recognised() {
        let event = |state: &str| {
            format!(
                r#"{{"type":"MODIFIED","object":{{"status":{{"containerStatuses":[{{"state":{state}}}]}}}}}}"#
            )
        };
        assert!(runs(event(r#"{"running":{"startedAt":"now"}}"#).as_bytes()));
        assert!(!runs(
            event(r#"{"waiting":{"reason":"ContainerCreating"}}"#).as_bytes()
        ));
        assert!(!runs(b"{}"));
    }
}
