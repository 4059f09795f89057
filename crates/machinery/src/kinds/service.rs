//! Services: checks, and what an update keeps of the addresses and ports that were given to them.
//! Giving them is the API server's part.
//!
//! Invariant: `clusterIP` is the first of `clusterIPs`, or both are absent.

use std::collections::BTreeSet;

use fluyt_api::names;
use serde_json::{Value, json};

use super::node::is_cidr;
use super::pod::spec::check_ip;
use crate::at::At;
use crate::ctx::Ctx;
use crate::errors::{Errors, IMMUTABLE};
use crate::get::{Get, Put};
use crate::meta::validate_labels;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");

pub(super) fn extend(rules: &mut Rules) {
    rules.create = |service, _| sync_addresses(service.open("spec"));
    rules.update = update;
    rules.check = |service, errors| check(service, errors);
    rules.check_update = |new, old, errors| {
        check_update(new, old, errors);
        check(new, errors);
    };
    rules.warn = warn;
    rules.select = |service| {
        let spec = service.at("spec");
        vec![
            ("spec.clusterIP", spec.text("clusterIP").into()),
            ("spec.type", spec.text("type").into()),
        ]
    };
}

fn sync_addresses(spec: &mut Value) {
    let first = spec.items("clusterIPs").first().cloned();
    match first {
        None if !spec.text("clusterIP").is_empty() => {
            let ip = spec.at("clusterIP").clone();
            spec.put("clusterIPs", json!([ip]));
        }
        Some(first) if spec.text("clusterIP").is_empty() => spec.put("clusterIP", first),
        _ => {}
    }
}

fn is_headless(spec: &Value) -> bool {
    spec.text("clusterIP") == "None"
}

fn needs_address(spec: &Value) -> bool {
    matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_port(spec: &Value) -> bool {
    match spec.text("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.flag("allocateLoadBalancerNodePorts") != Some(false),
        _ => false,
    }
}

fn is_external(spec: &Value) -> bool {
    matches!(spec.text("type"), "NodePort" | "LoadBalancer")
        || (spec.text("type") == "ClusterIP" && !spec.items("externalIPs").is_empty())
}

fn needs_health_port(spec: &Value) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

/// Keeps what was given and the client did not repeat; drops what no longer applies.
fn update(new: &mut Value, old: &Value, _: &Ctx) {
    let before = old.at("spec");
    let spec = new.open("spec");
    if needs_address(before) && needs_address(spec) {
        if spec.text("clusterIP").is_empty() && spec.items("clusterIPs").is_empty() {
            spec.copy_from(before, "clusterIP");
            spec.copy_from(before, "clusterIPs");
        }
    } else if needs_address(before) && spec.at("clusterIP") == before.at("clusterIP") {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.pull(field);
        }
    }
    if needs_address(spec) {
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if !spec.has(field) {
                spec.copy_from(before, field);
            }
        }
    }
    if needs_node_port(before) && needs_node_port(spec) {
        keep_node_ports(spec, before);
    } else if needs_node_port(before) && !needs_node_port(spec) {
        for port in spec.items_mut("ports") {
            port.pull("nodePort");
        }
    }
    if needs_health_port(before) && needs_health_port(spec) {
        if spec.int("healthCheckNodePort").is_none() {
            spec.copy_from(before, "healthCheckNodePort");
        }
    } else if !needs_health_port(spec)
        && spec.at("healthCheckNodePort") == before.at("healthCheckNodePort")
    {
        spec.pull("healthCheckNodePort");
    }
    if is_external(before) && !is_external(spec) {
        spec.pull("externalTrafficPolicy");
    }
    if before.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer" {
        spec.pull("allocateLoadBalancerNodePorts");
        spec.pull("loadBalancerClass");
    }
    sync_addresses(spec);
    if new.at("spec").text("type") != "LoadBalancer" {
        new.open("status").put("loadBalancer", json!({}));
    }
}

fn keep_node_ports(spec: &mut Value, before: &Value) {
    let mut taken: BTreeSet<i64> = spec
        .items("ports")
        .iter()
        .filter_map(|port| port.int("nodePort"))
        .collect();
    for port in spec.items_mut("ports") {
        if port.int("nodePort").unwrap_or(0) != 0 {
            continue;
        }
        let same = before.items("ports").iter().find(|known| {
            known.text("protocol") == port.text("protocol") && known.int("port") == port.int("port")
        });
        if let Some(number) = same.and_then(|known| known.int("nodePort"))
            && taken.insert(number)
        {
            port.put("nodePort", number);
        }
    }
}

