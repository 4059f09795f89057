//! What may change on a pod that exists: images, deadlines, more tolerations, fewer gates; and in
//! its status all but what would contradict its past.

use serde_json::Value;

use super::spec;
use crate::at::At;
use crate::errors::{Errors, IMMUTABLE};
use crate::get::{Get, Put};

const SPEC: At<'static> = At::root("spec");
const STATUS: At<'static> = At::root("status");

const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks an update through the pod itself.
pub(super) fn check_update(new: &Value, old: &Value, errors: &mut Errors) {
    spec::check_pod(new, errors);
    let (new, old) = (new.at("spec"), old.at("spec"));
    for list in ["containers", "initContainers"] {
        if !check_containers(new.items(list), old.items(list), &SPEC.child(list), errors) {
            return;
        }
    }
    if !check_deadline(new, old, errors) {
        return;
    }
    check_tolerations(new, old, errors);
    check_gates(new, old, errors);
    if new == old {
        return;
    }
    let mut munged = new.clone();
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        munged.copy_from(old, field);
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in munged.items_mut(list).iter_mut().enumerate() {
            container.copy_from(&old.items(list)[index], "image");
        }
    }
    let grace = |spec: &Value| spec.int("terminationGracePeriodSeconds");
    if grace(old).is_some_and(|seconds| seconds < 0) && grace(&munged) == Some(1) {
        munged.copy_from(old, "terminationGracePeriodSeconds");
    }
    if !old.items("schedulingGates").is_empty() {
        check_gated(&mut munged, old, errors);
    }
    if munged != *old {
        let changes = differences(old, &munged).join("\n");
        errors.forbidden(&SPEC, format!("{MAY_CHANGE}\n{changes}\n"));
    }
}

/// The same containers, each with an image. False: comparing further makes no sense.
fn check_containers(new: &[Value], old: &[Value], list: &At, errors: &mut Errors) -> bool {
    if new.len() != old.len() {
        errors.forbidden(list, "pod updates may not add or remove containers");
        return false;
    }
    for (index, container) in new.iter().enumerate() {
        let image = container.text("image");
        let at = list.index(index);
        let at = at.child("image");
        if image.is_empty() {
            errors.required(&at, "");
        } else if image.trim() != image {
            errors.invalid(&at, image, "must not have leading or trailing whitespace");
        }
    }
    true
}

fn check_deadline(new: &Value, old: &Value, errors: &mut Errors) -> bool {
    let at = SPEC.child("activeDeadlineSeconds");
    let (new, old) = (
        new.int("activeDeadlineSeconds"),
        old.int("activeDeadlineSeconds"),
    );
    match (new, old) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(&at, new, "must be between 0 and 2147483647, inclusive");
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(&at, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(
                &at,
                Value::Null,
                "must not update from a positive integer to nil value",
            );
            true
        }
        _ => true,
    }
}

