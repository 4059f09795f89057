//! PodTopologySpread: keeps matching pods evenly spread over topology domains (KEP-895).
//!
//! Hard constraints bound the skew; soft ones score, domains of small topologies weighing as much as those of large ones. Without
//! constraints of its own a pod gets the profile's default ones, over its services and its owner.

use super::{MAX_SCORE, Plugin, Position, Range, Reach, Rejection};
use crate::events::{Event, NodeView, Waiting};
use crate::labels::Selector;
use crate::objects::TopologySpreadConstraint;
use crate::plan::own_selector;
use crate::spec::Identity;

pub struct PodTopologySpread;

pub const NAME: &str = "PodTopologySpread";

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Topology
    }

    fn filter_at(&self, position: &Position<'_>) -> Result<(), Rejection> {
        for (hard, (least, domains)) in position.plan.hard.iter().zip(&position.extent.spread) {
            let Some(count) = position.values[hard.feature] else {
                let reason =
                    "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Rejection::new(NAME, reason, false));
            };
            let least = match *domains < hard.min_domains {
                true => 0,
                false => *least,
            };
            if count + i64::from(hard.self_match) - least > hard.max_skew {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Rejection::new(NAME, reason, true));
            }
        }
        Ok(())
    }

    fn score_at(&self, position: &Position<'_>) -> Option<i64> {
        let plan = position.plan;
        if plan.soft.is_empty() || is_ignored(position) {
            return None;
        }
        let mut score = 0.0;
        for (soft, size) in plan.soft.iter().zip(&position.extent.sizes) {
            if let Some(count) = position.values[soft.feature] {
                let weight = ((size + 2) as f64).ln();
                score += count as f64 * weight + (soft.max_skew - 1) as f64;
            }
        }
        Some(score.round() as i64)
    }

    fn normalize(&self, raw: i64, range: Range) -> i64 {
        let greatest = range.greatest.max(0);
        match greatest {
            0 => MAX_SCORE,
            _ => MAX_SCORE * (greatest + range.least - raw) / greatest,
        }
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        let involved = |identity: &Identity| identity.namespace == waiting.identity.namespace;
        match event {
            Event::NodeAdded { new } => has_all_keys(waiting, new),
            Event::NodeDeleted { old } => has_all_keys(waiting, old),
            Event::NodeUpdated { old, new } => {
                let (before, after) = (has_all_keys(waiting, old), has_all_keys(waiting, new));
                before != after || (after && (moved(waiting, old, new) || old.taints != new.taints))
            }
            Event::PlacedPodAdded { identity, .. } | Event::PlacedPodDeleted { identity, .. } => {
                involved(identity)
                    && selectors(waiting).any(|selector| selector.matches(&identity.labels))
            }
            Event::PlacedPodUpdated {
                old_identity,
                identity,
                ..
            } => {
                involved(identity)
                    && selectors(waiting).any(|selector| {
                        selector.matches(&identity.labels) != selector.matches(&old_identity.labels)
                    })
            }
            Event::PodUpdated { pod, change } => {
                let honors = |one: &TopologySpreadConstraint| {
                    one.node_taints_policy.as_deref() == Some("Honor")
                };
                *pod == waiting.pod
                    && (change.labels || change.tolerations && hard(waiting).any(honors))
            }
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node with the topology keys is added, changed or removed",
            "a pod that its constraints count is bound, relabelled or ends",
            "the pod itself is relabelled, or gets tolerations that its constraints honor",
        ]
    }
}

/// Lacks a key that the constraints need: such nodes get no score and do not count as domains.
pub(crate) fn is_ignored(position: &Position<'_>) -> bool {
    let plan = position.plan;
    plan.soft_needs_all_keys
        && plan
            .soft
            .iter()
            .any(|soft| position.values[soft.feature].is_none())
}

fn has_all_keys(waiting: &Waiting<'_>, node: &NodeView<'_>) -> bool {
    hard(waiting).all(|constraint| node.labels.contains(&constraint.topology_key))
}

/// The node changed its domain.
fn moved(waiting: &Waiting<'_>, old: &NodeView<'_>, new: &NodeView<'_>) -> bool {
    hard(waiting).any(|constraint| {
        let key = &constraint.topology_key;
        old.labels.get(key) != new.labels.get(key)
    })
}

fn hard<'a>(waiting: &'a Waiting<'_>) -> impl Iterator<Item = &'a TopologySpreadConstraint> {
    let constraints = waiting.spec.spread.iter();
    constraints.filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
}

fn selectors<'a>(waiting: &'a Waiting<'_>) -> impl Iterator<Item = Selector> + 'a {
    hard(waiting).map(|constraint| own_selector(constraint, waiting.identity))
}
