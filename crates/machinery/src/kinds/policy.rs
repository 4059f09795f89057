//! PodDisruptionBudgets.

use serde_json::Value;

use super::check_selector;
use super::workloads::{check_at_most_all, check_share};
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");

pub(super) fn extend(rules: &mut Rules) {
    rules.check = check;
    rules.check_update = |new, _, errors| check(new, errors);
}

fn check(budget: &Value, errors: &mut Errors) {
    let spec = budget.at("spec");
    if spec.has("minAvailable") && spec.has("maxUnavailable") {
        errors.invalid(
            &SPEC,
            spec.clone(),
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if spec.has(field) {
            check_share(spec.at(field), &SPEC.child(field), errors);
            check_at_most_all(spec.at(field), &SPEC.child(field), errors);
        }
    }
    check_selector(spec.at("selector"), &SPEC.child("selector"), errors);
    let policy = spec.text("unhealthyPodEvictionPolicy");
    let known = ["AlwaysAllow", "IfHealthyBudget"];
    if spec.has("unhealthyPodEvictionPolicy") && !known.contains(&policy) {
        errors.not_supported(&SPEC.child("unhealthyPodEvictionPolicy"), policy, &known);
    }
}
