//! node-lifecycle-controller: notices that nodes fall silent and come back, and says so in conditions, taints and pods.
//!
//! Nothing is scanned: a lease renewal only notes the time, and each node has one timer that is due when its grace period would
//! end. When it fires early (the node was heard of meanwhile) it is set again.

pub mod health;
pub mod taints;
pub mod zones;

use std::collections::HashMap;
use std::sync::Arc;

use fluyt_client::events::EventType;
use fluyt_client::queue::WorkQueue;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::api::{NODES, Result};
use crate::clock::until;
use crate::context::Context;
use crate::informers::{BY_NODE, Change, Informer};
use crate::objects::node::{Lease, Node};
use crate::objects::pod::Pod;
use crate::objects::{ConditionStatus, Meta, rfc3339};
use crate::taint_eviction::patch_pod_status;
use crate::worker::{Key, Outcome, Reconcile, work};
use health::Health;
use taints::{Swap, Urgency};
use zones::{Limits, Shift, Zones};

/// Nodes that are worked on at the same time.
const WORKERS: usize = 8;
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let limits = Limits {
        rate: context.options.node_eviction_rate,
        secondary_rate: context.options.secondary_node_eviction_rate,
        large: context.options.large_cluster_size_threshold,
        threshold: context.options.unhealthy_zone_threshold,
    };
    let controller = Arc::new(Controller {
        nodes: context.informers.nodes(),
        leases: context.informers.leases(),
        pods: context.informers.pods(),
        state: Mutex::new(State {
            known: HashMap::new(),
            zones: Zones::new(limits),
        }),
        tainting: Notify::new(),
        queue: queue.clone(),
        context: context.clone(),
    });
    subscribe(&controller, &queue);
    controller.nodes.synced().await;
    controller.leases.synced().await;
    controller.pods.synced().await;
    let tainting = controller.clone();
    let tainter = async move { tainting.taint_rationed().await };
    let both = futures::future::join(
        context.shutdown.run_until_cancelled(tainter),
        work(&context, &queue, WORKERS, controller),
    );
    both.await;
}

fn subscribe(controller: &Arc<Controller>, queue: &WorkQueue<Key>) {
    let enqueue = queue.clone();
    controller
        .nodes
        .on_change(move |change| enqueue.add(change.key()));
    let noting = Arc::downgrade(controller);
    controller.leases.on_change(move |change| {
        if let (Some(controller), Some(lease)) = (noting.upgrade(), change.new) {
            controller.renewed(lease);
        }
    });
    let (nodes, enqueue) = (controller.nodes.clone(), queue.clone());
    controller
        .pods
        .on_change(move |change| pod_changed(change, &nodes, &enqueue));
}

/// A pod that appears on, or is ready on, a node that is not heard of must be marked.
fn pod_changed(change: Change<'_, Pod>, nodes: &Informer<Node>, queue: &WorkQueue<Key>) {
    let Some(pod) = change
        .new
        .filter(|pod| !pod.node_name.is_empty() && pod.is_ready())
    else {
        return;
    };
    if nodes
        .get(&pod.node_name)
        .is_some_and(|node| is_unknown(&node))
    {
        queue.add((*pod.node_name).into());
    }
}

fn is_unknown(node: &Node) -> bool {
    node.ready()
        .is_some_and(|ready| ready.status == ConditionStatus::Unknown)
}

struct Known {
    health: Health,
    meta: Meta,
}

struct State {
    known: HashMap<Key, Known>,
    zones: Zones,
}

struct Controller {
    context: Context,
    nodes: Arc<Informer<Node>>,
    leases: Arc<Informer<Lease>>,
    pods: Arc<Informer<Pod>>,
    state: Mutex<State>,
    /// Woken when a node waits for its turn to be tainted.
    tainting: Notify,
    queue: WorkQueue<Key>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let Some(node) = self.nodes.get(key) else {
            self.forget(key);
            return Ok(Outcome::Done);
        };
        let now = self.context.clock.now();
        let health = self.observe(key, &node);
        let options = &self.context.options;
        let deadline = health.deadline(
            &node,
            options.node_monitor_grace_period,
            options.node_startup_grace_period,
        );
        if deadline < now && !is_unknown(&node) {
            // The change comes back through the watch, and with it the taints.
            self.mark_unknown(&node).await?;
            return Ok(Outcome::Done);
        }
        let shift = self.count(key, &node);
        self.follow(shift).await?;
        self.taint(key, &node).await?;
        if is_unknown(&node) {
            self.mark_pods(&node).await?;
            return Ok(Outcome::Done);
        }
        // One millisecond past the deadline it has passed.
        Ok(Outcome::After(
            until(now, deadline) + std::time::Duration::from_millis(1),
        ))
    }
}

impl Controller {
    fn renewed(&self, lease: &Lease) {
        if &*lease.metadata.namespace != "kube-node-lease" {
            return;
        }
        let now = self.context.clock.now();
        let mut state = self.state.lock();
        if let Some(known) = state.known.get_mut(&*lease.metadata.name) {
            known.health.renew(lease.spec.renew_time, now);
        }
    }

