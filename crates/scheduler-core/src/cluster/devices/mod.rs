//! Devices, and who has them: resource slices, device classes and claims (resource.k8s.io).
//!
//! A device is in use when a claim's status says so, or when a claim is pending: its pod was placed, and the allocation is being
//! written. Whatever changes which devices a node can give is noted in the change log for that node, or for all.
//!
//! Invariant: `in_use` counts exactly the devices of all allocated claims and of all pending allocations.

mod allocator;
mod constraints;
mod demand;
mod expressions;
pub mod objects;
mod pools;
mod results;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

pub use allocator::{Refusal, placeholder};
pub use demand::{Demand, Wanted};
pub use pools::Place;
pub use results::ClaimToWrite;

use super::{Change, Cluster, NodeId, PodId};
use crate::objects::{Pod, Text};
use expressions::Expressions;
use objects::{Allocation, Device, DeviceClass, ResourceClaim, ResourceSlice};

/// A driver's pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId {
    pub driver: Text,
    pub pool: Text,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.driver, self.pool)
    }
}

/// The claims of a pod, as it names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodClaims {
    pub namespace: Text,
    pub name: Text,
    pub uid: Text,
    pub claims: Vec<PodClaim>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodClaim {
    Named(Text),
    /// Made for the pod from a template.
    Made(Text),
    /// The status says that the template gave no claim.
    NotNeeded,
    NotYetMade,
    /// Neither a claim nor a template: the pod claim's name.
    Unsupported(Text),
}

impl PodClaims {
    /// `None` for nearly every pod: it has no claims.
    pub fn of(pod: &Pod) -> Option<Arc<Self>> {
        if pod.spec.resource_claims.is_empty() {
            return None;
        }
        let one = |claim: &objects::PodResourceClaim| {
            if let Some(name) = &claim.resource_claim_name {
                return PodClaim::Named(name.clone());
            }
            if claim.resource_claim_template_name.is_none() {
                return PodClaim::Unsupported(claim.name.clone());
            }
            let mut made = pod.status.resource_claim_statuses.iter();
            match made.find(|status| status.name == claim.name) {
                Some(status) => match &status.resource_claim_name {
                    Some(name) => PodClaim::Made(name.clone()),
                    None => PodClaim::NotNeeded,
                },
                None => PodClaim::NotYetMade,
            }
        };
        let mut claims: Vec<PodClaim> = Vec::new();
        for claim in pod.spec.resource_claims.iter().map(one) {
            // Named twice, it is still one claim.
            if !claims.contains(&claim) {
                claims.push(claim);
            }
        }
        Some(Arc::new(Self {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            claims,
        }))
    }

    /// `namespace/name` of each claim that there should be.
    pub fn keys(&self) -> impl Iterator<Item = Text> {
        self.claims.iter().filter_map(|claim| match claim {
            PodClaim::Named(name) | PodClaim::Made(name) => {
                Some(compact_str::format_compact!("{}/{name}", self.namespace))
            }
            _ => None,
        })
    }
}

#[derive(Default)]
pub struct Devices {
    claims: HashMap<Text, Entry>,
    classes: HashMap<Text, DeviceClass>,
    slices: HashMap<Text, Slice>,
    /// Names of slices that are for one node only, by that node.
    local: HashMap<Text, BTreeSet<Text>>,
    /// Names of all others.
    shared: BTreeSet<Text>,
    pools: HashMap<PoolId, BTreeSet<Text>>,
    in_use: HashMap<PoolId, HashMap<Text, u32>>,
    /// Pods that are decided together, by uid: they may share what is pending.
    pub(crate) together: BTreeSet<Text>,
    /// By uid, the pods that have something pending.
    reserved: HashMap<Text, Arc<PodClaims>>,
    expressions: Expressions,
    serial: u64,
}

/// A claim, and whoever names it; either may be there without the other.
#[derive(Default)]
struct Entry {
    claim: Option<Arc<ResourceClaim>>,
    pods: BTreeSet<PodId>,
    pending: Option<Pending>,
}

/// An allocation that is being written.
struct Pending {
    /// The pods that are to be entered in it: more than one only within a pod group.
    uids: Vec<Text>,
    allocation: Arc<Allocation>,
}

