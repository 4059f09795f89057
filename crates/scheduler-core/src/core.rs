//! The scheduler's core: events of the cluster in, decisions out. One writer, no clock of its own, no randomness: the same calls in
//! the same order give the same answers.
//!
//! A pod is queued, then in flight with a placement assumed, then placed for good when the cluster says so; a failed binding takes
//! the assumption back. Invariant: a pod is in the queue exactly while it is known and not placed for good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::claims::Deallocation;
use crate::classes::{Choice, ClassId, Classes, Limits, Scored, Ties};
use crate::cluster::devices::ClaimToWrite;
use crate::cluster::volumes::VolumeBindings;
use crate::cluster::{Cluster, NodeFacts, PodId};
use crate::diagnosis::{Diagnosis, NO_NODES};
use crate::events::{Event, NodeView, PodChange, Waiting};
use crate::explain::Records;
use crate::extended::Extended;
use crate::gangs::Gangs;
use crate::objects::{Node, Pod, Text};
use crate::plugins::{dynamic_resources, node_affinity, scheduling_gates, volume_binding};
use crate::points::Point;
use crate::preemption::{self, Budgets, Preemption};
use crate::profile::Profile;
use crate::queue::{Backoff, Lengths, Place, Queue, Rejectors};
use crate::sampling::Sampler;
use crate::spec::{Identity, Spec};

const CONFLICT: &str = "pod affinity terms conflict";

pub struct Core {
    pub(crate) cluster: Cluster,
    pub(crate) classes: Classes,
    pub(crate) queue: Queue,
    pub(crate) records: Records,
    pub(crate) extended: Extended,
    pub(crate) sampler: Sampler,
    pub(crate) profiles: Vec<Profile>,
    pub budgets: Budgets,
    decided: u64,
    pub(crate) deallocations: Vec<Deallocation>,
    pub(crate) gangs: Gangs,
}

/// A pod goes to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub pod: PodRef,
    pub node: Text,
    /// The pod's class, and the generation of the cluster that was looked at.
    pub class: ClassId,
    pub generation: u64,
    pub score: i64,
    /// How many nodes would have done.
    pub feasible: usize,
    /// This was the pod's n-th attempt.
    pub attempts: u32,
    /// When the pod was first seen.
    pub first_seen: Duration,
    /// What has to be written, and be bound, before the pod is.
    pub volumes: Option<Box<VolumeBindings>>,
    /// Claims to enter the pod in before it is bound, with the devices that were chosen.
    pub claims: Vec<ClaimToWrite>,
}

/// Which pod: its key may be used again by another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
pub struct PodRef {
    pub namespace: Text,
    pub name: Text,
    pub uid: Text,
}

