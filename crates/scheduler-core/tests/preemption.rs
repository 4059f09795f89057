//! Preemption against the naive search: the same node and the same victims, and after their end the pod goes there.

#![allow(clippy::unwrap_used)]

mod naive;

use std::time::Duration;

use fluyt_scheduler_core::core::{Core, Outcome};
use fluyt_scheduler_core::objects::{Pod, Text};
use naive::World;
use naive::random::{node, pod};
use proptest::prelude::*;
use serde_json::json;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn victims_equal_the_naive_search(
        nodes in prop::collection::vec(prop::array::uniform8(0_u8..12), 1..5),
        placed in prop::collection::vec((0_u8..5, prop::array::uniform10(0_u8..12)), 4..24),
        incoming in prop::array::uniform10(0_u8..12),
    ) {
        let (mut core, mut world) = (Core::default(), World::default());
        let now = Duration::ZERO;
        for (name, shape) in nodes.iter().enumerate() {
            let node = node(name as u8, *shape);
            core.apply_node(&node, now);
            world.nodes.insert(node.metadata.name.clone(), node);
        }
        for (index, (at, shape)) in placed.iter().enumerate() {
            let mut pod = pod(index as u8, *shape, index);
            pod.spec.node_name = format!("n{}", *at as usize % nodes.len()).into();
            core.apply_pod(&pod, now);
            world.placed.insert(pod.key(), (pod.clone(), pod.spec.node_name.clone()));
        }
        let mut pod = pod(99, incoming, 99);
        pod.spec.priority = Some(i32::from(incoming[8] % 3) + 1);
        core.apply_pod(&pod, now);
        let Some(Outcome::Unschedulable { preemption, message, .. }) = core.schedule_one(now) else {
            return Ok(());
        };
        let row = |name: &Text| core.cluster().nodes.id(name).unwrap();
        let expected = naive::preemption::preempt(&world, &pod, row);
        let got = preemption.map(|one| {
            let keys: Vec<Text> = one.victims.iter().map(|victim| victim.key()).collect();
            (one.node, keys)
        });
        prop_assert_eq!(&got, &expected, "{}", message);
        let Some((node, victims)) = got else {
            prop_assert!(message.contains(" preemption: 0/"), "{}", message);
            return Ok(());
        };
        for key in &victims {
            core.delete_pod(key, now);
            world.placed.remove(key);
        }
        match core.schedule_one(Duration::from_secs(60)) {
            Some(Outcome::Placed(decision)) => prop_assert_eq!(decision.node, node),
            other => prop_assert!(false, "the room that was made is not used: {:?}", other),
        }
    }
}

fn worker(name: &str, priority: i32, node: &str) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"namespace": "ns", "name": name, "uid": name}, "spec": {
        "schedulerName": "default-scheduler", "priority": priority, "nodeName": node,
        "containers": [{"image": "a", "resources": {"requests": {"cpu": "1"}}}]}}),
    )
    .unwrap()
}

fn core_with_small_nodes(nodes: u8) -> Core {
    let mut core = Core::default();
    for name in 0..nodes {
        core.apply_node(&node(name, [0; 8]), Duration::ZERO);
    }
    core
}

#[test]
fn a_successor_keeps_the_place_that_was_made_for_a_pod() {
    let mut core = core_with_small_nodes(1);
    core.apply_pod(&worker("other", 1, ""), Duration::ZERO);
    let mut nominated = worker("nominated", 1, "");
    nominated.status.nominated_node_name = "n0".into();
    core.apply_pod(&nominated, Duration::ZERO);
    let Some(Outcome::Unschedulable { pod, .. }) = core.schedule_one(Duration::ZERO) else {
        panic!("the room on n0 is taken");
    };
    assert_eq!(pod.name, "other");
    let Some(Outcome::Placed(decision)) = core.schedule_one(Duration::ZERO) else {
        panic!("the room on n0 is its own");
    };
    assert_eq!(
        (decision.pod.name.as_str(), decision.node.as_str()),
        ("nominated", "n0")
    );
}

