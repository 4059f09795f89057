//! Explanations against the naive scheduler: every failing filter of every node, scores, suggestions that suffice; and that asking
//! changes nothing.

#![allow(clippy::unwrap_used)]

mod naive;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fluyt_scheduler_core::classes::Limits;
use fluyt_scheduler_core::core::{Core, Outcome, PodRef};
use fluyt_scheduler_core::explain::{Change, Explanation, Manifest, Suggestion, WhatIf, Why};
use fluyt_scheduler_core::labels::Labels;
use fluyt_scheduler_core::objects::{Pod, Text, Toleration};
use fluyt_scheduler_core::profile::Profile;
use fluyt_scheduler_core::queue::Backoff;
use fluyt_scheduler_core::requests::amount;
use naive::World;
use naive::random::{node, pod};
use proptest::prelude::*;
use serde_json::json;

/// A cluster from small numbers, and a pod that waits in it.
fn cluster(nodes: &[[u8; 8]], placed: &[(u8, [u8; 10])], incoming: [u8; 10]) -> (Core, World, Pod) {
    let (mut core, mut world) = (Core::default(), World::default());
    let now = Duration::ZERO;
    for (team, name) in ["ns0", "ns1"].into_iter().enumerate() {
        let labels: Labels = [("team", format!("t{team}").as_str())]
            .into_iter()
            .collect();
        core.change_cluster(now, true, |cluster| {
            cluster.set_namespace(&name.into(), &labels)
        });
        world.namespaces.insert(name.into(), labels);
    }
    for (name, shape) in nodes.iter().enumerate() {
        let node = node(name as u8, *shape);
        core.apply_node(&node, now);
        world.nodes.insert(node.metadata.name.clone(), node);
    }
    for (index, (at, shape)) in placed.iter().enumerate() {
        let mut pod = pod(index as u8, *shape, index);
        pod.spec.node_name = format!("n{}", *at as usize % nodes.len()).into();
        core.apply_pod(&pod, now);
        let node = pod.spec.node_name.clone();
        world.placed.insert(pod.key(), (pod, node));
    }
    let pod = pod(99, incoming, 99);
    core.apply_pod(&pod, now);
    (core, world, pod)
}

type Failing = BTreeMap<Text, BTreeMap<String, Vec<String>>>;

fn told(explanation: &Explanation) -> Failing {
    let mut failing = Failing::new();
    for group in &explanation.filtered {
        assert_eq!(group.count, group.nodes.len());
        for node in &group.nodes {
            let filters = group.filters.iter();
            let filters = filters.map(|filter| (filter.plugin.to_owned(), filter.reasons.clone()));
            failing.insert(node.clone(), filters.collect());
        }
    }
    failing
}

fn expected(world: &World, pod: &Pod) -> Failing {
    let one = |(name, node)| {
        let failing = naive::every::failing(world, pod, node);
        let failing: BTreeMap<String, Vec<String>> = failing
            .into_iter()
            .map(|(plugin, reasons)| (plugin.to_owned(), reasons))
            .collect();
        (!failing.is_empty()).then(|| (Text::clone(name), failing))
    };
    world.nodes.iter().filter_map(one).collect()
}

/// Whether asking for less has one place in the pod: the requests of its only container.
fn asks_in_one_place(pod: &Pod) -> bool {
    let spec = &pod.spec;
    let more = spec.overhead.is_empty() && spec.resources.is_none();
    spec.containers.len() == 1 && spec.init_containers.is_empty() && more
}

