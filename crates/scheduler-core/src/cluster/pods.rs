//! Pods: each is a shape (spec and identity, shared by equal pods), a priority, and where it is placed, if anywhere.
//!
//! Invariant: a placed pod is accounted for on its node exactly once: in the columns, the ports, and every tally it matches.

use std::sync::Arc;

use hashbrown::HashMap;

use super::devices::PodClaims;
use super::{Change, Cluster, NodeId, ShapeEntry, ShapeId, SpecId};
use crate::objects::{Pod, Text};
use crate::spec::{Identity, Spec};

pub type PodId = u32;

#[derive(Default)]
pub(crate) struct Pods {
    ids: HashMap<Text, PodId>,
    entries: Vec<Option<PodEntry>>,
    free: Vec<PodId>,
}

#[derive(Clone, Debug)]
pub struct PodEntry {
    /// `namespace/name`.
    pub key: Text,
    pub uid: Text,
    pub shape: ShapeId,
    pub priority: i32,
    pub terminating: bool,
    /// preemptionPolicy: Never.
    pub never_preempts: bool,
    /// status.startTime, else the creation; RFC 3339 text, which orders as time does.
    pub started: Text,
    pub nominated: Text,
    /// A terminating pod that was evicted by a scheduler.
    pub preempted: bool,
    pub node: Option<NodeId>,
    /// spec.schedulingGates holds it back.
    pub has_gates: bool,
    pub resource_claims: Option<Arc<PodClaims>>,
    /// `namespace/name` of its pod group.
    pub group: Option<Text>,
    /// Where the pod stands in its node's list.
    at: u32,
}

impl PodEntry {
    pub fn namespace(&self) -> &str {
        self.key
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or("", |(_, name)| name)
    }
}

impl Pods {
    pub fn id(&self, key: &str) -> Option<PodId> {
        self.ids.get(key).copied()
    }

    pub fn get(&self, id: PodId) -> &PodEntry {
        self.entries[id as usize]
            .as_ref()
            .expect("pod ids are used only while the pod exists")
    }

    pub fn get_mut(&mut self, id: PodId) -> &mut PodEntry {
        self.entries[id as usize]
            .as_mut()
            .expect("pod ids are used only while the pod exists")
    }

    pub fn iter(&self) -> impl Iterator<Item = (PodId, &PodEntry)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(id, entry)| Some((id as PodId, entry.as_ref()?)))
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    fn insert(&mut self, entry: PodEntry) -> PodId {
        let key = entry.key.clone();
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = Some(entry);
                id
            }
            None => {
                self.entries.push(Some(entry));
                PodId::try_from(self.entries.len() - 1).expect("fewer than 2^32 pods")
            }
        };
        self.ids.insert(key, id);
        id
    }
}

impl Cluster {
    pub fn pod_id(&self, key: &str) -> Option<PodId> {
        self.pods.id(key)
    }

    pub fn pod(&self, id: PodId) -> &PodEntry {
        self.pods.get(id)
    }

    pub fn pod_count(&self) -> usize {
        self.pods.len()
    }

    pub fn pods(&self) -> impl Iterator<Item = (PodId, &PodEntry)> {
        self.pods.iter()
    }

    pub fn pod_spec(&self, id: PodId) -> &std::sync::Arc<Spec> {
        self.spec(self.shape(self.pods.get(id).shape).0)
    }

    pub fn pod_identity(&self, id: PodId) -> &std::sync::Arc<Identity> {
        self.identity(self.shape(self.pods.get(id).shape).1)
    }

    /// Takes a pod in, unplaced. It must not be known yet.
    pub fn add_pod(&mut self, pod: &Pod) -> PodId {
        let shape = self.acquire_shape(Spec::of(pod, pod.is_assigned()), Identity::of(pod));
        let entry = PodEntry {
            key: pod.key(),
            uid: pod.metadata.uid.clone(),
            shape,
            priority: pod.priority(),
            terminating: pod.is_terminating(),
            never_preempts: pod.spec.preemption_policy == "Never",
            started: started(pod),
            nominated: pod.status.nominated_node_name.clone(),
            preempted: is_preempted(pod),
            node: None,
            has_gates: !pod.spec.scheduling_gates.is_empty(),
            resource_claims: PodClaims::of(pod),
            group: group_of(pod),
            at: 0,
        };
        let claims = entry.resource_claims.clone();
        let group = entry.group.clone();
        let id = self.pods.insert(entry);
        if let Some(group) = group {
            self.groups.entry(group).or_default().insert(id);
        }
        if let Some(claims) = claims {
            self.devices.register(id, &claims);
        }
        id
    }

