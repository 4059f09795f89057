//! Objects of storage made from small numbers, and pods that use them; zeros are plain.

use fluyt_scheduler_core::objects::{Node, Pod};
use fluyt_scheduler_core::storage::{
    BIND_COMPLETED, CsiDriver, CsiNode, CsiStorageCapacity, MIGRATED_PLUGINS, PersistentVolume,
    PersistentVolumeClaim, SELECTED_NODE, StorageClass, VolumeAttachment,
};
use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const DRIVER: &str = "csi.example.com";
const EBS: &str = "ebs.csi.aws.com";

pub const CLASSES: [&str; 4] = ["wait", "local", "now", "ebs"];

fn zones(kind: u8) -> Value {
    match kind % 4 {
        0 => json!("z0"),
        1 => json!("z1"),
        2 => json!("z0__z1"),
        _ => json!("z0____z1"),
    }
}

pub fn node(name: u8, shape: [u8; 4]) -> Node {
    let [zone, size, features, extra] = shape;
    let name = format!("n{name}");
    let mut labels = json!({"kubernetes.io/hostname": name});
    if zone < 9 {
        let key = if extra == 7 { BETA_ZONE } else { ZONE };
        labels[key] = json!(format!("z{}", zone % 3));
        labels["topology.ebs.csi.aws.com/zone"] = json!(format!("z{}", extra % 2));
    }
    let features = match features {
        9 => json!(["RestartAllContainersOnContainerExits"]),
        10 => json!(["Other", "UserNamespacesHostNetworkSupport"]),
        _ => json!([]),
    };
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": (2 + size % 6).to_string()},
                   "declaredFeatures": features}}))
    .unwrap()
}

fn volume(kind: u8, pick: u8, index: u8) -> Option<Value> {
    let name = format!("v{index}");
    Some(match kind {
        0..=6 => {
            json!({"name": name, "persistentVolumeClaim": {"claimName": format!("c{}", pick % 6)}})
        }
        7 => json!({"name": "e", "ephemeral": {"volumeClaimTemplate": {}}}),
        8 => {
            json!({"name": name, "gcePersistentDisk": {"pdName": format!("d{}", pick % 2), "readOnly": pick > 6}})
        }
        9 => {
            json!({"name": name, "awsElasticBlockStore": {"volumeID": format!("vol-{}", pick % 3)}})
        }
        10 => {
            json!({"name": name, "iscsi": {"iqn": format!("q{}", pick % 2), "readOnly": pick > 6}})
        }
        _ => return None,
    })
}

pub fn pod(name: u8, shape: [u8; 6], uid: usize) -> Pod {
    let [first, pick, second, other, special, cpu] = shape;
    let mut volumes: Vec<Value> = volume(first, pick, 0).into_iter().collect();
    if second < 4 {
        volumes.extend(volume(second, other, 1));
    }
    let mut container = json!({"image": "a", "resources": {"requests": {"cpu": format!("{}m", u32::from(cpu) * 50)}}});
    let mut spec = json!({"schedulerName": "default-scheduler", "volumes": volumes});
    match special {
        9 => container["restartPolicyRules"] = json!([{"action": "RestartAllContainers"}]),
        10 => {
            spec["hostNetwork"] = json!(true);
            spec["hostUsers"] = json!(false);
        }
        11 => {
            spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": ZONE,
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}}]);
        }
        _ => {}
    }
    spec["containers"] = json!([container]);
    serde_json::from_value(
        json!({"metadata": {"name": format!("p{name}"), "namespace": format!("ns{}", name % 2),
        "uid": format!("pod-{name}-{}", uid % 2), "labels": {"app": "a"}}, "spec": spec}),
    )
    .unwrap()
}

fn modes(kind: u8) -> Value {
    match kind % 5 {
        0 | 1 => json!(["ReadWriteOnce"]),
        2 => json!(["ReadWriteMany", "ReadWriteOnce"]),
        3 => json!(["ReadOnlyMany"]),
        _ => json!(["ReadWriteOncePod"]),
    }
}