/// The change, made on the objects as a user would.
fn make(change: &Change, world: &mut World, pod: &mut Pod, node: &Text) {
    match change {
        Change::AskForLess { resource, by } => {
            let requests = &mut pod.spec.containers[0].resources.requests;
            let left = amount(resource, requests.get(resource).unwrap()) - by;
            let left = if resource == "cpu" {
                format!("{left}m")
            } else {
                left.to_string()
            };
            let others = requests.iter().filter(|(name, _)| *name != resource);
            let others = others.map(|(name, value)| (name.clone(), value.clone()));
            *requests = others.chain([(resource.clone(), left.into())]).collect();
        }
        Change::Tolerate { key, value, effect } => pod.spec.tolerations.push(Toleration {
            key: key.clone(),
            operator: "Equal".into(),
            value: value.clone(),
            effect: effect.clone(),
        }),
        Change::DropNodeSelector { key, .. } => {
            let rest = pod.spec.node_selector.iter().filter(|(own, _)| *own != key);
            pod.spec.node_selector = rest.map(|(k, v)| (k.clone(), v.clone())).collect();
        }
        Change::DropNodeAffinity => {
            let affinity = pod.spec.affinity.as_mut().unwrap();
            affinity.node_affinity.as_mut().unwrap().required = None;
        }
        Change::DropHostPort { port, .. } => {
            pod.spec.containers[0]
                .ports
                .retain(|own| own.host_port != *port);
        }
        Change::RaiseMaxSkew { constraint, to, .. } => hard(pod, *constraint).max_skew = *to,
        Change::SoftenSpread { constraint, .. } => {
            hard(pod, *constraint).when_unsatisfiable = "ScheduleAnyway".into();
        }
        Change::DropAffinity { term, .. } => {
            let affinity = pod.spec.affinity.as_mut().unwrap();
            affinity
                .pod_affinity
                .as_mut()
                .unwrap()
                .required
                .remove(*term);
        }
        Change::DropAntiAffinity { key } => {
            let affinity = pod.spec.affinity.as_mut().unwrap();
            let terms = &mut affinity.pod_anti_affinity.as_mut().unwrap().required;
            terms.retain(|term| term.topology_key != *key);
        }
        Change::Uncordon => world.nodes.get_mut(node).unwrap().spec.unschedulable = false,
        Change::LabelNode { key, value } => {
            let labels = &mut world.nodes.get_mut(node).unwrap().metadata.labels;
            let others = labels.iter().filter(|(own, _)| *own != key);
            let others = others.map(|(k, v)| (k.clone(), v.clone()));
            *labels = others.chain([(key.clone(), value.clone())]).collect();
        }
        Change::Remove { pods, .. } => pods.iter().for_each(|key| drop(world.placed.remove(key))),
    }
}

fn hard(
    pod: &mut Pod,
    constraint: usize,
) -> &mut fluyt_scheduler_core::objects::TopologySpreadConstraint {
    let constraints = pod.spec.topology_spread_constraints.iter_mut();
    constraints
        .filter(|own| own.when_unsatisfiable == "DoNotSchedule")
        .nth(constraint)
        .unwrap()
}

fn suffices(world: &World, pod: &Pod, suggestion: &Suggestion) -> Result<(), TestCaseError> {
    prop_assert!(suggestion.sufficient && !suggestion.nodes.is_empty());
    let asks_less = |change: &Change| matches!(change, Change::AskForLess { .. });
    if suggestion.changes.iter().any(asks_less) && !asks_in_one_place(pod) {
        // Which of its containers is to ask for less is the user's choice.
        return Ok(());
    }
    for node in &suggestion.nodes {
        let (mut world, mut pod) = (world.clone(), pod.clone());
        for change in &suggestion.changes {
            make(change, &mut world, &mut pod, node);
        }
        let failing = naive::every::failing(&world, &pod, &world.nodes[node]);
        prop_assert!(
            failing.is_empty(),
            "{} on {}: {:?}",
            suggestion.text,
            node,
            failing
        );
    }
    Ok(())
}

