//! What can happen to a cluster, as small numbers: steps that proptest makes, shrinks, and that a file keeps for another run.

#![allow(dead_code)]

pub mod runner;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Small numbers from which objects are made; smaller is simpler, so that failures shrink to something readable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    Node {
        name: u8,
        shape: [u8; 8],
    },
    RemoveNode(u8),
    Pod {
        name: u8,
        shape: [u8; 10],
        extra: [u8; 4],
    },
    PlacedPod {
        name: u8,
        node: u8,
        shape: [u8; 10],
        extra: [u8; 4],
    },
    Schedule,
    Confirm(u8),
    BindFails(u8),
    /// Somebody else bound the pod, or it is bound elsewhere than assumed.
    BoundElsewhere {
        name: u8,
        node: u8,
    },
    Relabel {
        name: u8,
        app: u8,
    },
    Reprioritize {
        name: u8,
        priority: u8,
    },
    /// The kubelet says when it started the pod.
    Start {
        name: u8,
        minute: u8,
    },
    OpenGates(u8),
    Terminate(u8),
    Finish(u8),
    Delete(u8),
    Namespace {
        name: u8,
        labels: u8,
    },
    Service {
        name: u8,
        app: u8,
    },
    ReplicaSet {
        name: u8,
        app: u8,
    },
    Budget {
        name: u8,
        app: u8,
        allowed: u8,
    },
}

/// A whole run, with the sizes of the core's caches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    pub few_domains: usize,
    pub classes: usize,
    /// `None`: only upstream's default profile; otherwise how the two others are unusual.
    pub profiles: Option<u8>,
    /// Ties go by this seed instead of by row.
    pub seed: Option<u64>,
    /// Pods without a node evict others, and wait for their place.
    pub preemption: bool,
    pub steps: Vec<Step>,
}

pub fn scenario() -> impl Strategy<Value = Scenario> {
    (
        prop_oneof![Just(0_usize), Just(2), Just(64)],
        prop_oneof![Just(2_usize), Just(64)],
        prop::option::of(0_u8..6),
        prop::option::of(1_u64..100),
        prop::bool::weighted(0.3),
        prop::collection::vec(step(), 60..140),
    )
        .prop_map(
            |(few_domains, classes, profiles, seed, preemption, steps)| Scenario {
                few_domains,
                classes,
                profiles,
                seed,
                preemption,
                steps,
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    let shape8 = prop::array::uniform8(0_u8..12);
    let shape10 = prop::array::uniform10(0_u8..12);
    let extra = prop::array::uniform4(0_u8..12);
    let name = 0_u8..30;
    prop_oneof![
        3 => (0_u8..9, shape8).prop_map(|(name, shape)| Step::Node { name, shape }),
        1 => (0_u8..9).prop_map(Step::RemoveNode),
        6 => (name.clone(), shape10.clone(), extra.clone())
            .prop_map(|(name, shape, extra)| Step::Pod { name, shape, extra }),
        2 => (name.clone(), 0_u8..10, shape10, extra)
            .prop_map(|(name, node, shape, extra)| Step::PlacedPod { name, node, shape, extra }),
        9 => Just(Step::Schedule),
        2 => name.clone().prop_map(Step::Confirm),
        1 => name.clone().prop_map(Step::BindFails),
        1 => (name.clone(), 0_u8..9).prop_map(|(name, node)| Step::BoundElsewhere { name, node }),
        1 => (name.clone(), 0_u8..12).prop_map(|(name, app)| Step::Relabel { name, app }),
        1 => (name.clone(), 0_u8..4).prop_map(|(name, priority)| Step::Reprioritize { name, priority }),
        1 => (name.clone(), 0_u8..4).prop_map(|(name, minute)| Step::Start { name, minute }),
        1 => name.clone().prop_map(Step::OpenGates),
        1 => name.clone().prop_map(Step::Terminate),
        1 => name.clone().prop_map(Step::Finish),
        1 => name.prop_map(Step::Delete),
        1 => (0_u8..3, 0_u8..4).prop_map(|(name, labels)| Step::Namespace { name, labels }),
        1 => (0_u8..4, 0_u8..5).prop_map(|(name, app)| Step::Service { name, app }),
        1 => (0_u8..2, 0_u8..5).prop_map(|(name, app)| Step::ReplicaSet { name, app }),
        1 => (0_u8..3, 0_u8..5, 0_u8..2)
            .prop_map(|(name, app, allowed)| Step::Budget { name, app, allowed }),
    ]
}
