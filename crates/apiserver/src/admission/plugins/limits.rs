//! Limit ranges, quotas and default classes: plugins that look at a few other objects of the same place.

use async_trait::async_trait;
use fluyt_api::status::Status;
use fluyt_machinery::admission;
use fluyt_store::{Op, Precondition, StoreError};
use serde_json::Value;

use crate::admission::{Attributes, Operation, Plugin};
use crate::lifecycle;
use crate::stored;
use crate::views;

const RANGES: (&str, &str, &str) = ("", "v1", "limitranges");
const QUOTAS: (&str, &str, &str) = ("", "v1", "resourcequotas");
const STORAGE_CLASSES: (&str, &str, &str) = ("storage.k8s.io", "v1", "storageclasses");
const INGRESS_CLASSES: (&str, &str, &str) = ("networking.k8s.io", "v1", "ingressclasses");
/// Tries of charging a quota that others charge at the same time.
const TRIES: usize = 10;

/// Fills in and checks what limit ranges say.
pub(super) struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        (attributes.is_core("pods") && attributes.operation == Operation::Create)
            || (attributes.is_core("persistentvolumeclaims")
                && attributes.operation != Operation::Delete)
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if attributes.resource.plural == "pods" {
            let ranges = views::objects(attributes.core, RANGES, attributes.namespace).await?;
            if !ranges.is_empty() {
                admission::apply_limit_defaults(object, &ranges);
            }
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        let ranges = views::objects(attributes.core, RANGES, attributes.namespace).await?;
        if ranges.is_empty() {
            return Ok(());
        }
        admission::check_limits(attributes.resource, object, &ranges)
    }
}

/// Charges the quotas of the namespace; a quota that is used up refuses.
pub(super) struct ResourceQuota;

#[async_trait]
impl Plugin for ResourceQuota {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.subresource.is_empty()
            && attributes.resource.namespaced
            && attributes.resource.is_persisted()
            && attributes.operation != Operation::Delete
            && attributes.resource.plural != "events"
            && attributes.resource.plural != "leases"
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        let store = &*attributes.core.store;
        for attempt in 0..TRIES {
            // The view may lag behind the quota that refused the last charge.
            let quotas = if attempt == 0 {
                views::objects(attributes.core, QUOTAS, attributes.namespace).await?
            } else {
                stored::all(store, QUOTAS, attributes.namespace).await?
            };
            if quotas.is_empty() {
                return Ok(());
            }
            let old = attributes.old;
            let changed = admission::check_quotas(attributes.resource, object, old, &quotas)?;
            if changed.is_empty() || attributes.dry_run {
                return Ok(());
            }
            match store
                .commit(changed.iter().filter_map(charge).collect())
                .await
            {
                Ok(_) => return Ok(()),
                Err(StoreError::PreconditionFailed { .. }) => {}
                Err(error) => return Err(stored::failure(&error)),
            }
        }
        Err(Status::conflict(
            "resourcequotas",
            "",
            "the quota changes faster than it can be charged; please try again",
        ))
    }
}

/// Stores a quota with its new use, if nobody changed it meanwhile.
fn charge(quota: &Value) -> Option<Op> {
    let resource = stored::builtin(QUOTAS);
    let metadata = &quota["metadata"];
    let revision = metadata["resourceVersion"].as_str()?.parse().ok()?;
    Some(Op::Put {
        key: stored::key(
            resource,
            metadata["namespace"].as_str()?,
            metadata["name"].as_str()?,
        ),
        value: stored::encode(resource, quota),
        precondition: Precondition::ModRevision(revision),
        durability: lifecycle::durability(resource),
    })
}

/// Names the default storage class on claims.
pub(super) struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_core("persistentvolumeclaims") && attributes.operation == Operation::Create
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        let classes = views::objects(attributes.core, STORAGE_CLASSES, "").await?;
        admission::default_class(attributes.resource.kind, object, &classes);
        Ok(())
    }
}

/// Names the default ingress class on ingresses.
pub(super) struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.resource.plural == "ingresses"
            && attributes.subresource.is_empty()
            && attributes.operation == Operation::Create
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        let classes = views::objects(attributes.core, INGRESS_CLASSES, "").await?;
        admission::default_class(attributes.resource.kind, object, &classes);
        Ok(())
    }
}
