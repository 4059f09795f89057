//! What a watcher sees: batches of whole commits in revision order.
//! A stream ends after its first error; nothing is buffered for it beyond a position.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tokio::sync::mpsc::Receiver;

use crate::keyspace::LocalWatch;
use crate::types::{Entry, Revision, StoreError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put {
        entry: Entry,
        prev: Option<Entry>,
    },
    Delete {
        key: std::sync::Arc<str>,
        prev: Entry,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    pub kind: EventKind,
}

impl Event {
    pub fn key(&self) -> &std::sync::Arc<str> {
        match &self.kind {
            EventKind::Put { entry, .. } => &entry.key,
            EventKind::Delete { key, .. } => key,
        }
    }

    pub fn prev(&self) -> Option<&Entry> {
        match &self.kind {
            EventKind::Put { prev, .. } => prev.as_ref(),
            EventKind::Delete { prev, .. } => Some(prev),
        }
    }
}

/// Everything that happened under the watched prefix up to `revision`, since the batch before.
/// No events: only a progress notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub revision: Revision,
    pub events: Vec<Event>,
}

/// A running watch. Dropping it ends the watch. Awaiting `next` is cancel-safe.
pub struct WatchStream {
    source: Source,
    ended: bool,
    /// Dropped with the stream: what the backend has to do then.
    _guard: Option<Box<dyn Send + Sync>>,
}

enum Source {
    Local(LocalWatch),
    Remote(Receiver<Result<Batch, StoreError>>),
}

impl WatchStream {
    pub(crate) fn local(watch: LocalWatch) -> Self {
        WatchStream {
            source: Source::Local(watch),
            ended: false,
            _guard: None,
        }
    }

    pub(crate) fn remote(
        receiver: Receiver<Result<Batch, StoreError>>,
        guard: Box<dyn Send + Sync>,
    ) -> Self {
        WatchStream {
            source: Source::Remote(receiver),
            ended: false,
            _guard: Some(guard),
        }
    }

    /// The next batch; `None` once the stream has ended (after an error, or a closed store).
    pub async fn next(&mut self) -> Option<Result<Batch, StoreError>> {
        StreamExt::next(self).await
    }

    /// What is there already, without waiting. For the in-memory backends, `Ok(None)` comes
    /// with the revision up to which this watch has now seen everything: see [`Self::position`].
    pub fn try_next(&mut self) -> Option<Result<Batch, StoreError>> {
        let item = match &mut self.source {
            Source::Local(_) if self.ended => None,
            Source::Local(watch) => watch.take(),
            Source::Remote(receiver) => receiver.try_recv().ok(),
        };
        self.ended |= matches!(item, Some(Err(_)));
        item
    }

    /// The revision up to which everything has been handed out; 0 when the backend cannot say
    /// without a batch.
    pub fn position(&self) -> Revision {
        match &self.source {
            Source::Local(watch) => watch.position(),
            Source::Remote(_) => 0,
        }
    }
}

impl Stream for WatchStream {
    type Item = Result<Batch, StoreError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let item = match &mut this.source {
            Source::Local(watch) => watch.poll(cx),
            Source::Remote(receiver) => receiver.poll_recv(cx),
        };
        if matches!(item, Poll::Ready(None | Some(Err(_)))) {
            this.ended = true;
        }
        item
    }
}
