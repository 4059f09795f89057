//! `make up`: the two-node sample cluster from nothing to running pods, and what to try next.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde_json::Value;

use crate::process::{output, root, run};
use crate::{samples, setup};

/// A node's image import and the first start of its runtime included.
const PODS_WITHIN: Duration = Duration::from_secs(120);

pub fn run_kubectl(program: &str, kubeconfig: &str, words: &[&str]) -> anyhow::Result<String> {
    let mut all = vec!["kubectl", "--kubeconfig", kubeconfig];
    all.extend(words);
    output(program, &all)
}

/// Where `make up` keeps its cluster; FLUYT_DATA_DIR changes it.
fn data_dir() -> String {
    std::env::var("FLUYT_DATA_DIR").unwrap_or_else(|_| "/var/lib/fluyt".to_owned())
}

pub fn run_up() -> anyhow::Result<()> {
    setup::run(false)?;
    let archives = samples::run()?;
    let program = samples::fluyt()?.display().to_string();
    let data_dir = data_dir();
    let kubeconfig = format!("{data_dir}/admin.kubeconfig");
    run(
        &program,
        &["up", "--nodes", "2", "--detach", "--data-dir", &data_dir],
    )?;
    let mut import = vec!["image".to_owned(), "import".to_owned()];
    import.extend(archives.iter().map(|archive| archive.display().to_string()));
    import.extend(["--data-dir".to_owned(), data_dir.clone()]);
    let import: Vec<&str> = import.iter().map(String::as_str).collect();
    run(&program, &import)?;
    let manifests = root().join("samples").display().to_string();
    print!(
        "{}",
        run_kubectl(&program, &kubeconfig, &["apply", "-f", &manifests])?
    );
    wait_for_pods(&program, &kubeconfig)?;
    print!(
        "{}",
        run_kubectl(&program, &kubeconfig, &["get", "nodes", "-o", "wide"])?
    );
    println!();
    print!(
        "{}",
        run_kubectl(&program, &kubeconfig, &["get", "pods", "-o", "wide"])?
    );
    next_steps(&program, &kubeconfig);
    Ok(())
}

/// Which of the sample pods are ready, and which are not, those included that a Deployment has not made yet.
struct Readiness {
    ready: usize,
    missing: Vec<String>,
}

impl Readiness {
    fn of(pods: &Value, deployments: &Value) -> Self {
        let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
        let is_ready = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let name = |kind: &str, object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            format!("{kind}/{name}")
        };
        let (ready, waiting): (Vec<Value>, Vec<Value>) =
            items(pods).into_iter().partition(is_ready);
        let mut missing: Vec<String> = waiting.iter().map(|pod| name("pod", pod)).collect();
        let incomplete = |deployment: &&Value| {
            let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
            deployment["status"]["readyReplicas"].as_i64().unwrap_or(0) < wanted
        };
        let deployments = items(deployments);
        let incomplete = deployments.iter().filter(incomplete);
        missing.extend(incomplete.map(|deployment| name("deployment", deployment)));
        Self {
            ready: ready.len(),
            missing,
        }
    }
}

/// Shows on a terminal what it waits for; elsewhere a line whenever another pod is ready.
fn wait_for_pods(program: &str, kubeconfig: &str) -> anyhow::Result<()> {
    let bar = ProgressBar::new_spinner().with_message("waiting for the sample pods");
    bar.enable_steady_tick(Duration::from_millis(100));
    let list = |kind: &str| -> anyhow::Result<Value> {
        let text = run_kubectl(program, kubeconfig, &["get", kind, "-o", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("the list of {kind} cannot be read"))
    };
    let deadline = Instant::now() + PODS_WITHIN;
    let mut told = None;
    loop {
        let readiness = Readiness::of(&list("pods")?, &list("deployments")?);
        let line = match readiness.missing.as_slice() {
            [] => format!("{} sample pods are ready", readiness.ready),
            missing => format!(
                "{} sample pods are ready; waiting for {}",
                readiness.ready,
                missing.join(", ")
            ),
        };
        if bar.is_hidden() && told.as_ref() != Some(&line) {
            eprintln!("{line}");
        }
        bar.set_message(line.clone());
        if readiness.missing.is_empty() {
            bar.finish_and_clear();
            return Ok(());
        }
        if Instant::now() > deadline {
            bar.finish_and_clear();
            bail!(
                "{line}, for {} s already; see {program} kubectl --kubeconfig {kubeconfig} describe {}",
                PODS_WITHIN.as_secs(),
                readiness.missing[0]
            );
        }
        told = Some(line);
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn next_steps(program: &str, kubeconfig: &str) {
    println!(
        "\nThe kubeconfig is {kubeconfig}. Try:\n  \
         export KUBECONFIG={kubeconfig}\n  \
         {program} kubectl describe pod nginx-without-nodename\n  \
         {program} kubectl logs -l app=hello --tail=3\n  \
         {program} kubectl scale deployment hello --replicas=5\n\
         make down removes everything."
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_waits_for_pods_and_for_what_makes_them() {
        let pod = |name: &str, ready: &str| json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let pods =
            json!({"items": [pod("a", "True"), pod("b", "False"), {"metadata": {"name": "c"}}]});
        let deployments = json!({"items": [
            {"metadata": {"name": "d"}, "spec": {"replicas": 2}, "status": {"readyReplicas": 2}},
            {"metadata": {"name": "e"}, "spec": {"replicas": 2}},
        ]});
        let found = Readiness::of(&pods, &deployments);
        assert_eq!(found.ready, 1);
        assert_eq!(found.missing, ["pod/b", "pod/c", "deployment/e"]);
    }
}
