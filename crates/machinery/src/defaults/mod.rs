//! Defaults that follow from more than a field's own schema; the codec has filled in those.
//!
//! Invariant: applying defaults twice changes nothing the second time.

mod core;
pub(crate) mod pod;
mod rest;
mod workloads;

use fluyt_api::catalogue::Resource;
use serde_json::Value;

use crate::get::Get;

/// Fills in what the kind's defaulting rules say about absent fields.
pub fn apply(resource: &Resource, object: &mut Value) {
    match resource.group {
        "" => core::apply(resource.kind, object),
        "apps" | "batch" | "autoscaling" => workloads::apply(resource.kind, object),
        _ => rest::apply(resource.kind, object),
    }
}

/// Runs `each` on every item of a list field.
pub(crate) fn each(object: &mut Value, list: &str, mut each: impl FnMut(&mut Value)) {
    use crate::get::Put;
    for item in object.items_mut(list) {
        each(item);
    }
}

/// Whether a field is absent or the empty text.
pub(crate) fn blank(object: &Value, key: &str) -> bool {
    object.text(key).is_empty()
}

#[cfg(test)]
mod tests;
