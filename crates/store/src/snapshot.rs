//! Snapshot files: all live keys of a store at one revision, for backup and for moving between
//! backends.
//!
//! The file has the store's record format (see `embedded::format`): the header `FLUYTSN1` and a
//! zero number, then records of items: first `State` (the revision), then one `Entry` per key in
//! byte order (create and mod revision, key, value with its revision in it), last `End` (how
//! many entries). Every record has its checksum; a file without `End` is refused. The file
//! appears under its name only when it is complete and on disk.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::embedded::format::{
    Item, Items, Next, Reader, RecordBuilder, SNAPSHOT_MAGIC, file_header,
};
use crate::store::{EntryStream, Store};
use crate::types::{Entry, Revision, StoreError};

const RECORD_BYTES: usize = 256 << 10;

/// What a snapshot file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    pub revision: Revision,
    pub entries: u64,
}

/// Writes everything `store` holds now to a new file at `path`; one that is there is replaced
/// when the new one is complete.
pub async fn snapshot_to_file(
    store: &dyn Store,
    path: &Path,
) -> Result<SnapshotSummary, StoreError> {
    let temporary = temporary(path);
    let written = write(store, &temporary, path).await;
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

async fn write(
    store: &dyn Store,
    temporary: &Path,
    path: &Path,
) -> Result<SnapshotSummary, StoreError> {
    let failed = |error: io::Error| cannot("write", path, &error);
    let (revision, mut entries) = store.snapshot().await?;
    let mut file = BufWriter::new(File::create(temporary).map_err(failed)?);
    file.write_all(&file_header(SNAPSHOT_MAGIC, 0))
        .map_err(failed)?;
    let mut record = RecordBuilder::default();
    record.clear();
    record.push(&Item::State { revision });
    let mut count = 0;
    while let Some(entry) = entries.next().await {
        let Entry {
            key,
            value,
            create_revision,
            mod_revision,
        } = entry?;
        record.push(&Item::Entry {
            key: &key,
            create_revision,
            mod_revision,
            value: &value,
        });
        count += 1;
        if record.len() > RECORD_BYTES {
            file.write_all(record.seal(0)).map_err(failed)?;
            record.clear();
        }
    }
    record.push(&Item::End { entries: count });
    file.write_all(record.seal(0)).map_err(failed)?;
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(temporary, path).map_err(failed)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(failed)?;
    directory.sync_all().map_err(failed)?;
    Ok(SnapshotSummary {
        revision,
        entries: count,
    })
}

/// Fills an empty store from the file at `path`. The file is read to its end first: one that is
/// damaged or incomplete changes nothing.
pub async fn restore_from_file(
    store: &dyn Store,
    path: &Path,
) -> Result<SnapshotSummary, StoreError> {
    let summary = verify(path)?;
    let entries: EntryStream = stream::iter(EntryReader::open(path)?).boxed();
    store.restore(entries, summary.revision).await?;
    Ok(summary)
}

/// Reads a snapshot file through and says what is in it.
pub fn verify(path: &Path) -> Result<SnapshotSummary, StoreError> {
    let mut reader = EntryReader::open(path)?;
    let entries = reader
        .by_ref()
        .try_fold(0, |count, entry| entry.map(|_| count + 1))?;
    Ok(SnapshotSummary {
        revision: reader.revision,
        entries,
    })
}

/// The entries of a snapshot file, a record at a time.
struct EntryReader {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    record: std::vec::IntoIter<Entry>,
    revision: Revision,
    count: u64,
    complete: bool,
    failed: bool,
}

impl EntryReader {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
        let mut reader = Reader::new(BufReader::new(file));
        let header = file_header(SNAPSHOT_MAGIC, 0);
        if !reader
            .header(&header)
            .map_err(|error| cannot("read", path, &error))?
        {
            let text = format!("{} is not a snapshot of a fluyt store", path.display());
            return Err(StoreError::Corrupt(text));
        }
        Ok(EntryReader {
            path: path.to_owned(),
            reader,
            record: Vec::new().into_iter(),
            revision: 0,
            count: 0,
            complete: false,
            failed: false,
        })
    }

    /// Whether there was another record.
    fn read_record(&mut self) -> Result<bool, StoreError> {
        match self
            .reader
            .next()
            .map_err(|error| cannot("read", &self.path, &error))?
        {
            Next::Record if !self.complete => {}
            Next::End if self.complete => return Ok(false),
            _ => return Err(self.damaged()),
        }
        let mut entries = Vec::new();
        for item in Items::new(&self.reader.payload) {
            match item {
                Ok(Item::State { revision }) => self.revision = revision,
                Ok(Item::Entry {
                    key,
                    create_revision,
                    mod_revision,
                    value,
                }) => {
                    let (key, value) = (Arc::from(key), Bytes::copy_from_slice(value));
                    entries.push(Entry {
                        key,
                        value,
                        create_revision,
                        mod_revision,
                    });
                }
                Ok(Item::End { entries: total }) => {
                    self.complete = total == self.count + entries.len() as u64;
                }
                _ => return Err(self.damaged()),
            }
        }
        self.count += entries.len() as u64;
        self.record = entries.into_iter();
        Ok(true)
    }

    fn damaged(&self) -> StoreError {
        let (path, offset) = (self.path.display(), self.reader.offset);
        StoreError::Corrupt(format!(
            "the snapshot {path} is damaged or incomplete at byte {offset}"
        ))
    }
}

impl Iterator for EntryReader {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.record.next() {
                return Some(Ok(entry));
            }
            if self.failed {
                return None;
            }
            match self.read_record() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
        _ => StoreError::Unavailable(format!("cannot {what} {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Durability, Op, Options, Precondition};

    /// Every truncation and every flipped byte is noticed before the store is touched.
    #[test]
    fn a_damaged_file_is_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        runtime.block_on(async {
            let source = crate::memory(Options::default());
            for number in 0..5 {
                let op = Op::Put {
                    key: format!("/k/{number}"),
                    value: Bytes::from_static(b"value"),
                    precondition: Precondition::None,
                    durability: Durability::Durable,
                };
                source.commit(vec![op]).await.unwrap();
            }
            snapshot_to_file(&*source, &path).await.unwrap();
            let good = std::fs::read(&path).unwrap();
            let target = crate::memory(Options::default());
            let check = async |bytes: &[u8]| {
                std::fs::write(&path, bytes).unwrap();
                let refused = restore_from_file(&*target, &path).await;
                assert!(
                    matches!(refused, Err(StoreError::Corrupt(_))),
                    "{refused:?}"
                );
                assert_eq!(target.count("").await.unwrap(), 0);
            };
            for at in 0..good.len() {
                check(&good[..at]).await;
                let mut flipped = good.clone();
                flipped[at] ^= 1;
                check(&flipped).await;
            }
            std::fs::write(&path, &good).unwrap();
            assert_eq!(restore_from_file(&*target, &path).await.unwrap().entries, 5);
        });
    }
}
