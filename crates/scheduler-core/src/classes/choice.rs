//! Choosing: filters and scores across nodes are asked once for each group, then the best node of the best group wins.

use smallvec::SmallVec;

use super::Class;
use super::class::{Component, Parts};
use super::groups::{Group, GroupId, MISSING};
use crate::cluster::NodeId;
use crate::plugins::{Extent, Plugin, Position, Range, Reach, Rejection, pod_topology_spread};
use crate::profile::Profile;

/// Where a pod of a class goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub node: NodeId,
    /// The weighted sum over all plugins.
    pub score: i64,
    /// How many nodes would have done.
    pub feasible: usize,
}

/// A feasible node with its total score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scored {
    pub node: NodeId,
    pub score: i64,
}

/// So many scoring plugins of one reach are recorded, the first ones; a profile of upstream's has two of each.
pub(crate) const NOTED: usize = 3;
/// Stands for a plugin that leaves the node out.
pub(crate) const UNSCORED: i64 = i64::MIN;

/// What a decision looked like: enough to say later, plugin by plugin, why this node and not the next. Plain numbers, so that
/// keeping it is copying it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// There is something in it.
    pub is_set: bool,
    pub chosen: Noted,
    /// Its node is [`NodeId::MAX`] when there is none.
    pub runner_up: Noted,
    /// The ranges that raw scores were normalised with, in the order of the scoring plugins of each reach.
    pub objects: [Range; NOTED],
    pub topology: [Range; NOTED],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub node: NodeId,
    pub parts: Parts,
    pub score: i64,
    pub objects: [i64; NOTED],
    pub topology: [i64; NOTED],
}

const NOBODY: Noted = Noted {
    node: NodeId::MAX,
    parts: 0,
    score: 0,
    objects: [0; NOTED],
    topology: [UNSCORED; NOTED],
};

impl Note {
    pub const BLANK: Self = Self {
        is_set: false,
        chosen: NOBODY,
        runner_up: NOBODY,
        objects: [Range::EMPTY; NOTED],
        topology: [Range::EMPTY; NOTED],
    };
}

type Values = SmallVec<[Option<i64>; 6]>;

/// A group that passes, with its values and raw topology scores.
pub(super) struct Passing<'a> {
    pub(super) group: &'a Group,
    /// How many of its nodes count.
    len: usize,
    values: Values,
    raws: SmallVec<[Option<i64>; 2]>,
}

/// What is common to all nodes of a decision: the ranges for normalisation.
pub(super) struct Scale {
    objects: SmallVec<[Range; 3]>,
    topology: SmallVec<[Range; 2]>,
}

fn ranges(ranges: &[Range]) -> [Range; NOTED] {
    std::array::from_fn(|at| ranges.get(at).copied().unwrap_or(Range::EMPTY))
}

impl Class {
    /// The best node: the highest score, among equals the lowest rank.
    pub fn choose(&self, profile: &Profile) -> Option<Choice> {
        self.choose_and_note(profile, None)
    }

    /// As [`Class::choose`]; what explains the choice later goes to `note`.
    pub(crate) fn choose_and_note(
        &self,
        profile: &Profile,
        note: Option<&mut Note>,
    ) -> Option<Choice> {
        let (passing, scale) = self.passing(profile);
        let mut best: Option<(i64, u32, usize)> = None;
        let mut runner: Option<(i64, u32, usize)> = None;
        let mut feasible = 0;
        let ahead = |a: (i64, u32, usize), b: Option<(i64, u32, usize)>| {
            b.is_none_or(|b| a.0 > b.0 || (a.0 == b.0 && a.1 < b.1))
        };
        for (index, one) in passing.iter().enumerate() {
            feasible += one.len;
            let Some((local, rank)) = one.group.best() else {
                continue;
            };
            let common = self.normalized(profile, one, &scale);
            let first = (common + i64::from(local), rank, index);
            if ahead(first, best) {
                runner = best.replace(first);
            } else if ahead(first, runner) {
                runner = Some(first);
            }
        }
        let (score, rank, index) = best?;
        let node = self.groups.ties().node(rank);
        if let Some(note) = note {
            let one = &passing[index];
            if let Some((behind, second)) = one.group.second() {
                let second = (score - i64::from(behind), second, index);
                if ahead(second, runner) {
                    runner = Some(second);
                }
            }
            note.is_set = true;
            note.chosen = self.noted(one, node, score);
            note.runner_up = match runner {
                Some((score, rank, index)) => {
                    self.noted(&passing[index], self.groups.ties().node(rank), score)
                }
                None => NOBODY,
            };
            note.objects = ranges(&scale.objects);
            note.topology = ranges(&scale.topology);
        }
        Some(Choice {
            node,
            score,
            feasible,
        })
    }

