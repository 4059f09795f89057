//! Objects made from small numbers: every combination is possible, zeros are plain.

use fluyt_scheduler_core::objects::{Node, Pod};
use serde_json::{Value, json};

pub fn node(name: u8, shape: [u8; 8]) -> Node {
    let [zone, rack, cpu, memory, taint, flags, disk, image] = shape;
    let name = format!("n{name}");
    let mut labels =
        json!({"disk": if disk % 2 == 0 { "ssd" } else { "hdd" }, "size": disk.to_string()});
    if flags != 1 {
        labels["kubernetes.io/hostname"] = json!(name);
    }
    if zone < 9 {
        labels["topology.kubernetes.io/zone"] = json!(format!("z{}", zone % 3));
    }
    if rack < 8 {
        labels["rack"] = json!(format!("r{}", rack % 4));
    }
    let taints: Vec<Value> = match taint {
        6 | 7 => vec![json!({"key": "gpu", "value": "a", "effect": "NoSchedule"})],
        8 | 9 => vec![json!({"key": "gpu", "value": "a", "effect": "PreferNoSchedule"})],
        10 => vec![
            json!({"key": "x", "effect": "PreferNoSchedule"}),
            json!({"key": "gpu", "value": "b", "effect": "PreferNoSchedule"}),
        ],
        11 => vec![json!({"key": "x", "effect": "NoExecute"})],
        _ => vec![],
    };
    let images: Vec<Value> = match image % 4 {
        1 => vec![json!({"names": ["a"], "sizeBytes": 300_000_000})],
        2 => vec![
            json!({"names": ["a:latest"], "sizeBytes": 300_000_000}),
            json!({"names": ["reg:5/b"], "sizeBytes": 900_000_000}),
        ],
        _ => vec![],
    };
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": flags == 11, "taints": taints},
        "status": {"allocatable": {"cpu": (1 + cpu % 4).to_string(), "memory": format!("{}Gi", 1 + memory % 5),
                   "pods": (2 + memory).to_string(), "ephemeral-storage": format!("{}Gi", 2 + disk), "example.com/gpu": (cpu % 3).to_string()}, "images": images},
    }))
    .unwrap()
}

pub fn selector(kind: u8) -> Value {
    match kind % 4 {
        0 => json!({"matchLabels": {"app": "a0"}}),
        1 => {
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a0", "a1"]}]})
        }
        2 => json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
        _ => json!({}),
    }
}

fn key(kind: u8) -> &'static str {
    [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "rack",
    ][kind as usize % 3]
}

fn term(kind: u8, other: u8) -> Value {
    let mut term = json!({"topologyKey": key(kind), "labelSelector": selector(other)});
    match (kind + other) % 5 {
        1 => term["namespaces"] = json!(["ns0", "ns1"]),
        2 => term["namespaceSelector"] = json!({"matchLabels": {"team": "t1"}}),
        3 => term["namespaceSelector"] = json!({}),
        4 => {
            term["namespaceSelector"] =
                json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]})
        }
        _ => {}
    }
    term
}

fn affinity(a: u8, b: u8, c: u8) -> Value {
    let weighted = |weight: u8, term: Value| json!({"weight": 1 + weight, "podAffinityTerm": term});
    match a {
        4 => {
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(b, c)]}})
        }
        5 => {
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(b, c)]}})
        }
        6 => {
            json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [weighted(b, term(b, c))]},
                    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [weighted(c, term(c, b))]}})
        }
        7 => {
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(b, c), term(b + 1, c)]},
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(0, b), term(c, b)]}})
        }
        8 => {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "size", "operator": if b.is_multiple_of(2) { "Gt" } else { "Lt" }, "values": [c.to_string()]}]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [format!("n{b}")]}]}]}}})
        }
        9 => json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1 + b, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}},
                {"weight": 1 + c, "preference": {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}}]}}),
        10 => {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [format!("n{}", b % 9)]}]}]}}})
        }
        _ => json!({}),
    }
}

fn spread(a: u8, b: u8, c: u8) -> Vec<Value> {
    let one = |skew: u8, topology: u8, when: &str| json!({"maxSkew": 1 + skew % 3, "topologyKey": key(topology), "whenUnsatisfiable": when, "labelSelector": selector(b)});
    match a {
        6 => vec![one(b, c, "DoNotSchedule")],
        7 => vec![one(b, c, "ScheduleAnyway")],
        8 => vec![
            one(b, 0, "ScheduleAnyway"),
            one(c, 1, "ScheduleAnyway"),
            one(c, b, "DoNotSchedule"),
        ],
        9 => {
            let mut hard = one(b, c, "DoNotSchedule");
            hard["minDomains"] = json!(1 + c % 4);
            hard["nodeTaintsPolicy"] = json!("Honor");
            hard["nodeAffinityPolicy"] = json!("Ignore");
            vec![hard]
        }
        10 => {
            let mut soft = one(b, c, "ScheduleAnyway");
            soft["matchLabelKeys"] = json!(["app"]);
            soft["nodeTaintsPolicy"] = json!("Honor");
            vec![soft, one(c, b + 1, "DoNotSchedule")]
        }
        _ => vec![],
    }
}

