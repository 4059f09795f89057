//! Persistent volumes, claims and their classes.

use fluyt_api::quantity::Quantity;
use serde_json::{Value, json};

use super::check_selector;
use crate::at::At;
use crate::codec::format_time;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");
const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

pub(super) fn extend_volume(rules: &mut Rules) {
    rules.create = |volume, ctx| {
        volume.put(
            "status",
            json!({"phase": "Pending", "lastPhaseTransitionTime": format_time(ctx.now)}),
        );
    };
    rules.status_update = |new, old, ctx| {
        let changed = new.at("status").text("phase") != old.at("status").text("phase");
        if changed && !new.at("status").has("lastPhaseTransitionTime") {
            let now = format_time(ctx.now);
            new.open("status").put("lastPhaseTransitionTime", now);
        }
    };
    rules.check = check_volume;
    rules.check_update = |new, old, errors| {
        check_volume(new, errors);
        let source = |volume: &Value| {
            volume_source(volume.at("spec")).map(|(k, v)| (k.to_owned(), v.clone()))
        };
        if source(new) != source(old) {
            errors.forbidden(
                &SPEC.child("persistentvolumesource"),
                "spec.persistentvolumesource is immutable after creation",
            );
        }
        errors.immutable(
            &SPEC.child("volumeMode"),
            new.at("spec").at("volumeMode"),
            old.at("spec").at("volumeMode"),
        );
    };
}

pub(super) fn extend_claim(rules: &mut Rules) {
    rules.create = |claim, _| claim.put("status", json!({"phase": "Pending"}));
    rules.check = check_claim;
    rules.check_update = |new, old, errors| {
        check_claim(new, errors);
        check_claim_update(new, old, errors);
    };
}

pub(super) fn extend_class(rules: &mut Rules) {
    rules.check = check_class;
    rules.check_update = |new, old, errors| {
        for (field, what) in [
            ("parameters", "updates to parameters are forbidden."),
            ("provisioner", "updates to provisioner are forbidden."),
            ("reclaimPolicy", "updates to reclaimPolicy are forbidden."),
        ] {
            if new.at(field) != old.at(field) {
                errors.forbidden(&At::root(field), what);
            }
        }
        errors.immutable(
            &At::root("volumeBindingMode"),
            new.at("volumeBindingMode"),
            old.at("volumeBindingMode"),
        );
    };
}

/// Fields of a volume's spec that say nothing about where it lies.
const NOT_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeMode",
    "volumeAttributesClassName",
];

fn volume_source(spec: &Value) -> Option<(&String, &Value)> {
    spec.as_object()?
        .iter()
        .find(|(name, _)| !NOT_SOURCES.contains(&name.as_str()))
}

fn check_modes(spec: &Value, errors: &mut Errors) {
    let at = SPEC.child("accessModes");
    let modes = spec.items("accessModes");
    if modes.is_empty() {
        errors.required(&at, "at least 1 access mode is required");
    }
    for mode in modes.iter().filter_map(Value::as_str) {
        if !MODES.contains(&mode) {
            errors.not_supported(&at, mode, &MODES);
        }
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
    let mode = spec.text("volumeMode");
    if spec.has("volumeMode") && !matches!(mode, "Block" | "Filesystem") {
        errors.not_supported(&SPEC.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}

fn check_volume(volume: &Value, errors: &mut Errors) {
    let spec = volume.at("spec");
    check_modes(spec, errors);
    let capacity = SPEC.child("capacity");
    let amounts = spec.members("capacity").count();
    if amounts == 0 {
        errors.required(&capacity, "");
    } else if !spec.at("capacity").has("storage") || amounts > 1 {
        errors.not_supported(&capacity, spec.at("capacity").clone(), &["storage"]);
    }
    if let Some(size) = spec.at("capacity").at("storage").as_str()
        && Quantity::parse(size).is_ok_and(|size| size.milli_value() <= 0)
    {
        errors.invalid(&capacity.key("storage"), size, "must be greater than zero");
    }
    let policy = spec.text("persistentVolumeReclaimPolicy");
    if !matches!(policy, "" | "Delete" | "Recycle" | "Retain") {
        errors.not_supported(
            &SPEC.child("persistentVolumeReclaimPolicy"),
            policy,
            &["Delete", "Recycle", "Retain"],
        );
    }
    if volume_source(spec).is_none() {
        errors.required(&SPEC, "must specify a volume type");
    }
    let affinity = spec.at("nodeAffinity").at("required");
    if !affinity.is_null() {
        let at = SPEC.child("nodeAffinity");
        super::pod::check_node_selector(affinity, &at.child("required"), errors);
    }
}

fn check_claim(claim: &Value, errors: &mut Errors) {
    let spec = claim.at("spec");
    check_modes(spec, errors);
    check_selector(spec.at("selector"), &SPEC.child("selector"), errors);
    let resources = SPEC.child("resources");
    match spec.at("resources").at("requests").at("storage").as_str() {
        None => errors.required(&resources.key("storage"), ""),
        Some(size) => {
            if Quantity::parse(size).is_ok_and(|size| size.milli_value() <= 0) {
                let requests = resources.child("requests");
                errors.invalid(&requests.key("storage"), size, "must be greater than zero");
            }
        }
    }
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        errors.all_invalid(
            &SPEC.child("storageClassName"),
            class,
            crate::meta::NameRule::Subdomain.check(class, false),
        );
    }
}

fn check_claim_update(new: &Value, old: &Value, errors: &mut Errors) {
    let mut munged = new.at("spec").clone();
    let before = old.at("spec");
    if before.text("volumeName").is_empty() {
        munged.copy_from(before, "volumeName");
    }
    munged.copy_from(before, "resources");
    munged.copy_from(before, "volumeAttributesClassName");
    if munged != *before {
        errors.forbidden(&SPEC, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
    }
    let size = |claim: &Value| {
        let text = claim
            .at("spec")
            .at("resources")
            .at("requests")
            .text("storage")
            .to_owned();
        Quantity::parse(&text).ok()
    };
    if let (Some(now), Some(was)) = (size(new), size(old))
        && now < was
    {
        let resources = SPEC.child("resources");
        errors.forbidden(
            &resources.child("requests").child("storage"),
            "field can not be less than status.capacity",
        );
    }
}

fn check_class(class: &Value, errors: &mut Errors) {
    if class.text("provisioner").is_empty() {
        errors.required(&At::root("provisioner"), "");
    }
    let policy = class.text("reclaimPolicy");
    if !matches!(policy, "" | "Delete" | "Retain") {
        errors.not_supported(&At::root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    let mode = class.text("volumeBindingMode");
    let at = At::root("volumeBindingMode");
    if mode.is_empty() {
        errors.required(&at, "");
    } else if !matches!(mode, "Immediate" | "WaitForFirstConsumer") {
        errors.not_supported(&at, mode, &["Immediate", "WaitForFirstConsumer"]);
    }
}