    fn noted(&self, one: &Passing<'_>, node: NodeId, score: i64) -> Noted {
        let raws = self.raws[one.group.key[0] as usize].as_slice();
        let topology = one.raws.as_slice();
        Noted {
            node,
            score,
            parts: self.parts(node),
            objects: std::array::from_fn(|at| raws.get(at).copied().unwrap_or(0)),
            topology: std::array::from_fn(|at| {
                topology.get(at).copied().flatten().unwrap_or(UNSCORED)
            }),
        }
    }

    /// Every feasible node with its score, by row. Costs as much as there are nodes.
    pub fn scores(&self, profile: &Profile) -> Vec<Scored> {
        let (passing, scale) = self.passing(profile);
        let mut scores = Vec::new();
        for one in &passing {
            let common = self.normalized(profile, one, &scale);
            scores.extend(one.group.members().map(|(local, node)| Scored {
                node,
                score: common + i64::from(local),
            }));
        }
        scores.sort_unstable();
        scores
    }

    /// Why nodes were turned away: each rejection with the number of nodes. Costs as much as there are groups.
    pub fn rejections(&self, profile: &Profile) -> Vec<(Rejection, usize)> {
        let mut all: Vec<(Rejection, usize)> = self
            .rejections
            .iter()
            .filter(|(_, count)| *count > 0)
            .cloned()
            .collect();
        let extent = self.extent();
        for group in self.groups.iter() {
            let values = self.values(group);
            if let Err(rejection) = self.filter_group(profile, group, &values, &extent) {
                match all.iter_mut().find(|(known, _)| *known == rejection) {
                    Some((_, count)) => *count += group.len,
                    None => all.push((rejection, group.len)),
                }
            }
        }
        all
    }

    /// Whether one node passes every filter; `Err(None)`: it is not among the nodes that are looked at.
    pub fn check(&self, profile: &Profile, node: NodeId) -> Result<(), Option<Rejection>> {
        let group: GroupId = self.verdict(node).map_err(|why| why.cloned())?;
        let group = self.groups.get(group);
        let values = self.values(group);
        self.filter_group(profile, group, &values, &self.extent())
            .map_err(Some)
    }

    /// How many nodes the pod's required affinity leaves out by naming others.
    pub fn candidates(&self) -> Option<usize> {
        self.candidates.as_ref().map(Vec::len)
    }

    fn passing(&self, profile: &Profile) -> (Vec<Passing<'_>>, Scale) {
        let groups = self.groups.iter().map(|group| (group, group.len));
        self.passing_of(profile, groups)
    }

    /// Of these groups those that pass, with so many nodes each; the ranges are over those nodes.
    pub(super) fn passing_of<'a>(
        &'a self,
        profile: &Profile,
        groups: impl Iterator<Item = (&'a Group, usize)>,
    ) -> (Vec<Passing<'a>>, Scale) {
        let mut extent = self.extent();
        let mut passing: Vec<Passing<'_>> = Vec::new();
        for (group, len) in groups {
            let values = self.values(group);
            if self.filter_group(profile, group, &values, &extent).is_ok() {
                passing.push(Passing {
                    group,
                    len,
                    values,
                    raws: SmallVec::new(),
                });
            }
        }
        extent.sizes = self.soft_sizes(&passing, &extent);
        let mut scale = Scale {
            objects: profile
                .scores_of(Reach::Object)
                .map(|_| Range::EMPTY)
                .collect(),
            topology: profile
                .scores_of(Reach::Topology)
                .map(|_| Range::EMPTY)
                .collect(),
        };
        for one in &mut passing {
            let raws = &self.raws[one.group.key[0] as usize];
            for (range, raw) in scale.objects.iter_mut().zip(raws) {
                range.include(*raw);
            }
            let position = self.position(&one.values, &extent);
            for (range, (plugin, _)) in scale
                .topology
                .iter_mut()
                .zip(profile.scores_of(Reach::Topology))
            {
                let raw = plugin.score_at(&position);
                if let Some(raw) = raw {
                    range.include(raw);
                }
                one.raws.push(raw);
            }
        }
        (passing, scale)
    }