struct Slice {
    object: ResourceSlice,
    pool: PoolId,
    /// Distinguishes the versions of a slice.
    serial: u64,
}

impl Slice {
    fn name(&self) -> &Text {
        &self.object.metadata.name
    }

    fn generation(&self) -> i64 {
        self.object.spec.pool.generation
    }

    fn devices(&self) -> std::slice::Iter<'_, Device> {
        self.object.spec.devices.iter()
    }

    /// The only node that can use its devices; `None` when others can, or when what they consume is shared.
    fn node(&self) -> Option<&Text> {
        let spec = &self.object.spec;
        let node = spec.node_name.as_ref().filter(|name| !name.is_empty());
        node.filter(|_| spec.shared_counters.is_empty())
    }
}

/// Nodes that may have got other devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    nodes: BTreeSet<Text>,
    all: bool,
}

impl Touched {
    fn add(&mut self, slice: &Slice) {
        match slice.node() {
            Some(node) => drop(self.nodes.insert(node.clone())),
            None => self.all = true,
        }
    }
}

/// What a claim's change means to pods that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimChange {
    /// It appeared.
    pub created: bool,
    pub status_changed: bool,
    /// It gave its devices back.
    pub deallocated: bool,
}

impl Devices {
    /// A claim by `namespace/name`.
    pub fn claim(&self, key: &str) -> Option<&Arc<ResourceClaim>> {
        self.claims.get(key)?.claim.as_ref()
    }

    pub fn class(&self, name: &str) -> Option<&DeviceClass> {
        self.classes.get(name)
    }

    pub fn is_pending(&self, key: &str) -> bool {
        self.claims
            .get(key)
            .is_some_and(|entry| entry.pending.is_some())
    }

    /// What is pending for a claim, if it is so for the pod that asks (by uid) or for pods that are decided with it.
    fn shared(&self, key: &str, pod: &Text) -> Option<&Arc<Allocation>> {
        let pending = self.claims.get(key)?.pending.as_ref()?;
        let mut uids = pending.uids.iter();
        uids.any(|uid| uid == pod || self.together.contains(uid))
            .then_some(&pending.allocation)
    }

    /// The pods that name a claim.
    pub fn users(&self, key: &str) -> Vec<PodId> {
        let pods = self.claims.get(key).map(|entry| &entry.pods);
        pods.into_iter().flatten().copied().collect()
    }

    pub fn claim_keys(&self) -> impl Iterator<Item = &Text> {
        let present = |(key, entry): (_, &Entry)| entry.claim.as_ref().map(|_| key);
        self.claims.iter().filter_map(present)
    }

    pub fn slice_names(&self) -> impl Iterator<Item = &Text> {
        self.slices.keys()
    }

    pub fn class_names(&self) -> impl Iterator<Item = &Text> {
        self.classes.keys()
    }

    /// Every device in use, with how many claims have it: never more than one, unless the cluster's objects say so.
    pub fn in_use(&self) -> impl Iterator<Item = (&PoolId, &Text, u32)> {
        self.in_use.iter().flat_map(|(pool, devices)| {
            let devices = devices.iter();
            devices.map(move |(device, count)| (pool, device, *count))
        })
    }

    pub(super) fn register(&mut self, pod: PodId, claims: &PodClaims) {
        for key in claims.keys() {
            self.claims.entry(key).or_default().pods.insert(pod);
        }
    }

    pub(super) fn unregister(&mut self, pod: PodId, claims: &PodClaims) {
        for key in claims.keys() {
            if let Some(entry) = self.claims.get_mut(&key) {
                entry.pods.remove(&pod);
            }
            self.drop_if_empty(&key);
        }
    }

    fn drop_if_empty(&mut self, key: &str) {
        let unused = |entry: &Entry| {
            entry.claim.is_none() && entry.pods.is_empty() && entry.pending.is_none()
        };
        if self.claims.get(key).is_some_and(unused) {
            self.claims.remove(key);
        }
    }

