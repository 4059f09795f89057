//! Nodes: they come with their status, which the node itself reports.
//!
//! Invariant: a node's pod CIDRs are given once and stay.

use fluyt_api::names;
use fluyt_api::quantity::Quantity;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");
const STATUS: At<'static> = At::root("status");

pub(super) fn extend(rules: &mut Rules) {
    rules.keep_status_on_create = true;
    rules.check = |node, errors| {
        check_taints(node, errors);
        check_cidrs(node, errors);
        check_resources(node, errors);
    };
    rules.check_update = |new, old, errors| {
        check_taints(new, errors);
        check_update(new, old, errors);
    };
    rules.check_status = |new, _, errors| {
        check_addresses(new, errors);
        check_resources(new, errors);
    };
    rules.select = |node| {
        let unschedulable = node.at("spec").is_true("unschedulable");
        vec![("spec.unschedulable", unschedulable.to_string())]
    };
}

fn check_taints(node: &Value, errors: &mut Errors) {
    let list = SPEC.child("taints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in node.at("spec").items("taints").iter().enumerate() {
        let at = list.index(index);
        let (key, effect) = (taint.text("key"), taint.text("effect"));
        errors.all_invalid(&at.child("key"), key, names::qualified_name(key));
        let value = taint.text("value");
        let messages = names::label_value(value);
        if !messages.is_empty() {
            errors.invalid(&at.child("value"), value, messages.join(";"));
        }
        errors.one_of(
            &at.child("effect"),
            effect,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
        );
        if seen.contains(&(key, effect)) {
            errors.invalid(
                &at,
                taint.clone(),
                "taints must be unique by key and effect pair",
            );
        }
        seen.push((key, effect));
    }
}

fn check_cidrs(node: &Value, errors: &mut Errors) {
    let list = SPEC.child("podCIDRs");
    let cidrs = node.at("spec").items("podCIDRs");
    for (index, cidr) in cidrs.iter().enumerate() {
        let cidr = cidr.as_str().unwrap_or("");
        if !is_cidr(cidr) {
            errors.invalid(
                &list.index(index),
                cidr,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            );
        }
    }
    if cidrs.len() > 2 {
        errors.invalid(
            &list,
            cidrs.to_vec(),
            "may specify no more than one CIDR for each IP family",
        );
    }
}

/// Whether a text is an address and a prefix length.
pub(crate) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let max = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= max)
}

fn check_resources(node: &Value, errors: &mut Errors) {
    for field in ["capacity", "allocatable"] {
        let list = STATUS.child(field);
        for (name, amount) in node.at("status").members(field) {
            // Names are not checked: drivers have published limits under names of their own, as in attachable-volumes-csi-DRIVER.
            let at = list.child(name);
            let amount = amount.as_str().unwrap_or("0");
            if Quantity::parse(amount).is_ok_and(|amount| amount.value() < 0) {
                errors.invalid(&at, amount, "must be greater than or equal to 0");
            }
        }
    }
}

fn check_addresses(node: &Value, errors: &mut Errors) {
    let list = STATUS.child("addresses");
    let mut seen: Vec<&Value> = Vec::new();
    for (index, address) in node.at("status").items("addresses").iter().enumerate() {
        if seen.contains(&address) {
            errors.duplicate(&list.index(index), address.clone());
        }
        seen.push(address);
    }
}

fn check_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if !before.items("podCIDRs").is_empty() && before.at("podCIDRs") != spec.at("podCIDRs") {
        errors.forbidden(
            &SPEC.child("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        );
    } else {
        check_cidrs(new, errors);
    }
    let provider = before.text("providerID");
    if !provider.is_empty() && provider != spec.text("providerID") {
        errors.forbidden(
            &SPEC.child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
}
