//! `drain`: cordons a node and evicts what runs on it.

use super::common::DryRun;
use super::delete::wait_gone;
use super::nodes;
use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use crate::selection::{Reference, SelectorFlags, list_all};
use crate::text::{duration, goquote::quote};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const A_WEEK: Duration = Duration::from_secs(168 * 3600);
/// Between tries to evict a pod that a disruption budget protects.
const RETRY: Duration = Duration::from_secs(5);
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Drain node in preparation for maintenance
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl drain foo --force
  kubectl drain foo --grace-period=900 --ignore-daemonsets")]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: nodes::NodeFlags,
    /// Continue even if there are pods that do not declare a controller
    #[arg(long)]
    force: bool,
    /// Ignore DaemonSet-managed pods
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Continue even if there are pods using emptyDir
    #[arg(long)]
    delete_emptydir_data: bool,
    /// Force drain to use delete, even if eviction is supported
    #[arg(long)]
    disable_eviction: bool,
    /// Period of time in seconds given to each pod to terminate gracefully; negative uses the pod's own
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    grace_period: i64,
    /// The length of time to wait before giving up, zero means infinite
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    /// Label selector to filter pods on the node
    #[arg(long)]
    pod_selector: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let dry_run = arguments.flags.dry_run()?;
    let timeout = duration::parse(&arguments.timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.timeout))))?;
    let timeout = if timeout.is_zero() { A_WEEK } else { timeout };
    let chosen = arguments.flags.nodes(context, "drain").await?;
    nodes::cordon(context, &chosen, true, dry_run).await?;
    let mut failures = Vec::new();
    let mut pending = Vec::new();
    for node in &chosen {
        let drained = tokio::time::timeout(timeout, drain(context, &arguments, node, dry_run))
            .await
            .unwrap_or_else(|_| {
                Err(Failure::message(format!(
                    "global timeout reached: {}",
                    duration::go(timeout.as_secs() as i64)
                )))
            });
        match drained {
            Ok(()) => output::line(format!("node/{} drained{}", node.name, dry_run.suffix())),
            Err(failure) => {
                output::error_line(format!(
                    "error: unable to drain node {} due to error: {}, continuing command...",
                    quote(&node.name),
                    listed(&failure)
                ));
                pending.push(node.name.clone());
                failures.push(failure);
            }
        }
    }
    if !pending.is_empty() {
        output::error_line("There are pending nodes to be drained:");
        for name in pending {
            output::error_line(format!(" {name}"));
        }
    }
    // A list even with one in it: its reasons stand without the prefix of a single error.
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::Many(failures)),
    }
}

/// Several reasons in brackets.
fn listed(failure: &Failure) -> String {
    match failure {
        Failure::Many(failures) => {
            let texts: Vec<String> = failures.iter().map(Failure::text).collect();
            format!("[{}]", texts.join(", "))
        }
        one => one.text(),
    }
}

