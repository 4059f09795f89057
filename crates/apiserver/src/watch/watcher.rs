//! One watch request: the objects that exist (if asked for), then events from its position in the hub's ring, many
//! per write. A watcher that falls out of the ring is closed; the client watches again from what it last saw.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use fluyt_api::status::Status;
use fluyt_store::{Entry, Revision};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::filter::Filter;
use super::frame::{Change, Frame};
use super::hub::{Hub, SharedChunk};
use crate::http::respond;
use crate::present::Presenter;
use crate::stored;

/// Frames handed over, and bytes written, at once.
const BATCH_FRAMES: usize = 512;
const CHUNK_BYTES: usize = 128 * 1024;
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// Where a watcher's events come from.
pub(crate) enum Source {
    Hub {
        hub: Arc<Hub>,
        changed: watch::Receiver<u64>,
        position: u64,
    },
    /// Events older than the hub's window, straight from the store.
    Own(fluyt_store::WatchStream),
}

/// A running watch.
pub(crate) struct Watcher {
    pub(crate) source: Source,
    pub(crate) presenter: Presenter,
    pub(crate) filter: Filter,
    /// `/registry/pods/` or `/registry/pods/default/`.
    pub(crate) scope: Arc<str>,
    /// Objects still to be sent as ADDED.
    pub(crate) initial: VecDeque<Entry>,
    /// Say when the initial objects are through.
    pub(crate) mark_initial_end: bool,
    pub(crate) bookmarks: bool,
    /// Events up to here are known to the client.
    pub(crate) after: Revision,
    pub(crate) deadline: Instant,
    pub(crate) shutdown: CancellationToken,
    pub(crate) next_bookmark: Instant,
    pub(crate) columns_sent: bool,
    pub(crate) ended: bool,
}

enum Step {
    Chunk(Bytes),
    Wait,
    End,
}

impl Watcher {
    pub(crate) fn first_bookmark() -> Instant {
        Instant::now() + BOOKMARK_EVERY
    }

