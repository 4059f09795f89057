//! From files to a key space: the newest checkpoint, then the log segments from it on.
//!
//! Segment `n.log` goes on where checkpoint `n.checkpoint` ends, so what is needed is the
//! newest checkpoint and every segment with its number or a higher one; older files are
//! leftovers of an interrupted clean-up. Only the last segment may end in a torn record.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, DiskFile};
use super::format::{
    CHECKPOINT_MAGIC, FILE_HEADER, Item, Items, LOG_MAGIC, Malformed, Next, Reader, RecordBuilder,
    file_header, was_synced,
};
use crate::keyspace::KeySpace;
use crate::types::{Entry, Revision, StoreError};
use crate::watch::{Event, EventKind};

/// What the writer goes on with.
pub(super) struct Recovered {
    pub(super) space: KeySpace,
    /// Everything up to this revision has been reserved on disk.
    pub(super) ceiling: Revision,
    /// The last segment, open at its end.
    pub(super) file: Box<dyn DiskFile>,
    pub(super) number: u64,
    pub(super) length: u64,
    /// Bytes in older segments that the newest checkpoint does not cover.
    pub(super) older_bytes: u64,
    /// History starts here.
    pub(super) floor: Revision,
}

/// Receives the events of the log as they are replayed.
pub(super) type Replay<'a> = &'a mut dyn FnMut(Vec<Event>);

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:010}.log")
}

pub(super) fn checkpoint_name(number: u64) -> String {
    format!("{number:010}.checkpoint")
}

