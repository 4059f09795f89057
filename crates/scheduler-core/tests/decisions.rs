//! The fast scheduler against the naive one: random clusters, random events in random order; after every step the feasible nodes,
//! their scores, the choice and the message are equal.
//!
//! 20,000 decisions by default; `cargo xtask nightly` compares a million. A failing case shrinks, and is written to a file that
//! `FLUYT_PROPERTY_REPLAY` runs again (see `steps/runner.rs`).

#![allow(clippy::unwrap_used)]

mod naive;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use fluyt_scheduler_core::classes::Limits;
use fluyt_scheduler_core::core::{Core, Decision, Outcome, PodRef};
use fluyt_scheduler_core::labels::{LabelSelector, Labels, Selector};
use fluyt_scheduler_core::objects::{Pod, PodDisruptionBudget, Text};
use fluyt_scheduler_core::preemption::Preemption;
use fluyt_scheduler_core::queue::Backoff;
use naive::random::{SCHEDULERS, node, rarer_pod, selector};
use naive::rules::Rules;
use naive::{Answer, World};
use proptest::prelude::*;
use steps::{Scenario, Step};

struct Test {
    core: Core,
    world: World,
    /// Everything that is known.
    pods: BTreeMap<Text, Pod>,
    assumed: BTreeMap<Text, PodRef>,
    /// Places that preemptors wait for.
    reserved: BTreeMap<Text, (Pod, Text)>,
    preempts: bool,
    time: Duration,
    serial: usize,
    compared: u64,
    /// Every decision.
    told: Vec<Outcome>,
}

impl Test {
    fn new(scenario: &Scenario) -> Self {
        let mut world = World::default();
        for (at, name) in SCHEDULERS.iter().enumerate() {
            let rules = match scenario.profiles {
                Some(which) if at > 0 => Rules::unusual(which + at as u8),
                _ => Rules::default(),
            };
            world.rules.insert((*name).into(), rules);
        }
        let profiles = world.rules.iter().map(|(name, rules)| {
            let mut profile = rules.to_profile(name);
            profile.set_filter("DefaultPreemption", scenario.preemption);
            profile
        });
        let backoff = Backoff {
            initial: Duration::ZERO,
            maximum: Duration::ZERO,
        };
        let limits = Limits {
            few_domains: scenario.few_domains,
            classes: scenario.classes,
            slots: 1 << 20,
            log: 8,
        };
        let mut core = Core::with_limits(profiles.collect(), backoff, limits);
        if let Some(seed) = scenario.seed {
            core.break_ties_by(seed);
        }
        Self {
            core,
            world,
            pods: BTreeMap::new(),
            assumed: BTreeMap::new(),
            reserved: BTreeMap::new(),
            preempts: scenario.preemption,
            time: Duration::ZERO,
            serial: 0,
            compared: 0,
            told: Vec::new(),
        }
    }

    fn key(name: u8) -> Text {
        format!("ns{}/p{name}", name % 3).into()
    }

    fn forget(&mut self, key: &Text) {
        self.core.delete_pod(key, self.time);
        self.world.placed.remove(key);
        self.assumed.remove(key);
        self.reserved.remove(key);
        self.pods.remove(key);
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.time += Duration::from_secs(1);
        self.serial += 1;
        match step.clone() {
            Step::Node { name, shape } => {
                let node = node(name, shape);
                self.core.apply_node(&node, self.time);
                self.world.nodes.insert(node.metadata.name.clone(), node);
            }
            Step::RemoveNode(name) => {
                let name: Text = format!("n{name}").into();
                self.core.delete_node(&name, self.time);
                self.world.nodes.remove(&name);
            }
            Step::Pod { name, shape, extra } => {
                let key = Self::key(name);
                if !self.pods.contains_key(&key) {
                    let pod = rarer_pod(name, shape, extra, self.serial);
                    self.core.apply_pod(&pod, self.time);
                    self.pods.insert(key, pod);
                }
            }
            Step::PlacedPod {
                name,
                node,
                shape,
                extra,
            } => {
                self.forget(&Self::key(name));
                let mut pod = rarer_pod(name, shape, extra, self.serial);
                pod.spec.node_name = format!("n{node}").into();
                self.place(pod);
            }
            Step::Schedule => return self.schedule(),
            Step::Confirm(name) => {
                let key = Self::key(name);
                if self.assumed.remove(&key).is_some() {
                    let mut pod = self.pods[&key].clone();
                    pod.spec.node_name = self.world.placed[&key].1.clone();
                    self.place(pod);
                }
            }
            Step::BindFails(name) => {
                let key = Self::key(name);
                if let Some(reference) = self.assumed.remove(&key) {
                    self.core.bind_failed(&reference, self.time);
                    self.world.placed.remove(&key);
                }
            }
            Step::BoundElsewhere { name, node } => {
                let pod = self
                    .pods
                    .get(&Self::key(name))
                    .filter(|pod| !pod.is_assigned());
                if let Some(mut pod) = pod.cloned() {
                    pod.spec.node_name = format!("n{node}").into();
                    pod.spec.scheduling_gates.clear();
                    self.place(pod);
                }
            }
            other => self.step_of_objects(other),
        }
        Ok(())
    }

