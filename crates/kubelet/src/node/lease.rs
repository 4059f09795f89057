//! The node's lease: renewed every ten seconds, it says that the node lives. It is the
//! only thing that an idle kubelet does.

use crate::context::Context;
use fluyt_client::events::rfc3339_micro;
use fluyt_client::rest::{self, PatchType};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DURATION_SECONDS: u32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "kube-node-lease";

/// Renews the lease until shutdown.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    loop {
        if let Err(error) = renew(&context).await {
            tracing::debug!(%error, "cannot renew the node's lease");
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn renew(context: &Context) -> Result<(), kube::Error> {
    let name = &context.settings.node_name;
    let spec = json!({
        "holderIdentity": name,
        "leaseDurationSeconds": DURATION_SECONDS,
        "renewTime": rfc3339_micro(jiff::Timestamp::now()),
    });
    let path = rest::path("coordination.k8s.io", "v1", NAMESPACE, "leases", name);
    let patched = rest::patch::<Value>(
        &context.client,
        &path,
        PatchType::Merge,
        &json!({"spec": spec}),
    )
    .await;
    match patched {
        Err(error) if rest::is_not_found(&error) => create(context, spec).await,
        other => other.map(drop),
    }
}

async fn create(context: &Context, spec: Value) -> Result<(), kube::Error> {
    let name = &context.settings.node_name;
    let mut metadata = json!({"name": name, "namespace": NAMESPACE});
    let uid = context.node_uid.read().clone();
    if !uid.is_empty() {
        // The lease goes with the node.
        metadata["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]);
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec,
    });
    let path = rest::path("coordination.k8s.io", "v1", NAMESPACE, "leases", "");
    rest::create::<Value>(&context.client, &path, &lease)
        .await
        .map(drop)
}
