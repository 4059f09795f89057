//! What of a namespace scheduling depends on: its labels, its services and the owners of its pods.

use hashbrown::HashMap;

use super::Cluster;
use crate::labels::{Labels, Selector};
use crate::objects::{Text, Workload};
use crate::spec::Identity;

#[derive(Default)]
pub struct NamespaceEntry {
    /// `None`: no Namespace object is known (yet).
    pub labels: Option<Labels>,
    services: HashMap<Text, Labels>,
    owners: HashMap<(Text, Text), Selector>,
    /// Rises when a service or owner changes.
    pub version: u64,
}

impl Cluster {
    pub fn set_namespace(&mut self, name: &Text, labels: &Labels) {
        self.relabel_namespace(name, Some(labels.clone()));
    }

    pub fn remove_namespace(&mut self, name: &Text) {
        self.relabel_namespace(name, None);
    }

    fn relabel_namespace(&mut self, name: &Text, labels: Option<Labels>) {
        let entry = self.namespaces.entry(name.clone()).or_default();
        if entry.labels == labels {
            return;
        }
        entry.labels = labels;
        self.namespace_version += 1;
        self.recount_namespace(name);
    }

    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)?.labels.as_ref()
    }

    pub(crate) fn namespace_entry_version(&self, name: &str) -> u64 {
        self.namespaces.get(name).map_or(0, |entry| entry.version)
    }

    /// A service's selector; `None`: it is gone or selects nothing.
    pub fn set_service(&mut self, namespace: &Text, name: &Text, selector: Option<&Labels>) {
        let entry = self.namespaces.entry(namespace.clone()).or_default();
        let before = match selector {
            Some(selector) => entry.services.insert(name.clone(), selector.clone()),
            None => entry.services.remove(name),
        };
        if before.as_ref() != selector {
            entry.version += 1;
        }
    }

    /// The selector of a ReplicaSet, StatefulSet or ReplicationController; `None`: it is gone.
    pub fn set_owner(
        &mut self,
        kind: &str,
        namespace: &Text,
        name: &Text,
        selector: Option<Selector>,
    ) {
        let entry = self.namespaces.entry(namespace.clone()).or_default();
        let key = (Text::from(kind), name.clone());
        let before = match selector.clone() {
            Some(selector) => entry.owners.insert(key, selector),
            None => entry.owners.remove(&key),
        };
        if before != selector {
            entry.version += 1;
        }
    }

    pub fn set_workload(&mut self, kind: &str, workload: &Workload) {
        let selector = Selector::new(workload.spec.selector.as_ref());
        self.set_owner(
            kind,
            &workload.metadata.namespace,
            &workload.metadata.name,
            Some(selector),
        );
    }

    /// The selector that default spreading counts with: the services that select the pod and its owner, together.
    /// Everything (empty) means that the pod has neither.
    pub fn default_selector(&self, identity: &Identity) -> Selector {
        let Some(entry) = self.namespaces.get(&identity.namespace) else {
            return Selector::everything();
        };
        let mut selector = Selector::everything();
        for labels in entry.services.values() {
            let service = Selector::from_labels(labels);
            if service.matches(&identity.labels) {
                selector = selector.and(&service);
            }
        }
        let owner = identity.owner.as_ref().and_then(|owner| {
            let key = (owner.kind.clone(), owner.name.clone());
            entry.owners.get(&key)
        });
        match owner {
            // A selector of nothing adds no requirements upstream.
            Some(Selector::Nothing) | None => selector,
            Some(owner) => selector.and(owner),
        }
    }
}
