//! endpointslice-controller: publishes the pods behind each service in slices.

pub mod backends;
pub mod reconcile;

use std::sync::Arc;
use std::time::Duration;

use fluyt_client::events::EventType;
use fluyt_client::queue::WorkQueue;
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::api::{DeleteOptions, ENDPOINT_SLICES, Result};
use crate::context::Context;
use crate::expectations::Expectations;
use crate::informers::{BY_SERVICE, Change, Informer};
use crate::objects::node::Node;
use crate::objects::pod::Pod;
use crate::objects::service::{EndpointSlice, Service};
use crate::worker::{Key, Outcome, Reconcile, work};
use reconcile::{CONTROLLER, MANAGED_BY, Plan, SERVICE_NAME, Update};

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        services: context.informers.services(),
        pods: context.informers.pods(),
        nodes: context.informers.nodes(),
        slices: context.informers.endpoint_slices(),
        expectations: Arc::new(Expectations::default()),
        context: context.clone(),
    });
    subscribe(
        &controller,
        &queue,
        context.options.endpointslice_updates_batch_period,
    );
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.slices.synced().await;
    let workers = context.options.workers.concurrent_service_endpoint_syncs;
    work(&context, &queue, workers, controller).await;
}

fn subscribe(controller: &Arc<Controller>, queue: &WorkQueue<Key>, batch: Duration) {
    let enqueue = queue.clone();
    controller
        .services
        .on_change(move |change| enqueue.add(change.key()));
    let (services, enqueue) = (controller.services.clone(), queue.clone());
    controller.pods.on_change(move |change| {
        services_of(&change, &services, |key| enqueue.add_after(key, batch));
    });
    let (expectations, enqueue) = (controller.expectations.clone(), queue.clone());
    controller
        .slices
        .on_change(move |change| slice_changed(change, &expectations, &enqueue));
    let (controller, enqueue) = (Arc::downgrade(controller), queue.clone());
    let Some(strong) = controller.upgrade() else {
        return;
    };
    strong.nodes.on_change(move |change| {
        // Only the zone of a node is published.
        let zone = |node: Option<&Arc<Node>>| node.map(|node| node.zone().to_owned());
        let moved =
            change.old.is_some() && change.new.is_some() && zone(change.old) != zone(change.new);
        if let (true, Some(controller)) = (moved, controller.upgrade()) {
            controller
                .services
                .list()
                .iter()
                .for_each(|service| enqueue.add(service.metadata.key().into()));
        }
    });
}

/// Calls `found` with the services that a changed pod stands behind, or stood.
pub(crate) fn services_of(
    change: &Change<'_, Pod>,
    services: &Informer<Service>,
    found: impl Fn(Key),
) {
    if let (Some(old), Some(new)) = (change.old, change.new)
        && !backends::matters(old, new)
    {
        return;
    }
    let namespace = &change.object().meta.namespace;
    for service in services.in_namespace(namespace) {
        let selects = |pod: &&Arc<Pod>| service.selects(&pod.meta.labels);
        if change.old.filter(selects).is_some() || change.new.filter(selects).is_some() {
            found(service.metadata.key().into());
        }
    }
}

fn is_ours(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.get(MANAGED_BY) == Some(CONTROLLER)
}

fn slice_changed(
    change: Change<'_, EndpointSlice>,
    expectations: &Expectations,
    queue: &WorkQueue<Key>,
) {
    let slice = change.object();
    let ours = [change.old, change.new]
        .into_iter()
        .flatten()
        .any(|slice| is_ours(slice));
    let named = change
        .old
        .and_then(|old| old.metadata.labels.get(SERVICE_NAME))
        .or(slice.metadata.labels.get(SERVICE_NAME));
    let (true, Some(service)) = (ours, named) else {
        return;
    };
    let key: Key = format!("{}/{service}", slice.metadata.namespace).into();
    match change {
        Change { old: None, .. } => expectations.creations_observed(&key, 1),
        Change { new: None, .. } => expectations.deletion_observed(&key, &slice.metadata.uid),
        _ => {}
    }
    queue.add(key);
}

