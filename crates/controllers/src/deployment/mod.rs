//! deployment-controller: rolls replica sets so that pods of the present template replace those of earlier ones.

pub mod annotations;
pub mod math;
pub mod members;
pub mod reconcile;
pub mod status;
pub mod template;

use std::sync::Arc;

use fluyt_client::events::EventType;
use fluyt_client::queue::WorkQueue;
use fluyt_client::rest::PatchType;
use serde_json::{Value, json};

use crate::api::{DEPLOYMENTS, DeleteOptions, Error, REPLICA_SETS, Result};
use crate::clock::until;
use crate::context::Context;
use crate::informers::{BY_CONTROLLER, Change, Informer};
use crate::objects::apps::{Deployment, DeploymentStatus, ReplicaSet, StrategyType};
use crate::objects::pod::Pod;
use crate::objects::{ConditionStatus, Meta};
use crate::replicaset::reconcile::controller_reference;
use crate::worker::{Key, Outcome, Reconcile, work};
use reconcile::{Plan, Step};

const KIND: (&str, &str) = ("apps/v1", "Deployment");

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        deployments: context.informers.deployments(),
        sets: context.informers.replica_sets(),
        pods: context.informers.pods(),
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller
        .deployments
        .on_change(move |change| enqueue.add(change.key()));
    let (deployments, enqueue) = (controller.deployments.clone(), queue.clone());
    controller
        .sets
        .on_change(move |change| set_changed(change, &deployments, &enqueue));
    let (deployments, sets, enqueue) = (
        controller.deployments.clone(),
        controller.sets.clone(),
        queue.clone(),
    );
    controller
        .pods
        .on_change(move |change| pod_changed(change, &deployments, &sets, &enqueue));
    controller.deployments.synced().await;
    controller.sets.synced().await;
    controller.pods.synced().await;
    let workers = context.options.workers.concurrent_deployment_syncs;
    work(&context, &queue, workers, controller).await;
}

/// The deployment that controls `meta`, if it is still the same object.
fn owner(meta: &Meta, deployments: &Informer<Deployment>) -> Option<Arc<Deployment>> {
    let owner = meta
        .controller()
        .filter(|owner| &*owner.kind == "Deployment" && owner.group() == "apps")?;
    let deployment = deployments.get(&format!("{}/{}", meta.namespace, owner.name))?;
    (deployment.metadata.uid == owner.uid).then_some(deployment)
}

fn set_changed(
    change: Change<'_, ReplicaSet>,
    deployments: &Informer<Deployment>,
    queue: &WorkQueue<Key>,
) {
    for set in change.old.into_iter().chain(change.new) {
        if let Some(deployment) = owner(&set.metadata, deployments) {
            queue.add(deployment.metadata.key().into());
        }
    }
    let orphan = change.new.filter(|set| set.metadata.controller().is_none());
    if let Some(orphan) = orphan {
        for deployment in deployments.in_namespace(&orphan.metadata.namespace) {
            if deployment.spec.selector.matches(&orphan.metadata.labels) {
                queue.add(deployment.metadata.key().into());
            }
        }
    }
}

/// Only a deployment that recreates waits for pods themselves; the others follow their replica sets.
fn pod_changed(
    change: Change<'_, Pod>,
    deployments: &Informer<Deployment>,
    sets: &Informer<ReplicaSet>,
    queue: &WorkQueue<Key>,
) {
    let ended = |pod: &Arc<Pod>| pod.phase.is_terminal();
    let gone =
        change.new.is_none() || (change.new.is_some_and(ended) && !change.old.is_some_and(ended));
    if !gone {
        return;
    }
    let meta = &change.object().meta;
    let Some(controller) = meta
        .controller()
        .filter(|owner| &*owner.kind == "ReplicaSet")
    else {
        return;
    };
    let set = sets.get(&format!("{}/{}", meta.namespace, controller.name));
    let deployment = set.and_then(|set| owner(&set.metadata, deployments));
    if let Some(deployment) =
        deployment.filter(|one| one.spec.strategy.type_ == StrategyType::Recreate)
    {
        queue.add(deployment.metadata.key().into());
    }
}

