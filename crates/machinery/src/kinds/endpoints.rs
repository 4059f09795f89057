//! Endpoints and EndpointSlices: addresses that can be reached and ports that can be told apart.

use std::net::IpAddr;

use fluyt_api::names;
use serde_json::Value;

use super::pod::spec::check_ip;
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::meta::NameRule;
use crate::strategy::Rules;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn extend_endpoints(rules: &mut Rules) {
    rules.check = check_endpoints;
    rules.check_update = |new, old, errors| {
        if new.at("subsets") != old.at("subsets") {
            check_endpoints(new, errors);
        }
    };
}

pub(super) fn extend_slice(rules: &mut Rules) {
    rules.check = check_slice;
    rules.check_update = |new, old, errors| {
        check_slice(new, errors);
        let at = At::root("addressType");
        errors.immutable(&at, new.at("addressType"), old.at("addressType"));
    };
}

fn check_endpoints(endpoints: &Value, errors: &mut Errors) {
    let list = At::root("subsets");
    for (index, subset) in endpoints.items("subsets").iter().enumerate() {
        let at = list.index(index);
        if subset.items("addresses").is_empty() && subset.items("notReadyAddresses").is_empty() {
            errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            let list = at.child(field);
            for (index, address) in subset.items(field).iter().enumerate() {
                check_address(address, &list.index(index), errors);
            }
        }
        let ports = subset.items("ports");
        let list = at.child("ports");
        for (index, port) in ports.iter().enumerate() {
            check_port(port, ports.len() > 1, &list.index(index), errors);
        }
    }
}

fn check_address(address: &Value, at: &At, errors: &mut Errors) {
    let ip = address.text("ip");
    check_ip(ip, &at.child("ip"), errors);
    check_names(address, at, errors);
    check_reachable(ip, &at.child("ip"), errors);
}

fn check_names(endpoint: &Value, at: &At, errors: &mut Errors) {
    let host = endpoint.text("hostname");
    if !host.is_empty() {
        errors.all_invalid(&at.child("hostname"), host, names::dns1123_label(host));
    }
    if endpoint.has("nodeName") {
        let node = endpoint.text("nodeName");
        errors.all_invalid(
            &at.child("nodeName"),
            node,
            NameRule::Subdomain.check(node, false),
        );
    }
}

/// Addresses that mean something else on every machine cannot be an endpoint.
pub(super) fn check_reachable(text: &str, at: &At, errors: &mut Errors) {
    let Ok(ip) = text.parse::<IpAddr>() else {
        return;
    };
    if ip.is_unspecified() {
        errors.invalid(at, text, format!("may not be unspecified ({ip})"));
    }
    if ip.is_loopback() {
        errors.invalid(
            at,
            text,
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        );
    }
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if link_local {
        errors.invalid(
            at,
            text,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        );
    }
    let multicast = match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] == 0xff02,
    };
    if multicast {
        errors.invalid(
            at,
            text,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}

fn check_port(port: &Value, named: bool, at: &At, errors: &mut Errors) {
    let name = port.text("name");
    if name.is_empty() {
        if named {
            errors.required(&at.child("name"), "");
        }
    } else {
        errors.all_invalid(&at.child("name"), name, names::dns1123_label(name));
    }
    let number = port.int("port").unwrap_or(0);
    for message in names::port_number(number) {
        errors.invalid(&at.child("port"), number, message);
    }
    errors.one_of(&at.child("protocol"), port.text("protocol"), &PROTOCOLS);
}

fn check_slice(slice: &Value, errors: &mut Errors) {
    let kind = slice.text("addressType");
    let at = At::root("addressType");
    if kind.is_empty() {
        errors.required(&at, "");
    } else if !matches!(kind, "FQDN" | "IPv4" | "IPv6") {
        errors.not_supported(&at, kind, &["FQDN", "IPv4", "IPv6"]);
    }
    check_slice_ports(slice, errors);
    let list = At::root("endpoints");
    let endpoints = slice.items("endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(&list, endpoints.len(), MAX_ENDPOINTS);
        return;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let at = list.index(index);
        check_slice_addresses(endpoint, kind, &at.child("addresses"), errors);
        check_names(endpoint, &at, errors);
    }
}

fn check_slice_addresses(endpoint: &Value, kind: &str, list: &At, errors: &mut Errors) {
    let addresses = endpoint.items("addresses");
    if addresses.is_empty() {
        errors.required(list, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(list, addresses.len(), MAX_ADDRESSES);
    }
    for (index, address) in addresses.iter().enumerate() {
        let at = list.index(index);
        let text = address.as_str().unwrap_or("");
        if kind == "FQDN" {
            errors.all_invalid(&at, text, names::dns1123_subdomain(text));
            continue;
        }
        check_ip(text, &at, errors);
        match (text.parse::<IpAddr>(), kind) {
            (Ok(IpAddr::V6(_)), "IPv4") => errors.invalid(list, text, "must be an IPv4 address"),
            (Ok(IpAddr::V4(_)), "IPv6") => errors.invalid(list, text, "must be an IPv6 address"),
            _ => {}
        }
        check_reachable(text, &at, errors);
    }
}

fn check_slice_ports(slice: &Value, errors: &mut Errors) {
    let list = At::root("ports");
    let ports = slice.items("ports");
    if ports.len() > MAX_PORTS {
        errors.too_many(&list, ports.len(), MAX_PORTS);
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = list.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            errors.all_invalid(&at.child("name"), name, names::dns1123_label(name));
        }
        if seen.contains(&name) {
            errors.duplicate(&at.child("name"), name);
        }
        seen.push(name);
        errors.one_of(&at.child("protocol"), port.text("protocol"), &PROTOCOLS);
        if let Some(number) = port.int("port") {
            for message in names::port_number(number) {
                errors.invalid(&at.child("port"), number, message);
            }
        }
    }
}
