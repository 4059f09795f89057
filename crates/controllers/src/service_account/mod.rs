//! serviceaccount-controller: every active namespace has a service account named default.

use std::sync::Arc;

use fluyt_client::queue::WorkQueue;
use serde_json::json;

use crate::api::{Result, SERVICE_ACCOUNTS};
use crate::context::Context;
use crate::informers::Informer;
use crate::objects::core::{Namespace, ServiceAccount};
use crate::worker::{Outcome, Reconcile, work};

const NAME: &str = "default";

pub async fn run(context: Context) {
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        namespaces: context.informers.namespaces(),
        accounts: context.informers.service_accounts(),
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller.namespaces.on_change(move |change| {
        if change.new.is_some() {
            enqueue.add(change.key());
        }
    });
    let enqueue = queue.clone();
    controller.accounts.on_change(move |change| {
        let meta = &change.object().metadata;
        if change.new.is_none() && &*meta.name == NAME {
            enqueue.add((*meta.namespace).into());
        }
    });
    controller.namespaces.synced().await;
    controller.accounts.synced().await;
    work(&context, &queue, 1, controller).await;
}

struct Controller {
    context: Context,
    namespaces: Arc<Informer<Namespace>>,
    accounts: Arc<Informer<ServiceAccount>>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let active = self
            .namespaces
            .get(key)
            .is_some_and(|namespace| !namespace.metadata.is_deleting());
        if !active || self.accounts.get(&format!("{key}/{NAME}")).is_some() {
            return Ok(Outcome::Done);
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": key}});
        match self
            .context
            .api
            .create(SERVICE_ACCOUNTS, key, &account)
            .await
        {
            Err(error)
                if !(error.is_already_exists()
                    || error.is_namespace_terminating()
                    || error.is_not_found()) =>
            {
                Err(error)
            }
            _ => Ok(Outcome::Done),
        }
    }
}