fn numbers(names: &[String], suffix: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_suffix(suffix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

pub(super) fn recover(disk: &dyn Disk, replay: Replay<'_>) -> Result<Recovered, StoreError> {
    let names = disk.list().map_err(|error| unreadable(disk, "", &error))?;
    let checkpoint = numbers(&names, ".checkpoint").last().copied();
    let segments = numbers(&names, ".log");
    let first = checkpoint.unwrap_or(1);
    let mut state = State::default();
    if let Some(number) = checkpoint {
        state.read_checkpoint(disk, number)?;
    }
    state.floor = state.space.revision();
    let segments: Vec<u64> = segments
        .into_iter()
        .filter(|&number| number >= first)
        .collect();
    if segments.is_empty() && checkpoint.is_none() {
        return state.start(disk, first);
    }
    if let Some(missing) = (first..)
        .zip(&segments)
        .find(|(wanted, there)| wanted != *there)
    {
        return Err(missing_segment(disk, missing.0));
    }
    let Some(&last) = segments.last() else {
        return Err(missing_segment(disk, first));
    };
    let (mut older_bytes, mut length) = (0, 0);
    for number in segments {
        older_bytes += length;
        length = state.read_segment(disk, number, number == last, replay)?;
    }
    state.finish(disk, last, length, older_bytes)
}

#[derive(Default)]
struct State {
    space: KeySpace,
    ceiling: Revision,
    floor: Revision,
    /// Whether the last thing in the log is an orderly close.
    closed: bool,
}

impl State {
    fn start(self, disk: &dyn Disk, number: u64) -> Result<Recovered, StoreError> {
        let file = create_segment(disk, number).map_err(|error| cannot_write(disk, &error))?;
        let length = FILE_HEADER as u64;
        let State {
            space,
            ceiling,
            floor,
            ..
        } = self;
        Ok(Recovered {
            space,
            ceiling,
            file,
            number,
            length,
            older_bytes: 0,
            floor,
        })
    }

    fn finish(
        mut self,
        disk: &dyn Disk,
        number: u64,
        length: u64,
        older_bytes: u64,
    ) -> Result<Recovered, StoreError> {
        let open = || {
            if length == 0 {
                // Torn before its header was on disk: it never held anything.
                return create_segment(disk, number);
            }
            let mut file = disk.append(&segment_name(number))?;
            file.truncate(length)?;
            file.sync()?;
            Ok(file)
        };
        let file = open().map_err(|error| cannot_write(disk, &error))?;
        if !self.closed {
            // Revisions up to the ceiling may have been seen; whoever watched from one of them
            // has to list again, since relaxed writes may be gone.
            self.space.advance_to(self.ceiling);
            self.floor = self.space.revision();
        }
        remove_stale(disk, number);
        let length = length.max(FILE_HEADER as u64);
        let State {
            space,
            ceiling,
            floor,
            ..
        } = self;
        Ok(Recovered {
            space,
            ceiling,
            file,
            number,
            length,
            older_bytes,
            floor,
        })
    }

    fn read_checkpoint(&mut self, disk: &dyn Disk, number: u64) -> Result<(), StoreError> {
        let name = checkpoint_name(number);
        let file = disk
            .read(&name)
            .map_err(|error| unreadable(disk, &name, &error))?;
        let mut reader = Reader::new(file);
        let damaged = |offset| damaged_checkpoint(disk, &name, offset);
        let header = file_header(CHECKPOINT_MAGIC, number);
        let mut complete = false;
        if !reader
            .header(&header)
            .map_err(|error| unreadable(disk, &name, &error))?
        {
            return Err(damaged(0));
        }
        loop {
            match reader
                .next()
                .map_err(|error| unreadable(disk, &name, &error))?
            {
                Next::End if complete => return Ok(()),
                Next::End | Next::Bad => return Err(damaged(reader.offset)),
                Next::Record => {
                    complete = self
                        .apply(&reader.payload, &mut |_| ())
                        .map_err(|Malformed| damaged(reader.offset))?;
                }
            }
        }
    }

    /// Returns the length up to which the segment is good.
    fn read_segment(
        &mut self,
        disk: &dyn Disk,
        number: u64,
        last: bool,
        replay: Replay<'_>,
    ) -> Result<u64, StoreError> {
        let name = segment_name(number);
        let failed = |error: io::Error| unreadable(disk, &name, &error);
        let mut reader = Reader::new(disk.read(&name).map_err(failed)?);
        let header = reader
            .header(&file_header(LOG_MAGIC, number))
            .map_err(failed)?;
        // Without its header, nothing in the file can be trusted.
        let mut readable = header;
        while readable {
            match reader.next().map_err(failed)? {
                Next::End => return Ok(reader.offset),
                Next::Bad => readable = false,
                Next::Record => {
                    let start = reader.offset;
                    self.closed = false;
                    self.apply(&reader.payload, replay)
                        .map_err(|Malformed| damaged_log(disk, &name, start))?;
                }
            }
        }
        let mut bytes = Vec::new();
        disk.read(&name)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(failed)?;
        if !last || was_synced(&bytes, reader.offset) {
            return Err(damaged_log(disk, &name, reader.offset));
        }
        self.closed = false;
        tracing::warn!(
            file = %disk.path(&name).display(),
            offset = reader.offset,
            bytes = bytes.len() as u64 - reader.offset,
            "the store's log ends in an unfinished write, which was never acknowledged; cutting it off"
        );
        Ok(reader.offset)
    }

    /// Applies one record; whether it ends a checkpoint.
    fn apply(&mut self, payload: &[u8], replay: Replay<'_>) -> Result<bool, Malformed> {
        let (mut revision, mut end) = (0, false);
        let mut events = Vec::new();
        for item in Items::new(payload) {
            match item? {
                Item::Commit { revision: next } => {
                    revision = next;
                    self.space.advance_to(next);
                }
                Item::Put {
                    key,
                    create_revision,
                    value,
                } => {
                    let prev = self.space.get(key);
                    let entry = new_entry(key, prev.as_ref(), create_revision, revision, value);
                    self.space.insert(entry.clone());
                    events.push(Event {
                        revision,
                        kind: EventKind::Put { entry, prev },
                    });
                }
                Item::Delete { key } => {
                    let prev = self.space.remove(key).ok_or(Malformed)?;
                    let kind = EventKind::Delete {
                        key: prev.key.clone(),
                        prev,
                    };
                    events.push(Event { revision, kind });
                }
                Item::Ceiling { revision } => self.ceiling = self.ceiling.max(revision),
                Item::Closed { revision } => {
                    self.space.advance_to(revision);
                    self.closed = true;
                }
                Item::State { revision } => self.space.advance_to(revision),
                Item::Entry {
                    key,
                    create_revision,
                    mod_revision,
                    value,
                } => {
                    self.space
                        .insert(new_entry(key, None, create_revision, mod_revision, value));
                }
                Item::End { entries } => {
                    if entries != self.space.len() as u64 {
                        return Err(Malformed);
                    }
                    end = true;
                }
            }
        }
        if !events.is_empty() {
            replay(events);
        }
        Ok(end)
    }
}

fn new_entry(
    key: &str,
    prev: Option<&Entry>,
    create_revision: Revision,
    mod_revision: Revision,
    value: &[u8],
) -> Entry {
    let key = prev.map_or_else(|| Arc::from(key), |prev| prev.key.clone());
    Entry {
        key,
        value: Bytes::copy_from_slice(value),
        create_revision,
        mod_revision,
    }
}

/// A new segment whose name and header are on disk.
pub(super) fn create_segment(disk: &dyn Disk, number: u64) -> io::Result<Box<dyn DiskFile>> {
    let mut file = disk.create(&segment_name(number))?;
    file.write(&file_header(LOG_MAGIC, number))?;
    file.sync()?;
    disk.sync_directory()?;
    Ok(file)
}

/// Writes the state before segment `number`, and lets go of what it replaces.
pub(super) fn write_checkpoint(
    disk: &dyn Disk,
    number: u64,
    space: &KeySpace,
    ceiling: Revision,
) -> io::Result<()> {
    const RECORD_BYTES: usize = 256 << 10;
    let temporary = format!("{}.tmp", checkpoint_name(number));
    let write = || {
        let mut file = disk.create(&temporary)?;
        file.write(&file_header(CHECKPOINT_MAGIC, number))?;
        let mut record = RecordBuilder::default();
        record.clear();
        record.push(&Item::State {
            revision: space.revision(),
        });
        record.push(&Item::Ceiling { revision: ceiling });
        for entry in space.iter_from("", None) {
            record.push(&entry.to_item());
            if record.len() > RECORD_BYTES {
                file.write(record.seal(0))?;
                record.clear();
            }
        }
        record.push(&Item::End {
            entries: space.len() as u64,
        });
        file.write(record.seal(0))?;
        file.sync()?;
        disk.rename(&temporary, &checkpoint_name(number))?;
        disk.sync_directory()
    };
    let written = write();
    if written.is_err() {
        // Best effort: the space is wanted back, and the next start removes it anyway.
        let _ = disk.remove(&temporary);
        return written;
    }
    remove_stale(disk, number);
    Ok(())
}

/// Removes what the newest checkpoint has made superfluous. A failure costs space only.
fn remove_stale(disk: &dyn Disk, last: u64) {
    let Ok(names) = disk.list() else { return };
    let newest = numbers(&names, ".checkpoint")
        .into_iter()
        .filter(|&number| number <= last)
        .max();
    for name in &names {
        let number = name
            .split('.')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        let old = matches!((number, newest), (Some(number), Some(newest)) if number < newest);
        if number.is_some()
            && (old || name.ends_with(".tmp"))
            && let Err(error) = disk.remove(name)
        {
            tracing::warn!(file = %disk.path(name).display(), %error, "cannot remove an old store file");
        }
    }
}

fn unreadable(disk: &dyn Disk, name: &str, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "cannot read {}: {error}",
        disk.path(name).display()
    ))
}

