//! The hubs: one task per watched resource reads the store's watch and fills that resource's ring. Started by the
//! first watcher, kept until shutdown. Invariant: the task never waits for a watcher.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fluyt_store::{Revision, Store, StoreError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::frame::Frame;
use super::ring::Ring;

/// The chunk that the last unfiltered watcher built, for the others at the same position.
pub(crate) struct SharedChunk {
    pub(crate) scope: Arc<str>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes: Bytes,
}

/// Events of one resource.
pub(crate) struct Hub {
    pub(crate) ring: Mutex<Ring>,
    pub(crate) chunk: Mutex<Option<SharedChunk>>,
    /// Changes whenever the ring does; carries the ring's end.
    ended_at: watch::Sender<u64>,
}

impl Hub {
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.ended_at.subscribe()
    }
}

/// All hubs by storage prefix.
pub(crate) struct Hubs {
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    by_prefix: Mutex<HashMap<&'static str, Arc<Hub>>>,
}

impl Hubs {
    pub(crate) fn new(store: Arc<dyn Store>, shutdown: CancellationToken) -> Self {
        Hubs {
            store,
            shutdown,
            by_prefix: Mutex::default(),
        }
    }

    /// The hub of the resource kept under `prefix`, started now if it was not; `after` is the revision from
    /// which the first caller needs events.
    pub(crate) async fn get(
        &self,
        prefix: &'static str,
        after: Revision,
    ) -> Result<Arc<Hub>, StoreError> {
        if let Some(hub) = self.by_prefix.lock().get(prefix) {
            return Ok(hub.clone());
        }
        let stream = self.store.watch(&format!("{prefix}/"), after).await?;
        let hub = Arc::new(Hub {
            ring: Mutex::new(Ring::new(after)),
            chunk: Mutex::new(None),
            ended_at: watch::Sender::new(0),
        });
        {
            let mut hubs = self.by_prefix.lock();
            if let Some(other) = hubs.get(prefix) {
                return Ok(other.clone());
            }
            hubs.insert(prefix, hub.clone());
        }
        let task = Feed {
            store: self.store.clone(),
            prefix,
            hub: hub.clone(),
        };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(task.run(stream)).await;
        });
        Ok(hub)
    }
}

struct Feed {
    store: Arc<dyn Store>,
    prefix: &'static str,
    hub: Arc<Hub>,
}

impl Feed {
    async fn run(self, mut stream: fluyt_store::WatchStream) {
        loop {
            self.follow(&mut stream).await;
            stream = self.reopen().await;
        }
    }

    /// Copies batches into the ring until the store ends the stream.
    async fn follow(&self, stream: &mut fluyt_store::WatchStream) {
        while let Some(batch) = stream.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::debug!(prefix = self.prefix, %error, "the store ended a watch");
                    return;
                }
            };
            let end = {
                let mut ring = self.hub.ring.lock();
                for event in batch.events {
                    ring.push(Arc::new(Frame::new(event)));
                }
                ring.advance(batch.revision, Instant::now());
                ring.end()
            };
            self.hub.ended_at.send_if_modified(|known| {
                let changed = *known != end;
                *known = end;
                changed
            });
        }
    }

    /// Watches again where the ring ends, or, when the store no longer reaches back to there, from now on with an
    /// empty ring: the watchers notice and list again.
    async fn reopen(&self) -> fluyt_store::WatchStream {
        let prefix = format!("{}/", self.prefix);
        let mut pause = Duration::from_millis(20);
        loop {
            let after = self.hub.ring.lock().progress();
            match self.store.watch(&prefix, after).await {
                Ok(stream) => return stream,
                Err(StoreError::Compacted { .. } | StoreError::FutureRevision { .. }) => {
                    if let Ok(revision) = self.store.revision().await {
                        let end = {
                            let mut ring = self.hub.ring.lock();
                            ring.reset(revision);
                            ring.end()
                        };
                        self.hub.ended_at.send_replace(end);
                    }
                }
                Err(error) => {
                    tracing::debug!(prefix = self.prefix, %error, "the store refuses a watch");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}
