//! LimitRanges and ResourceQuotas: the bounds on what a namespace uses.

use fluyt_api::quantity::Quantity;
use serde_json::Value;

use super::pod::resources::{check_amount, check_name};
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");

pub(super) fn extend_limit_range(rules: &mut Rules) {
    rules.check = check_limit_range;
    rules.check_update = |new, _, errors| check_limit_range(new, errors);
}

pub(super) fn extend_quota(rules: &mut Rules) {
    rules.check = check_quota;
    rules.check_update = |new, old, errors| {
        check_quota(new, errors);
        let scopes = |quota: &Value| {
            let mut scopes = quota.at("spec").items("scopes").to_vec();
            scopes.sort_by_key(ToString::to_string);
            scopes
        };
        if scopes(new) != scopes(old) {
            errors.invalid(
                &SPEC.child("scopes"),
                new.at("spec").at("scopes").clone(),
                crate::errors::IMMUTABLE,
            );
        }
    };
    rules.check_status = |new, _, errors| {
        let at = At::root("status");
        for field in ["hard", "used"] {
            check_list(new.at("status").at(field), &at.child(field), errors);
        }
    };
}

fn check_list(list: &Value, at: &At, errors: &mut Errors) {
    for (name, amount) in list.as_object().into_iter().flatten() {
        let at = at.key(name);
        check_name(name, &at, errors);
        check_amount(name, amount.as_str().unwrap_or("0"), &at, errors);
    }
}

fn check_quota(quota: &Value, errors: &mut Errors) {
    let spec = quota.at("spec");
    check_list(spec.at("hard"), &SPEC.child("hard"), errors);
    let known = [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
    ];
    let scopes = spec.items("scopes");
    for scope in scopes.iter().filter_map(Value::as_str) {
        if !known.contains(&scope) {
            errors.invalid(&SPEC.child("scopes"), scope, "unsupported scope");
        }
    }
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    for (one, other) in [
        ("BestEffort", "NotBestEffort"),
        ("Terminating", "NotTerminating"),
    ] {
        if has(one) && has(other) {
            errors.invalid(&SPEC.child("scopes"), scopes.to_vec(), "conflicting scopes");
        }
    }
}

fn check_limit_range(range: &Value, errors: &mut Errors) {
    let list = SPEC.child("limits");
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in range.at("spec").items("limits").iter().enumerate() {
        let at = list.index(index);
        let kind = item.text("type");
        if kind.is_empty() {
            errors.required(&at.child("type"), "");
        }
        if seen.contains(&kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        seen.push(kind);
        for field in ["max", "min", "default", "defaultRequest"] {
            if kind == "Pod" && field.starts_with("default") && item.has(field) {
                errors.forbidden(
                    &at.child(field),
                    "may not be specified when `type` is 'Pod'",
                );
                continue;
            }
            check_list(item.at(field), &at.child(field), errors);
        }
        if kind == "PersistentVolumeClaim"
            && !item.at("min").has("storage")
            && !item.at("max").has("storage")
        {
            errors.required(
                &at.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
        check_order(item, &at, errors);
    }
}

/// Minimum, default request, default and maximum, in that order.
fn check_order(item: &Value, at: &At, errors: &mut Errors) {
    for (low, high, low_name, high_name) in [
        ("min", "max", "min", "max"),
        ("defaultRequest", "max", "default request", "max"),
        ("min", "defaultRequest", "min", "default request"),
        ("default", "max", "default", "max"),
        ("min", "default", "min", "default"),
        ("defaultRequest", "default", "default request", "default"),
    ] {
        for (name, small) in item.members(low) {
            let big = item.at(high).at(name);
            let (Some(small), Some(big)) = (small.as_str(), big.as_str()) else {
                continue;
            };
            let (Ok(a), Ok(b)) = (Quantity::parse(small), Quantity::parse(big)) else {
                continue;
            };
            if a > b {
                let field = at.child(low);
                errors.invalid(
                    &field.key(name),
                    small,
                    format!("{low_name} value {small} is greater than {high_name} value {big}"),
                );
            }
        }
    }
}
