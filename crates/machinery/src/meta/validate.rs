//! Metadata checks that hold for every kind, with upstream's field paths and messages.
//!
//! Invariant: errors come in upstream's order; within a map, in the order of its keys.

use std::collections::BTreeSet;

use fluyt_api::names;
use serde_json::Value;

use super::NameRule;
use crate::at::At;
use crate::errors::{Errors, IMMUTABLE};
use crate::get::Get;

const METADATA: At<'static> = At::root("metadata");
const MAX_ANNOTATION_BYTES: usize = 256 << 10;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Checks the metadata of a new object; its name has been generated.
pub fn validate(object: &Value, namespaced: bool, rule: NameRule, errors: &mut Errors) {
    let metadata = super::of(object);
    let generate_name = metadata.text("generateName");
    if !generate_name.is_empty() {
        let at = METADATA.child("generateName");
        errors.all_invalid(&at, generate_name, rule.check(generate_name, true));
    }
    let at = METADATA.child("name");
    match metadata.text("name") {
        "" => errors.required(&at, "name or generateName is required"),
        name => errors.all_invalid(&at, name, rule.check(name, false)),
    }
    common(metadata, namespaced, errors);
}

/// Checks an update's metadata against the stored object's.
pub fn validate_update(new: &Value, old: &Value, namespaced: bool, errors: &mut Errors) {
    let (metadata, old) = (super::of(new), super::of(old));
    let name = metadata.text("name");
    errors.all_invalid(
        &METADATA.child("name"),
        name,
        super::names::path_segment(name, false),
    );
    common(metadata, namespaced, errors);
    if old.has("deletionTimestamp") {
        let known: BTreeSet<&str> = texts(old.items("finalizers")).collect();
        let new: Vec<&str> = texts(metadata.items("finalizers"))
            .filter(|f| !known.contains(f))
            .collect();
        if !new.is_empty() {
            let listed: Vec<String> = new.iter().map(|f| format!("{f:?}")).collect();
            errors.forbidden(
                &METADATA.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    listed.join(", ")
                ),
            );
        }
    }
    let generation = metadata.int("generation").unwrap_or(0);
    if generation < old.int("generation").unwrap_or(0) {
        errors.invalid(
            &METADATA.child("generation"),
            generation,
            "must not be decremented",
        );
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if metadata.at(field) != old.at(field) {
            errors.invalid(
                &METADATA.child(field),
                metadata.at(field).clone(),
                IMMUTABLE,
            );
        }
    }
}

fn common(metadata: &Value, namespaced: bool, errors: &mut Errors) {
    let namespace = metadata.text("namespace");
    let at = METADATA.child("namespace");
    match (namespaced, namespace) {
        (true, "") => errors.required(&at, ""),
        (true, name) => errors.all_invalid(&at, name, names::dns1123_label(name)),
        (false, "") => {}
        (false, _) => errors.forbidden(&at, "not allowed on this type"),
    }
    errors.non_negative(
        &METADATA.child("generation"),
        metadata.int("generation").unwrap_or(0),
    );
    validate_labels(metadata.at("labels"), &METADATA.child("labels"), errors);
    validate_annotations(
        metadata.at("annotations"),
        &METADATA.child("annotations"),
        errors,
    );
    owners(metadata, errors);
    finalizers(metadata, errors);
}

/// Checks the keys and values of labels.
pub fn validate_labels(labels: &Value, at: &At, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.all_invalid(at, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or("");
        errors.all_invalid(at, value, names::label_value(value));
    }
}

/// Checks the keys of annotations and their total size.
pub fn validate_annotations(annotations: &Value, at: &At, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        let messages = if key.bytes().any(|b| b.is_ascii_uppercase()) {
            names::qualified_name(&key.to_lowercase())
        } else {
            names::qualified_name(key)
        };
        errors.all_invalid(at, key, messages);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATION_BYTES {
        errors.too_long(at, MAX_ANNOTATION_BYTES);
    }
}

fn owners(metadata: &Value, errors: &mut Errors) {
    let at = METADATA.child("ownerReferences");
    let list = metadata.items("ownerReferences");
    let mut controller: Option<String> = None;
    for owner in list {
        let api_version = owner.text("apiVersion");
        let version = api_version.rsplit('/').next().unwrap_or("");
        if version.is_empty() {
            errors.invalid(
                &at.child("apiVersion"),
                api_version,
                "version must not be empty",
            );
        }
        for field in ["kind", "name", "uid"] {
            if owner.text(field).is_empty() {
                errors.invalid(&at.child(field), "", "must not be empty");
            }
        }
        if api_version == "v1" && owner.text("kind") == "Event" {
            errors.invalid(
                &at,
                owner.clone(),
                "/v1, Kind=Event is disallowed from being an owner",
            );
        }
        if owner.is_true("controller") {
            let this = format!("{}/{}", owner.text("kind"), owner.text("name"));
            match &controller {
                Some(first) => errors.invalid(
                    &at,
                    metadata.at("ownerReferences").clone(),
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"),
                ),
                None => controller = Some(this),
            }
        }
    }
}

fn finalizers(metadata: &Value, errors: &mut Errors) {
    let at = METADATA.child("finalizers");
    let list = metadata.items("finalizers");
    for finalizer in texts(list) {
        errors.all_invalid(&at, finalizer, names::qualified_name(finalizer));
    }
    let has = |wanted: &str| texts(list).any(|finalizer| finalizer == wanted);
    if has(ORPHAN) && has(FOREGROUND) {
        errors.invalid(
            &at,
            list.to_vec(),
            format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set"),
        );
    }
    for (index, finalizer) in texts(list).enumerate() {
        let standard = [ORPHAN, FOREGROUND, "kubernetes"].contains(&finalizer);
        if !finalizer.contains('/') && !standard {
            errors.invalid(
                &at.index(index),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
}

fn texts(items: &[Value]) -> impl Iterator<Item = &str> {
    items.iter().filter_map(Value::as_str)
}