    /// Counts the devices of an allocation in or out. Those shared by administrative access are nobody's.
    fn count(&mut self, allocation: &Allocation, taken: bool, touched: &mut Touched) {
        for result in &allocation.devices.results {
            if result.admin_access.unwrap_or(false) {
                continue;
            }
            let pool = PoolId {
                driver: result.driver.clone(),
                pool: result.pool.clone(),
            };
            let names = self.pools.get(&pool).into_iter().flatten();
            for slice in names.filter_map(|name| self.slices.get(name)) {
                if slice.devices().any(|device| device.name == result.device) {
                    touched.add(slice);
                }
            }
            let devices = self.in_use.entry(pool.clone()).or_default();
            if taken {
                *devices.entry(result.device.clone()).or_insert(0) += 1;
                continue;
            }
            let left = devices.get_mut(&result.device).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                devices.remove(&result.device);
            }
            if devices.is_empty() {
                self.in_use.remove(&pool);
            }
        }
    }

    fn set_claim(&mut self, claim: ResourceClaim, touched: &mut Touched) -> ClaimChange {
        let key = claim.key();
        let before = self.claim(&key).cloned();
        let same = |before: &Arc<ResourceClaim>| before.metadata.uid == claim.metadata.uid;
        if let Some(before) = before.as_ref().filter(|before| !same(before)) {
            self.count_claim(before, false, touched);
        }
        let before = before.filter(same);
        if before
            .as_ref()
            .is_some_and(|before| is_older(&claim, before))
        {
            return ClaimChange::default();
        }
        if let Some(before) = &before {
            self.count_claim(before, false, touched);
        }
        self.count_claim(&claim, true, touched);
        let allocation = |claim: &ResourceClaim| claim.status.allocation.is_some();
        let change = ClaimChange {
            created: before.is_none(),
            status_changed: before
                .as_ref()
                .is_some_and(|before| before.status != claim.status),
            deallocated: before.as_deref().is_some_and(allocation) && !allocation(&claim),
        };
        self.claims.entry(key).or_default().claim = Some(Arc::new(claim));
        change
    }

    fn count_claim(&mut self, claim: &ResourceClaim, taken: bool, touched: &mut Touched) {
        if let Some(allocation) = &claim.status.allocation {
            self.count(allocation, taken, touched);
        }
    }

    fn remove_claim(&mut self, key: &str, touched: &mut Touched) -> bool {
        let Some(claim) = self
            .claims
            .get_mut(key)
            .and_then(|entry| entry.claim.take())
        else {
            return false;
        };
        self.count_claim(&claim, false, touched);
        self.drop_if_empty(key);
        true
    }

    /// The allocations made for a pod are written, or never will be.
    fn settle(&mut self, uid: &str, touched: &mut Touched) -> bool {
        let Some(claims) = self.reserved.remove(uid) else {
            return false;
        };
        let mut settled = false;
        for key in claims.keys() {
            let Some(entry) = self.claims.get_mut(&key) else {
                continue;
            };
            let was_last = |pending: &mut Pending| {
                pending.uids.retain(|other| other != uid);
                pending.uids.is_empty()
            };
            if let Some(pending) = entry.pending.take_if(was_last) {
                self.count(&pending.allocation, false, touched);
                settled = true;
            }
            self.drop_if_empty(&key);
        }
        settled
    }

    fn set_slice(&mut self, object: ResourceSlice, touched: &mut Touched) {
        let name = object.metadata.name.clone();
        if let Some(before) = self.slices.get(&name)
            && before.object.spec == object.spec
        {
            return;
        }
        self.remove_slice(&name, touched);
        self.serial += 1;
        let slice = Slice {
            pool: PoolId {
                driver: object.spec.driver.clone(),
                pool: object.spec.pool.name.clone(),
            },
            serial: self.serial,
            object,
        };
        match slice.node() {
            Some(node) => self.local.entry(node.clone()).or_default(),
            None => &mut self.shared,
        }
        .insert(name.clone());
        let pool = self.pools.entry(slice.pool.clone()).or_default();
        pool.insert(name.clone());
        self.touch_pool(&slice, touched);
        self.slices.insert(name, slice);
    }

    fn remove_slice(&mut self, name: &Text, touched: &mut Touched) -> bool {
        let Some(slice) = self.slices.remove(name) else {
            return false;
        };
        self.shared.remove(name);
        if let Some(node) = slice.node()
            && let Some(local) = self.local.get_mut(node)
        {
            local.remove(name);
            if local.is_empty() {
                let node = node.clone();
                self.local.remove(&node);
            }
        }
        if let Some(pool) = self.pools.get_mut(&slice.pool) {
            pool.remove(name);
            if pool.is_empty() {
                self.pools.remove(&slice.pool);
            }
        }
        self.expressions.forget(slice.serial);
        self.touch_pool(&slice, touched);
        true
    }

    /// A slice decides about its whole pool: whether that is complete, and of which generation.
    fn touch_pool(&self, slice: &Slice, touched: &mut Touched) {
        touched.add(slice);
        let names = self.pools.get(&slice.pool).into_iter().flatten();
        for other in names.filter_map(|name| self.slices.get(name)) {
            touched.add(other);
        }
    }
}

