//! Nodes: what they have, what runs on them, how much of it is promised.

use super::Facts;
use super::parts::{annotations, events, labels, map_pairs, taints};
use super::writer::Writer;
use crate::object::Object;
use crate::text::{duration, time};
use fluyt_api::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const STANDARD: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

type Amounts = BTreeMap<String, Quantity>;

pub(crate) fn describe(node: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", node.name());
    w.field(0, "Roles", roles(node));
    labels(&mut w, "Labels", node.at("metadata.labels"));
    annotations(&mut w, "Annotations", node.at("metadata.annotations"));
    w.field(
        0,
        "CreationTimestamp",
        time::rfc1123z(node.at("metadata.creationTimestamp")),
    );
    taints(&mut w, node.list("spec.taints"));
    w.field(0, "Unschedulable", node.at("spec.unschedulable") == true);
    lease(&mut w, &facts.lease);
    conditions(&mut w, node);
    w.line(0, "Addresses:");
    for address in node.list("status.addresses") {
        w.field(1, address.text("type"), address.text("address"));
    }
    for (label, path) in [
        ("Capacity", "status.capacity"),
        ("Allocatable", "status.allocatable"),
    ] {
        let amounts = map_pairs(node.at(path));
        if !amounts.is_empty() {
            w.line(0, format!("{label}:"));
            for (name, amount) in amounts {
                w.field(1, name, amount);
            }
        }
    }
    system_info(&mut w, node);
    w.field_if(0, "PodCIDR", node.text("spec.podCIDR"));
    let cidrs: Vec<&str> = node
        .list("spec.podCIDRs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    w.field_if(0, "PodCIDRs", &cidrs.join(","));
    w.field_if(0, "ProviderID", node.text("spec.providerID"));
    match &facts.pods {
        Some(pods) => promised(&mut w, node, pods, facts.now),
        None => w.field(0, "Pods", "not authorized"),
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = map_pairs(node.at("metadata.labels"))
        .into_iter()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) if !role.is_empty() => Some(role),
            _ if key == "kubernetes.io/role" && !value.is_empty() => Some(value),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn lease(w: &mut Writer, lease: &Result<Value, String>) {
    let lease = match lease {
        Ok(lease) => lease,
        Err(error) => return w.field(0, "Lease", format!("Failed to get lease: {error}")),
    };
    w.line(0, "Lease:");
    let holder = lease
        .at("spec.holderIdentity")
        .as_str()
        .unwrap_or("<unset>");
    w.field(1, "HolderIdentity", holder);
    for (label, path) in [
        ("AcquireTime", "spec.acquireTime"),
        ("RenewTime", "spec.renewTime"),
    ] {
        let at = lease.at(path);
        let text = if at.is_null() {
            "<unset>".to_owned()
        } else {
            time::rfc1123z(at)
        };
        w.field(1, label, text);
    }
}

fn conditions(w: &mut Writer, node: &Value) {
    let conditions = node.list("status.conditions");
    if conditions.is_empty() {
        return;
    }
    w.line(
        0,
        "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage",
    );
    w.line(
        1,
        "----\t------\t-----------------\t------------------\t------\t-------",
    );
    for condition in conditions {
        w.line(
            1,
            format!(
                "{} \t{} \t{} \t{} \t{} \t{}",
                condition.text("type"),
                condition.text("status"),
                time::rfc1123z(&condition["lastHeartbeatTime"]),
                time::rfc1123z(&condition["lastTransitionTime"]),
                condition.text("reason"),
                condition.text("message")
            ),
        );
    }
}

fn system_info(w: &mut Writer, node: &Value) {
    w.line(0, "System Info:");
    let info = node.at("status.nodeInfo");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        w.field(1, label, info.text(field));
    }
}

fn promised(w: &mut Writer, node: &Value, pods: &[Value], now: jiff::Timestamp) {
    let available = match node.at("status.allocatable") {
        allocatable if allocatable.as_object().is_some_and(|map| !map.is_empty()) => allocatable,
        _ => node.at("status.capacity"),
    };
    let available = amounts(available);
    w.line(
        0,
        format!("Non-terminated Pods:\t({} in total)", pods.len()),
    );
    w.line(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge",
    );
    w.line(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---",
    );
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for pod in pods {
        let (of_requests, of_limits) = (pod_amounts(pod, "requests"), pod_amounts(pod, "limits"));
        w.line(
            1,
            format!(
                "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
                pod.namespace(),
                pod.name(),
                share(&of_requests, &available, "cpu"),
                share(&of_limits, &available, "cpu"),
                share(&of_requests, &available, "memory"),
                share(&of_limits, &available, "memory"),
                duration::since(pod.at("metadata.creationTimestamp").as_str(), now)
            ),
        );
        add(&mut requests, &of_requests);
        add(&mut limits, &of_limits);
    }
    w.line(
        0,
        "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)",
    );
    w.line(1, "Resource\tRequests\tLimits");
    w.line(1, "--------\t--------\t------");
    let huge = available
        .keys()
        .filter(|name| name.starts_with("hugepages-"))
        .map(String::as_str);
    for name in ["cpu", "memory", "ephemeral-storage"]
        .into_iter()
        .chain(huge)
    {
        w.line(
            1,
            format!(
                "{name}\t{}\t{}",
                share(&requests, &available, name),
                share(&limits, &available, name)
            ),
        );
    }
    let extended = available
        .keys()
        .filter(|name| !STANDARD.contains(&name.as_str()) && !name.starts_with("hugepages-"));
    for name in extended {
        let text = |amounts: &Amounts| {
            amounts
                .get(name)
                .map_or_else(|| "0".to_owned(), Quantity::canonical)
        };
        w.line(1, format!("{name}\t{}\t{}", text(&requests), text(&limits)));
    }
}

/// `250m (12%)`.
fn share(amounts: &Amounts, available: &Amounts, name: &str) -> String {
    let number = |quantity: Option<&Quantity>| match quantity {
        Some(quantity) if name == "cpu" => quantity.milli_value() as f64,
        Some(quantity) => quantity.value() as f64,
        None => 0.0,
    };
    let amount = amounts.get(name);
    let total = number(available.get(name));
    let percent = if total == 0.0 {
        0.0
    } else {
        number(amount) / total * 100.0
    };
    format!(
        "{} ({}%)",
        amount.map_or_else(|| "0".to_owned(), Quantity::canonical),
        percent as i64
    )
}

fn amounts(map: &Value) -> Amounts {
    map_pairs(map)
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), Quantity::parse(text).ok()?)))
        .collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = match total.get(name) {
            Some(known) => known.add(amount),
            None => amount.clone(),
        };
        total.insert(name.clone(), sum);
    }
}

