//! replicaset-controller: keeps the number of a replica set's pods.

pub mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;

use fluyt_client::events::EventType;
use fluyt_client::queue::WorkQueue;
use fluyt_client::rest::PatchType;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::{DeleteOptions, Error, PODS, REPLICA_SETS, Result};
use crate::clock::until;
use crate::context::Context;
use crate::expectations::Expectations;
use crate::informers::{BY_CONTROLLER, Change, Informer, ORPHANS};
use crate::objects::Meta;
use crate::objects::apps::{ReplicaSet, ReplicaSetStatus};
use crate::objects::pod::Pod;
use crate::worker::{Key, Outcome, Reconcile, work};
use reconcile::Scale;

const KIND: (&str, &str) = ("apps/v1", "ReplicaSet");

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        sets: context.informers.replica_sets(),
        pods: context.informers.pods(),
        expectations: Arc::new(Expectations::default()),
        queue: queue.clone(),
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller
        .sets
        .on_change(move |change| enqueue.add(change.key()));
    let watcher = PodWatcher {
        sets: controller.sets.clone(),
        expectations: controller.expectations.clone(),
        queue: queue.clone(),
    };
    controller
        .pods
        .on_change(move |change| watcher.pod_changed(change));
    controller.sets.synced().await;
    controller.pods.synced().await;
    let workers = context.options.workers.concurrent_replicaset_syncs;
    work(&context, &queue, workers, controller).await;
}

/// Finds the sets that a changed pod concerns, and ticks off what was expected.
struct PodWatcher {
    sets: Arc<Informer<ReplicaSet>>,
    expectations: Arc<Expectations>,
    queue: WorkQueue<Key>,
}

impl PodWatcher {
    /// The key of the replica set that controls `meta`, if there is one and it is still the same object.
    fn owner(&self, meta: &Meta) -> Option<Key> {
        let owner = meta
            .controller()
            .filter(|owner| &*owner.kind == "ReplicaSet" && owner.group() == "apps")?;
        let key: Key = format!("{}/{}", meta.namespace, owner.name).into();
        let set = self.sets.get(&key)?;
        (set.metadata.uid == owner.uid).then_some(key)
    }

    fn pod_changed(&self, change: Change<'_, Pod>) {
        let pod = change.object();
        let owner = self.owner(&pod.meta);
        if let Some(key) = &owner {
            match change {
                Change { new: Some(pod), .. } if pod.meta.is_deleting() => {
                    self.expectations.deletion_observed(key, &pod.meta.uid);
                }
                Change { old: None, .. } => self.expectations.creations_observed(key, 1),
                Change { new: None, .. } => self.expectations.deletion_observed(key, &pod.meta.uid),
                _ => {}
            }
            self.queue.add(key.clone());
        }
        let before = change.old.and_then(|old| self.owner(&old.meta));
        if let Some(before) = before.filter(|before| Some(before) != owner.as_ref()) {
            self.queue.add(before);
        }
        // A pod without a controller may be adopted by any set that selects it.
        if change.new.is_some() && pod.meta.controller().is_none() && !pod.meta.is_deleting() {
            for set in self.sets.in_namespace(&pod.meta.namespace) {
                if set.spec.selector.matches(&pod.meta.labels) {
                    self.queue.add(set.metadata.key().into());
                }
            }
        }
    }
}

struct Controller {
    context: Context,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
    expectations: Arc<Expectations>,
    queue: WorkQueue<Key>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        if !set.spec.selector.is_valid() {
            return Err(Error::Other(format!(
                "replica set {key}: spec.selector is not valid"
            )));
        }
        let satisfied = self.expectations.satisfied(key);
        let mut active = self.claim(&set).await?;
        let terminating = std::mem::take(&mut active.1);
        let active = active.0;
        let mut failure = None;
        if satisfied && !set.metadata.is_deleting() {
            failure = self.scale(key, &set, &active).await.err();
        }
        let now = self.context.clock.now();
        let words = failure.as_ref().map(Error::to_string);
        let status = reconcile::status(&set, &active, terminating, words.as_deref(), now);
        self.write_status(&set, status).await?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let next = reconcile::next_availability(&set, &active, now);
        Ok(next.map_or(Outcome::Done, |at| Outcome::After(until(now, at))))
    }
}

impl Controller {
    /// The active pods of the set after adopting and releasing, and how many of its pods are terminating.
    async fn claim(&self, set: &ReplicaSet) -> Result<(Vec<Arc<Pod>>, usize)> {
        let mut candidates = self.pods.indexed(BY_CONTROLLER, &set.metadata.uid);
        candidates.extend(self.pods.indexed(ORPHANS, &set.metadata.namespace));
        let mut claim = reconcile::claim(set, candidates);
        if !claim.adopt.is_empty() && self.may_adopt(set).await? {
            for pod in claim.adopt {
                let reference = reconcile::controller_reference(KIND.0, KIND.1, &set.metadata);
                if self.set_owners(&pod, &[reference]).await? {
                    claim.owned.push(pod);
                }
            }
        }
        for pod in claim.release {
            let release = json!({"$patch": "delete", "uid": set.metadata.uid});
            self.set_owners(&pod, &[release]).await?;
        }
        Ok((claim.owned, claim.terminating))
    }

