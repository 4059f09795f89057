//! The controllers that make pods from a template and keep a number of them.
//!
//! Invariant: what a controller makes, its selector finds: template labels always match.

use fluyt_api::names;
use fluyt_api::selector::LabelSelector;
use serde_json::Value;

use super::check_selector_required;
use super::pod::spec::check_template;
use super::pod::warnings;
use crate::at::At;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::meta::validate_labels;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");
const STATUS: At<'static> = At::root("status");

/// Warnings about the pods that an object makes.
fn warn(object: &Value) -> Vec<String> {
    let template = SPEC.child("template");
    let pod = object.at("spec").at("template").at("spec");
    warnings::of_spec(pod, &template.child("spec"))
}

pub(super) fn extend_deployment(rules: &mut Rules) {
    rules.warn = warn;
    rules.annotations_count = true;
    rules.check = check_deployment;
    rules.check_update = |new, old, errors| {
        check_deployment(new, errors);
        same_selector(new, old, errors);
    };
    rules.status_update = |new, old, _| {
        let labels = old.at("metadata");
        new.open("metadata").copy_from(labels, "labels");
    };
    rules.check_status = |new, _, errors| {
        check_counts(
            new,
            &[
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "terminatingReplicas",
                "collisionCount",
            ],
            errors,
        );
        check_at_most(
            new,
            &["updatedReplicas", "readyReplicas", "availableReplicas"],
            errors,
        );
    };
}

pub(super) fn extend_replica_set(rules: &mut Rules) {
    rules.warn = warn;
    rules.check = check_replica_set;
    rules.check_update = |new, old, errors| {
        check_replica_set(new, errors);
        same_selector(new, old, errors);
    };
    rules.check_status = check_replica_status;
    rules.select = select_replicas;
}

pub(super) fn extend_controller(rules: &mut Rules) {
    rules.warn = warn;
    rules.check = check_controller;
    rules.check_update = |new, _, errors| check_controller(new, errors);
    rules.check_status = check_replica_status;
    rules.select = select_replicas;
}

pub(super) fn extend_template(rules: &mut Rules) {
    rules.check = |object, errors| {
        check_template(object.at("template"), &At::root("template"), errors);
    };
    rules.check_update = |new, _, errors| {
        check_template(new.at("template"), &At::root("template"), errors);
    };
}

pub(super) fn extend_daemon_set(rules: &mut Rules) {
    rules.warn = warn;
    rules.check = check_daemon_set;
    rules.check_update = |new, old, errors| {
        check_daemon_set(new, errors);
        same_selector(new, old, errors);
    };
    rules.check_status = |new, _, errors| {
        check_counts(
            new,
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            errors,
        );
    };
}

pub(super) fn extend_stateful_set(rules: &mut Rules) {
    rules.warn = warn;
    rules.check = check_stateful_set;
    rules.check_update = |new, old, errors| {
        check_stateful_set(new, errors);
        check_stateful_update(new, old, errors);
    };
    rules.check_status = |new, _, errors| {
        check_counts(
            new,
            &[
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "collisionCount",
            ],
            errors,
        );
        check_at_most(
            new,
            &["readyReplicas", "currentReplicas", "updatedReplicas"],
            errors,
        );
    };
}

fn select_replicas(object: &Value) -> Vec<(&'static str, String)> {
    let replicas = object.at("status").int("replicas").unwrap_or(0);
    vec![("status.replicas", replicas.to_string())]
}

fn check_replica_status(new: &Value, _: &Value, errors: &mut Errors) {
    let counts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    check_counts(new, &counts, errors);
    check_at_most(new, &counts, errors);
}

fn check_counts(object: &Value, fields: &[&str], errors: &mut Errors) {
    let status = object.at("status");
    for field in ["observedGeneration", "replicas"].iter().chain(fields) {
        errors.non_negative(&STATUS.child(field), status.int(field).unwrap_or(0));
    }
}

/// No more of anything than there are.
fn check_at_most(object: &Value, fields: &[&str], errors: &mut Errors) {
    let status = object.at("status");
    let count = |field: &str| status.int(field).unwrap_or(0);
    for field in fields {
        if count(field) > count("replicas") {
            errors.invalid(
                &STATUS.child(field),
                count(field),
                "cannot be greater than status.replicas",
            );
        }
    }
    if fields.contains(&"availableReplicas") && count("availableReplicas") > count("readyReplicas")
    {
        errors.invalid(
            &STATUS.child("availableReplicas"),
            count("availableReplicas"),
            "cannot be greater than readyReplicas",
        );
    }
}

fn same_selector(new: &Value, old: &Value, errors: &mut Errors) {
    errors.immutable(
        &SPEC.child("selector"),
        new.at("spec").at("selector"),
        old.at("spec").at("selector"),
    );
}

