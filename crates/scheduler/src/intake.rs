//! Changes that informers saw, into the core.
//!
//! A list says what there is, not what is gone: what was known before and is not in a new list is taken out here.

use std::collections::HashSet;
use std::time::Duration;

use fluyt_client::informer::Event;
use fluyt_scheduler_core::core::Core;
use fluyt_scheduler_core::labels::Selector;
use fluyt_scheduler_core::objects::{Node, Pod, Text, Workload};

use crate::informers::{HasMeta, Input, KINDS, Seen};
use crate::storage::{self, StorageIntake};

pub struct Intake {
    /// How many kinds have to be listed.
    kinds: usize,
    /// One bit for every kind that was listed.
    listed: u32,
    namespaces: Known,
    services: Known,
    replica_sets: Known,
    stateful_sets: Known,
    replication_controllers: Known,
    budgets: Known,
    storage: StorageIntake,
    resource_claims: Known,
    resource_slices: Known,
    device_classes: Known,
    pod_groups: Known,
}

/// The objects of one kind by namespace and name.
#[derive(Default)]
pub struct Known(HashSet<(Text, Text)>);

pub enum Change<T> {
    Set(T),
    Gone(Text, Text),
}

impl Known {
    pub fn changes<T: HasMeta>(&mut self, batch: Vec<Event<Seen<T>>>) -> Vec<Change<T>> {
        let id = |object: &T| {
            let meta = object.meta();
            (meta.namespace.clone(), meta.name.clone())
        };
        let mut changes = Vec::with_capacity(batch.len());
        for event in batch {
            match event {
                Event::Restarted(objects) => {
                    let new = objects.iter().map(|Seen(object)| id(object)).collect();
                    let before = std::mem::replace(&mut self.0, new);
                    let gone = before.into_iter().filter(|id| !self.0.contains(id));
                    changes.extend(gone.map(|(namespace, name)| Change::Gone(namespace, name)));
                    changes.extend(objects.into_iter().map(|Seen(object)| Change::Set(object)));
                }
                Event::Applied(Seen(object)) => {
                    self.0.insert(id(&object));
                    changes.push(Change::Set(object));
                }
                Event::Deleted(Seen(object)) => {
                    let id = id(&object);
                    self.0.remove(&id);
                    changes.push(Change::Gone(id.0, id.1));
                }
            }
        }
        changes
    }
}

impl Intake {
    /// `storage`: claims, volumes and the like are watched too.
    pub fn new(storage: bool) -> Self {
        let more = if storage { storage::KINDS } else { 0 };
        Self {
            kinds: KINDS + more,
            listed: 0,
            namespaces: Known::default(),
            services: Known::default(),
            replica_sets: Known::default(),
            stateful_sets: Known::default(),
            replication_controllers: Known::default(),
            budgets: Known::default(),
            storage: StorageIntake::default(),
            resource_claims: Known::default(),
            resource_slices: Known::default(),
            device_classes: Known::default(),
            pod_groups: Known::default(),
        }
    }

    /// Every kind was listed at least once.
    pub fn is_complete(&self) -> bool {
        self.listed.count_ones() as usize == self.kinds
    }

