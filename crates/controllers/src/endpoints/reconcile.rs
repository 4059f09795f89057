//! The Endpoints object of a service. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::endpointslice::backends::{address, families, hostname, is_published, ports};
use crate::endpointslice::reconcile::HEADLESS;
use crate::objects::pod::Pod;
use crate::objects::service::{EndpointPort, Endpoints, Service, pod_reference};

/// Says that this controller, and nobody else, writes the object.
pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub const CONTROLLER: &str = "endpoint-controller";
pub const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses that one object may have.
pub const CAPACITY: usize = 1000;

/// Addresses of equal ports: (ready, not ready), by address.
#[derive(Default)]
struct Subset {
    ready: BTreeMap<(IpAddr, String), Value>,
    not_ready: BTreeMap<(IpAddr, String), Value>,
}

/// The subsets, and whether addresses had to be left out.
pub fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Value, bool) {
    let publish_all = service.spec.publish_not_ready_addresses;
    let v6 = families(service).first().copied().unwrap_or(false);
    let mut subsets: BTreeMap<Vec<EndpointPort>, Subset> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_published(pod, publish_all)) {
        let (Some(ip), Some(ports)) = (address(pod, v6), ports(service, pod)) else {
            continue;
        };
        let Ok(parsed) = ip.parse::<IpAddr>() else {
            continue;
        };
        if ports.is_empty() && !service.spec.ports.is_empty() {
            continue;
        }
        let subset = subsets.entry(ports).or_default();
        let side = if publish_all || pod.is_ready() {
            &mut subset.ready
        } else {
            &mut subset.not_ready
        };
        side.insert(
            (parsed, pod.meta.uid.to_string()),
            endpoint(service, pod, ip),
        );
    }
    let over = truncate(&mut subsets);
    let list = subsets.into_iter().map(|(ports, subset)| {
        let mut object = Map::new();
        let sides = [
            ("addresses", subset.ready),
            ("notReadyAddresses", subset.not_ready),
        ];
        for (name, side) in sides.into_iter().filter(|(_, side)| !side.is_empty()) {
            object.insert(name.to_owned(), Value::Array(side.into_values().collect()));
        }
        if !ports.is_empty() {
            object.insert(
                "ports".to_owned(),
                Value::Array(ports.iter().map(port).collect()),
            );
        }
        Value::Object(object)
    });
    (Value::Array(list.collect()), over)
}

/// Unlike in slices, an empty name is left out.
fn port(port: &EndpointPort) -> Value {
    let mut value = json!(port);
    if port.name.is_empty()
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("name");
    }
    value
}

fn endpoint(service: &Service, pod: &Pod, ip: &str) -> Value {
    let mut endpoint = json!({"ip": ip, "targetRef": pod_reference(&pod.meta)});
    if !pod.node_name.is_empty() {
        endpoint["nodeName"] = json!(pod.node_name);
    }
    if let Some(hostname) = hostname(service, pod) {
        endpoint["hostname"] = json!(hostname);
    }
    endpoint
}

/// Leaves out what is beyond the capacity: addresses that are not ready first.
fn truncate(subsets: &mut BTreeMap<Vec<EndpointPort>, Subset>) -> bool {
    let total: usize = subsets
        .values()
        .map(|subset| subset.ready.len() + subset.not_ready.len())
        .sum();
    if total <= CAPACITY {
        return false;
    }
    let mut room = CAPACITY;
    for subset in subsets.values_mut() {
        cut(&mut subset.ready, &mut room);
    }
    for subset in subsets.values_mut() {
        cut(&mut subset.not_ready, &mut room);
    }
    subsets.retain(|_, subset| !subset.ready.is_empty() || !subset.not_ready.is_empty());
    true
}

fn cut(side: &mut BTreeMap<(IpAddr, String), Value>, room: &mut usize) {
    while side.len() > *room {
        side.pop_last();
    }
    *room -= side.len();
}

