//! Who owns whom, of every object in the cluster. Pure: it is told what exists and says which objects to look at.
//!
//! An owner that a reference names and nobody has seen is a *virtual* node until the server has been asked. Nothing is decided on a
//! virtual node, nor on the absence of an object from the graph: the caller asks the server before anything is deleted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::objects::{Meta, OwnerReference};

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

pub type Uid = Arc<str>;
/// An index into the list of resources that are watched.
pub type ResourceId = u16;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `None` for an owner of a kind that the server does not have.
    pub resource: Option<ResourceId>,
    pub namespace: Box<str>,
    pub name: Box<str>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub owners: Box<[OwnerReference]>,
    pub dependents: Vec<Uid>,
    /// Named by a reference, not seen yet.
    pub is_virtual: bool,
    pub deleting: bool,
    /// Waits for its dependents to go (foreground deletion).
    pub deleting_dependents: bool,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Whether this object must go, or can.
    Delete(Uid),
    /// Free this object's dependents of it.
    Orphan(Uid),
}

/// Maps the kind of an owner reference to a resource and whether it is namespaced.
pub type ResolveKind = fn(&OwnerReference) -> Option<(ResourceId, bool)>;

pub struct Graph {
    nodes: HashMap<Uid, Node>,
    resolve: ResolveKind,
}

impl Graph {
    pub fn new(resolve: ResolveKind) -> Self {
        Self {
            nodes: HashMap::new(),
            resolve,
        }
    }

    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where the owner of an object in `namespace` should be.
    pub fn owner_place(&self, reference: &OwnerReference, namespace: &str) -> Place {
        let resolved = (self.resolve)(reference);
        let namespaced = resolved.is_some_and(|(_, namespaced)| namespaced);
        Place {
            resource: resolved.map(|(resource, _)| resource),
            namespace: if namespaced {
                namespace.into()
            } else {
                "".into()
            },
            name: reference.name.clone(),
        }
    }

    /// An object was added or changed.
    pub fn observe(&mut self, resource: ResourceId, meta: &Meta) -> Vec<Task> {
        let uid: Uid = match self.nodes.get_key_value(&*meta.uid) {
            Some((uid, _)) => uid.clone(),
            None => (&*meta.uid).into(),
        };
        let place = Place {
            resource: Some(resource),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        };
        let mut tasks = Vec::new();
        let before = self.nodes.get(&uid);
        let known = before.is_some_and(|node| !node.is_virtual);
        let old_owners = before.map(|node| node.owners.clone()).unwrap_or_default();
        let was_waiting = before.is_some_and(|node| node.deleting_dependents);
        let moved = before.is_some_and(|node| node.is_virtual && node.place != place);
        let waits = meta.is_deleting() && meta.has_finalizer(FOREGROUND);
        let node = self.nodes.entry(uid.clone()).or_insert_with(|| Node {
            place: place.clone(),
            owners: Box::default(),
            dependents: Vec::new(),
            is_virtual: false,
            deleting: false,
            deleting_dependents: false,
        });
        node.place = place;
        node.is_virtual = false;
        node.deleting = meta.is_deleting();
        node.deleting_dependents = waits;
        if *node.owners != *meta.owner_references {
            node.owners = meta.owner_references.clone().into_boxed_slice();
        }
        if moved {
            // Whoever named it at another place named something that does not exist.
            tasks.extend(node.dependents.iter().cloned().map(Task::Delete));
        }
        if meta.is_deleting() && meta.has_finalizer(ORPHAN) {
            tasks.push(Task::Orphan(uid.clone()));
        }
        if waits && !was_waiting {
            tasks.extend(node.dependents.iter().cloned().map(Task::Delete));
            tasks.push(Task::Delete(uid.clone()));
        }
        if !known || *old_owners != *meta.owner_references {
            self.relink(&uid, &old_owners, meta, &mut tasks);
        }
        tasks
    }

    /// Moves an object from its former owners to its present ones.
    fn relink(&mut self, uid: &Uid, old: &[OwnerReference], meta: &Meta, tasks: &mut Vec<Task>) {
        let new = &meta.owner_references;
        for owner in old {
            let present = new.iter().find(|one| one.uid == owner.uid);
            if present.is_none() {
                self.unlink(&owner.uid, uid);
            }
            // An owner that waited for this object need not wait any longer.
            let unblocked = owner.blocks_owner_deletion()
                && !present.is_some_and(OwnerReference::blocks_owner_deletion);
            if unblocked
                && let Some((owner, node)) = self.nodes.get_key_value(&*owner.uid)
                && node.deleting_dependents
            {
                tasks.push(Task::Delete(owner.clone()));
            }
        }
        for owner in new {
            if !old.iter().any(|one| one.uid == owner.uid) {
                self.link(owner, uid, &meta.namespace, tasks);
            }
        }
    }

