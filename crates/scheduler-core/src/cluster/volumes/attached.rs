//! What is attached to each node: the volumes of its pods, and those that VolumeAttachments name.
//!
//! Invariant: an entry of a claim lasts while the claim is known or a placed pod uses it; a handle's references are the claims,
//! attachments and inline volumes that stand for it.

use hashbrown::{HashMap, HashSet};

use crate::cluster::{Change, Cluster, NodeId};
use crate::intern::Interner;
use crate::objects::Text;
use crate::spec::{Disk, Spec};
use crate::storage::VolumeAttachment;

pub type HandleId = u32;

/// A volume as its CSI driver knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    pub driver: Text,
    pub handle: Text,
}

#[derive(Default)]
pub struct Attached {
    handles: Interner<Handle>,
    claim_ids: HashMap<Text, u32>,
    claims: Vec<ClaimEntry>,
    free: Vec<u32>,
    /// By volume: the claims that name it.
    claims_of: HashMap<Text, HashSet<Text>>,
    nodes: HashMap<NodeId, OnNode>,
    attachments: HashMap<Text, Attachment>,
    by_node: HashMap<Text, HashSet<Text>>,
    by_volume: HashMap<Text, HashSet<Text>>,
    /// Handles of volumes that attachments name.
    volume_handles: HashMap<Text, Text>,
}

#[derive(Default)]
struct ClaimEntry {
    key: Text,
    known: bool,
    handle: Option<HandleId>,
    volume: Text,
    users: Vec<Users>,
}

/// Placed pods on a node that use a claim; `direct` leaves out those whose claim was made for them alone.
#[derive(Clone, Copy)]
struct Users {
    node: NodeId,
    all: u32,
    direct: u32,
}

#[derive(Default)]
struct OnNode {
    claims: Vec<(u32, u32)>,
    inline: Vec<HandleId>,
    disks: Vec<(Disk, u32)>,
}

struct Attachment {
    node: Text,
    attacher: Text,
    volume: Text,
    handle: Option<HandleId>,
}

impl Attached {
    pub fn claims_of(&self, volume: &str) -> Vec<Text> {
        let claims = self.claims_of.get(volume).into_iter().flatten();
        claims.cloned().collect()
    }

    /// What a claim counts as; the nodes where that makes a difference. `volume`: the one that it names.
    pub fn set_claim(
        &mut self,
        key: &str,
        target: Option<(Text, Text)>,
        volume: &Text,
    ) -> Vec<NodeId> {
        let handle = target.map(|(driver, handle)| {
            let handle = Handle { driver, handle };
            self.handles.acquire(handle).0
        });
        let id = self.entry(key);
        let entry = &mut self.claims[id as usize];
        entry.known = handle.is_some() || !volume.is_empty();
        let before = std::mem::replace(&mut entry.handle, handle);
        let old_volume = std::mem::replace(&mut entry.volume, volume.clone());
        let nodes = match before == handle {
            true => Vec::new(),
            false => entry.users.iter().map(|one| one.node).collect(),
        };
        if let Some(before) = before {
            self.handles.release(before);
        }
        if old_volume != *volume {
            forget(&mut self.claims_of, &old_volume, key);
            if !volume.is_empty() {
                let claims = self.claims_of.entry(volume.clone()).or_default();
                claims.insert(key.into());
            }
        }
        self.free_claim(id);
        nodes
    }

