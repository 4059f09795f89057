//! The question why, worked off in slices: one pass over the nodes for the pod as it is, then one for each change worth trying.
//!
//! Between slices the scheduler goes on; within a slice nobody sees what is taken out of the picture for the question (the pod's own
//! placement), because it is put back before the slice ends. Invariant: after every slice the cluster says what it said before.

use std::sync::Arc;
use std::time::Duration;

use super::pass::{Budget, Failing, Pass};
use super::preemption::Preemption;
use super::suggest::{self, Candidate, Candidates, Suggestion};
use super::{Explanation, preemption};
use crate::cluster::devices::{Demand, PodClaims};
use crate::cluster::{NodeId, PodId};
use crate::core::Core;
use crate::objects::{Pod, Text};
use crate::plugins::dynamic_resources;
use crate::preemption::{lift_reservations, restore_reservations};
use crate::queue::Place;
use crate::spec::{Identity, Spec};

/// How often a question starts again because rules of other pods came or went meanwhile.
const RESTARTS: usize = 3;

/// A question being answered. [`Why::step`] until it says that it is done, then [`Why::finish`].
pub struct Why {
    pub(super) subject: Subject,
    spec: Spec,
    identity: Arc<Identity>,
    claims: Option<Arc<PodClaims>>,
    profile: usize,
    pub(super) pass: Option<Pass>,
    stage: Stage,
    cursor: (usize, usize),
    candidates: Candidates,
    trials: Vec<Candidate>,
    trial: Option<(Pass, Candidate)>,
    restarts: usize,
    /// The cluster's generation when the last slice ended.
    seen: Option<u64>,
    pub(super) changed: bool,
    pub(super) suggestions: Vec<Suggestion>,
    pub(super) preemption: Option<Preemption>,
}

#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// A known pod, with its uid.
    Pod {
        key: Text,
        uid: Text,
        placed: Option<Text>,
    },
    /// One that does not exist.
    Template { key: Text },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Look,
    Consider,
    Try,
    MakeRoom,
    Done,
}

/// What was taken out of the picture for a slice.
struct Out {
    placed: Option<NodeId>,
    lifted: Vec<(PodId, NodeId)>,
}

impl Why {
    /// About a pod by `namespace/name`; `None`: no such pod is known.
    pub fn of_pod(core: &Core, key: &str) -> Option<Self> {
        let id = core.cluster.pod_id(key)?;
        let entry = core.cluster.pod(id);
        let waits = core
            .queue
            .get(id)
            .is_some_and(|queued| queued.place != Place::InFlight);
        let placed = entry.node.filter(|_| !waits);
        let subject = Subject::Pod {
            key: entry.key.clone(),
            uid: entry.uid.clone(),
            placed: placed.map(|node| core.cluster.nodes.name(node).clone()),
        };
        let spec = (**core.cluster.pod_spec(id)).clone();
        Some(Self::new(
            core,
            subject,
            spec,
            core.cluster.pod_identity(id).clone(),
            entry.resource_claims.clone(),
        ))
    }

    /// About a pod that does not exist.
    pub(super) fn of_template(core: &Core, pod: &Pod) -> Self {
        let subject = Subject::Template { key: pod.key() };
        let identity = Arc::new(Identity::of(pod));
        let claims = PodClaims::of(pod);
        Self::new(core, subject, Spec::of(pod, false), identity, claims)
    }

    fn new(
        core: &Core,
        subject: Subject,
        spec: Spec,
        identity: Arc<Identity>,
        claims: Option<Arc<PodClaims>>,
    ) -> Self {
        Self {
            subject,
            profile: core.profile_of(&spec.scheduler_name).unwrap_or(0),
            spec,
            identity,
            claims,
            pass: None,
            stage: Stage::Look,
            cursor: (0, 0),
            candidates: Candidates::default(),
            trials: Vec::new(),
            trial: None,
            restarts: 0,
            seen: None,
            changed: false,
            suggestions: Vec::new(),
            preemption: None,
        }
    }

