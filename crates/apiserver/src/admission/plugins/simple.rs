//! Plugins that look at the object alone.

use async_trait::async_trait;
use fluyt_api::status::Status;
use fluyt_machinery::admission;
use serde_json::Value;

use crate::admission::{Attributes, Operation, Plugin};

/// Pods tolerate a node that is not ready or unreachable for five minutes, unless they say otherwise.
pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_core("pods") && attributes.operation == Operation::Create
    }

    async fn admit(&self, _: &Attributes<'_>, pod: &mut Value) -> Result<(), Status> {
        admission::default_tolerations(pod);
        Ok(())
    }
}

/// New nodes carry the not-ready taint until the node controller has seen them Ready.
pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_core("nodes") && attributes.operation == Operation::Create
    }

    async fn admit(&self, _: &Attributes<'_>, node: &mut Value) -> Result<(), Status> {
        admission::taint_new_node(node);
        Ok(())
    }
}

/// Volumes and claims get the finalizer that keeps them while they are in use.
pub(super) struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.operation == Operation::Create
            && (attributes.is_core("persistentvolumes")
                || attributes.is_core("persistentvolumeclaims"))
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        admission::protect_storage(attributes.resource.kind, object);
        Ok(())
    }
}
