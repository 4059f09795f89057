//! One watch per resource for all controllers of the process, and the caches that they feed.
//!
//! An informer starts when the first controller asks for it. Handlers run in the informer's task after the cache has changed, so a
//! reconcile that a handler queued always sees at least that change. A handler added later first receives what is cached.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use fluyt_client::informer::{self, Event, Slim, Source};
use fluyt_client::kube::Client;
use futures::StreamExt;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Resource};
use crate::objects::Object;
use crate::objects::apps::{Deployment, ReplicaSet};
use crate::objects::core::{Namespace, RootCaConfigMap, ServiceAccount, TokenSecret};
use crate::objects::node::{Lease, Node};
use crate::objects::pod::Pod;
use crate::objects::service::{EndpointSlice, Endpoints, Service};

/// What happened to one object: absent before means added, absent after means deleted.
#[derive(Debug)]
pub struct Change<'a, T> {
    pub old: Option<&'a Arc<T>>,
    pub new: Option<&'a Arc<T>>,
}

impl<T> Clone for Change<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Change<'_, T> {}

impl<'a, T: Object> Change<'a, T> {
    /// The object as it is, or as it last was.
    pub fn object(&self) -> &'a Arc<T> {
        self.new
            .or(self.old)
            .expect("a change has an object before or after it")
    }

    pub fn key(&self) -> Arc<str> {
        self.object().meta().key().into()
    }
}

type Handler<T> = Box<dyn Fn(Change<'_, T>) + Send + Sync>;
/// A secondary key; objects for which it is `None` are not in the index.
pub type IndexFn<T> = fn(&T) -> Option<&str>;

/// A cache of one resource.
pub struct Informer<T> {
    objects: RwLock<Objects<T>>,
    handlers: Mutex<Vec<Handler<T>>>,
    synced: watch::Sender<bool>,
}

/// One index: how to find the secondary key, and the objects by it.
type Index<T> = (IndexFn<T>, HashMap<Box<str>, Vec<Arc<T>>>);

struct Objects<T> {
    by_key: BTreeMap<Box<str>, Arc<T>>,
    indices: Vec<Index<T>>,
}

impl<T: Object> Objects<T> {
    fn set(&mut self, key: &str, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let old = match &new {
            Some(new) => self.by_key.insert(key.into(), new.clone()),
            None => self.by_key.remove(key),
        };
        for (index, map) in &mut self.indices {
            if let Some(old) = &old
                && let Some(value) = index(old)
                && let Some(bucket) = map.get_mut(value)
            {
                bucket.retain(|one| !Arc::ptr_eq(one, old));
                if bucket.is_empty() {
                    map.remove(value);
                }
            }
            if let Some(new) = &new
                && let Some(value) = index(new)
            {
                map.entry(value.into()).or_default().push(new.clone());
            }
        }
        old
    }
}

impl<T: Object> Informer<T> {
    pub fn new(indices: &[IndexFn<T>]) -> Self {
        Self {
            objects: RwLock::new(Objects {
                by_key: BTreeMap::new(),
                indices: indices
                    .iter()
                    .map(|index| (*index, HashMap::new()))
                    .collect(),
            }),
            handlers: Mutex::default(),
            synced: watch::Sender::new(false),
        }
    }

    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.objects.read().by_key.get(key).cloned()
    }

    pub fn list(&self) -> Vec<Arc<T>> {
        self.objects.read().by_key.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.objects.read().by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let prefix = format!("{namespace}/");
        let objects = self.objects.read();
        let range = objects.by_key.range::<str, _>((
            std::ops::Bound::Included(&*prefix),
            std::ops::Bound::Unbounded,
        ));
        range
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The objects whose `index`-th secondary key is `value`.
    pub fn indexed(&self, index: usize, value: &str) -> Vec<Arc<T>> {
        let objects = self.objects.read();
        let bucket = objects
            .indices
            .get(index)
            .and_then(|(_, map)| map.get(value));
        bucket.cloned().unwrap_or_default()
    }

    /// Adds a handler and tells it what is cached already.
    pub fn on_change(&self, handler: impl Fn(Change<'_, T>) + Send + Sync + 'static) {
        let mut handlers = self.handlers.lock();
        for object in self.list() {
            handler(Change {
                old: None,
                new: Some(&object),
            });
        }
        handlers.push(Box::new(handler));
    }

    /// Waits until the first list has arrived and every handler has seen it.
    pub async fn synced(&self) {
        let mut receiver = self.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|synced| *synced).await;
    }

    fn change(
        &self,
        handlers: &[Handler<T>],
        key: &str,
        new: Option<Arc<T>>,
        last: Option<Arc<T>>,
    ) {
        let old = self.objects.write().set(key, new.clone()).or(last);
        if old.is_none() && new.is_none() {
            return;
        }
        let change = Change {
            old: old.as_ref(),
            new: new.as_ref(),
        };
        for handler in handlers {
            handler(change);
        }
    }

    /// Takes an event of the watch in.
    pub fn apply(&self, event: Event<T>) {
        let handlers = self.handlers.lock();
        match event {
            Event::Applied(object) => {
                let key = object.meta().key();
                self.change(&handlers, &key, Some(Arc::new(object)), None);
            }
            Event::Deleted(object) => {
                let key = object.meta().key();
                self.change(&handlers, &key, None, Some(Arc::new(object)));
            }
            Event::Restarted(objects) => {
                self.restart(&handlers, objects);
                drop(handlers);
                self.synced.send_replace(true);
            }
        }
    }

    fn restart(&self, handlers: &[Handler<T>], objects: Vec<T>) {
        let mut gone: std::collections::BTreeSet<Box<str>> =
            self.objects.read().by_key.keys().cloned().collect();
        for object in objects {
            let key = object.meta().key();
            gone.remove(&*key);
            let cached = self.get(&key);
            let unchanged = cached.as_ref().is_some_and(|cached| {
                cached.meta().resource_version == object.meta().resource_version
                    && cached.meta().uid == object.meta().uid
            });
            if unchanged {
                continue;
            }
            // Deleted and created again while the watch was away: handlers must see both.
            if cached.is_some_and(|cached| cached.meta().uid != object.meta().uid) {
                self.change(handlers, &key, None, None);
            }
            self.change(handlers, &key, Some(Arc::new(object)), None);
        }
        for key in gone {
            self.change(handlers, &key, None, None);
        }
    }
}

/// Lets every slim type pass through the client's informer.
pub struct Wire<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Wire<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T: Object + DeserializeOwned> Slim for Wire<T> {
    fn resource_version(&self) -> &str {
        &self.0.meta().resource_version
    }
}

fn unwrap_event<T>(event: Event<Wire<T>>) -> Event<T> {
    match event {
        Event::Restarted(objects) => {
            Event::Restarted(objects.into_iter().map(|one| one.0).collect())
        }
        Event::Applied(object) => Event::Applied(object.0),
        Event::Deleted(object) => Event::Deleted(object.0),
    }
}

/// An informer that starts at its first use.
struct Lazy<T> {
    informer: OnceLock<Arc<Informer<T>>>,
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self {
            informer: OnceLock::new(),
        }
    }
}

