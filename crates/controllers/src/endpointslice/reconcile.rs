//! The slices that a service should have, and the smallest change from those it has. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::backends::{address, families, hostname, is_published, ports};
use crate::objects::Pairs;
use crate::objects::node::Node;
use crate::objects::pod::Pod;
use crate::objects::service::{EndpointPort, EndpointSlice, Service, pod_reference};

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const CONTROLLER: &str = "endpointslice-controller.k8s.io";
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// What must be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<Value>,
    pub update: Vec<Update>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

impl PartialEq for EndpointSlice {
    fn eq(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid
    }
}

/// A slice that is kept with other content.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub slice: Arc<EndpointSlice>,
    pub endpoints: Vec<Value>,
    pub labels: Map<String, Value>,
}

type NodeOf<'a> = &'a dyn Fn(&str) -> Option<Arc<Node>>;

/// `existing` are the slices of this service that this controller manages.
pub fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    node_of: NodeOf<'_>,
    existing: &[Arc<EndpointSlice>],
    limit: usize,
) -> Plan {
    let mut plan = Plan::default();
    let families = families(service);
    for v6 in &families {
        let type_ = address_type(*v6);
        let slices = existing
            .iter()
            .filter(|slice| &*slice.address_type == type_)
            .cloned()
            .collect();
        let desired = desired(service, pods, node_of, *v6);
        Family {
            service,
            type_,
            limit,
            plan: &mut plan,
        }
        .reconcile(desired, slices);
    }
    let wanted: Vec<&str> = families.iter().map(|v6| address_type(*v6)).collect();
    plan.delete.extend(
        existing
            .iter()
            .filter(|slice| !wanted.contains(&&*slice.address_type))
            .cloned(),
    );
    plan
}

fn address_type(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}

/// Endpoints by their ports, each endpoint by what identifies it.
type Desired = BTreeMap<Vec<EndpointPort>, BTreeMap<String, Value>>;

fn desired(service: &Service, pods: &[Arc<Pod>], node_of: NodeOf<'_>, v6: bool) -> Desired {
    let mut desired = Desired::new();
    for pod in pods.iter().filter(|pod| is_published(pod, true)) {
        let (Some(address), Some(ports)) = (address(pod, v6), ports(service, pod)) else {
            continue;
        };
        if ports.is_empty() && !service.spec.ports.is_empty() {
            continue;
        }
        let endpoint = endpoint(service, pod, address, node_of(&pod.node_name).as_deref());
        desired
            .entry(ports)
            .or_default()
            .insert(identity(&endpoint), endpoint);
    }
    desired
}

fn endpoint(service: &Service, pod: &Pod, address: &str, node: Option<&Node>) -> Value {
    let (serving, terminating) = (pod.is_ready(), pod.meta.is_deleting());
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": pod_reference(&pod.meta),
    });
    if !pod.node_name.is_empty() {
        endpoint["nodeName"] = json!(pod.node_name);
    }
    if let Some(hostname) = hostname(service, pod) {
        endpoint["hostname"] = json!(hostname);
    }
    if let Some(zone) = node.map(Node::zone).filter(|zone| !zone.is_empty()) {
        endpoint["zone"] = json!(zone);
        if ready && service.spec.traffic_distribution.is_some() {
            endpoint["hints"] = json!({"forZones": [{"name": zone}]});
        }
    }
    if ready
        && service.spec.traffic_distribution.as_deref() == Some("PreferSameNode")
        && !pod.node_name.is_empty()
    {
        endpoint["hints"]["forNodes"] = json!([{"name": pod.node_name}]);
    }
    endpoint
}

fn identity(endpoint: &Value) -> String {
    let uid = endpoint["targetRef"]["uid"].as_str().unwrap_or_default();
    let address = endpoint["addresses"][0].as_str().unwrap_or_default();
    format!("{uid} {address}")
}

/// The labels of a service's slices: the service's own, and those by which slices are found.
pub fn labels(service: &Service) -> Map<String, Value> {
    let own = |key: &str| !matches!(key, SERVICE_NAME | MANAGED_BY | HEADLESS);
    let inherited = service.metadata.labels.iter().filter(|(key, _)| own(key));
    let mut labels: Map<String, Value> = inherited
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    labels.insert(SERVICE_NAME.into(), json!(service.metadata.name));
    labels.insert(MANAGED_BY.into(), json!(CONTROLLER));
    if service.is_headless() || service.spec.cluster_ip.is_empty() {
        labels.insert(HEADLESS.into(), json!(""));
    }
    labels
}

fn same_labels(slice: &Pairs, wanted: &Map<String, Value>) -> bool {
    slice.len() == wanted.len()
        && slice
            .iter()
            .all(|(key, value)| wanted.get(key).and_then(Value::as_str) == Some(value))
}

/// A slice while it is being worked on.
struct Draft {
    slice: Arc<EndpointSlice>,
    endpoints: BTreeMap<String, Value>,
    changed: bool,
}

