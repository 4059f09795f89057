//! Explanations of pods with resource claims: what their claims demand counts for suggestions, preemption and what-if as it does
//! for decisions.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fluyt_scheduler_core::core::{Core, Outcome};
use fluyt_scheduler_core::explain::{Explanation, Manifest, WhatIf, WhatIfAnswer};
use serde_json::{Value, json};

const NOW: Duration = Duration::ZERO;

fn node(core: &mut Core, name: &str, cpu: &str, taint: bool) {
    let taints = match taint {
        true => json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]),
        false => json!([]),
    };
    let node = json!({"metadata": {"name": name}, "spec": {"taints": taints},
                      "status": {"allocatable": {"cpu": cpu, "memory": "64Gi", "pods": "110"}}});
    core.apply_node(&serde_json::from_value(node).unwrap(), NOW);
}

/// A pool of so many devices on a node.
fn pool(core: &mut Core, node: &str, devices: usize) {
    let devices: Vec<Value> = (0..devices)
        .map(|at| json!({"name": format!("d{at}")}))
        .collect();
    let slice = json!({"metadata": {"name": node}, "spec": {"driver": "d", "nodeName": node, "devices": devices,
                       "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}});
    core.apply_slice(serde_json::from_value(slice).unwrap(), NOW);
}

fn claim(core: &mut Core, name: &str) {
    let request = json!({"name": "r", "exactly": {"deviceClassName": "any", "count": 1}});
    let claim = json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
                       "spec": {"devices": {"requests": [request]}}});
    core.apply_resource_claim(serde_json::from_value(claim).unwrap(), NOW);
}

fn pod(core: &mut Core, name: &str, cpu: &str, priority: i32, more: &Value) {
    let mut spec = json!({"schedulerName": "default-scheduler", "priority": priority,
                          "containers": [{"resources": {"requests": {"cpu": cpu}}}]});
    let more = more.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec});
    core.apply_pod(&serde_json::from_value(pod).unwrap(), NOW);
}

fn with_claim(name: &str) -> Value {
    json!({"resourceClaims": [{"name": "x", "resourceClaimName": name}]})
}

/// n0 has devices and little CPU, n1 CPU and no devices, n2 devices and a taint; what runs takes the most of all.
fn cluster() -> Core {
    let mut core = Core::default();
    let class = json!({"metadata": {"name": "any"}, "spec": {}});
    core.apply_device_class(serde_json::from_value(class).unwrap(), NOW);
    node(&mut core, "n0", "4", false);
    node(&mut core, "n1", "4", false);
    node(&mut core, "n2", "4", true);
    pool(&mut core, "n0", 1);
    pool(&mut core, "n2", 1);
    for at in 0..2 {
        let on = json!({"nodeName": format!("n{at}")});
        pod(&mut core, &format!("low{at}"), "3", 0, &on);
    }
    core
}

fn texts(why: &Explanation) -> Vec<&str> {
    let suggestions = why.suggestions.iter();
    suggestions.map(|one| one.text.as_str()).collect()
}

#[test]
fn only_nodes_with_devices_are_suggested() {
    let mut core = cluster();
    claim(&mut core, "c");
    pod(&mut core, "p", "2", 10, &with_claim("c"));
    let why = core.why("ns/p", NOW).unwrap();
    let no_devices = why
        .filtered
        .iter()
        .find(|group| group.nodes == ["n1"])
        .unwrap();
    let plugins: Vec<&str> = no_devices.filters.iter().map(|one| one.plugin).collect();
    assert_eq!(plugins, ["NodeResourcesFit", "DynamicResources"]);
    assert_eq!(
        texts(&why),
        [
            "n2 fits with a toleration for dedicated=gpu:NoSchedule",
            "n0 fits if it asked for 1 less CPU",
            "n0 fits without the pod ns/low0"
        ]
    );
    let preemption = why.preemption.unwrap();
    let candidates: Vec<&str> = preemption
        .candidates
        .iter()
        .map(|one| one.node.as_str())
        .collect();
    assert_eq!(candidates, ["n0"]);
    let Some(Outcome::Unschedulable { preemption, .. }) = core.schedule_one(NOW) else {
        panic!("it must not fit");
    };
    assert_eq!(preemption.unwrap().node, "n0");
}

#[test]
fn a_claim_that_is_missing_is_what_every_node_lacks() {
    let mut core = cluster();
    pod(&mut core, "p", "1", 10, &with_claim("c"));
    let why = core.why("ns/p", NOW).unwrap();
    assert_eq!(why.feasible, 0);
    let reasons: Vec<(&str, usize)> = why
        .reasons
        .iter()
        .map(|one| (one.reason.as_str(), one.nodes))
        .collect();
    assert_eq!(
        reasons[0],
        ("could not find ResourceClaim \"ns/c\"", 3),
        "{reasons:?}"
    );
    assert!(why.suggestions.is_empty());
    let queue = why.queue.unwrap();
    assert_eq!(
        (queue.queue, queue.wakes[0].plugin),
        ("gated", "DynamicResources")
    );
}

/// Its own devices, being written, are no obstacle to the pod that has them.
#[test]
fn a_placed_pod_has_its_devices() {
    let mut core = cluster();
    claim(&mut core, "c");
    pod(&mut core, "p", "1", 0, &with_claim("c"));
    let Some(Outcome::Placed(decision)) = core.schedule_one(NOW) else {
        panic!("it must fit");
    };
    assert_eq!(decision.node, "n0");
    let why = core.why("ns/p", NOW).unwrap();
    assert_eq!((why.node.as_deref(), why.feasible), (Some("n0"), 1));
    assert!(!why.now.unwrap().differs);
}

fn what_if(core: &mut Core, claims: &Value, cpu: &str, replicas: usize) -> WhatIfAnswer {
    let mut spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    spec["resourceClaims"] = claims.clone();
    let object = json!({"kind": "Deployment", "metadata": {"name": "d"},
                        "spec": {"replicas": replicas, "template": {"spec": spec}}});
    WhatIf::new(core, Manifest::read(&object, "ns").unwrap()).finish(core, NOW)
}

#[test]
fn what_if_counts_claims() {
    let mut core = cluster();
    claim(&mut core, "c");
    let named = json!([{"name": "x", "resourceClaimName": "c"}]);
    let made = json!([{"name": "x", "resourceClaimTemplateName": "t"}]);
    for _ in 0..2 {
        // The claim is shared, so all go where the first one goes.
        let answer = what_if(&mut core, &named, "500m", 3);
        let on: Vec<(&str, usize)> = answer
            .placements
            .iter()
            .map(|one| (one.node.as_str(), one.pods))
            .collect();
        assert_eq!((on, answer.fit), (vec![("n0", 2)], 2));
        assert_eq!(
            answer.runs_out[0].reason,
            "resourceclaim not available on the node"
        );
    }
    assert_eq!(core.cluster().devices.in_use().count(), 0);
    let answer = what_if(&mut core, &made, "500m", 3);
    assert_eq!(answer.fit, 0);
    assert_eq!(
        answer.runs_out[0].reason,
        "pod \"ns/d (what-if 1)\": ResourceClaim not created yet"
    );
}