    /// Works on, looking at about `rows` nodes; true when it is done.
    pub fn step(&mut self, core: &mut Core, rows: usize) -> bool {
        let Ok(id) = self.pod(core) else {
            // The pod went away, or another came in its place: what is known of it has to do.
            self.stage = Stage::Done;
            self.close_trial(core);
            return true;
        };
        self.changed |= self
            .seen
            .is_some_and(|seen| seen != core.cluster.generation());
        let out = id.map(|id| take_out(core, id));
        let mut budget = Budget(rows.max(1));
        while budget.0 > 0 && self.stage != Stage::Done {
            self.work(core, id, out.as_ref(), &mut budget);
        }
        if let (Some(id), Some(out)) = (id, out) {
            put_back(core, id, out);
        }
        self.seen = Some(core.cluster.generation());
        self.stage == Stage::Done
    }

    /// The pod's id; `Ok(None)`: the question is about none. `Err`: it is gone.
    fn pod(&self, core: &Core) -> Result<Option<PodId>, ()> {
        match &self.subject {
            Subject::Template { .. } => Ok(None),
            Subject::Pod { key, uid, .. } => {
                let id = core.cluster.pod_id(key).ok_or(())?;
                (core.cluster.pod(id).uid == *uid)
                    .then_some(Some(id))
                    .ok_or(())
            }
        }
    }

    fn work(&mut self, core: &mut Core, id: Option<PodId>, out: Option<&Out>, budget: &mut Budget) {
        match self.stage {
            Stage::Look => self.look(core, out, budget),
            Stage::Consider => self.consider(core, budget),
            Stage::Try => self.try_next(core, id, budget),
            Stage::MakeRoom => {
                // One question more than a decision of the scheduler about this pod; not sliced, as that is not.
                self.make_room(core, id, out);
                self.stage = Stage::Done;
            }
            Stage::Done => {}
        }
    }

