//! What the server weighs with simulated nodes whose pods all run: `fluyt sim` beside it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};

use super::Outcome;
use super::objects::{count, pod_creates, pods, prepare, run_prefix, until};
use crate::Context;
use crate::load;
use crate::processes::memory_mb;
use crate::report::Measured;
use crate::server::binary;

const CONNECTIONS: usize = 64;
const WITHIN: Duration = Duration::from_secs(120);

/// Only for a server of ours: nodes of another cluster are not ours to add.
pub(super) async fn memory(context: &Context) -> Outcome {
    if context.ready_ms.is_none() {
        return Ok(Vec::new());
    }
    let target = &context.target;
    let (nodes, total) = (context.options.nodes, context.options.pods);
    let _simulation = simulate(context, nodes)?;
    prepare(context).await?;
    let registered = async || Ok(count(target, "/api/v1/nodes").await? == nodes);
    until("all simulated nodes are registered", WITHIN, registered).await?;
    let prefix = run_prefix(context, "simulated", 0, 1);
    let requests = pod_creates(target, &prefix, "default-scheduler", total);
    load::run(target, CONNECTIONS, total, 201, move |number| {
        Arc::clone(&requests[number])
    })
    .await?;
    let path = format!("{}?fieldSelector=status.phase%3DRunning", pods());
    until("all pods run", WITHIN, async || {
        let list = target.read(&path).await?.unwrap_or_default();
        Ok(list["items"].as_array().map_or(0, Vec::len) == total)
    })
    .await?;
    Ok(vec![Measured {
        name: "memory-cluster",
        runs: vec![memory_mb(&context.pids)],
    }])
}

fn simulate(context: &Context, nodes: usize) -> anyhow::Result<Child> {
    let binary = binary(&context.options)?;
    let kubeconfig = context
        .kubeconfig
        .as_ref()
        .context("a server of ours has a kubeconfig file")?;
    Command::new(&binary)
        .args(["sim", "--nodes", &nodes.to_string(), "--kubeconfig"])
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}
