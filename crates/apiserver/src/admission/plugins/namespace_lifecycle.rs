//! Nothing is created in a namespace that does not exist or is going, and the namespaces that everything relies on
//! stay.

use async_trait::async_trait;
use fluyt_api::status::Status;
use fluyt_machinery::admission;
use serde_json::Value;

use crate::admission::{Attributes, Operation, Plugin};
use crate::views;

pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        match attributes.operation {
            Operation::Delete => attributes.is_core("namespaces"),
            Operation::Create => {
                attributes.resource.namespaced && attributes.resource.is_persisted()
            }
            Operation::Update => false,
        }
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        let namespace = attributes.namespace;
        let found = views::find(attributes.core, ("", "v1", "namespaces"), "", namespace).await?;
        admission::check_namespace(attributes.resource, object, namespace, found.as_ref())
    }

    async fn validate(&self, attributes: &Attributes<'_>, _: &Value) -> Result<(), Status> {
        match attributes.operation {
            Operation::Delete => admission::check_namespace_deletion(attributes.name),
            _ => Ok(()),
        }
    }
}