fn check(service: &Value, errors: &mut Errors) {
    let spec = service.at("spec");
    let kind = spec.text("type");
    if spec.items("ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    check_type(spec, kind, errors);
    check_ports(spec, errors);
    validate_labels(spec.at("selector"), &SPEC.child("selector"), errors);
    check_affinity(spec, errors);
    check_addresses(spec, errors);
    errors.one_of(
        &SPEC.child("type"),
        kind,
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    );
    check_balancer(spec, kind, errors);
    check_traffic(spec, errors);
}

fn check_type(spec: &Value, kind: &str, errors: &mut Errors) {
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let list = SPEC.child("clusterIPs");
            errors.invalid(
                &list.index(0),
                "None",
                format!("may not be set to 'None' for {kind} services"),
            );
        }
        "ExternalName" => {
            const FORBIDDEN: &str = "may not be set for ExternalName services";
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if spec.has(field) {
                    errors.forbidden(&SPEC.child(field), FORBIDDEN);
                }
            }
            let at = SPEC.child("externalName");
            let name = spec.text("externalName");
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.required(&at, "");
            } else {
                errors.all_invalid(&at, name, names::dns1123_subdomain(name));
            }
        }
        _ => {}
    }
}

fn check_ports(spec: &Value, errors: &mut Errors) {
    let list = SPEC.child("ports");
    let ports = spec.items("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = list.index(index);
        let name = port.text("name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(&at.child("name"), "");
            }
        } else {
            errors.all_invalid(&at.child("name"), name, names::dns1123_label(name));
            if !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
        let number = port.int("port").unwrap_or(0);
        for message in names::port_number(number) {
            errors.invalid(&at.child("port"), number, message);
        }
        errors.one_of(
            &at.child("protocol"),
            port.text("protocol"),
            &["SCTP", "TCP", "UDP"],
        );
        super::pod::check_port(port.at("targetPort"), &at.child("targetPort"), errors);
        let protocol = port.text("appProtocol");
        if port.has("appProtocol") {
            errors.all_invalid(
                &at.child("appProtocol"),
                protocol,
                names::qualified_name(protocol),
            );
        }
        if spec.text("type") == "ClusterIP" && port.int("nodePort").unwrap_or(0) != 0 {
            errors.forbidden(
                &at.child("nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            );
        }
    }
    check_unique_ports(ports, &list, errors);
}

fn check_unique_ports(ports: &[Value], list: &At, errors: &mut Errors) {
    let (mut node_ports, mut own) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let number = port.int("nodePort").unwrap_or(0);
        if number != 0 && !node_ports.insert((port.text("protocol"), number)) {
            errors.duplicate(&list.index(index).child("nodePort"), number);
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let (protocol, number) = (port.text("protocol"), port.int("port").unwrap_or(0));
        if !own.insert((protocol, number)) {
            errors.duplicate(
                &list.index(index),
                json!({"protocol": protocol, "port": number}),
            );
        }
    }
}

fn check_affinity(spec: &Value, errors: &mut Errors) {
    let affinity = spec.text("sessionAffinity");
    errors.one_of(
        &SPEC.child("sessionAffinity"),
        affinity,
        &["ClientIP", "None"],
    );
    let at = SPEC.child("sessionAffinityConfig");
    if affinity == "ClientIP" {
        let client = at.child("clientIP");
        let seconds = spec
            .at("sessionAffinityConfig")
            .at("clientIP")
            .int("timeoutSeconds");
        match seconds {
            None => errors.required(
                &client.child("timeoutSeconds"),
                "when session affinity type is ClientIP",
            ),
            Some(seconds) if !(1..=86_400).contains(&seconds) => errors.invalid(
                &client.child("timeoutSeconds"),
                seconds,
                "must be greater than 0 and less than 86400",
            ),
            Some(_) => {}
        }
    } else if spec.has("sessionAffinityConfig") {
        errors.forbidden(&at, "must not be set when session affinity is None");
    }
}

fn check_addresses(spec: &Value, errors: &mut Errors) {
    let list = SPEC.child("clusterIPs");
    let addresses = spec.items("clusterIPs");
    if let Some(first) = addresses.first()
        && first != spec.at("clusterIP")
    {
        errors.invalid(
            &list,
            addresses.to_vec(),
            "first value must match `clusterIP`",
        );
    }
    for (index, address) in addresses.iter().enumerate() {
        let text = address.as_str().unwrap_or("");
        if text == "None" {
            if addresses.len() > 1 {
                errors.invalid(
                    &list.index(index),
                    text,
                    "'None' must be the first and only value",
                );
            }
        } else {
            check_ip(text, &list.index(index), errors);
        }
    }
    if addresses.len() > 2 {
        errors.invalid(&list, addresses.to_vec(), "may only hold up to 2 values");
    }
    let families = SPEC.child("ipFamilies");
    for (index, family) in spec.items("ipFamilies").iter().enumerate() {
        let family = family.as_str().unwrap_or("");
        if !matches!(family, "IPv4" | "IPv6") {
            errors.not_supported(&families.index(index), family, &["IPv4", "IPv6"]);
        }
    }
    let policy = spec.text("ipFamilyPolicy");
    let known = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    if spec.has("ipFamilyPolicy") && !known.contains(&policy) {
        errors.not_supported(&SPEC.child("ipFamilyPolicy"), policy, &known);
    }
    let list = SPEC.child("externalIPs");
    for (index, ip) in spec.items("externalIPs").iter().enumerate() {
        let at = list.index(index);
        let text = ip.as_str().unwrap_or("");
        check_ip(text, &at, errors);
        super::endpoints::check_reachable(text, &at, errors);
    }
}

fn check_balancer(spec: &Value, kind: &str, errors: &mut Errors) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let ranges = spec.items("loadBalancerSourceRanges");
    let list = SPEC.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && kind != "LoadBalancer" {
        errors.forbidden(&list, ONLY);
    }
    for (index, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or("").trim();
        if !is_cidr(range) {
            errors.invalid(
                &list.index(index),
                range,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            );
        }
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if spec.has(field) && kind != "LoadBalancer" {
            errors.forbidden(&SPEC.child(field), ONLY);
        }
    }
}

fn check_traffic(spec: &Value, errors: &mut Errors) {
    let at = SPEC.child("externalTrafficPolicy");
    let policy = spec.text("externalTrafficPolicy");
    if is_external(spec) {
        errors.one_of(&at, policy, &["Cluster", "Local"]);
    } else if !policy.is_empty() {
        errors.invalid(
            &at,
            policy,
            "may only be set for externally-accessible services",
        );
    }
    let number = spec.int("healthCheckNodePort").unwrap_or(0);
    if number != 0 && !needs_health_port(spec) {
        errors.invalid(
            &SPEC.child("healthCheckNodePort"),
            number,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    let at = SPEC.child("internalTrafficPolicy");
    let policy = spec.text("internalTrafficPolicy");
    if needs_address(spec) {
        errors.one_of(&at, policy, &["Cluster", "Local"]);
    }
    let at = SPEC.child("trafficDistribution");
    let spread = spec.text("trafficDistribution");
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if spec.has("trafficDistribution") && !known.contains(&spread) {
        errors.not_supported(&at, spread, &known);
    }
}

/// The first address stays while the service keeps needing one.
fn check_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if !needs_address(spec) || !needs_address(before) {
        return;
    }
    let list = SPEC.child("clusterIPs");
    let first = |spec: &Value| spec.items("clusterIPs").first().cloned();
    if let Some(was) = first(before)
        && first(spec) != Some(was)
    {
        errors.invalid(
            &list,
            spec.items("clusterIPs").to_vec(),
            "may not change once set",
        );
    }
    let families = |spec: &Value| spec.items("ipFamilies").first().cloned();
    if let (Some(was), Some(is)) = (families(before), families(spec))
        && was != is
    {
        errors.invalid(&SPEC.child("ipFamilies").index(0), is, IMMUTABLE);
    }
}

fn warn(service: &Value) -> Vec<String> {
    let spec = service.at("spec");
    let mut found = Vec::new();
    let (external, kind) = (!spec.items("externalIPs").is_empty(), spec.text("type"));
    if is_headless(spec) {
        if external {
            found.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if !matches!(spec.text("sessionAffinity"), "" | "None") {
            found.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    } else if external && kind != "ExternalName" {
        found.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
                .to_owned(),
        );
    }
    if kind == "ExternalName" && external {
        found.push(format!(
            "spec.externalIPs is ignored when spec.type is {kind:?}"
        ));
    }
    if kind != "ExternalName" && !spec.text("externalName").is_empty() {
        found
            .push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    found
}
