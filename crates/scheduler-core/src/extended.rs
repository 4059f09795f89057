//! Pods that services outside have a say in (upstream's extenders): the core offers feasible nodes and scores, the shell asks, and
//! the core places or turns away what comes back.
//!
//! Asking takes time, and the core decides about other pods meanwhile. So an answer is checked against the cluster as it is when it
//! comes, and events that happened in between are remembered: a pod that is turned away although one of them could have let it in
//! does not wait for another (upstream's in-flight events). Invariant: a pod is asked for from [`Core::take_asks`] until
//! [`Core::place_asked`], [`Core::turn_away_asked`] or [`Core::retry_asked`], or until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::classes::{Choice, ClassId};
use crate::cluster::{NodeId, PodId};
use crate::core::{Core, Decision, Outcome, PodRef};
use crate::events::{Event, Waiting};
use crate::objects::Text;
use crate::preemption::{self, Candidate};
use crate::queue::Rejectors;
use crate::spec::Spec;

/// The name under which a rejection by an extender is remembered, as upstream's.
pub const EXTENDER: &str = "Extender";

/// Whether a service outside has a say in pods like this.
pub type Interest = Box<dyn Fn(&Spec) -> bool + Send + Sync>;

#[derive(Default)]
pub(crate) struct Extended {
    pub interest: Option<Interest>,
    asks: Vec<Ask>,
    in_flight: BTreeMap<PodId, Missed>,
}

/// What happened while a pod was asked for.
#[derive(Default)]
struct Missed {
    any: bool,
    /// Plugins that think that it could let the pod in.
    plugins: BTreeSet<&'static str>,
}

/// A question to the services outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub pod: PodRef,
    /// Nodes that pass all filters, by row.
    pub feasible: Vec<Text>,
}

/// A node that a service outside turned away.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refusal {
    pub node: Text,
    pub reason: String,
}

/// Pods to evict from a node so that the pod fits, as preemption found it or as a service outside changed it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Eviction {
    pub node: Text,
    pub victims: Vec<PodRef>,
    pub violations: usize,
}

impl Core {
    /// From now on pods like these are asked for instead of decided.
    pub fn ask_about(&mut self, interest: Interest) {
        self.extended.interest = Some(interest);
    }

    pub(crate) fn is_asked_about(&self, spec: &Spec) -> bool {
        self.extended
            .interest
            .as_ref()
            .is_some_and(|interested| interested(spec))
    }

    /// Puts the question; the pod stays in flight.
    pub(crate) fn ask(&mut self, id: PodId, pod: PodRef, class: ClassId, profile: usize) {
        self.hold_nominated(id, class);
        let left = self.left_to_nominated(class, profile);
        let class = self.classes.get(class);
        let profile = &self.profiles[profile];
        let mut nodes = match profile.sampling {
            Some(percentage) => {
                let sampler = &mut self.sampler;
                sampler.feasible(&self.cluster, class, profile, percentage, &left)
            }
            None => class.feasible(profile),
        };
        nodes.retain(|node| left.binary_search(node).is_err());
        let feasible = nodes.iter().map(|id| self.cluster.nodes.name(*id).clone());
        self.extended.asks.push(Ask {
            pod,
            feasible: feasible.collect(),
        });
        self.extended.in_flight.insert(id, Missed::default());
        self.release_nominated();
    }