fn json_of(explanation: &Explanation) -> serde_json::Value {
    serde_json::to_value(explanation).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn explanations_equal_the_naive_answers(
        nodes in prop::collection::vec(prop::array::uniform8(0_u8..12), 1..7),
        placed in prop::collection::vec((0_u8..7, prop::array::uniform10(0_u8..12)), 0..24),
        incoming in prop::array::uniform10(0_u8..12),
    ) {
        let (mut core, world, pod) = cluster(&nodes, &placed, incoming);
        let (key, now) = (pod.key(), Duration::ZERO);
        let explanation = core.why(&key, now).unwrap();
        prop_assert_eq!(told(&explanation), expected(&world, &pod));
        prop_assert_eq!(explanation.feasible, naive::evaluate(&world, &pod).feasible.len());

        // Worked off node by node it says the same.
        let mut why = Why::of_pod(&core, &key).unwrap();
        while !why.step(&mut core, 1) {}
        prop_assert_eq!(json_of(&why.finish(&mut core, now)), json_of(&explanation));

        let scores: BTreeMap<Text, i64> = core.why_scores(&key).unwrap().into_iter().collect();
        prop_assert_eq!(&scores, &naive::evaluate(&world, &pod).feasible);
        for suggestion in &explanation.suggestions {
            suffices(&world, &pod, suggestion)?;
        }
        let efforts: Vec<u64> = explanation.suggestions.iter().map(|one| one.effort).collect();
        prop_assert!(efforts.is_sorted());

        let mut ranked: Vec<(i64, u32)> =
            scores.iter().map(|(name, score)| (-score, core.cluster().nodes.id(name).unwrap())).collect();
        ranked.sort_unstable();
        if let Some(Outcome::Placed(decision)) = core.schedule_one(now) {
            let recorded = core.recorded(&key, now).unwrap();
            prop_assert_eq!(recorded.feasible, decision.feasible);
            let named = |(score, row): (i64, u32)| (core.cluster().nodes.name(row).clone(), -score);
            let parts = [Some(&recorded.scores.chosen), recorded.scores.runner_up.as_ref()];
            for (rank, one) in parts.into_iter().enumerate() {
                let told = one.map(|one| (one.node.clone(), one.total));
                prop_assert_eq!(told, ranked.get(rank).copied().map(named));
                let sum = one.map(|one| one.plugins.iter().map(|plugin| plugin.weighted).sum());
                prop_assert_eq!(sum, one.map(|one| one.total));
            }
            // As things are, without the pod itself, the decision is the same; plugin by plugin as it was recorded.
            let now = core.why(&key, now).unwrap().now.unwrap();
            prop_assert!(!now.differs);
            prop_assert_eq!(now.scores, recorded.scores);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Node {
        name: u8,
        shape: [u8; 8],
    },
    RemoveNode(u8),
    Pod {
        name: u8,
        shape: [u8; 10],
    },
    Schedule,
    BindFails(u8),
    Delete(u8),
    /// Only in the world where somebody asks.
    Why {
        name: u8,
        rows: u8,
    },
    WhatIf(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let shape8 = prop::array::uniform8(0_u8..12);
    let shape10 = prop::array::uniform10(0_u8..12);
    prop_oneof![
        2 => (0_u8..9, shape8).prop_map(|(name, shape)| Step::Node { name, shape }),
        1 => (0_u8..9).prop_map(Step::RemoveNode),
        6 => (0_u8..30, shape10).prop_map(|(name, shape)| Step::Pod { name, shape }),
        8 => Just(Step::Schedule),
        1 => (0_u8..30).prop_map(Step::BindFails),
        1 => (0_u8..30).prop_map(Step::Delete),
        3 => (0_u8..30, 1_u8..9).prop_map(|(name, rows)| Step::Why { name, rows }),
        2 => (0_u8..8).prop_map(Step::WhatIf),
    ]
}

fn manifest(number: u8) -> Manifest {
    let labels = json!({"app": format!("a{}", number % 3)});
    let selector = json!({"matchLabels": labels});
    let mut spec = json!({"containers": [{"name": "c", "image": "a", "resources": {"requests": {"cpu": "300m"}}}]});
    match number {
        0 | 4 => {
            spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}]);
        }
        1 | 5 => {
            spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "rack",
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]);
        }
        2 => spec["containers"][0]["ports"] = json!([{"hostPort": 80}]),
        3 => {
            spec["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = json!([{"weight": 5,
                "podAffinityTerm": {"topologyKey": "a.key/nobody-has", "labelSelector": selector}}]);
        }
        _ => {}
    }
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let kind = if number == 7 {
        "DaemonSet"
    } else {
        "Deployment"
    };
    let object = json!({"kind": kind, "metadata": {"name": "d"}, "spec": {"replicas": 4, "template": template}});
    Manifest::read(&object, "ns0").unwrap()
}

/// What a decision came to; the generation only counts changes.
fn essence(outcome: Option<Outcome>) -> String {
    match outcome {
        Some(Outcome::Placed(mut decision)) => {
            (decision.generation, decision.class) = (0, 0);
            format!("{decision:?}")
        }
        other => format!("{other:?}"),
    }
}