/// Of two versions of one object, by their numbers; what has none is never older.
fn is_older(new: &ResourceClaim, known: &ResourceClaim) -> bool {
    let version = |claim: &ResourceClaim| claim.metadata.resource_version.parse::<u128>().ok();
    matches!((version(new), version(known)), (Some(new), Some(known)) if new < known)
}

impl Cluster {
    pub fn set_resource_claim(&mut self, claim: ResourceClaim) -> ClaimChange {
        let mut touched = Touched::default();
        let change = self.devices.set_claim(claim, &mut touched);
        self.touch(&touched);
        change
    }

    /// Returns whether it was there.
    pub fn remove_resource_claim(&mut self, key: &str) -> bool {
        let mut touched = Touched::default();
        let known = self.devices.remove_claim(key, &mut touched);
        self.touch(&touched);
        known
    }

    pub fn set_slice(&mut self, slice: ResourceSlice) {
        let mut touched = Touched::default();
        self.devices.set_slice(slice, &mut touched);
        self.touch(&touched);
    }

    pub fn remove_slice(&mut self, name: &Text) {
        let mut touched = Touched::default();
        self.devices.remove_slice(name, &mut touched);
        self.touch(&touched);
    }

    /// Demands are made from the classes, so that no node needs to be looked at again.
    pub fn set_device_class(&mut self, class: DeviceClass) {
        let name = class.metadata.name.clone();
        self.devices.classes.insert(name, class);
    }

    pub fn remove_device_class(&mut self, name: &str) {
        self.devices.classes.remove(name);
    }

    /// Chooses devices for the open claims of a pod that was placed on a node; they are in use from now on.
    pub fn reserve_devices(
        &mut self,
        pod: &Arc<PodClaims>,
        demand: &Demand,
        node: NodeId,
    ) -> Vec<ClaimToWrite> {
        let entry = self.nodes.entry(node);
        let place = Place {
            name: &entry.name,
            labels: &entry.facts.labels,
        };
        let reserved = self.devices.allocate(pod, demand, place);
        let mut touched = Touched::default();
        self.devices.reserved.insert(pod.uid.clone(), pod.clone());
        for claim in &reserved {
            let Some(allocation) = &claim.allocation else {
                continue;
            };
            let entry = self.devices.claims.entry(claim.key()).or_default();
            if let Some(pending) = &mut entry.pending {
                pending.uids.push(pod.uid.clone());
                continue;
            }
            entry.pending = Some(Pending {
                uids: vec![pod.uid.clone()],
                allocation: allocation.clone(),
            });
            self.devices.count(allocation, true, &mut touched);
        }
        self.touch(&touched);
        reserved
    }

    /// Takes back what was reserved for a pod, because it is in the claims' status now, or was not written. Returns whether there
    /// was something.
    pub fn settle_devices(&mut self, uid: &str) -> bool {
        let mut touched = Touched::default();
        let settled = self.devices.settle(uid, &mut touched);
        self.touch(&touched);
        settled
    }

    fn touch(&mut self, touched: &Touched) {
        let nodes: Vec<NodeId> = match touched.all {
            true => self.nodes.iter().collect(),
            false => {
                let names = touched.nodes.iter();
                names.filter_map(|name| self.nodes.id(name)).collect()
            }
        };
        for node in nodes {
            self.note(node, Change::Pods);
        }
    }
}