    /// Takes in what changed of a known pod; its placement stays. Returns whether anything that scheduling reads changed.
    pub fn update_pod(&mut self, id: PodId, pod: &Pod) -> bool {
        let claims_changed = self.update_claims(id, pod);
        let entry = self.pods.get(id);
        let placed = entry.node;
        let (spec, identity) = (
            Spec::of(pod, placed.is_some() || pod.is_assigned()),
            Identity::of(pod),
        );
        let (old_spec, old_identity) = self.shape(entry.shape);
        let same = **self.spec(old_spec) == spec && **self.identity(old_identity) == identity;
        let terminating = pod.is_terminating();
        if same && entry.terminating == terminating && entry.priority == pod.priority() {
            let nominated = pod.status.nominated_node_name.clone();
            let entry = self.pods.get_mut(id);
            entry.preempted = is_preempted(pod);
            entry.started = started(pod);
            let before = std::mem::replace(&mut entry.nominated, nominated.clone());
            return before != nominated || claims_changed;
        }
        if let Some(node) = placed {
            self.account(id, node, -1);
        }
        if !same {
            let old = self.pods.get(id).shape;
            let shape = self.acquire_shape(spec, identity);
            self.pods.get_mut(id).shape = shape;
            self.release_shape(old);
        }
        let entry = self.pods.get_mut(id);
        entry.terminating = terminating;
        entry.priority = pod.priority();
        entry.preempted = is_preempted(pod);
        entry.started = started(pod);
        entry.nominated = pod.status.nominated_node_name.clone();
        if let Some(node) = placed {
            self.account(id, node, 1);
            self.note(node, Change::Pods);
        }
        true
    }

    /// All pods of a pod group, placed or not.
    pub fn group_members(&self, group: &str) -> impl Iterator<Item = PodId> {
        self.groups.get(group).into_iter().flatten().copied()
    }

    /// The claims that were made for a pod become known after the pod. Returns whether they did.
    fn update_claims(&mut self, id: PodId, pod: &Pod) -> bool {
        let entry = self.pods.get_mut(id);
        entry.has_gates = !pod.spec.scheduling_gates.is_empty();
        let claims = PodClaims::of(pod);
        if entry.resource_claims == claims {
            return false;
        }
        let before = std::mem::replace(&mut entry.resource_claims, claims.clone());
        if let Some(before) = before {
            self.devices.unregister(id, &before);
        }
        if let Some(claims) = claims {
            self.devices.register(id, &claims);
        }
        true
    }

