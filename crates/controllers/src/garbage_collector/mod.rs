//! garbage-collector-controller: deletes objects whose owners are gone, in the background or the foreground, and frees those that
//! are to be orphaned.
//!
//! It follows the metadata of every resource of the catalogue: through the caches that other controllers keep anyway, and through
//! metadata-only watches of the rest. Kept per object are its place and its owners, nothing else.

pub mod graph;
pub mod reconcile;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use fluyt_api::catalogue::{self, Verb};
use fluyt_client::informer::{self, Event};
use fluyt_client::queue::WorkQueue;
use fluyt_client::rest::{self, PatchType};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::{Error, Resource, Result};
use crate::context::Context;
use crate::informers::{Informer, Wire, source};
use crate::objects::{Meta, MetaOnly, Object, OwnerReference};
use crate::worker::{Key, Outcome, Reconcile, work};
use graph::{FOREGROUND, Graph, Node, ORPHAN, Place, ResourceId, Task, Uid};
use reconcile::{Decision, OwnerState};

/// Owners that the server did not find, remembered so that a thousand dependents ask once.
const REMEMBERED: usize = 500;

/// The resources that are followed, each stored resource once, in its preferred version.
static RESOURCES: LazyLock<Vec<&'static catalogue::Resource>> = LazyLock::new(|| {
    let mut stored = HashSet::new();
    let wanted = [Verb::Delete, Verb::List, Verb::Watch];
    let followed = catalogue::resources().iter().filter(|resource| {
        wanted.iter().all(|verb| resource.verbs.contains(verb)) && resource.plural != "events"
    });
    followed
        .filter(|resource| stored.insert(resource.storage_prefix))
        .collect()
});

/// The resource of an owner reference's kind, whatever its version, and whether it is namespaced.
fn resolve(owner: &OwnerReference) -> Option<(ResourceId, bool)> {
    let at = RESOURCES
        .iter()
        .position(|one| one.group == owner.group() && one.kind == &*owner.kind)?;
    Some((
        ResourceId::try_from(at).ok()?,
        RESOURCES.get(at)?.namespaced,
    ))
}

pub async fn run(context: Context) {
    if !context.options.enable_garbage_collector {
        return;
    }
    let queue = WorkQueue::default();
    let collector = Arc::new(Collector {
        graph: Mutex::new(Graph::new(resolve)),
        absent: Mutex::default(),
        queue: queue.clone(),
        context: context.clone(),
    });
    // Work starts when everything has been listed: before that, most owners would seem to be missing.
    let mut synced = Vec::new();
    for (at, resource) in RESOURCES.iter().enumerate() {
        let Ok(id) = ResourceId::try_from(at) else {
            break;
        };
        synced.push(follow(&collector, id, resource));
    }
    for mut synced in synced {
        let listed = synced.wait_for(|synced| *synced);
        if context.shutdown.run_until_cancelled(listed).await.is_none() {
            return;
        }
    }
    tracing::debug!(
        "garbage collection knows {} objects",
        collector.graph.lock().len()
    );
    let workers = context.options.workers.concurrent_gc_syncs;
    work(&context, &queue, workers, collector).await;
}

/// Follows one resource; the receiver turns true when its list has arrived.
fn follow(
    collector: &Arc<Collector>,
    id: ResourceId,
    resource: &catalogue::Resource,
) -> watch::Receiver<bool> {
    let informers = &collector.context.informers;
    match (resource.group, resource.plural) {
        ("", "pods") => collector.subscribe(id, informers.pods()),
        ("", "nodes") => collector.subscribe(id, informers.nodes()),
        ("", "namespaces") => collector.subscribe(id, informers.namespaces()),
        ("", "services") => collector.subscribe(id, informers.services()),
        ("", "serviceaccounts") => collector.subscribe(id, informers.service_accounts()),
        ("", "endpoints") => collector.subscribe(id, informers.endpoints()),
        ("apps", "replicasets") => collector.subscribe(id, informers.replica_sets()),
        ("apps", "deployments") => collector.subscribe(id, informers.deployments()),
        ("discovery.k8s.io", "endpointslices") => {
            collector.subscribe(id, informers.endpoint_slices())
        }
        ("coordination.k8s.io", "leases") => collector.subscribe(id, informers.leases()),
        _ => collector.watch_metadata(id, resource),
    }
}

struct Collector {
    context: Context,
    graph: Mutex<Graph>,
    absent: Mutex<HashSet<(Uid, Box<str>)>>,
    queue: WorkQueue<Key>,
}

fn key_of(task: &Task) -> Key {
    match task {
        Task::Delete(uid) => format!("delete/{uid}").into(),
        Task::Orphan(uid) => format!("orphan/{uid}").into(),
    }
}

impl Collector {
    fn enqueue(&self, tasks: Vec<Task>) {
        for task in tasks {
            self.queue.add(key_of(&task));
        }
    }