    /// Adopting for a set that is being deleted, or that was replaced, would lose the pods: ask the server.
    async fn may_adopt(&self, set: &ReplicaSet) -> Result<bool> {
        let live = self
            .context
            .api
            .get_opt(REPLICA_SETS, &set.metadata.namespace, &set.metadata.name)
            .await?;
        Ok(live.is_some_and(|live| {
            live["metadata"]["uid"].as_str() == Some(&*set.metadata.uid)
                && live["metadata"]["deletionTimestamp"].is_null()
        }))
    }

    /// Changes a pod's owner references; false if the pod is gone or is another one by now.
    async fn set_owners(&self, pod: &Pod, references: &[Value]) -> Result<bool> {
        let body = json!({"metadata": {"uid": pod.meta.uid, "ownerReferences": references}});
        let path = PODS.path(&pod.meta.namespace, &pod.meta.name);
        match self
            .context
            .api
            .patch(&path, PatchType::Strategic, &body)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn scale(&self, key: &str, set: &ReplicaSet, active: &[Arc<Pod>]) -> Result<()> {
        let related = self.related_pods(set);
        match reconcile::scale(set, active, &related, self.context.clock.now()) {
            Scale::Keep => Ok(()),
            Scale::Create(count) => self.create(key, set, count).await,
            Scale::Delete(pods) => self.delete(key, set, &pods).await,
        }
    }

    /// Active pods per node of all sets with the same owner (a deployment), or of this set alone.
    fn related_pods(&self, set: &ReplicaSet) -> HashMap<Box<str>, usize> {
        let siblings = match set.metadata.controller() {
            Some(owner) => self.sets.indexed(BY_CONTROLLER, &owner.uid),
            None => self.sets.get(&set.metadata.key()).into_iter().collect(),
        };
        let mut counts = HashMap::new();
        for sibling in siblings {
            for pod in self.pods.indexed(BY_CONTROLLER, &sibling.metadata.uid) {
                if pod.is_active() && !pod.node_name.is_empty() {
                    *counts.entry(pod.node_name.clone()).or_insert(0) += 1;
                }
            }
        }
        counts
    }

    /// Batches of 1, 2, 4 ... pods: if creation fails (a quota), it fails once and not five hundred times.
    async fn create(&self, key: &str, set: &ReplicaSet, count: usize) -> Result<()> {
        self.expectations.expect_creations(key, count);
        let pod = reconcile::pod_from_template(set);
        let (mut created, mut batch) = (0, 1);
        while created < count {
            let size = batch.min(count - created);
            let results = join_all((0..size).map(|_| self.create_one(set, &pod))).await;
            let failed = results.iter().filter(|result| result.is_err()).count();
            created += size - failed;
            if failed > 0 {
                self.expectations.creations_observed(key, count - created);
                let error = results.into_iter().find_map(Result::err);
                return match error {
                    Some(error) if error.is_namespace_terminating() => Ok(()),
                    Some(error) => Err(error),
                    None => Ok(()),
                };
            }
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, set: &ReplicaSet, pod: &Value) -> Result<()> {
        match self
            .context
            .api
            .create(PODS, &set.metadata.namespace, pod)
            .await
        {
            Ok(pod) => {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                let message = format!("Created pod: {name}");
                self.context.event(
                    KIND,
                    &set.metadata,
                    EventType::Normal,
                    "SuccessfulCreate",
                    message,
                );
                Ok(())
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {error}");
                    self.context.event(
                        KIND,
                        &set.metadata,
                        EventType::Warning,
                        "FailedCreate",
                        message,
                    );
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &str, set: &ReplicaSet, pods: &[Arc<Pod>]) -> Result<()> {
        self.expectations
            .expect_deletions(key, pods.iter().map(|pod| &*pod.meta.uid));
        let results = join_all(pods.iter().map(|pod| self.delete_one(key, set, pod))).await;
        results.into_iter().collect()
    }

    async fn delete_one(&self, key: &str, set: &ReplicaSet, pod: &Pod) -> Result<()> {
        let options = DeleteOptions {
            uid: Some(&pod.meta.uid),
            ..DeleteOptions::default()
        };
        let path = PODS.path(&pod.meta.namespace, &pod.meta.name);
        match self
            .context
            .api
            .delete_path(&path, &options.to_json())
            .await
        {
            Ok(()) => {
                let message = format!("Deleted pod: {}", pod.meta.name);
                self.context.event(
                    KIND,
                    &set.metadata,
                    EventType::Normal,
                    "SuccessfulDelete",
                    message,
                );
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, &pod.meta.uid);
                if error.is_not_found() {
                    // Its disappearance may have been seen before the expectation was set.
                    self.queue.add(key.into());
                    return Ok(());
                }
                let message = format!("Error deleting: {error}");
                self.context.event(
                    KIND,
                    &set.metadata,
                    EventType::Warning,
                    "FailedDelete",
                    message,
                );
                Err(error)
            }
        }
    }

    async fn write_status(&self, set: &ReplicaSet, status: ReplicaSetStatus) -> Result<()> {
        if set.status == status {
            return Ok(());
        }
        let written =
            serde_json::to_value(&status).map_err(|error| Error::Other(error.to_string()))?;
        let at = (&*set.metadata.namespace, &*set.metadata.name);
        // The generation is the one that was acted on, even if the spec has changed since.
        let outcome = self
            .context
            .api
            .modify(REPLICA_SETS, at, "status", None, |live| {
                if live["metadata"]["uid"].as_str() != Some(&*set.metadata.uid) {
                    return false;
                }
                live["status"] = written.clone();
                true
            });
        match outcome.await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
