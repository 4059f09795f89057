//! A shared keyed cache that an informer feeds and reconciles read.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::informer::{Event, Slim};

/// A slim object with its cache key.
pub trait Keyed: Slim {
    /// `namespace/name`, or `name` when cluster-scoped.
    fn key(&self) -> String;
}

/// Objects by key; cheap to clone. `changed` keys are returned by [`Store::apply`], for queues.
pub struct Store<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    objects: RwLock<HashMap<String, Arc<T>>>,
    synced: watch::Sender<bool>,
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: RwLock::default(),
                synced: watch::Sender::new(false),
            }),
        }
    }
}

/// One object's change: what was, what is.
#[derive(Debug)]
pub struct Change<T> {
    pub key: String,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

impl<T: Keyed> Store<T> {
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.inner.objects.read().get(key).cloned()
    }

    pub fn list(&self) -> Vec<Arc<T>> {
        self.inner.objects.read().values().cloned().collect()
    }

    /// Runs over all objects without copying the list; `visit` must be quick and must not touch this store.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &Arc<T>)) {
        for (key, object) in self.inner.objects.read().iter() {
            visit(key, object);
        }
    }

    pub fn len(&self) -> usize {
        self.inner.objects.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the first list has arrived.
    pub async fn synced(&self) {
        let mut receiver = self.inner.synced.subscribe();
        // The sender lives in `self.inner`, so this cannot fail.
        let _ = receiver.wait_for(|synced| *synced).await;
    }

    pub fn is_synced(&self) -> bool {
        *self.inner.synced.borrow()
    }

    /// Takes an event in and says what changed.
    pub fn apply(&self, event: Event<T>) -> Vec<Change<T>> {
        match event {
            Event::Applied(object) => {
                let key = object.key();
                let new = Arc::new(object);
                let old = self.inner.objects.write().insert(key.clone(), new.clone());
                vec![Change {
                    key,
                    old,
                    new: Some(new),
                }]
            }
            Event::Deleted(object) => {
                let key = object.key();
                let old = self.inner.objects.write().remove(&key);
                vec![Change {
                    key,
                    old: Some(old.unwrap_or_else(|| Arc::new(object))),
                    new: None,
                }]
            }
            Event::Restarted(objects) => self.restart(objects),
        }
    }

    fn restart(&self, objects: Vec<T>) -> Vec<Change<T>> {
        let mut next = HashMap::with_capacity(objects.len());
        let mut changes = Vec::new();
        {
            let mut current = self.inner.objects.write();
            for object in objects {
                let key = object.key();
                let new = Arc::new(object);
                let old = current.remove(&key);
                next.insert(key.clone(), new.clone());
                let same = old
                    .as_ref()
                    .is_some_and(|old| old.resource_version() == new.resource_version());
                if !same {
                    changes.push(Change {
                        key,
                        old,
                        new: Some(new),
                    });
                }
            }
            for (key, old) in current.drain() {
                changes.push(Change {
                    key,
                    old: Some(old),
                    new: None,
                });
            }
            *current = next;
        }
        self.inner.synced.send_replace(true);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Thing(String, String);
    impl Slim for Thing {
        fn resource_version(&self) -> &str {
            &self.1
        }
    }
    impl Keyed for Thing {
        fn key(&self) -> String {
            self.0.clone()
        }
    }
    fn thing(key: &str, version: &str) -> Thing {
        Thing(key.into(), version.into())
    }

    #[test]
    fn a_restart_reports_what_really_changed() {
        let store = Store::default();
        assert!(!store.is_synced());
        store.apply(Event::Restarted(vec![
            thing("a", "1"),
            thing("b", "1"),
            thing("c", "1"),
        ]));
        assert!(store.is_synced());
        let changes = store.apply(Event::Restarted(vec![thing("a", "1"), thing("b", "2")]));
        let mut told: Vec<_> = changes
            .iter()
            .map(|change| (change.key.as_str(), change.new.is_some()))
            .collect();
        told.sort_unstable();
        assert_eq!(told, [("b", true), ("c", false)]);
        assert_eq!(store.len(), 2);
    }
}