    /// Follows a resource through a cache that is kept anyway.
    fn subscribe<T: Object>(
        self: &Arc<Self>,
        id: ResourceId,
        informer: Arc<Informer<T>>,
    ) -> watch::Receiver<bool> {
        let collector = Arc::downgrade(self);
        informer.on_change(move |change| {
            let Some(collector) = collector.upgrade() else {
                return;
            };
            let tasks = match change.new {
                Some(object) => collector.graph.lock().observe(id, object.meta()),
                None => collector.gone(&change.object().meta().uid),
            };
            collector.enqueue(tasks);
        });
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            informer.synced().await;
            let _ = sender.send(true);
        });
        receiver
    }

    /// Follows a resource by its metadata.
    fn watch_metadata(
        self: &Arc<Self>,
        id: ResourceId,
        resource: &catalogue::Resource,
    ) -> watch::Receiver<bool> {
        let source = source(Resource {
            group: resource.group,
            version: resource.version,
            plural: resource.plural,
        });
        let stream = informer::watch::<Wire<MetaOnly>>(
            self.context.informers.client().clone(),
            source.metadata_only(),
        );
        let (sender, receiver) = watch::channel(false);
        let (collector, shutdown) = (self.clone(), self.context.shutdown.clone());
        tokio::spawn(async move {
            let feed = async {
                let mut stream = std::pin::pin!(stream);
                while let Some(event) = stream.next().await {
                    let tasks = match event {
                        Event::Restarted(objects) => {
                            let tasks = collector
                                .graph
                                .lock()
                                .restart(id, objects.iter().map(|one| one.0.meta()));
                            sender.send_replace(true);
                            tasks
                        }
                        Event::Applied(object) => {
                            collector.graph.lock().observe(id, object.0.meta())
                        }
                        Event::Deleted(object) => collector.gone(&object.0.meta().uid),
                    };
                    collector.enqueue(tasks);
                }
            };
            shutdown.run_until_cancelled(feed).await;
        });
        receiver
    }

    /// An object is gone for good.
    fn gone(&self, uid: &str) -> Vec<Task> {
        self.graph.lock().remove(uid)
    }

    fn remember_absent(&self, uid: &str, namespace: &str) {
        let mut absent = self.absent.lock();
        if absent.len() >= REMEMBERED {
            absent.clear();
        }
        absent.insert((uid.into(), namespace.into()));
    }
}

/// The path of a place; `None` for a kind that the server does not have.
fn path(place: &Place) -> Option<String> {
    let resource = RESOURCES.get(usize::from(place.resource?))?;
    Some(rest::path(
        resource.group,
        resource.version,
        &place.namespace,
        resource.plural,
        &place.name,
    ))
}

fn meta_of(object: &Value) -> Result<Meta> {
    serde_json::from_value(object["metadata"].clone())
        .map_err(|error| Error::Other(format!("metadata: {error}")))
}

impl Reconcile for Collector {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        match key.split_once('/') {
            Some(("delete", uid)) => self.try_delete(uid).await?,
            Some(("orphan", uid)) => self.orphan(uid).await?,
            _ => {}
        }
        Ok(Outcome::Done)
    }
}

impl Collector {
    fn node(&self, uid: &str) -> Option<Node> {
        self.graph.lock().get(uid).cloned()
    }

    /// The live object at a node's place, if it is still the same one; otherwise the node is taken out of the graph.
    async fn live(&self, uid: &str, node: &Node) -> Result<Option<(String, Meta)>> {
        let Some(path) = path(&node.place) else {
            return Ok(None);
        };
        let live = self.context.api.get_path(&path).await?;
        let meta = live.as_ref().map(meta_of).transpose()?;
        match meta.filter(|meta| &*meta.uid == uid) {
            Some(meta) => Ok(Some((path, meta))),
            None => {
                self.remember_absent(uid, &node.place.namespace);
                let tasks = self.gone(uid);
                self.enqueue(tasks);
                Ok(None)
            }
        }
    }

    async fn try_delete(&self, uid: &str) -> Result<()> {
        let Some(node) = self.node(uid) else {
            return Ok(());
        };
        let going = node.deleting && !node.deleting_dependents && !node.is_virtual;
        if going || self.graph.lock().is_settled(uid) {
            return Ok(());
        }
        let Some((path, meta)) = self.live(uid, &node).await? else {
            return Ok(());
        };
        if node.is_virtual {
            // It exists; the watch will bring it.
            return Ok(());
        }
        if node.deleting_dependents {
            return self.finish_foreground(uid, &path).await;
        }
        let mut states = Vec::with_capacity(meta.owner_references.len());
        for owner in &meta.owner_references {
            states.push(self.owner_state(owner, &meta.namespace).await?);
        }
        let waiting_dependent = self.graph.lock().has_waiting_dependent(uid);
        match reconcile::decide(
            &meta,
            &states,
            !node.dependents.is_empty(),
            waiting_dependent,
        ) {
            Decision::Keep => Ok(()),
            Decision::Release(kept) => {
                self.patch_metadata(&path, &meta, json!({"ownerReferences": kept}))
                    .await
            }
            Decision::Delete {
                propagation,
                unblock,
            } => {
                if unblock {
                    let mut owners = meta.owner_references.clone();
                    owners
                        .iter_mut()
                        .for_each(|owner| owner.block_owner_deletion = Some(false));
                    self.patch_metadata(&path, &meta, json!({"ownerReferences": owners}))
                        .await?;
                }
                self.delete(&path, &meta, propagation, unblock).await
            }
        }
    }

