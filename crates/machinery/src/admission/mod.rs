//! The built-in admission steps as functions of the objects they need: the API server fetches, these
//! decide and change.
//!
//! The order on create is that of upstream's plugins: namespace life cycle, limit ranges, service
//! accounts, new nodes' taint, priority, default tolerations, storage protection, default classes,
//! and, after validation, quota.
//!
//! Invariant: a step that refuses leaves the request to be dropped; every refusal is a
//! `403 Forbidden` in upstream's words unless it says otherwise.

mod limits;
mod namespaces;
mod pods;
mod quota;
mod storage;

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use serde_json::Value;

pub use limits::{apply_limit_defaults, check_limits};
pub use namespaces::{check_namespace, check_namespace_deletion, taint_new_node};
pub use pods::{
    SYSTEM_CLUSTER_CRITICAL, SYSTEM_NODE_CRITICAL, default_service_account, default_tolerations,
    priority, service_account, system_priority_classes,
};
pub use quota::{check_quotas, usage};
pub use storage::{default_class, protect_storage};

use crate::meta;

/// The refusal of a request about `object`.
fn forbidden(resource: &Resource, object: &Value, why: impl std::fmt::Display) -> Status {
    use crate::get::Get;
    let name = match meta::of(object).text("name") {
        "" => meta::of(object).text("generateName"),
        name => name,
    };
    Status::forbidden(&resource.group_resource(), name, why)
}

#[cfg(test)]
mod tests;
