//! Asks the core, once for each new pod, whether it may run here: with the node as the API
//! shows it and the pods that have workers. A pod that an earlier kubelet has taken on is
//! not asked again: what runs keeps running.

use super::manager::Handles;
use super::worker::Handle;
use crate::context::Context;
use crate::node::peers::SlimNode;
use crate::node::status::labels;
use fluyt_client::rest;
use fluyt_kubelet_core::admission::{self, NodeFacts, was_admitted};
use fluyt_kubelet_core::model;
use fluyt_kubelet_core::status::Failure;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Taint};
use std::sync::Arc;
use std::time::Duration;

/// How long the API may take to show our node: pods that come meanwhile wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The order in which pods that come together are judged: those that were admitted
/// before, then the oldest first.
pub(super) fn order(pod: &Pod) -> (bool, Option<Timestamp>) {
    let created = pod.metadata.creation_timestamp.as_ref();
    (!was_admitted(pod), created.map(|time| time.0))
}

/// Why the pod may not run here, if it may not; an event says it, too.
pub(super) async fn failure(context: &Context, handles: &Handles, pod: &Pod) -> Option<Failure> {
    if was_admitted(pod) || has_ended(pod) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let others = active(handles);
    let others: Vec<&Pod> = others.iter().map(Arc::as_ref).collect();
    let known = context.own_node.read().clone();
    let (node, fresh) = match known {
        Some(node) => (node, false),
        None => (
            fetch(context).await.unwrap_or_else(|| initial(context)),
            true,
        ),
    };
    let mut verdict = admission::admit(&node, &others, pod);
    if let Err(rejection) = &verdict
        && rejection.is_about_labels()
        && !fresh
        && let Some(node) = fetch(context).await
    {
        // The label may have been set a moment ago.
        verdict = admission::admit(&node, &others, pod);
    }
    let rejection = verdict.err()?;
    tracing::info!(
        pod = %model::describe(pod), reason = rejection.reason, message = rejection.message,
        "the pod is not admitted"
    );
    let message = rejection.message.clone();
    context.event(pod, None, true, &rejection.reason, message);
    Some(rejection.failure())
}

/// The pods that hold something of the node: those that have not ended, or still run.
fn active(handles: &Handles) -> Vec<Arc<Pod>> {
    let counts = |handle: &&Handle| {
        let stopped = handle.observed.read().all_stopped();
        let ended = stopped && has_ended(&handle.current.read());
        !handle.desired.borrow().gone && !ended
    };
    let handles = handles.read();
    let active = handles.values().filter(counts);
    active.map(|handle| handle.current.read().clone()).collect()
}

fn has_ended(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"))
}

/// The node as the API shows it now.
async fn fetch(context: &Context) -> Option<NodeFacts> {
    let path = rest::path("", "v1", "", "nodes", &context.settings.node_name);
    let answer = rest::get::<SlimNode>(&context.client, &path);
    let node = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
    Some(node.facts(&context.allocatable))
}

/// The node as it would register, for pods that come before it did.
fn initial(context: &Context) -> NodeFacts {
    let settings = &context.settings;
    let taints = settings.taints.iter().map(|taint| Taint {
        key: taint.key.clone(),
        value: Some(taint.value.clone()),
        effect: taint.effect.clone(),
        time_added: None,
    });
    NodeFacts {
        name: settings.node_name.clone(),
        labels: labels(settings),
        taints: taints.collect(),
        allocatable: context.allocatable.clone(),
        supplemental_groups_policy: false,
    }
}