fn non_negative(spec: &Value, fields: &[&str], errors: &mut Errors) {
    for field in fields {
        errors.non_negative(&SPEC.child(field), spec.int(field).unwrap_or(0));
    }
}

/// The template: matched by the selector, restarted always, without a deadline.
fn check_made_pods(spec: &Value, selector: &Value, kind: &str, errors: &mut Errors) {
    let at = SPEC.child("template");
    let template = spec.at("template");
    let labels = template.at("metadata").at("labels");
    if let Ok(selector) = LabelSelector::from_json(selector)
        && !selector.is_empty()
        && !selector.matches(labels)
    {
        errors.invalid(
            &at.child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        );
    }
    check_template(template, &at, errors);
    let pod = at.child("spec");
    let restart = template.at("spec").text("restartPolicy");
    if restart != "Always" {
        errors.not_supported(&pod.child("restartPolicy"), restart, &["Always"]);
    }
    if template.at("spec").has("activeDeadlineSeconds") {
        errors.forbidden(
            &pod.child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

fn check_replica_set(set: &Value, errors: &mut Errors) {
    let spec = set.at("spec");
    non_negative(spec, &["replicas", "minReadySeconds"], errors);
    let at = SPEC.child("selector");
    check_selector_required(spec.at("selector"), &at, "deployment", errors);
    check_made_pods(spec, spec.at("selector"), "ReplicaSet", errors);
}

fn check_controller(controller: &Value, errors: &mut Errors) {
    let spec = controller.at("spec");
    non_negative(spec, &["minReadySeconds"], errors);
    let selector = spec.at("selector");
    let at = SPEC.child("selector");
    if spec.members("selector").next().is_none() {
        errors.required(&at, "");
    }
    validate_labels(selector, &at, errors);
    non_negative(spec, &["replicas"], errors);
    let as_selector = serde_json::json!({ "matchLabels": selector });
    check_made_pods(spec, &as_selector, "ReplicationController", errors);
}

fn check_deployment(deployment: &Value, errors: &mut Errors) {
    let spec = deployment.at("spec");
    non_negative(spec, &["replicas"], errors);
    let at = SPEC.child("selector");
    check_selector_required(spec.at("selector"), &at, "deployment", errors);
    check_made_pods(spec, spec.at("selector"), "ReplicaSet", errors);
    check_strategy(spec.at("strategy"), &SPEC.child("strategy"), errors);
    non_negative(
        spec,
        &[
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
        ],
        errors,
    );
    let ready = spec.int("minReadySeconds").unwrap_or(0);
    if let Some(deadline) = spec.int("progressDeadlineSeconds")
        && deadline <= ready
    {
        errors.invalid(
            &SPEC.child("progressDeadlineSeconds"),
            deadline,
            "must be greater than minReadySeconds",
        );
    }
}

fn check_strategy(strategy: &Value, at: &At, errors: &mut Errors) {
    let rolling = strategy.at("rollingUpdate");
    let rolling_at = at.child("rollingUpdate");
    match strategy.text("type") {
        "Recreate" => {
            if !rolling.is_null() {
                errors.forbidden(
                    &rolling_at,
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            for field in ["maxUnavailable", "maxSurge"] {
                check_share(rolling.at(field), &rolling_at.child(field), errors);
            }
            if share(rolling.at("maxUnavailable")) == 0 && share(rolling.at("maxSurge")) == 0 {
                errors.invalid(
                    &rolling_at.child("maxUnavailable"),
                    rolling.at("maxUnavailable").clone(),
                    "may not be 0 when `maxSurge` is 0",
                );
            }
            check_at_most_all(
                rolling.at("maxUnavailable"),
                &rolling_at.child("maxUnavailable"),
                errors,
            );
        }
        _ => errors.not_supported(at, strategy.clone(), &["Recreate", "RollingUpdate"]),
    }
}

/// A number or a percentage.
pub(super) fn check_share(value: &Value, at: &At, errors: &mut Errors) {
    match value {
        Value::String(text) => errors.all_invalid(at, text, names::percent(text)),
        other => errors.non_negative(at, other.as_i64().unwrap_or(0)),
    }
}

fn share(value: &Value) -> i64 {
    match value {
        Value::String(text) => percent(text).unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    }
}

fn percent(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok()
}

pub(super) fn check_at_most_all(value: &Value, at: &At, errors: &mut Errors) {
    if value.as_str().and_then(percent).is_some_and(|p| p > 100) {
        errors.invalid(at, value.clone(), "must not be greater than 100%");
    }
}

fn check_daemon_set(set: &Value, errors: &mut Errors) {
    let spec = set.at("spec");
    let at = SPEC.child("selector");
    check_selector_required(spec.at("selector"), &at, "daemonset", errors);
    check_made_pods(spec, spec.at("selector"), "DaemonSet", errors);
    non_negative(spec, &["minReadySeconds"], errors);
    let strategy = spec.at("updateStrategy");
    let at = SPEC.child("updateStrategy");
    match strategy.text("type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (rolling, at) = (strategy.at("rollingUpdate"), at.child("rollingUpdate"));
            if rolling.is_null() {
                errors.required(&at, "");
            } else {
                check_daemon_rolling(rolling, &at, errors);
            }
        }
        _ => errors.not_supported(&at, strategy.clone(), &["OnDelete", "RollingUpdate"]),
    }
    non_negative(spec, &["revisionHistoryLimit"], errors);
}

fn check_daemon_rolling(rolling: &Value, at: &At, errors: &mut Errors) {
    for field in ["maxUnavailable", "maxSurge"] {
        check_share(rolling.at(field), &at.child(field), errors);
    }
    for field in ["maxUnavailable", "maxSurge"] {
        check_at_most_all(rolling.at(field), &at.child(field), errors);
    }
    let (unavailable, surge) = (
        share(rolling.at("maxUnavailable")) != 0,
        share(rolling.at("maxSurge")) != 0,
    );
    if unavailable && surge {
        errors.invalid(
            &at.child("maxSurge"),
            rolling.at("maxSurge").clone(),
            "may not be set when maxUnavailable is non-zero",
        );
    } else if !unavailable && !surge {
        errors.required(
            &at.child("maxUnavailable"),
            "cannot be 0 when maxSurge is 0",
        );
    }
}

fn check_stateful_set(set: &Value, errors: &mut Errors) {
    let spec = set.at("spec");
    let policy = spec.text("podManagementPolicy");
    let at = SPEC.child("podManagementPolicy");
    match policy {
        "" => errors.required(&at, ""),
        "OrderedReady" | "Parallel" => {}
        _ => errors.invalid(&at, policy, "must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.at("updateStrategy");
    let at = SPEC.child("updateStrategy");
    match strategy.text("type") {
        "" => errors.required(&at, ""),
        "OnDelete" => {
            if strategy.has("rollingUpdate") {
                errors.invalid(
                    &at.child("rollingUpdate"),
                    strategy.at("rollingUpdate").clone(),
                    "only allowed for updateStrategy 'RollingUpdate'",
                );
            }
        }
        "RollingUpdate" => {
            let partition = strategy.at("rollingUpdate").int("partition").unwrap_or(0);
            errors.non_negative(&at.child("rollingUpdate").child("partition"), partition);
        }
        _ => errors.invalid(
            &at,
            strategy.clone(),
            "must be 'RollingUpdate' or 'OnDelete'",
        ),
    }
    let retention = SPEC.child("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        let policy = spec.at("persistentVolumeClaimRetentionPolicy").text(field);
        if !matches!(policy, "Retain" | "Delete") {
            errors.not_supported(&retention.child(field), policy, &["Retain", "Delete"]);
        }
    }
    non_negative(spec, &["replicas", "minReadySeconds"], errors);
    let service = spec.text("serviceName");
    if !service.is_empty() {
        errors.all_invalid(
            &SPEC.child("serviceName"),
            service,
            names::dns1123_label(service),
        );
    }
    let at = SPEC.child("selector");
    check_selector_required(spec.at("selector"), &at, "statefulset", errors);
    check_made_pods(
        &with_claims(spec),
        spec.at("selector"),
        "StatefulSet",
        errors,
    );
}

/// The spec with the volumes that its claim templates give every pod.
fn with_claims(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let claims: Vec<Value> = spec
        .items("volumeClaimTemplates")
        .iter()
        .map(|claim| claim.at("metadata").at("name").clone())
        .collect();
    let pod = spec.open("template").open("spec");
    pod.pull("subdomain");
    pod.pull("hostname");
    if claims.is_empty() {
        return spec;
    }
    let mut volumes = pod.items("volumes").to_vec();
    volumes.retain(|volume| !claims.contains(volume.at("name")));
    for name in claims {
        volumes.push(serde_json::json!({"name": name,
            "persistentVolumeClaim": {"claimName": name}}));
    }
    pod.put("volumes", volumes);
    spec
}

fn check_stateful_update(new: &Value, old: &Value, errors: &mut Errors) {
    let mut munged = new.at("spec").clone();
    for field in [
        "replicas",
        "template",
        "updateStrategy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    ] {
        munged.copy_from(old.at("spec"), field);
    }
    if munged != *old.at("spec") {
        errors.forbidden(&SPEC, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}