    /// The cluster says that a pod is on a node.
    fn place(&mut self, pod: Pod) {
        let key = pod.key();
        self.core.apply_pod(&pod, self.time);
        self.assumed.remove(&key);
        self.reserved.remove(&key);
        let node = pod.spec.node_name.clone();
        self.world.placed.insert(key.clone(), (pod.clone(), node));
        self.pods.insert(key, pod);
    }

    /// A known pod changes; its placement stays.
    fn change(&mut self, name: u8, change: impl FnOnce(&mut Pod)) {
        let key = Self::key(name);
        let Some(pod) = self.pods.get_mut(&key) else {
            return;
        };
        change(pod);
        let pod = pod.clone();
        self.core.apply_pod(&pod, self.time);
        for placed in [&mut self.world.placed, &mut self.reserved] {
            if let Some((own, _)) = placed.get_mut(&key) {
                *own = pod.clone();
            }
        }
    }

    fn step_of_objects(&mut self, step: Step) {
        match step {
            Step::Relabel { name, app } => self.change(name, |pod| {
                let app = format!("a{}", app % 4);
                pod.metadata.labels = [("app", app.as_str())].into_iter().collect();
            }),
            Step::Reprioritize { name, priority } => {
                self.change(name, |pod| pod.spec.priority = Some(priority.into()));
            }
            Step::Start { name, minute } => self.change(name, |pod| {
                let assigned = pod.is_assigned();
                pod.status.start_time =
                    assigned.then(|| format!("2026-01-01T00:{minute:02}:00Z").into());
            }),
            Step::OpenGates(name) => self.change(name, |pod| pod.spec.scheduling_gates.clear()),
            Step::Terminate(name) => {
                let key = Self::key(name);
                let pending = self.pods.get(&key).is_some_and(|pod| !pod.is_assigned());
                self.change(name, |pod| {
                    pod.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
                });
                if pending {
                    self.forget(&key);
                }
            }
            Step::Finish(name) => {
                self.change(name, |pod| pod.status.phase = "Succeeded".into());
                self.forget(&Self::key(name));
            }
            Step::Delete(name) => self.forget(&Self::key(name)),
            Step::Namespace { name, labels } => self.namespace(name, labels),
            Step::Service { name, app } => self.service(name, app),
            Step::ReplicaSet { name, app } => self.replica_set(name, app),
            Step::Budget { name, app, allowed } => self.budget(name, app, allowed),
            _ => {}
        }
    }

    fn service(&mut self, name: u8, app: u8) {
        let (namespace, name): (Text, Text) =
            (format!("ns{}", name % 3).into(), format!("s{name}").into());
        let labels: Option<Labels> =
            (app < 4).then(|| [("app", format!("a{app}").as_str())].into_iter().collect());
        self.core.change_cluster(self.time, false, |cluster| {
            cluster.set_service(&namespace, &name, labels.as_ref());
        });
        match labels {
            Some(labels) => self.world.services.insert((namespace, name), labels),
            None => self.world.services.remove(&(namespace, name)),
        };
    }