pub fn pod(name: u8, shape: [u8; 10], uid: usize) -> Pod {
    serde_json::from_value(pod_value(name, shape, uid)).unwrap()
}

/// The names of the profiles that [`rarer_pod`] uses.
pub const SCHEDULERS: [&str; 3] = ["default-scheduler", "second", "third"];

/// A pod with what fewer pods have: other containers, another profile, gates, less usual spreading.
pub fn rarer_pod(name: u8, shape: [u8; 10], extra: [u8; 4], uid: usize) -> Pod {
    let [containers, scheduler, gates, spreading] = extra;
    let mut pod = pod_value(name, shape, uid);
    let spec = &mut pod["spec"];
    let asks = |cpu: u8, memory: u8| {
        json!({"image": "c:1", "resources": {"requests":
        {"cpu": format!("{}m", u32::from(cpu) * 150), "memory": format!("{}Mi", u32::from(memory) * 90)}}})
    };
    let (a, b) = (shape[1] % 6, shape[2] % 6);
    let sidecar = || {
        let mut one = asks(a, b);
        one["restartPolicy"] = json!("Always");
        one["ports"] = json!([{"hostPort": 81, "protocol": "UDP"}]);
        one
    };
    match containers {
        5 => spec["initContainers"] = json!([asks(b, a), asks(a, b)]),
        6 => spec["initContainers"] = json!([sidecar(), asks(b, a), sidecar()]),
        7 => spec["overhead"] = json!({"cpu": "130m", "memory": "70Mi", "example.com/gpu": "1"}),
        8 => {
            spec["resources"] =
                json!({"requests": {"cpu": format!("{}m", 200 * u32::from(b)), "memory": "300Mi"}})
        }
        9 => spec["containers"]
            .as_array_mut()
            .unwrap()
            .extend([asks(a, b), json!({"image": "reg:5/b"})]),
        10 => {
            spec["containers"][0]["resources"]["requests"]["ephemeral-storage"] =
                json!(format!("{}Gi", 1 + b))
        }
        11 => spec["volumes"] = json!([{"name": "v", "image": {"reference": "reg:5/b"}}]),
        _ => {}
    }
    spec["schedulerName"] = json!(SCHEDULERS[(scheduler / 4) as usize % 3]);
    if gates > 9 {
        spec["schedulingGates"] = json!([{"name": "example.com/gate"}]);
    }
    if spreading > 7 {
        let policy = |kind: u8| json!(["Honor", "Ignore"][kind as usize % 2]);
        let mut one = json!({"maxSkew": 1 + a % 2, "topologyKey": key(b), "whenUnsatisfiable": "DoNotSchedule",
                             "minDomains": 1 + a, "nodeAffinityPolicy": policy(a), "nodeTaintsPolicy": policy(b),
                             "matchLabelKeys": ["app", "tier"], "labelSelector": selector(spreading)});
        if spreading == 11 {
            one.as_object_mut().unwrap().remove("labelSelector");
        }
        let mut two = one.clone();
        two["whenUnsatisfiable"] = json!("ScheduleAnyway");
        two["topologyKey"] = json!(key(a));
        two.as_object_mut().unwrap().remove("minDomains");
        spec["topologySpreadConstraints"] = json!([one, two]);
    }
    serde_json::from_value(pod).unwrap()
}

fn pod_value(name: u8, shape: [u8; 10], uid: usize) -> Value {
    let [app, cpu, memory, special, a, b, c, s, priority, owner] = shape;
    let mut labels = json!({"app": format!("a{}", app % 4)});
    if app > 8 {
        labels["tier"] = json!("front");
    }
    let mut requests = json!({});
    if cpu > 1 {
        requests["cpu"] = json!(format!("{}m", u32::from(cpu) * 100));
    }
    if memory > 1 {
        requests["memory"] = json!(format!("{}Mi", u32::from(memory) * 100));
    }
    let mut container = json!({"image": (["a", "reg:5/b", "c:1"][app as usize % 3]), "resources": {"requests": requests}});
    let mut spec = json!({"schedulerName": "default-scheduler", "priority": priority % 3, "affinity": affinity(a, b, c),
                          "topologySpreadConstraints": spread(s, b, c)});
    match special {
        6 => {
            container["ports"] =
                json!([{"hostPort": 80 + b % 2, "hostIP": (["", "127.0.0.1"][c as usize % 2])}])
        }
        7 => container["resources"]["requests"]["example.com/gpu"] = json!("1"),
        8 => spec["nodeSelector"] = json!({"disk": "ssd"}),
        9 => spec["tolerations"] = json!([{"operator": "Exists"}]),
        10 => spec["tolerations"] = json!([{"key": "gpu", "operator": "Equal", "value": "a"}]),
        11 => {
            spec["initContainers"] =
                json!([{"image": "a", "resources": {"requests": {"cpu": "700m"}}}])
        }
        _ => {}
    }
    spec["containers"] = json!([container]);
    let mut metadata = json!({"name": format!("p{name}"), "namespace": format!("ns{}", name % 3), "uid": uid.to_string(), "labels": labels});
    if owner < 3 {
        metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("rs{}", owner % 2), "controller": true}]);
    }
    json!({"metadata": metadata, "spec": spec})
}
