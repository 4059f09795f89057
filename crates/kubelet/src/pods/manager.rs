//! Gives every pod of the node its worker, from whichever source it comes; finds what an
//! earlier kubelet left behind; keeps mirrors of static pods in the API.

use super::admission;
use super::sources::{self, ApiPod};
use super::worker::{Desired, Handle, Worker};
use crate::context::Context;
use crate::runtime::events::{self, Wake};
use crate::runtime::observe;
use fluyt_client::informer::{self, Event, Source};
use fluyt_client::rest;
use fluyt_kubelet_core::status::Failure;
use fluyt_kubelet_core::{model, names};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use parking_lot::RwLock;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The workers by pod uid, shared with the server.
pub(crate) type Handles = Arc<RwLock<HashMap<String, Handle>>>;

pub(crate) struct Manager {
    context: Arc<Context>,
    handles: Handles,
    shutdown: CancellationToken,
    workers: JoinSet<(String, bool)>,
    /// Static pods by uid.
    statics: HashMap<String, Arc<Pod>>,
    /// The API's pods of this node by uid, mirrors apart.
    api: HashMap<String, Arc<Pod>>,
    /// Mirror pods by "namespace/name": uid and the hash that they mirror.
    mirrors: HashMap<String, (String, String)>,
    api_listed: bool,
    files_listed: bool,
    swept: bool,
}

impl Manager {
    pub fn new(context: Arc<Context>, handles: Handles, shutdown: CancellationToken) -> Self {
        let files_listed = context.settings.manifests.is_none();
        Self {
            context,
            handles,
            shutdown,
            workers: JoinSet::new(),
            statics: HashMap::new(),
            api: HashMap::new(),
            mirrors: HashMap::new(),
            api_listed: false,
            files_listed,
            swept: false,
        }
    }

    /// Runs until shutdown; containers are left running.
    pub async fn run(mut self) {
        let (files, mut from_files) = mpsc::channel(4);
        if let Some(path) = self.context.settings.manifests.clone() {
            let settings = self.context.settings.clone();
            tokio::spawn(sources::follow_files(
                settings,
                path,
                files,
                self.shutdown.clone(),
            ));
        }
        // When it is full the runtime's stream waits: no event is lost.
        let (waker, mut wakes) = mpsc::channel(256);
        let follow = events::follow(self.context.clone(), waker, self.shutdown.clone());
        let follower = tokio::spawn(follow);
        let source = Source::new("", "v1", "pods").fields(&format!(
            "spec.nodeName={}",
            self.context.settings.node_name
        ));
        let mut pods = Box::pin(informer::watch::<ApiPod>(
            self.context.client.clone(),
            source,
        ));
        let mut network = self.context.network.subscribe();
        loop {
            tokio::select! {
                Some(event) = pods.next() => self.take_api(event).await,
                Some(list) = from_files.recv() => self.take_files(list).await,
                Some(wake) = wakes.recv() => self.wake(&wake),
                Some(joined) = self.workers.join_next(), if !self.workers.is_empty() => self.take_end(joined).await,
                Ok(()) = network.changed() => self.wake(&Wake::All),
                () = self.shutdown.cancelled() => break,
            }
            if self.api_listed && self.files_listed && !self.swept {
                self.swept = true;
                self.sweep().await;
            }
        }
        follower.abort();
        while self.workers.join_next().await.is_some() {}
    }

    async fn take_api(&mut self, event: Event<ApiPod>) {
        match event {
            Event::Restarted(list) => {
                self.api_listed = true;
                let listed: HashSet<String> = list
                    .iter()
                    .filter_map(|pod| pod.0.metadata.uid.clone())
                    .collect();
                let vanished: Vec<String> = self
                    .api
                    .keys()
                    .filter(|uid| !listed.contains(*uid))
                    .cloned()
                    .collect();
                for uid in vanished {
                    self.api.remove(&uid);
                    self.vanish(&uid);
                }
                self.mirrors.retain(|_, (uid, _)| listed.contains(uid));
                let mut list: Vec<Pod> = list.into_iter().map(|pod| pod.0).collect();
                list.sort_by_cached_key(admission::order);
                for pod in list {
                    self.apply(pod).await;
                }
                self.sync_mirrors();
            }
            Event::Applied(pod) => self.apply(pod.0).await,
            Event::Deleted(pod) => {
                if names::is_mirror(&pod.0) {
                    self.mirrors.remove(&key(&pod.0));
                    self.sync_mirrors();
                } else {
                    let uid = model::uid(&pod.0).to_owned();
                    self.api.remove(&uid);
                    self.vanish(&uid);
                }
            }
        }
    }

