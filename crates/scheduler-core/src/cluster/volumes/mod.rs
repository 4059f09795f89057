//! Claims, volumes, classes, and what CSI drivers say: what the volume plugins read.
//!
//! A pod's volumes are reduced to a [`crate::volumes::VolumePlan`], which pods share whose claims look alike; what that reads is
//! looked up anew for every decision. The rest, which filters read when they are asked about a node, is here, and every change of it
//! notes the nodes that can see it: volumes without a claim ([`pools`]), storage capacity, and what is attached ([`attached`]).
//!
//! Invariant: `claimed_by` names, for each claim, the volumes whose claim reference (assumed or real) is that claim.

mod attached;
mod capacity;
pub mod index;
pub mod pools;
mod reserve;

use std::collections::BTreeSet;

use hashbrown::HashMap;

pub use attached::{Handle, HandleId};
pub use capacity::CapacityChange;
pub use reserve::{Progress, Provision, StaticBinding, VolumeBindings};

use self::attached::Attached;
use self::capacity::Capacities;
use self::index::{Needed, needed_by_affinity};
use self::pools::{Offer, Pools};
use super::{Change, Cluster, NodeId, PodId};
use crate::labels::Selector;
use crate::migration::{self, InTreePlugin};
use crate::objects::{NodeSelector, Text};
use crate::requests::amount;
use crate::storage::{
    self, ClaimRef, CsiDriver, CsiNode, PersistentVolume, PersistentVolumeClaim, StorageClass,
    TopologyTerm,
};

#[derive(Default)]
pub struct Volumes {
    claims: HashMap<Text, Claim>,
    volumes: HashMap<Text, Volume>,
    /// By claim: names of volumes.
    claimed_by: HashMap<Text, BTreeSet<Text>>,
    pools: Pools,
    classes: HashMap<Text, Class>,
    csi_nodes: HashMap<Text, CsiNodeFacts>,
    /// Whether the driver reports its storage capacity.
    drivers: HashMap<Text, bool>,
    pub(crate) capacities: Capacities,
    pub(crate) attached: Attached,
    /// Rises when a class or driver changes: everything about volumes is looked at afresh.
    epoch: u64,
    /// The most claims that one pod wants volumes for.
    most_wanted: usize,
    /// What pods in flight have assumed.
    reserved: HashMap<PodId, VolumeBindings>,
}

/// A claim, as far as scheduling reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub namespace: Text,
    pub name: Text,
    pub uid: Text,
    pub resource_version: Text,
    pub class: Text,
    pub volume_name: Text,
    /// The controller has completed the binding.
    pub bind_completed: bool,
    pub selected_node: Option<Text>,
    pub lost: bool,
    pub deleting: bool,
    /// The uid of the controlling owner.
    pub owner: Option<Text>,
    pub modes: u8,
    /// Bytes.
    pub requested: Option<i64>,
    pub block: bool,
    pub selector: Option<Selector>,
    pub attributes_class: Text,
    /// Where it is to be provisioned, decided here and not yet seen from the server.
    pub assumed_node: Option<Text>,
}

/// A volume, as far as scheduling reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    pub name: Text,
    pub resource_version: Text,
    pub class: Text,
    pub offer: Offer,
    pub available: bool,
    pub deleting: bool,
    pub claim: Option<ClaimRef>,
    pub by_controller: bool,
    /// Driver and handle, of the volume itself or of what it is migrated to.
    pub csi: Option<(Text, Text)>,
    pub migrated: Option<Migrated>,
    /// Given to a claim here and not yet seen from the server.
    pub assumed: Option<ClaimRef>,
}

/// How a node on which the plugin is migrated sees the volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Migrated {
    pub plugin: InTreePlugin,
    pub affinity: Option<NodeSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub provisioner: Text,
    pub waits: bool,
    pub topologies: Vec<TopologyTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsiNodeFacts {
    /// By driver: how many volumes may be attached.
    pub limits: Vec<(Text, i64)>,
    pub migrated: Vec<InTreePlugin>,
}

