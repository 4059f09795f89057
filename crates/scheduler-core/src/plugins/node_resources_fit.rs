//! NodeResourcesFit: what the pod asks for must be free; scores by how much would stay free (LeastAllocated), by how little
//! (MostAllocated), or along a curve (RequestedToCapacityRatio). Integer arithmetic truncates as Go's does.

use smallvec::SmallVec;

use super::{Context, MAX_SCORE, Plugin, Reach, Reason, Rejection};
use crate::cluster::{Cluster, NodeId};
use crate::events::{Event, NodeView, Waiting};
use crate::objects::Text;
use crate::spec::Spec;

const NAME: &str = "NodeResourcesFit";

#[derive(Clone, Debug)]
pub enum Strategy {
    LeastAllocated,
    MostAllocated,
    /// Points of utilisation (0..=100) and score (0..=10 in files, times ten here), in order.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

#[derive(Clone, Debug)]
pub struct NodeResourcesFit {
    pub strategy: Strategy,
    /// What is scored, with weights.
    pub resources: Vec<(Text, i64)>,
    /// Extended resources, and groups (the part before the slash), that someone else checks.
    pub ignored: Vec<Text>,
    pub ignored_groups: Vec<Text>,
}

impl Default for NodeResourcesFit {
    fn default() -> Self {
        Self {
            strategy: Strategy::LeastAllocated,
            resources: vec![("cpu".into(), 1), ("memory".into(), 1)],
            ignored: Vec::new(),
            ignored_groups: Vec::new(),
        }
    }
}

impl NodeResourcesFit {
    fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|own| own == name)
            || name
                .split_once('/')
                .is_some_and(|(group, _)| self.ignored_groups.iter().any(|own| own == group))
    }
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let nodes = &context.cluster.nodes;
        let requests = &context.spec.requests;
        let row = node as usize;
        let lacks = |wanted: i64, free: i64| wanted > 0 && wanted > free;
        if nodes.pods.free(node) >= 1
            && !lacks(requests.milli_cpu, nodes.cpu.free(node))
            && !lacks(requests.memory, nodes.memory.free(node))
            && !lacks(
                requests.ephemeral_storage,
                nodes.ephemeral_storage.free(node),
            )
            && requests.scalars.is_empty()
        {
            return Ok(());
        }
        let mut rejection = Rejection {
            plugin: NAME,
            reasons: SmallVec::new(),
            resolvable: true,
        };
        if nodes.pods.free(node) < 1 {
            rejection.reasons.push(Reason::Text("Too many pods"));
        }
        let mut check = |name: &Text, wanted: i64, free: i64, allocatable: i64| {
            if lacks(wanted, free) {
                rejection.reasons.push(Reason::Insufficient(name.clone()));
                rejection.resolvable &= wanted <= allocatable;
            }
        };
        for (name, wanted, column) in [
            ("cpu", requests.milli_cpu, &nodes.cpu),
            ("memory", requests.memory, &nodes.memory),
            (
                "ephemeral-storage",
                requests.ephemeral_storage,
                &nodes.ephemeral_storage,
            ),
        ] {
            check(
                &name.into(),
                wanted,
                column.free(node),
                column.allocatable[row],
            );
        }
        for (name, wanted) in &requests.scalars {
            if self.ignores(name) {
                continue;
            }
            let (free, allocatable) = nodes.scalars.get(name).map_or((0, 0), |column| {
                (column.free(node), column.allocatable[row])
            });
            check(name, *wanted, free, allocatable);
        }
        match rejection.reasons.is_empty() {
            true => Ok(()),
            false => Err(rejection),
        }
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        let (mut total, mut weights) = (0, 0);
        for (name, weight) in &self.resources {
            let usage = usage(context.cluster, context.spec, node, name, true);
            if usage.allocatable == 0 {
                continue;
            }
            let score = match &self.strategy {
                Strategy::LeastAllocated => least(usage.requested, usage.allocatable),
                Strategy::MostAllocated => most(usage.requested, usage.allocatable),
                Strategy::RequestedToCapacityRatio(shape) => {
                    let utilisation = match usage.requested > usage.allocatable {
                        true => 100,
                        false => usage.requested * 100 / usage.allocatable,
                    };
                    let score = curve(shape, utilisation);
                    // Upstream counts a resource only when the curve gives it something.
                    if score == 0 {
                        continue;
                    }
                    score
                }
            };
            total += score * weight;
            weights += weight;
        }
        match (weights, &self.strategy) {
            (0, _) => 0,
            (_, Strategy::RequestedToCapacityRatio(_)) => {
                (total as f64 / weights as f64).round() as i64
            }
            _ => total / weights,
        }
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { new } => self.would_fit(waiting.spec, new),
            Event::NodeUpdated { old, new } => {
                self.would_fit(waiting.spec, new) && grew(waiting.spec, old, new)
            }
            Event::PlacedPodDeleted { .. } => true,
            Event::PlacedPodUpdated { old, new, .. } => {
                let wanted = Some(&waiting.spec.requests);
                new.requests.shrunk_from(&old.requests, wanted)
            }
            Event::PodUpdated { pod, change } => *pod == waiting.pod && change.scaled_down,
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node that is large enough is added",
            "a node that is large enough grows",
            "a running pod ends",
            "a running pod asks for less",
            "the pod itself asks for less",
        ]
    }
}

