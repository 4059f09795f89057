//! PriorityClasses: a number by name, fixed once made.

use serde_json::Value;

use crate::admission::{SYSTEM_CLUSTER_CRITICAL, SYSTEM_NODE_CRITICAL};
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::strategy::Rules;

const HIGHEST: i64 = 1_000_000_000;
const RESERVED: &str = "system-";

pub(super) fn extend(rules: &mut Rules) {
    rules.check = check;
    rules.check_update = |new, old, errors| {
        if new.int("value").unwrap_or(0) != old.int("value").unwrap_or(0) {
            errors.forbidden(&At::root("value"), "may not be changed in an update.");
        }
        errors.immutable(
            &At::root("preemptionPolicy"),
            new.at("preemptionPolicy"),
            old.at("preemptionPolicy"),
        );
    };
}

fn check(class: &Value, errors: &mut Errors) {
    let name = class.at("metadata").text("name");
    let value = class.int("value").unwrap_or(0);
    if name.starts_with(RESERVED) {
        if let Err(why) = check_known(name, value, class.is_true("globalDefault")) {
            let metadata = At::root("metadata");
            errors.forbidden(
                &metadata.child("name"),
                format!("priority class names with '{RESERVED}' prefix are reserved for system use only. error: {why}"),
            );
        }
    } else if value > HIGHEST {
        errors.forbidden(
            &At::root("value"),
            format!("maximum allowed value of a user defined priority is {HIGHEST}"),
        );
    }
    if class.has("preemptionPolicy") {
        errors.one_of(
            &At::root("preemptionPolicy"),
            class.text("preemptionPolicy"),
            &["PreemptLowerPriority", "Never"],
        );
    }
}

fn check_known(name: &str, value: i64, default: bool) -> Result<(), String> {
    let known = [SYSTEM_NODE_CRITICAL, SYSTEM_CLUSTER_CRITICAL];
    let Some((_, wanted)) = known.iter().find(|(known, _)| *known == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if value != *wanted {
        return Err(format!("value of {name} PriorityClass must be {wanted}"));
    }
    if default {
        return Err(format!(
            "globalDefault of {name} PriorityClass must be false"
        ));
    }
    Ok(())
}
