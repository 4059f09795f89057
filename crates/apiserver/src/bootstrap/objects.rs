//! The objects of an empty cluster, written in one commit. On a restart only what is missing is written, and default
//! roles are brought up to date unless they are marked as the user's own.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use fluyt_machinery::defaults;
use fluyt_store::{Op, Precondition, StoreError};
use serde_json::{Value, json};

use super::policy;
use crate::core::Core;
use crate::http::respond;
use crate::lifecycle;
use crate::stored;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const RBAC: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const TRIES: usize = 5;

/// Where clients inside the cluster reach this server.
pub(crate) struct Endpoint {
    pub(crate) service_ip: IpAddr,
    /// Absent when nothing listens where others could reach it.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) scheme: &'static str,
}

/// Brings the objects into place; another server over the same store may do so at the same time.
pub(crate) async fn ensure(core: &Arc<Core>, endpoint: &Endpoint) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        let ops = missing(core, endpoint).await?;
        if ops.is_empty() {
            return Ok(());
        }
        tracing::debug!(objects = ops.len(), "writing bootstrap objects");
        match commit(core, ops).await {
            Ok(()) => return Ok(()),
            Err(StoreError::PreconditionFailed { .. }) => {}
            Err(error) => {
                return Err(anyhow::Error::new(error).context("writing bootstrap objects"));
            }
        }
    }
    anyhow::bail!("bootstrap objects keep changing while they are written")
}

/// One commit; etcd takes no more than 128 operations in one.
async fn commit(core: &Arc<Core>, mut ops: Vec<Op>) -> Result<(), StoreError> {
    let most = match core.options.storage() {
        crate::options::Storage::Etcd => 100,
        _ => usize::MAX,
    };
    while !ops.is_empty() {
        let rest = ops.split_off(ops.len().min(most));
        core.store.commit(ops).await?;
        ops = rest;
    }
    Ok(())
}

async fn missing(core: &Arc<Core>, endpoint: &Endpoint) -> anyhow::Result<Vec<Op>> {
    let mut ops = Vec::new();
    for (resource, namespace, name, object) in wanted(core, endpoint) {
        let key = stored::key(resource, &namespace, &name);
        let (current, _) = stored::get(&*core.store, &key).await?;
        match current {
            None => ops.push(creation(resource, key, &namespace, object)?),
            Some(entry) => {
                let old: Value = serde_json::from_slice(&entry.value).unwrap_or(Value::Null);
                if let Some(new) = brought_up_to_date(resource, &old, &object, endpoint) {
                    ops.push(Op::Put {
                        key,
                        value: stored::encode(resource, &new),
                        precondition: Precondition::ModRevision(entry.mod_revision),
                        durability: lifecycle::durability(resource),
                    });
                }
            }
        }
    }
    Ok(ops)
}

fn creation(
    resource: &Resource,
    key: String,
    namespace: &str,
    mut object: Value,
) -> anyhow::Result<Op> {
    defaults::apply(resource, &mut object);
    let context = lifecycle::context(namespace);
    lifecycle::prepare_create(resource, &mut object, &context)?;
    if resource.plural == "namespaces" {
        object["spec"] = json!({ "finalizers": ["kubernetes"] });
        object["status"] = json!({ "phase": "Active" });
    }
    Ok(Op::Put {
        key,
        value: stored::encode(resource, &object),
        precondition: Precondition::Absent,
        durability: fluyt_store::Durability::Durable,
    })
}

type Wanted = (&'static Resource, String, String, Value);

fn wanted(core: &Arc<Core>, endpoint: &Endpoint) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let mut push = |gvr: (&str, &str, &str), namespace: &str, object: Value| {
        let resource = stored::builtin(gvr);
        let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
        let mut object = object;
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        all.push((resource, namespace.to_owned(), name, object));
    };
    for name in NAMESPACES {
        let object = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
        });
        push(("", "v1", "namespaces"), "", object);
    }
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        let object = json!({
            "metadata": { "name": name }, "value": value, "description": description,
        });
        push(("scheduling.k8s.io", "v1", "priorityclasses"), "", object);
    }
    push(("", "v1", "services"), "default", service(endpoint));
    if let Some(address) = endpoint.address {
        push(
            ("", "v1", "endpoints"),
            "default",
            endpoints(endpoint, address),
        );
        push(
            ("discovery.k8s.io", "v1", "endpointslices"),
            "default",
            slice(endpoint, address),
        );
    }
    if core.authorizer.uses_rbac() {
        for default in policy::defaults() {
            push(
                (RBAC, "v1", default.plural),
                &default.namespace,
                default.object,
            );
        }
    }
    all
}

fn labels() -> Value {
    json!({ "component": "apiserver", "provider": "kubernetes" })
}

fn port(endpoint: &Endpoint) -> i64 {
    endpoint
        .address
        .map_or(6443, |address| i64::from(address.port()))
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn service(endpoint: &Endpoint) -> Value {
    let ip = endpoint.service_ip.to_string();
    json!({
        "metadata": { "name": "kubernetes", "namespace": "default", "labels": labels() },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": [family(endpoint.service_ip)],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{
                "name": endpoint.scheme, "protocol": "TCP", "port": 443, "targetPort": port(endpoint),
            }],
        },
        "status": { "loadBalancer": {} },
    })
}

fn endpoints(endpoint: &Endpoint, address: SocketAddr) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": [{ "ip": address.ip().to_string() }],
            "ports": [{ "name": endpoint.scheme, "port": address.port(), "protocol": "TCP" }],
        }],
    })
}

fn slice(endpoint: &Endpoint, address: SocketAddr) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": { "kubernetes.io/service-name": "kubernetes" },
        },
        "addressType": family(address.ip()),
        "endpoints": [{
            "addresses": [address.ip().to_string()], "conditions": { "ready": true },
        }],
        "ports": [{ "name": endpoint.scheme, "port": address.port(), "protocol": "TCP" }],
    })
}

/// The stored object as it should be, if it differs: missing rules and subjects of default roles, a new address of
/// this server. Nothing else is touched.
fn brought_up_to_date(
    resource: &Resource,
    old: &Value,
    wanted: &Value,
    endpoint: &Endpoint,
) -> Option<Value> {
    let mut new = old.clone();
    match (resource.group, resource.plural) {
        (RBAC, plural) => {
            if old["metadata"]["annotations"][AUTOUPDATE] != "true" {
                return None;
            }
            let field = if plural.ends_with("bindings") {
                "subjects"
            } else {
                "rules"
            };
            let have: HashSet<Vec<u8>> = items(&old[field])
                .map(|v| respond::to_bytes(v).to_vec())
                .collect();
            let lacking: Vec<Value> = items(&wanted[field])
                .filter(|item| !have.contains(&respond::to_bytes(*item).to_vec()))
                .cloned()
                .collect();
            if lacking.is_empty() {
                return None;
            }
            let all: Vec<Value> = items(&old[field]).cloned().chain(lacking).collect();
            new[field] = all.into();
        }
        ("", "endpoints") => new["subsets"] = wanted["subsets"].clone(),
        ("discovery.k8s.io", "endpointslices") => {
            new["endpoints"] = wanted["endpoints"].clone();
            new["ports"] = wanted["ports"].clone();
        }
        ("", "services") if endpoint.address.is_some() => {
            new["spec"]["ports"] = wanted["spec"]["ports"].clone();
        }
        _ => return None,
    }
    (new != *old).then_some(new)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