impl NodeResourcesFit {
    /// On the node if it were empty.
    fn would_fit(&self, spec: &Spec, node: &NodeView<'_>) -> bool {
        let requests = &spec.requests;
        node.amount("pods") >= 1
            && requests.milli_cpu <= node.amount("cpu").max(0)
            && requests.memory <= node.amount("memory").max(0)
            && requests.ephemeral_storage <= node.amount("ephemeral-storage").max(0)
            && requests
                .scalars
                .iter()
                .all(|(name, wanted)| self.ignores(name) || *wanted <= node.amount(name))
    }
}

fn grew(spec: &Spec, old: &NodeView<'_>, new: &NodeView<'_>) -> bool {
    let more = |name: &str| new.amount(name) > old.amount(name);
    let requests = &spec.requests;
    more("pods")
        || (requests.milli_cpu > 0 && more("cpu"))
        || (requests.memory > 0 && more("memory"))
        || (requests.ephemeral_storage > 0 && more("ephemeral-storage"))
        || requests.scalars.iter().any(|(name, _)| more(name))
}

/// One resource of a node with the pod on it.
pub(super) struct Usage {
    pub allocatable: i64,
    /// Without the pod.
    pub allocated: i64,
    /// With it.
    pub requested: i64,
}

/// `nonzero`: CPU and memory of those that do not say count with a default. Extended resources that the pod does not ask for are
/// left out (allocatable 0).
pub(super) fn usage(
    cluster: &Cluster,
    spec: &Spec,
    node: NodeId,
    resource: &str,
    nonzero: bool,
) -> Usage {
    let nodes = &cluster.nodes;
    let row = node as usize;
    let requests = &spec.requests;
    let (allocatable, allocated, wanted) = match (resource, nonzero) {
        ("cpu", true) => (
            nodes.cpu.allocatable[row],
            nodes.nonzero_cpu[row],
            requests.nonzero_milli_cpu,
        ),
        ("cpu", false) => (
            nodes.cpu.allocatable[row],
            nodes.cpu.used[row],
            requests.milli_cpu,
        ),
        ("memory", true) => (
            nodes.memory.allocatable[row],
            nodes.nonzero_memory[row],
            requests.nonzero_memory,
        ),
        ("memory", false) => (
            nodes.memory.allocatable[row],
            nodes.memory.used[row],
            requests.memory,
        ),
        ("ephemeral-storage", _) => (
            nodes.ephemeral_storage.allocatable[row],
            nodes.ephemeral_storage.used[row],
            requests.ephemeral_storage,
        ),
        (name, _) => match (requests.scalar(name), nodes.scalars.get(name)) {
            (wanted, Some(column)) if wanted > 0 => {
                (column.allocatable[row], column.used[row], wanted)
            }
            _ => (0, 0, 0),
        },
    };
    match allocatable {
        0 => Usage {
            allocatable: 0,
            allocated: 0,
            requested: 0,
        },
        _ => Usage {
            allocatable,
            allocated,
            requested: allocated + wanted,
        },
    }
}

fn least(requested: i64, capacity: i64) -> i64 {
    match requested > capacity {
        true => 0,
        false => (capacity - requested) * MAX_SCORE / capacity,
    }
}

fn most(requested: i64, capacity: i64) -> i64 {
    requested.min(capacity) * MAX_SCORE / capacity
}

fn curve(shape: &[(i64, i64)], utilisation: i64) -> i64 {
    let mut before: Option<(i64, i64)> = None;
    for &(at, score) in shape {
        if utilisation <= at {
            return match before {
                None => score,
                Some((left, base)) => base + (score - base) * (utilisation - left) / (at - left),
            };
        }
        before = Some((at, score));
    }
    before.map_or(0, |(_, score)| score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_truncate() {
        assert_eq!(least(1000, 3000), 66);
        assert_eq!(least(4000, 3000), 0);
        assert_eq!(most(1000, 3000), 33);
        assert_eq!(most(4000, 3000), 100);
    }

    #[test]
    fn a_curve_is_linear_between_its_points() {
        let shape = [(0, 0), (50, 100), (100, 20)];
        for (utilisation, expected) in [(0, 0), (25, 50), (50, 100), (75, 60), (100, 20)] {
            assert_eq!(curve(&shape, utilisation), expected);
        }
    }
}