/// What is to be done with a pod of the node.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Fate {
    Leave,
    Evict,
    /// Evict, after a warning.
    Warn(&'static str),
    /// Leave, after a warning.
    Skip(&'static str),
    Refuse(&'static str),
}

async fn drain(
    context: &Context,
    arguments: &Arguments,
    node: &Reference,
    dry_run: DryRun,
) -> Result<(), Failure> {
    let mapping = context.mapper().well_known("pods");
    let selectors = SelectorFlags {
        selector: arguments.pod_selector.clone(),
        field_selector: Some(format!("spec.nodeName={}", node.name)),
        all_namespaces: true,
    };
    let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut warned: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut doomed = Vec::new();
    for pod in list_all(context, &mapping, None, &selectors).await? {
        let name = format!("{}/{}", pod.value.namespace(), pod.name);
        match fate(arguments, &pod.value) {
            Fate::Leave => {}
            Fate::Evict => doomed.push(pod),
            Fate::Warn(reason) => {
                warned.entry(reason).or_default().push(name);
                doomed.push(pod);
            }
            Fate::Skip(reason) => warned.entry(reason).or_default().push(name),
            Fate::Refuse(reason) => refused.entry(reason).or_default().push(name),
        }
    }
    Failure::collect(
        refused
            .iter()
            .map(|(reason, pods)| Failure::message(format!("cannot delete {reason}: {}", pods.join(", "))))
            .collect(),
    )?;
    if !warned.is_empty() {
        let texts: Vec<String> = warned
            .iter()
            .map(|(reason, pods)| format!("{reason}: {}", pods.join(", ")))
            .collect();
        output::warning(texts.join("; "));
    }
    if dry_run == DryRun::Client {
        for pod in doomed {
            output::line(format!("evicting pod {}/{} (dry run)", pod.value.namespace(), pod.name));
        }
        return Ok(());
    }
    evict_all(context, arguments, doomed, dry_run).await
}

fn fate(arguments: &Arguments, pod: &Value) -> Fate {
    let ended = matches!(pod.text("status.phase"), "Succeeded" | "Failed");
    if pod.annotation(MIRROR).is_some() {
        return Fate::Leave;
    }
    let controller = pod
        .list("metadata.ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true);
    if controller.is_some_and(|owner| owner["kind"] == "DaemonSet") && !ended {
        return if arguments.ignore_daemonsets {
            Fate::Skip("ignoring DaemonSet-managed Pods")
        } else {
            Fate::Refuse("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")
        };
    }
    if ended {
        return Fate::Evict;
    }
    let has_local = pod.list("spec.volumes").iter().any(|volume| volume["emptyDir"].is_object());
    if has_local && !arguments.delete_emptydir_data {
        return Fate::Refuse("Pods with local storage (use --delete-emptydir-data to override)");
    }
    if controller.is_none() {
        return if arguments.force {
            Fate::Warn("deleting Pods that declare no controller")
        } else {
            Fate::Refuse("Pods that declare no controller (use --force to override)")
        };
    }
    Fate::Evict
}

async fn evict_all(
    context: &Context,
    arguments: &Arguments,
    pods: Vec<Reference>,
    dry_run: DryRun,
) -> Result<(), Failure> {
    let evictions = pods.iter().map(|pod| evict(context, arguments, pod, dry_run));
    let failures: Vec<Failure> = futures::future::join_all(evictions)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    Failure::collect(failures)
}

async fn evict(
    context: &Context,
    arguments: &Arguments,
    pod: &Reference,
    dry_run: DryRun,
) -> Result<(), Failure> {
    let namespace = pod.value.namespace().to_owned();
    let rest = context.rest().await?;
    output::line(format!("evicting pod {namespace}/{}{}", pod.name, dry_run.suffix()));
    let mut options = json!({});
    if arguments.grace_period >= 0 {
        options["gracePeriodSeconds"] = json!(arguments.grace_period);
    }
    if dry_run == DryRun::Server {
        options["dryRun"] = json!(["All"]);
    }
    loop {
        let call = if arguments.disable_eviction {
            Call::delete(pod.path(), &options)
        } else {
            let eviction = json!({
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": pod.name, "namespace": namespace},
                "deleteOptions": options,
            });
            Call::post(format!("{}/eviction", pod.path()), &eviction)
        };
        match rest.json(&call).await {
            Ok(_) => break,
            Err(failure) if failure.is_not_found() => return Ok(()),
            Err(failure) if failure.reason() == "TooManyRequests" => {
                output::error_line(format!(
                    "error when evicting pods/{} -n {} (will retry after 5s): {}",
                    quote(&pod.name),
                    quote(&namespace),
                    failure.text()
                ));
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => {
                return Err(Failure::message(format!(
                    "error when evicting pods/{} -n {}: {}",
                    quote(&pod.name),
                    quote(&namespace),
                    failure.text()
                )));
            }
        }
    }
    if dry_run == DryRun::None {
        wait_gone(context, pod, pod.value.text("metadata.uid"), A_WEEK).await?;
        output::line(format!("pod/{} evicted", pod.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn check(flags: &[&str], pod: Value, expected: Fate) {
        let words = ["drain", "n"].iter().chain(flags);
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(fate(&arguments, &pod), expected, "{flags:?} {pod}");
    }

    #[test]
    fn what_happens_to_a_pod() {
        let bare = json!({"status": {"phase": "Running"}});
        let owned = |kind: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "controller": true}]}});
        let local = json!({
            "metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]},
            "spec": {"volumes": [{"emptyDir": {}}]},
        });
        let force = "Pods that declare no controller (use --force to override)";
        check(&[], bare.clone(), Fate::Refuse(force));
        check(&["--force"], bare, Fate::Warn("deleting Pods that declare no controller"));
        check(&[], owned("ReplicaSet"), Fate::Evict);
        check(&["--ignore-daemonsets"], owned("DaemonSet"), Fate::Skip("ignoring DaemonSet-managed Pods"));
        check(&["--delete-emptydir-data"], local, Fate::Evict);
        check(&[], json!({"metadata": {"annotations": {MIRROR: "x"}}}), Fate::Leave);
    }
}
