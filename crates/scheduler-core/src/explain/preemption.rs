//! What preemption made of a pending pod, node by node: the same search as the scheduler's, without its consequences.

use std::collections::BTreeMap;

use serde::Serialize;

use super::NodesBy;
use crate::classes::ClassId;
use crate::cluster::{NodeId, PodId};
use crate::core::Core;
use crate::objects::Text;
use crate::plugins::default_preemption;
use crate::preemption::{self, Candidate, NO_VICTIMS, NOT_HELPFUL};

const OFF: &str = "preemption is switched off in this profile";
const NOWHERE: &str = "evicting pods of lower priority makes it fit nowhere";

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preemption {
    pub verdict: String,
    /// Nodes where it does not help, by reason.
    pub not_on: Vec<NodesBy>,
    /// Nodes where it would, the one that it prefers first.
    pub candidates: Vec<Victims>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Victims {
    pub node: Text,
    pub pods: Vec<Text>,
    /// How many of them a disruption budget protects.
    pub violated_budgets: usize,
}

/// For a pod that no node does for now; its class must be up to date.
pub(super) fn consider(
    core: &mut Core,
    pod: PodId,
    class: ClassId,
    profile: usize,
    nominated: Option<NodeId>,
) -> Preemption {
    let none = |verdict: String| Preemption {
        verdict,
        not_on: Vec::new(),
        candidates: Vec::new(),
    };
    if !core.profiles[profile].filters(default_preemption::NAME) {
        return none(OFF.to_owned());
    }
    if let Some(why) = preemption::ineligible(core, pod) {
        return none(why.trim_end_matches('.').to_owned());
    }
    let (candidates, not_on) = weigh(core, pod, class, profile);
    let verdict = match (nominated, candidates.len()) {
        (Some(node), _) => {
            let node = core.cluster.nodes.name(node);
            format!("made room on {node}; the pod goes there when the evicted pods have ended")
        }
        (None, 0) => NOWHERE.to_owned(),
        (None, count) => format!(
            "would make room on {count} node{}",
            super::changes::plural(count)
        ),
    };
    Preemption {
        verdict,
        not_on: not_on
            .into_iter()
            .map(|(reason, nodes)| NodesBy::new(core, reason, &nodes))
            .collect(),
        candidates: told(core, candidates),
    }
}

/// For a pod that no node does whatever is evicted.
pub(super) fn hopeless(core: &Core, pod: PodId, profile: usize) -> Preemption {
    let enabled = core.profiles[profile].filters(default_preemption::NAME);
    let verdict = match preemption::ineligible(core, pod) {
        _ if !enabled => OFF,
        Some(why) => why.trim_end_matches('.'),
        None => NOWHERE,
    };
    let nodes: Vec<NodeId> = match verdict == NOWHERE {
        true => core.cluster.nodes.iter().collect(),
        false => Vec::new(),
    };
    let not_on = NodesBy::new(core, NOT_HELPFUL.to_owned(), &nodes);
    Preemption {
        verdict: verdict.to_owned(),
        not_on: Some(not_on)
            .filter(|one| one.count > 0)
            .into_iter()
            .collect(),
        candidates: Vec::new(),
    }
}

type ByReason = BTreeMap<String, Vec<NodeId>>;

fn weigh(
    core: &mut Core,
    pod: PodId,
    class: ClassId,
    profile: usize,
) -> (Vec<Candidate>, ByReason) {
    let helpful = preemption::resolvable_nodes(core, class, profile);
    let mut not_on = ByReason::new();
    let hopeless: Vec<NodeId> = core
        .cluster
        .nodes
        .iter()
        .filter(|node| helpful.binary_search(node).is_err())
        .collect();
    if !hopeless.is_empty() {
        not_on.insert(NOT_HELPFUL.to_owned(), hopeless);
    }
    let wanted = core.profiles[profile].min_candidates.of(helpful.len());
    let mut candidates = Vec::new();
    for node in helpful {
        if candidates.len() >= wanted {
            let reason = "Not looked at: there are candidates enough".to_owned();
            not_on.entry(reason).or_default().push(node);
            continue;
        }
        match preemption::dry_run(core, pod, class, profile, node) {
            Ok(candidate) => candidates.push(candidate),
            Err(None) => not_on.entry(NO_VICTIMS.to_owned()).or_default().push(node),
            Err(Some(rejection)) => {
                let reasons: Vec<String> =
                    rejection.reasons.iter().map(ToString::to_string).collect();
                let reason = format!(
                    "{} even without all pods of lower priority",
                    reasons.join(", ")
                );
                not_on.entry(reason).or_default().push(node);
            }
        }
    }
    (candidates, not_on)
}

fn told(core: &Core, mut candidates: Vec<Candidate>) -> Vec<Victims> {
    let mut told = Vec::new();
    while let Some(at) = preemption::select(core, &candidates) {
        let best = candidates.remove(at);
        told.push(Victims {
            node: core.cluster.nodes.name(best.node).clone(),
            pods: best
                .victims
                .iter()
                .map(|id| core.cluster.pod(*id).key.clone())
                .collect(),
            violated_budgets: best.violations,
        });
    }
    told
}