    pub fn remove_pod(&mut self, id: PodId) {
        self.unplace(id);
        let entry = self.pods.entries[id as usize]
            .take()
            .expect("pod ids are used only while the pod exists");
        self.pods.ids.remove(&entry.key);
        if let Some(claims) = &entry.resource_claims {
            self.devices.unregister(id, claims);
        }
        if let Some(group) = &entry.group
            && let Some(members) = self.groups.get_mut(group)
        {
            members.remove(&id);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
        self.pods.free.push(id);
        self.release_shape(entry.shape);
    }

    /// Puts a pod on a node, which need not exist (yet).
    pub fn place(&mut self, id: PodId, node: &Text) {
        let node = self.nodes.claim_for_pod(node);
        self.place_on(id, node);
    }

    pub(crate) fn place_on(&mut self, id: PodId, node: NodeId) {
        if self.pods.get(id).node == Some(node) {
            return;
        }
        self.unplace(id);
        let list = &mut self.nodes.entries[node as usize].pods;
        let at = list.len() as u32;
        list.push(id);
        let entry = self.pods.get_mut(id);
        entry.node = Some(node);
        entry.at = at;
        self.account(id, node, 1);
        self.note(node, Change::Pods);
    }

    pub fn unplace(&mut self, id: PodId) {
        if let Some(node) = self.lift(id) {
            self.nodes.free_if_empty(node);
        }
    }

    /// Takes a pod off its node for a moment; [`Cluster::place_on`] must put it back there. Unlike after [`Cluster::unplace`], a node
    /// that is gone keeps its row: otherwise the pod would come back on whatever node takes the row next.
    pub(crate) fn lift(&mut self, id: PodId) -> Option<NodeId> {
        let entry = self.pods.get_mut(id);
        let node = entry.node.take()?;
        let at = entry.at as usize;
        let list = &mut self.nodes.entries[node as usize].pods;
        list.swap_remove(at);
        if let Some(&moved) = list.get(at) {
            self.pods.get_mut(moved).at = at as u32;
        }
        self.account(id, node, -1);
        self.note(node, Change::Pods);
        Some(node)
    }

    fn account(&mut self, id: PodId, node: NodeId, sign: i64) {
        let entry = self.pods.get(id);
        let (shape, terminating) = (entry.shape, entry.terminating);
        let (spec, identity) = **self.shapes.get(shape);
        let spec = self.specs.get(spec);
        if spec.has_volumes() {
            let namespace = &self.identities.get(identity).namespace;
            self.volumes.attached.account(namespace, spec, node, sign);
        }
        self.nodes.account(node, &spec.requests, sign);
        for port in &spec.ports {
            self.nodes.occupy(node, port, sign);
        }
        for &predicate in &self.matches[identity as usize] {
            self.tallies.count(predicate, node, terminating, sign);
        }
        for &term in &self.shape_entries[shape as usize].holds {
            self.tallies.hold(term, node, sign);
        }
    }

    pub(crate) fn acquire_shape(&mut self, spec: Spec, identity: Identity) -> ShapeId {
        let namespace = identity.namespace.clone();
        let (spec, _) = self.specs.acquire(spec);
        let (identity, new_identity) = self.identities.acquire(identity);
        if new_identity {
            let matches = self.matching_predicates(identity);
            self.matches
                .resize_with(self.identities.capacity(), Vec::new);
            self.matches[identity as usize] = matches;
        }
        let (shape, new) = self.shapes.acquire((spec, identity));
        if !new {
            // The shape holds one reference to each of its parts.
            self.specs.release(spec);
            self.identities.release(identity);
            return shape;
        }
        self.shape_entries
            .resize_with(self.shapes.capacity(), ShapeEntry::default);
        self.shape_serial += 1;
        self.shape_entries[shape as usize] = ShapeEntry {
            serial: self.shape_serial,
            holds: self.acquire_terms(spec, &namespace),
        };
        shape
    }

    /// The spec that pods share whose volumes look alike, with a reference to it.
    pub(crate) fn acquire_class_spec(&mut self, spec: SpecId) -> SpecId {
        if self.specs.get(spec).claims.is_empty() {
            self.specs.retain(spec);
            return spec;
        }
        let shared = self.specs.get(spec).without_claims();
        self.specs.acquire(shared).0
    }

    pub(crate) fn release_shape(&mut self, shape: ShapeId) {
        let Some(parts) = self.shapes.release(shape) else {
            return;
        };
        let (spec, identity) = *parts;
        for term in std::mem::take(&mut self.shape_entries[shape as usize].holds) {
            self.tallies.release_term(term);
        }
        self.specs.release(spec);
        if self.identities.release(identity).is_some() {
            self.matches[identity as usize] = Vec::new();
        }
    }
}

/// status.startTime, which comes only once a kubelet has the pod; until then its creation.
fn started(pod: &Pod) -> Text {
    let started = pod.status.start_time.as_ref();
    started
        .or(pod.metadata.creation_timestamp.as_ref())
        .cloned()
        .unwrap_or_default()
}

fn group_of(pod: &Pod) -> Option<Text> {
    let group = pod.spec.scheduling_group.as_ref()?;
    let name = group.pod_group_name.as_ref()?;
    Some(compact_str::format_compact!(
        "{}/{name}",
        pod.metadata.namespace
    ))
}

/// Terminating because a scheduler made room for another pod.
fn is_preempted(pod: &Pod) -> bool {
    let preempted = |condition: &crate::objects::Condition| {
        condition.r#type == "DisruptionTarget"
            && condition.status == "True"
            && condition.reason == "PreemptionByScheduler"
    };
    pod.is_terminating() && pod.status.conditions.iter().any(preempted)
}
