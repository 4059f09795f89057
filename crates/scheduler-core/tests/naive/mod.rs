//! The reference scheduler in the most obvious way: every plugin over plain objects, every node, every pod, every time.
//!
//! It shares with the crate only the decoded objects; what is asked about them (selectors, quantities, sums) is worked out here.

#![allow(dead_code)]

mod affinity;
pub mod devices;
pub mod every;
mod filters;
mod labels;
pub mod preemption;
pub mod random;
mod requests;
pub mod rules;
mod scores;
mod spreading;
pub mod storage;
pub mod volumes;

use affinity::*;
use filters::*;
use labels::*;
use requests::*;
use rules::*;
use scores::*;
use spreading::*;
use volumes::*;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use fluyt_scheduler_core::labels::{LabelSelector, Labels, Operator};
use fluyt_scheduler_core::objects::{
    Container, Node, NodeSelectorTerm, Pod, PodAffinityTerm, PodDisruptionBudget, Text, Toleration,
    TopologySpreadConstraint,
};
use fluyt_scheduler_core::plugins::node_resources_balanced_allocation::BalancedAllocation;
use fluyt_scheduler_core::plugins::node_resources_fit::{NodeResourcesFit, Strategy};
use fluyt_scheduler_core::profile::Profile;

#[derive(Clone, Default)]
pub struct World {
    pub nodes: BTreeMap<Text, Node>,
    /// Placed pods (assumed ones too) with their node.
    pub placed: BTreeMap<Text, (Pod, Text)>,
    /// Pods that wait for room on a node, of a priority that the pod in question has to respect.
    pub nominated: BTreeMap<Text, (Pod, Text)>,
    pub namespaces: BTreeMap<Text, Labels>,
    pub services: BTreeMap<(Text, Text), Labels>,
    pub replica_sets: BTreeMap<(Text, Text), LabelSelector>,
    pub storage: Storage,
    pub budgets: BTreeMap<Text, PodDisruptionBudget>,
    /// Profiles by schedulerName; one that is not here has upstream's defaults.
    pub rules: BTreeMap<Text, Rules>,
}

impl World {
    pub fn rules(&self, pod: &Pod) -> &Rules {
        static USUAL: LazyLock<Rules> = LazyLock::new(Rules::default);
        self.rules.get(&pod.spec.scheduler_name).unwrap_or(&*USUAL)
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub feasible: BTreeMap<Text, i64>,
    /// The same nodes, scored as if nominated pods were placed.
    pub scored_with_nominated: BTreeMap<Text, i64>,
    /// The FailedScheduling message without preemption; only when nothing is feasible.
    pub message: String,
}

const HOSTNAME: &str = "kubernetes.io/hostname";

/// The world with nominated pods placed where they wait, on these nodes.
fn with(world: &World, on: impl Fn(&Text) -> bool) -> World {
    let mut with = world.clone();
    let nominated = world.nominated.iter().filter(|(_, (_, node))| on(node));
    let nominated = nominated.map(|(key, place)| (key.clone(), place.clone()));
    with.placed.extend(nominated);
    with
}

/// Why a node does not do: with those who wait for it, and if that is no reason, without.
fn filter_twice(world: &World, pod: &Pod, node: &Node) -> Vec<String> {
    let name = &node.metadata.name;
    if world.nominated.values().any(|(_, at)| at == name) {
        let failed = filter(&with(world, |at| at == name), pod, node);
        if !failed.is_empty() {
            return failed;
        }
    }
    filter(world, pod, node)
}

pub fn evaluate(world: &World, pod: &Pod) -> Answer {
    if world.nodes.is_empty() {
        return Answer {
            message: "no nodes available to schedule pods".into(),
            ..Answer::default()
        };
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut feasible = Vec::new();
    let named = named_nodes(pod);
    let conflict = named.as_ref().is_some_and(|names| names.is_empty());
    if let (Some(why), false) = (prefilter(world, pod), conflict) {
        return Answer {
            message: format!(
                "0/{} nodes are available: {why}. no new claims to deallocate",
                world.nodes.len()
            ),
            ..Answer::default()
        };
    }
    for node in world.nodes.values() {
        if named
            .as_ref()
            .is_some_and(|names| !names.contains(&node.metadata.name))
        {
            let reason = "node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned();
            *reasons.entry(reason).or_insert(0) += 1;
            continue;
        }
        let failed = filter_twice(world, pod, node);
        if failed.is_empty() {
            feasible.push(node);
        }
        for reason in failed {
            *reasons.entry(reason).or_insert(0) += 1;
        }
    }
    if feasible.is_empty() {
        let mut parts: Vec<String> = reasons.iter().map(|(r, n)| format!("{n} {r}")).collect();
        parts.sort();
        let why = match named.is_some_and(|names| names.is_empty()) {
            true => "pod affinity terms conflict".to_owned(),
            false => parts.join(", "),
        };
        return Answer {
            message: format!(
                "0/{} nodes are available: {why}. no new claims to deallocate",
                world.nodes.len()
            ),
            ..Answer::default()
        };
    }
    Answer {
        scored_with_nominated: match world.nominated.is_empty() {
            true => BTreeMap::new(),
            false => score(&with(world, |_| true), pod, &feasible),
        },
        feasible: score(world, pod, &feasible),
        message: String::new(),
    }
}