struct Controller {
    context: Context,
    services: Arc<Informer<Service>>,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    slices: Arc<Informer<EndpointSlice>>,
    expectations: Arc<Expectations>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let Some(service) = self.services.get(key) else {
            // Slices go with their owner.
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let published = service.spec.selector.is_some() && &*service.spec.type_ != "ExternalName";
        if !published || service.metadata.is_deleting() || !self.expectations.satisfied(key) {
            return Ok(Outcome::Done);
        }
        let namespace = &service.metadata.namespace;
        let pods: Vec<Arc<Pod>> = self
            .pods
            .in_namespace(namespace)
            .into_iter()
            .filter(|pod| service.selects(&pod.meta.labels))
            .collect();
        let slices: Vec<Arc<EndpointSlice>> = self
            .slices
            .indexed(BY_SERVICE, &service.metadata.name)
            .into_iter()
            .filter(|slice| {
                slice.metadata.namespace == *namespace
                    && is_ours(slice)
                    && !slice.metadata.is_deleting()
            })
            .collect();
        let node_of = |name: &str| self.nodes.get(name);
        let limit = self.context.options.max_endpoints_per_slice;
        let plan = reconcile::plan(&service, &pods, &node_of, &slices, limit);
        if let Err(error) = self.carry_out(key, &service, plan).await {
            if error.is_namespace_terminating() {
                return Ok(Outcome::Done);
            }
            let message = format!("Error updating Endpoint Slices for Service {key}: {error}");
            if !error.is_conflict() {
                let kind = ("v1", "Service");
                self.context.event(
                    kind,
                    &service.metadata,
                    EventType::Warning,
                    "FailedToUpdateEndpointSlices",
                    message,
                );
            }
            return Err(error);
        }
        Ok(Outcome::Done)
    }
}

impl Controller {
    async fn carry_out(&self, key: &str, service: &Service, plan: Plan) -> Result<()> {
        let namespace = &*service.metadata.namespace;
        try_join_all(
            plan.create
                .iter()
                .map(|slice| self.create(key, namespace, slice)),
        )
        .await?;
        try_join_all(plan.update.iter().map(|update| self.update(update))).await?;
        try_join_all(plan.delete.iter().map(|slice| self.delete(key, slice))).await?;
        Ok(())
    }

    async fn create(&self, key: &str, namespace: &str, slice: &Value) -> Result<()> {
        self.expectations.expect_creations(key, 1);
        let created = self
            .context
            .api
            .create(ENDPOINT_SLICES, namespace, slice)
            .await;
        if created.is_err() {
            self.expectations.creations_observed(key, 1);
        }
        created.map(drop)
    }

    async fn update(&self, update: &Update) -> Result<()> {
        let meta = &update.slice.metadata;
        let change = |live: &mut Value| {
            live["endpoints"] = json!(update.endpoints);
            live["metadata"]["labels"] = json!(update.labels);
            true
        };
        let at = (&*meta.namespace, &*meta.name);
        self.context
            .api
            .modify(
                ENDPOINT_SLICES,
                at,
                "",
                Some(&meta.resource_version),
                change,
            )
            .await
            .map(drop)
    }

    async fn delete(&self, key: &str, slice: &EndpointSlice) -> Result<()> {
        let meta = &slice.metadata;
        self.expectations.expect_deletions(key, [&*meta.uid]);
        let options = DeleteOptions {
            uid: Some(&meta.uid),
            ..DeleteOptions::default()
        };
        let deleted = self
            .context
            .api
            .delete(ENDPOINT_SLICES, &meta.namespace, &meta.name, options)
            .await;
        // A slice that is gone already will not be seen going.
        if deleted.is_err() || self.slices.get(&meta.key()).is_none() {
            self.expectations.deletion_observed(key, &meta.uid);
        }
        deleted
    }
}
