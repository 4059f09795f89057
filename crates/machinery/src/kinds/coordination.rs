//! Leases: who holds something, and for how long.

use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");

pub(super) fn extend(rules: &mut Rules) {
    rules.check = check;
    rules.check_update = |new, _, errors| check(new, errors);
}

fn check(lease: &Value, errors: &mut Errors) {
    let spec = lease.at("spec");
    if let Some(seconds) = spec.int("leaseDurationSeconds")
        && seconds <= 0
    {
        errors.invalid(
            &SPEC.child("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        );
    }
    errors.non_negative(
        &SPEC.child("leaseTransitions"),
        spec.int("leaseTransitions").unwrap_or(0),
    );
    let strategy = spec.text("strategy");
    if spec.has("strategy") && strategy != "OldestEmulationVersion" {
        errors.not_supported(
            &SPEC.child("strategy"),
            strategy,
            &["OldestEmulationVersion"],
        );
    }
    if !spec.text("preferredHolder").is_empty() && strategy.is_empty() {
        errors.forbidden(
            &SPEC.child("preferredHolder"),
            "may only be specified if `strategy` is defined",
        );
    }
}