    /// Takes in what the caches show of a node; tells of one that is new.
    fn observe(&self, key: &str, node: &Node) -> Health {
        let now = self.context.clock.now();
        let lease = self.leases.get(&format!("kube-node-lease/{key}"));
        let renewed = lease.and_then(|lease| lease.spec.renew_time);
        let mut state = self.state.lock();
        let before = state
            .known
            .get(key)
            .filter(|known| known.meta.uid == node.meta.uid);
        let is_new = before.is_none();
        let health = health::observe(before.map(|known| &known.health), node, renewed, now);
        state.known.insert(
            key.into(),
            Known {
                health: health.clone(),
                meta: node.meta.clone(),
            },
        );
        drop(state);
        if is_new {
            let message = format!("Node {key} event: Registered Node {key} in Controller");
            self.context
                .node_event(&node.meta, "RegisteredNode", message);
        }
        health
    }

    fn forget(&self, key: &str) {
        let mut state = self.state.lock();
        state.zones.set(&key.into(), None);
        let known = state.known.remove(key);
        drop(state);
        if let Some(known) = known {
            let message = format!("Node {key} event: Removing Node {key} from Controller");
            self.context
                .node_event(&known.meta, "RemovingNode", message);
        }
    }

    async fn mark_unknown(&self, node: &Node) -> Result<()> {
        let now = self.context.clock.now();
        let name = &*node.meta.name;
        // The cache may be behind: a heartbeat that has been written but not seen must not be overwritten.
        let expected = Some(&*node.meta.resource_version);
        let change = |live: &mut Value| health::mark_unknown(live, now);
        self.context
            .api
            .modify(NODES, ("", name), "status", expected, change)
            .await?;
        if node.is_ready() {
            let message = format!("Node {name} status is now: NodeNotReady");
            self.context.node_event(&node.meta, "NodeNotReady", message);
        }
        Ok(())
    }

    /// Counts the node in its zone.
    fn count(&self, key: &str, node: &Node) -> Shift {
        let counts = node.ready().is_some() && !node.meta.labels.contains_key(EXCLUDED);
        let zone = format!("{}:\u{0}:{}", node.region(), node.zone());
        let place = counts.then_some((&*zone, node.is_ready()));
        let shift = self.state.lock().zones.set(&key.into(), place);
        self.tainting.notify_one();
        shift
    }

    /// When all nodes fall silent, and when the first is back.
    async fn follow(&self, shift: Shift) -> Result<()> {
        match shift {
            Shift::None => {}
            Shift::AllDown => {
                tracing::warn!("no node is ready: all evictions stop");
                for node in self.nodes.list() {
                    self.swap(&node.meta.name, &taints::reachable(&node))
                        .await?;
                }
            }
            Shift::Recovered => {
                tracing::info!("some nodes are ready again: evictions resume");
                let now = self.context.clock.now();
                let mut state = self.state.lock();
                for (name, known) in &mut state.known {
                    known.health.probe = now;
                    self.queue.add(name.clone());
                }
            }
        }
        Ok(())
    }

    async fn taint(&self, key: &str, node: &Node) -> Result<()> {
        let mut swap = taints::no_schedule(node);
        let (no_execute, urgency) = taints::no_execute(node);
        let all_down = self.state.lock().zones.all_down();
        let held_back = all_down && !no_execute.add.is_empty();
        if urgency == Urgency::Now && !held_back {
            self.state.lock().zones.cancel(key);
            swap.add.extend(no_execute.add);
            swap.remove.extend(no_execute.remove);
        } else if !no_execute.is_empty() {
            let zone = format!("{}:\u{0}:{}", node.region(), node.zone());
            self.state.lock().zones.wait(&key.into(), &zone);
            self.tainting.notify_one();
        }
        self.swap(key, &swap).await
    }

    async fn swap(&self, name: &str, swap: &Swap) -> Result<()> {
        if swap.is_empty() {
            return Ok(());
        }
        let now = self.context.clock.now();
        let change = |live: &mut Value| swap.apply(live, now);
        match self
            .context
            .api
            .modify(NODES, ("", name), "", None, change)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Adds NoExecute taints as fast as the zones allow.
    async fn taint_rationed(&self) {
        loop {
            let now = self.context.clock.now();
            let taken = self.state.lock().zones.take(now);
            let Some(name) = taken else {
                let due = self.state.lock().zones.next_due();
                let woken = self.tainting.notified();
                match due {
                    Some(due) => {
                        let _ = tokio::time::timeout(until(now, due), woken).await;
                    }
                    None => woken.await,
                }
                continue;
            };
            let Some(node) = self.nodes.get(&name) else {
                continue;
            };
            // It may be ready again by now; then there is nothing to add.
            let (swap, _) = taints::no_execute(&node);
            if let Err(error) = self.swap(&name, &swap).await {
                tracing::debug!("node {name} is not tainted yet: {error}");
                self.queue.retry(name);
            }
        }
    }

    /// The pods of a silent node are not ready, whatever was last heard of them.
    async fn mark_pods(&self, node: &Node) -> Result<()> {
        let now = self.context.clock.now();
        for pod in self.pods.indexed(BY_NODE, &node.meta.name) {
            if !pod.is_ready() {
                continue;
            }
            let condition =
                json!({"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(now)});
            patch_pod_status(&self.context, &pod, json!({"conditions": [condition]})).await?;
            let message = "Node is not ready".to_owned();
            self.context.event(
                ("v1", "Pod"),
                &pod.meta,
                EventType::Warning,
                "NodeNotReady",
                message,
            );
        }
        Ok(())
    }
}
