//! Config maps and secrets that pods use, and no others: each is watched by name while a
//! pod refers to it, and the pod's worker is woken when it changes.

use fluyt_client::informer::{self, Event, Slim, Source};
use futures::StreamExt;
use kube::Client;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long a pod waits for an object before it says that it does.
const WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// An object's keys and bytes.
pub(crate) type Content = Arc<BTreeMap<String, Vec<u8>>>;

#[derive(Clone, Debug, PartialEq)]
enum Lookup {
    Unknown,
    Missing,
    Found(Content),
}

struct Entry {
    state: watch::Receiver<Lookup>,
    users: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    task: tokio::task::AbortHandle,
}

/// The objects in use.
pub(crate) struct Objects {
    client: Client,
    entries: Mutex<HashMap<Key, Entry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimMeta {
    resource_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimObject {
    #[serde(default)]
    metadata: SlimMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
}

impl Slim for SlimObject {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Objects {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            entries: Mutex::new(HashMap::new()),
        }
    }

    /// The object's content for a pod; `None` if it does not exist. The pod's `wake` is
    /// notified of every later change until [`Objects::release`].
    pub async fn get(
        &self,
        key: &Key,
        uid: &str,
        wake: &Arc<Notify>,
    ) -> Result<Option<Content>, String> {
        let mut state = self.acquire(key, uid, wake);
        let known =
            tokio::time::timeout(WAIT, state.wait_for(|state| *state != Lookup::Unknown)).await;
        match known {
            Ok(Ok(state)) => match &*state {
                Lookup::Found(content) => Ok(Some(content.clone())),
                _ => Ok(None),
            },
            _ => Err(format!(
                "timed out waiting for {} {}/{}",
                noun(key.kind),
                key.namespace,
                key.name
            )),
        }
    }

    /// Forgets what a pod used; what nobody uses is no longer watched.
    pub fn release(&self, uid: &str) {
        self.entries.lock().retain(|_, entry| {
            let mut users = entry.users.lock();
            users.remove(uid);
            if users.is_empty() {
                entry.task.abort();
            }
            !users.is_empty()
        });
    }

    fn acquire(&self, key: &Key, uid: &str, wake: &Arc<Notify>) -> watch::Receiver<Lookup> {
        let mut entries = self.entries.lock();
        let entry = entries
            .entry(key.clone())
            .or_insert_with(|| self.start(key));
        entry.users.lock().insert(uid.to_owned(), wake.clone());
        entry.state.clone()
    }

    fn start(&self, key: &Key) -> Entry {
        let (sender, state) = watch::channel(Lookup::Unknown);
        let users: Arc<Mutex<HashMap<String, Arc<Notify>>>> = Arc::default();
        let task = tokio::spawn(follow(
            self.client.clone(),
            key.clone(),
            sender,
            users.clone(),
        ));
        Entry {
            state,
            users,
            task: task.abort_handle(),
        }
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap => "configmap",
        Kind::Secret => "secret",
    }
}

/// Keeps one object's state until aborted.
async fn follow(
    client: Client,
    key: Key,
    state: watch::Sender<Lookup>,
    users: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
) {
    let plural = match key.kind {
        Kind::ConfigMap => "configmaps",
        Kind::Secret => "secrets",
    };
    let source = Source::new("", "v1", plural)
        .namespace(&key.namespace)
        .fields(&format!("metadata.name={}", key.name));
    let mut events = std::pin::pin!(informer::watch::<SlimObject>(client, source));
    while let Some(event) = events.next().await {
        let next = match event {
            Event::Restarted(mut list) => list
                .pop()
                .map_or(Lookup::Missing, |object| found(key.kind, object)),
            Event::Applied(object) => found(key.kind, object),
            Event::Deleted(_) => Lookup::Missing,
        };
        let changed = state.send_if_modified(|current| {
            let differs = *current != next;
            *current = next;
            differs
        });
        if changed {
            users.lock().values().for_each(|wake| wake.notify_one());
        }
    }
}

fn found(kind: Kind, object: SlimObject) -> Lookup {
    let data = object.data.unwrap_or_default().into_iter();
    let mut content: BTreeMap<String, Vec<u8>> = match kind {
        Kind::ConfigMap => data.map(|(key, text)| (key, text.into_bytes())).collect(),
        Kind::Secret => data.map(|(key, text)| (key, decode(&text))).collect(),
    };
    content.extend(
        object
            .binary_data
            .into_iter()
            .flatten()
            .map(|(key, text)| (key, decode(&text))),
    );
    Lookup::Found(Arc::new(content))
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default()
}
