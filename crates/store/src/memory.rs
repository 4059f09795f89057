//! The backend without a disk: for tests and simulations, and the read side of `embedded`.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};

use crate::keyspace::{KeySpace, Shared};
use crate::store::{EntryStream, Store};
use crate::types::{Committed, Entry, Op, Options, Page, Revision, SpliceFn, StoreError};
use crate::watch::WatchStream;

/// A store that lives as long as it is referred to.
pub fn memory(options: Options) -> Arc<dyn Store> {
    Arc::new(Memory {
        shared: Shared::new(&options),
        splice: options.splice,
    })
}

struct Memory {
    shared: Arc<Shared>,
    splice: SpliceFn,
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        let mut state = self.shared.write();
        if state.is_closed() {
            return Err(StoreError::Closed);
        }
        let mut events = Vec::with_capacity(ops.len());
        let committed = state.space_mut().commit(ops, self.splice, &mut events)?;
        state.published(events);
        Ok(committed)
    }

    async fn get(&self, key: &str) -> Result<(Option<Entry>, Revision), StoreError> {
        self.shared.get(key)
    }

    async fn range(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        revision: Option<Revision>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.shared.range(prefix, start_after, revision, limit)
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        self.shared.count(prefix)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError> {
        self.shared.watch(prefix, after).map(WatchStream::local)
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.shared.revision()
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.shared.compact(revision)
    }

    async fn snapshot(&self) -> Result<(Revision, EntryStream), StoreError> {
        let space = self.shared.space()?;
        Ok((space.revision(), entries_of(space)))
    }

    async fn restore(&self, entries: EntryStream, revision: Revision) -> Result<(), StoreError> {
        let space = collect(entries, revision).await?;
        let mut state = self.shared.write();
        if state.space_mut().len() > 0 {
            return Err(not_empty());
        }
        let floor = space.revision();
        state.reset(space, floor);
        Ok(())
    }

    fn try_get(&self, key: &str) -> Option<Result<(Option<Entry>, Revision), StoreError>> {
        Some(self.shared.get(key))
    }

    fn try_range(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        revision: Option<Revision>,
        limit: usize,
    ) -> Option<Result<Page, StoreError>> {
        Some(self.shared.range(prefix, start_after, revision, limit))
    }

    fn try_count(&self, prefix: &str) -> Option<Result<u64, StoreError>> {
        Some(self.shared.count(prefix))
    }

    fn try_revision(&self) -> Option<Revision> {
        self.shared.revision().ok()
    }

    async fn close(&self) {
        self.shared.close();
    }
}

/// The entries of one state, read a page at a time so that the stream owns what it reads.
pub(crate) fn entries_of(space: KeySpace) -> EntryStream {
    const PAGE: usize = 1000;
    let pages = stream::unfold((space, None::<Arc<str>>), |(space, after)| async move {
        let page: Vec<Entry> = space
            .iter_from("", after.as_deref())
            .take(PAGE)
            .map(|entry| entry.to_entry())
            .collect();
        let last = page.last()?.key.clone();
        Some((stream::iter(page.into_iter().map(Ok)), (space, Some(last))))
    });
    pages.flatten().boxed()
}

/// A key space from a stream of entries.
pub(crate) async fn collect(
    mut entries: EntryStream,
    revision: Revision,
) -> Result<KeySpace, StoreError> {
    let mut space = KeySpace::default();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        space.advance_to(entry.mod_revision);
        space.insert(entry);
    }
    space.advance_to(revision);
    Ok(space)
}

pub(crate) fn not_empty() -> StoreError {
    StoreError::Invalid("the store is not empty; restore wants an empty one".into())
}
