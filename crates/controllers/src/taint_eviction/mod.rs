//! taint-eviction-controller: deletes pods from nodes whose NoExecute taints they do not tolerate, or no longer.

pub mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;

use fluyt_client::events::EventType;
use fluyt_client::k8s_openapi::api::core::v1::ObjectReference;
use fluyt_client::queue::WorkQueue;
use fluyt_client::rest::PatchType;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::{DeleteOptions, PODS, Result};
use crate::clock::until;
use crate::context::Context;
use crate::informers::{BY_NODE, Change, Informer};
use crate::objects::node::{Node, Taint};
use crate::objects::pod::Pod;
use crate::objects::rfc3339;
use crate::worker::{Key, Outcome, Reconcile, work};
use reconcile::{Decision, Planned};

/// Pods that are evicted at the same time.
const WORKERS: usize = 8;

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        pods: context.informers.pods(),
        nodes: context.informers.nodes(),
        planned: Mutex::default(),
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller.pods.on_change(move |change| {
        if concerns(&change) {
            enqueue.add(change.key());
        }
    });
    let (pods, enqueue) = (controller.pods.clone(), queue.clone());
    controller
        .nodes
        .on_change(move |change| node_changed(change, &pods, &enqueue));
    controller.pods.synced().await;
    controller.nodes.synced().await;
    work(&context, &queue, WORKERS, controller).await;
}

/// A pod that is new on its node, gone, or tolerates something else now.
fn concerns(change: &Change<'_, Pod>) -> bool {
    match (change.old, change.new) {
        (Some(old), Some(new)) => {
            old.node_name != new.node_name
                || old.tolerations != new.tolerations
                || old.meta.is_deleting() != new.meta.is_deleting()
        }
        _ => !change.object().node_name.is_empty(),
    }
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    node.taints
        .iter()
        .filter(|taint| &*taint.effect == "NoExecute")
}

fn node_changed(change: Change<'_, Node>, pods: &Informer<Pod>, queue: &WorkQueue<Key>) {
    let Some(node) = change.new else {
        return;
    };
    let before: Vec<&Taint> = change
        .old
        .map(|node| no_execute(node).collect())
        .unwrap_or_default();
    if no_execute(node).eq(before) {
        return;
    }
    for pod in pods.indexed(BY_NODE, &node.meta.name) {
        queue.add(pod.meta.key().into());
    }
}

struct Controller {
    context: Context,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    /// Evictions that wait for a toleration to end.
    planned: Mutex<HashMap<Key, Planned>>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let pod = self
            .pods
            .get(key)
            .filter(|pod| !pod.meta.is_deleting() && !pod.node_name.is_empty());
        let Some(pod) = pod else {
            self.planned.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let planned = self.planned.lock().get(key).copied();
        let now = self.context.clock.now();
        let decision = match (self.nodes.get(&pod.node_name), planned) {
            (Some(node), planned) => {
                let taints: Vec<&Taint> = no_execute(&node).collect();
                reconcile::decide(&pod.tolerations, &taints, planned, now)
            }
            // A node that is gone takes its taints along, but not what was planned because of them.
            (None, Some(planned)) if planned.due <= now => Decision::Evict,
            (None, Some(planned)) => Decision::Wait(planned, until(now, planned.due)),
            (None, None) => Decision::Stay,
        };
        self.carry_out(key, &pod, decision).await
    }
}

impl Controller {
    async fn carry_out(&self, key: &str, pod: &Pod, decision: Decision) -> Result<Outcome> {
        match decision {
            Decision::Stay => Ok(Outcome::Done),
            Decision::Cancel => {
                self.planned.lock().remove(key);
                self.event(pod, format!("Cancelling deletion of Pod {key}"));
                Ok(Outcome::Done)
            }
            Decision::Wait(planned, delay) => {
                self.planned.lock().insert(key.into(), planned);
                Ok(Outcome::After(delay))
            }
            Decision::Evict => {
                self.event(pod, format!("Marking for deletion Pod {key}"));
                self.evict(pod).await?;
                self.planned.lock().remove(key);
                Ok(Outcome::Done)
            }
        }
    }

    fn event(&self, pod: &Pod, message: String) {
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.meta.name.to_string()),
            namespace: Some(pod.meta.namespace.to_string()),
            uid: Some(pod.meta.uid.to_string()),
            ..ObjectReference::default()
        };
        self.context.recorder.event(
            &regarding,
            EventType::Normal,
            "TaintManagerEviction",
            message,
        );
    }

    async fn evict(&self, pod: &Pod) -> Result<()> {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": rfc3339(self.context.clock.now()),
        });
        patch_pod_status(&self.context, pod, json!({"conditions": [condition]})).await?;
        let options = DeleteOptions {
            uid: Some(&pod.meta.uid),
            ..DeleteOptions::default()
        };
        self.context
            .api
            .delete(PODS, &pod.meta.namespace, &pod.meta.name, options)
            .await
    }
}

/// Merges into a pod's status, by condition type, unless the pod is gone or another by now.
pub(crate) async fn patch_pod_status(context: &Context, pod: &Pod, status: Value) -> Result<()> {
    let body = json!({"metadata": {"uid": pod.meta.uid}, "status": status});
    let path = format!("{}/status", PODS.path(&pod.meta.namespace, &pod.meta.name));
    let outcome = context.api.patch(&path, PatchType::Strategic, &body).await;
    match outcome {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}