fn affinity(kind: u8, pick: u8) -> Value {
    let terms = |terms: Value| json!({"required": {"nodeSelectorTerms": terms}});
    let host = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [format!("n{}", pick % 6)]});
    match kind {
        4 | 5 => terms(json!([{"matchExpressions": [host]}])),
        6 => terms(
            json!([{"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["z0", "z1"]}]}]),
        ),
        7 => terms(json!([{"matchExpressions": [host]},
            {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["z2"]}]}])),
        8 => terms(
            json!([{"matchExpressions": [{"key": ZONE, "operator": "NotIn", "values": ["z0"]}]}]),
        ),
        9 => terms(
            json!([{"matchExpressions": [{"key": BETA_ZONE, "operator": "In", "values": [format!("z{}", pick % 3)]}]}]),
        ),
        _ => Value::Null,
    }
}

/// Claims c0 to c5, and the one of a pod's ephemeral volume (`owner`).
pub fn claim(
    name: &str,
    namespace: u8,
    owner: &str,
    shape: [u8; 8],
    version: usize,
) -> PersistentVolumeClaim {
    let [class, size, mode, bound, pick, state, selector, extra] = shape;
    let mut annotations = json!({});
    let mut spec = json!({"accessModes": modes(mode), "resources": {"requests": {}}});
    match class {
        0..=4 => spec["storageClassName"] = json!("wait"),
        5..=7 => spec["storageClassName"] = json!("local"),
        8 => spec["storageClassName"] = json!("now"),
        9 => spec["storageClassName"] = json!("ebs"),
        10 => annotations["volume.beta.kubernetes.io/storage-class"] = json!("local"),
        _ => {}
    }
    if size > 0 {
        spec["resources"]["requests"]["storage"] = json!(format!("{}Gi", size % 4));
    }
    match bound {
        6..=9 => {
            spec["volumeName"] = json!(format!("v{}", pick % 8));
            annotations[BIND_COMPLETED] = json!("yes");
        }
        10 => spec["volumeName"] = json!(format!("v{}", pick % 8)),
        11 => annotations[SELECTED_NODE] = json!(format!("n{}", pick % 6)),
        _ => {}
    }
    let mut metadata = json!({"name": name, "namespace": format!("ns{namespace}"), "uid": format!("{name}-{}", extra % 3),
        "resourceVersion": version.to_string(), "annotations": annotations});
    if !owner.is_empty() {
        metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner, "controller": true}]);
    }
    if state == 10 {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if selector > 9 {
        spec["selector"] = json!({"matchLabels": {"kind": "fast"}});
    }
    if extra == 11 {
        spec["volumeMode"] = json!("Block");
    }
    if extra == 10 {
        spec["volumeAttributesClassName"] = json!("gold");
    }
    let phase = if state == 11 { "Lost" } else { "Pending" };
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}}))
        .unwrap()
}

pub fn persistent_volume(name: u8, shape: [u8; 8], version: usize) -> PersistentVolume {
    let [class, size, mode, place, pick, source, state, extra] = shape;
    let mut labels = json!({});
    if extra < 4 {
        labels["kind"] = json!("fast");
    }
    match place {
        10 => labels[ZONE] = zones(pick),
        11 => labels[BETA_ZONE] = zones(pick),
        _ => {}
    }
    let mut spec = json!({"capacity": {"storage": format!("{}Gi", 1 + size % 4)}, "accessModes": modes(mode),
        "storageClassName": (["local", "wait", "ebs"][class as usize % 3])});
    let affinity = affinity(place, pick);
    if !affinity.is_null() {
        spec["nodeAffinity"] = affinity;
    }
    match source {
        0..=5 => {
            spec["csi"] = json!({"driver": DRIVER, "volumeHandle": format!("h{}", if source == 5 { 0 } else { name })})
        }
        6 | 7 => spec["awsElasticBlockStore"] = json!({"volumeID": format!("vol-{name}")}),
        8 => spec["csi"] = json!({"driver": EBS, "volumeHandle": format!("vol-{name}")}),
        _ => spec["local"] = json!({"path": "/data"}),
    }
    let mut phase = "Available";
    match state {
        7 | 8 => {
            spec["claimRef"] =
                json!({"namespace": format!("ns{}", pick % 2), "name": format!("c{}", extra % 6)});
            phase = "Bound";
        }
        9 => {
            spec["claimRef"] = json!({"namespace": format!("ns{}", pick % 2), "name": format!("c{}", extra % 6), "uid": "c0-0"})
        }
        10 => phase = "Pending",
        _ => {}
    }
    if extra == 11 {
        spec["volumeMode"] = json!("Block");
    }
    if extra == 10 {
        spec["volumeAttributesClassName"] = json!("gold");
    }
    let mut metadata = json!({"name": format!("v{name}"), "labels": labels, "resourceVersion": version.to_string()});
    if state == 11 {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}}))
        .unwrap()
}