    /// The part of the score that all nodes of a group share.
    pub(super) fn normalized(&self, profile: &Profile, one: &Passing<'_>, scale: &Scale) -> i64 {
        let raws = &self.raws[one.group.key[0] as usize];
        let objects = profile
            .scores_of(Reach::Object)
            .zip(raws)
            .zip(&scale.objects);
        let topology = profile
            .scores_of(Reach::Topology)
            .zip(&one.raws)
            .zip(&scale.topology);
        let score = |plugin: &dyn Plugin, weight: i64, raw: Option<i64>, range: &Range| {
            raw.map_or(0, |raw| weight * plugin.normalize(raw, *range))
        };
        let objects: i64 = objects
            .map(|(((plugin, weight), raw), range)| score(plugin, weight, Some(*raw), range))
            .sum();
        let topology: i64 = topology
            .map(|(((plugin, weight), raw), range)| score(plugin, weight, *raw, range))
            .sum();
        objects + topology
    }

    fn filter_group(
        &self,
        profile: &Profile,
        group: &Group,
        values: &Values,
        extent: &Extent,
    ) -> Result<(), Rejection> {
        if !self.plan.features.is_empty() {
            let position = self.position(values, extent);
            profile
                .filters_of(Reach::Topology)
                .try_for_each(|plugin| plugin.filter_at(&position))?;
        }
        match self.raws[group.key[0] as usize].last() {
            None | Some(0) => Ok(()),
            Some(id) => Err(self.rejections[*id as usize - 1].0.clone()),
        }
    }

    fn position<'a>(&'a self, values: &'a Values, extent: &'a Extent) -> Position<'a> {
        Position {
            plan: &self.plan,
            values,
            extent,
        }
    }

    fn extent(&self) -> Extent {
        let spread = self.plan.hard.iter();
        let affinity = &self.plan.affinity;
        Extent {
            spread: spread
                .map(|hard| self.features[hard.feature].least())
                .collect(),
            affinity_exists: affinity
                .iter()
                .any(|feature| self.features[*feature].total > 0),
            sizes: SmallVec::new(),
        }
    }

    /// The value of every feature at a group.
    fn values(&self, group: &Group) -> Values {
        let value = |(index, feature): (usize, &crate::plan::Feature)| {
            for (component, part) in self.components.iter().zip(&group.key[1..]) {
                match *component {
                    Component::Value(own) if own == index => {
                        return (*part != MISSING).then_some(*part);
                    }
                    Component::Domain(key)
                        if key == feature.key
                            && feature.kind != crate::plan::FeatureKind::PerNode =>
                    {
                        return (*part != MISSING).then(|| self.features[index].sum(*part as u32));
                    }
                    _ => {}
                }
            }
            None
        };
        self.plan.features.iter().enumerate().map(value).collect()
    }

    /// For every soft constraint, how many domains the passing groups are in.
    fn soft_sizes(&self, passing: &[Passing<'_>], extent: &Extent) -> SmallVec<[usize; 2]> {
        let counted: SmallVec<[&Passing<'_>; 8]> = match self.plan.soft.is_empty() {
            true => SmallVec::new(),
            false => passing
                .iter()
                .filter(|one| !pod_topology_spread::is_ignored(&self.position(&one.values, extent)))
                .collect(),
        };
        let size = |soft: &crate::plan::Soft| {
            if soft.per_node {
                return counted.iter().map(|one| one.len).sum();
            }
            let key = self.plan.features[soft.feature].key;
            let Some(at) = self
                .components
                .iter()
                .position(|component| *component == Component::Domain(key))
            else {
                return 0;
            };
            let mut domains: SmallVec<[i64; 16]> =
                counted.iter().map(|one| one.group.key[at + 1]).collect();
            domains.sort_unstable();
            domains.dedup();
            domains.len()
        };
        self.plan.soft.iter().map(size).collect()
    }
}
