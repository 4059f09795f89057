//! Network policies and ingresses.

use fluyt_api::names;
use serde_json::Value;

use super::check_selector;
use super::node::is_cidr;
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::meta::NameRule;
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");

pub(super) fn extend_policy(rules: &mut Rules) {
    rules.check = check_policy;
    rules.check_update = |new, _, errors| check_policy(new, errors);
}

pub(super) fn extend_ingress(rules: &mut Rules) {
    rules.check = check_ingress;
    rules.check_update = |new, _, errors| check_ingress(new, errors);
}

fn check_policy(policy: &Value, errors: &mut Errors) {
    let spec = policy.at("spec");
    check_selector(spec.at("podSelector"), &SPEC.child("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = SPEC.child(direction);
        for (index, rule) in spec.items(direction).iter().enumerate() {
            let at = list.index(index);
            let ports = at.child("ports");
            for (index, port) in rule.items("ports").iter().enumerate() {
                check_port(port, &ports.index(index), errors);
            }
            let list = at.child(peers);
            for (index, peer) in rule.items(peers).iter().enumerate() {
                check_peer(peer, &list.index(index), errors);
            }
        }
    }
    let list = SPEC.child("policyTypes");
    let types = spec.items("policyTypes");
    if types.len() > 2 {
        errors.invalid(
            &list,
            types.to_vec(),
            "may not specify more than two policyTypes",
        );
        return;
    }
    for (index, kind) in types.iter().enumerate() {
        let kind = kind.as_str().unwrap_or("");
        if !matches!(kind, "Ingress" | "Egress") {
            errors.not_supported(&list.index(index), kind, &["Egress", "Ingress"]);
        }
    }
}

fn check_port(port: &Value, at: &At, errors: &mut Errors) {
    let protocol = port.text("protocol");
    if port.has("protocol") && !matches!(protocol, "TCP" | "UDP" | "SCTP") {
        errors.not_supported(&at.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    }
    if port.has("port") {
        super::pod::check_port(port.at("port"), &at.child("port"), errors);
        if let (Some(first), Some(last)) = (port.int("port"), port.int("endPort"))
            && last < first
        {
            errors.invalid(
                &at.child("endPort"),
                last,
                "must be greater than or equal to `port`",
            );
        }
    } else if port.has("endPort") {
        errors.required(
            &at.child("port"),
            "must be specified if `endPort` is specified",
        );
    }
}

fn check_peer(peer: &Value, at: &At, errors: &mut Errors) {
    let mut forms = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if peer.has(field) {
            forms += 1;
            check_selector(peer.at(field), &at.child(field), errors);
        }
    }
    if peer.has("ipBlock") {
        let (block, block_at) = (peer.at("ipBlock"), at.child("ipBlock"));
        let cidr = block.text("cidr");
        if cidr.is_empty() {
            errors.required(&block_at.child("cidr"), "");
        } else if !is_cidr(cidr) {
            errors.invalid(
                &block_at.child("cidr"),
                cidr,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            );
        }
        if forms > 0 {
            errors.forbidden(at, "may not specify both ipBlock and another peer");
        }
        forms += 1;
    }
    if forms == 0 {
        errors.required(at, "must specify a peer");
    }
}

fn check_ingress(ingress: &Value, errors: &mut Errors) {
    let spec = ingress.at("spec");
    let rules = spec.items("rules");
    if rules.is_empty() && !spec.has("defaultBackend") {
        errors.invalid(
            &SPEC,
            rules.to_vec(),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if spec.has("defaultBackend") {
        check_backend(
            spec.at("defaultBackend"),
            &SPEC.child("defaultBackend"),
            errors,
        );
    }
    let list = SPEC.child("rules");
    for (index, rule) in rules.iter().enumerate() {
        let at = list.index(index);
        check_host(rule.text("host"), &at.child("host"), errors);
        if rule.has("http") {
            check_paths(rule.at("http"), &at.child("http"), errors);
        }
    }
    let class = spec.text("ingressClassName");
    if spec.has("ingressClassName") {
        errors.all_invalid(
            &SPEC.child("ingressClassName"),
            class,
            NameRule::Subdomain.check(class, false),
        );
    }
}

fn check_host(host: &str, at: &At, errors: &mut Errors) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid(at, host, "must be a DNS name, not an IP address");
    } else if host.contains('*') {
        errors.all_invalid(at, host, names::wildcard_dns1123_subdomain(host));
    } else {
        errors.all_invalid(at, host, names::dns1123_subdomain(host));
    }
}

fn check_paths(http: &Value, at: &At, errors: &mut Errors) {
    let list = at.child("paths");
    let paths = http.items("paths");
    if paths.is_empty() {
        errors.required(&list, "");
    }
    for (index, path) in paths.iter().enumerate() {
        let at = list.index(index);
        let text = path.text("path");
        match path.text("pathType") {
            "" => errors.required(&at.child("pathType"), "pathType must be specified"),
            "Exact" | "Prefix" => {
                if !text.starts_with('/') {
                    errors.invalid(&at.child("path"), text, "must be an absolute path");
                }
            }
            "ImplementationSpecific" => {
                if !text.is_empty() && !text.starts_with('/') {
                    errors.invalid(&at.child("path"), text, "must be an absolute path");
                }
            }
            other => errors.not_supported(
                &at.child("pathType"),
                other,
                &["Exact", "ImplementationSpecific", "Prefix"],
            ),
        }
        check_backend(path.at("backend"), &at.child("backend"), errors);
    }
}

fn check_backend(backend: &Value, at: &At, errors: &mut Errors) {
    let service = backend.at("service");
    match (service.is_null(), backend.has("resource")) {
        (false, true) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (true, false) => errors.required(at, "must specify a backend"),
        (true, true) => {}
        (false, false) => {
            let at = at.child("service");
            let name = service.text("name");
            if name.is_empty() {
                errors.required(&at.child("name"), "");
            } else {
                errors.all_invalid(&at.child("name"), name, names::dns1123_label(name));
            }
            let (port, at) = (service.at("port"), at.child("port"));
            match (port.text("name"), port.int("number").unwrap_or(0)) {
                ("", 0) => errors.required(&at, "port name or number is required"),
                ("", number) => {
                    for message in names::port_number(number) {
                        errors.invalid(&at.child("number"), number, message);
                    }
                }
                (name, 0) => errors.all_invalid(&at.child("name"), name, names::port_name(name)),
                _ => errors.invalid(&at, "", "cannot set both port name & port number"),
            }
        }
    }
}
