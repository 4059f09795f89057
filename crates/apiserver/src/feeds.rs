//! Small views of the store that decisions need at once: the RBAC index and what services hold. Each is filled
//! before the server is ready and follows the store's watch from there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fluyt_api::catalogue::Resource;
use fluyt_store::{EventKind, Revision};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::authz::rbac::Kind;
use crate::core::Core;
use crate::stored;
use crate::views;

/// Takes in one object's new state, or that it is gone.
type Take = fn(&Core, &Arc<str>, Option<&Bytes>);

const RBAC: &str = "rbac.authorization.k8s.io";

/// Fills all views and keeps them up to date until shutdown.
pub(crate) async fn start(core: &Arc<Core>, tasks: &TaskTracker) -> anyhow::Result<()> {
    let mut feeds: Vec<((&str, &str, &str), Take)> = vec![(("", "v1", "services"), service)];
    if core.authorizer.uses_rbac() {
        feeds.extend([
            ((RBAC, "v1", "roles"), role as Take),
            ((RBAC, "v1", "clusterroles"), role as Take),
            ((RBAC, "v1", "rolebindings"), binding as Take),
            ((RBAC, "v1", "clusterrolebindings"), binding as Take),
        ]);
    }
    if !core.views.is_empty() {
        feeds.extend(views::KEPT.map(|gvr| (gvr, view as Take)));
    }
    for (gvr, take) in feeds {
        let feed = Feed {
            core: core.clone(),
            resource: stored::builtin(gvr),
            take,
        };
        let mut known = BTreeSet::new();
        let revision = feed.fill(&mut known).await?;
        let shutdown = core.shutdown.clone();
        tasks.spawn(async move {
            shutdown
                .run_until_cancelled(feed.follow(revision, known))
                .await;
        });
    }
    Ok(())
}

struct Feed {
    core: Arc<Core>,
    resource: &'static Resource,
    take: Take,
}

impl Feed {
    /// Reads everything; `known` are the keys that were there before, and gets those that are there now.
    async fn fill(
        &self,
        known: &mut BTreeSet<Arc<str>>,
    ) -> Result<Revision, fluyt_store::StoreError> {
        let prefix = stored::prefix(self.resource, "");
        let page = stored::range(&*self.core.store, &prefix, None, None, 0).await?;
        let keys: BTreeSet<Arc<str>> = page.entries.iter().map(|entry| entry.key.clone()).collect();
        for gone in known.difference(&keys) {
            (self.take)(&self.core, gone, None);
        }
        for entry in &page.entries {
            (self.take)(&self.core, &entry.key, Some(&entry.value));
        }
        *known = keys;
        Ok(page.revision)
    }

    async fn follow(self, mut revision: Revision, mut known: BTreeSet<Arc<str>>) {
        let prefix = stored::prefix(self.resource, "");
        loop {
            if let Ok(mut stream) = self.core.store.watch(&prefix, revision).await {
                while let Some(Ok(batch)) = stream.next().await {
                    for event in batch.events {
                        match event.kind {
                            EventKind::Put { entry, prev } => {
                                if prev.is_none() {
                                    known.insert(entry.key.clone());
                                }
                                (self.take)(&self.core, &entry.key, Some(&entry.value));
                            }
                            EventKind::Delete { key, .. } => {
                                known.remove(&key);
                                (self.take)(&self.core, &key, None);
                            }
                        }
                    }
                    revision = revision.max(batch.revision);
                }
            }
            // The store ended the watch: what happened meanwhile is read anew.
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Ok(current) = self.fill(&mut known).await {
                revision = current;
            }
        }
    }
}

/// Namespace and name of a key.
fn names<'a>(plural_prefix: &str, key: &'a str) -> (&'a str, &'a str) {
    let rest = key
        .strip_prefix(plural_prefix)
        .unwrap_or(key)
        .trim_start_matches('/');
    rest.split_once('/').unwrap_or(("", rest))
}

fn rbac_names(key: &str) -> (&str, &str) {
    for plural in [
        "roles",
        "clusterroles",
        "rolebindings",
        "clusterrolebindings",
    ] {
        let prefix = stored::builtin((RBAC, "v1", plural)).storage_prefix;
        if key
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
        {
            return names(prefix, key);
        }
    }
    ("", key)
}

fn role(core: &Core, key: &Arc<str>, value: Option<&Bytes>) {
    let (namespace, name) = rbac_names(key);
    core.authorizer
        .rbac
        .update(Kind::Role, namespace, name, value.map(|value| &value[..]));
}

fn binding(core: &Core, key: &Arc<str>, value: Option<&Bytes>) {
    let (namespace, name) = rbac_names(key);
    core.authorizer.rbac.update(
        Kind::Binding,
        namespace,
        name,
        value.map(|value| &value[..]),
    );
}

fn service(core: &Core, key: &Arc<str>, value: Option<&Bytes>) {
    let object = value.and_then(|value| serde_json::from_slice::<Value>(value).ok());
    core.allocators.observe(key, object.as_ref());
}

fn view(core: &Core, key: &Arc<str>, value: Option<&Bytes>) {
    core.views.observe(key, value);
}