    /// The next bytes for the client; `None` ends the response.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(chunk) = self.initial_chunk() {
            return Some(chunk);
        }
        loop {
            match self.step() {
                Step::Chunk(chunk) => return Some(chunk),
                Step::End => return None,
                Step::Wait => {}
            }
            let bookmark_at = self.next_bookmark;
            tokio::select! {
                alive = changed(&mut self.source) => match alive {
                    Some(Some(chunk)) => {
                        let mut out = BytesMut::new();
                        if !self.own_batch(&mut out, chunk) { return self.finish(out); }
                        if !out.is_empty() { return Some(out.freeze()); }
                    }
                    Some(None) => {}
                    None => return None,
                },
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(bookmark_at), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    if let Some(bookmark) = self.bookmark() { return Some(bookmark); }
                }
                () = self.shutdown.cancelled() => return None,
            }
        }
    }

    fn finish(&mut self, out: BytesMut) -> Option<Bytes> {
        self.ended = true;
        (!out.is_empty()).then(|| out.freeze())
    }

    fn initial_chunk(&mut self) -> Option<Bytes> {
        if self.initial.is_empty() && !self.mark_initial_end {
            return None;
        }
        let mut out = BytesMut::with_capacity(CHUNK_BYTES.min(4096 * (self.initial.len() + 1)));
        while let Some(entry) = self.initial.pop_front() {
            self.write(&mut out, Change::Added, &entry.value);
            if out.len() > CHUNK_BYTES {
                return Some(out.freeze());
            }
        }
        if std::mem::take(&mut self.mark_initial_end) {
            self.write_bookmark(&mut out, self.after, true);
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// Takes what the hub has, without waiting.
    fn step(&mut self) -> Step {
        let mut frames = Vec::new();
        let (from, hub) = {
            let Source::Hub {
                hub,
                changed,
                position,
            } = &mut self.source
            else {
                return Step::Wait;
            };
            changed.borrow_and_update();
            if hub
                .ring
                .lock()
                .read(*position, BATCH_FRAMES, &mut frames)
                .is_err()
            {
                tracing::debug!(scope = %self.scope, "a watcher fell behind and is closed");
                return Step::End;
            }
            let from = *position;
            *position += frames.len() as u64;
            (from, hub.clone())
        };
        if frames.is_empty() {
            return Step::Wait;
        }
        match self.encode(&hub, from, &frames) {
            Some(chunk) => Step::Chunk(chunk),
            None => self.step(),
        }
    }

    fn encode(&mut self, hub: &Hub, from: u64, frames: &[Arc<Frame>]) -> Option<Bytes> {
        let first = frames.first().map(|frame| frame.revision)?;
        let shareable =
            self.filter.is_everything() && self.presenter.is_raw() && first > self.after;
        let to = from + frames.len() as u64;
        if shareable
            && let Some(shared) = &*hub.chunk.lock()
            && shared.from == from
            && shared.to == to
            && shared.scope == self.scope
        {
            let bytes = shared.bytes.clone();
            return (!bytes.is_empty()).then_some(bytes);
        }
        let size: usize = frames.iter().map(|frame| frame.size_bytes()).sum();
        let mut out = BytesMut::with_capacity(size);
        for frame in frames {
            if frame.revision > self.after {
                self.frame(&mut out, frame);
            }
        }
        let bytes = out.freeze();
        if shareable {
            *hub.chunk.lock() = Some(SharedChunk {
                scope: self.scope.clone(),
                from,
                to,
                bytes: bytes.clone(),
            });
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Writes the event as this watcher's selector sees it: an object that starts to match is ADDED, one that no
    /// longer does is DELETED.
    fn frame(&mut self, out: &mut BytesMut, frame: &Frame) {
        if !frame.key.starts_with(&*self.scope) {
            return;
        }
        let change = if self.filter.is_everything() {
            Some(frame.change)
        } else {
            let read = |value: &[u8]| self.filter.read_all(value);
            let before = frame
                .previous_attributes(read)
                .is_some_and(|attributes| self.filter.matches(attributes));
            let now =
                frame.change != Change::Deleted && self.filter.matches(frame.attributes(read));
            match (before, now) {
                (false, true) => Some(Change::Added),
                (true, true) => Some(Change::Modified),
                (true, false) => Some(Change::Deleted),
                (false, false) => None,
            }
        };
        if let Some(change) = change {
            self.write(out, change, &frame.value);
        }
    }

    fn write(&mut self, out: &mut BytesMut, change: Change, value: &Bytes) {
        out.put_slice(b"{\"type\":\"");
        out.put_slice(change.as_str().as_bytes());
        out.put_slice(b"\",\"object\":");
        if self.presenter.is_raw() {
            out.put_slice(value);
        } else {
            let first = !std::mem::replace(&mut self.columns_sent, true);
            match self.presenter.watched(value, first) {
                Ok(bytes) => out.put_slice(&bytes),
                Err(status) => out.put_slice(&respond::to_bytes(&status)),
            }
        }
        out.put_slice(b"}\n");
    }

    /// A batch of the watcher's own store stream; false ends the watch after what was written.
    fn own_batch(
        &mut self,
        out: &mut BytesMut,
        batch: Result<fluyt_store::Batch, fluyt_store::StoreError>,
    ) -> bool {
        match batch {
            Ok(batch) => {
                for event in batch.events {
                    let frame = Frame::new(event);
                    if frame.revision > self.after {
                        self.frame(out, &frame);
                    }
                }
                self.after = self.after.max(batch.revision);
                true
            }
            Err(error) => {
                write_error(out, &stored::failure(&error));
                false
            }
        }
    }

    fn bookmark(&mut self) -> Option<Bytes> {
        let revision = match &self.source {
            Source::Hub { hub, position, .. } => {
                let ring = hub.ring.lock();
                // Only when this watcher has seen all that the ring has.
                (*position == ring.end()).then(|| ring.progress())
            }
            Source::Own(_) => None,
        }?;
        let mut out = BytesMut::new();
        self.write_bookmark(&mut out, revision.max(self.after), false);
        Some(out.freeze())
    }

    fn write_bookmark(&mut self, out: &mut BytesMut, revision: Revision, initial_end: bool) {
        let mut metadata = serde_json::json!({
            "resourceVersion": revision.to_string(),
            "creationTimestamp": null,
        });
        if initial_end {
            metadata["annotations"] = serde_json::json!({ "k8s.io/initial-events-end": "true" });
        }
        let resource = self.presenter.resource;
        let object = if self.presenter.is_table() {
            serde_json::json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": { "resourceVersion": revision.to_string() },
                "columnDefinitions": [],
                "rows": [{ "cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                } }],
            })
        } else {
            serde_json::json!({
                "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata,
            })
        };
        let event = serde_json::json!({ "type": "BOOKMARK", "object": object });
        out.put_slice(&respond::to_bytes(&event));
        out.put_slice(b"\n");
    }
}

/// Writes an ERROR event.
pub(crate) fn write_error(out: &mut BytesMut, status: &Status) {
    out.put_slice(b"{\"type\":\"ERROR\",\"object\":");
    out.put_slice(&respond::to_bytes(status));
    out.put_slice(b"}\n");
}

type OwnBatch = Result<fluyt_store::Batch, fluyt_store::StoreError>;

/// Waits for news: `Some(None)` from the hub, `Some(Some(batch))` from an own stream, `None` at the end.
/// Cancel-safe, as both sources are.
async fn changed(source: &mut Source) -> Option<Option<OwnBatch>> {
    match source {
        Source::Hub { changed, .. } => changed.changed().await.ok().map(|()| None),
        Source::Own(stream) => stream.next().await.map(Some),
    }
}
