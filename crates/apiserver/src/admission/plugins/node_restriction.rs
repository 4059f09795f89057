//! A kubelet changes only its own node and the pods bound to it.

use async_trait::async_trait;
use fluyt_api::status::Status;
use serde_json::Value;

use crate::admission::{Attributes, Operation, Plugin};

pub(crate) struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.user.node_name().is_some()
            && attributes.resource.group.is_empty()
            && matches!(attributes.resource.plural, "nodes" | "pods")
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        let node = attributes.user.node_name().unwrap_or("");
        match attributes.resource.plural {
            "nodes" => own_node(attributes, node, object),
            _ => own_pod(attributes, node, object),
        }
    }
}

fn own_node(attributes: &Attributes<'_>, node: &str, object: &Value) -> Result<(), Status> {
    let name = match attributes.operation {
        Operation::Create => object["metadata"]["name"].as_str().unwrap_or(""),
        _ => attributes.name,
    };
    if name != node {
        return Err(attributes.forbidden(format!(
            "node {node:?} is not allowed to modify node {name:?}"
        )));
    }
    if attributes.operation == Operation::Update
        && attributes.subresource.is_empty()
        && let Some(old) = attributes.old
        && object["spec"]["taints"] != old["spec"]["taints"]
    {
        return Err(attributes.forbidden(format!("node {node:?} is not allowed to modify taints")));
    }
    Ok(())
}

fn own_pod(attributes: &Attributes<'_>, node: &str, object: &Value) -> Result<(), Status> {
    match (attributes.operation, attributes.subresource) {
        (Operation::Create, "") => {
            let mirror =
                object["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
            if !mirror {
                return Err(attributes.forbidden(format!(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
                )));
            }
            if object["spec"]["nodeName"] != node {
                return Err(attributes.forbidden(format!(
                    "node {node:?} can only create pods with spec.nodeName set to itself"
                )));
            }
            Ok(())
        }
        (Operation::Delete, _) | (Operation::Update, "status") => {
            let bound = attributes.old.map(|pod| &pod["spec"]["nodeName"]);
            if bound.is_none_or(|bound| bound != node) {
                let what = if attributes.operation == Operation::Delete {
                    "delete pods with spec.nodeName set to itself"
                } else {
                    "update pod status for pods with spec.nodeName set to itself"
                };
                return Err(attributes.forbidden(format!("node {node:?} can only {what}")));
            }
            Ok(())
        }
        (Operation::Update, "") => Err(attributes.forbidden(format!(
            "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
        ))),
        _ => Ok(()),
    }
}
