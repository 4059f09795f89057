//! Pod groups: whole or not at all, whatever happens in whatever order.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fluyt_scheduler_core::core::{Core, Decision, Outcome};
use fluyt_scheduler_core::gangs::PodGroup;
use fluyt_scheduler_core::objects::{Node, Pod};
use fluyt_scheduler_core::profile::Profile;
use fluyt_scheduler_core::queue::Backoff;
use proptest::prelude::*;
use serde_json::json;

fn core(gate: bool) -> Core {
    let mut profile = Profile::default();
    profile.set_filter("DefaultPreemption", false);
    if gate {
        profile.enable_gang_scheduling();
    }
    let backoff = Backoff {
        initial: Duration::ZERO,
        maximum: Duration::ZERO,
    };
    Core::new(vec![profile], backoff)
}

fn node(name: &str, cpu: u64) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu.to_string(), "memory": "64Gi", "pods": "110"}}}))
    .unwrap()
}

fn pod(name: &str, group: &str, cpu: u64) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"schedulerName": "default-scheduler", "schedulingGroup": {"podGroupName": group},
                 "containers": [{"image": "a", "resources": {"requests": {"cpu": cpu.to_string()}}}]}}))
    .unwrap()
}

fn group(name: &str, min_count: usize) -> PodGroup {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": min_count}}}}))
    .unwrap()
}

const NOW: Duration = Duration::ZERO;

fn outcomes(core: &mut Core) -> Vec<Outcome> {
    std::iter::from_fn(|| core.schedule_one(NOW))
        .take(100)
        .collect()
}

fn placed(outcomes: &[Outcome]) -> usize {
    let is_placed = |outcome: &&Outcome| matches!(outcome, Outcome::Placed(_));
    outcomes.iter().filter(is_placed).count()
}

#[test]
fn a_gang_waits_for_its_group_then_for_its_pods_then_for_room() {
    let mut core = core(true);
    core.apply_node(&node("n", 2), NOW);
    core.apply_pod(&pod("a", "g", 1), NOW);
    assert!(outcomes(&mut core).is_empty());
    core.apply_group(group("g", 3), NOW);
    core.apply_pod(&pod("b", "g", 1), NOW);
    assert!(outcomes(&mut core).is_empty());
    assert_eq!(core.lengths().gated, 2);
    core.apply_pod(&pod("c", "g", 1), NOW);
    let outcomes_then = outcomes(&mut core);
    let messages: BTreeSet<&str> = outcomes_then
        .iter()
        .map(|outcome| match outcome {
            Outcome::Unschedulable { message, .. } => message.as_str(),
            Outcome::Placed(decision) => panic!("{decision:?}"),
        })
        .collect();
    assert_eq!(
        messages,
        BTreeSet::from([
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate",
            "pod group is unschedulable, waiting for minCount pods from a gang to be scheduled",
        ])
    );
    let report = core.take_group_reports().pop().unwrap();
    assert_eq!((report.scheduled, report.reason), (false, "Unschedulable"));
    assert_eq!(report.message, "pod group is unschedulable");
    core.apply_node(&node("m", 1), NOW);
    assert_eq!(placed(&outcomes(&mut core)), 3);
    assert!(core.take_group_reports().pop().unwrap().scheduled);
}

#[test]
fn with_the_gate_off_a_group_means_nothing() {
    let mut core = core(false);
    core.apply_node(&node("n", 2), NOW);
    core.apply_pod(&pod("a", "g", 1), NOW);
    assert_eq!(placed(&outcomes(&mut core)), 1);
}

#[test]
fn a_pod_that_joins_a_running_gang_counts_with_it() {
    let mut core = core(true);
    core.apply_node(&node("n", 4), NOW);
    core.apply_group(group("g", 2), NOW);
    core.apply_pod(&pod("a", "g", 1), NOW);
    core.apply_pod(&pod("b", "g", 1), NOW);
    assert_eq!(placed(&outcomes(&mut core)), 2);
    core.apply_pod(&pod("c", "g", 1), NOW);
    assert_eq!(placed(&outcomes(&mut core)), 1);
}

#[test]
fn the_pods_of_a_gang_share_a_claim_that_is_being_allocated() {
    let mut core = core(true);
    core.apply_node(&node("n", 4), NOW);
    core.apply_node(&node("m", 4), NOW);
    core.apply_group(group("g", 2), NOW);
    let class = json!({"metadata": {"name": "any"}});
    core.apply_device_class(serde_json::from_value(class).unwrap(), NOW);
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d.example.com", "nodeName": "n", "devices": [{"name": "x"}],
        "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}}});
    core.apply_slice(serde_json::from_value(slice).unwrap(), NOW);
    let claim = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "c"},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "any"}}]}}});
    core.apply_resource_claim(serde_json::from_value(claim).unwrap(), NOW);
    for name in ["a", "b"] {
        let mut pod = pod(name, "g", 1);
        let claims = json!([{"name": "mine", "resourceClaimName": "c"}]);
        pod.spec.resource_claims = serde_json::from_value(claims).unwrap();
        core.apply_pod(&pod, NOW);
    }
    let outcomes = outcomes(&mut core);
    assert_eq!(placed(&outcomes), 2);
    let decisions = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Placed(decision) => decision,
        other => panic!("{other:?}"),
    });
    let decisions: Vec<Decision> = decisions.collect();
    assert!(decisions.iter().all(|decision| decision.node == "n"));
    assert_eq!(decisions[0].claims, decisions[1].claims);
    let in_use = |core: &Core| core.cluster().devices.in_use().count();
    core.bind_failed(&decisions[0].pod, NOW);
    assert_eq!(in_use(&core), 1);
    core.bind_failed(&decisions[1].pod, NOW);
    assert_eq!(in_use(&core), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Node { name: u8, cpu: u8 },
    RemoveNode(u8),
    Group { name: u8, min_count: u8 },
    Pod { name: u8, group: u8 },
    Schedule,
    Bind(u8),
    Fail(u8),
    Delete(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..3, 1_u8..5).prop_map(|(name, cpu)| Step::Node { name, cpu }),
        1 => (0_u8..3).prop_map(Step::RemoveNode),
        2 => (0_u8..3, 0_u8..5).prop_map(|(name, min_count)| Step::Group { name, min_count }),
        6 => (0_u8..12, 0_u8..3).prop_map(|(name, group)| Step::Pod { name, group }),
        5 => Just(Step::Schedule),
        2 => (0_u8..12).prop_map(Step::Bind),
        1 => (0_u8..12).prop_map(Step::Fail),
        1 => (0_u8..12).prop_map(Step::Delete),
    ]
}