    fn look(&mut self, core: &mut Core, out: Option<&Out>, budget: &mut Budget) {
        let stale = self.pass.as_ref().is_some_and(|pass| pass.is_stale(core));
        if stale && self.restarts < RESTARTS {
            self.restarts += 1;
            if let Some(pass) = self.pass.take() {
                pass.close(core);
            }
        }
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => {
                let watched = out.and_then(|out| out.placed);
                self.new_pass(core).watch(watched)
            }
        };
        if pass.step(core, budget) {
            self.name_claims(core, &mut pass);
            self.stage = match pass.feasible.is_empty() && !pass.groups.is_empty() {
                true => Stage::Consider,
                false => Stage::Done,
            };
        }
        self.pass = Some(pass);
    }

    fn consider(&mut self, core: &Core, budget: &mut Budget) {
        let Some(pass) = &self.pass else { return };
        while let Some((failing, nodes)) = pass.groups.get(self.cursor.0) {
            while let Some(&node) = nodes.get(self.cursor.1) {
                if budget.0 == 0 {
                    return;
                }
                budget.0 -= 1;
                self.cursor.1 += 1;
                if core.cluster.nodes.is_present(node) {
                    self.candidates.consider(core, pass, node, failing);
                }
            }
            self.cursor = (self.cursor.0 + 1, 0);
        }
        self.trials = self.candidates.take();
        self.trials.reverse();
        self.stage = Stage::Try;
    }

    fn try_next(&mut self, core: &mut Core, id: Option<PodId>, budget: &mut Budget) {
        if let Some((mut pass, candidate)) = self.trial.take() {
            if !pass.step(core, budget) {
                self.trial = Some((pass, candidate));
                return;
            }
            self.suggestions
                .extend(suggest::outcome(core, &pass, candidate));
            return pass.close(core);
        }
        let (Some(candidate), Some(pass)) = (self.trials.pop(), &self.pass) else {
            self.stage = Stage::MakeRoom;
            return;
        };
        if candidate.changes.iter().any(super::Change::is_of_node) {
            budget.0 = budget.0.saturating_sub(candidate.nodes.len());
            let told = self.with_class(core, id, |core, class| {
                suggest::try_on_nodes(core, class, &candidate)
            });
            self.suggestions.extend(told);
            return;
        }
        let trial = suggest::trial(core, pass, &candidate);
        self.trial = Some((trial, candidate));
    }

    fn make_room(&mut self, core: &mut Core, id: Option<PodId>, out: Option<&Out>) {
        if self.rejected_at_once(core).is_some() {
            self.preemption = id.map(|id| preemption::hopeless(core, id, self.profile));
            return;
        }
        let nodes = self.candidates.room();
        let profile = self.profile;
        let nominated = out.and_then(|out| out.placed);
        let (room, considered) = self.with_class(core, id, |core, class| {
            let room = suggest::make_room(core, class, &nodes);
            let considered = id.map(|id| preemption::consider(core, id, class, profile, nominated));
            (room, considered)
        });
        self.suggestions.extend(room);
        self.preemption = considered;
    }

    /// Asks the class of the pod, or for a template one that is made for the moment.
    fn with_class<T>(
        &self,
        core: &mut Core,
        id: Option<PodId>,
        ask: impl FnOnce(&mut Core, usize) -> T,
    ) -> T {
        let own = match id {
            Some(_) => None,
            None => Some(
                core.cluster
                    .acquire_shape(self.spec.clone(), (*self.identity).clone()),
            ),
        };
        let shape = own
            .or(id.map(|id| core.cluster.pod(id).shape))
            .unwrap_or_default();
        // What claims that cannot be read demand is told apart (`rejected_at_once`).
        let demand = self.demand(core).ok().flatten();
        let (cluster, profiles) = (&mut core.cluster, &core.profiles);
        let class = core
            .classes
            .of_demand(cluster, profiles, self.profile, shape, demand);
        core.classes.widen(class, &core.cluster, &core.profiles);
        let answer = ask(core, class);
        if let Some(shape) = own {
            core.cluster.release_shape(shape);
        }
        answer
    }

    fn close_trial(&mut self, core: &mut Core) {
        if let Some((pass, _)) = self.trial.take() {
            pass.close(core);
        }
    }

    /// Why no node at all will do, whatever the nodes say: what is wrong with the pod's claims.
    pub(super) fn rejected_at_once(&self, core: &mut Core) -> Option<(&'static str, String)> {
        let profile = &core.profiles[self.profile];
        let volumes = (!self.spec.claims.is_empty())
            .then(|| crate::volumes::rejection(&core.cluster, profile, &self.identity, &self.spec));
        let devices = |core| self.demand(core).err();
        volumes
            .flatten()
            .or_else(|| devices(core).map(|why| (dynamic_resources::NAME, why)))
    }

    /// What the pod's resource claims demand, as decisions ask for it.
    fn demand(&self, core: &mut Core) -> Result<Option<Arc<Demand>>, String> {
        match &self.claims {
            Some(claims) if core.profiles[self.profile].filters(dynamic_resources::NAME) => {
                core.cluster.devices.demand(claims)
            }
            _ => Ok(None),
        }
    }

    fn new_pass(&self, core: &mut Core) -> Pass {
        let demand = self.demand(core).ok().flatten();
        let (spec, identity) = (self.spec.clone(), self.identity.clone());
        Pass::new(core, spec, identity, self.profile, demand)
    }

    fn name_claims(&self, core: &Core, pass: &mut Pass) {
        let Some(claims) = &self.claims else { return };
        let groups = pass.groups.iter_mut();
        for rejection in groups.flat_map(|(failing, _)| failing) {
            core.name_claims(claims, rejection);
        }
    }

    /// Only what the nodes say, in one go; nothing is kept.
    pub(super) fn look_only(&mut self, core: &mut Core) -> Vec<(Failing, Vec<NodeId>)> {
        let mut pass = self.new_pass(core);
        pass.step(core, &mut Budget(usize::MAX));
        self.name_claims(core, &mut pass);
        let groups = std::mem::take(&mut pass.groups);
        pass.close(core);
        groups
    }

    /// Nobody wants the answer any more: gives back what the question holds.
    pub fn abandon(mut self, core: &mut Core) {
        self.close_trial(core);
        if let Some(pass) = self.pass.take() {
            pass.close(core);
        }
    }

    /// The answer. What is not worked off yet is worked off now.
    pub fn finish(mut self, core: &mut Core, now: Duration) -> Explanation {
        while !self.step(core, usize::MAX) {}
        let out = self
            .pod(core)
            .ok()
            .flatten()
            .map(|id| (id, take_out(core, id)));
        let explanation = Explanation::of(core, &mut self, now);
        if let Some((id, out)) = out {
            put_back(core, id, out);
        }
        self.abandon(core);
        explanation
    }
}

fn take_out(core: &mut Core, id: PodId) -> Out {
    let placed = core.cluster.pod(id).node;
    let lifted = lift_reservations(core, id);
    core.cluster.lift(id);
    Out { placed, lifted }
}

fn put_back(core: &mut Core, id: PodId, out: Out) {
    restore_reservations(core, out.lifted);
    if let Some(node) = out.placed {
        core.cluster.place_on(id, node);
    }
}
