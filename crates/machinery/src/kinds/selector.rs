//! Checks of label selectors, which many kinds hold.
//!
//! Invariant: a selector that passes can be parsed.

use fluyt_api::names;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::meta::validate_labels;

/// Checks a `metav1.LabelSelector`; none is fine.
pub(crate) fn check_selector(selector: &Value, at: &At, errors: &mut Errors) {
    validate_labels(selector.at("matchLabels"), &at.child("matchLabels"), errors);
    let list = at.child("matchExpressions");
    for (index, requirement) in selector.items("matchExpressions").iter().enumerate() {
        check_requirement(requirement, &list.index(index), errors);
    }
}

/// Checks a selector that must be there and select something in particular.
pub(crate) fn check_selector_required(selector: &Value, at: &At, kind: &str, errors: &mut Errors) {
    if selector.is_null() {
        errors.required(at, "");
        return;
    }
    check_selector(selector, at, errors);
    if selector.members("matchLabels").next().is_none()
        && selector.items("matchExpressions").is_empty()
    {
        let shown = serde_json::json!({});
        errors.invalid(at, shown, format!("empty selector is invalid for {kind}"));
    }
}

fn check_requirement(requirement: &Value, at: &At, errors: &mut Errors) {
    let values = requirement.items("values");
    match requirement.text("operator") {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(
                    &at.child("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(
                    &at.child("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
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
    let list = at.child("values");
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or("");
        errors.all_invalid(&list.index(index), value, names::label_value(value));
    }
}