pub const READ_WRITE_ONCE_POD: u8 = 8;

fn modes(list: &[Text]) -> u8 {
    let bit = |mode: &Text| match mode.as_str() {
        "ReadWriteOnce" => 1,
        "ReadOnlyMany" => 2,
        "ReadWriteMany" => 4,
        "ReadWriteOncePod" => READ_WRITE_ONCE_POD,
        _ => 16,
    };
    list.iter().map(bit).fold(0, |all, bit| all | bit)
}

pub fn claim_key(namespace: &str, name: &str) -> Text {
    compact_str::format_compact!("{namespace}/{name}")
}

impl Claim {
    fn of(object: &PersistentVolumeClaim) -> Self {
        let (meta, spec) = (&object.metadata, &object.spec);
        let owner = meta.owner_references.iter().find(|owner| owner.controller);
        let requested = spec.resources.requests.get("storage");
        Self {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            class: object.class().into(),
            volume_name: spec.volume_name.clone(),
            bind_completed: meta.annotations.get(storage::BIND_COMPLETED).is_some(),
            selected_node: meta.annotations.get(storage::SELECTED_NODE).cloned(),
            lost: object.status.phase == "Lost",
            deleting: meta.deletion_timestamp.is_some(),
            owner: owner.map(|owner| owner.uid.clone()),
            modes: modes(&spec.access_modes),
            requested: requested.map(|text| amount("storage", text)),
            block: spec.volume_mode.as_deref() == Some("Block"),
            selector: spec.selector.as_ref().map(|one| Selector::new(Some(one))),
            attributes_class: spec
                .volume_attributes_class_name
                .clone()
                .unwrap_or_default(),
            assumed_node: None,
        }
    }

    pub fn is_bound(&self) -> bool {
        !self.volume_name.is_empty() && self.bind_completed
    }

    /// Where it is to be provisioned.
    pub fn node(&self) -> Option<&Text> {
        self.assumed_node.as_ref().or(self.selected_node.as_ref())
    }

    pub fn key(&self) -> Text {
        claim_key(&self.namespace, &self.name)
    }