    /// Questions since the last call.
    pub fn take_asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.extended.asks)
    }

    /// Questions that have no answer yet.
    pub fn asks_in_flight(&self) -> usize {
        self.extended.in_flight.len()
    }

    pub(crate) fn forget_ask(&mut self, id: PodId) {
        self.extended.in_flight.remove(&id);
    }

    /// Remembers for every pod that is asked for which of its plugins the event would interest.
    pub(crate) fn miss(&mut self, event: &Event<'_>) {
        if self.extended.in_flight.is_empty() {
            return;
        }
        let mut in_flight = std::mem::take(&mut self.extended.in_flight);
        for (&pod, missed) in &mut in_flight {
            let spec = self.cluster.pod_spec(pod);
            let waiting = Waiting {
                cluster: &self.cluster,
                pod,
                spec,
                identity: self.cluster.pod_identity(pod),
            };
            let profile = self.profile_of(&spec.scheduler_name).unwrap_or(0);
            let plugins = self.profiles[profile].plugins();
            let woken = plugins.filter(|plugin| plugin.wakes(&waiting, event));
            missed.plugins.extend(woken.map(|plugin| plugin.name()));
            missed.any = true;
        }
        self.extended.in_flight = in_flight;
    }

    /// The pod when it is still asked for.
    fn asked(&self, pod: &PodRef) -> Option<PodId> {
        let id = self.cluster.pod_id(&pod.key())?;
        let same = self.cluster.pod(id).uid == pod.uid;
        (same && self.extended.in_flight.contains_key(&id)).then_some(id)
    }

    fn class_of(&mut self, id: PodId) -> (ClassId, usize) {
        let profile = self.profile_for(id);
        (self.class_with_claims(id, profile), profile)
    }

    /// Scores of those of these nodes that are still feasible, normalised over them; a node reserved for the pod by preemption comes
    /// alone. `None`: the pod is gone.
    pub fn scores_asked(&mut self, pod: &PodRef, nodes: &[Text]) -> Option<Vec<(Text, i64)>> {
        let id = self.asked(pod)?;
        let nominated = self.budgets.reservations.get(&id).copied();
        let reserved = preemption::lift_reservations(self, id);
        let (class, profile) = self.class_of(id);
        let rows = nodes.iter().filter_map(|name| self.cluster.nodes.id(name));
        let rows: Vec<NodeId> = rows.collect();
        let class = self.classes.get(class);
        let profile = &self.profiles[profile];
        let mut scores = class.scores_among(profile, &rows);
        if scores.iter().any(|scored| Some(scored.node) == nominated) {
            scores.retain(|scored| Some(scored.node) == nominated);
        }
        let named = |scored: &crate::classes::Scored| {
            (self.cluster.nodes.name(scored.node).clone(), scored.score)
        };
        let named = scores.iter().map(named).collect();
        preemption::restore_reservations(self, reserved);
        if let Some(node) = nominated {
            self.cluster.place_on(id, node);
        }
        Some(named)
    }

    /// Assumes the pod on this node. `None`: the pod is gone, or the node no longer does; see [`Core::retry_asked`].
    pub fn place_asked(
        &mut self,
        pod: &PodRef,
        node: &str,
        score: i64,
        feasible: usize,
    ) -> Option<Decision> {
        let id = self.asked(pod)?;
        let node = self.cluster.nodes.id(node)?;
        let reserved = preemption::lift_reservations(self, id);
        let (class, profile) = self.class_of(id);
        let generation = self.cluster.generation();
        self.hold_nominated(id, class);
        let fits = self.fits(class, profile, node);
        let decision = fits.is_ok().then(|| {
            self.forget_ask(id);
            let choice = Choice {
                node,
                score,
                feasible,
            };
            self.assume(id, pod.clone(), class, generation, choice)
        });
        if decision.is_none() {
            self.budgets.reservations.remove(&id);
            self.cluster.unplace(id);
        }
        self.release_nominated();
        preemption::restore_reservations(self, reserved);
        decision
    }

    /// What preemption would evict for a pod that no node takes; services outside may change it.
    pub fn evictions_asked(&mut self, pod: &PodRef) -> Vec<Eviction> {
        let Some(id) = self.asked(pod) else {
            return Vec::new();
        };
        let reserved = preemption::lift_reservations(self, id);
        let (class, profile) = self.class_of(id);
        self.classes.widen(class, &self.cluster, &self.profiles);
        self.hold_nominated(id, class);
        let nodes = self.cluster.node_count();
        let found = preemption::find(self, id, class, profile, nodes);
        let evictions = match found {
            Ok((candidates, _)) => candidates.iter().map(|one| self.eviction(one)).collect(),
            Err(_) => Vec::new(),
        };
        self.release_nominated();
        preemption::restore_reservations(self, reserved);
        evictions
    }

    fn eviction(&self, candidate: &Candidate) -> Eviction {
        let victims = candidate.victims.iter();
        Eviction {
            node: self.cluster.nodes.name(candidate.node).clone(),
            victims: victims.map(|id| self.reference(*id)).collect(),
            violations: candidate.violations,
        }
    }

    /// No node is left. `evictions`: what services outside made of [`Core::evictions_asked`]; `None` when none was asked. `None` as
    /// answer: the pod is gone.
    pub fn turn_away_asked(
        &mut self,
        pod: &PodRef,
        refusals: &[Refusal],
        evictions: Option<&[Eviction]>,
        now: Duration,
    ) -> Option<Outcome> {
        let id = self.asked(pod)?;
        let missed = self.extended.in_flight.remove(&id).unwrap_or_default();
        let mut reserved = preemption::lift_reservations(self, id);
        self.budgets.reservations.remove(&id);
        self.cluster.unplace(id);
        let (class, profile) = self.class_of(id);
        self.classes.widen(class, &self.cluster, &self.profiles);
        self.hold_nominated(id, class);
        let mut diagnosis = self.diagnose(class, profile);
        self.diagnose_yielded(class, profile, &mut diagnosis);
        for refusal in refusals {
            *diagnosis
                .extended
                .entry(refusal.reason.clone())
                .or_insert(0) += 1;
        }
        let evictions = evictions.map(|all| self.candidates(all));
        let mut preemption = preemption::run(self, id, class, profile, &mut diagnosis, evictions);
        if let Some(preemption) = &mut preemption {
            preemption::displace(self, preemption, &mut reserved);
        }
        let plugins = diagnosis.plugins();
        let rejectors = Rejectors::from_slice(&plugins);
        let again = match plugins.is_empty() || plugins.contains(&EXTENDER) {
            true => missed.any,
            false => plugins.iter().any(|name| missed.plugins.contains(name)),
        };
        self.queue.unschedulable(id, rejectors, now);
        if again {
            self.queue.wake_pod(id, now);
        }
        self.release_nominated();
        preemption::restore_reservations(self, reserved);
        Some(Outcome::Unschedulable {
            pod: pod.clone(),
            message: diagnosis.message(),
            plugins,
            preemption,
        })
    }

    fn candidates(&self, evictions: &[Eviction]) -> Vec<Candidate> {
        let victim = |node: NodeId, pod: &PodRef| {
            let pods = self.cluster.nodes.entry(node).pods.iter().copied();
            let mut pods = pods.filter(|id| self.cluster.pod(*id).uid == pod.uid);
            pods.next()
        };
        let candidate = |eviction: &Eviction| {
            let node = self.cluster.nodes.id(&eviction.node)?;
            let victims = eviction.victims.iter().map(|pod| victim(node, pod));
            Some(Candidate {
                node,
                victims: victims.collect::<Option<Vec<_>>>()?,
                violations: eviction.violations,
            })
        };
        evictions.iter().filter_map(candidate).collect()
    }

    /// Something failed that is not the pod's fault: it tries again after back-off.
    pub fn retry_asked(&mut self, pod: &PodRef, now: Duration) {
        if let Some(id) = self.asked(pod) {
            self.forget_ask(id);
            if self.budgets.reservations.remove(&id).is_some() {
                self.cluster.unplace(id);
            }
            self.queue.failed(id, now);
        }
    }
}