    fn entry(&mut self, key: &str) -> u32 {
        if let Some(&id) = self.claim_ids.get(key) {
            return id;
        }
        let entry = ClaimEntry {
            key: key.into(),
            ..ClaimEntry::default()
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.claims[id as usize] = entry;
                id
            }
            None => {
                self.claims.push(entry);
                u32::try_from(self.claims.len() - 1).expect("fewer than 2^32 claims")
            }
        };
        self.claim_ids.insert(key.into(), id);
        id
    }

    fn free_claim(&mut self, id: u32) {
        let entry = &self.claims[id as usize];
        if !entry.known && entry.users.is_empty() {
            self.claim_ids.remove(&entry.key);
            self.claims[id as usize] = ClaimEntry::default();
            self.free.push(id);
        }
    }

    /// Adds or takes away a pod on a node.
    pub fn account(&mut self, namespace: &str, spec: &Spec, node: NodeId, sign: i64) {
        for claim in &spec.claims {
            let id = self.entry(&super::claim_key(namespace, &claim.name));
            self.use_claim(id, node, claim.owner.is_none(), sign);
            self.free_claim(id);
        }
        if spec.attached.is_empty() && spec.disks.is_empty() {
            return;
        }
        for (driver, handle) in &spec.attached {
            let handle = Handle {
                driver: driver.clone(),
                handle: handle.clone(),
            };
            let (id, _) = self.handles.acquire(handle);
            let inline = &mut self.nodes.entry(node).or_default().inline;
            if sign > 0 {
                inline.push(id);
                continue;
            }
            self.handles.release(id);
            if let Some(at) = inline.iter().position(|one| *one == id) {
                inline.swap_remove(at);
                self.handles.release(id);
            }
        }
        let disks = &mut self.nodes.entry(node).or_default().disks;
        for disk in &spec.disks {
            count(disks, disk, sign);
        }
        self.free_node(node);
    }

    fn use_claim(&mut self, id: u32, node: NodeId, direct: bool, sign: i64) {
        let users = &mut self.claims[id as usize].users;
        let at = match users.iter().position(|one| one.node == node) {
            Some(at) => at,
            None => {
                users.push(Users {
                    node,
                    all: 0,
                    direct: 0,
                });
                users.len() - 1
            }
        };
        let step = if sign > 0 { 1 } else { -1 };
        let one = &mut users[at];
        one.all = one.all.saturating_add_signed(step);
        if direct {
            one.direct = one.direct.saturating_add_signed(step);
        }
        if one.all == 0 {
            users.swap_remove(at);
        }
        count(&mut self.nodes.entry(node).or_default().claims, &id, sign);
        self.free_node(node);
    }

    fn free_node(&mut self, node: NodeId) {
        let empty = self
            .nodes
            .get(&node)
            .is_some_and(|on| on.claims.is_empty() && on.inline.is_empty() && on.disks.is_empty());
        if empty {
            self.nodes.remove(&node);
        }
    }

    /// A disk of a pod on the node conflicts with one of these.
    pub fn conflicts(&self, node: NodeId, disks: &[Disk]) -> bool {
        self.nodes.get(&node).is_some_and(|on| {
            disks
                .iter()
                .any(|disk| on.disks.iter().any(|(own, _)| own.conflicts(disk)))
        })
    }

    /// Nodes with placed pods that use the claim, other than as one made for them alone.
    pub fn users(&self, claim: &str) -> impl Iterator<Item = NodeId> {
        let entry = self.claim_ids.get(claim);
        let entry = entry.map(|id| &self.claims[*id as usize]);
        entry
            .into_iter()
            .flat_map(|entry| &entry.users)
            .filter(|one| one.direct > 0)
            .map(|one| one.node)
    }

    /// The handle of a claim, and whether nothing but this claim stands for it and no placed pod uses it.
    pub fn handle(&self, claim: &str) -> Option<(&Handle, bool)> {
        let entry = &self.claims[*self.claim_ids.get(claim)? as usize];
        let id = entry.handle?;
        let alone = entry.users.is_empty() && self.handles.references(id) == 1;
        Some((&**self.handles.get(id), alone))
    }

    /// Handles of the pods on a node, and those that only attachments name; each once.
    pub fn on(&self, node: NodeId, name: &str) -> (Vec<&Handle>, Vec<&Handle>) {
        let mut own: Vec<HandleId> = match self.nodes.get(&node) {
            Some(on) => {
                let claims = on.claims.iter();
                let claims = claims.filter_map(|(id, _)| self.claims[*id as usize].handle);
                claims.chain(on.inline.iter().copied()).collect()
            }
            None => Vec::new(),
        };
        own.sort_unstable();
        own.dedup();
        let mut others: Vec<HandleId> = match self.by_node.get(name) {
            Some(names) => names
                .iter()
                .filter_map(|name| self.attachments.get(name)?.handle)
                .filter(|id| own.binary_search(id).is_err())
                .collect(),
            None => Vec::new(),
        };
        others.sort_unstable();
        others.dedup();
        let read = |ids: Vec<HandleId>| ids.into_iter().map(|id| &**self.handles.get(id)).collect();
        (read(own), read(others))
    }

    /// The handle of a volume that attachments may name; the nodes that have it attached.
    pub fn set_volume(&mut self, name: &Text, handle: Option<Text>) -> Vec<Text> {
        match handle {
            Some(handle) => drop(self.volume_handles.insert(name.clone(), handle)),
            None => drop(self.volume_handles.remove(name)),
        }
        let attachments: Vec<Text> = match self.by_volume.get(name) {
            Some(names) => names.iter().cloned().collect(),
            None => return Vec::new(),
        };
        let mut nodes = Vec::new();
        for name in attachments {
            self.resolve(&name);
            if let Some(attachment) = self.attachments.get(&name) {
                nodes.push(attachment.node.clone());
            }
        }
        nodes
    }

    /// Works out the handle of an attachment.
    fn resolve(&mut self, name: &Text) {
        let Some(attachment) = self.attachments.get_mut(name) else {
            return;
        };
        let handle = self.volume_handles.get(&attachment.volume);
        let handle = handle.filter(|_| !attachment.attacher.is_empty());
        let handle = handle.map(|handle| {
            let handle = Handle {
                driver: attachment.attacher.clone(),
                handle: handle.clone(),
            };
            self.handles.acquire(handle).0
        });
        if let Some(before) = std::mem::replace(&mut attachment.handle, handle) {
            self.handles.release(before);
        }
    }

    fn attach(&mut self, name: Text, attachment: Attachment) {
        let nodes = self.by_node.entry(attachment.node.clone()).or_default();
        nodes.insert(name.clone());
        let volumes = self.by_volume.entry(attachment.volume.clone()).or_default();
        volumes.insert(name.clone());
        self.attachments.insert(name.clone(), attachment);
        self.resolve(&name);
    }

    fn detach(&mut self, name: &str) -> Option<Attachment> {
        let attachment = self.attachments.remove(name)?;
        forget(&mut self.by_node, &attachment.node, name);
        forget(&mut self.by_volume, &attachment.volume, name);
        if let Some(handle) = attachment.handle {
            self.handles.release(handle);
        }
        Some(attachment)
    }
}

