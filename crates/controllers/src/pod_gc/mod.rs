//! pod-garbage-collector-controller: deletes pods that nobody else will: of nodes that are gone, unplaced ones being deleted, and
//! finished ones beyond the threshold.

pub mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fluyt_client::queue::WorkQueue;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::{DeleteOptions, NODES, PODS, Result};
use crate::clock::{plus, until};
use crate::context::Context;
use crate::informers::{BY_NODE, Change, Informer};
use crate::objects::node::Node;
use crate::objects::pod::Pod;
use crate::objects::rfc3339;
use crate::taint_eviction::patch_pod_status;
use crate::worker::{Key, Outcome, Reconcile, work};
use reconcile::Verdict;

/// How long a node must be missing before its pods are taken for lost.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How long finished pods beyond the threshold may wait, so that many are counted at once.
const FINISHED_DELAY: Duration = Duration::from_secs(20);
/// The key for counting finished pods; no pod has such a key.
const FINISHED: &str = "finished pods";
const WORKERS: usize = 4;

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        pods: context.informers.pods(),
        nodes: context.informers.nodes(),
        missing: Mutex::default(),
        context: context.clone(),
    });
    let (enqueue, nodes) = (queue.clone(), controller.nodes.clone());
    let threshold = context.options.terminated_pod_gc_threshold;
    let finished = AtomicI64::new(0);
    controller.pods.on_change(move |change| {
        note_finished(&change, &finished, threshold, &enqueue);
        if let Some(pod) = change.new
            && reconcile::judge(pod, nodes.get(&pod.node_name).as_deref()) != Verdict::Keep
        {
            enqueue.add(change.key());
        }
    });
    let (enqueue, pods) = (queue.clone(), controller.pods.clone());
    controller
        .nodes
        .on_change(move |change| node_changed(change, &pods, &enqueue));
    controller.nodes.synced().await;
    controller.pods.synced().await;
    work(&context, &queue, WORKERS, controller).await;
}

/// Keeps count of finished pods, and has them collected when there are too many.
fn note_finished(
    change: &Change<'_, Pod>,
    finished: &AtomicI64,
    threshold: i64,
    queue: &WorkQueue<Key>,
) {
    let is_finished =
        |pod: Option<&Arc<Pod>>| i64::from(pod.is_some_and(|pod| pod.phase.is_terminal()));
    let difference = is_finished(change.new) - is_finished(change.old);
    let count = finished.fetch_add(difference, Ordering::Relaxed) + difference;
    if difference > 0 && threshold > 0 && count > threshold {
        queue.add_after(FINISHED.into(), FINISHED_DELAY);
    }
}

fn node_changed(change: Change<'_, Node>, pods: &Informer<Pod>, queue: &WorkQueue<Key>) {
    let node = change.object();
    let suspicious = change.new.is_none() || (!node.is_ready() && !node.taints.is_empty());
    if suspicious {
        for pod in pods.indexed(BY_NODE, &node.meta.name) {
            queue.add(pod.meta.key().into());
        }
    }
}

struct Controller {
    context: Context,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    /// Nodes that pods are bound to and that do not exist, since when.
    missing: Mutex<HashMap<Box<str>, Timestamp>>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        if key == FINISHED {
            return self.collect_finished().await;
        }
        let Some(pod) = self.pods.get(key) else {
            return Ok(Outcome::Done);
        };
        let node = self.nodes.get(&pod.node_name);
        if node.is_some() {
            self.missing.lock().remove(&pod.node_name);
        }
        match reconcile::judge(&pod, node.as_deref()) {
            Verdict::Keep => Ok(Outcome::Done),
            Verdict::Unscheduled | Verdict::OutOfService => {
                self.delete(&pod, &Value::Null).await?;
                Ok(Outcome::Done)
            }
            Verdict::Quarantine => self.quarantined(&pod).await,
        }
    }
}

impl Controller {
    async fn quarantined(&self, pod: &Pod) -> Result<Outcome> {
        let now = self.context.clock.now();
        let since = *self
            .missing
            .lock()
            .entry(pod.node_name.clone())
            .or_insert(now);
        let due = plus(since, QUARANTINE);
        if now < due {
            return Ok(Outcome::After(until(now, due)));
        }
        if self
            .context
            .api
            .get_opt(NODES, "", &pod.node_name)
            .await?
            .is_some()
        {
            self.missing.lock().remove(&pod.node_name);
            return Ok(Outcome::Done);
        }
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": rfc3339(now),
        });
        self.delete(pod, &condition).await?;
        // The last pod takes the note of its node with it.
        if self.pods.indexed(BY_NODE, &pod.node_name).len() <= 1 {
            self.missing.lock().remove(&pod.node_name);
        }
        Ok(Outcome::Done)
    }

    async fn collect_finished(&self) -> Result<Outcome> {
        let Ok(threshold) = usize::try_from(self.context.options.terminated_pod_gc_threshold)
        else {
            return Ok(Outcome::Done);
        };
        let finished = self
            .pods
            .list()
            .into_iter()
            .filter(|pod| pod.phase.is_terminal())
            .collect();
        for pod in reconcile::excess(finished, threshold) {
            self.delete(&pod, &Value::Null).await?;
        }
        Ok(Outcome::Done)
    }

    /// Marks a pod that has not finished as failed, then deletes it without grace: no kubelet will answer.
    async fn delete(&self, pod: &Pod, condition: &Value) -> Result<()> {
        tracing::info!("pod {} is deleted by force", pod.meta.key());
        if !pod.phase.is_terminal() {
            let mut status = json!({"phase": "Failed"});
            if !condition.is_null() {
                status["conditions"] = json!([condition]);
            }
            patch_pod_status(&self.context, pod, status).await?;
        }
        let options = DeleteOptions {
            uid: Some(&pod.meta.uid),
            grace_seconds: Some(0),
            ..DeleteOptions::default()
        };
        self.context
            .api
            .delete(PODS, &pod.meta.namespace, &pod.meta.name, options)
            .await
    }
}
