//! Watches what scheduling depends on, and hands batches of changes to the driver.
//!
//! Pods that have finished are not watched, as upstream: the field selector turns their end into a deletion.

use std::time::Duration;

use fluyt_client::informer::{self, Event, Slim, Source};
use fluyt_client::kube::Client;
use fluyt_client::rest;
use fluyt_scheduler_core::cluster::devices::objects::{DeviceClass, ResourceClaim, ResourceSlice};
use fluyt_scheduler_core::gangs::PodGroup;
use fluyt_scheduler_core::objects::{
    Meta, Namespace, Node, Pod, PodDisruptionBudget, ReplicationController, Service, Workload,
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::storage::{self, StorageInput};

/// Batches that wait for the driver; informers wait when it is full.
const INPUTS: usize = 256;

/// An object of the core's, as an informer's.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Seen<T>(pub T);

pub trait HasMeta {
    fn meta(&self) -> &Meta;
}

macro_rules! has_meta {
    ($($kind:ty),*) => {
        $(impl $crate::informers::HasMeta for $kind {
            fn meta(&self) -> &fluyt_scheduler_core::objects::Meta {
                &self.metadata
            }
        })*
    };
}

pub(crate) use has_meta;

has_meta!(
    Pod,
    Node,
    Namespace,
    Service,
    Workload,
    ReplicationController,
    PodDisruptionBudget,
    ResourceClaim,
    ResourceSlice,
    DeviceClass,
    PodGroup
);

impl<T: HasMeta + DeserializeOwned + Send + Sync + 'static> Slim for Seen<T> {
    fn resource_version(&self) -> &str {
        &self.0.meta().resource_version
    }
}

/// How often a server is asked for a kind that it does not know, and for one when it does not answer.
const UPGRADE: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(1);

type Batch<T> = Vec<Event<Seen<T>>>;

/// One kind of object and what happened to some of them. A recording keeps it as it is.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Input {
    Pods(Batch<Pod>),
    Nodes(Batch<Node>),
    Namespaces(Batch<Namespace>),
    Services(Batch<Service>),
    ReplicaSets(Batch<Workload>),
    StatefulSets(Batch<Workload>),
    ReplicationControllers(Batch<ReplicationController>),
    Budgets(Batch<PodDisruptionBudget>),
    Storage(StorageInput),
    ResourceClaims(Batch<ResourceClaim>),
    ResourceSlices(Batch<ResourceSlice>),
    DeviceClasses(Batch<DeviceClass>),
    PodGroups(Batch<PodGroup>),
}

/// How many kinds of objects there are beside those of storage: decisions wait until each was listed.
pub const KINDS: usize = 12;

/// `storage`: claims, volumes and the like are watched too. `gangs`: pod groups matter.
pub fn start(
    client: &Client,
    storage: bool,
    gangs: bool,
    stop: &CancellationToken,
) -> (mpsc::Receiver<Input>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(INPUTS);
    let mut tasks = JoinSet::new();
    let unfinished = "status.phase!=Succeeded,status.phase!=Failed";
    let pods = Source::new("", "v1", "pods").fields(unfinished);
    let mut spawn = Spawn {
        client,
        stop,
        sender: &sender,
        tasks: &mut tasks,
    };
    spawn.watch(pods, Input::Pods);
    spawn.watch(Source::new("", "v1", "nodes"), Input::Nodes);
    spawn.watch(Source::new("", "v1", "namespaces"), Input::Namespaces);
    spawn.watch(Source::new("", "v1", "services"), Input::Services);
    spawn.watch(Source::new("apps", "v1", "replicasets"), Input::ReplicaSets);
    spawn.watch(
        Source::new("apps", "v1", "statefulsets"),
        Input::StatefulSets,
    );
    spawn.watch(
        Source::new("", "v1", "replicationcontrollers"),
        Input::ReplicationControllers,
    );
    spawn.watch(
        Source::new("policy", "v1", "poddisruptionbudgets"),
        Input::Budgets,
    );
    if storage {
        storage::watch(&mut spawn);
    }
    let devices = |plural| Source::new("resource.k8s.io", "v1", plural);
    spawn.watch_if_served(devices("resourceclaims"), Input::ResourceClaims);
    spawn.watch_if_served(devices("resourceslices"), Input::ResourceSlices);
    spawn.watch_if_served(devices("deviceclasses"), Input::DeviceClasses);
    let groups = Source::new("scheduling.k8s.io", "v1alpha2", "podgroups");
    match gangs {
        true => spawn.watch_if_served(groups, Input::PodGroups),
        // Informers wait for room, the driver has not begun: this is taken with the first of theirs.
        false => drop(sender.try_send(Input::PodGroups(Vec::new()))),
    }
    (receiver, tasks)
}

