//! What containers ask for and may use: the checks, the quality of service that follows, and the
//! sum a pod asks for as a whole.
//!
//! Invariant: an amount that cannot be read counts as zero here; the codec lets none through.

use fluyt_api::names;
use fluyt_api::quantity::Quantity;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;

const NEGATIVE: &str = "must be greater than or equal to 0";
const FRACTION: &str = "must be an integer";

/// The amount of one resource in a list; none when the list does not name it.
fn amount(list: &Value, resource: &str) -> Option<Quantity> {
    Quantity::parse(list.at(resource).as_str()?).ok()
}

fn is_hugepages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Resources of the platform itself, as opposed to those that vendors add.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a container may ask for less than it may use.
fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_hugepages(name)
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Checks the name of a resource of any kind of object.
pub(crate) fn check_name(name: &str, at: &At, errors: &mut Errors) -> bool {
    let messages = names::qualified_name(name);
    if !messages.is_empty() {
        errors.all_invalid(at, name, messages);
        return false;
    }
    if !name.contains('/') && !is_standard(name) {
        errors.invalid(
            at,
            name,
            "must be a standard resource type or fully qualified",
        );
        return false;
    }
    true
}

/// Names without a domain that mean something to the platform.
fn is_standard(name: &str) -> bool {
    const STANDARD: [&str; 26] = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "requests.storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
        "resourceclaims",
        "limits.storage",
        "nodes",
        "bindings",
        "endpoints",
        "serviceaccounts",
    ];
    STANDARD.contains(&name)
        || is_hugepages(name)
        || name.starts_with("requests.hugepages-")
        || name.starts_with("count/")
}

fn check_container_name(name: &str, at: &At, errors: &mut Errors) {
    check_name(name, at, errors);
    if !name.contains('/') {
        let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_hugepages(name);
        if !known {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// Checks one amount.
pub(crate) fn check_amount(name: &str, text: &str, at: &At, errors: &mut Errors) {
    let Ok(quantity) = Quantity::parse(text) else {
        return;
    };
    if text.starts_with('-') {
        errors.invalid(at, text, NEGATIVE);
    }
    let whole = is_extended(name)
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "secrets"
                | "configmaps"
                | "resourcequotas"
                | "persistentvolumeclaims"
        );
    if whole && quantity.milli_value() % 1000 != 0 {
        errors.invalid(at, text, FRACTION);
    }
}

/// Checks the resource requirements of a container.
pub(super) fn check(requirements: &Value, claims: &[&str], at: &At, errors: &mut Errors) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    let (mut compute, mut huge) = (false, false);
    let mut note = |name: &str| {
        compute |= matches!(name, "cpu" | "memory");
        huge |= is_hugepages(name);
    };
    for (name, text) in requirements.members("limits") {
        let at = limits.key(name);
        check_container_name(name, &at, errors);
        check_amount(name, text.as_str().unwrap_or("0"), &at, errors);
        note(name);
    }
    for (name, text) in requirements.members("requests") {
        let at = requests.key(name);
        let text = text.as_str().unwrap_or("0");
        check_container_name(name, &at, errors);
        check_amount(name, text, &at, errors);
        note(name);
        let limit = requirements.at("limits").at(name).as_str();
        check_request(name, text, limit, &requests, &limits, errors);
    }
    if huge && !compute {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    check_claims(requirements, claims, &at.child("claims"), errors);
}

fn check_request(
    name: &str,
    text: &str,
    limit: Option<&str>,
    requests: &At,
    limits: &At,
    errors: &mut Errors,
) {
    let Some(limit) = limit else {
        if !may_overcommit(name) {
            errors.required(limits, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    if limit == text {
        return;
    }
    let (Ok(asked), Ok(most)) = (Quantity::parse(text), Quantity::parse(limit)) else {
        return;
    };
    if asked != most && !may_overcommit(name) {
        errors.invalid(
            requests,
            text,
            format!("must be equal to {name} limit of {limit}"),
        );
    } else if asked > most {
        errors.invalid(
            requests,
            text,
            format!("must be less than or equal to {name} limit of {limit}"),
        );
    }
}

fn check_claims(requirements: &Value, claims: &[&str], list: &At, errors: &mut Errors) {
    let mut seen: Vec<String> = Vec::new();
    for (index, claim) in requirements.items("claims").iter().enumerate() {
        let at = list.index(index);
        let (name, request) = (claim.text("name"), claim.text("request"));
        if name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let key = if request.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{request}")
        };
        if seen.contains(&key) || seen.iter().any(|known| known == name) {
            errors.duplicate(&at, key.clone());
        }
        seen.push(key);
        if !claims.contains(&name) {
            errors.not_found(&at, name);
        }
    }
}

/// The quality of service of a pod: Guaranteed, Burstable or BestEffort.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let whole = spec.at("resources");
    if whole.has("requests") || whole.has("limits") {
        return class_of(&[whole]);
    }
    let all: Vec<&Value> = spec
        .items("containers")
        .iter()
        .chain(spec.items("initContainers"))
        .map(|container| container.at("resources"))
        .collect();
    class_of(&all)
}

fn class_of(all: &[&Value]) -> &'static str {
    let positive = |list: &Value, name: &str| {
        amount(list, name).is_some_and(|quantity| quantity.milli_value() > 0)
    };
    let (mut any, mut guaranteed) = (false, true);
    for resources in all {
        for name in ["cpu", "memory"] {
            let (request, limit) = (resources.at("requests"), resources.at("limits"));
            any |= positive(request, name) || positive(limit, name);
            guaranteed &= positive(limit, name);
            if positive(request, name) {
                guaranteed &= request.at(name) == limit.at(name)
                    || amount(request, name) == amount(limit, name);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// What a pod asks for of one resource: the containers that run together, or the init container
/// that asks for most beside the sidecars started before it.
pub(crate) fn requests(spec: &Value, resource: &str) -> String {
    let of = |container: &Value| amount(container.at("resources").at("requests"), resource);
    let zero = || Quantity::from_milli(0);
    let mut together = spec
        .items("containers")
        .iter()
        .filter_map(of)
        .fold(zero(), |sum, quantity| sum.add(&quantity));
    let (mut sidecars, mut most) = (zero(), zero());
    for container in spec.items("initContainers") {
        let asked = of(container).unwrap_or_else(zero);
        if container.text("restartPolicy") == "Always" {
            together = together.add(&asked);
            sidecars = sidecars.add(&asked);
            most = most.max(sidecars.clone());
        } else {
            most = most.max(sidecars.add(&asked));
        }
    }
    together.max(most).to_string()
}