struct Controller {
    context: Context,
    deployments: Arc<Informer<Deployment>>,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let Some(deployment) = self.deployments.get(key) else {
            return Ok(Outcome::Done);
        };
        if deployment.spec.selector.selects_everything() {
            return self.selects_everything(&deployment).await;
        }
        let sets = self.claim(&deployment).await?;
        let old_pods = deployment.spec.strategy.type_ == StrategyType::Recreate
            && self.old_pods(&deployment, &sets);
        let now = self.context.clock.now();
        let plan = reconcile::plan(&deployment, &sets, old_pods, now);
        for step in &plan.steps {
            self.carry_out(&deployment, step).await?;
        }
        self.finish(&deployment, &plan).await?;
        Ok(plan
            .recheck
            .map_or(Outcome::Done, |at| Outcome::After(until(now, at))))
    }
}

impl Controller {
    async fn selects_everything(&self, deployment: &Deployment) -> Result<Outcome> {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.event(
            deployment,
            EventType::Warning,
            "SelectingAll",
            message.to_owned(),
        );
        if deployment.status.observed_generation < deployment.metadata.generation {
            let generation = deployment.metadata.generation;
            let status = DeploymentStatus {
                observed_generation: generation,
                ..deployment.status.clone()
            };
            self.write_status(deployment, &status).await?;
        }
        Ok(Outcome::Done)
    }

    fn event(&self, deployment: &Deployment, type_: EventType, reason: &str, message: String) {
        self.context
            .event(KIND, &deployment.metadata, type_, reason, message);
    }

    /// The sets that the deployment controls, after adopting those it selects and releasing those it no longer does.
    async fn claim(&self, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>> {
        let meta = &deployment.metadata;
        let selector = &deployment.spec.selector;
        let mut sets = Vec::new();
        for set in self.sets.in_namespace(&meta.namespace) {
            let ours = set.metadata.is_controlled_by(&meta.uid);
            let selected = selector.matches(&set.metadata.labels);
            if ours && !selected && !meta.is_deleting() {
                self.patch_owner(&set, json!({"$patch": "delete", "uid": meta.uid}))
                    .await?;
            } else if ours {
                sets.push(set);
            } else if selected
                && set.metadata.controller().is_none()
                && !meta.is_deleting()
                && !set.metadata.is_deleting()
            {
                // The watch brings the adopted set back to this key.
                if self.is_live(deployment).await? {
                    self.patch_owner(&set, controller_reference(KIND.0, KIND.1, meta))
                        .await?;
                }
            }
        }
        Ok(sets)
    }

    async fn is_live(&self, deployment: &Deployment) -> Result<bool> {
        let meta = &deployment.metadata;
        let live = self
            .context
            .api
            .get_opt(DEPLOYMENTS, &meta.namespace, &meta.name)
            .await?;
        Ok(live.is_some_and(|live| {
            live["metadata"]["uid"].as_str() == Some(&*meta.uid)
                && live["metadata"]["deletionTimestamp"].is_null()
        }))
    }

    async fn patch_owner(&self, set: &ReplicaSet, reference: Value) -> Result<()> {
        let body = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": [reference]}});
        let path = REPLICA_SETS.path(&set.metadata.namespace, &set.metadata.name);
        match self
            .context
            .api
            .patch(&path, PatchType::Strategic, &body)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether a pod of another template has not ended yet.
    fn old_pods(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
        let template = template::normalized(deployment.spec.template.value());
        let members = members::Members::of(&template, sets);
        let current = members.current.map(|member| member.name);
        let old = sets
            .iter()
            .filter(|set| Some(&set.metadata.name) != current.as_ref());
        old.flat_map(|set| self.pods.indexed(BY_CONTROLLER, &set.metadata.uid))
            .any(|pod| !pod.phase.is_terminal())
    }

    async fn carry_out(&self, deployment: &Deployment, step: &Step) -> Result<()> {
        let api = &self.context.api;
        let namespace = &*deployment.metadata.namespace;
        match step {
            Step::Create {
                name,
                replicas,
                object,
            } => self.create(deployment, name, *replicas, object).await,
            Step::Annotate {
                name,
                annotations,
                min_ready_seconds,
            } => {
                let change = |live: &mut Value| {
                    live["spec"]["minReadySeconds"] = json!(min_ready_seconds);
                    annotate(live, annotations);
                    true
                };
                api.modify(REPLICA_SETS, (namespace, name), "", None, change)
                    .await
                    .map(drop)
            }
            Step::Scale {
                name,
                from,
                to,
                annotations,
            } => {
                let mut stale = false;
                let change = |live: &mut Value| {
                    // The plan was made for a set of that size; another size means that the cache was old.
                    stale = live["spec"]["replicas"].as_i64() != Some(i64::from(*from));
                    live["spec"]["replicas"] = json!(to);
                    annotate(live, annotations);
                    !stale
                };
                api.modify(REPLICA_SETS, (namespace, name), "", None, change)
                    .await?;
                if stale {
                    return Err(Error::Stale(format!("replica set {namespace}/{name}")));
                }
                if from != to {
                    let direction = if from < to { "up" } else { "down" };
                    let message =
                        format!("Scaled {direction} replica set {name} from {from} to {to}");
                    self.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
                }
                Ok(())
            }
            Step::Delete { name } => {
                api.delete(REPLICA_SETS, namespace, name, DeleteOptions::default())
                    .await
            }
        }
    }

    async fn create(
        &self,
        deployment: &Deployment,
        name: &str,
        replicas: i32,
        object: &Value,
    ) -> Result<()> {
        let namespace = &*deployment.metadata.namespace;
        match self
            .context
            .api
            .create(REPLICA_SETS, namespace, object)
            .await
        {
            Ok(_) => {
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
                }
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                self.collision(deployment, name, error).await
            }
            Err(error) if error.is_namespace_terminating() => Err(error),
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {error}");
                if status::deadline(deployment).is_some() {
                    let now = self.context.clock.now();
                    let reason = "ReplicaSetCreateError";
                    let condition = status::condition(
                        status::PROGRESSING,
                        ConditionStatus::False,
                        reason,
                        message.clone(),
                        now,
                    );
                    let mut failed = deployment.status.clone();
                    status::set(&mut failed.conditions, condition);
                    // The failed creation is the error that counts.
                    let _ = self.write_status(deployment, &failed).await;
                }
                self.event(
                    deployment,
                    EventType::Warning,
                    "ReplicaSetCreateError",
                    message,
                );
                Err(error)
            }
        }
    }

