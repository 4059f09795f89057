//! `fluyt status`: whether the cluster runs, its nodes and pods, and what to type next.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fluyt_client::{ClientOptions, rest};
use serde_json::Value;

use super::{Layout, State, default_data_dir, state};

#[derive(Args)]
#[command(after_help = "Examples:
  fluyt status
  fluyt status --data-dir /tmp/test")]
pub struct Options {
    /// The data directory that was given to `fluyt up`
    #[arg(long, value_name = "DIR", default_value_os_t = default_data_dir())]
    data_dir: PathBuf,
}

/// What a running cluster is and the next commands to try; ends with an empty line.
pub fn summary(layout: &Layout, server: &str, nodes: usize) -> String {
    let kubeconfig = layout.admin_kubeconfig();
    let kubeconfig = kubeconfig.display();
    let plural = if nodes == 1 { "node" } else { "nodes" };
    format!(
        "Fluyt runs: Kubernetes v1.36, {nodes} {plural}\n  \
         API server  {server}\n  \
         kubeconfig  {kubeconfig}\n  \
         logs        {}\n\
         Try:\n  \
         export KUBECONFIG={kubeconfig}\n  \
         fluyt kubectl get nodes\n  \
         fluyt kubectl get pods --all-namespaces\n",
        layout.root().join("log").display(),
    )
}

/// Exit code 0 when the cluster runs and answers, 1 when not.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Ok(layout) = Layout::existing(&options.data_dir) else {
        println!("no cluster in {}", options.data_dir.display());
        return Ok(ExitCode::FAILURE);
    };
    let Some(pid) = state::running(&layout) else {
        println!("the cluster in {} does not run", layout.root().display());
        return Ok(ExitCode::FAILURE);
    };
    let known = State::load(&layout)?;
    println!("process     {pid}");
    println!("{}", summary(&layout, &known.server, known.nodes));
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(print_counts(&layout))?;
    Ok(ExitCode::SUCCESS)
}

async fn print_counts(layout: &Layout) -> anyhow::Result<()> {
    let client = fluyt_client::connect(&ClientOptions {
        kubeconfig: Some(layout.admin_kubeconfig()),
        ..ClientOptions::default()
    })
    .await?;
    let nodes: Value = rest::get(&client, "/api/v1/nodes").await?;
    for node in items(&nodes) {
        let ready = if is_ready(node) { "Ready" } else { "NotReady" };
        println!("node        {} {ready}", text(node, "/metadata/name"));
    }
    let pods: Value = rest::get(&client, "/api/v1/pods").await?;
    let running = items(&pods)
        .iter()
        .filter(|pod| text(pod, "/status/phase") == "Running")
        .count();
    println!("pods        {running} running of {}", items(&pods).len());
    Ok(())
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// The Ready condition of a node.
pub fn is_ready(node: &Value) -> bool {
    node.pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
        })
}