    fn reference(&self) -> ClaimRef {
        ClaimRef {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
}

impl Volume {
    fn of(object: &PersistentVolume) -> Self {
        let (meta, spec) = (&object.metadata, &object.spec);
        let source = object.in_tree();
        let plugin = migration::plugin_of(&source);
        let handle = |plugin: InTreePlugin| {
            let handle = migration::handle_of(&source, &meta.labels)?;
            Some((Text::from(plugin.driver()), handle))
        };
        let own = spec.csi.as_ref();
        let own = own.map(|csi| (csi.driver.clone(), csi.volume_handle.clone()));
        Self {
            name: meta.name.clone(),
            resource_version: meta.resource_version.clone(),
            class: object.class().clone(),
            offer: Offer {
                capacity: spec
                    .capacity
                    .get("storage")
                    .map_or(0, |text| amount("storage", text)),
                block: spec.volume_mode.as_deref() == Some("Block"),
                modes: modes(&spec.access_modes),
                attributes_class: spec
                    .volume_attributes_class_name
                    .clone()
                    .unwrap_or_default(),
                labels: meta.labels.clone(),
                affinity: object.affinity().cloned(),
            },
            available: object.status.phase == "Available",
            deleting: meta.deletion_timestamp.is_some(),
            claim: spec.claim_ref.clone(),
            by_controller: meta.annotations.get(storage::BOUND_BY_CONTROLLER).is_some(),
            csi: own.or_else(|| plugin.and_then(handle)),
            migrated: plugin.map(|plugin| Migrated {
                plugin,
                affinity: migration::translated_affinity(plugin, &meta.labels, object.affinity()),
            }),
            assumed: None,
        }
    }

    fn claim(&self) -> Option<&ClaimRef> {
        self.assumed.as_ref().or(self.claim.as_ref())
    }

    fn is_offered(&self) -> bool {
        self.claim().is_none() && self.available && !self.deleting
    }

    /// Bound to this claim, or meant for it.
    pub fn is_for(&self, claim: &Claim) -> bool {
        self.claim().is_some_and(|own| {
            own.name == claim.name
                && own.namespace == claim.namespace
                && (own.uid.is_empty() || own.uid == claim.uid)
        })
    }

    fn is_csi(&self) -> bool {
        self.csi.is_some() && self.migrated.is_none()
    }
}

/// The later of two resource versions; those that are no numbers are always news.
fn is_stale(known: &Text, new: &Text) -> bool {
    match (known.parse::<u64>(), new.parse::<u64>()) {
        (Ok(known), Ok(new)) => new <= known,
        _ => false,
    }
}

impl Volumes {
    pub fn claim(&self, key: &str) -> Option<&Claim> {
        self.claims.get(key)
    }

    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.get(name)
    }

    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    pub fn csi_node(&self, name: &str) -> Option<&CsiNodeFacts> {
        self.csi_nodes.get(name)
    }

    /// The driver says how much room it has.
    pub fn reports_capacity(&self, driver: &str) -> bool {
        self.drivers.get(driver).copied().unwrap_or(false)
    }

    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Volumes that are bound to a claim or meant for it, by name.
    pub fn claimed_by(&self, claim: &str) -> impl Iterator<Item = &Volume> {
        let names = self.claimed_by.get(claim).into_iter().flatten();
        names.filter_map(|name| self.volumes.get(name))
    }

    /// Some pod wants so many volumes at once: with more than one, a pool matters before it is empty.
    pub fn want(&mut self, claims: usize) {
        if claims > self.most_wanted {
            self.most_wanted = claims;
            if claims > 1 {
                self.epoch += 1;
            }
        }
    }

    /// Enters a volume where it belongs. True: claims may find something now that they did not.
    fn enter(&mut self, name: &Text) -> bool {
        let Some(volume) = self.volumes.get(name) else {
            return false;
        };
        if let Some(claim) = volume.claim() {
            let key = claim_key(&claim.namespace, &claim.name);
            self.claimed_by.entry(key).or_default().insert(name.clone());
            return false;
        }
        if !volume.is_offered() {
            return false;
        }
        let before = self.pools.insert(&volume.class, &volume.offer, name);
        before == 0 || self.most_wanted > 1
    }

    /// The opposite of [`Self::enter`]. True: claims may miss something now.
    fn leave(&mut self, name: &Text) -> bool {
        let Some(volume) = self.volumes.get(name) else {
            return false;
        };
        if let Some(claim) = volume.claim() {
            let key = claim_key(&claim.namespace, &claim.name);
            if let Some(names) = self.claimed_by.get_mut(&key) {
                names.remove(name);
                if names.is_empty() {
                    self.claimed_by.remove(&key);
                }
            }
            return false;
        }
        if !volume.is_offered() {
            return false;
        }
        let left = self.pools.remove(&volume.class, &volume.offer, name);
        left == 0 || self.most_wanted > 1
    }

    /// Driver and handle by which a claim counts on a node; a claim without a volume counts as one of its own.
    fn attachable(&self, claim: &Claim) -> Option<(Text, Text)> {
        match self.volumes.get(&claim.volume_name) {
            Some(volume) => volume
                .csi
                .clone()
                .filter(|(driver, handle)| !driver.is_empty() && !handle.is_empty()),
            None => {
                let class = self.classes.get(&claim.class)?;
                let driver = migration::counting_driver(&class.provisioner)?;
                // No driver's handle looks like this.
                let handle = compact_str::format_compact!("\0{}", claim.key());
                (!driver.is_empty()).then_some((driver, handle))
            }
        }
    }
}

/// What an update of a volume means for waiting pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeChange {
    pub added: bool,
    /// Its zone or region labels are others.
    pub moved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassChange {
    pub added: bool,
    pub waits: bool,
    pub topologies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsiNodeChange {
    pub added: bool,
    /// Some driver may attach more.
    pub raised: bool,
    pub migrated: bool,
}

impl Cluster {
    /// Adds or updates a claim; `None`: nothing new. True: it was not known.
    pub fn set_claim(&mut self, object: &PersistentVolumeClaim) -> Option<bool> {
        let claim = Claim::of(object);
        let key = claim.key();
        let known = self.volumes.claims.get(&key);
        let added = known.is_none();
        if let Some(known) = known
            && known.uid == claim.uid
            && is_stale(&known.resource_version, &claim.resource_version)
        {
            return None;
        }
        self.volumes.claims.insert(key.clone(), claim);
        self.count_claim(&key);
        Some(added)
    }

    pub fn remove_claim(&mut self, key: &str) {
        if self.volumes.claims.remove(key).is_some() {
            self.count_claim(key);
        }
    }

    /// The claim may count as something else on the nodes where it is used.
    fn count_claim(&mut self, key: &str) {
        let volumes = &mut self.volumes;
        let (target, volume) = match volumes.claims.get(key) {
            Some(claim) => (volumes.attachable(claim), claim.volume_name.clone()),
            None => (None, Text::default()),
        };
        let nodes = volumes.attached.set_claim(key, target, &volume);
        self.note_pods(nodes);
    }

    /// Adds or updates a volume; `None`: nothing new.
    pub fn set_volume(&mut self, object: &PersistentVolume) -> Option<VolumeChange> {
        let volume = Volume::of(object);
        let name = volume.name.clone();
        let known = self.volumes.volumes.get(&name);
        if let Some(known) = known
            && is_stale(&known.resource_version, &volume.resource_version)
        {
            return None;
        }
        let moved = known.is_some_and(|known| {
            crate::plugins::volume_zone::zones_of(&known.offer.labels)
                != crate::plugins::volume_zone::zones_of(&volume.offer.labels)
        });
        let added = known.is_none();
        let counted =
            known.is_none_or(|known| known.csi != volume.csi || known.is_csi() != volume.is_csi());
        self.replace_volume(&name, Some(volume));
        if counted {
            self.count_volume(&name);
        }
        Some(VolumeChange { added, moved })
    }

    pub fn remove_volume(&mut self, name: &Text) {
        if self.volumes.volumes.contains_key(name) {
            self.replace_volume(name, None);
            self.count_volume(name);
        }
    }

    /// Takes a volume out of where it was, and puts the new one where it belongs; notes the nodes that see a difference.
    fn replace_volume(&mut self, name: &Text, new: Option<Volume>) {
        let affinity = |volumes: &Volumes| {
            let volume = volumes.volumes.get(name);
            volume.map(|volume| volume.offer.affinity.clone())
        };
        let before = affinity(&self.volumes);
        let was_offered = self.volumes.leave(name);
        match new {
            Some(volume) => drop(self.volumes.volumes.insert(name.clone(), volume)),
            None => drop(self.volumes.volumes.remove(name)),
        }
        let offered = self.volumes.enter(name);
        let after = affinity(&self.volumes);
        if was_offered && let Some(affinity) = &before {
            self.note_matching(affinity.as_ref());
        }
        if offered
            && let Some(affinity) = &after
            && !(was_offered && before == after)
        {
            self.note_matching(affinity.as_ref());
        }
    }

    /// Claims and attachments of this volume may count as something else.
    fn count_volume(&mut self, name: &Text) {
        for key in self.volumes.attached.claims_of(name) {
            self.count_claim(&key);
        }
        let target = self.volumes.volumes.get(name).filter(|one| one.is_csi());
        let handle = target.and_then(|volume| volume.csi.as_ref());
        let handle = handle.map(|(_, handle)| handle.clone());
        for node in self.volumes.attached.set_volume(name, handle) {
            self.note_named(&node);
        }
    }

    fn note_named(&mut self, node: &str) {
        if let Some(node) = self.nodes.id(node) {
            self.note(node, Change::Pods);
        }
    }

    fn note_pods(&mut self, nodes: Vec<NodeId>) {
        for node in nodes {
            self.note(node, Change::Pods);
        }
    }

    fn note_matching(&mut self, affinity: Option<&NodeSelector>) {
        let nodes = self.nodes_with(&needed_by_affinity(affinity));
        for node in nodes {
            let labels = &self.nodes.entry(node).facts.labels;
            if pools::affinity_matches(affinity, labels) {
                self.note(node, Change::Pods);
            }
        }
    }

    /// Nodes that have one of these labels; all, when nothing is known.
    pub(crate) fn nodes_with(&mut self, needed: &Needed) -> Vec<NodeId> {
        let Some(pairs) = needed else {
            return self.nodes.iter().collect();
        };
        let mut nodes = Vec::new();
        for (key, value) in pairs {
            let key = self.intern_key(key);
            nodes.extend_from_slice(self.key(key).members_of(value));
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Adds or updates a class; `None`: nothing new.
    pub fn set_storage_class(&mut self, object: &StorageClass) -> Option<ClassChange> {
        let class = Class {
            provisioner: object.provisioner.clone(),
            waits: object.waits_for_consumer(),
            topologies: object.allowed_topologies.clone(),
        };
        let name = object.metadata.name.clone();
        let before = self.volumes.classes.insert(name.clone(), class.clone());
        if before.as_ref() == Some(&class) {
            return None;
        }
        self.class_changed(&name);
        Some(ClassChange {
            added: before.is_none(),
            waits: class.waits,
            topologies: before.is_some_and(|before| before.topologies != class.topologies),
        })
    }

    pub fn remove_storage_class(&mut self, name: &Text) {
        if self.volumes.classes.remove(name).is_some() {
            self.class_changed(name);
        }
    }

    fn class_changed(&mut self, name: &Text) {
        self.volumes.epoch += 1;
        let claims: Vec<Text> = self
            .volumes
            .claims
            .iter()
            .filter(|(_, claim)| claim.class == *name)
            .map(|(key, _)| key.clone())
            .collect();
        for key in claims {
            self.count_claim(&key);
        }
    }

    /// Adds or updates a CSINode; `None`: nothing new.
    pub fn set_csi_node(&mut self, object: &CsiNode) -> Option<CsiNodeChange> {
        let limit = |driver: &storage::CsiNodeDriver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.clone(), count))
        };
        let migrated = object.metadata.annotations.get(storage::MIGRATED_PLUGINS);
        let migrated = migrated.map_or("", |list| list.as_str()).split(',');
        let facts = CsiNodeFacts {
            limits: object.spec.drivers.iter().filter_map(limit).collect(),
            migrated: migrated.filter_map(InTreePlugin::named).collect(),
        };
        let name = &object.metadata.name;
        let before = self.volumes.csi_nodes.insert(name.clone(), facts.clone());
        if before.as_ref() == Some(&facts) {
            return None;
        }
        self.note_named(name);
        let old = before.as_ref();
        let old_limit = |driver: &Text| {
            let limits = &old?.limits;
            let own = limits.iter().find(|(name, _)| name == driver)?;
            Some(own.1)
        };
        Some(CsiNodeChange {
            added: old.is_none(),
            raised: facts
                .limits
                .iter()
                .any(|(driver, limit)| *limit > old_limit(driver).unwrap_or(0)),
            migrated: old.is_some_and(|old| old.migrated != facts.migrated),
        })
    }

    pub fn remove_csi_node(&mut self, name: &Text) {
        if self.volumes.csi_nodes.remove(name).is_some() {
            self.note_named(name);
        }
    }

    /// Adds or updates a driver. True: it has stopped to report its capacity.
    pub fn set_csi_driver(&mut self, object: &CsiDriver) -> bool {
        let name = object.metadata.name.clone();
        let capacity = object.spec.storage_capacity;
        let before = self.volumes.drivers.insert(name, capacity);
        if before.unwrap_or(false) != capacity {
            self.volumes.epoch += 1;
        }
        before == Some(true) && !capacity
    }

    pub fn remove_csi_driver(&mut self, name: &Text) {
        if self.volumes.drivers.remove(name) == Some(true) {
            self.volumes.epoch += 1;
        }
    }
}