    async fn apply(&mut self, pod: Pod) {
        if names::is_mirror(&pod) {
            self.apply_mirror(&pod);
            return;
        }
        let pod = Arc::new(pod);
        self.api.insert(model::uid(&pod).to_owned(), pod.clone());
        self.desire(pod).await;
    }

    /// Hands a pod to its worker, or gives it one.
    async fn desire(&mut self, pod: Arc<Pod>) {
        let uid = model::uid(&pod).to_owned();
        let known = self.handles.read().get(&uid).cloned();
        match known {
            Some(handle) => {
                handle.desired.send_replace(Desired { pod, gone: false });
            }
            None => self.admit(uid, pod).await,
        }
    }

    /// Gives a new pod its worker: one that runs it, or one that tells why it may not run.
    async fn admit(&mut self, uid: String, pod: Arc<Pod>) {
        let failure = admission::failure(&self.context, &self.handles, &pod).await;
        self.spawn(uid, pod, failure, false);
    }

    fn spawn(&mut self, uid: String, pod: Arc<Pod>, failure: Option<Failure>, gone: bool) {
        let (worker, handle) = Worker::new(
            self.context.clone(),
            pod.clone(),
            failure,
            self.shutdown.clone(),
        );
        if gone {
            handle.desired.send_replace(Desired { pod, gone });
        }
        self.handles.write().insert(uid.clone(), handle);
        self.workers.spawn(async move { (uid, worker.run().await) });
    }

    fn vanish(&self, uid: &str) {
        if let Some(handle) = self.handles.read().get(uid) {
            handle.desired.send_modify(|desired| desired.gone = true);
        }
    }

    async fn take_end(&mut self, joined: Result<(String, bool), tokio::task::JoinError>) {
        match joined {
            Ok((uid, _left)) => {
                self.handles.write().remove(&uid);
                // A static pod of the same name may have waited for this one's end.
                self.start_statics().await;
            }
            Err(error) => tracing::error!(%error, "a pod's worker panicked"),
        }
    }

    async fn take_files(&mut self, list: Vec<Pod>) {
        self.files_listed = true;
        let listed: HashMap<String, Arc<Pod>> = list
            .into_iter()
            .map(|pod| (model::uid(&pod).to_owned(), Arc::new(pod)))
            .collect();
        for uid in self.statics.keys().filter(|uid| !listed.contains_key(*uid)) {
            self.vanish(uid);
        }
        self.statics = listed;
        self.start_statics().await;
        self.sync_mirrors();
    }

    /// Starts static pods whose names are free: an older pod of the name ends first.
    async fn start_statics(&mut self) {
        for (uid, pod) in self.statics.clone() {
            let taken =
                self.handles.read().iter().any(|(other, handle)| {
                    *other == uid || key(&handle.current.read()) == key(&pod)
                });
            if !taken {
                self.admit(uid, pod).await;
            }
        }
    }

    fn apply_mirror(&mut self, mirror: &Pod) {
        let hash = names::annotation(mirror, names::CONFIG_MIRROR)
            .unwrap_or_default()
            .to_owned();
        self.mirrors
            .insert(key(mirror), (model::uid(mirror).to_owned(), hash.clone()));
        let known = self.statics.get(&hash).cloned();
        match known {
            Some(pod) if mirror.metadata.deletion_timestamp.is_none() => {
                // The worker compares its status with the mirror's.
                let mut pod = (*pod).clone();
                pod.status.clone_from(&mirror.status);
                if let Some(handle) = self.handles.read().get(&hash) {
                    handle.desired.send_replace(Desired {
                        pod: Arc::new(pod),
                        gone: false,
                    });
                }
            }
            _ => self.delete_mirror(mirror),
        }
    }

