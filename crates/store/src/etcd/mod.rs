//! Several API servers over one etcd cluster. Keys and values are as in etcd; the revision is
//! etcd's and is spliced into values as they are read.
//!
//! Invariant: every answer comes within [`client::DEADLINE`] or is `Unavailable`.

mod client;
mod convert;
mod messages;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::memory::not_empty;
use crate::store::{EntryStream, Store};
use crate::types::{
    Committed, Entry, Op, Options, Page, Precondition, Revision, SpliceFn, StoreError, splice_in,
    splice_out,
};
use crate::watch::WatchStream;
pub use client::EtcdTls;
use client::{Client, DEADLINE, Repeat};
use convert::{compare, entry_of, found, holds, operations, prefix_end, put, read};
use messages::{
    CompactionRequest, CompactionResponse, RangeRequest, RangeResponse, Response, ResponseOp,
    StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use watch::{CancelOnDrop, Command, Hub, WATCHER_QUEUE, Watcher, watched_prefix};

const COMMANDS: usize = 1024;
const SNAPSHOT_PAGE: usize = 1000;
/// Written to raise etcd's revision above that of a restored snapshot, and deleted again.
const FILLER_KEY: &str = "fluyt/restore";
/// etcd's own defaults allow 128 operations and 1.5 MiB in one request.
const RESTORE_OPS: usize = 100;
const RESTORE_BYTES: usize = 1 << 20;

/// Connects to an etcd cluster. `prefix` (for example `/registry/`) is what a snapshot covers
/// and a restore wants empty; keys are given whole everywhere.
///
/// Errors: `Invalid` for an endpoint that is no URL, `Unavailable` if none answers in 10 s.
pub async fn etcd(
    endpoints: &[String],
    tls: Option<&EtcdTls>,
    prefix: &str,
    options: &Options,
) -> Result<Arc<dyn Store>, StoreError> {
    let client = Arc::new(Client::new(endpoints, tls)?);
    let path = "/etcdserverpb.Maintenance/Status";
    let status: StatusResponse = client.call(path, StatusRequest {}, Repeat::Safe).await?;
    tracing::info!(version = %status.version, ?endpoints, "connected to etcd");
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let splice = options.splice;
    let hub = Hub {
        client: client.clone(),
        splice,
        commands: receiver,
        watchers: HashMap::new(),
    };
    let hub = tokio::spawn(hub.run()).abort_handle();
    let inner = Inner {
        client,
        prefix: prefix.to_owned(),
        splice,
    };
    Ok(Arc::new(Etcd {
        inner: Arc::new(inner),
        commands: RwLock::new(Some(commands)),
        hub,
        next_watch: AtomicI64::new(1),
    }))
}

struct Etcd {
    inner: Arc<Inner>,
    /// `None` once closed.
    commands: RwLock<Option<mpsc::Sender<Command>>>,
    hub: tokio::task::AbortHandle,
    next_watch: AtomicI64,
}

struct Inner {
    client: Arc<Client>,
    prefix: String,
    splice: SpliceFn,
}

impl Inner {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        self.client
            .call("/etcdserverpb.KV/Range", request, Repeat::Safe)
            .await
    }

    async fn page(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        revision: Option<Revision>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let prefix_bytes = watched_prefix(prefix);
        let key = match start_after {
            Some(after) if after >= prefix => [after.as_bytes(), &[0]].concat(),
            _ => prefix_bytes.clone(),
        };
        let range_end = prefix_end(&prefix_bytes);
        if range_end.len() > 1 && key >= range_end {
            // Past the prefix: etcd would refuse a range that ends before it begins.
            let revision = self.revision_at_least(revision).await?;
            return Ok(Page {
                entries: Vec::new(),
                revision,
                more: false,
                remaining: Some(0),
            });
        }
        let request = RangeRequest {
            key,
            range_end,
            limit: limit as i64,
            revision: revision.unwrap_or(0) as i64,
            ..RangeRequest::default()
        };
        let response = self.range(request).await?;
        let remaining = response
            .count
            .saturating_sub(response.kvs.len() as i64)
            .max(0) as u64;
        let header = response.header.map_or(0, |header| header.revision) as Revision;
        let entries = response
            .kvs
            .into_iter()
            .map(|kv| entry_of(kv, self.splice))
            .collect();
        Ok(Page {
            entries,
            revision: revision.unwrap_or(header),
            more: response.more,
            remaining: Some(if response.more { remaining } else { 0 }),
        })
    }

    async fn revision_at_least(&self, revision: Option<Revision>) -> Result<Revision, StoreError> {
        let current = self.revision().await?;
        match revision {
            Some(wanted) if wanted > current => Err(StoreError::FutureRevision { current }),
            wanted => Ok(wanted.unwrap_or(current)),
        }
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        // A key that is never there: a linearized read of nothing but the header.
        let request = RangeRequest {
            key: vec![0],
            ..RangeRequest::default()
        };
        let response = self.range(request).await?;
        Ok(response.header.map_or(0, |header| header.revision) as Revision)
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        let key = watched_prefix(prefix);
        let range_end = prefix_end(&key);
        let request = RangeRequest {
            key,
            range_end,
            count_only: true,
            ..RangeRequest::default()
        };
        Ok(self.range(request).await?.count as u64)
    }

    async fn commit(&self, ops: &[Op]) -> Result<Committed, StoreError> {
        let conditional = || {
            ops.iter()
                .filter(|op| op.precondition() != Precondition::None)
        };
        let request = TxnRequest {
            compare: conditional().filter_map(compare).collect(),
            success: ops.iter().flat_map(operations).collect(),
            failure: conditional().map(|op| read(op.key(), false)).collect(),
        };
        let path = "/etcdserverpb.KV/Txn";
        let answer: TxnResponse = self
            .client
            .call(path, request, Repeat::OnlyIfNotSent)
            .await?;
        let revision = answer.header.map_or(0, |header| header.revision) as Revision;
        let mut responses = answer.responses.into_iter();
        if answer.succeeded {
            let entries = ops
                .iter()
                .map(|op| self.committed(op, revision, &mut responses));
            return Ok(Committed {
                revision,
                entries: entries.collect(),
            });
        }
        for (index, op) in ops.iter().enumerate() {
            if op.precondition() == Precondition::None {
                continue;
            }
            let current = found(responses.next()).map(|kv| entry_of(kv, self.splice));
            if !holds(op.precondition(), current.as_ref()) {
                return Err(StoreError::PreconditionFailed { index, current });
            }
        }
        Err(StoreError::Unavailable(
            "etcd refused a transaction whose conditions hold".into(),
        ))
    }

    fn committed(
        &self,
        op: &Op,
        revision: Revision,
        responses: &mut impl Iterator<Item = ResponseOp>,
    ) -> Option<Entry> {
        let response = responses.next();
        match op {
            Op::Put {
                key,
                value,
                precondition,
                ..
            } => {
                let create_revision = match precondition {
                    Precondition::Absent => revision,
                    _ => found(responses.next())?.create_revision as Revision,
                };
                let value = splice_in(self.splice, value.clone(), revision);
                let key = Arc::from(key.as_str());
                Some(Entry {
                    key,
                    value,
                    create_revision,
                    mod_revision: revision,
                })
            }
            Op::Delete { .. } => match response?.response? {
                Response::DeleteRange(deleted) => {
                    Some(entry_of(deleted.prev_kvs.into_iter().next()?, self.splice))
                }
                _ => None,
            },
        }
    }

    /// Pages of everything under the store's prefix at one revision.
    fn entries(self: Arc<Self>, revision: Revision) -> EntryStream {
        let pages = stream::try_unfold(Some(None::<Arc<str>>), move |place| {
            let inner = self.clone();
            async move {
                let Some(after) = place else { return Ok(None) };
                let at = Some(revision);
                let page = inner
                    .page(&inner.prefix, after.as_deref(), at, SNAPSHOT_PAGE)
                    .await?;
                let last = page.entries.last().map(|entry| Some(entry.key.clone()));
                let next = if page.more { last } else { None };
                Ok::<_, StoreError>(Some((stream::iter(page.entries.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn restore(&self, entries: EntryStream, revision: Revision) -> Result<(), StoreError> {
        if self.count(&self.prefix).await? > 0 {
            return Err(not_empty());
        }
        let mut entries = entries;
        let (mut ops, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = entries.next().await {
            let Entry {
                key,
                value,
                mod_revision,
                ..
            } = entry?;
            let value = splice_out(self.splice, &value, mod_revision);
            bytes += key.len() + value.len();
            ops.push(put(key.to_string(), value, Precondition::Absent));
            if ops.len() == RESTORE_OPS || bytes > RESTORE_BYTES {
                self.commit(&std::mem::take(&mut ops)).await?;
                bytes = 0;
            }
        }
        if !ops.is_empty() {
            self.commit(&ops).await?;
        }
        self.raise_to(revision).await
    }

    /// etcd's counter cannot be set, only moved by writes.
    async fn raise_to(&self, revision: Revision) -> Result<(), StoreError> {
        let current = self.revision().await?;
        if current >= revision {
            return Ok(());
        }
        tracing::info!(from = current, to = revision, "raising etcd's revision");
        let filler = || [put(FILLER_KEY.into(), Bytes::new(), Precondition::None)];
        let writes =
            stream::iter(current..revision).map(|_| async move { self.commit(&filler()).await });
        writes
            .buffer_unordered(256)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        let delete = Op::Delete {
            key: FILLER_KEY.into(),
            precondition: Precondition::None,
        };
        self.commit(&[delete]).await.map(drop)
    }
}

impl Etcd {
    fn open(&self) -> Result<mpsc::Sender<Command>, StoreError> {
        self.commands.read().clone().ok_or(StoreError::Closed)
    }
}

#[async_trait]
impl Store for Etcd {
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        self.open()?;
        if ops.is_empty() {
            let revision = self.inner.revision().await?;
            return Ok(Committed {
                revision,
                entries: Vec::new(),
            });
        }
        self.inner.commit(&ops).await
    }

    async fn get(&self, key: &str) -> Result<(Option<Entry>, Revision), StoreError> {
        self.open()?;
        let request = RangeRequest {
            key: key.as_bytes().to_vec(),
            ..RangeRequest::default()
        };
        let response = self.inner.range(request).await?;
        let revision = response.header.map_or(0, |header| header.revision) as Revision;
        let entry = response
            .kvs
            .into_iter()
            .next()
            .map(|kv| entry_of(kv, self.inner.splice));
        Ok((entry, revision))
    }

    async fn range(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        revision: Option<Revision>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.open()?;
        self.inner.page(prefix, start_after, revision, limit).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        self.open()?;
        self.inner.count(prefix).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError> {
        let commands = self.open()?;
        let id = self.next_watch.fetch_add(1, Ordering::Relaxed);
        let (batches, receiver) = mpsc::channel(WATCHER_QUEUE);
        let (created, stands) = oneshot::channel();
        let guard = CancelOnDrop {
            id,
            commands: commands.clone(),
        };
        let watcher = Watcher {
            prefix: watched_prefix(prefix),
            next: after as i64 + 1,
            batches,
            created: Some(created),
        };
        let gone = |_| StoreError::Closed;
        commands
            .send(Command::Watch { id, watcher })
            .await
            .map_err(gone)?;
        let late = |_| StoreError::Unavailable("etcd did not start a watch in time".into());
        let stands = tokio::time::timeout(DEADLINE, stands).await.map_err(late)?;
        // A watch that was refused says why in its stream.
        if let Ok(current) = stands
            && after > current
        {
            return Err(StoreError::FutureRevision { current });
        }
        Ok(WatchStream::remote(receiver, Box::new(guard)))
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.open()?;
        self.inner.revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.open()?;
        let request = CompactionRequest {
            revision: revision as i64,
        };
        let path = "/etcdserverpb.KV/Compact";
        match self
            .inner
            .client
            .call::<_, CompactionResponse>(path, request, Repeat::Safe)
            .await
        {
            // Somebody else was first.
            Ok(_) | Err(StoreError::Compacted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn snapshot(&self) -> Result<(Revision, EntryStream), StoreError> {
        self.open()?;
        let revision = self.inner.revision().await?;
        Ok((revision, self.inner.clone().entries(revision)))
    }

    async fn restore(&self, entries: EntryStream, revision: Revision) -> Result<(), StoreError> {
        self.open()?;
        self.inner.restore(entries, revision).await
    }

    async fn close(&self) {
        self.commands.write().take();
        self.hub.abort();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.hub.abort();
    }
}
