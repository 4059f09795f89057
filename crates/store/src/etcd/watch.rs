//! All watches of one store over one stream, and again over the next one when it breaks: each
//! watch remembers the first revision it has not passed on.
//!
//! A watcher that does not keep up is told `Compacted`, as if its place in the history had gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::uri::PathAndQuery;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::client::{Client, LONGEST_PAUSE, grpc};
use super::convert::{entry_of, prefix_end};
use super::messages::{
    KeyValue, WatchCancelRequest, WatchCreateRequest, WatchEventType, WatchRequest,
    WatchRequestKind, WatchResponse,
};
use crate::types::{Revision, SpliceFn, StoreError};
use crate::watch::{Batch, Event, EventKind};

/// Batches that may wait for one watcher.
pub(super) const WATCHER_QUEUE: usize = 256;
/// Requests that may wait for the stream; more means that it is stuck.
const REQUEST_QUEUE: usize = 8192;

pub(super) enum Command {
    Watch { id: i64, watcher: Watcher },
    Cancel { id: i64 },
}

pub(super) struct Watcher {
    pub(super) prefix: Vec<u8>,
    /// The first revision not yet passed on.
    pub(super) next: i64,
    pub(super) batches: mpsc::Sender<Result<Batch, StoreError>>,
    /// Answered with the server's revision when the watch stands.
    pub(super) created: Option<oneshot::Sender<Revision>>,
}

impl Watcher {
    fn create(&self, id: i64) -> WatchRequest {
        let create = WatchCreateRequest {
            key: self.prefix.clone(),
            range_end: prefix_end(&self.prefix),
            start_revision: self.next,
            progress_notify: true,
            prev_kv: true,
            watch_id: id,
        };
        WatchRequest {
            request: Some(WatchRequestKind::Create(create)),
        }
    }

    /// Whether the watcher still follows.
    fn pass_on(&mut self, batch: Batch) -> bool {
        self.next = batch.revision as i64 + 1;
        // The last place is for saying that there was no more.
        if self.batches.capacity() > 1 {
            return self.batches.try_send(Ok(batch)).is_ok();
        }
        let oldest = batch.revision;
        self.fail(StoreError::Compacted { oldest });
        false
    }

    fn fail(&self, error: StoreError) {
        let _ = self.batches.try_send(Err(error));
    }
}

/// The task behind all watches; ends when the store is dropped or closed.
pub(super) struct Hub {
    pub(super) client: Arc<Client>,
    pub(super) splice: SpliceFn,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) watchers: HashMap<i64, Watcher>,
}

/// Why one stream is over.
enum Over {
    StoreGone,
    Broken(Status),
}

