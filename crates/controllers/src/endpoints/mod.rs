//! endpoints-controller: keeps the Endpoints object of each service, for clients that do not read endpoint slices.

pub mod reconcile;

use std::sync::Arc;

use fluyt_client::events::EventType;
use fluyt_client::queue::WorkQueue;
use serde_json::{Value, json};

use crate::api::{DeleteOptions, ENDPOINTS, Error, Result};
use crate::context::Context;
use crate::endpointslice::services_of;
use crate::informers::Informer;
use crate::objects::pod::Pod;
use crate::objects::service::{Endpoints, Service};
use crate::worker::{Outcome, Reconcile, work};
use reconcile::{CONTROLLER, MANAGED_BY, OVER_CAPACITY};

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        services: context.informers.services(),
        pods: context.informers.pods(),
        endpoints: context.informers.endpoints(),
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller
        .services
        .on_change(move |change| enqueue.add(change.key()));
    let (services, enqueue) = (controller.services.clone(), queue.clone());
    let batch = context.options.endpoint_updates_batch_period;
    controller.pods.on_change(move |change| {
        services_of(&change, &services, |key| enqueue.add_after(key, batch))
    });
    let enqueue = queue.clone();
    controller.endpoints.on_change(move |change| {
        // Endpoints that somebody else writes are none of our business, with or without a service.
        if change.object().metadata.labels.get(MANAGED_BY) == Some(CONTROLLER) {
            enqueue.add(change.key());
        }
    });
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.endpoints.synced().await;
    let workers = context.options.workers.concurrent_endpoint_syncs;
    work(&context, &queue, workers, controller).await;
}

struct Controller {
    context: Context,
    services: Arc<Informer<Service>>,
    pods: Arc<Informer<Pod>>,
    endpoints: Arc<Informer<Endpoints>>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let present = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            if let Some(present) = present {
                let meta = &present.metadata;
                let options = DeleteOptions {
                    uid: Some(&meta.uid),
                    ..DeleteOptions::default()
                };
                self.context
                    .api
                    .delete(ENDPOINTS, &meta.namespace, &meta.name, options)
                    .await?;
            }
            return Ok(Outcome::Done);
        };
        if service.spec.selector.is_none()
            || &*service.spec.type_ == "ExternalName"
            || service.metadata.is_deleting()
        {
            return Ok(Outcome::Done);
        }
        let pods: Vec<Arc<Pod>> = self
            .pods
            .in_namespace(&service.metadata.namespace)
            .into_iter()
            .filter(|pod| service.selects(&pod.meta.labels))
            .collect();
        let (subsets, over) = reconcile::subsets(&service, &pods);
        let labels = reconcile::labels(&service);
        if present
            .as_ref()
            .is_some_and(|present| reconcile::is_current(present, &subsets, &labels, over))
        {
            return Ok(Outcome::Done);
        }
        let fill = |object: &mut Value| {
            object["subsets"] = subsets.clone();
            object["metadata"]["labels"] = json!(labels);
            if over {
                object["metadata"]["annotations"][OVER_CAPACITY] = json!("truncated");
            } else if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
                annotations.remove(OVER_CAPACITY);
            }
            true
        };
        match self.write(&service, present.as_deref(), fill).await {
            Err(error) if error.is_namespace_terminating() => Ok(Outcome::Done),
            Err(error) => {
                self.report(&service, present.as_deref(), &error);
                Err(error)
            }
            Ok(()) => Ok(Outcome::Done),
        }
    }
}

impl Controller {
    async fn write(
        &self,
        service: &Service,
        present: Option<&Endpoints>,
        mut fill: impl FnMut(&mut Value) -> bool,
    ) -> Result<()> {
        let (namespace, name) = (&*service.metadata.namespace, &*service.metadata.name);
        let api = &self.context.api;
        if let Some(present) = present {
            let expected = Some(&*present.metadata.resource_version);
            return api
                .modify(ENDPOINTS, (namespace, name), "", expected, fill)
                .await
                .map(drop);
        }
        let metadata = json!({"name": name, "namespace": namespace});
        let mut object = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata});
        fill(&mut object);
        match api.create(ENDPOINTS, namespace, &object).await {
            // Created by an earlier pass that the cache does not show yet.
            Err(error) if error.is_already_exists() => {
                Err(Error::Stale(format!("endpoints {namespace}/{name}")))
            }
            other => other.map(drop),
        }
    }

    fn report(&self, service: &Service, present: Option<&Endpoints>, error: &Error) {
        if error.is_conflict() {
            return;
        }
        let key = service.metadata.key();
        let (reason, message) = if present.is_none() {
            (
                "FailedToCreateEndpoint",
                format!("Failed to create endpoint for service {key}: {error}"),
            )
        } else {
            (
                "FailedToUpdateEndpoint",
                format!("Failed to update endpoint {key}: {error}"),
            )
        };
        self.context.event(
            ("v1", "Endpoints"),
            &service.metadata,
            EventType::Warning,
            reason,
            message,
        );
    }
}