#[test]
fn a_start_that_is_told_later_counts() {
    let mut core = core_with_small_nodes(2);
    for (name, start) in [
        ("n0", "2026-01-01T00:05:00Z"),
        ("n1", "2026-01-01T00:10:00Z"),
    ] {
        let mut pod = worker(&format!("on-{name}"), 0, name);
        core.apply_pod(&pod, Duration::ZERO);
        pod.status.start_time = Some(start.into());
        core.apply_pod(&pod, Duration::ZERO);
    }
    core.apply_pod(&worker("high", 1, ""), Duration::ZERO);
    let Some(Outcome::Unschedulable { preemption, .. }) = core.schedule_one(Duration::ZERO) else {
        panic!("both nodes are full");
    };
    assert_eq!(preemption.unwrap().node, "n1");
}

#[test]
fn room_that_was_made_on_a_node_that_is_gone_is_nobodys() {
    let mut core = core_with_small_nodes(2);
    core.apply_pod(&worker("low", 0, "n0"), Duration::ZERO);
    core.apply_pod(&worker("important", 9, "n1"), Duration::ZERO);
    core.apply_pod(&worker("high", 1, ""), Duration::ZERO);
    let Some(Outcome::Unschedulable { preemption, .. }) = core.schedule_one(Duration::ZERO) else {
        panic!("both nodes are full");
    };
    assert_eq!(preemption.unwrap().node, "n0");
    core.delete_node(&"n0".into(), Duration::ZERO);
    core.delete_pod("ns/low", Duration::ZERO);
    core.apply_pod(&worker("higher", 2, ""), Duration::ZERO);
    // Both try in vain; then a node comes, and the one that is gone comes back.
    for second in 400..402 {
        core.schedule_one(Duration::from_secs(second)).unwrap();
    }
    for name in [2, 0] {
        core.apply_node(&node(name, [0; 8]), Duration::from_secs(500));
    }
    let free: Vec<Text> = core
        .evaluate("ns/higher")
        .unwrap()
        .into_iter()
        .map(|one| one.0)
        .collect();
    assert!(
        free.contains(&"n0".into()) && free.contains(&"n2".into()),
        "{free:?}"
    );
}

#[test]
fn a_place_is_given_up_when_there_are_no_nodes_at_all() {
    let mut core = core_with_small_nodes(1);
    core.apply_pod(&worker("low", 0, "n0"), Duration::ZERO);
    core.apply_pod(&worker("high", 1, ""), Duration::ZERO);
    core.schedule_one(Duration::ZERO).unwrap();
    core.delete_node(&"n0".into(), Duration::ZERO);
    core.delete_pod("ns/low", Duration::ZERO);
    core.schedule_one(Duration::from_secs(400)).unwrap();
    core.apply_node(&node(0, [0; 8]), Duration::from_secs(500));
    assert_eq!(core.evaluate("ns/high").unwrap().len(), 1);
}

/// Who waits for room is not there yet: a pod that wants to be with it waits too, and one that it keeps away stays away.
#[test]
fn nominated_pods_let_nobody_in() {
    let mut core = core_with_small_nodes(2);
    let mut nominated = worker("nominated", 5, "");
    nominated.status.nominated_node_name = "n0".into();
    nominated.metadata.labels = [("app", "a")].into_iter().collect();
    let rule = |kind: &str| {
        let term = json!([{"topologyKey": "kubernetes.io/hostname",
                           "labelSelector": {"matchLabels": {"app": "a"}}}]);
        let mut pod = worker(kind, 5, "");
        let affinity = json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": term}});
        pod.spec.affinity = serde_json::from_value(affinity).unwrap();
        pod.spec.containers[0].resources = Default::default();
        pod
    };
    // Before the nominated pod is decided, the others are.
    core.apply_pod(&rule("podAffinity"), Duration::ZERO);
    core.apply_pod(&rule("podAntiAffinity"), Duration::ZERO);
    core.apply_pod(&nominated, Duration::ZERO);
    match core.schedule_one(Duration::ZERO) {
        Some(Outcome::Unschedulable { pod, message, .. }) => {
            assert_eq!(pod.name, "podAffinity");
            assert!(
                message.contains("2 node(s) didn't match pod affinity rules"),
                "{message}"
            );
        }
        other => panic!("nobody is there: {other:?}"),
    }
    let Some(Outcome::Placed(decision)) = core.schedule_one(Duration::ZERO) else {
        panic!("n1 is free for it");
    };
    assert_eq!(decision.node, "n1");
}
