//! What is particular to each kind in the life of an object: what a create resets, what an update
//! may change, which checks apply, which fields can be selected.
//!
//! One table names every kind with behaviour of its own; all others get the generic rules: status
//! is the server's, spec is the client's, the generation counts changes of everything else.
//!
//! Invariant: strategies are pure: the same object and context give the same result.

mod rules;

use std::collections::HashMap;
use std::sync::LazyLock;

use fluyt_api::catalogue::{self, Resource};
use fluyt_api::field::FieldError;
use serde_json::Value;

use crate::ctx::Ctx;
pub use rules::Rules;

/// How long a write must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the answer.
    Durable,
    /// May be lost with the machine: it is said again soon.
    Relaxed,
}

/// The behaviour of one kind.
pub trait Strategy: Sync + Send {
    /// Resets what a client may not set on a new object. Metadata has been prepared.
    fn prepare_for_create(&self, object: &mut Value, ctx: &Ctx);
    /// Everything wrong with a new object, metadata included.
    fn validate(&self, object: &Value) -> Vec<FieldError>;
    /// Keeps what an update through the main resource may not change.
    fn prepare_for_update(&self, new: &mut Value, old: &Value, ctx: &Ctx);
    /// Everything wrong with an update, metadata included.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError>;
    /// Keeps what an update through `/status` may not change.
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value, ctx: &Ctx);
    /// Everything wrong with an update through `/status`.
    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError>;
    /// Texts for `Warning` headers of a create.
    fn warnings(&self, object: &Value) -> Vec<String>;
    /// Texts for `Warning` headers of an update through the main resource.
    fn warnings_on_update(&self, new: &Value, old: &Value) -> Vec<String>;
    /// Whether PUT creates an object that is not there.
    fn allow_create_on_update(&self) -> bool;
    /// Whether PUT without a resourceVersion overwrites.
    fn allow_unconditional_update(&self) -> bool;
    /// Seconds of grace that a DELETE gives the object; `None`: the kind knows no grace.
    fn graceful_delete_seconds(&self, object: &Value, options: &Value) -> Option<i64>;
    /// The fields that field selectors may name, beyond metadata.name and metadata.namespace.
    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)>;
    fn durability(&self) -> Durability;
    /// Whether a DELETE that does not say leaves dependents as orphans.
    fn orphans_by_default(&self) -> bool;
}

/// Group, version and plural.
type Key = (&'static str, &'static str, &'static str);

static STRATEGIES: LazyLock<HashMap<Key, Rules>> = LazyLock::new(|| {
    catalogue::resources()
        .iter()
        .map(|resource| {
            (
                (resource.group, resource.version, resource.plural),
                Rules::of(resource),
            )
        })
        .collect()
});

/// The strategy of a resource.
pub fn of(resource: &Resource) -> &'static dyn Strategy {
    STRATEGIES
        .get(&(resource.group, resource.version, resource.plural))
        .expect("every resource of the catalogue has a strategy")
}

#[cfg(test)]
mod tests;