/// What a pod asks for: its containers together, or its greediest init container, and its overhead.
fn pod_amounts(pod: &Value, kind: &str) -> Amounts {
    let of = |container: &Value| amounts(&container["resources"][kind]);
    let mut total = Amounts::new();
    for container in pod.list("spec.containers") {
        add(&mut total, &of(container));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in pod.list("spec.initContainers") {
        let mut wanted = of(container);
        if container.text("restartPolicy") == "Always" {
            add(&mut total, &wanted);
            add(&mut sidecars, &wanted);
            wanted = sidecars.clone();
        } else {
            add(&mut wanted, &sidecars);
        }
        raise(&mut peak, &wanted);
    }
    raise(&mut total, &peak);
    for (name, amount) in amounts(&pod["spec"]["resources"][kind]) {
        total.insert(name, amount);
    }
    let overhead = amounts(pod.at("spec.overhead"));
    if kind == "requests" {
        add(&mut total, &overhead);
    } else {
        for (name, amount) in overhead {
            if let Some(known) = total.get(&name) {
                let sum = known.add(&amount);
                total.insert(name, sum);
            }
        }
    }
    total
}

fn raise(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if total.get(name).is_none_or(|known| known < amount) {
            total.insert(name.clone(), amount.clone());
        }
    }
}