pub struct Spawn<'a> {
    client: &'a Client,
    stop: &'a CancellationToken,
    sender: &'a mpsc::Sender<Input>,
    tasks: &'a mut JoinSet<()>,
}

impl Spawn<'_> {
    /// As [`Self::watch`], for kinds that not every supported server has.
    fn watch_if_served<T: HasMeta + DeserializeOwned + Send + Sync + 'static>(
        &mut self,
        source: Source,
        wrap: fn(Batch<T>) -> Input,
    ) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        let stop = self.stop.clone();
        let watch = async move {
            if wait_until_served(&client, &source, &sender, wrap).await {
                follow(client, source, sender, wrap).await;
            }
        };
        self.tasks.spawn(async move {
            stop.run_until_cancelled(watch).await;
        });
    }

    pub fn watch<T: HasMeta + DeserializeOwned + Send + Sync + 'static>(
        &mut self,
        source: Source,
        wrap: fn(Batch<T>) -> Input,
    ) {
        // An older server lacks some of them.
        let source = source.optional();
        let watch = follow(self.client.clone(), source, self.sender.clone(), wrap);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(watch).await;
        });
    }
}

/// While the server does not know the kind there is nothing of it; a server that is upgraded is noticed. False: nobody listens.
async fn wait_until_served<T: HasMeta + DeserializeOwned + Send + Sync + 'static>(
    client: &Client,
    source: &Source,
    sender: &mpsc::Sender<Input>,
    wrap: fn(Batch<T>) -> Input,
) -> bool {
    let mut told = false;
    loop {
        match is_served(client, source).await {
            Ok(true) => return true,
            Ok(false) => {
                if !told
                    && sender
                        .send(wrap(vec![Event::Restarted(Vec::new())]))
                        .await
                        .is_err()
                {
                    return false;
                }
                told = true;
                tokio::time::sleep(UPGRADE).await;
            }
            Err(error) => {
                tracing::debug!("discovery of {}: {error}", source.plural);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

#[derive(Deserialize)]
struct Served {
    #[serde(default)]
    resources: Vec<ServedResource>,
}

#[derive(Deserialize)]
struct ServedResource {
    name: String,
}

async fn is_served(client: &Client, source: &Source) -> Result<bool, fluyt_client::kube::Error> {
    let path = rest::path(&source.group, &source.version, "", "", "");
    let served: Option<Served> = rest::get_opt(client, &path).await?;
    let mut resources = served.into_iter().flat_map(|served| served.resources);
    Ok(resources.any(|resource| resource.name == source.plural))
}

async fn follow<T: HasMeta + DeserializeOwned + Send + Sync + 'static>(
    client: Client,
    source: Source,
    sender: mpsc::Sender<Input>,
    wrap: fn(Batch<T>) -> Input,
) {
    let mut batches = Box::pin(informer::watch_batches::<Seen<T>>(client, source));
    while let Some(batch) = batches.next().await {
        if sender.send(wrap(batch)).await.is_err() {
            return;
        }
    }
}