    async fn delete(
        &self,
        path: &str,
        meta: &Meta,
        propagation: &str,
        changed: bool,
    ) -> Result<()> {
        tracing::debug!("{path} is deleted: its owners are gone");
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": {"uid": meta.uid}});
        if !changed {
            // Somebody may give it another owner at this moment.
            options["preconditions"]["resourceVersion"] = json!(meta.resource_version);
        }
        match self.context.api.delete_path(path, &options).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Removes the finalizer of an object that waited for its dependents, or has the remaining ones looked at.
    async fn finish_foreground(&self, uid: &str, path: &str) -> Result<()> {
        let blocking = self.graph.lock().blocking(uid);
        if blocking.is_empty() {
            return self.remove_finalizer(uid, path, FOREGROUND).await;
        }
        let next = blocking
            .into_iter()
            .filter(|(_, waits)| !waits)
            .map(|(uid, _)| Task::Delete(uid));
        self.enqueue(next.collect());
        Ok(())
    }

    /// A present owner is taken from the graph; absence is only believed of the server.
    async fn owner_state(&self, owner: &OwnerReference, namespace: &str) -> Result<OwnerState> {
        let place = {
            let graph = self.graph.lock();
            let place = graph.owner_place(owner, namespace);
            if let Some(node) = graph
                .get(&owner.uid)
                .filter(|node| !node.is_virtual && node.place == place)
            {
                return Ok(if node.deleting_dependents {
                    OwnerState::Waiting
                } else {
                    OwnerState::Solid
                });
            }
            place
        };
        let Some(path) = path(&place) else {
            return Ok(OwnerState::Solid);
        };
        let remembered = (Uid::from(&*owner.uid), place.namespace.clone());
        if self.absent.lock().contains(&remembered) {
            return Ok(OwnerState::Absent);
        }
        let live = self.context.api.get_path(&path).await?;
        let meta = live.as_ref().map(meta_of).transpose()?;
        match meta.filter(|meta| meta.uid == owner.uid) {
            None => {
                self.remember_absent(&owner.uid, &place.namespace);
                Ok(OwnerState::Absent)
            }
            Some(meta) if meta.is_deleting() && meta.has_finalizer(FOREGROUND) => {
                Ok(OwnerState::Waiting)
            }
            Some(_) => Ok(OwnerState::Solid),
        }
    }

    /// Changes metadata of exactly the object that was read.
    async fn patch_metadata(&self, path: &str, meta: &Meta, mut change: Value) -> Result<()> {
        change["uid"] = json!(meta.uid);
        change["resourceVersion"] = json!(meta.resource_version);
        match self
            .context
            .api
            .patch(path, PatchType::Merge, &json!({"metadata": change}))
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn remove_finalizer(&self, uid: &str, path: &str, finalizer: &str) -> Result<()> {
        let Some(live) = self.context.api.get_path(path).await? else {
            return Ok(());
        };
        let meta = meta_of(&live)?;
        if &*meta.uid != uid || !meta.has_finalizer(finalizer) {
            return Ok(());
        }
        let kept: Vec<&str> = meta
            .finalizers
            .iter()
            .map(|one| &**one)
            .filter(|one| *one != finalizer)
            .collect();
        self.patch_metadata(path, &meta, json!({"finalizers": kept}))
            .await
    }

    /// Takes the reference to `uid` from all its dependents, then lets it go.
    async fn orphan(&self, uid: &str) -> Result<()> {
        let Some(node) = self.node(uid).filter(|node| !node.is_virtual) else {
            return Ok(());
        };
        let Some(owner_path) = path(&node.place) else {
            return Ok(());
        };
        for dependent in &node.dependents {
            let Some(dependent_path) = self
                .node(dependent)
                .as_ref()
                .and_then(|node| path(&node.place))
            else {
                continue;
            };
            let Some(live) = self.context.api.get_path(&dependent_path).await? else {
                continue;
            };
            let meta = meta_of(&live)?;
            if meta.uid.as_ref() != &**dependent
                || !meta.owner_references.iter().any(|owner| &*owner.uid == uid)
            {
                continue;
            }
            let kept: Vec<_> = meta
                .owner_references
                .iter()
                .filter(|owner| &*owner.uid != uid)
                .collect();
            self.patch_metadata(&dependent_path, &meta, json!({"ownerReferences": kept}))
                .await?;
        }
        self.remove_finalizer(uid, &owner_path, ORPHAN).await
    }
}
