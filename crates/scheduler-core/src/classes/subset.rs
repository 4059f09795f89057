//! Scores over a part of the feasible nodes: what sampling left, or what extenders did. Normalisation is over that part alone.

use std::collections::BTreeMap;

use super::groups::GroupId;
use super::{Class, Scored};
use crate::cluster::NodeId;
use crate::profile::Profile;

impl Class {
    /// Those of the nodes that are feasible, with their scores, by row.
    pub fn scores_among(&self, profile: &Profile, nodes: &[NodeId]) -> Vec<Scored> {
        let mut members: BTreeMap<GroupId, Vec<NodeId>> = BTreeMap::new();
        for &node in nodes {
            if let Ok(group) = self.verdict(node) {
                members.entry(group).or_default().push(node);
            }
        }
        let groups = members
            .iter()
            .map(|(id, nodes)| (self.groups.get(*id), nodes.len()));
        let (passing, scale) = self.passing_of(profile, groups);
        let mut scores = Vec::with_capacity(nodes.len());
        for (id, nodes) in &members {
            let group = self.groups.get(*id);
            let Some(one) = passing.iter().find(|one| std::ptr::eq(one.group, group)) else {
                continue;
            };
            let common = self.normalized(profile, one, &scale);
            scores.extend(nodes.iter().map(|&node| Scored {
                node,
                score: common + self.local(node),
            }));
        }
        scores.sort_unstable();
        scores
    }

    /// Every feasible node, by row. Costs as much as there are nodes.
    pub fn feasible(&self, profile: &Profile) -> Vec<NodeId> {
        self.scores(profile)
            .into_iter()
            .map(|scored| scored.node)
            .collect()
    }
}
