//! Looking at a part of the nodes, as upstream does: the strict mode, for comparisons; the core itself always knows all nodes.
//!
//! Upstream walks a list of nodes that is interleaved by zone, from where the last walk ended, until it has found enough feasible
//! ones. The order within a zone is that of the rows here (upstream: of arrival).

use std::collections::BTreeMap;

use crate::classes::{Choice, Class};
use crate::cluster::{Cluster, NodeId};
use crate::profile::Profile;

/// With fewer nodes all are looked at, and no fewer are looked for.
const MINIMUM_NODES: usize = 100;
const MINIMUM_PERCENTAGE: usize = 5;

#[derive(Default)]
pub(crate) struct Sampler {
    order: Vec<NodeId>,
    start: usize,
    /// The nodes are no longer those of `order`.
    pub stale: bool,
}

/// How many feasible nodes are enough of so many; `percentage` 0 is upstream's formula.
fn enough(nodes: usize, percentage: usize) -> usize {
    if nodes < MINIMUM_NODES {
        return nodes;
    }
    let percentage = match percentage {
        0 => 50_usize.saturating_sub(nodes / 125).max(MINIMUM_PERCENTAGE),
        percentage => percentage,
    };
    (nodes * percentage / 100).max(MINIMUM_NODES)
}

/// One node of each zone in turn; zones by their first row.
fn interleaved(cluster: &Cluster) -> Vec<NodeId> {
    let mut positions: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut zones: Vec<Vec<NodeId>> = Vec::new();
    for node in cluster.nodes.iter() {
        let labels = &cluster.nodes.entry(node).facts.labels;
        let label = |key: &str| labels.get(key).map_or("", |value| value.as_str());
        let zone = (
            label("topology.kubernetes.io/region"),
            label("topology.kubernetes.io/zone"),
        );
        let next = zones.len();
        let at = *positions.entry(zone).or_insert(next);
        if at == next {
            zones.push(Vec::new());
        }
        zones[at].push(node);
    }
    let longest = zones.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|index| {
            zones
                .iter()
                .filter_map(move |zone| zone.get(index).copied())
        })
        .collect()
}

impl Sampler {
    /// Enough feasible nodes, in the order in which they were found; none of those that are `left` to others (sorted).
    pub fn feasible(
        &mut self,
        cluster: &Cluster,
        class: &Class,
        profile: &Profile,
        percentage: u32,
        left: &[NodeId],
    ) -> Vec<NodeId> {
        if self.stale || self.order.len() != cluster.node_count() {
            self.order = interleaved(cluster);
            self.stale = false;
        }
        let nodes = self.order.len();
        let wanted = enough(nodes, percentage as usize);
        let (mut found, mut seen) = (Vec::new(), 0);
        while seen < nodes && found.len() < wanted {
            let node = self.order[(self.start + seen) % nodes];
            seen += 1;
            if class.check(profile, node).is_ok() && left.binary_search(&node).is_err() {
                found.push(node);
            }
        }
        self.start = (self.start + seen).checked_rem(nodes).unwrap_or(0);
        found
    }

    pub fn choose(
        &mut self,
        cluster: &Cluster,
        class: &Class,
        profile: &Profile,
        percentage: u32,
        left: &[NodeId],
    ) -> Option<Choice> {
        let found = self.feasible(cluster, class, profile, percentage, left);
        let scores = class.scores_among(profile, &found);
        let best = scores.iter().rev().max_by_key(|scored| scored.score)?;
        Some(Choice {
            node: best.node,
            score: best.score,
            feasible: found.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_upstreams() {
        for (nodes, percentage, expected) in [
            (10, 30, 10),
            (99, 1, 99),
            (1000, 30, 300),
            (1000, 5, 100),
            (1000, 0, 420),
            (6000, 0, 300),
            (5000, 0, 500),
            (1000, 100, 1000),
        ] {
            assert_eq!(enough(nodes, percentage), expected, "{nodes} {percentage}");
        }
    }
}