impl PodRef {
    pub fn key(&self) -> Text {
        compact_str::format_compact!("{}/{}", self.namespace, self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The placement is assumed; bind it, then call [`Core::bound`] or [`Core::bind_failed`].
    Placed(Decision),
    /// No node does. `preemption`: pods to evict, after which the nominated node may.
    Unschedulable {
        pod: PodRef,
        message: String,
        plugins: Vec<&'static str>,
        preemption: Option<Preemption>,
    },
}

impl Default for Core {
    fn default() -> Self {
        Self::new(vec![Profile::default()], Backoff::default())
    }
}

impl Core {
    pub fn new(profiles: Vec<Profile>, backoff: Backoff) -> Self {
        Self::with_limits(profiles, backoff, Limits::default())
    }

    pub fn with_limits(profiles: Vec<Profile>, backoff: Backoff, limits: Limits) -> Self {
        Self {
            cluster: Cluster::new(limits.log),
            classes: Classes::new(limits),
            queue: Queue::new(backoff),
            records: Records::default(),
            extended: Extended::default(),
            sampler: Sampler::default(),
            profiles,
            budgets: Budgets::default(),
            decided: 0,
            deallocations: Vec::new(),
            gangs: Gangs::default(),
        }
    }

    /// Ties between nodes go by this seed, reproducibly, instead of to the lowest row. Call it before the first decision.
    pub fn break_ties_by(&mut self, seed: u64) {
        self.classes.set_ties(Ties::seeded(seed));
    }

    /// The order in which equally good nodes are taken.
    pub fn ties(&self) -> Ties {
        self.classes.ties()
    }

    /// How long a pod waits without anything that could help it; five minutes unless set.
    pub fn flush_unschedulable_after(&mut self, patience: Duration) {
        self.queue.flush_after(patience);
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Of the profiles, in order.
    pub fn scheduler_names(&self) -> impl Iterator<Item = &str> {
        self.profiles
            .iter()
            .map(|profile| profile.scheduler_name.as_str())
    }

    pub fn lengths(&self) -> Lengths {
        self.queue.lengths()
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The profile that decides about a known pod.
    pub fn profile_of_pod(&self, pod: &PodRef) -> usize {
        let id = self.cluster.pod_id(&pod.key());
        let name = id.map(|id| &self.cluster.pod_spec(id).scheduler_name);
        name.and_then(|name| self.profile_of(name)).unwrap_or(0)
    }

    /// Unschedulable pods by profile and by plugin that turned them away.
    pub fn unschedulable_by_plugin(&self) -> BTreeMap<(usize, &'static str), usize> {
        let mut counts = BTreeMap::new();
        for (shape, rejectors, pods) in self.queue.waiting_counts() {
            let (spec, _) = self.cluster.shape(shape);
            let name = &self.cluster.spec(spec).scheduler_name;
            let profile = self.profile_of(name).unwrap_or(0);
            for plugin in rejectors {
                *counts.entry((profile, *plugin)).or_insert(0) += pods;
            }
        }
        counts
    }

    /// Something can be decided now.
    pub fn is_ready(&self, now: Duration) -> bool {
        !self.gangs.outcomes.is_empty() || self.queue.is_ready(now)
    }

    /// When something becomes due without an event.
    pub fn next_due(&self) -> Option<Duration> {
        self.queue.next_due()
    }

    /// Where a pod waits; `None`: it does not.
    pub fn place_of(&self, key: &str) -> Option<&Place> {
        let id = self.cluster.pod_id(key)?;
        Some(&self.queue.get(id)?.place)
    }

    // ----- what happens in the cluster -----

    /// A pod was added or modified.
    pub fn apply_pod(&mut self, pod: &Pod, now: Duration) {
        let key = pod.key();
        let known = self.cluster.pod_id(&key);
        if known.is_some_and(|id| self.cluster.pod(id).uid != pod.metadata.uid) {
            self.delete_pod(&key, now);
        }
        if pod.is_finished() {
            return self.delete_pod(&key, now);
        }
        match (pod.is_assigned(), self.cluster.pod_id(&key)) {
            (true, known) => self.apply_assigned(pod, known, now),
            (false, known) => self.apply_pending(pod, known, now),
        }
    }

    fn apply_assigned(&mut self, pod: &Pod, known: Option<PodId>, now: Duration) {
        let Some(id) = known else {
            let id = self.cluster.add_pod(pod);
            self.cluster.place(id, &pod.spec.node_name);
            if let Some(group) = self.cluster.pod(id).group.clone() {
                self.group_grew(&group, now);
            }
            return self.placed(id, now);
        };
        if self.queue.get(id).is_some() {
            // Ours, confirmed, or someone else's binding of a pod that waited here.
            self.queue.remove(id);
            self.forget_ask(id);
            self.budgets.reservations.remove(&id);
            self.cluster.keep_volumes(id);
            self.cluster.place(id, &pod.spec.node_name);
            self.cluster.update_pod(id, pod);
            return self.placed(id, now);
        }
        let (old, old_identity) = self.parts(id);
        self.cluster.place(id, &pod.spec.node_name);
        if self.cluster.update_pod(id, pod) && self.has_waiting() {
            let (new, identity) = self.parts(id);
            let event = Event::PlacedPodUpdated {
                old: &old,
                old_identity: &old_identity,
                new: &new,
                identity: &identity,
            };
            self.tell(&event, now);
        }
    }

    fn placed(&mut self, id: PodId, now: Duration) {
        if self.has_waiting() {
            let (new, identity) = self.parts(id);
            let event = Event::PlacedPodAdded {
                new: &new,
                identity: &identity,
            };
            self.tell(&event, now);
        }
    }

    fn apply_pending(&mut self, pod: &Pod, known: Option<PodId>, now: Duration) {
        let Some(profile) = self
            .profile_of(&pod.spec.scheduler_name)
            .filter(|_| !pod.is_terminating())
        else {
            return self.delete_pod(&pod.key(), now);
        };
        let gated = !pod.spec.scheduling_gates.is_empty()
            && self.profiles[profile].is_enabled_at(scheduling_gates::NAME, Point::PreEnqueue);
        let Some(id) = known else {
            let id = self.cluster.add_pod(pod);
            let gated = gated || self.is_held(id);
            let entry = self.cluster.pod(id);
            let group = entry.group.clone();
            self.queue.add(id, entry.shape, entry.priority, gated, now);
            if !gated {
                preemption::adopt_nomination(self, id);
            }
            if let Some(group) = group {
                self.group_grew(&group, now);
            }
            return;
        };
        let before = self.parts(id);
        let claims = self.cluster.pod(id).resource_claims.clone();
        let changed = self.cluster.update_pod(id, pod);
        let was_gated = self
            .queue
            .get(id)
            .is_some_and(|queued| queued.place == Place::Gated);
        let gated = gated || was_gated && self.is_held(id);
        let entry = self.cluster.pod(id);
        if changed || was_gated != gated {
            self.queue
                .update(id, entry.shape, entry.priority, gated, now);
        }
        if changed {
            let after = self.parts(id);
            let change = PodChange {
                claims: claims != self.cluster.pod(id).resource_claims,
                ..PodChange::between((&before.0, &before.1), (&after.0, &after.1))
            };
            self.pod_changed(id, change, now);
        }
    }

    /// A waiting pod itself changed: do the plugins that turned it away think that helps?
    fn pod_changed(&mut self, id: PodId, change: PodChange, now: Duration) {
        self.miss(&Event::PodUpdated { pod: id, change });
        let Some(Place::Unschedulable { rejectors, .. }) =
            self.queue.get(id).map(|queued| queued.place.clone())
        else {
            return;
        };
        let (spec, identity) = self.parts(id);
        let waiting = Waiting {
            cluster: &self.cluster,
            pod: id,
            spec: &spec,
            identity: &identity,
        };
        let event = Event::PodUpdated { pod: id, change };
        let profile = self.profile_of(&spec.scheduler_name).unwrap_or(0);
        if wakes(&self.profiles[profile], &rejectors, &waiting, &event) {
            self.queue.because(event.label());
            self.queue.wake_pod(id, now);
        }
    }

    /// A pod is gone (or has finished).
    pub fn delete_pod(&mut self, key: &str, now: Duration) {
        let Some(id) = self.cluster.pod_id(key) else {
            return;
        };
        self.queue.remove(id);
        self.forget_ask(id);
        self.budgets.reservations.remove(&id);
        self.cluster.revert_volumes(id);
        let placed = self.cluster.pod(id).node.is_some();
        let (old, identity) = self.parts(id);
        self.cluster.remove_pod(id);
        if placed {
            self.freed(&old, &identity, now);
        }
    }

    fn freed(&mut self, old: &Spec, identity: &Identity, now: Duration) {
        if self.has_waiting() {
            self.tell(&Event::PlacedPodDeleted { old, identity }, now);
        }
    }

    /// Forgets every pod that is not among these (after a new list).
    pub fn retain_pods(&mut self, keep: impl Fn(&str) -> bool, now: Duration) {
        let gone: Vec<Text> = self
            .cluster
            .pods()
            .filter(|(_, pod)| !keep(&pod.key))
            .map(|(_, pod)| pod.key.clone())
            .collect();
        for key in gone {
            self.delete_pod(&key, now);
        }
    }

    pub fn apply_node(&mut self, node: &Node, now: Duration) {
        self.sampler.stale = true;
        let before = self.cluster.set_node(node);
        if !self.has_waiting() {
            return;
        }
        let facts = NodeFacts::of(node);
        let name = &node.metadata.name;
        let new = NodeView::new(name, &facts);
        match &before {
            None => self.tell(&Event::NodeAdded { new }, now),
            Some(before) if *before != facts => {
                let old = NodeView::new(name, before);
                self.tell(&Event::NodeUpdated { old, new }, now);
            }
            Some(_) => {}
        }
    }

    pub fn delete_node(&mut self, name: &Text, now: Duration) {
        self.sampler.stale = true;
        if let Some(facts) = self.cluster.remove_node(name) {
            let old = NodeView::new(name, &facts);
            self.tell(&Event::NodeDeleted { old }, now);
        }
    }

    pub fn retain_nodes(&mut self, keep: impl Fn(&str) -> bool, now: Duration) {
        let gone: Vec<Text> = self
            .cluster
            .nodes
            .iter()
            .map(|id| self.cluster.nodes.name(id).clone())
            .filter(|name| !keep(name))
            .collect();
        for name in gone {
            self.delete_node(&name, now);
        }
    }

    /// Namespaces, services and owners: changes go through here; `namespace` tells whether a namespace's labels may have changed.
    pub fn change_cluster(
        &mut self,
        now: Duration,
        namespace: bool,
        change: impl FnOnce(&mut Cluster),
    ) {
        change(&mut self.cluster);
        if namespace && self.has_waiting() {
            self.tell(&Event::NamespaceChanged, now);
        }
    }

    /// Somebody waits for events.
    fn has_waiting(&self) -> bool {
        self.queue.has_waiting() || self.asks_in_flight() > 0
    }

    /// Wakes the unschedulable pods that this event could help.
    pub(crate) fn tell(&mut self, event: &Event<'_>, now: Duration) {
        self.miss(event);
        let mut woken: Vec<(u32, Rejectors)> = Vec::new();
        if !self.queue.has_waiting() {
            return;
        }
        for (rejectors, shape, pod) in self.queue.waiting() {
            let (spec, identity) = self.cluster.shape(shape);
            let waiting = Waiting {
                cluster: &self.cluster,
                pod,
                spec: self.cluster.spec(spec),
                identity: self.cluster.identity(identity),
            };
            let profile = self.profile_of(&waiting.spec.scheduler_name).unwrap_or(0);
            if wakes(&self.profiles[profile], rejectors, &waiting, event) {
                woken.push((shape, rejectors.clone()));
            }
        }
        woken.sort_unstable();
        self.queue.because(event.label());
        for (shape, rejectors) in woken {
            self.queue.wake(shape, &rejectors, now);
        }
    }

    // ----- decisions -----

    /// Decides about the next pod in the queue, if one is due.
    pub fn schedule_one(&mut self, now: Duration) -> Option<Outcome> {
        loop {
            if let Some(outcome) = self.gangs.outcomes.pop_front() {
                return Some(outcome);
            }
            let id = self.queue.pop(now)?;
            match self.gang_of(id) {
                Some(group) => self.schedule_gang(&group, id, now),
                None => {
                    let outside = self.is_asked_about(self.cluster.pod_spec(id));
                    if let Some(outcome) = self.decide(id, outside, now) {
                        return Some(outcome);
                    }
                }
            }
        }
    }

    /// Decides about a pod that is in flight. `None`: services outside must be asked first (see [`crate::extended`]); pods of a group
    /// are decided together and without them.
    pub(crate) fn decide(&mut self, id: PodId, outside: bool, now: Duration) -> Option<Outcome> {
        self.decided += 1;
        let entry = self.cluster.pod(id);
        let pod = self.reference(id);
        let shape = entry.shape;
        let profile = self.profile_for(id);
        if self.cluster.node_count() == 0 {
            // A place that it waited for is gone with its node.
            if self.budgets.reservations.remove(&id).is_some() {
                self.cluster.unplace(id);
            }
            self.queue.unschedulable(id, Rejectors::new(), now);
            return Some(Outcome::Unschedulable {
                pod,
                message: NO_NODES.to_owned(),
                plugins: Vec::new(),
                preemption: None,
            });
        }
        if let Some((plugin, why)) = self.rejected_at_once(id, profile) {
            return Some(self.turn_away_at_once(id, pod, profile, plugin, why, now));
        }
        let demand = match self.demand_of(id) {
            Ok(demand) => demand,
            Err(why) => {
                let plugin = dynamic_resources::NAME;
                return Some(self.turn_away_at_once(id, pod, profile, plugin, why, now));
            }
        };
        let mut reserved = preemption::lift_reservations(self, id);
        let class =
            self.classes
                .of_demand(&mut self.cluster, &self.profiles, profile, shape, demand);
        if outside {
            let nominated = self.budgets.reservations.get(&id).copied();
            self.ask(id, pod, class, profile);
            preemption::restore_reservations(self, reserved);
            if let Some(node) = nominated {
                self.cluster.place_on(id, node);
            }
            return None;
        }
        let generation = self.cluster.generation();
        self.hold_nominated(id, class);
        let choice = preemption::nominated_choice(self, id, class, profile)
            .or_else(|| self.choose(class, profile));
        if choice.is_none() {
            self.classes.widen(class, &self.cluster, &self.profiles);
        }
        let mut outcome = match choice {
            Some(choice) => {
                self.records.keep(&self.cluster, id, profile, choice, now);
                Outcome::Placed(self.assume(id, pod, class, generation, choice))
            }
            None => self.turn_away(id, pod, class, profile, now),
        };
        if let Outcome::Unschedulable {
            preemption: Some(preemption),
            ..
        } = &mut outcome
        {
            preemption::displace(self, preemption, &mut reserved);
        }
        self.release_nominated();
        preemption::restore_reservations(self, reserved);
        Some(outcome)
    }

    fn choose(&mut self, class: ClassId, profile: usize) -> Option<Choice> {
        let left = match self.budgets.held.is_empty() {
            true => Vec::new(),
            false => self.left_to_nominated(class, profile),
        };
        if !left.is_empty() && self.profiles[profile].sampling.is_none() {
            return self.choose_except(class, profile, &left);
        }
        let class = self.classes.get(class);
        let profile = &self.profiles[profile];
        match profile.sampling {
            None => class.choose_and_note(profile, self.records.note()),
            Some(percentage) => {
                self.sampler
                    .choose(&self.cluster, class, profile, percentage, &left)
            }
        }
    }

    pub(crate) fn assume(
        &mut self,
        id: PodId,
        pod: PodRef,
        class: ClassId,
        generation: u64,
        choice: Choice,
    ) -> Decision {
        let (attempts, first_seen) = self.queue.get(id).map_or((1, Duration::ZERO), |queued| {
            (queued.attempts, queued.first_seen)
        });
        let profile = &self.profiles[self.classes.get(class).plan().profile];
        let volumes = match profile.filters(volume_binding::NAME) {
            true => self.cluster.reserve_volumes(id, choice.node),
            false => None,
        };
        let claims = self.reserve_devices(id, class, choice.node);
        self.cluster.place_on(id, choice.node);
        self.budgets.reservations.remove(&id);
        Decision {
            pod,
            node: self.cluster.nodes.name(choice.node).clone(),
            class,
            generation,
            score: choice.score,
            feasible: choice.feasible,
            attempts,
            first_seen,
            volumes: volumes.map(Box::new),
            claims,
        }
    }

    fn turn_away(
        &mut self,
        id: PodId,
        pod: PodRef,
        class: ClassId,
        profile: usize,
        now: Duration,
    ) -> Outcome {
        let mut diagnosis = self.diagnose(class, profile);
        self.diagnose_yielded(class, profile, &mut diagnosis);
        let preemption = preemption::run(self, id, class, profile, &mut diagnosis, None);
        if preemption.is_none() {
            self.post_filter_claims(id, false, &mut diagnosis);
        }
        let plugins = diagnosis.plugins();
        let rejectors: Rejectors = SmallVec::from_slice(&plugins);
        self.queue.unschedulable(id, rejectors, now);
        Outcome::Unschedulable {
            pod,
            message: diagnosis.message(),
            plugins,
            preemption,
        }
    }

    /// Why no node at all will do, before any is looked at: what is wrong with the pod's claims.
    pub(crate) fn rejected_at_once(
        &self,
        id: PodId,
        profile: usize,
    ) -> Option<(&'static str, String)> {
        let spec = self.cluster.pod_spec(id);
        let profile = &self.profiles[profile];
        if spec.claims.is_empty() {
            return None;
        }
        let named = spec.named_nodes().filter(|names| names.is_empty());
        if named.is_some() && profile.filters(node_affinity::NAME) {
            return None;
        }
        let identity = self.cluster.pod_identity(id);
        crate::volumes::rejection(&self.cluster, profile, identity, spec)
    }

    fn turn_away_at_once(
        &mut self,
        id: PodId,
        pod: PodRef,
        profile: usize,
        plugin: &'static str,
        why: String,
        now: Duration,
    ) -> Outcome {
        let mut diagnosis = Diagnosis {
            nodes: self.cluster.node_count(),
            common: Some((plugin, why)),
            ..Diagnosis::default()
        };
        preemption::hopeless(self, id, profile, &mut diagnosis);
        self.post_filter_claims(id, true, &mut diagnosis);
        let plugins = diagnosis.plugins();
        self.queue
            .unschedulable(id, SmallVec::from_slice(&plugins), now);
        Outcome::Unschedulable {
            pod,
            message: diagnosis.message(),
            plugins,
            preemption: None,
        }
    }

    pub(crate) fn diagnose(&self, class: ClassId, profile: usize) -> Diagnosis {
        let class = self.classes.get(class);
        let nodes = self.cluster.node_count();
        Diagnosis {
            nodes,
            common: class
                .conflicts()
                .then(|| (node_affinity::NAME, CONFLICT.to_owned())),
            rejections: class.rejections(&self.profiles[profile]),
            unnamed: class
                .candidates()
                .map_or(0, |candidates| nodes - candidates),
            ..Diagnosis::default()
        }
    }

    /// The binding was accepted. The watch will confirm it; until then the placement stays assumed.
    pub fn bound(&mut self, pod: &PodRef, now: Duration) {
        self.settle_devices(pod, now);
    }

    /// The binding failed: the assumption is taken back and the pod tries again after back-off.
    pub fn bind_failed(&mut self, pod: &PodRef, now: Duration) {
        self.settle_devices(pod, now);
        let Some(id) = self.cluster.pod_id(&pod.key()) else {
            return;
        };
        // Confirmed meanwhile, or another pod of that name.
        if self.queue.get(id).is_none() || self.cluster.pod(id).uid != pod.uid {
            return;
        }
        let (old, identity) = self.parts(id);
        self.cluster.revert_volumes(id);
        self.cluster.unplace(id);
        self.queue.failed(id, now);
        self.freed(&old, &identity, now);
    }

    /// Every node that would do for a known pod now, with its score; the pod's own placement is not taken back.
    pub fn evaluate(&mut self, key: &str) -> Option<Vec<(Text, i64)>> {
        let id = self.cluster.pod_id(key)?;
        let profile = self.profile_for(id);
        if self.rejected_at_once(id, profile).is_some() {
            return Some(Vec::new());
        }
        let shape = self.cluster.pod(id).shape;
        let Ok(demand) = self.demand_of(id) else {
            return Some(Vec::new());
        };
        let class =
            self.classes
                .of_demand(&mut self.cluster, &self.profiles, profile, shape, demand);
        let scores = self.classes.get(class).scores(&self.profiles[profile]);
        let named = |scored: Scored| (self.cluster.nodes.name(scored.node).clone(), scored.score);
        Some(scores.into_iter().map(named).collect())
    }

    /// Something besides its scheduling gates keeps the pod out of the queue (upstream's PreEnqueue).
    pub(crate) fn is_held(&self, id: PodId) -> bool {
        self.claims_hold(id).is_err() || self.gang_holds(id).is_err()
    }

    /// Lets a pod into the queue that was held back, if nothing does any more.
    pub(crate) fn reconsider_gate(&mut self, id: PodId, now: Duration) {
        let entry = self.cluster.pod(id);
        let gated = self.queued_place(id) == Some(&Place::Gated);
        if gated && !entry.has_gates && !self.is_held(id) {
            let (shape, priority) = (entry.shape, entry.priority);
            self.queue.update(id, shape, priority, false, now);
        }
    }

    pub(crate) fn queued_place(&self, id: PodId) -> Option<&Place> {
        Some(&self.queue.get(id)?.place)
    }

    pub(crate) fn wake_pod(&mut self, id: PodId, now: Duration) {
        self.queue.wake_pod(id, now);
    }

    /// The pod's profile asks this plugin.
    pub(crate) fn plugin_filters(&self, id: PodId, plugin: &str) -> bool {
        let profile = self.profile_of(&self.cluster.pod_spec(id).scheduler_name);
        profile.is_some_and(|profile| self.profiles[profile].filters(plugin))
    }

    /// The profile that decides about a pod; the first when it names none of them.
    pub(crate) fn profile_for(&self, id: PodId) -> usize {
        let name = &self.cluster.pod_spec(id).scheduler_name;
        self.profile_of(name).unwrap_or(0)
    }

    pub(crate) fn profile_of(&self, scheduler_name: &str) -> Option<usize> {
        self.profiles
            .iter()
            .position(|profile| profile.scheduler_name == scheduler_name)
    }

    fn parts(&self, id: PodId) -> (Arc<Spec>, Arc<Identity>) {
        (
            self.cluster.pod_spec(id).clone(),
            self.cluster.pod_identity(id).clone(),
        )
    }

    pub(crate) fn reference(&self, id: PodId) -> PodRef {
        let entry = self.cluster.pod(id);
        PodRef {
            namespace: entry.namespace().into(),
            name: entry.name().into(),
            uid: entry.uid.clone(),
        }
    }
}

fn wakes(
    profile: &Profile,
    rejectors: &Rejectors,
    waiting: &Waiting<'_>,
    event: &Event<'_>,
) -> bool {
    rejectors.is_empty()
        || rejectors.iter().any(|name| {
            profile
                .plugin(name)
                .is_none_or(|plugin| plugin.wakes(waiting, event))
        })
}