    /// Creates the mirrors that are missing.
    fn sync_mirrors(&self) {
        if !self.api_listed {
            return;
        }
        for pod in self.statics.values() {
            if self.mirrors.contains_key(&key(pod)) {
                continue;
            }
            let context = self.context.clone();
            let pod = pod.clone();
            tokio::spawn(async move {
                let path = rest::path("", "v1", model::namespace(&pod), "pods", "");
                let created = rest::create::<Value>(&context.client, &path, &mirror_of(&pod)).await;
                if let Err(error) = created.as_ref().map_err(ToString::to_string) {
                    tracing::warn!(pod = %model::describe(&pod), error, "cannot mirror the static pod");
                }
            });
        }
        for (name, (uid, hash)) in &self.mirrors {
            if !self.statics.contains_key(hash) {
                let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
                self.delete_object(namespace, name, uid);
            }
        }
    }

    fn delete_mirror(&self, mirror: &Pod) {
        self.delete_object(
            model::namespace(mirror),
            model::name(mirror),
            model::uid(mirror),
        );
    }

    fn delete_object(&self, namespace: &str, name: &str, uid: &str) {
        let path = rest::path("", "v1", namespace, "pods", name);
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
        let client = self.context.client.clone();
        tokio::spawn(async move {
            if let Err(error) = rest::delete(&client, &path, &options).await {
                tracing::debug!(path, %error, "cannot delete the mirror pod");
            }
        });
    }

    fn wake(&self, wake: &Wake) {
        let handles = self.handles.read();
        let Wake::One { id, ended } = wake else {
            handles.values().for_each(|handle| handle.wake.notify_one());
            return;
        };
        let owns = |handle: &&Handle| {
            let observed = handle.observed.read();
            observed
                .containers
                .iter()
                .any(|container| container.id == *id)
                || observed.sandboxes.iter().any(|sandbox| sandbox.id == *id)
        };
        let mut woken: Vec<&Handle> = handles.values().filter(owns).collect();
        if woken.is_empty() {
            // It belongs to a worker that has not seen it yet.
            woken.extend(
                handles
                    .values()
                    .filter(|handle| handle.busy.load(Ordering::Acquire)),
            );
        }
        for handle in woken {
            if *ended {
                handle.ended.lock().insert(id.clone(), 0);
            }
            handle.wake.notify_one();
        }
    }

    /// Ends pods that an earlier kubelet ran and nobody wants any more, once it is known
    /// what is wanted.
    async fn sweep(&mut self) {
        let sandboxes = loop {
            match observe::list_sandboxes(&self.context.cri, BTreeMap::new()).await {
                Ok(list) => break list,
                Err(error) => tracing::warn!(%error, "cannot list sandboxes"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = self.shutdown.cancelled() => return,
            }
        };
        for sandbox in sandboxes {
            let Some(metadata) = sandbox.metadata else {
                continue;
            };
            if metadata.uid.is_empty() || self.handles.read().contains_key(&metadata.uid) {
                continue;
            }
            tracing::info!(
                pod = metadata.name,
                uid = metadata.uid,
                "ending a pod that nobody wants"
            );
            // Its own wish is not known any more; upstream gives such pods a second, too.
            let spec = PodSpec {
                termination_grace_period_seconds: Some(1),
                ..PodSpec::default()
            };
            let mut pod = Pod {
                spec: Some(spec),
                ..Pod::default()
            };
            pod.metadata.name = Some(metadata.name);
            pod.metadata.namespace = Some(metadata.namespace);
            pod.metadata.uid = Some(metadata.uid.clone());
            self.spawn(metadata.uid, Arc::new(pod), None, true);
        }
        self.sweep_directories();
    }

    fn sweep_directories(&self) {
        let root = self.context.settings.root.join("pods");
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if self.handles.read().contains_key(&uid) {
                continue;
            }
            if let Err(error) = crate::volumes::remove_pod_directory(&entry.path(), &uid) {
                tracing::warn!(error, "cannot remove a pod's directory");
            }
        }
    }
}

fn key(pod: &Pod) -> String {
    format!("{}/{}", model::namespace(pod), model::name(pod))
}

/// The object by which the API shows a static pod.
fn mirror_of(pod: &Pod) -> Pod {
    let mut mirror = pod.clone();
    let uid = mirror.metadata.uid.take().unwrap_or_default();
    let annotations = mirror.metadata.annotations.get_or_insert_default();
    annotations.insert(names::CONFIG_MIRROR.to_owned(), uid);
    mirror
}
