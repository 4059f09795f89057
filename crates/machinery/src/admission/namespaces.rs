//! What may be made in which namespace, and what a node starts out with.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::{Cause, Status};
use serde_json::{Value, json};

use super::forbidden;
use crate::get::{Get, Put};
use crate::meta;

/// Checks that `object` can be created in `namespace`, which is `None` when it does not exist.
///
/// Errors: 404 for a namespace that is not there, 403 for one that is going.
pub fn check_namespace(
    resource: &Resource,
    object: &Value,
    name: &str,
    namespace: Option<&Value>,
) -> Result<(), Status> {
    if !resource.namespaced {
        return Ok(());
    }
    let Some(namespace) = namespace else {
        return Err(Status::not_found("namespaces", name));
    };
    // Reviews ask; they leave nothing behind.
    if resource.plural == "localsubjectaccessreviews" {
        return Ok(());
    }
    let metadata = meta::of(namespace);
    if !metadata.has("deletionTimestamp") && namespace.at("status").text("phase") != "Terminating" {
        return Ok(());
    }
    let mut status = forbidden(
        resource,
        object,
        format!("unable to create new content in namespace {name} because it is being terminated"),
    );
    let details = status.details.get_or_insert_default();
    details.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    Err(status)
}

/// The namespaces that hold the cluster together cannot be deleted.
pub fn check_namespace_deletion(name: &str) -> Result<(), Status> {
    if matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Status::forbidden(
            "namespaces",
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// A new node takes no pods before something has seen it ready.
pub fn taint_new_node(node: &mut Value) {
    const NOT_READY: &str = "node.kubernetes.io/not-ready";
    let spec = node.open("spec");
    let mut taints = spec.items("taints").to_vec();
    let has = taints
        .iter()
        .any(|taint| taint.text("key") == NOT_READY && taint.text("effect") == "NoSchedule");
    if !has {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        spec.put("taints", taints);
    }
}
