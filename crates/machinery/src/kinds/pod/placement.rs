//! Checks of where a pod may run: tolerations, affinities, spreading.

use fluyt_api::names;
use serde_json::{Value, json};

use crate::at::At;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::kinds::check_selector;
use crate::meta::NameRule;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn check_tolerations(tolerations: &[Value], list: &At, errors: &mut Errors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        check_toleration(toleration, &list.index(index), errors);
    }
}

fn check_toleration(toleration: &Value, at: &At, errors: &mut Errors) {
    let (key, value) = (toleration.text("key"), toleration.text("value"));
    let (operator, effect) = (toleration.text("operator"), toleration.text("effect"));
    if !key.is_empty() {
        errors.all_invalid(&at.child("key"), key, names::qualified_name(key));
    }
    let operator_at = at.child("operator");
    if key.is_empty() && operator != "Exists" {
        errors.invalid(&operator_at, operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    }
    if toleration.has("tolerationSeconds") && effect != "NoExecute" {
        errors.invalid(
            &at.child("effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    match operator {
        "" | "Equal" => {
            let messages = names::label_value(value);
            if !messages.is_empty() {
                errors.invalid(&operator_at, value, messages.join(";"));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                errors.invalid(
                    &operator_at,
                    value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
        }
        "Lt" | "Gt" => {
            errors.not_supported(&operator_at, operator, &["Equal", "Exists", "Lt", "Gt"])
        }
        other => errors.not_supported(&operator_at, other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        errors.one_of(
            &at.child("effect"),
            effect,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
        );
    }
}

pub(super) fn check_spreading(spec: &Value, list: &At, errors: &mut Errors) {
    let constraints = spec.items("topologySpreadConstraints");
    let action = |constraint: &Value| constraint.text("whenUnsatisfiable").to_owned();
    for (index, constraint) in constraints.iter().enumerate() {
        let at = list.index(index);
        let skew = constraint.int("maxSkew").unwrap_or(0);
        check_positive(skew, &at.child("maxSkew"), errors);
        let key = constraint.text("topologyKey");
        if key.is_empty() {
            errors.required(&at.child("topologyKey"), "can not be empty");
        }
        let when = constraint.text("whenUnsatisfiable");
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        if !known.contains(&when) {
            errors.not_supported(&at.child("whenUnsatisfiable"), when, &known);
        }
        if constraints[index + 1..]
            .iter()
            .any(|other| other.text("topologyKey") == key && action(other) == when)
        {
            errors.duplicate(
                &at.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {when}}}"),
            );
        }
        if let Some(domains) = constraint.int("minDomains") {
            let at = at.child("minDomains");
            check_positive(domains, &at, errors);
            if when != "DoNotSchedule" {
                errors.invalid(
                    &at,
                    domains,
                    format!(
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
                    ),
                );
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = constraint.text(field);
            if constraint.has(field) && !matches!(policy, "Honor" | "Ignore") {
                errors.not_supported(&at.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        check_label_keys(constraint, &at, errors);
        check_selector(
            constraint.at("labelSelector"),
            &at.child("labelSelector"),
            errors,
        );
    }
}

fn check_positive(number: i64, at: &At, errors: &mut Errors) {
    if number <= 0 {
        errors.invalid(at, number, "must be greater than zero");
    }
}

fn check_label_keys(term: &Value, at: &At, errors: &mut Errors) {
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let keys = term.items(field);
        if keys.is_empty() {
            continue;
        }
        let list = at.child(field);
        if !term.has("labelSelector") {
            errors.forbidden(&list, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            let key = key.as_str().unwrap_or("");
            errors.all_invalid(&list.index(index), key, names::qualified_name(key));
        }
    }
}

pub(super) fn check_affinity(affinity: &Value, at: &At, errors: &mut Errors) {
    let node = affinity.at("nodeAffinity");
    let node_at = at.child("nodeAffinity");
    if node.has(REQUIRED) {
        check_node_selector(node.at(REQUIRED), &node_at.child(REQUIRED), errors);
    }
    let list = node_at.child(PREFERRED);
    for (index, term) in node.items(PREFERRED).iter().enumerate() {
        let at = list.index(index);
        check_weight(term, &at, errors);
        check_node_term(term.at("preference"), true, &at.child("preference"), errors);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let (part, at) = (affinity.at(name), at.child(name));
        let list = at.child(REQUIRED);
        for (index, term) in part.items(REQUIRED).iter().enumerate() {
            check_pod_term(term, &list.index(index), errors);
        }
        let list = at.child(PREFERRED);
        for (index, term) in part.items(PREFERRED).iter().enumerate() {
            let at = list.index(index);
            check_weight(term, &at, errors);
            check_pod_term(
                term.at("podAffinityTerm"),
                &at.child("podAffinityTerm"),
                errors,
            );
        }
    }
}

fn check_weight(term: &Value, at: &At, errors: &mut Errors) {
    let weight = term.int("weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(&at.child("weight"), weight, "must be in the range 1-100");
    }
}

/// Checks a `NodeSelector`, of pods and of persistent volumes.
pub(crate) fn check_node_selector(selector: &Value, at: &At, errors: &mut Errors) {
    let list = at.child("nodeSelectorTerms");
    let terms = selector.items("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&list, "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        check_node_term(term, false, &list.index(index), errors);
    }
}

fn check_node_term(term: &Value, any_value: bool, at: &At, errors: &mut Errors) {
    let list = at.child("matchExpressions");
    for (index, requirement) in term.items("matchExpressions").iter().enumerate() {
        check_node_requirement(requirement, any_value, &list.index(index), errors);
    }
    let list = at.child("matchFields");
    for (index, requirement) in term.items("matchFields").iter().enumerate() {
        check_field_requirement(requirement, &list.index(index), errors);
    }
}

fn check_node_requirement(requirement: &Value, any_value: bool, at: &At, errors: &mut Errors) {
    let values = requirement.items("values");
    let list = at.child("values");
    match requirement.text("operator") {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(
                    &list,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(
                    &list,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required(
                    &list,
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
        }
        other => errors.invalid(
            &at.child("operator"),
            other,
            "not a valid selector operator",
        ),
    }
    let key = requirement.text("key");
    errors.all_invalid(&at.child("key"), key, names::qualified_name(key));
    if any_value {
        return;
    }
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or("");
        errors.all_invalid(&list.index(index), value, names::label_value(value));
    }
}

fn check_field_requirement(requirement: &Value, at: &At, errors: &mut Errors) {
    let values = requirement.items("values");
    let list = at.child("values");
    match requirement.text("operator") {
        "In" | "NotIn" => {
            if values.len() != 1 {
                errors.required(
                    &list,
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                );
            }
        }
        other => errors.invalid(
            &at.child("operator"),
            other,
            "not a valid selector operator",
        ),
    }
    let key = requirement.text("key");
    if key != "metadata.name" {
        errors.invalid(&at.child("key"), key, "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or("");
        errors.all_invalid(
            &list.index(index),
            value,
            NameRule::Subdomain.check(value, false),
        );
    }
}

fn check_pod_term(term: &Value, at: &At, errors: &mut Errors) {
    check_selector(term.at("labelSelector"), &at.child("labelSelector"), errors);
    check_selector(
        term.at("namespaceSelector"),
        &at.child("namespaceSelector"),
        errors,
    );
    for name in term.items("namespaces") {
        let name = name.as_str().unwrap_or("");
        errors.all_invalid(&at.child("namespace"), name, names::dns1123_label(name));
    }
    check_label_keys(term, at, errors);
    let key = term.text("topologyKey");
    let at = at.child("topologyKey");
    if key.is_empty() {
        errors.required(&at, "can not be empty");
    }
    errors.all_invalid(&at, key, names::qualified_name(key));
}

/// Turns `matchLabelKeys` and `mismatchLabelKeys` of a new pod into requirements on its own labels.
pub(super) fn merge_label_keys(pod: &mut Value) {
    let labels = pod.at("metadata").at("labels").clone();
    let Some(spec) = pod.inner("spec") else {
        return;
    };
    for constraint in spec.items_mut("topologySpreadConstraints") {
        merge_keys(constraint, &labels);
    }
    let Some(affinity) = spec.inner("affinity") else {
        return;
    };
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(part) = affinity.inner(name) else {
            continue;
        };
        for term in part.items_mut(REQUIRED) {
            merge_keys(term, &labels);
        }
        for weighted in part.items_mut(PREFERRED) {
            if let Some(term) = weighted.inner("podAffinityTerm") {
                merge_keys(term, &labels);
            }
        }
    }
}

fn merge_keys(term: &mut Value, labels: &Value) {
    let mut added = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term.items(field) {
            let key = key.as_str().unwrap_or("");
            if labels.has(key) {
                let requirement =
                    json!({"key": key, "operator": operator, "values": [labels.at(key)]});
                added.push(requirement);
            }
        }
    }
    let Some(selector) = term.inner("labelSelector") else {
        return;
    };
    if added.is_empty() {
        return;
    }
    let mut all = selector.items("matchExpressions").to_vec();
    all.extend(added);
    selector.put("matchExpressions", all);
}
