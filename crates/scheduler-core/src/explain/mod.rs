//! Why: for any pod what every filter says of every node, what would let it in, what it waits for; where it went and by how much.
//!
//! There is one implementation of the rules and two readings of it. Decisions ask the plugins incrementally and stop at the first
//! filter that fails; an explanation asks the same plugins about everything, on demand ([`Why`]). Decisions leave a compact record
//! behind ([`Core::recorded`](crate::core::Core::recorded)); what a manifest would do is tried on the picture of the cluster and
//! taken back ([`WhatIf`]). Nothing here changes what is decided next: property tests compare.
//!
//! # What it costs
//!
//! Recording: see `docs/why.md`, with the command. Explaining looks at every node once, and once more at those that a suggestion is
//! about; the caller chooses how many rows to work off at a time.

mod changes;
mod manifest;
mod pass;
mod preemption;
mod queue;
mod record;
mod scores;
mod suggest;
mod table;
mod what_if;
mod why;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub use changes::Change;
pub use manifest::{Kind, Manifest};
pub use preemption::{Preemption, Victims};
pub use queue::{QueueState, Wakes};
pub(crate) use record::Records;
pub use record::{REMEMBERED, Recorded};
pub use scores::{NodeScore, PluginScore, Scores};
pub use suggest::Suggestion;
pub use what_if::{Placement, WhatIf, WhatIfAnswer};
pub use why::Why;

use crate::cluster::NodeId;
use crate::core::Core;
use crate::objects::Text;
use why::Subject;

/// The answer about one pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `namespace/name`.
    pub pod: Text,
    pub state: State,
    /// Where it is placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Text>,
    pub summary: String,
    pub nodes: usize,
    pub feasible: usize,
    /// Every reason with the number of nodes that give it; a node gives as many as it has.
    pub reasons: Vec<ReasonCount>,
    /// Every node that does not do, by everything that it says against the pod.
    pub filtered: Vec<Filtered>,
    /// What would let the pod in, the smallest change first.
    pub suggestions: Vec<Suggestion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preemption: Option<Preemption>,
    /// The scores as things are now, without the pod's own placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Now>,
    /// The decision as it was taken, if it is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// The cluster changed while the answer was worked out: nodes may have been looked at before or after.
    pub changed_meanwhile: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    Pending,
    Placed,
    WhatIf,
    /// It went away while the answer was worked out.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReasonCount {
    pub plugin: &'static str,
    pub reason: String,
    pub nodes: usize,
}

/// Nodes that are turned away by exactly these filters.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filtered {
    pub filters: Vec<FilterAnswer>,
    pub count: usize,
    pub nodes: Vec<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterAnswer {
    pub plugin: &'static str,
    pub reasons: Vec<String>,
}

/// Nodes that have something in common.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodesBy {
    pub reason: String,
    pub count: usize,
    pub nodes: Vec<Text>,
}

impl NodesBy {
    fn new(core: &Core, reason: String, nodes: &[NodeId]) -> Self {
        Self {
            reason,
            count: nodes.len(),
            nodes: names(core, nodes),
        }
    }
}

/// A decision as it would be taken now.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Now {
    pub scores: Scores,
    /// Of the node that the pod is on, when that is another and would still do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<NodeScore>,
    /// For a placed pod: it would go elsewhere now.
    pub differs: bool,
}

impl Explanation {
    fn of(core: &mut Core, why: &mut Why, now: Duration) -> Self {
        let (key, placed, state) = match &why.subject {
            Subject::Template { key } => (key.clone(), None, State::WhatIf),
            Subject::Pod { key, uid, placed } => {
                let id = core.cluster.pod_id(key);
                let known = id.is_some_and(|id| core.cluster.pod(id).uid == *uid);
                let state = match (known, placed) {
                    (false, _) => State::Gone,
                    (true, Some(_)) => State::Placed,
                    (true, None) => State::Pending,
                };
                (key.clone(), placed.clone(), state)
            }
        };
        let mut answer = Self {
            recorded: core.recorded(&key, now).filter(|_| state == State::Placed),
            queue: (state == State::Pending)
                .then(|| queue::state(core, &key, now))
                .flatten(),
            pod: key,
            state,
            summary: String::new(),
            nodes: core.cluster.node_count(),
            feasible: 0,
            reasons: Vec::new(),
            filtered: Vec::new(),
            suggestions: suggest::order(std::mem::take(&mut why.suggestions)),
            preemption: why.preemption.take(),
            now: None,
            changed_meanwhile: why.changed,
            node: placed,
        };
        let at_once = why.rejected_at_once(core);
        let possible = at_once.is_none();
        if let Some(pass) = &why.pass {
            answer.feasible = pass.feasible.len();
            answer.filtered = filtered(core, &pass.groups);
            if let Some((plugin, why)) = at_once {
                answer.reject_everywhere(core, &pass.feasible, plugin, why);
            }
            answer.reasons = reasons(&answer.filtered);
            answer.now = pass.scores(core).filter(|_| possible).map(|scores| Now {
                differs: answer
                    .node
                    .as_ref()
                    .is_some_and(|node| *node != scores.chosen.node),
                own: pass
                    .watched_score(core)
                    .filter(|own| own.node != scores.chosen.node),
                scores,
            });
        }
        answer.update_summary();
        answer
    }

