//! What a simulated node tells the API server about itself. Pure.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::options::Options;

pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// The kubelet version that the nodes claim to run.
const VERSION: &str = "v1.36.0";

/// From 100.64.0.0/10, which no real node of a cluster is likely to have.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x6440_0000 | (number as u32 + 1) & 0x003f_ffff)
}

pub(crate) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn micro_time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A new Node, status included.
pub(crate) fn node(options: &Options, number: usize, now: Timestamp) -> Value {
    let name = options.node_name(number);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": format!("zone-{}", number % options.zones as usize),
            },
        },
        "spec": { "providerID": format!("fluyt-sim://{name}") },
        "status": status(options, number, now),
    })
}

/// The status as a strategic merge patch or a part of a new Node: conditions merge by type.
pub(crate) fn status(options: &Options, number: usize, now: Timestamp) -> Value {
    let resources = json!({
        "cpu": options.cpu,
        "memory": options.memory,
        "pods": options.max_pods.to_string(),
        "ephemeral-storage": "1Ti",
    });
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            { "type": "InternalIP", "address": address(number).to_string() },
            { "type": "Hostname", "address": options.node_name(number) },
        ],
        "conditions": conditions(now, true),
        "nodeInfo": {
            "architecture": "amd64",
            "bootID": "",
            "containerRuntimeVersion": "simulated://1",
            "kernelVersion": "simulated",
            "kubeProxyVersion": "",
            "kubeletVersion": VERSION,
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "simulated",
            "systemUUID": "",
        },
    })
}

/// Said every few minutes: the same conditions, seen again.
pub(crate) fn heartbeat(now: Timestamp) -> Value {
    json!({ "status": { "conditions": conditions(now, false) } })
}

fn conditions(now: Timestamp, transition: bool) -> Value {
    let table = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ];
    let condition = |(kind, status, reason, message)| {
        let mut condition = json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": time(now),
        });
        if transition {
            condition["lastTransitionTime"] = time(now).into();
        }
        condition
    };
    table.into_iter().map(condition).collect()
}

/// A new Lease, owned by its Node so that it goes with it.
pub(crate) fn lease(options: &Options, number: usize, node_uid: &str, now: Timestamp) -> Value {
    let name = options.node_name(number);
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": "kube-node-lease",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid }],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": options.lease_duration_seconds,
            "renewTime": micro_time(now),
        },
    })
}

pub(crate) fn renewal(now: Timestamp) -> Value {
    json!({ "spec": { "renewTime": micro_time(now) } })
}
