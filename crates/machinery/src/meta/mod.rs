//! What the server does with `metadata`, whatever the kind: fill in what it owns on create, keep it
//! through updates, and refuse what may not be.
//!
//! Invariant: `uid`, `creationTimestamp`, `generation` and the deletion fields are the server's; a
//! client's word on them never changes what is stored.

mod names;
mod validate;

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use serde_json::{Map, Value};

use crate::codec::format_time;
use crate::ctx::Ctx;
use crate::get::{Get, Put};
pub use names::{NameRule, name_rule};
pub use validate::{validate, validate_annotations, validate_labels, validate_update};

/// The longest `generateName` that survives with its suffix.
const MAX_GENERATED_BASE: usize = 63 - 5;

/// The metadata of an object.
pub fn of(object: &Value) -> &Value {
    object.at("metadata")
}

/// Fills in what the server owns of a new object: uid, creation time, a generated name, the
/// namespace of the request. `name` is the name in the URL, empty for none.
///
/// Errors: the object names another namespace or another name than the request.
pub fn create_meta(
    resource: &Resource,
    object: &mut Value,
    name: &str,
    ctx: &Ctx,
) -> Result<(), Status> {
    let metadata = object.open("metadata");
    for owned in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ] {
        metadata.pull(owned);
    }
    ensure_namespace(resource, metadata, &ctx.namespace)?;
    if metadata.text("name").is_empty() && !metadata.text("generateName").is_empty() {
        let base = metadata.text("generateName");
        let end = base.floor_char_boundary(MAX_GENERATED_BASE.min(base.len()));
        let generated = format!("{}{}", &base[..end], ctx.suffix(0));
        metadata.put("name", generated);
    }
    ensure_name(metadata, name)?;
    metadata.put("uid", ctx.uid.to_string());
    metadata.put("creationTimestamp", format_time(ctx.now));
    Ok(())
}

/// Brings the metadata of an update in line with the stored object. The caller has compared
/// resource versions.
///
/// Errors: as [`create_meta`].
pub fn update_meta(
    resource: &Resource,
    new: &mut Value,
    old: &Value,
    ctx: &Ctx,
) -> Result<(), Status> {
    let old = of(old);
    let metadata = new.open("metadata");
    ensure_namespace(resource, metadata, &ctx.namespace)?;
    ensure_name(metadata, old.text("name"))?;
    metadata.pull("selfLink");
    metadata.copy_from(old, "generation");
    if metadata.text("uid").is_empty() {
        metadata.copy_from(old, "uid");
    }
    if old.has("creationTimestamp") {
        metadata.copy_from(old, "creationTimestamp");
    }
    if old.has("deletionTimestamp") {
        metadata.copy_from(old, "deletionTimestamp");
    } else {
        metadata.pull("deletionTimestamp");
    }
    if old.has("deletionGracePeriodSeconds") && metadata.has("deletionGracePeriodSeconds") {
        // A client that changes it is told so by validation.
    } else {
        metadata.copy_from(old, "deletionGracePeriodSeconds");
    }
    Ok(())
}

fn ensure_namespace(
    resource: &Resource,
    metadata: &mut Value,
    namespace: &str,
) -> Result<(), Status> {
    let expected = if resource.namespaced { namespace } else { "" };
    let stated = metadata.text("namespace");
    if stated == expected {
        return Ok(());
    }
    if stated.is_empty() {
        metadata.put("namespace", expected);
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn ensure_name(metadata: &mut Value, name: &str) -> Result<(), Status> {
    let stated = metadata.text("name");
    if name.is_empty() || stated == name {
        return Ok(());
    }
    if stated.is_empty() {
        metadata.put("name", name);
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the name of the object ({stated}) does not match the name on the URL ({name})"
    )))
}

/// Adds one to `metadata.generation` when anything but metadata and status differs.
pub fn bump_generation(new: &mut Value, old: &Value) {
    let changed = |name: &str| {
        !matches!(name, "metadata" | "status" | "apiVersion" | "kind")
            && new.at(name) != old.at(name)
    };
    let fields = |object: &Value| -> Vec<String> {
        object
            .as_object()
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default()
    };
    if fields(new)
        .iter()
        .chain(&fields(old))
        .any(|name| changed(name))
    {
        let generation = of(old).int("generation").unwrap_or(0) + 1;
        new.open("metadata").put("generation", generation);
    }
}

/// Adds a finalizer that is not there yet.
pub fn add_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = object.open("metadata");
    if metadata.items("finalizers").iter().any(|f| f == finalizer) {
        return;
    }
    match metadata
        .as_object_mut()
        .and_then(|m| m.get_mut("finalizers"))
    {
        Some(Value::Array(list)) => list.push(Value::from(finalizer)),
        _ => metadata.put("finalizers", vec![Value::from(finalizer)]),
    }
}

/// Removes a finalizer.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = object.open("metadata");
    if let Some(Value::Array(list)) = metadata
        .as_object_mut()
        .and_then(|m| m.get_mut("finalizers"))
    {
        list.retain(|item| item != finalizer);
        if list.is_empty() {
            metadata.pull("finalizers");
        }
    }
}

/// Owner references that repeat an earlier one's uid are dropped; true if any was.
pub fn dedup_owner_references(object: &mut Value) -> bool {
    let Some(Value::Array(owners)) = object
        .inner("metadata")
        .and_then(|m| m.as_object_mut())
        .and_then(|m: &mut Map<String, Value>| m.get_mut("ownerReferences"))
    else {
        return false;
    };
    let before = owners.len();
    let mut seen: Vec<Value> = Vec::new();
    owners.retain(|owner| {
        let fresh = !seen.contains(owner);
        seen.push(owner.clone());
        fresh
    });
    owners.len() < before
}

#[cfg(test)]
mod tests;