/// The labels of the object: the service's, and this controller's mark.
pub fn labels(service: &Service) -> Map<String, Value> {
    let inherited = service
        .metadata
        .labels
        .iter()
        .filter(|(key, _)| *key != HEADLESS);
    let mut labels: Map<String, Value> = inherited
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    if service.is_headless() || service.spec.cluster_ip.is_empty() {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels.insert(MANAGED_BY.to_owned(), json!(CONTROLLER));
    labels
}

/// Whether the object is as it should be already.
pub fn is_current(
    present: &Endpoints,
    subsets: &Value,
    labels: &Map<String, Value>,
    over: bool,
) -> bool {
    let stored = match present.subsets.value() {
        Value::Null => json!([]),
        stored => stored,
    };
    let have = &present.metadata.labels;
    let same_labels = have.len() == labels.len()
        && have
            .iter()
            .all(|(key, value)| labels.get(key).and_then(Value::as_str) == Some(value));
    stored == *subsets
        && same_labels
        && over == present.metadata.annotations.contains_key(OVER_CAPACITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n", "labels": {"team": "a"}}, "spec": spec}))
            .unwrap()
    }

    fn pod(name: &str, ip: &str, ready: bool, deleting: bool, port: i32) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let object = json!({
            "metadata": {"name": name, "namespace": "n", "uid": name,
                "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")},
            "spec": {"nodeName": "node1", "containers": [{"ports": [{"name": "web", "containerPort": port}]}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn ready_pods_are_addresses() {
        let service = service(
            json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80, "targetPort": "web"}]}),
        );
        let pods = [
            pod("b", "10.0.0.10", true, false, 8080),
            pod("a", "10.0.0.9", true, false, 8080),
            pod("c", "10.0.0.3", false, false, 8080),
            pod("d", "10.0.0.4", true, true, 8080),
            pod("e", "10.0.0.5", true, false, 9090),
        ];
        let (subsets, over) = subsets(&service, &pods);
        assert!(!over);
        let ips = |list: &Value| {
            list.as_array()
                .unwrap()
                .iter()
                .map(|one| one["ip"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ips(&subsets[0]["addresses"]),
            ["10.0.0.9", "10.0.0.10"],
            "by address, not by text"
        );
        assert_eq!(ips(&subsets[0]["notReadyAddresses"]), ["10.0.0.3"]);
        assert_eq!(
            subsets[0]["ports"],
            json!([{"port": 8080, "protocol": "TCP"}])
        );
        assert_eq!(
            ips(&subsets[1]["addresses"]),
            ["10.0.0.5"],
            "another port, another subset"
        );
        assert_eq!(
            subsets[0]["addresses"][0],
            json!({"ip": "10.0.0.9", "nodeName": "node1",
                "targetRef": {"kind": "Pod", "namespace": "n", "name": "a", "uid": "a"}})
        );
    }

    #[test]
    fn a_thousand_addresses_are_the_limit() {
        let service = service(json!({"clusterIP": "None"}));
        let pods: Vec<_> = (0..1100)
            .map(|n| {
                pod(
                    &format!("p{n}"),
                    &format!("10.0.{}.{}", n / 250, n % 250),
                    n < 600,
                    false,
                    1,
                )
            })
            .collect();
        let (subsets, over) = subsets(&service, &pods);
        assert!(over);
        assert_eq!(subsets[0]["addresses"].as_array().unwrap().len(), 600);
        assert_eq!(
            subsets[0]["notReadyAddresses"].as_array().unwrap().len(),
            400
        );
    }

    #[test]
    fn equal_is_current() {
        let service = service(json!({"clusterIP": "None"}));
        let labels = labels(&service);
        assert_eq!(
            json!(labels),
            json!({"team": "a", HEADLESS: "", MANAGED_BY: CONTROLLER})
        );
        let (subsets, over) = subsets(&service, &[pod("a", "10.0.0.1", true, false, 1)]);
        let stored = |subsets: &Value, labels: &Map<String, Value>| -> Endpoints {
            serde_json::from_value(
                json!({"metadata": {"name": "web", "labels": labels}, "subsets": subsets}),
            )
            .unwrap()
        };
        assert!(is_current(
            &stored(&subsets, &labels),
            &subsets,
            &labels,
            over
        ));
        assert!(!is_current(
            &stored(&json!([]), &labels),
            &subsets,
            &labels,
            over
        ));
        assert!(!is_current(
            &stored(&subsets, &Map::new()),
            &subsets,
            &labels,
            over
        ));
        assert!(is_current(
            &stored(&Value::Null, &labels),
            &json!([]),
            &labels,
            false
        ));
    }
}