    /// `gone` hears the uid of every pod that was deleted.
    pub fn take(
        &mut self,
        core: &mut Core,
        input: Input,
        now: Duration,
        mut gone: impl FnMut(&str),
    ) {
        let kind = match input {
            Input::Pods(batch) => {
                for event in batch {
                    take_pod(core, event, now, &mut gone);
                }
                0
            }
            Input::Nodes(batch) => {
                for event in batch {
                    take_node(core, event, now);
                }
                1
            }
            Input::Namespaces(batch) => {
                for change in self.namespaces.changes(batch) {
                    core.change_cluster(now, true, |cluster| match change {
                        Change::Set(one) => {
                            cluster.set_namespace(&one.metadata.name, &one.metadata.labels);
                        }
                        Change::Gone(_, name) => cluster.remove_namespace(&name),
                    });
                }
                2
            }
            Input::Services(batch) => {
                for change in self.services.changes(batch) {
                    core.change_cluster(now, false, |cluster| match change {
                        Change::Set(one) => cluster.set_service(
                            &one.metadata.namespace,
                            &one.metadata.name,
                            one.spec.selector.as_ref(),
                        ),
                        Change::Gone(namespace, name) => {
                            cluster.set_service(&namespace, &name, None);
                        }
                    });
                }
                3
            }
            Input::ReplicaSets(batch) => {
                let selector = |one: &Workload| Some(Selector::new(one.spec.selector.as_ref()));
                let changes = self.replica_sets.changes(batch);
                take_owners(core, "ReplicaSet", changes, selector, now);
                4
            }
            Input::StatefulSets(batch) => {
                let selector = |one: &Workload| Some(Selector::new(one.spec.selector.as_ref()));
                let changes = self.stateful_sets.changes(batch);
                take_owners(core, "StatefulSet", changes, selector, now);
                5
            }
            Input::ReplicationControllers(batch) => {
                let changes = self.replication_controllers.changes(batch);
                let selector = |one: &fluyt_scheduler_core::objects::ReplicationController| {
                    one.spec.selector.as_ref().map(Selector::from_labels)
                };
                take_owners(core, "ReplicationController", changes, selector, now);
                6
            }
            Input::Budgets(batch) => {
                for change in self.budgets.changes(batch) {
                    match change {
                        Change::Set(one) => core.budgets.set(one),
                        Change::Gone(namespace, name) => {
                            core.budgets.remove(&format!("{namespace}/{name}"));
                        }
                    }
                }
                7
            }
            Input::Storage(input) => KINDS + self.storage.take(core, input, now),
            Input::ResourceClaims(batch) => {
                for change in self.resource_claims.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_resource_claim(one, now),
                        Change::Gone(namespace, name) => {
                            core.delete_resource_claim(&format!("{namespace}/{name}"), now);
                        }
                    }
                }
                8
            }
            Input::ResourceSlices(batch) => {
                for change in self.resource_slices.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_slice(one, now),
                        Change::Gone(_, name) => core.delete_slice(&name, now),
                    }
                }
                9
            }
            Input::DeviceClasses(batch) => {
                for change in self.device_classes.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_device_class(one, now),
                        Change::Gone(_, name) => core.delete_device_class(&name),
                    }
                }
                10
            }
            Input::PodGroups(batch) => {
                for change in self.pod_groups.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_group(one, now),
                        Change::Gone(namespace, name) => {
                            core.delete_group(&format!("{namespace}/{name}"));
                        }
                    }
                }
                11
            }
        };
        self.listed |= 1 << kind;
    }
}

fn take_owners<T: HasMeta>(
    core: &mut Core,
    kind: &str,
    changes: Vec<Change<T>>,
    selector: impl Fn(&T) -> Option<Selector>,
    now: Duration,
) {
    for change in changes {
        core.change_cluster(now, false, |cluster| match change {
            Change::Set(one) => {
                let meta = one.meta();
                cluster.set_owner(kind, &meta.namespace, &meta.name, selector(&one));
            }
            Change::Gone(namespace, name) => cluster.set_owner(kind, &namespace, &name, None),
        });
    }
}

fn take_pod(core: &mut Core, event: Event<Seen<Pod>>, now: Duration, gone: &mut impl FnMut(&str)) {
    match event {
        Event::Restarted(pods) => {
            let keys: HashSet<Text> = pods.iter().map(|Seen(pod)| pod.key()).collect();
            core.retain_pods(|key| keys.contains(key), now);
            for Seen(pod) in pods {
                core.apply_pod(&pod, now);
            }
        }
        Event::Applied(Seen(pod)) => core.apply_pod(&pod, now),
        Event::Deleted(Seen(pod)) => {
            gone(&pod.metadata.uid);
            core.delete_pod(&pod.key(), now);
        }
    }
}

fn take_node(core: &mut Core, event: Event<Seen<Node>>, now: Duration) {
    match event {
        Event::Restarted(nodes) => {
            let names: HashSet<Text> = nodes
                .iter()
                .map(|Seen(node)| node.metadata.name.clone())
                .collect();
            core.retain_nodes(|name| names.contains(name), now);
            for Seen(node) in nodes {
                core.apply_node(&node, now);
            }
        }
        Event::Applied(Seen(node)) => core.apply_node(&node, now),
        Event::Deleted(Seen(node)) => core.delete_node(&node.metadata.name, now),
    }
}
