//! Small resources that admission looks at with every request, kept at hand when the store is across a network: a
//! created pod then costs one round trip, not five. Over a store in memory there is nothing to keep.
//!
//! Invariant: a view may lag behind the store, as upstream's informers do; what it lacks is asked of the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use fluyt_api::status::Status;
use fluyt_store::Store;
use parking_lot::RwLock;
use serde_json::Value;

use crate::core::Core;
use crate::stored;

type Gvr<'a> = (&'a str, &'a str, &'a str);

/// What is kept at hand.
pub(crate) const KEPT: [Gvr<'static>; 7] = [
    ("", "v1", "namespaces"),
    ("", "v1", "serviceaccounts"),
    ("", "v1", "limitranges"),
    ("", "v1", "resourcequotas"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("storage.k8s.io", "v1", "storageclasses"),
    ("networking.k8s.io", "v1", "ingressclasses"),
];

type View = RwLock<BTreeMap<Arc<str>, Bytes>>;

/// The views by storage prefix; none over a store in memory.
#[derive(Default)]
pub(crate) struct Views(HashMap<&'static str, View>);

impl Views {
    /// Views if the store cannot answer without waiting.
    pub(crate) fn for_store(store: &dyn Store) -> Self {
        if store.try_revision().is_some() {
            return Views::default();
        }
        let prefixes = KEPT.iter().map(|gvr| stored::builtin(*gvr).storage_prefix);
        Views(prefixes.map(|prefix| (prefix, View::default())).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in an object's new state.
    pub(crate) fn observe(&self, key: &Arc<str>, value: Option<&Bytes>) {
        let view = self.0.iter().find(|(prefix, _)| {
            key.strip_prefix(**prefix)
                .is_some_and(|rest| rest.starts_with('/'))
        });
        if let Some((_, view)) = view {
            match value {
                Some(value) => view.write().insert(key.clone(), value.clone()),
                None => view.write().remove(key),
            };
        }
    }
}

/// One object, from its view if it is there.
pub(crate) async fn find(
    core: &Core,
    gvr: Gvr<'_>,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Status> {
    let resource = stored::builtin(gvr);
    if let Some(view) = core.views.0.get(resource.storage_prefix) {
        let key = stored::key(resource, namespace, name);
        let value = view.read().get(key.as_str()).cloned();
        if let Some(value) = value {
            return stored::object(resource, &value).map(Some);
        }
    }
    stored::find(&*core.store, gvr, namespace, name).await
}

/// The bytes of all objects of a resource in a namespace, or everywhere.
pub(crate) async fn all(core: &Core, gvr: Gvr<'_>, namespace: &str) -> Result<Vec<Bytes>, Status> {
    let resource = stored::builtin(gvr);
    let prefix = stored::prefix(resource, namespace);
    if let Some(view) = core.views.0.get(resource.storage_prefix) {
        let view = view.read();
        let from: Arc<str> = prefix.as_str().into();
        let values = view
            .range(from..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(_, value)| value.clone());
        return Ok(values.collect());
    }
    let page = stored::range(&*core.store, &prefix, None, None, 0)
        .await
        .map_err(|error| stored::failure(&error))?;
    Ok(page.entries.into_iter().map(|entry| entry.value).collect())
}

/// As [`all`], decoded.
pub(crate) async fn objects(
    core: &Core,
    gvr: Gvr<'_>,
    namespace: &str,
) -> Result<Vec<Value>, Status> {
    let resource = stored::builtin(gvr);
    all(core, gvr, namespace)
        .await?
        .iter()
        .map(|value| stored::object(resource, value))
        .collect()
}