    fn replica_set(&mut self, name: u8, app: u8) {
        let (namespace, name): (Text, Text) =
            (format!("ns{}", app % 3).into(), format!("rs{name}").into());
        let source: LabelSelector = serde_json::from_value(selector(app)).unwrap();
        let selector = (app < 4).then(|| Selector::new(Some(&source)));
        self.core.change_cluster(self.time, false, |cluster| {
            cluster.set_owner("ReplicaSet", &namespace, &name, selector);
        });
        match app < 4 {
            true => self.world.replica_sets.insert((namespace, name), source),
            false => self.world.replica_sets.remove(&(namespace, name)),
        };
    }

    fn budget(&mut self, name: u8, app: u8, allowed: u8) {
        let key: Text = format!("ns{name}/budget").into();
        if app == 4 {
            self.core.budgets.remove(&key);
            self.world.budgets.remove(&key);
            return;
        }
        let budget: PodDisruptionBudget = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": format!("ns{name}"), "name": "budget"},
            "spec": {"selector": selector(app)}, "status": {"disruptionsAllowed": allowed}}))
        .unwrap();
        self.core.budgets.set(budget.clone());
        self.world.budgets.insert(key, budget);
    }

    fn namespace(&mut self, name: u8, labels: u8) {
        let name: Text = format!("ns{name}").into();
        if labels == 3 {
            self.core
                .change_cluster(self.time, true, |cluster| cluster.remove_namespace(&name));
            self.world.namespaces.remove(&name);
            return;
        }
        let labels: Labels = match labels {
            0 => Labels::default(),
            team => [("team", format!("t{team}").as_str())]
                .into_iter()
                .collect(),
        };
        self.core.change_cluster(self.time, true, |cluster| {
            cluster.set_namespace(&name, &labels)
        });
        self.world.namespaces.insert(name, labels);
    }

    // ----- decisions -----

    /// What the fast scheduler says now about each pod that waits, as nodes with scores.
    fn foretell(&mut self) -> BTreeMap<Text, BTreeMap<Text, i64>> {
        let waiting: Vec<Text> = self
            .pods
            .keys()
            .filter(|key| self.core.place_of(key).is_some() && !self.assumed.contains_key(*key))
            .cloned()
            .collect();
        let mut all = BTreeMap::new();
        for key in waiting {
            let scores = self.core.evaluate(&key).unwrap().into_iter().collect();
            all.insert(key, scores);
        }
        all
    }

    /// Of equally good nodes the least goes first.
    fn order(&self, node: &Text) -> u32 {
        let row = self.core.cluster().nodes.id(node).unwrap();
        self.core.ties().rank(row)
    }

    fn schedule(&mut self) -> Result<(), TestCaseError> {
        // A place that is waited for hides what a pod of higher priority sees.
        let foretold = match self.reserved.is_empty() {
            true => self.foretell(),
            false => BTreeMap::new(),
        };
        let Some(outcome) = self.core.schedule_one(self.time) else {
            return Ok(());
        };
        self.told.push(outcome.clone());
        let key = match &outcome {
            Outcome::Placed(decision) => decision.pod.key(),
            Outcome::Unschedulable { pod, .. } => pod.key(),
        };
        let pod = self.pods[&key].clone();
        let own_place = self.reserved.remove(&key).map(|(_, node)| node);
        let mut seen = self.world.clone();
        let others = self
            .reserved
            .iter()
            .filter(|(_, (other, _))| other.priority() >= pod.priority());
        seen.nominated
            .extend(others.map(|(key, place)| (key.clone(), place.clone())));
        let answer = naive::evaluate(&seen, &pod);
        if let Some(foretold) = foretold.get(&key) {
            prop_assert_eq!(foretold, &answer.feasible, "pod {}: {:?}", key, pod);
            self.compared += 1;
        }
        match outcome {
            Outcome::Placed(decision) => self.placed(decision, pod, &answer, own_place),
            Outcome::Unschedulable {
                message,
                preemption,
                ..
            } => {
                prop_assert!(
                    answer.feasible.is_empty(),
                    "{} could go to {:?}, but: {}",
                    key,
                    answer.feasible,
                    message
                );
                // Once room is made nobody says that claims could not make it.
                let expected = match &preemption {
                    Some(_) => answer
                        .message
                        .trim_end_matches(" no new claims to deallocate"),
                    None => answer.message.as_str(),
                };
                let said = message.strip_prefix(expected);
                prop_assert!(
                    said.is_some(),
                    "{}: {}, not {}",
                    key,
                    message,
                    answer.message
                );
                self.preempted(&seen, pod, preemption)
            }
        }
    }

    fn placed(
        &mut self,
        decision: Decision,
        pod: Pod,
        answer: &Answer,
        own_place: Option<Text>,
    ) -> Result<(), TestCaseError> {
        let is_choice = |scores: &BTreeMap<Text, i64>| {
            let best = scores.values().max();
            let equals = scores.iter().filter(|(_, score)| Some(*score) == best);
            let first = equals
                .map(|(name, _)| name)
                .min_by_key(|name| self.order(name));
            best == Some(&decision.score) && first == Some(&decision.node)
        };
        match own_place.filter(|node| answer.feasible.contains_key(node)) {
            Some(node) => prop_assert_eq!(&decision.node, &node, "the place it waited for"),
            None => {
                // Pods that wait for room count as placed in scores, unless rules between pods decide where this one may go.
                prop_assert!(
                    is_choice(&answer.feasible) || is_choice(&answer.scored_with_nominated),
                    "{} with {} for {}: {:?}",
                    decision.node,
                    decision.score,
                    pod.key(),
                    answer
                );
                prop_assert_eq!(decision.feasible, answer.feasible.len());
            }
        }
        let key = pod.key();
        self.world
            .placed
            .insert(key.clone(), (pod, decision.node.clone()));
        self.assumed.insert(key, decision.pod);
        Ok(())
    }

    fn preempted(
        &mut self,
        seen: &World,
        pod: Pod,
        preemption: Option<Preemption>,
    ) -> Result<(), TestCaseError> {
        if !self.preempts {
            prop_assert_eq!(preemption, None);
            return Ok(());
        }
        let row = |name: &Text| self.order(name);
        let expected = naive::preemption::preempt(seen, &pod, row);
        let got = preemption.map(|one| {
            let victims: Vec<Text> = one.victims.iter().map(PodRef::key).collect();
            (one.node, victims)
        });
        prop_assert_eq!(&got, &expected, "preemption by {:?}", pod);
        if let Some((node, victims)) = got {
            // Pods of lower priority that waited for room there wait no longer.
            let priority = pod.priority();
            self.reserved
                .retain(|_, (other, at)| *at != node || other.priority() >= priority);
            self.reserved.insert(pod.key(), (pod, node));
            if self.serial.is_multiple_of(2) {
                victims.iter().for_each(|key| self.forget(key));
            }
        }
        Ok(())
    }

    /// Feasible nodes and scores of some pods, known in whatever state.
    fn probe(&mut self, which: usize) -> Result<(), TestCaseError> {
        if self.pods.is_empty() {
            return Ok(());
        }
        let mut seen = self.world.clone();
        seen.placed.extend(self.reserved.clone());
        let at = (which * 7) % self.pods.len();
        let (key, pod) = self
            .pods
            .iter()
            .nth(at)
            .map(|(key, pod)| (key.clone(), pod.clone()))
            .unwrap();
        let naive = naive::evaluate(&seen, &pod).feasible;
        let fast: BTreeMap<Text, i64> = self.core.evaluate(&key).unwrap().into_iter().collect();
        prop_assert_eq!(fast, naive, "pod {}: {:?}", key, pod);
        Ok(())
    }
}

#[test]
fn decisions_equal_the_naive_scheduler() {
    steps::runner::run("decisions", steps::scenario, 20_000, |scenario| {
        let mut test = Test::new(scenario);
        for (at, step) in scenario.steps.iter().enumerate() {
            test.step(step)?;
            test.probe(at)?;
        }
        Ok(test.compared)
    });
}

/// Two cores that are told the same give the same answers, whatever their hash tables look like inside.
#[test]
fn the_same_events_give_the_same_decisions() {
    steps::runner::run("repeated", steps::scenario, 500, |scenario| {
        let (mut one, mut other) = (Test::new(scenario), Test::new(scenario));
        for (at, step) in scenario.steps.iter().enumerate() {
            one.step(step)?;
            other.step(step)?;
            prop_assert_eq!(&one.told, &other.told, "at step {}", at);
        }
        Ok(one.told.len() as u64)
    });
}
