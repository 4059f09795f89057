//! InterPodAffinity: required terms filter (both ways for anti-affinity), preferred terms score (both ways).

use super::{MAX_SCORE, Plugin, Position, Range, Reach, Rejection};
use crate::cluster::Scope;
use crate::events::{Event, NodeView, Waiting};
use crate::spec::{Identity, Term};

pub struct InterPodAffinity;

pub const NAME: &str = "InterPodAffinity";

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Topology
    }

    fn filter_at(&self, position: &Position<'_>) -> Result<(), Rejection> {
        let plan = position.plan;
        if !satisfies_affinity(position) {
            let reason = "node(s) didn't match pod affinity rules";
            return Err(Rejection::new(NAME, reason, false));
        }
        let occupied = |features: &[usize]| {
            features
                .iter()
                .any(|feature| position.values[*feature].is_some_and(|count| count > 0))
        };
        if occupied(&plan.anti_affinity) {
            let reason = "node(s) didn't match pod anti-affinity rules";
            return Err(Rejection::new(NAME, reason, true));
        }
        if occupied(&plan.existing_anti_affinity) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Rejection::new(NAME, reason, true));
        }
        Ok(())
    }

    fn score_at(&self, position: &Position<'_>) -> Option<i64> {
        let preferred = &position.plan.preferred;
        if preferred.is_empty() {
            return None;
        }
        let value = |feature: &usize| position.values[*feature].unwrap_or(0);
        Some(preferred.iter().map(value).sum())
    }

    fn normalize(&self, raw: i64, range: Range) -> i64 {
        let difference = range.greatest - range.least;
        if difference <= 0 {
            return 0;
        }
        (MAX_SCORE as f64 * ((raw - range.least) as f64 / difference as f64)) as i64
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { new } => node_wakes(waiting, None, new),
            Event::NodeUpdated { old, new } => node_wakes(waiting, Some(old), new),
            Event::PlacedPodAdded { identity, .. } => {
                matches_all(waiting, &waiting.spec.affinity, identity)
            }
            Event::PlacedPodUpdated {
                old_identity,
                identity,
                ..
            } => {
                let spec = waiting.spec;
                let matches = |terms: &[Term], identity| matches_all(waiting, terms, identity);
                (!matches(&spec.affinity, old_identity) && matches(&spec.affinity, identity))
                    || matches_any(waiting, &spec.anti_affinity, old_identity)
                        && !matches(&spec.anti_affinity, identity)
            }
            Event::PlacedPodDeleted { old, identity } => {
                matches_any(waiting, &waiting.spec.anti_affinity, identity)
                    || old.anti_affinity.iter().any(|term| {
                        let scope = Scope::of(term, &identity.namespace);
                        scope.catches(waiting.cluster, waiting.identity)
                    })
            }
            Event::NamespaceChanged => true,
            Event::PodUpdated { pod, change } => *pod == waiting.pod && change.labels,
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a pod that its affinity wants is bound",
            "a pod that keeps it away ends or is relabelled",
            "a node comes into, or leaves, a topology domain of its terms",
            "a namespace is relabelled",
            "the pod itself is relabelled",
        ]
    }
}

fn satisfies_affinity(position: &Position<'_>) -> bool {
    let plan = position.plan;
    let mut all = true;
    for feature in &plan.affinity {
        match position.values[*feature] {
            None => return false,
            Some(count) => all &= count > 0,
        }
    }
    // The first pod of a group that is to stay together: nobody matches yet, but it matches itself.
    all || (!position.extent.affinity_exists && plan.affinity_self)
}

fn matches_all(waiting: &Waiting<'_>, terms: &[Term], identity: &Identity) -> bool {
    !terms.is_empty()
        && terms.iter().all(|term| {
            Scope::of(term, &waiting.identity.namespace).selects(waiting.cluster, identity)
        })
}

fn matches_any(waiting: &Waiting<'_>, terms: &[Term], identity: &Identity) -> bool {
    terms
        .iter()
        .any(|term| Scope::of(term, &waiting.identity.namespace).selects(waiting.cluster, identity))
}

fn node_wakes(waiting: &Waiting<'_>, old: Option<&NodeView<'_>>, new: &NodeView<'_>) -> bool {
    let moved = |term: &Term| {
        let before = old.map(|old| old.labels.get(&term.topology_key));
        before != Some(new.labels.get(&term.topology_key))
    };
    let gained = |term: &Term| moved(term) && new.labels.get(&term.topology_key).is_some();
    let spec = waiting.spec;
    // Anti-affinity of placed pods may have turned the pod away: a node that is new, or moved, may be out of their reach.
    let symmetric = spec.affinity.is_empty() && spec.anti_affinity.is_empty();
    spec.affinity.iter().any(gained)
        || spec.anti_affinity.iter().any(moved)
        || (symmetric && old.is_none_or(|old| old.labels != new.labels))
}