impl Hub {
    pub(super) async fn run(mut self) {
        let mut pause = Duration::ZERO;
        loop {
            while self.watchers.is_empty() {
                let Some(command) = self.commands.recv().await else {
                    return;
                };
                self.take(command, None);
            }
            let status = match self.connect().await {
                Ok((requests, responses)) => {
                    if pause > Duration::ZERO {
                        tracing::info!("watching etcd again");
                    }
                    pause = Duration::ZERO;
                    match self.follow(requests, responses).await {
                        Over::StoreGone => return,
                        Over::Broken(status) => status,
                    }
                }
                Err(status) => status,
            };
            if pause.is_zero() {
                tracing::warn!(%status, "the watch stream to etcd broke; connecting again");
            }
            self.client.move_on();
            pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    /// A new stream that re-creates every watch where it stood.
    async fn connect(
        &mut self,
    ) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), Status> {
        self.watchers
            .retain(|_, watcher| !watcher.batches.is_closed());
        let first: Vec<_> = self
            .watchers
            .iter()
            .map(|(&id, watcher)| watcher.create(id))
            .collect();
        let (requests, later) = mpsc::channel(REQUEST_QUEUE);
        let requests_stream = stream::iter(first).chain(ReceiverStream::new(later));
        let connect = async {
            let mut grpc = grpc(self.client.channel());
            grpc.ready()
                .await
                .map_err(|error| Status::from_error(Box::new(error)))?;
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            grpc.streaming(Request::new(requests_stream), path, ProstCodec::default())
                .await
        };
        let timeout = tokio::time::timeout(Duration::from_secs(5), connect).await;
        let responses = timeout.map_err(|_| Status::unavailable("no answer within 5 s"))??;
        Ok((requests, responses.into_inner()))
    }

    async fn follow(
        &mut self,
        requests: mpsc::Sender<WatchRequest>,
        mut responses: Streaming<WatchResponse>,
    ) -> Over {
        loop {
            // Both branches are cancel-safe: a queue, and a stream that keeps its own buffer.
            tokio::select! {
                command = self.commands.recv() => match command {
                    None => return Over::StoreGone,
                    Some(command) => {
                        if !self.take(command, Some(&requests)) {
                            return Over::Broken(Status::unavailable("the stream takes no requests"));
                        }
                    }
                },
                response = responses.message() => match response {
                    Ok(Some(response)) => self.handle(response, &requests),
                    Ok(None) => return Over::Broken(Status::unavailable("closed by the server")),
                    Err(status) => return Over::Broken(status),
                },
            }
        }
    }

    /// `false` if the stream is stuck. Without a stream, the next one starts with it.
    fn take(&mut self, command: Command, stream: Option<&mpsc::Sender<WatchRequest>>) -> bool {
        let request = match command {
            Command::Watch { id, watcher } => {
                let request = watcher.create(id);
                self.watchers.insert(id, watcher);
                request
            }
            Command::Cancel { id } => {
                self.watchers.remove(&id);
                cancel(id)
            }
        };
        stream.is_none_or(|stream| stream.try_send(request).is_ok())
    }

    fn handle(&mut self, response: WatchResponse, requests: &mpsc::Sender<WatchRequest>) {
        let id = response.watch_id;
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return;
        };
        let revision = response.header.map_or(0, |header| header.revision) as Revision;
        if response.canceled {
            watcher.fail(cancel_error(&response));
            self.watchers.remove(&id);
            return;
        }
        if response.created {
            if let Some(created) = watcher.created.take() {
                let _ = created.send(revision);
            }
            return;
        }
        let follows = match batch_of(&response.events, revision, self.splice) {
            Some(batch) => watcher.pass_on(batch),
            None => {
                watcher.fail(StoreError::Compacted { oldest: revision });
                false
            }
        };
        if !follows {
            self.watchers.remove(&id);
            // A stuck stream is noticed by the next command.
            let _ = requests.try_send(cancel(id));
        }
    }
}

fn cancel(id: i64) -> WatchRequest {
    let cancel = WatchCancelRequest { watch_id: id };
    WatchRequest {
        request: Some(WatchRequestKind::Cancel(cancel)),
    }
}

fn cancel_error(response: &WatchResponse) -> StoreError {
    if response.compact_revision > 0 {
        return StoreError::Compacted {
            oldest: response.compact_revision as Revision,
        };
    }
    StoreError::Unavailable(format!("etcd ended a watch: {}", response.cancel_reason))
}

/// `None` if a deleted value is no longer there to be shown.
fn batch_of(
    events: &[super::messages::WatchEvent],
    header: Revision,
    splice: SpliceFn,
) -> Option<Batch> {
    let entry = |kv: &KeyValue| entry_of(kv.clone(), splice);
    let mut batch = Batch {
        revision: header,
        events: Vec::with_capacity(events.len()),
    };
    for event in events {
        let kv = event.kv.as_ref()?;
        let prev = event.prev_kv.as_ref().map(&entry);
        let revision = kv.mod_revision as Revision;
        let kind = if event.kind == WatchEventType::Delete as i32 {
            let prev = prev?;
            EventKind::Delete {
                key: prev.key.clone(),
                prev,
            }
        } else {
            EventKind::Put {
                entry: entry(kv),
                prev,
            }
        };
        batch.events.push(Event { revision, kind });
    }
    // A replayed batch may come with a header ahead of what follows it.
    if let Some(last) = batch.events.last() {
        batch.revision = last.revision;
    }
    Some(batch)
}

/// Ends the watch on the server when its stream is dropped.
pub(super) struct CancelOnDrop {
    pub(super) id: i64,
    pub(super) commands: mpsc::Sender<Command>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // When the queue is full, the next event finds the watcher gone.
        let _ = self.commands.try_send(Command::Cancel { id: self.id });
    }
}

pub(super) fn watched_prefix(prefix: &str) -> Vec<u8> {
    // etcd knows no empty key; from "\0" on is everything.
    if prefix.is_empty() {
        vec![0]
    } else {
        Bytes::copy_from_slice(prefix.as_bytes()).to_vec()
    }
}