    fn link(
        &mut self,
        reference: &OwnerReference,
        dependent: &Uid,
        namespace: &str,
        tasks: &mut Vec<Task>,
    ) {
        let place = self.owner_place(reference, namespace);
        match self.nodes.get_mut(&*reference.uid) {
            Some(owner) => {
                owner.dependents.push(dependent.clone());
                let mismatch = place.resource.is_some() && owner.place != place;
                if owner.is_virtual || mismatch || owner.deleting_dependents {
                    tasks.push(Task::Delete(dependent.clone()));
                }
            }
            None => {
                let uid: Uid = (&*reference.uid).into();
                let asked = place.resource.is_some();
                let owner = Node {
                    place,
                    owners: Box::default(),
                    dependents: vec![dependent.clone()],
                    is_virtual: true,
                    deleting: false,
                    deleting_dependents: false,
                };
                self.nodes.insert(uid.clone(), owner);
                if asked {
                    tasks.push(Task::Delete(uid));
                }
            }
        }
    }

    fn unlink(&mut self, owner: &str, dependent: &Uid) {
        if let Some(node) = self.nodes.get_mut(owner) {
            node.dependents.retain(|one| one != dependent);
            if node.is_virtual && node.dependents.is_empty() {
                self.nodes.remove(owner);
            }
        }
    }

    /// An object is gone, or was never there.
    pub fn remove(&mut self, uid: &str) -> Vec<Task> {
        let Some((uid, mut node)) = self.nodes.remove_entry(uid) else {
            return Vec::new();
        };
        let mut tasks: Vec<Task> = node.dependents.iter().cloned().map(Task::Delete).collect();
        for owner in &node.owners {
            self.unlink(&owner.uid, &uid);
            if let Some((owner, waiting)) = self.nodes.get_key_value(&*owner.uid)
                && waiting.deleting_dependents
            {
                tasks.push(Task::Delete(owner.clone()));
            }
        }
        // Its dependents still name it; they keep a virtual owner until they are gone or name somebody else.
        if !node.dependents.is_empty() {
            node.is_virtual = true;
            node.deleting = false;
            node.deleting_dependents = false;
            node.owners = Box::default();
            self.nodes.insert(uid, node);
        }
        tasks
    }

    /// The whole list of one resource: what is not in it is gone.
    pub fn restart<'a>(
        &mut self,
        resource: ResourceId,
        objects: impl Iterator<Item = &'a Meta>,
    ) -> Vec<Task> {
        let mut seen: HashSet<Uid> = HashSet::new();
        let mut tasks = Vec::new();
        for meta in objects {
            tasks.extend(self.observe(resource, meta));
            if let Some((uid, _)) = self.nodes.get_key_value(&*meta.uid) {
                seen.insert(uid.clone());
            }
        }
        let gone: Vec<Uid> = self
            .nodes
            .iter()
            .filter(|(uid, node)| {
                node.place.resource == Some(resource) && !node.is_virtual && !seen.contains(*uid)
            })
            .map(|(uid, _)| uid.clone())
            .collect();
        tasks.extend(gone.iter().flat_map(|uid| self.remove(uid)));
        tasks
    }

    /// Whether all owners of an object are there, so that nothing need be done about it.
    pub fn is_settled(&self, uid: &str) -> bool {
        let Some(node) = self
            .nodes
            .get(uid)
            .filter(|node| !node.is_virtual && !node.deleting_dependents)
        else {
            return false;
        };
        node.owners.iter().all(|reference| {
            let place = self.owner_place(reference, &node.place.namespace);
            self.nodes.get(&*reference.uid).is_some_and(|owner| {
                !owner.is_virtual && !owner.deleting_dependents && owner.place == place
            })
        })
    }

    /// Dependents that `uid` must wait for in a foreground deletion, with whether they wait for their own dependents.
    pub fn blocking(&self, uid: &str) -> Vec<(Uid, bool)> {
        let Some(node) = self.nodes.get(uid) else {
            return Vec::new();
        };
        let blocks = |dependent: &Node| {
            dependent
                .owners
                .iter()
                .any(|owner| &*owner.uid == uid && owner.blocks_owner_deletion())
        };
        let dependents = node
            .dependents
            .iter()
            .filter_map(|uid| self.nodes.get_key_value(uid));
        dependents
            .filter(|(_, dependent)| blocks(dependent))
            .map(|(uid, dependent)| (uid.clone(), dependent.deleting_dependents))
            .collect()
    }

    /// Whether a dependent of `uid` waits for its own dependents.
    pub fn has_waiting_dependent(&self, uid: &str) -> bool {
        let dependents = self
            .nodes
            .get(uid)
            .map(|node| node.dependents.as_slice())
            .unwrap_or_default();
        dependents
            .iter()
            .filter_map(|uid| self.nodes.get(uid))
            .any(|dependent| dependent.deleting_dependents)
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