fn check_tolerations(new: &Value, old: &Value, errors: &mut Errors) {
    let but_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration.pull("tolerationSeconds");
        toleration
    };
    let list = new.items("tolerations");
    let kept = old.items("tolerations").iter().all(|before| {
        list.iter()
            .any(|now| but_seconds(now) == but_seconds(before))
    });
    if !kept {
        errors.forbidden(
            &SPEC.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}

fn check_gates(new: &Value, old: &Value, errors: &mut Errors) {
    let before = old.items("schedulingGates");
    let list = SPEC.child("schedulingGates");
    for (index, gate) in new.items("schedulingGates").iter().enumerate() {
        if !before.contains(gate) {
            errors.forbidden(
                &list.index(index),
                format!(
                    "only deletion is allowed, but found new scheduling gate '{}'",
                    gate.text("name")
                ),
            );
        }
    }
}

/// While a pod is gated its placement may still be narrowed.
fn check_gated(munged: &mut Value, old: &Value, errors: &mut Errors) {
    if munged.at("nodeSelector") != old.at("nodeSelector") {
        let kept = old
            .members("nodeSelector")
            .all(|(key, value)| munged.at("nodeSelector").at(key) == value);
        if !kept {
            errors.invalid(
                &SPEC.child("nodeSelector"),
                munged.at("nodeSelector").clone(),
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            );
        }
        munged.copy_from(old, "nodeSelector");
    }
    let affinity = |spec: &Value| spec.at("affinity").at("nodeAffinity").clone();
    if affinity(munged) == affinity(old) {
        return;
    }
    check_narrowed(&affinity(munged), &affinity(old), errors);
    if old.at("affinity").has("nodeAffinity") {
        let before = affinity(old);
        munged.open("affinity").put("nodeAffinity", before);
    } else if let Some(part) = munged.inner("affinity") {
        part.pull("nodeAffinity");
        let empty = part.as_object().is_some_and(|fields| fields.is_empty());
        if empty && !old.has("affinity") {
            munged.pull("affinity");
        }
    }
}

fn check_narrowed(new: &Value, old: &Value, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = |affinity: &Value| affinity.at(REQUIRED).items("nodeSelectorTerms").to_vec();
    let (before, now) = (terms(old), terms(new));
    if before.is_empty() {
        return;
    }
    let affinity = SPEC.child("affinity");
    let node = affinity.child("nodeAffinity");
    let required = node.child(REQUIRED);
    let list = required.child("nodeSelectorTerms");
    if before.len() != now.len() {
        errors.invalid(
            &list,
            now,
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        );
        return;
    }
    for (index, (before, now)) in before.iter().zip(&now).enumerate() {
        let kept = ["matchExpressions", "matchFields"].iter().all(|field| {
            let (before, now) = (before.items(field), now.items(field));
            before.len() <= now.len() && before.iter().zip(now).all(|(b, n)| b == n)
        });
        if !kept {
            errors.invalid(
                &list.index(index),
                now.clone(),
                "only additions are allowed (no mutations or deletions)",
            );
        }
    }
}

/// The fields that differ, a line each, what was before what is.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", old, new, &mut lines);
    lines
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(now)) => {
            let keys = before
                .keys()
                .chain(now.keys().filter(|k| !before.contains_key(*k)));
            for key in keys {
                compare(&format!("{path}.{key}"), old.at(key), new.at(key), lines);
            }
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            for (index, (before, now)) in before.iter().zip(now).enumerate() {
                compare(&format!("{path}[{index}]"), before, now, lines);
            }
        }
        _ if old != new => {
            let path = path.trim_start_matches('.');
            lines.push(format!("  {path}: {old} -> {new}"));
        }
        _ => {}
    }
}

/// Checks an update through `/status`.
pub(super) fn check_status(new: &Value, old: &Value, errors: &mut Errors) {
    let (status, before) = (new.at("status"), old.at("status"));
    if status.text("qosClass") != before.text("qosClass") {
        errors.invalid(
            &STATUS.child("qosClass"),
            status.text("qosClass"),
            IMMUTABLE,
        );
    }
    let nominated = status.text("nominatedNodeName");
    if nominated != before.text("nominatedNodeName") && !nominated.is_empty() {
        let at = STATUS.child("nominatedNodeName");
        errors.all_invalid(
            &at,
            nominated,
            crate::meta::NameRule::Subdomain.check(nominated, false),
        );
        if !old.at("spec").text("nodeName").is_empty() {
            errors.forbidden(
                &at,
                "may not be set on pods that are already bound to a node",
            );
        }
    }
    errors.non_negative(
        &STATUS.child("observedGeneration"),
        status.int("observedGeneration").unwrap_or(0),
    );
    check_transitions(new, old, errors);
    let list = STATUS.child("podIPs");
    for (index, ip) in status.items("podIPs").iter().enumerate() {
        spec::check_ip(ip.text("ip"), &list.index(index), errors);
    }
    let list = STATUS.child("hostIPs");
    if let Some(first) = status.items("hostIPs").first()
        && first.text("ip") != status.text("hostIP")
    {
        errors.invalid(
            &list.index(0).child("ip"),
            first.text("ip"),
            "must be equal to `hostIP`",
        );
    }
}

/// A container that ended for good cannot run again.
fn check_transitions(new: &Value, old: &Value, errors: &mut Errors) {
    let spec = old.at("spec");
    let list = STATUS.child("containerStatuses");
    let now = new.at("status").items("containerStatuses");
    for (index, before) in old
        .at("status")
        .items("containerStatuses")
        .iter()
        .enumerate()
    {
        let ended = before.at("state").at("terminated");
        if ended.is_null() {
            continue;
        }
        let name = before.text("name");
        let runs = now
            .iter()
            .any(|s| s.text("name") == name && !s.at("state").has("terminated"));
        if runs && !restarts(spec, name, ended.int("exitCode").unwrap_or(0)) {
            errors.forbidden(
                &list.index(index).child("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

/// Whether a container that exited may be started again.
fn restarts(spec: &Value, name: &str, exit_code: i64) -> bool {
    let container = spec
        .items("containers")
        .iter()
        .find(|c| c.text("name") == name);
    let own = container.map_or("", |container| container.text("restartPolicy"));
    let by_rule = container.is_some_and(|c| !c.items("restartPolicyRules").is_empty());
    let policy = if own.is_empty() {
        spec.text("restartPolicy")
    } else {
        own
    };
    match policy {
        _ if by_rule => true,
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}
