//! The default backend: the live key space in memory, every commit in a group-committed log.
//!
//! `recovery` reads the files, `writer` is the only one to write them, `format` is their bytes.
//! Reads never touch the disk.

mod disk;
pub(crate) mod format;
mod recovery;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::keyspace::Shared;
use crate::memory::{collect, entries_of};
use crate::store::{EntryStream, Store};
use crate::types::{Committed, Entry, Op, Options, Page, Revision, StoreError};
use crate::watch::WatchStream;
use disk::{Directory, Disk};
use writer::{Request, Writer};

/// Commits that may wait for the writer before `commit` itself waits.
const QUEUE: usize = 4096;

/// Opens the store in the directory `path`, creating it if it is not there.
///
/// Errors: `InUse` if another process has it open, `Corrupt` if acknowledged writes are
/// unreadable (the text says what to do), `DiskFull`, `Unavailable` for other I/O errors.
pub async fn embedded(path: &Path, options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    let (path, options) = (path.to_owned(), options.clone());
    let open = move || {
        let unavailable = |error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        let disk = Directory::create(&path).map_err(unavailable)?;
        let lock = lock(&path)?;
        Embedded::open(Arc::new(disk), options, Some(lock))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let store = opened.map_err(|error| StoreError::Unavailable(error.to_string()))??;
    Ok(Arc::new(store))
}

/// One process at a time; the lock goes when the file is closed, kill -9 included.
fn lock(path: &Path) -> Result<File, StoreError> {
    let unavailable = |error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path.join("LOCK")).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            return Err(StoreError::InUse {
                path: path.to_owned(),
                owner: owner.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(unavailable(error)),
    }
    // The number is for the message above only: a full disk must not keep the store closed.
    let _ = file.set_len(0).and_then(|()| file.rewind());
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

struct Embedded {
    shared: Arc<Shared>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    fn open(disk: Arc<dyn Disk>, options: Options, lock: Option<File>) -> Result<Self, StoreError> {
        let shared = Shared::new(&options);
        let recovered = recovery::recover(&*disk, &mut |events| shared.write().replay(events))?;
        shared
            .write()
            .reset(recovered.space.clone(), recovered.floor);
        let writer = Writer::new(disk, shared.clone(), options, recovered);
        let (requests, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(receiver, lock))
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Embedded {
            shared,
            requests: Mutex::new(Some(requests)),
            thread: Mutex::new(Some(thread)),
        })
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        let requests = self.requests.lock().clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        requests
            .send(request(answer))
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}

#[async_trait]
impl Store for Embedded {
    /// A commit whose future is dropped may still happen.
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        self.ask(|answer| Request::Commit(ops, answer)).await?
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
        self.ask(|answer| Request::Restore(space, answer)).await?
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
        // Closed already: fine.
        let _ = self.ask(Request::Close).await;
        self.requests.lock().take();
    }
}

impl Drop for Embedded {
    /// An orderly close for those who forgot: waits for the writer's last sync.
    fn drop(&mut self) {
        self.requests.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}