pub fn class(name: &str, kind: u8) -> StorageClass {
    let provisioner = match name {
        "local" => "kubernetes.io/no-provisioner",
        "ebs" => "kubernetes.io/aws-ebs",
        _ => DRIVER,
    };
    let mode = if name == "now" {
        "Immediate"
    } else {
        "WaitForFirstConsumer"
    };
    let topologies = match kind {
        6 => json!([{"matchLabelExpressions": [{"key": ZONE, "values": ["z0", "z1"]}]}]),
        7 => {
            json!([{"matchLabelExpressions": []}, {"matchLabelExpressions": [{"key": ZONE, "values": ["z2"]}]}])
        }
        _ => json!([]),
    };
    serde_json::from_value(
        json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode,
        "allowedTopologies": topologies}),
    )
    .unwrap()
}

pub fn csi_node(name: u8, shape: [u8; 2]) -> CsiNode {
    let [limit, migrated] = shape;
    let mut drivers = vec![
        json!({"name": DRIVER, "allocatable": {"count": limit % 4}}),
        json!({"name": "other"}),
    ];
    if limit > 5 {
        drivers.push(json!({"name": EBS, "allocatable": {"count": 1 + limit % 2}}));
    }
    let annotations = match migrated {
        0..=5 => json!({}),
        _ => json!({MIGRATED_PLUGINS: "kubernetes.io/gce-pd,kubernetes.io/aws-ebs"}),
    };
    serde_json::from_value(json!({"metadata": {"name": format!("n{name}"), "annotations": annotations}, "spec": {"drivers": drivers}})).unwrap()
}

pub fn driver(capacity: bool) -> CsiDriver {
    serde_json::from_value(
        json!({"metadata": {"name": DRIVER}, "spec": {"storageCapacity": capacity}}),
    )
    .unwrap()
}

pub fn capacity(name: u8, shape: [u8; 3]) -> CsiStorageCapacity {
    let [place, size, kind] = shape;
    let mut object = json!({"metadata": {"name": format!("cap{name}"), "namespace": "kube-system"}, "storageClassName": "wait",
        "nodeTopology": match place {
            0..=3 => json!({"matchLabels": {"kubernetes.io/hostname": format!("n{place}")}}),
            4..=6 => json!({"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["z0", "z1"]}]}),
            7 => json!({}),
            _ => Value::Null,
        }, "capacity": format!("{}Gi", size % 4)});
    if kind == 0 {
        object["maximumVolumeSize"] = json!(format!("{}Gi", 1 + size % 3));
    }
    if kind == 1 {
        object["capacity"] = Value::Null;
    }
    serde_json::from_value(object).unwrap()
}

pub fn attachment(name: u8, node: u8, volume: u8) -> VolumeAttachment {
    serde_json::from_value(
        json!({"metadata": {"name": format!("a{name}")}, "spec": {"attacher": DRIVER,
        "nodeName": format!("n{node}"), "source": {"persistentVolumeName": format!("v{volume}")}}}),
    )
    .unwrap()
}