struct Twin {
    core: Core,
    placed: BTreeMap<Text, PodRef>,
    asks: bool,
    pending: Option<Why>,
}

impl Twin {
    fn new(asks: bool) -> Self {
        let limits = Limits {
            few_domains: 2,
            classes: 4,
            slots: 1 << 20,
            log: 8,
        };
        let backoff = Backoff {
            initial: Duration::ZERO,
            maximum: Duration::ZERO,
        };
        Self {
            core: Core::with_limits(vec![Profile::default()], backoff, limits),
            placed: BTreeMap::new(),
            asks,
            pending: None,
        }
    }

    fn step(&mut self, step: &Step, now: Duration) -> String {
        let core = &mut self.core;
        let key = |name: &u8| Text::from(format!("ns{}/p{name}", name % 3));
        match step {
            Step::Node { name, shape } => core.apply_node(&node(*name, *shape), now),
            Step::RemoveNode(name) => core.delete_node(&format!("n{name}").into(), now),
            Step::Pod { name, shape } => {
                if core.cluster().pod_id(&key(name)).is_none() {
                    core.apply_pod(&pod(*name, *shape, usize::from(*name)), now);
                }
            }
            Step::Schedule => {
                let outcome = core.schedule_one(now);
                if let Some(Outcome::Placed(decision)) = &outcome {
                    self.placed.insert(decision.pod.key(), decision.pod.clone());
                }
                return essence(outcome);
            }
            Step::BindFails(name) => {
                if let Some(pod) = self.placed.remove(&key(name)) {
                    core.bind_failed(&pod, now);
                }
            }
            Step::Delete(name) => {
                self.placed.remove(&key(name));
                core.delete_pod(&key(name), now);
            }
            Step::Why { .. } | Step::WhatIf(_) if !self.asks => {}
            Step::Why { name, rows } => {
                // The question before is still open: it goes on over the changes since, and ends.
                match self.pending.take() {
                    Some(why) if *rows == 1 => why.abandon(core),
                    Some(why) => drop(why.finish(core, now)),
                    None => {}
                }
                if let Some(mut why) = Why::of_pod(core, &key(name)) {
                    match why.step(core, usize::from(*rows)) {
                        true => drop(why.finish(core, now)),
                        false => self.pending = Some(why),
                    }
                }
            }
            Step::WhatIf(number) => {
                let what_if = WhatIf::new(core, manifest(*number));
                let answer = what_if.finish(core, now);
                let placed: usize = answer.placements.iter().map(|one| one.pods).sum();
                assert_eq!(placed, answer.fit);
                let names: BTreeSet<&Text> =
                    answer.placements.iter().map(|one| &one.node).collect();
                assert_eq!(names.len(), answer.placements.len());
            }
        }
        String::new()
    }
}

/// What makes room on a node that has gone since must not be asked of the pods that are still on it: they would come back on the
/// node that takes its place in the tables.
#[test]
fn pods_on_a_node_that_is_gone_stay_there() {
    let plain = |name| Step::Node {
        name,
        shape: [0; 8],
    };
    let pod = |name, shape| Step::Pod { name, shape };
    let steps = [
        plain(6),
        pod(0, [0, 8, 0, 0, 0, 0, 0, 0, 3, 0]),
        pod(29, [0, 3, 0, 0, 0, 0, 0, 6, 0, 0]),
        Step::Schedule,
        Step::Why { name: 29, rows: 7 },
        Step::RemoveNode(6),
        Step::Why { name: 0, rows: 2 },
        plain(0),
        Step::Schedule,
    ];
    same_with_and_without_questions(&steps).unwrap();
}

fn same_with_and_without_questions(steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut asked, mut alone) = (Twin::new(true), Twin::new(false));
    for (at, step) in steps.iter().enumerate() {
        let now = Duration::from_secs(at as u64);
        prop_assert_eq!(
            asked.step(step, now),
            alone.step(step, now),
            "step {}: {:?}",
            at,
            step
        );
    }
    let now = Duration::from_secs(1000);
    for _ in 0..200 {
        prop_assert_eq!(
            asked.step(&Step::Schedule, now),
            alone.step(&Step::Schedule, now)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn asking_changes_no_decision(steps in prop::collection::vec(step(), 40..160)) {
        same_with_and_without_questions(&steps)?;
    }
}