/// All pods of a group ask for the same, so that whether it fits is a division.
const fn cpu_of(group: u8) -> u64 {
    1 + group as u64 % 2
}

struct Test {
    core: Core,
    nodes: BTreeMap<u8, u64>,
    groups: BTreeMap<u8, usize>,
    /// By name: the group, and the node where the pod is.
    pods: BTreeMap<u8, (u8, Option<String>)>,
    in_flight: BTreeMap<u8, Decision>,
    time: Duration,
}

impl Test {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.time += Duration::from_secs(301);
        let now = self.time;
        match *step {
            Step::Node { name, cpu } => {
                self.core
                    .apply_node(&node(&format!("n{name}"), cpu.into()), now);
                self.nodes.insert(name, cpu.into());
            }
            Step::RemoveNode(name) => {
                self.core.delete_node(&format!("n{name}").into(), now);
                self.nodes.remove(&name);
            }
            Step::Group { name, min_count } => {
                if !self.groups.contains_key(&name) {
                    let min_count = usize::from(min_count);
                    self.core
                        .apply_group(group(&format!("g{name}"), min_count), now);
                    self.groups.insert(name, min_count);
                }
            }
            Step::Pod { name, group } => {
                if !self.pods.contains_key(&name) && !self.in_flight.contains_key(&name) {
                    let object = pod(&format!("p{name}"), &format!("g{group}"), cpu_of(group));
                    self.core.apply_pod(&object, now);
                    self.pods.insert(name, (group, None));
                }
            }
            Step::Schedule => return self.schedule(),
            Step::Bind(name) => {
                if let Some(decision) = self.in_flight.remove(&name) {
                    self.core.bound(&decision.pod, now);
                    if let Some((group, _)) = self.pods.get(&name) {
                        let mut pod =
                            pod(&format!("p{name}"), &format!("g{group}"), cpu_of(*group));
                        pod.spec.node_name = decision.node;
                        self.core.apply_pod(&pod, now);
                    }
                }
            }
            Step::Fail(name) => {
                if let Some(decision) = self.in_flight.remove(&name) {
                    self.core.bind_failed(&decision.pod, now);
                    if let Some(pod) = self.pods.get_mut(&name) {
                        pod.1 = None;
                    }
                }
            }
            Step::Delete(name) => {
                self.core.delete_pod(&format!("ns/p{name}"), now);
                self.pods.remove(&name);
            }
        }
        Ok(())
    }

    /// How many pods that ask for so much still fit.
    fn room(&self, cpu: u64) -> u64 {
        let free = |(name, total): (&u8, &u64)| {
            let here = self
                .pods
                .values()
                .filter(|(_, node)| node.as_deref() == Some(&format!("n{name}")));
            let used: u64 = here.map(|(group, _)| cpu_of(*group)).sum();
            total.saturating_sub(used) / cpu
        };
        self.nodes.iter().map(free).sum()
    }

    fn schedule(&mut self) -> Result<(), TestCaseError> {
        let mut decided: Option<u8> = None;
        let mut got = 0;
        let mut room = 0;
        let mut wanted = 0;
        let mut waiting = 0;
        // All outcomes of one group come one after the other; what comes next belongs to another decision.
        while let Some(outcome) = self.core.schedule_one(self.time) {
            let (Outcome::Placed(Decision { pod, .. }) | Outcome::Unschedulable { pod, .. }) =
                &outcome;
            let name: u8 = pod.name[1..].parse().unwrap();
            let group = self.pods[&name].0;
            if decided.is_none() {
                decided = Some(group);
                room = self.room(cpu_of(group)) as usize;
                let members = || self.pods.values().filter(|(own, _)| *own == group);
                let running = members().filter(|(_, node)| node.is_some()).count();
                waiting = members().count() - running;
                wanted = self.groups[&group].saturating_sub(running);
            }
            prop_assert_eq!(decided, Some(group), "one group at a time");
            if let Outcome::Placed(decision) = outcome {
                got += 1;
                self.pods.get_mut(&name).unwrap().1 = Some(decision.node.to_string());
                self.in_flight.insert(name, decision);
            }
            if self.core.group_outcomes() == 0 {
                break;
            }
        }
        if decided.is_some() {
            let fits = waiting.min(room);
            let expected = if fits >= wanted { fits } else { 0 };
            prop_assert_eq!(
                got,
                expected,
                "of {} waiting, {} wanted, {} have room",
                waiting,
                wanted,
                room
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn groups_land_whole_or_not_at_all(steps in prop::collection::vec(step(), 20..100)) {
        let mut test = Test {
            core: core(true),
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            pods: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            time: Duration::ZERO,
        };
        for step in &steps {
            test.step(step)?;
        }
    }
}