    /// No node will do whatever it says itself: the reason stands first with each.
    fn reject_everywhere(
        &mut self,
        core: &Core,
        feasible: &[NodeId],
        plugin: &'static str,
        why: String,
    ) {
        self.feasible = 0;
        self.suggestions.clear();
        if !feasible.is_empty() {
            self.filtered.push(Filtered {
                filters: Vec::new(),
                count: feasible.len(),
                nodes: names(core, feasible),
            });
        }
        for group in &mut self.filtered {
            let answer = FilterAnswer {
                plugin,
                reasons: vec![why.clone()],
            };
            group.filters.insert(0, answer);
        }
    }

    /// About a pod that is gone, from a decision that somebody kept.
    pub fn of_the_past(key: &str, recorded: Recorded) -> Self {
        let mut answer = Self {
            pod: key.into(),
            state: State::Gone,
            node: Some(recorded.scores.chosen.node.clone()),
            summary: String::new(),
            nodes: recorded.nodes,
            feasible: recorded.feasible,
            reasons: Vec::new(),
            filtered: Vec::new(),
            suggestions: Vec::new(),
            queue: None,
            preemption: None,
            now: None,
            recorded: Some(recorded),
            changed_meanwhile: false,
        };
        answer.update_summary();
        answer
    }

    /// After somebody filled in what the core had forgotten.
    pub fn update_summary(&mut self) {
        self.summary = self.summarize();
    }

    fn summarize(&self) -> String {
        let nodes = format!("{} node{}", self.nodes, changes::plural(self.nodes));
        match (self.state, &self.node) {
            (State::Gone, Some(node)) => format!("is gone; it was placed on {node}"),
            (State::Gone, None) => "went away".to_owned(),
            (State::Placed, Some(node)) => match &self.recorded {
                Some(recorded) if recorded.feasible == 1 => format!(
                    "placed on {node}: the only one that fit, out of {}",
                    recorded.nodes
                ),
                Some(recorded) => format!(
                    "placed on {node}: the best of {} that fit, out of {}",
                    recorded.feasible, recorded.nodes
                ),
                None => format!("placed on {node}; the decision is not remembered"),
            },
            _ if self.nodes == 0 => "there are no nodes".to_owned(),
            _ if self.feasible > 0 => format!("fits on {} of {nodes}", self.feasible),
            _ => format!("fits on none of {nodes}"),
        }
    }
}

fn names(core: &Core, nodes: &[NodeId]) -> Vec<Text> {
    nodes
        .iter()
        .map(|node| core.cluster.nodes.name(*node).clone())
        .filter(|name| !name.is_empty())
        .collect()
}

fn filtered(core: &Core, groups: &[(pass::Failing, Vec<NodeId>)]) -> Vec<Filtered> {
    let one = |(failing, nodes): &(pass::Failing, Vec<NodeId>)| Filtered {
        filters: failing
            .iter()
            .map(|rejection| FilterAnswer {
                plugin: rejection.plugin,
                reasons: rejection.reasons.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        count: nodes.len(),
        nodes: names(core, nodes),
    };
    let mut all: Vec<Filtered> = groups.iter().map(one).collect();
    // The nearest first: those that say least against the pod.
    all.sort_by_key(|one| (one.filters.len(), std::cmp::Reverse(one.count)));
    all
}

fn reasons(filtered: &[Filtered]) -> Vec<ReasonCount> {
    let mut counts: BTreeMap<(&'static str, &str), usize> = BTreeMap::new();
    for group in filtered {
        for filter in &group.filters {
            for reason in &filter.reasons {
                *counts.entry((filter.plugin, reason)).or_insert(0) += group.count;
            }
        }
    }
    let mut all: Vec<ReasonCount> = counts
        .into_iter()
        .map(|((plugin, reason), nodes)| ReasonCount {
            plugin,
            reason: reason.to_owned(),
            nodes,
        })
        .collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.nodes));
    all
}

impl Core {
    /// Why a pod is where it is, or nowhere; in one go. `None`: no such pod is known.
    pub fn why(&mut self, key: &str, now: Duration) -> Option<Explanation> {
        Some(Why::of_pod(self, key)?.finish(self, now))
    }

    /// The total score of every node that would do for a pod as a [`Why`] works it out, for comparisons with decisions.
    pub fn why_scores(&mut self, key: &str) -> Option<Vec<(Text, i64)>> {
        let id = self.cluster.pod_id(key)?;
        let spec = (**self.cluster.pod_spec(id)).clone();
        let identity = self.cluster.pod_identity(id).clone();
        let profile = self.profile_of(&spec.scheduler_name).unwrap_or(0);
        let demand = self.demand_of(id).ok()?;
        let mut pass = pass::Pass::new(self, spec, identity, profile, demand);
        pass.step(self, &mut pass::Budget(usize::MAX));
        let totals = pass.totals(self);
        pass.close(self);
        let name = |(node, score)| (self.cluster.nodes.name(node).clone(), score);
        Some(totals.into_iter().map(name).collect())
    }
}
