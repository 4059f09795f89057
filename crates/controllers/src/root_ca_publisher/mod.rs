//! root-ca-certificate-publisher-controller: every namespace has the certificate authority of the API server in a config map, so
//! that pods can verify it.

use std::sync::Arc;

use fluyt_client::queue::WorkQueue;
use serde_json::json;

use crate::api::{CONFIG_MAPS, Result};
use crate::context::Context;
use crate::informers::Informer;
use crate::objects::core::{Namespace, RootCaConfigMap};
use crate::worker::{Outcome, Reconcile, work};

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

pub async fn run(context: Context) {
    let Some(file) = context.options.root_ca_file.clone() else {
        tracing::debug!("{} is off: no --root-ca-file", context.name);
        return;
    };
    let authority = match tokio::fs::read_to_string(&file).await {
        Ok(authority) => authority,
        Err(error) => {
            tracing::error!(
                "--root-ca-file={}: {error}; {} is off",
                file.display(),
                context.name
            );
            return;
        }
    };
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        namespaces: context.informers.namespaces(),
        config_maps: context.informers.root_ca_config_maps(),
        authority,
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller.namespaces.on_change(move |change| {
        if change.new.is_some() {
            enqueue.add(change.key());
        }
    });
    let enqueue = queue.clone();
    controller
        .config_maps
        .on_change(move |change| enqueue.add((*change.object().metadata.namespace).into()));
    controller.namespaces.synced().await;
    controller.config_maps.synced().await;
    work(&context, &queue, 1, controller).await;
}

struct Controller {
    context: Context,
    namespaces: Arc<Informer<Namespace>>,
    config_maps: Arc<Informer<RootCaConfigMap>>,
    authority: String,
}

/// Whether a config map says what it should.
fn is_current(config_map: &RootCaConfigMap, authority: &str) -> bool {
    config_map.data.value() == json!({"ca.crt": authority})
        && config_map.metadata.annotations.get(DESCRIPTION) == Some(DESCRIPTION_TEXT)
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let namespace = self.namespaces.get(key);
        if namespace.is_none_or(|namespace| namespace.metadata.is_deleting()) {
            return Ok(Outcome::Done);
        }
        let api = &self.context.api;
        let cached = self.config_maps.get(&format!("{key}/{NAME}"));
        if cached
            .as_ref()
            .is_some_and(|cached| is_current(cached, &self.authority))
        {
            return Ok(Outcome::Done);
        }
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": key, "annotations": {DESCRIPTION: DESCRIPTION_TEXT}},
            "data": {"ca.crt": self.authority},
        });
        let outcome = match &cached {
            None => api.create(CONFIG_MAPS, key, &object).await,
            Some(cached) => {
                // The default role may update, but not read: what is kept of the object comes from the cache.
                let meta = &cached.metadata;
                object["metadata"]["resourceVersion"] = json!(meta.resource_version);
                object["metadata"]["labels"] = meta.labels.to_json();
                object["metadata"]["finalizers"] = json!(meta.finalizers);
                object["metadata"]["ownerReferences"] = json!(meta.owner_references);
                let annotations = meta.annotations.with(DESCRIPTION, DESCRIPTION_TEXT);
                object["metadata"]["annotations"] = annotations.to_json();
                api.replace(&CONFIG_MAPS.path(key, NAME), &object).await
            }
        };
        match outcome {
            Err(error)
                if error.is_namespace_terminating()
                    || error.is_not_found()
                    || error.is_already_exists() =>
            {
                Ok(Outcome::Done)
            }
            other => other.map(|_| Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_changed_config_map_is_noticed() {
        let config_map = |data: Value, note: &str| -> RootCaConfigMap {
            serde_json::from_value(json!({"metadata": {"name": NAME, "annotations": {DESCRIPTION: note}}, "data": data}))
                .unwrap()
        };
        for (data, note, expected) in [
            (json!({"ca.crt": "x"}), DESCRIPTION_TEXT, true),
            (json!({"ca.crt": "y"}), DESCRIPTION_TEXT, false),
            (json!({"ca.crt": "x", "more": "z"}), DESCRIPTION_TEXT, false),
            (json!({"ca.crt": "x"}), "", false),
            (Value::Null, DESCRIPTION_TEXT, false),
        ] {
            assert_eq!(is_current(&config_map(data, note), "x"), expected);
        }
    }
}
