//! Nodes that nominated pods wait for, asked as upstream does: a pod must fit both with the nominated pods of its priority or higher
//! that wait for that node, and without any.
//!
//! Everywhere else a nominated pod is placed where it waits, which is the first of the two questions. The second has another answer
//! only where rules between pods decide (a nominated pod makes no resource freer), so only then nominated pods are held: taken out
//! of the picture during a decision, and put back for questions about their own node. Invariant: nothing is held between decisions.

use crate::classes::{Choice, ClassId, Scored};
use crate::cluster::{NodeId, PodId};
use crate::core::Core;
use crate::diagnosis::Diagnosis;
use crate::plugins::Rejection;

/// A node that turns the pod away because of those who wait for it.
struct Yielded {
    node: NodeId,
    without: Result<(), Option<Rejection>>,
    with: Rejection,
}

impl Core {
    /// Holds those that the pod has to yield to, if that makes a difference to its class. Those of lower priority are lifted already;
    /// the class was made while the others were placed, so it knows their rules.
    pub(crate) fn hold_nominated(&mut self, pod: PodId, class: ClassId) {
        if self.budgets.reservations.is_empty()
            || !self.classes.get(class).plan().filters_between_pods()
        {
            return;
        }
        let priority = self.cluster.pod(pod).priority;
        let reservations = self.budgets.reservations.iter();
        let mut held: Vec<(NodeId, PodId)> = reservations
            .filter(|(id, node)| {
                let at = self.cluster.pod(**id).node;
                **id != pod && at == Some(**node) && self.cluster.nodes.is_present(**node)
            })
            .filter(|(id, _)| self.cluster.pod(**id).priority >= priority)
            .map(|(id, node)| (*node, *id))
            .collect();
        held.sort_unstable();
        for (_, id) in &held {
            self.cluster.lift(*id);
        }
        self.budgets.held = held;
        self.classes.refresh(class, &self.cluster, &self.profiles);
    }

    pub(crate) fn release_nominated(&mut self) {
        for (node, id) in std::mem::take(&mut self.budgets.held) {
            self.cluster.place_on(id, node);
        }
    }

    /// Whether a node passes every filter, with and without those that are held for it; brings the class up to date.
    pub(crate) fn fits(
        &mut self,
        class: ClassId,
        profile: usize,
        node: NodeId,
    ) -> Result<(), Option<Rejection>> {
        let with = match self.held_for(node).is_empty() {
            true => Ok(()),
            false => self.fits_with_held(class, profile, node),
        };
        with.and_then(|()| self.fits_as_is(class, profile, node))
    }

    fn held_for(&self, node: NodeId) -> Vec<PodId> {
        let held = self.budgets.held.iter().filter(|(at, _)| *at == node);
        held.map(|(_, id)| *id).collect()
    }

    fn fits_with_held(
        &mut self,
        class: ClassId,
        profile: usize,
        node: NodeId,
    ) -> Result<(), Option<Rejection>> {
        let held = self.held_for(node);
        for id in &held {
            self.cluster.place_on(*id, node);
        }
        let with = self.fits_as_is(class, profile, node);
        for id in &held {
            self.cluster.lift(*id);
        }
        self.classes.refresh(class, &self.cluster, &self.profiles);
        with
    }

    fn fits_as_is(
        &mut self,
        class: ClassId,
        profile: usize,
        node: NodeId,
    ) -> Result<(), Option<Rejection>> {
        self.classes.refresh(class, &self.cluster, &self.profiles);
        self.classes.get(class).check(&self.profiles[profile], node)
    }

    fn yielded(&mut self, class: ClassId, profile: usize) -> Vec<Yielded> {
        let mut nodes: Vec<NodeId> = self.budgets.held.iter().map(|(node, _)| *node).collect();
        nodes.dedup();
        let mut yielded = Vec::new();
        for node in nodes {
            if let Err(Some(with)) = self.fits_with_held(class, profile, node) {
                yielded.push(Yielded {
                    node,
                    without: self.fits_as_is(class, profile, node),
                    with,
                });
            }
        }
        yielded
    }

    /// Feasible nodes that must be left to those who wait for them.
    pub(crate) fn left_to_nominated(&mut self, class: ClassId, profile: usize) -> Vec<NodeId> {
        let yielded = self.yielded(class, profile).into_iter();
        let feasible = yielded.filter(|one| one.without.is_ok());
        feasible.map(|one| one.node).collect()
    }

    /// The best of the feasible nodes but these.
    pub(crate) fn choose_except(
        &self,
        class: ClassId,
        profile: usize,
        left: &[NodeId],
    ) -> Option<Choice> {
        let (class, profile) = (self.classes.get(class), &self.profiles[profile]);
        let mut nodes = class.feasible(profile);
        nodes.retain(|node| left.binary_search(node).is_err());
        let ties = self.classes.ties();
        let best = class
            .scores_among(profile, &nodes)
            .into_iter()
            .max_by_key(|Scored { node, score }| (*score, std::cmp::Reverse(ties.rank(*node))))?;
        Some(Choice {
            node: best.node,
            score: best.score,
            feasible: nodes.len(),
        })
    }

    /// The reason that counts for a node is the one that comes up while those who wait for it are there.
    pub(crate) fn diagnose_yielded(
        &mut self,
        class: ClassId,
        profile: usize,
        diagnosis: &mut Diagnosis,
    ) {
        let all = &mut diagnosis.rejections;
        for one in self.yielded(class, profile) {
            if let Err(without) = one.without {
                let known = all
                    .iter_mut()
                    .find(|(known, _)| Some(known) == without.as_ref());
                if let Some((_, count)) = known {
                    *count -= 1;
                }
            }
            match all.iter_mut().find(|(known, _)| *known == one.with) {
                Some((_, count)) => *count += 1,
                None => all.push((one.with, 1)),
            }
        }
        all.retain(|(_, count)| *count > 0);
    }
}
