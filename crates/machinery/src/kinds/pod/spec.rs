//! Checks of a pod's spec as a whole, for pods and for templates of pods.
//!
//! Invariant: every check of upstream that the walkthrough's objects can meet has its place here or
//! in a module beside it, with upstream's path and message.

use std::collections::BTreeSet;

use fluyt_api::names;
use serde_json::Value;

use super::containers::{self, Pod};
use super::{placement, resources, security, volumes};
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::meta::{NameRule, validate_annotations, validate_labels};

const SPEC: At<'static> = At::root("spec");
const METADATA: At<'static> = At::root("metadata");
const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Checks a pod; its metadata has been checked.
pub(super) fn check_pod(pod: &Value, errors: &mut Errors) {
    let (metadata, spec) = (pod.at("metadata"), pod.at("spec"));
    check_annotations(
        metadata.at("annotations"),
        spec,
        &METADATA.child("annotations"),
        errors,
    );
    check(spec, metadata.text("name"), true, &SPEC, errors);
    check_tokens(spec, errors);
    containers::check_images(spec, &SPEC, errors);
}

/// Checks the template of pods in the field `template` of `holder`.
pub(crate) fn check_template(template: &Value, at: &At, errors: &mut Errors) {
    let metadata = template.at("metadata");
    validate_labels(metadata.at("labels"), &at.child("labels"), errors);
    validate_annotations(metadata.at("annotations"), &at.child("annotations"), errors);
    check_annotations(
        metadata.at("annotations"),
        template.at("spec"),
        &at.child("annotations"),
        errors,
    );
    let spec_at = at.child("spec");
    check(template.at("spec"), "", false, &spec_at, errors);
    if !template.at("spec").items("ephemeralContainers").is_empty() {
        errors.forbidden(
            &spec_at.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

fn check_annotations(annotations: &Value, spec: &Value, at: &At, errors: &mut Errors) {
    if annotations.has(MIRROR) && spec.text("nodeName").is_empty() {
        errors.invalid(
            &at.key(MIRROR),
            annotations.text(MIRROR),
            "must set spec.nodeName if mirror pod annotation is set",
        );
    }
    let cost = annotations.text(DELETION_COST);
    if annotations.has(DELETION_COST) && cost.parse::<i32>().is_err() {
        errors.invalid(&at.key(DELETION_COST), cost, "must be a 32bit integer");
    }
}

/// Checks a pod's spec. `name` is the pod's where there is one; `pod` tells a pod from a template.
fn check(spec: &Value, name: &str, pod: bool, at: &At, errors: &mut Errors) {
    let grace = spec.int("terminationGracePeriodSeconds");
    if grace.is_none() {
        errors.required(&at.child("terminationGracePeriodSeconds"), "");
    }
    let facts = Pod {
        volumes: volumes::check(spec, name, &at.child("volumes"), errors),
        claims: check_claims(spec, &at.child("resourceClaims"), errors),
        grace,
        restart_policy: spec.text("restartPolicy"),
        host_users: spec.flag("hostUsers") != Some(false),
    };
    containers::check(spec, &facts, at, errors);
    check_whole_resources(spec, &facts.claims, at, errors);
    check_host_network(spec, pod, at, errors);
    errors.one_of(
        &at.child("restartPolicy"),
        spec.text("restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    errors.one_of(
        &at.child("dnsPolicy"),
        spec.text("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    validate_labels(spec.at("nodeSelector"), &at.child("nodeSelector"), errors);
    security::check_pod(spec, at, errors);
    placement::check_affinity(spec.at("affinity"), &at.child("affinity"), errors);
    check_dns(spec, &at.child("dnsConfig"), errors);
    check_gates(spec, at, errors);
    placement::check_spreading(spec, &at.child("topologySpreadConstraints"), errors);
    check_names(spec, at, errors);
    if let Some(seconds) = spec.int("activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        errors.invalid(
            &at.child("activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        );
    }
    placement::check_tolerations(spec.items("tolerations"), &at.child("tolerations"), errors);
    check_aliases(spec, &at.child("hostAliases"), errors);
    if spec.has("preemptionPolicy") {
        errors.one_of(
            &at.child("preemptionPolicy"),
            spec.text("preemptionPolicy"),
            &["PreemptLowerPriority", "Never"],
        );
    }
    let overhead = at.child("overhead");
    for (name, amount) in spec.members("overhead") {
        let at = overhead.key(name);
        resources::check_name(name, &at, errors);
        resources::check_amount(name, amount.as_str().unwrap_or("0"), &at, errors);
    }
    check_os(spec, at, errors);
}

fn check_claims<'a>(spec: &'a Value, list: &At, errors: &mut Errors) -> Vec<&'a str> {
    let mut claims = Vec::new();
    for (index, claim) in spec.items("resourceClaims").iter().enumerate() {
        let at = list.index(index);
        let name = claim.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if claims.contains(&name) {
            errors.duplicate(&at.child("name"), name);
        } else {
            errors.all_invalid(&at.child("name"), name, names::dns1123_label(name));
            claims.push(name);
        }
        let direct = claim.has("resourceClaimName");
        let template = claim.has("resourceClaimTemplateName");
        if direct && template {
            errors.invalid(&at, claim.clone(), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
        } else if !direct && !template {
            errors.invalid(
                &at,
                claim.clone(),
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            );
        }
    }
    claims
}

/// Resources of the pod as a whole.
fn check_whole_resources(spec: &Value, claims: &[&str], at: &At, errors: &mut Errors) {
    let whole = spec.at("resources");
    if whole.is_null() {
        return;
    }
    let at = at.child("resources");
    if whole.has("claims") {
        errors.forbidden(
            &at.child("claims"),
            "claims may not be set for Resources at pod-level",
        );
    }
    resources::check(whole, claims, &at, errors);
    let list = at.child("requests");
    for (name, amount) in whole.members("requests") {
        let together = resources::requests(spec, name);
        let parse = fluyt_api::quantity::Quantity::parse;
        let text = amount.as_str().unwrap_or("0");
        if let (Ok(asked), Ok(sum)) = (parse(text), parse(&together))
            && sum > asked
        {
            errors.invalid(
                &list.key(name),
                text,
                format!(
                    "must be greater than or equal to aggregate container requests of {together}"
                ),
            );
        }
    }
}

fn check_host_network(spec: &Value, pod: bool, at: &At, errors: &mut Errors) {
    if !spec.is_true("hostNetwork") {
        return;
    }
    let list = at.child("containers");
    for (index, container) in spec.items("containers").iter().enumerate() {
        let place = list.index(index);
        let ports = place.child("ports");
        for (index, port) in container.items("ports").iter().enumerate() {
            let host = port.int("hostPort").unwrap_or(0);
            let own = port.int("containerPort").unwrap_or(0);
            if (pod || host != 0) && host != own {
                errors.invalid(
                    &ports.index(index).child("hostPort"),
                    host,
                    "must match `containerPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn check_dns(spec: &Value, at: &At, errors: &mut Errors) {
    let config = spec.at("dnsConfig");
    let (servers, searches) = (config.items("nameservers"), config.items("searches"));
    if spec.text("dnsPolicy") == "None" {
        if config.is_null() {
            errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errors.required(
                &at.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
            return;
        }
    }
    let list = at.child("nameservers");
    if servers.len() > 3 {
        errors.invalid(
            &list,
            servers.to_vec(),
            "must not have more than 3 nameservers",
        );
    }
    for (index, server) in servers.iter().enumerate() {
        check_ip(server.as_str().unwrap_or(""), &list.index(index), errors);
    }
    let list = at.child("searches");
    if searches.len() > 32 {
        errors.invalid(
            &list,
            searches.to_vec(),
            "must not have more than 32 search paths",
        );
    }
    for (index, search) in searches.iter().enumerate() {
        let search = search.as_str().unwrap_or("");
        if search != "." {
            let search = search.strip_suffix('.').unwrap_or(search);
            errors.all_invalid(
                &list.index(index),
                search,
                names::dns1123_subdomain_with_underscore(search),
            );
        }
    }
    let list = at.child("options");
    for (index, option) in config.items("options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors.required(&list.index(index), "must not be empty");
        }
    }
}

/// An IP address in a field that has always taken any spelling of one.
pub(crate) fn check_ip(text: &str, at: &At, errors: &mut Errors) {
    if text.parse::<std::net::IpAddr>().is_err() {
        errors.invalid(
            at,
            text,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}

fn check_gates(spec: &Value, at: &At, errors: &mut Errors) {
    let list = at.child("readinessGates");
    for (index, gate) in spec.items("readinessGates").iter().enumerate() {
        let condition = gate.text("conditionType");
        errors.all_invalid(
            &list.index(index).child("conditionType"),
            condition,
            names::qualified_name(condition),
        );
    }
    let list = at.child("schedulingGates");
    let mut seen = BTreeSet::new();
    for (index, gate) in spec.items("schedulingGates").iter().enumerate() {
        let name = gate.text("name");
        errors.all_invalid(&list.index(index), name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.duplicate(&list.index(index), name);
        }
    }
}

fn check_names(spec: &Value, at: &At, errors: &mut Errors) {
    for (field, rule) in [
        ("serviceAccountName", NameRule::Subdomain),
        ("nodeName", NameRule::Subdomain),
        ("hostname", NameRule::Label),
        ("subdomain", NameRule::Label),
        ("priorityClassName", NameRule::Subdomain),
        ("runtimeClassName", NameRule::Subdomain),
    ] {
        let name = spec.text(field);
        if !name.is_empty() {
            errors.all_invalid(&at.child(field), name, rule.check(name, false));
        }
    }
    let name = spec.text("hostnameOverride");
    if !spec.has("hostnameOverride") {
        return;
    }
    let at = at.child("hostnameOverride");
    if spec.is_true("setHostnameAsFQDN") {
        errors.forbidden(&at, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.is_true("hostNetwork") {
        errors.forbidden(&at, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        errors.too_long(&at, 64);
    }
    errors.all_invalid(&at, name, names::dns1123_subdomain(name));
}

fn check_aliases(spec: &Value, list: &At, errors: &mut Errors) {
    for (index, alias) in spec.items("hostAliases").iter().enumerate() {
        let at = list.index(index);
        check_ip(alias.text("ip"), &at.child("ip"), errors);
        let list = at.child("hostnames");
        for (index, name) in alias.items("hostnames").iter().enumerate() {
            let name = name.as_str().unwrap_or("");
            errors.all_invalid(&list.index(index), name, names::dns1123_subdomain(name));
        }
    }
}

fn check_os(spec: &Value, at: &At, errors: &mut Errors) {
    if !spec.has("os") {
        return;
    }
    let name = spec.at("os").text("name");
    let os = at.child("os");
    let at = os.child("name");
    if name.is_empty() {
        errors.required(&at, "cannot be empty");
    } else if !matches!(name, "linux" | "windows") {
        errors.not_supported(&at, name, &["linux", "windows"]);
    }
}

/// A token needs an account to speak for.
fn check_tokens(spec: &Value, errors: &mut Errors) {
    if !spec.text("serviceAccountName").is_empty() {
        return;
    }
    let list = SPEC.child("volumes");
    for (index, volume) in spec.items("volumes").iter().enumerate() {
        let at = list.index(index);
        let at = at.child("projected");
        let sources = at.child("sources");
        for (index, source) in volume.at("projected").items("sources").iter().enumerate() {
            if source.has("serviceAccountToken") {
                errors.forbidden(
                    &sources.index(index).child("serviceAccountToken"),
                    "must not be specified when serviceAccountName is not set",
                );
            }
        }
    }
}