struct Family<'a> {
    service: &'a Service,
    type_: &'static str,
    limit: usize,
    plan: &'a mut Plan,
}

impl Family<'_> {
    fn reconcile(mut self, mut desired: Desired, slices: Vec<Arc<EndpointSlice>>) {
        let mut by_ports: HashMap<Vec<EndpointPort>, Vec<Arc<EndpointSlice>>> = HashMap::new();
        let nothing = desired.is_empty();
        let mut spare = Vec::new();
        for slice in slices {
            match slice_ports(&slice) {
                Some(ports) if desired.contains_key(&ports) => {
                    by_ports.entry(ports).or_default().push(slice)
                }
                _ => spare.push(slice),
            }
        }
        for (ports, endpoints) in std::mem::take(&mut desired) {
            let slices = by_ports.remove(&ports).unwrap_or_default();
            self.fill(&ports, endpoints, slices);
        }
        if nothing {
            self.placeholder(&mut spare);
        }
        self.plan.delete.extend(spare);
    }

    /// A service that nothing stands behind has one empty slice, so that it is seen to have been looked at.
    fn placeholder(&mut self, spare: &mut Vec<Arc<EndpointSlice>>) {
        let wanted = labels(self.service);
        let is_empty = |slice: &Arc<EndpointSlice>| {
            list(&slice.endpoints).is_empty()
                && list(&slice.ports).is_empty()
                && same_labels(&slice.metadata.labels, &wanted)
        };
        if let Some(at) = spare.iter().position(is_empty) {
            spare.remove(at);
            return;
        }
        let slice = self.object(None, Vec::new());
        self.plan.create.push(slice);
    }

    /// Endpoints stay in the slice that they are in; new ones go into the fullest slice with room, or into new slices.
    fn fill(
        &mut self,
        ports: &[EndpointPort],
        mut desired: BTreeMap<String, Value>,
        slices: Vec<Arc<EndpointSlice>>,
    ) {
        let mut drafts: Vec<Draft> = slices
            .into_iter()
            .map(|slice| draft(slice, &mut desired))
            .collect();
        drafts.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
        // Slices that change anyway are filled before those that could stay as they are.
        drafts.sort_by_key(|draft| !draft.changed);
        let mut new = desired.into_iter();
        'drafts: for draft in &mut drafts {
            while draft.endpoints.len() < self.limit {
                let Some((identity, endpoint)) = new.next() else {
                    break 'drafts;
                };
                draft.endpoints.insert(identity, endpoint);
                draft.changed = true;
            }
        }
        let rest: Vec<Value> = new.map(|(_, endpoint)| endpoint).collect();
        for chunk in rest.chunks(self.limit.max(1)) {
            let slice = self.object(Some(ports), chunk.to_vec());
            self.plan.create.push(slice);
        }
        let wanted = labels(self.service);
        for draft in drafts {
            if draft.endpoints.is_empty() {
                self.plan.delete.push(draft.slice);
            } else if draft.changed || !same_labels(&draft.slice.metadata.labels, &wanted) {
                let endpoints = draft.endpoints.into_values().collect();
                self.plan.update.push(Update {
                    slice: draft.slice,
                    endpoints,
                    labels: wanted.clone(),
                });
            }
        }
    }

    fn object(&self, ports: Option<&[EndpointPort]>, endpoints: Vec<Value>) -> Value {
        let meta = &self.service.metadata;
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", meta.name), "namespace": meta.namespace, "labels": labels(self.service),
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": meta.name, "uid": meta.uid,
                    "controller": true, "blockOwnerDeletion": true}],
            },
            "addressType": self.type_,
            "ports": ports.unwrap_or_default(),
            "endpoints": endpoints,
        })
    }
}

/// What a slice keeps of the desired endpoints; they are taken out of `desired`.
fn draft(slice: Arc<EndpointSlice>, desired: &mut BTreeMap<String, Value>) -> Draft {
    let mut endpoints = BTreeMap::new();
    let mut changed = false;
    for mut old in list(&slice.endpoints) {
        prune(&mut old);
        let identity = identity(&old);
        match desired.remove(&identity) {
            Some(new) => {
                changed |= new != old;
                endpoints.insert(identity, new);
            }
            None => changed = true,
        }
    }
    Draft {
        slice,
        endpoints,
        changed,
    }
}

fn list(raw: &crate::objects::RawJson) -> Vec<Value> {
    match raw.value() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Null is absent.
fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(prune);
    }
}

fn slice_ports(slice: &EndpointSlice) -> Option<Vec<EndpointPort>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut ports: Vec<EndpointPort> = list(&slice.ports)
        .iter()
        .map(|port| {
            Some(EndpointPort {
                name: text(&port["name"]).unwrap_or_default(),
                port: i32::try_from(port["port"].as_i64()?).ok()?,
                protocol: text(&port["protocol"]).unwrap_or_else(|| "TCP".to_owned()),
                app_protocol: text(&port["appProtocol"]),
            })
        })
        .collect::<Option<_>>()?;
    ports.sort();
    Some(ports)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
