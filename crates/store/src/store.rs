//! The contract that all backends keep; `tests/` holds each of them to it.

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::types::{Committed, Entry, Op, Page, Revision, StoreError};
use crate::watch::WatchStream;

pub type EntryStream = BoxStream<'static, Result<Entry, StoreError>>;

/// An ordered key space with one revision counter.
///
/// Every commit that changes something gets the next revision (revisions rise; the embedded
/// backend leaves a gap after a crash). Reads and watches see commits whole and in order.
#[async_trait]
pub trait Store: Send + Sync {
    /// Applies all operations or none. Preconditions look at the state before the commit;
    /// a key may appear once only (`Invalid` otherwise).
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError>;

    async fn get(&self, key: &str) -> Result<(Option<Entry>, Revision), StoreError>;

    /// Keys with `prefix`, after `start_after` (exclusive) in byte order, as of `revision`
    /// (`None`: the newest). `limit` 0 means all.
    async fn range(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        revision: Option<Revision>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    async fn count(&self, prefix: &str) -> Result<u64, StoreError>;

    /// Events with a revision above `after`: replayed from the window, then live, in order.
    /// `Compacted` if the window no longer reaches back to `after`, here or later as the
    /// stream's last item when the reader was too slow.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError>;

    async fn revision(&self) -> Result<Revision, StoreError>;

    /// Forgets history: older revisions than `revision` can no longer be read or watched from.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;

    /// All live entries as of one revision, in key order.
    async fn snapshot(&self) -> Result<(Revision, EntryStream), StoreError>;

    /// Fills an empty store (`Invalid` otherwise). Later commits get revisions above
    /// `revision`. Entries keep their revisions where the backend can do that; their values
    /// come as [`Store::snapshot`] gave them.
    async fn restore(&self, entries: EntryStream, revision: Revision) -> Result<(), StoreError>;

    /// As `get`, without waiting; `None` when the backend must do I/O for it.
    fn try_get(&self, _key: &str) -> Option<Result<(Option<Entry>, Revision), StoreError>> {
        None
    }

    /// As `range`, without waiting; `None` when the backend must do I/O for it.
    fn try_range(
        &self,
        _prefix: &str,
        _start_after: Option<&str>,
        _revision: Option<Revision>,
        _limit: usize,
    ) -> Option<Result<Page, StoreError>> {
        None
    }

    /// As `count`, without waiting; `None` when the backend must do I/O for it.
    fn try_count(&self, _prefix: &str) -> Option<Result<u64, StoreError>> {
        None
    }

    /// As `revision`, without waiting; `None` when the backend must do I/O for it.
    fn try_revision(&self) -> Option<Revision> {
        None
    }

    /// Finishes what was accepted, ends all watches, releases files and connections.
    /// Later calls answer `Closed`.
    async fn close(&self);
}
