//! Admission: what the server adds to or refuses of an object beyond its kind's own rules. Plugins are named in
//! order in one list; flags choose among them.

mod chain;
pub(crate) mod plugins;

use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use serde_json::Value;

pub(crate) use chain::{Chain, Plugin};

use crate::authn::User;
use crate::core::Core;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// The request as plugins see it.
pub(crate) struct Attributes<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) user: &'a Arc<User>,
    pub(crate) resource: &'static Resource,
    pub(crate) subresource: &'a str,
    pub(crate) operation: Operation,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) dry_run: bool,
    /// The stored object, of updates and deletions.
    pub(crate) old: Option<&'a Value>,
}

impl Attributes<'_> {
    /// Whether this is about `plural` of the core group, not a subresource of it.
    pub(crate) fn is_core(&self, plural: &str) -> bool {
        self.resource.group.is_empty()
            && self.resource.plural == plural
            && self.subresource.is_empty()
    }

    pub(crate) fn forbidden(&self, why: impl std::fmt::Display) -> fluyt_api::status::Status {
        fluyt_api::status::Status::forbidden(&self.resource.group_resource(), self.name, why)
    }
}
