//! How many decisions the core takes in a second about pods with volumes, each with a claim and a volume of its own: the volume
//! workloads of scheduler_perf, and those that follow from them.
//!
//! `cargo run --release -p fluyt-scheduler-core --example volumes [FILTER]`: one line for each workload, 5,000 nodes, 5,000 pods
//! placed before. The time is that of the decisions alone.

use std::time::{Duration, Instant};

use fluyt_scheduler_core::core::{Core, Outcome};
use fluyt_scheduler_core::objects::Pod;
use serde_json::{Value, json};

const NODES: usize = 5_000;
const PODS: usize = 5_000;
const EBS: &str = "ebs.csi.aws.com";

struct Workload {
    name: &'static str,
    migrated: bool,
    /// The volume of a pod, if it exists before.
    volume: fn(usize) -> Option<Value>,
    /// The claim waits for a first consumer.
    class: &'static str,
}

fn csi(index: usize) -> Option<Value> {
    Some(json!({"csi": {"driver": EBS, "volumeHandle": format!("vol-{index}")}}))
}

fn in_tree(index: usize) -> Option<Value> {
    Some(json!({"awsElasticBlockStore": {"volumeID": format!("vol-{index}")}}))
}

fn affinity(key: &str, value: String) -> Value {
    json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}]}})
}

fn zonal(index: usize) -> Option<Value> {
    let zone = format!("zone-{}", index % 3);
    Some(
        json!({"csi": {"driver": EBS, "volumeHandle": format!("vol-{index}")},
        "nodeAffinity": affinity("topology.kubernetes.io/zone", zone)}),
    )
}

fn local(index: usize) -> Option<Value> {
    let host = format!("node-{}", index % NODES);
    Some(
        json!({"local": {"path": "/data"}, "nodeAffinity": affinity("kubernetes.io/hostname", host)}),
    )
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "SchedulingCSIPVs",
        migrated: false,
        volume: csi,
        class: "",
    },
    Workload {
        name: "SchedulingInTreePVs",
        migrated: false,
        volume: in_tree,
        class: "",
    },
    Workload {
        name: "SchedulingMigratedInTreePVs",
        migrated: true,
        volume: in_tree,
        class: "",
    },
    Workload {
        name: "bound volumes, three zones",
        migrated: false,
        volume: zonal,
        class: "",
    },
    Workload {
        name: "bound local volumes, two on each node",
        migrated: false,
        volume: local,
        class: "",
    },
    Workload {
        name: "first consumer, local volumes",
        migrated: false,
        volume: local,
        class: "local",
    },
    Workload {
        name: "first consumer, volumes anywhere",
        migrated: false,
        volume: csi,
        class: "local",
    },
    Workload {
        name: "first consumer, provisioned",
        migrated: false,
        volume: |_| None,
        class: "fast",
    },
];

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn add_node(core: &mut Core, index: usize, migrated: bool) {
    let (now, name) = (Duration::ZERO, format!("node-{index}"));
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                      "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
                      "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}}});
    core.apply_node(&read(node), now);
    let mut csi_node = json!({"metadata": {"name": name},
        "spec": {"drivers": [{"name": EBS, "allocatable": {"count": 39}}]}});
    if migrated {
        csi_node["metadata"]["annotations"] =
            json!({"storage.alpha.kubernetes.io/migrated-plugins": "kubernetes.io/aws-ebs"});
    }
    core.apply_csi_node(&read(csi_node), now);
}

fn add_volume(core: &mut Core, workload: &Workload, index: usize) {
    let (claim, volume) = (format!("claim-{index}"), format!("volume-{index}"));
    let waits = !workload.class.is_empty();
    let mut object = json!({"metadata": {"name": claim, "namespace": "default", "uid": claim},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": workload.class,
                 "resources": {"requests": {"storage": "1Gi"}}}});
    if !waits {
        object["spec"]["volumeName"] = json!(volume);
        object["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "true"});
    }
    core.apply_claim(&read(object), Duration::ZERO);
    let Some(mut spec) = (workload.volume)(index) else {
        return;
    };
    spec["accessModes"] = json!(["ReadWriteOnce"]);
    spec["capacity"] = json!({"storage": "1Gi"});
    spec["storageClassName"] = json!(workload.class);
    if !waits {
        spec["claimRef"] = json!({"namespace": "default", "name": claim, "uid": claim});
    }
    let phase = if waits { "Available" } else { "Bound" };
    let object = json!({"metadata": {"name": volume}, "spec": spec, "status": {"phase": phase}});
    core.apply_volume(&read(object), Duration::ZERO);
}

fn pod(index: usize) -> Pod {
    read(
        json!({"metadata": {"name": format!("pod-{index}"), "namespace": "default", "uid": index.to_string()},
        "spec": {"schedulerName": "default-scheduler",
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": format!("claim-{index}")}}],
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]}}),
    )
}

/// The first decision, and the time of the second half of all.
fn measure(workload: &Workload) -> (Duration, Duration) {
    let mut core = Core::default();
    for (name, provisioner) in [("local", "kubernetes.io/no-provisioner"), ("fast", EBS)] {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
                           "volumeBindingMode": "WaitForFirstConsumer"});
        core.apply_storage_class(&read(class), Duration::ZERO);
    }
    for index in 0..NODES {
        add_node(&mut core, index, workload.migrated);
    }
    for index in 0..2 * PODS {
        add_volume(&mut core, workload, index);
        core.apply_pod(&pod(index), Duration::ZERO);
    }
    let started = Instant::now();
    decide(&mut core);
    let first = started.elapsed();
    for _ in 1..PODS {
        decide(&mut core);
    }
    let started = Instant::now();
    for _ in 0..PODS {
        decide(&mut core);
    }
    (first, started.elapsed())
}

fn decide(core: &mut Core) {
    match core.schedule_one(Duration::ZERO) {
        Some(Outcome::Placed(_)) => {}
        other => panic!("every pod of these workloads fits: {other:?}"),
    }
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!("| workload | decisions/s | first decision |\n|---|---|---|");
    for workload in WORKLOADS.iter().filter(|one| one.name.contains(&filter)) {
        let (first, rest) = measure(workload);
        let rate = PODS as f64 / rest.as_secs_f64();
        let first = first.as_secs_f64() * 1e3;
        println!("| {} | {rate:.0} | {first:.1} ms |", workload.name);
    }
}