    /// The name is taken: by our own set that the cache does not show yet, or by another template with the same hash.
    async fn collision(&self, deployment: &Deployment, name: &str, error: Error) -> Result<()> {
        let namespace = &*deployment.metadata.namespace;
        let live = self
            .context
            .api
            .get_opt(REPLICA_SETS, namespace, name)
            .await?;
        let Some(live) = live else {
            return Err(error);
        };
        let set: ReplicaSet =
            serde_json::from_value(live).map_err(|error| Error::Other(error.to_string()))?;
        let wanted = template::normalized(deployment.spec.template.value());
        let same = template::normalized(set.spec.template.value()) == wanted;
        if same && set.metadata.is_controlled_by(&deployment.metadata.uid) {
            return Err(Error::Stale(format!("replica set {namespace}/{name}")));
        }
        let count = deployment.status.collision_count.unwrap_or(0) + 1;
        let status = DeploymentStatus {
            collision_count: Some(count),
            ..deployment.status.clone()
        };
        self.write_status(deployment, &status).await?;
        Err(error)
    }

    async fn finish(&self, deployment: &Deployment, plan: &Plan) -> Result<()> {
        if let Some(revision) = &plan.revision {
            let meta = &deployment.metadata;
            let notes = [(annotations::REVISION.to_owned(), revision.clone())];
            let change = |live: &mut Value| {
                annotate(live, &notes);
                true
            };
            self.context
                .api
                .modify(DEPLOYMENTS, (&meta.namespace, &meta.name), "", None, change)
                .await?;
        }
        if plan.status == deployment.status {
            return Ok(());
        }
        self.write_status(deployment, &plan.status).await
    }

    async fn write_status(&self, deployment: &Deployment, status: &DeploymentStatus) -> Result<()> {
        let meta = &deployment.metadata;
        let written =
            serde_json::to_value(status).map_err(|error| Error::Other(error.to_string()))?;
        let change = |live: &mut Value| {
            if live["metadata"]["uid"].as_str() != Some(&*meta.uid) {
                return false;
            }
            live["status"] = written.clone();
            true
        };
        let outcome = self
            .context
            .api
            .modify(
                DEPLOYMENTS,
                (&meta.namespace, &meta.name),
                "status",
                None,
                change,
            )
            .await;
        match outcome {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

fn annotate(object: &mut Value, annotations: &[(String, String)]) {
    if !annotations.is_empty() && !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    for (key, value) in annotations {
        object["metadata"]["annotations"][key.as_str()] = json!(value);
    }
}