fn cannot_write(disk: &dyn Disk, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
        _ => StoreError::Unavailable(format!(
            "cannot write to {}: {error}",
            disk.path("").display()
        )),
    }
}

fn missing_segment(disk: &dyn Disk, number: u64) -> StoreError {
    let path = disk.path(&segment_name(number));
    StoreError::Corrupt(format!(
        "{} is missing, but newer or older parts of the store are there; put the file back, or \
         move the directory away and load a snapshot with `fluyt restore`",
        path.display()
    ))
}

fn damaged_log(disk: &dyn Disk, name: &str, offset: u64) -> StoreError {
    let path = disk.path(name);
    let path = path.display();
    StoreError::Corrupt(format!(
        "{path} is damaged at byte {offset}, and acknowledged writes follow after the damage; \
         restore the directory from a backup, or move it away and load a snapshot with `fluyt \
         restore`, or give up every write after that point with `truncate -s {offset} {path}` and \
         by removing the segments with higher numbers"
    ))
}

fn damaged_checkpoint(disk: &dyn Disk, name: &str, offset: u64) -> StoreError {
    StoreError::Corrupt(format!(
        "{} is damaged at byte {offset}; restore the directory from a backup, or move it away and \
         load a snapshot with `fluyt restore`",
        disk.path(name).display()
    ))
}