fn forget(map: &mut HashMap<Text, HashSet<Text>>, key: &str, name: &str) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

fn count<T: PartialEq + Clone>(list: &mut Vec<(T, u32)>, item: &T, sign: i64) {
    let at = list.iter().position(|(own, _)| own == item);
    match (at, sign > 0) {
        (Some(at), true) => list[at].1 += 1,
        (None, true) => list.push((item.clone(), 1)),
        (Some(at), false) if list[at].1 > 1 => list[at].1 -= 1,
        (Some(at), false) => drop(list.swap_remove(at)),
        (None, false) => {}
    }
}

impl Cluster {
    pub fn set_volume_attachment(&mut self, object: &VolumeAttachment) {
        let spec = &object.spec;
        let volume = spec.source.persistent_volume_name.as_ref();
        let known = self.volumes.attached.attachments.get(&object.metadata.name);
        if known.is_some_and(|known| {
            known.node == spec.node_name
                && known.attacher == spec.attacher
                && Some(&known.volume) == volume
        }) {
            return;
        }
        self.remove_volume_attachment(&object.metadata.name);
        let Some(volume) = volume.cloned() else {
            return;
        };
        let attachment = Attachment {
            node: spec.node_name.clone(),
            attacher: spec.attacher.clone(),
            volume,
            handle: None,
        };
        let name = object.metadata.name.clone();
        self.volumes.attached.attach(name, attachment);
        if let Some(node) = self.nodes.id(&spec.node_name) {
            self.note(node, Change::Pods);
        }
    }

    /// The driver of an attachment that was there.
    pub fn remove_volume_attachment(&mut self, name: &str) -> Option<Text> {
        let attachment = self.volumes.attached.detach(name)?;
        if let Some(node) = self.nodes.id(&attachment.node) {
            self.note(node, Change::Pods);
        }
        Some(attachment.attacher)
    }
}