impl<T: Object + DeserializeOwned> Lazy<T> {
    fn get(
        &self,
        informers: &Informers,
        source: Source,
        indices: &[IndexFn<T>],
    ) -> Arc<Informer<T>> {
        let start = || {
            let informer = Arc::new(Informer::new(indices));
            let fed = informer.clone();
            let stream = informer::watch::<Wire<T>>(informers.client.clone(), source);
            let shutdown = informers.shutdown.clone();
            tokio::spawn(async move {
                let feed = async {
                    let mut stream = std::pin::pin!(stream);
                    while let Some(event) = stream.next().await {
                        fed.apply(unwrap_event(event));
                    }
                };
                shutdown.run_until_cancelled(feed).await;
            });
            informer
        };
        self.informer.get_or_init(start).clone()
    }
}

/// All shared informers of the process.
pub struct Informers {
    client: Client,
    shutdown: CancellationToken,
    pods: Lazy<Pod>,
    nodes: Lazy<Node>,
    leases: Lazy<Lease>,
    namespaces: Lazy<Namespace>,
    service_accounts: Lazy<ServiceAccount>,
    token_secrets: Lazy<TokenSecret>,
    root_ca_config_maps: Lazy<RootCaConfigMap>,
    replica_sets: Lazy<ReplicaSet>,
    deployments: Lazy<Deployment>,
    services: Lazy<Service>,
    endpoints: Lazy<Endpoints>,
    endpoint_slices: Lazy<EndpointSlice>,
}

/// Index of pods by spec.nodeName.
pub const BY_NODE: usize = 0;
/// Index of pods by the uid of their controller.
pub const BY_CONTROLLER: usize = 1;
/// Index of pods without a controller, by namespace.
pub const ORPHANS: usize = 2;

/// Index of endpoint slices by the name of their service (of any namespace).
pub const BY_SERVICE: usize = 0;

pub fn source(resource: Resource) -> Source {
    Source::new(resource.group, resource.version, resource.plural)
}

