//! Which pods stand behind a service, at which addresses and ports: common to endpoint slices and Endpoints. Pure.

use std::net::IpAddr;

use crate::objects::IntOrString;
use crate::objects::pod::Pod;
use crate::objects::service::{EndpointPort, Service, ServicePort};

/// Whether the pod is published at all. Terminating pods are where `with_terminating`.
pub fn is_published(pod: &Pod, with_terminating: bool) -> bool {
    !pod.phase.is_terminal() && !pod.ips.is_empty() && (with_terminating || !pod.meta.is_deleting())
}

/// The pod's first address of a family.
pub fn address(pod: &Pod, v6: bool) -> Option<&str> {
    pod.ips
        .iter()
        .map(|ip| &**ip)
        .find(|ip| is_v6(ip) == Some(v6))
}

pub fn is_v6(ip: &str) -> Option<bool> {
    ip.parse().ok().map(|ip: IpAddr| ip.is_ipv6())
}

/// The families that a service is published in: false is IPv4, true IPv6.
pub fn families(service: &Service) -> Vec<bool> {
    let named: Vec<bool> = service
        .spec
        .ip_families
        .iter()
        .map(|family| &**family == "IPv6")
        .collect();
    if !named.is_empty() {
        return named;
    }
    let ips = service
        .spec
        .cluster_ips
        .iter()
        .chain(std::iter::once(&service.spec.cluster_ip));
    let mut found: Vec<bool> = ips.filter_map(|ip| is_v6(ip)).collect();
    found.dedup();
    if found.is_empty() { vec![false] } else { found }
}

/// The number that a service's target port has in a pod.
pub fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let protocol = if port.protocol.is_empty() {
        "TCP"
    } else {
        &*port.protocol
    };
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => i32::try_from(*number).ok(),
        Some(IntOrString::Text(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::Text(name)) => {
            let named = pod
                .ports
                .iter()
                .find(|one| one.name == *name && &*one.protocol == protocol);
            named.map(|port| port.port)
        }
    }
}

/// The ports of a service in a pod, sorted. `None` if the service has no ports and is not headless: nothing is published then.
pub fn ports(service: &Service, pod: &Pod) -> Option<Vec<EndpointPort>> {
    if service.spec.ports.is_empty() {
        return service.is_headless().then(Vec::new);
    }
    let mut ports: Vec<EndpointPort> = service
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: port.name.to_string(),
                port: find_port(pod, port)?,
                protocol: if port.protocol.is_empty() {
                    "TCP".to_owned()
                } else {
                    port.protocol.to_string()
                },
                app_protocol: port.app_protocol.as_deref().map(str::to_owned),
            })
        })
        .collect();
    ports.sort();
    Some(ports)
}

/// A pod of the service's subdomain is known by its own host name.
pub fn hostname<'a>(service: &Service, pod: &'a Pod) -> Option<&'a str> {
    let named = !pod.hostname.is_empty() && pod.subdomain == service.metadata.name;
    named.then_some(&*pod.hostname)
}

/// Whether a change of a pod can change what is published of it.
pub fn matters(old: &Pod, new: &Pod) -> bool {
    old.ips != new.ips
        || old.is_ready() != new.is_ready()
        || old.meta.is_deleting() != new.meta.is_deleting()
        || old.phase.is_terminal() != new.phase.is_terminal()
        || old.meta.labels != new.meta.labels
        || old.node_name != new.node_name
        || old.ports != new.ports
        || (&old.hostname, &old.subdomain) != (&new.hostname, &new.subdomain)
        || old.meta.uid != new.meta.uid
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"},
            "spec": {"hostname": "h", "subdomain": "s", "containers": [{"ports": [
                {"name": "http", "containerPort": 8080}, {"name": "dns", "protocol": "UDP", "containerPort": 53}]}]},
            "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}))
        .unwrap()
    }

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap()
    }

    #[test]
    fn ports_are_found_by_number_and_name() {
        for (port, expected) in [
            (json!({"port": 80}), Some(80)),
            (json!({"port": 80, "targetPort": 81}), Some(81)),
            (json!({"port": 80, "targetPort": "http"}), Some(8080)),
            (json!({"port": 80, "targetPort": "dns"}), None),
            (
                json!({"port": 80, "targetPort": "dns", "protocol": "UDP"}),
                Some(53),
            ),
            (json!({"port": 80, "targetPort": "none"}), None),
        ] {
            let port: ServicePort = serde_json::from_value(port).unwrap();
            assert_eq!(find_port(&pod(), &port), expected, "{port:?}");
        }
        assert_eq!(
            ports(&service(json!({"clusterIP": "None"})), &pod()),
            Some(vec![])
        );
        assert_eq!(
            ports(&service(json!({"clusterIP": "10.0.0.9"})), &pod()),
            None
        );
    }

    #[test]
    fn families_and_addresses() {
        for (spec, expected) in [
            (json!({"ipFamilies": ["IPv6", "IPv4"]}), vec![true, false]),
            (json!({"clusterIP": "10.0.0.9"}), vec![false]),
            (json!({"clusterIP": "fd00::9"}), vec![true]),
            (json!({"clusterIP": "None"}), vec![false]),
        ] {
            assert_eq!(families(&service(spec)), expected);
        }
        assert_eq!(address(&pod(), false), Some("10.0.0.1"));
        assert_eq!(address(&pod(), true), Some("fd00::1"));
        assert_eq!(hostname(&service(json!({})), &pod()), Some("h"));
    }
}
