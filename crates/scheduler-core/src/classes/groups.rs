//! Feasible nodes in groups that no filter or score across nodes can tell apart, each group ordered by score.
//!
//! Within a group the normalised scores are equal by construction, so the best node of a group is the one with the best local
//! score; among equals the lowest rank (see [`super::ties`]).

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::ties::Ties;
use crate::cluster::NodeId;
use crate::rankset::RankSet;

/// What the nodes of a group have in common: the id of their raw object scores, then one number for every topology component.
pub(super) type GroupKey = SmallVec<[i64; 4]>;
pub(super) type GroupId = u32;

/// Stands for a missing label in a group's key.
pub(super) const MISSING: i64 = i64::MIN;

#[derive(Default)]
pub(super) struct Groups {
    ids: HashMap<GroupKey, GroupId>,
    groups: Vec<Group>,
    free: Vec<GroupId>,
    ties: Ties,
}

#[derive(Default)]
pub(super) struct Group {
    pub key: GroupKey,
    /// Ranks of nodes by local score.
    buckets: BTreeMap<i32, RankSet>,
    pub len: usize,
    ties: Ties,
}

impl Group {
    /// The best local score and the lowest rank that has it.
    pub fn best(&self) -> Option<(i32, u32)> {
        let (score, nodes) = self.buckets.last_key_value()?;
        Some((*score, nodes.least()?))
    }

    /// The best but one: by how much its local score is behind the best, and its rank.
    pub fn second(&self) -> Option<(i32, u32)> {
        let mut best_first = self.buckets.iter().rev();
        let (best, nodes) = best_first.next()?;
        if nodes.len() > 1 {
            return Some((0, nodes.second()?));
        }
        let (score, nodes) = best_first.next()?;
        Some((best - score, nodes.least()?))
    }

    pub fn members(&self) -> impl Iterator<Item = (i32, NodeId)> {
        let ties = self.ties;
        self.buckets
            .iter()
            .flat_map(move |(score, ranks)| ranks.iter().map(move |rank| (*score, ties.node(rank))))
    }
}

impl Groups {
    pub fn new(ties: Ties) -> Self {
        Self {
            ties,
            ..Self::default()
        }
    }

    pub fn ties(&self) -> Ties {
        self.ties
    }

    pub fn insert(&mut self, key: &GroupKey, score: i32, node: NodeId) -> GroupId {
        let id = match self.ids.get(key) {
            Some(&id) => id,
            None => self.create(key),
        };
        let group = &mut self.groups[id as usize];
        group.len += 1;
        let rank = self.ties.rank(node);
        group.buckets.entry(score).or_default().insert(rank);
        id
    }

    pub fn remove(&mut self, id: GroupId, score: i32, node: NodeId) {
        let group = &mut self.groups[id as usize];
        group.len -= 1;
        if let Some(bucket) = group.buckets.get_mut(&score) {
            bucket.remove(self.ties.rank(node));
            if bucket.is_empty() {
                group.buckets.remove(&score);
            }
        }
        if group.len == 0 {
            self.ids.remove(&group.key);
            self.free.push(id);
        }
    }

    /// Moves a node to another score within its group.
    pub fn rescore(&mut self, id: GroupId, old: i32, new: i32, node: NodeId) {
        let rank = self.ties.rank(node);
        let group = &mut self.groups[id as usize];
        if let Some(bucket) = group.buckets.get_mut(&old) {
            bucket.remove(rank);
            if bucket.is_empty() {
                group.buckets.remove(&old);
            }
        }
        group.buckets.entry(new).or_default().insert(rank);
    }

    fn create(&mut self, key: &GroupKey) -> GroupId {
        let group = Group {
            key: key.clone(),
            ties: self.ties,
            ..Group::default()
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.groups[id as usize] = group;
                id
            }
            None => {
                self.groups.push(group);
                GroupId::try_from(self.groups.len() - 1).expect("no more groups than nodes")
            }
        };
        self.ids.insert(key.clone(), id);
        id
    }

    pub fn get(&self, id: GroupId) -> &Group {
        &self.groups[id as usize]
    }

    /// Groups that have members.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.len > 0)
    }
}