impl Informers {
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        Self {
            client,
            shutdown,
            pods: Lazy::default(),
            nodes: Lazy::default(),
            leases: Lazy::default(),
            namespaces: Lazy::default(),
            service_accounts: Lazy::default(),
            token_secrets: Lazy::default(),
            root_ca_config_maps: Lazy::default(),
            replica_sets: Lazy::default(),
            deployments: Lazy::default(),
            services: Lazy::default(),
            endpoints: Lazy::default(),
            endpoint_slices: Lazy::default(),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn pods(&self) -> Arc<Informer<Pod>> {
        let indices: [IndexFn<Pod>; 3] = [
            |pod| Some(&*pod.node_name).filter(|name| !name.is_empty()),
            |pod| pod.meta.controller().map(|owner| &*owner.uid),
            |pod| Some(&*pod.meta.namespace).filter(|_| pod.meta.controller().is_none()),
        ];
        self.pods.get(self, source(api::PODS), &indices)
    }

    pub fn nodes(&self) -> Arc<Informer<Node>> {
        self.nodes.get(self, source(api::NODES), &[])
    }

    /// Leases; those in kube-node-lease are the nodes' heartbeats.
    pub fn leases(&self) -> Arc<Informer<Lease>> {
        self.leases.get(self, source(api::LEASES), &[])
    }

    pub fn namespaces(&self) -> Arc<Informer<Namespace>> {
        self.namespaces.get(self, source(api::NAMESPACES), &[])
    }

    pub fn service_accounts(&self) -> Arc<Informer<ServiceAccount>> {
        self.service_accounts
            .get(self, source(api::SERVICE_ACCOUNTS), &[])
    }

    pub fn token_secrets(&self) -> Arc<Informer<TokenSecret>> {
        let source = source(api::SECRETS).fields("type=kubernetes.io/service-account-token");
        self.token_secrets.get(self, source, &[])
    }

    pub fn root_ca_config_maps(&self) -> Arc<Informer<RootCaConfigMap>> {
        let source = source(api::CONFIG_MAPS).fields("metadata.name=kube-root-ca.crt");
        self.root_ca_config_maps.get(self, source, &[])
    }

    pub fn replica_sets(&self) -> Arc<Informer<ReplicaSet>> {
        let indices: [IndexFn<ReplicaSet>; 2] = [
            |_| None,
            |set| set.metadata.controller().map(|owner| &*owner.uid),
        ];
        self.replica_sets
            .get(self, source(api::REPLICA_SETS), &indices)
    }

    pub fn deployments(&self) -> Arc<Informer<Deployment>> {
        self.deployments.get(self, source(api::DEPLOYMENTS), &[])
    }

    pub fn services(&self) -> Arc<Informer<Service>> {
        self.services.get(self, source(api::SERVICES), &[])
    }

    pub fn endpoints(&self) -> Arc<Informer<Endpoints>> {
        self.endpoints.get(self, source(api::ENDPOINTS), &[])
    }

    pub fn endpoint_slices(&self) -> Arc<Informer<EndpointSlice>> {
        let indices: [IndexFn<EndpointSlice>; 1] =
            [|slice| slice.metadata.labels.get("kubernetes.io/service-name")];
        self.endpoint_slices
            .get(self, source(api::ENDPOINT_SLICES), &indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, uid: &str, version: &str, node: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": version},
            "spec": {"nodeName": node}
        }))
        .unwrap()
    }

    type Seen = Arc<Mutex<Vec<(Option<Box<str>>, Option<Box<str>>)>>>;

    fn noting(informer: &Informer<Pod>) -> Seen {
        let seen = Seen::default();
        let log = seen.clone();
        informer.on_change(move |change| {
            let uid = |pod: Option<&Arc<Pod>>| pod.map(|pod| pod.meta.uid.clone());
            log.lock().push((uid(change.old), uid(change.new)));
        });
        seen
    }

    #[test]
    fn a_restart_tells_what_changed_and_keeps_the_indices() {
        let informer = Informer::<Pod>::new(&[|pod| Some(&*pod.node_name)]);
        informer.apply(Event::Restarted(vec![
            pod("a", "1", "1", "x"),
            pod("b", "2", "1", "x"),
        ]));
        let seen = noting(&informer);
        assert_eq!(
            seen.lock().len(),
            2,
            "what is cached is told to a new handler"
        );
        seen.lock().clear();
        // a is unchanged, b was replaced by another object of that name, c is new.
        informer.apply(Event::Restarted(vec![
            pod("a", "1", "1", "x"),
            pod("b", "3", "5", "y"),
            pod("c", "4", "6", "y"),
        ]));
        let told = std::mem::take(&mut *seen.lock());
        let uid = |text: &str| Some(text.into());
        assert_eq!(told, [(uid("2"), None), (None, uid("3")), (None, uid("4"))]);
        assert_eq!(informer.indexed(0, "x").len(), 1);
        assert_eq!(informer.indexed(0, "y").len(), 2);
        informer.apply(Event::Deleted(pod("c", "4", "7", "y")));
        informer.apply(Event::Applied(pod("b", "3", "8", "x")));
        assert_eq!(
            (
                informer.indexed(0, "x").len(),
                informer.indexed(0, "y").len()
            ),
            (2, 0)
        );
        assert_eq!(informer.in_namespace("n").len(), 2);
        assert!(informer.in_namespace("").is_empty());
    }
}
