//! namespace-controller: empties a namespace that is being deleted, then lets it go.
//!
//! Every namespaced resource of the catalogue is asked for: there is no discovery to poll. Pods go first and the rest waits for
//! them, so that nothing a running pod depends on (a secret, a network policy) goes before it.

pub mod reconcile;

use std::collections::HashSet;
use std::sync::Arc;

use fluyt_api::catalogue::{self, Verb};
use fluyt_client::queue::WorkQueue;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::api::{Api, NAMESPACES, Resource, Result};
use crate::context::Context;
use crate::informers::Informer;
use crate::objects::core::Namespace;
use crate::objects::pod::Pod;
use crate::worker::{Outcome, Reconcile, work};
use reconcile::{FINALIZER, Pass, Remaining};

/// Resources of one namespace that are emptied at the same time.
const PARALLEL: usize = 8;

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        namespaces: context.informers.namespaces(),
        pods: context.informers.pods(),
        resources: deletable(),
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller.namespaces.on_change(move |change| {
        if change
            .new
            .is_some_and(|namespace| namespace.metadata.is_deleting())
        {
            enqueue.add(change.key());
        }
    });
    // The last pod of a namespace is what its deletion waits for.
    let (namespaces, enqueue) = (controller.namespaces.clone(), queue.clone());
    controller.pods.on_change(move |change| {
        let namespace = &change.object().meta.namespace;
        let gone = change.new.is_none();
        if gone
            && namespaces
                .get(namespace)
                .is_some_and(|namespace| namespace.metadata.is_deleting())
        {
            enqueue.add((**namespace).into());
        }
    });
    controller.namespaces.synced().await;
    controller.pods.synced().await;
    let workers = context.options.workers.concurrent_namespace_syncs;
    work(&context, &queue, workers, controller).await;
}

/// Namespaced resources that can be listed and deleted, each once, in its preferred version.
fn deletable() -> Vec<Resource> {
    let mut stored = HashSet::new();
    let wanted = catalogue::resources().iter().filter(|resource| {
        resource.namespaced
            && resource.verbs.contains(&Verb::Delete)
            && resource.verbs.contains(&Verb::List)
    });
    wanted
        .filter(|resource| stored.insert(resource.storage_prefix))
        .map(|resource| Resource {
            group: resource.group,
            version: resource.version,
            plural: resource.plural,
        })
        .collect()
}

struct Controller {
    context: Context,
    namespaces: Arc<Informer<Namespace>>,
    pods: Arc<Informer<Pod>>,
    resources: Vec<Resource>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let api = &self.context.api;
        let Some(mut namespace) = api.get_opt(NAMESPACES, "", key).await? else {
            return Ok(Outcome::Done);
        };
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(Outcome::Done);
        }
        if namespace["status"]["phase"] != "Terminating" {
            namespace = api
                .modify(NAMESPACES, ("", key), "status", None, |live| {
                    live["status"]["phase"] = json!("Terminating");
                    true
                })
                .await?;
        }
        if !has_finalizer(&namespace) {
            return Ok(Outcome::Done);
        }
        let pass = self.empty(key, &namespace).await;
        self.report(key, &pass).await?;
        if !pass.is_empty() {
            for error in &pass.errors {
                tracing::warn!("namespace {key} is not empty yet: {error}");
            }
            return Ok(Outcome::After(pass.retry_after()));
        }
        self.finalize(key).await?;
        Ok(Outcome::Done)
    }
}

fn has_finalizer(namespace: &Value) -> bool {
    let finalizers = namespace["spec"]["finalizers"].as_array();
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|one| one == FINALIZER))
}

impl Controller {
    /// One pass: pods alone while there are any, then everything else.
    async fn empty(&self, name: &str, namespace: &Value) -> Pass {
        let is_pods = |resource: &&Resource| resource.group.is_empty() && resource.plural == "pods";
        let grace = self.grace_estimate(name, namespace);
        let mut pass = Pass::default();
        for resource in self.resources.iter().filter(is_pods) {
            self.note(
                &mut pass,
                self.empty_one(name, *resource, grace).await,
                *resource,
            );
        }
        if !pass.is_empty() {
            return pass;
        }
        let others: Vec<Resource> = self
            .resources
            .iter()
            .filter(|one| !is_pods(one))
            .copied()
            .collect();
        let outcomes: Vec<_> = futures::stream::iter(others)
            .map(|resource| async move { (resource, self.empty_one(name, resource, 0).await) })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (resource, outcome) in outcomes {
            self.note(&mut pass, outcome, resource);
        }
        pass
    }

    fn note(&self, pass: &mut Pass, outcome: Result<Option<Remaining>>, resource: Resource) {
        match outcome {
            Ok(remaining) => pass.remaining.extend(remaining),
            // Another server version may not have the resource: then there is nothing of it.
            Err(error) if error.is_not_found() => {}
            Err(error) => pass
                .errors
                .push(format!("{}.{}: {error}", resource.plural, resource.group)),
        }
    }

    fn grace_estimate(&self, name: &str, namespace: &Value) -> i64 {
        let now = self.context.clock.now();
        let deleted_at = namespace["metadata"]["deletionTimestamp"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let pods = self.pods.in_namespace(name);
        let running = pods.iter().filter(|pod| !pod.phase.is_terminal());
        let grace = running.filter_map(|pod| pod.termination_grace_period_seconds);
        reconcile::grace_estimate(grace, deleted_at.unwrap_or(now), now)
    }

    async fn empty_one(
        &self,
        namespace: &str,
        resource: Resource,
        grace: i64,
    ) -> Result<Option<Remaining>> {
        let api = &self.context.api;
        if list(api, resource, namespace).await?.is_empty() {
            return Ok(None);
        }
        let options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        api.delete_path(&resource.path(namespace, ""), &options)
            .await?;
        let left = list(api, resource, namespace).await?;
        if left.is_empty() {
            return Ok(None);
        }
        let name = format!("{}.{}", resource.plural, resource.group);
        Ok(Some(reconcile::remaining(&name, &left, grace)))
    }

    /// Conditions are written only when they say something new; a namespace that empties at once gets none.
    async fn report(&self, name: &str, pass: &Pass) -> Result<()> {
        let now = self.context.clock.now();
        let change = |live: &mut Value| {
            let before = live["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if before.is_empty() && pass.is_empty() {
                return false;
            }
            let Some(conditions) = reconcile::conditions(&before, pass, now) else {
                return false;
            };
            live["status"]["conditions"] = json!(conditions);
            true
        };
        match self
            .context
            .api
            .modify(NAMESPACES, ("", name), "status", None, change)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn finalize(&self, name: &str) -> Result<()> {
        let change = |live: &mut Value| {
            if let Some(finalizers) = live["spec"]["finalizers"].as_array_mut() {
                finalizers.retain(|one| one != FINALIZER);
            }
            true
        };
        match self
            .context
            .api
            .modify(NAMESPACES, ("", name), "finalize", None, change)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The metadata of all objects of one resource in a namespace.
async fn list(api: &Api, resource: Resource, namespace: &str) -> Result<Vec<Value>> {
    let mut list = api.list_metadata(&resource.path(namespace, "")).await?;
    match list["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Ok(Vec::new()),
    }
}
