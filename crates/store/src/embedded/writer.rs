//! The one thread that writes: it takes all commits that wait, applies them to its own copy of
//! the key space, writes one record, syncs once, publishes, and answers all of them.
//!
//! Nothing is published before it is as durable as its class asks for. A write that fails is
//! cut off the log again and the copy is thrown away, so memory and disk never disagree.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, DiskFile};
use super::format::{FILE_HEADER, Item, RecordBuilder};
use super::recovery::{Recovered, create_segment, write_checkpoint};
use crate::keyspace::{KeySpace, Shared};
use crate::memory::not_empty;
use crate::types::{Committed, Op, Options, Revision, StoreError};
use crate::watch::{Event, EventKind};

/// Revisions are reserved on disk in blocks, so that a crash cannot make one appear twice.
const RESERVE: u64 = 10_000;
const MAX_BATCH_COMMITS: usize = 1024;
const MAX_BATCH_BYTES: usize = 4 << 20;

type Outcome = Result<Committed, StoreError>;
type Answer = oneshot::Sender<Outcome>;

pub(super) enum Request {
    Commit(Vec<Op>, Answer),
    Restore(KeySpace, oneshot::Sender<Result<(), StoreError>>),
    /// Answered when all files are closed.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    options: Options,
    space: KeySpace,
    ceiling: Revision,
    file: Box<dyn DiskFile>,
    number: u64,
    /// The good length of the current segment, and how much of it is known to be on disk.
    written: u64,
    synced: u64,
    older_bytes: u64,
    live_bytes: u64,
    /// The size of the log at which the next checkpoint is due.
    checkpoint_at: u64,
    checkpoint: Option<JoinHandle<io::Result<()>>>,
    /// Set when memory and disk may disagree: no write is accepted from then on.
    failed: Option<String>,
    record: RecordBuilder,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        options: Options,
        recovered: Recovered,
    ) -> Self {
        let Recovered {
            space,
            ceiling,
            file,
            number,
            length,
            older_bytes,
            ..
        } = recovered;
        let mut writer = Writer {
            disk,
            shared,
            live_bytes: live_bytes(&space),
            options,
            space,
            ceiling,
            file,
            number,
            written: length,
            synced: length,
            older_bytes,
            checkpoint_at: 0,
            checkpoint: None,
            failed: None,
            record: RecordBuilder::default(),
        };
        writer.schedule_checkpoint(0);
        writer
    }

    pub(super) fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        lock: Option<std::fs::File>,
    ) {
        let mut deferred = None;
        let closing = loop {
            let Some(request) = deferred.take().or_else(|| requests.blocking_recv()) else {
                break None;
            };
            match request {
                Request::Commit(ops, answer) => {
                    deferred = self.commit_batch((ops, answer), &mut requests);
                }
                Request::Restore(space, answer) => drop(answer.send(self.restore(space))),
                Request::Close(answer) => break Some(answer),
            }
        };
        self.finish();
        drop((self.file, lock));
        drop(requests);
        if let Some(answer) = closing {
            let _ = answer.send(());
        }
    }

    /// Commits `first` and everything else that waits; returns a request that is no commit.
    fn commit_batch(
        &mut self,
        first: (Vec<Op>, Answer),
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<Request> {
        let mut batch = Batch::default();
        self.record.clear();
        self.add(&mut batch, first.0, first.1);
        let mut deferred = None;
        while batch.answers.len() < MAX_BATCH_COMMITS && self.record.len() < MAX_BATCH_BYTES {
            match requests.try_recv() {
                Ok(Request::Commit(ops, answer)) => self.add(&mut batch, ops, answer),
                Ok(other) => {
                    deferred = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        match self.write_batch(&mut batch) {
            Ok(()) => batch.answer(),
            Err(error) => batch.refuse(&error),
        }
        self.checkpoint_if_due();
        deferred
    }

    fn add(&mut self, batch: &mut Batch, ops: Vec<Op>, answer: Answer) {
        let durable = !self.options.relaxed || !ops.iter().all(Op::is_relaxed);
        let before = batch.events.len();
        let outcome = self
            .space
            .commit(ops, self.options.splice, &mut batch.events);
        if let Some(new) = batch.events.get(before..).filter(|new| !new.is_empty()) {
            batch.durable |= durable;
            self.record.push(&Item::Commit {
                revision: self.space.revision(),
            });
            new.iter()
                .for_each(|event| self.record.push(&item_of(event)));
        }
        batch.answers.push((answer, outcome));
    }

    fn write_batch(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let ceiling = if self.space.revision() > self.ceiling {
            self.space.revision() + RESERVE
        } else {
            self.ceiling
        };
        if ceiling > self.ceiling {
            self.record.push(&Item::Ceiling { revision: ceiling });
            batch.durable = true;
        }
        if let Err(error) = self.write_record(batch.durable) {
            self.space = self.shared.space_even_if_closed();
            return Err(error);
        }
        self.ceiling = ceiling;
        self.account(&batch.events);
        let events = std::mem::take(&mut batch.events);
        self.shared.write().publish(self.space.clone(), events);
        Ok(())
    }

    fn write_record(&mut self, sync: bool) -> Result<(), StoreError> {
        if let Some(reason) = &self.failed {
            return Err(StoreError::Unavailable(reason.clone()));
        }
        let record = self.record.seal(self.synced);
        let length = record.len() as u64;
        if let Err(error) = self.file.write(record) {
            self.cut_back();
            return Err(refusal(&error));
        }
        if sync {
            if let Err(error) = self.file.sync() {
                // What the kernel has thrown away is unknown: only a restart reads what is there.
                self.cut_back();
                if self.synced != self.written || !is_full(&error) {
                    self.failed = Some(format!(
                        "the log could not be synced: {error}; restart to recover"
                    ));
                }
                return Err(refusal(&error));
            }
            self.synced = self.written + length;
        }
        self.written += length;
        Ok(())
    }

    /// After a failed write: the log ends where it ended before.
    fn cut_back(&mut self) {
        if let Err(error) = self.file.truncate(self.written) {
            self.failed = Some(format!(
                "a failed write could not be undone: {error}; restart to recover"
            ));
        }
    }

    fn account(&mut self, events: &[Event]) {
        for event in events {
            let removed = event
                .prev()
                .map_or(0, |prev| entry_bytes(&prev.key, prev.value.len()));
            let added = match &event.kind {
                EventKind::Put { entry, .. } => entry_bytes(&entry.key, entry.value.len()),
                EventKind::Delete { .. } => 0,
            };
            self.live_bytes = (self.live_bytes + added).saturating_sub(removed);
        }
    }

    fn log_bytes(&self) -> u64 {
        self.older_bytes + self.written
    }

    fn schedule_checkpoint(&mut self, base: u64) {
        self.checkpoint_at = base + self.options.log_bytes.max(2 * self.live_bytes);
    }

    fn checkpoint_if_due(&mut self) {
        if let Some(running) = self.checkpoint.take_if(|running| running.is_finished()) {
            self.checkpoint_done(running);
        }
        if self.log_bytes() < self.checkpoint_at
            || self.checkpoint.is_some()
            || self.failed.is_some()
        {
            return;
        }
        if let Err(error) = self.rotate() {
            tracing::warn!(%error, "cannot start a new log segment; going on with the old one");
            self.schedule_checkpoint(self.log_bytes());
            return;
        }
        let (disk, space, number) = (self.disk.clone(), self.space.clone(), self.number);
        let ceiling = self.ceiling;
        let work = move || write_checkpoint(&*disk, number, &space, ceiling);
        match std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(work)
        {
            Ok(running) => self.checkpoint = Some(running),
            Err(error) => tracing::warn!(%error, "cannot start the checkpoint thread"),
        }
        self.schedule_checkpoint(self.log_bytes());
    }

    fn checkpoint_done(&mut self, running: JoinHandle<io::Result<()>>) {
        match running.join() {
            Ok(Ok(())) => {
                self.older_bytes = 0;
                self.schedule_checkpoint(0);
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot write a checkpoint; the log is kept"),
            Err(_) => tracing::error!("the checkpoint thread panicked; the log is kept"),
        }
    }

    /// Goes on in a new segment. The old one is complete on disk before the new one exists.
    fn rotate(&mut self) -> io::Result<()> {
        if self.synced < self.written {
            self.file.sync()?;
            self.synced = self.written;
        }
        self.file = create_segment(&*self.disk, self.number + 1)?;
        self.number += 1;
        self.older_bytes += self.written;
        self.written = FILE_HEADER as u64;
        self.synced = self.written;
        Ok(())
    }

    fn restore(&mut self, space: KeySpace) -> Result<(), StoreError> {
        if let Some(reason) = &self.failed {
            return Err(StoreError::Unavailable(reason.clone()));
        }
        if self.space.len() > 0 {
            return Err(not_empty());
        }
        if let Some(running) = self.checkpoint.take() {
            self.checkpoint_done(running);
        }
        let mut space = space;
        space.advance_to(self.space.revision());
        let ceiling = self.ceiling.max(space.revision());
        self.rotate().map_err(|error| refusal(&error))?;
        write_checkpoint(&*self.disk, self.number, &space, ceiling)
            .map_err(|error| refusal(&error))?;
        self.older_bytes = 0;
        self.ceiling = ceiling;
        self.live_bytes = live_bytes(&space);
        self.space = space.clone();
        self.schedule_checkpoint(0);
        let floor = space.revision();
        self.shared.write().reset(space, floor);
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(running) = self.checkpoint.take() {
            self.checkpoint_done(running);
        }
        self.record.clear();
        self.record.push(&Item::Closed {
            revision: self.space.revision(),
        });
        if let Err(error) = self.write_record(true) {
            tracing::warn!(%error, "cannot mark the store as closed; the next start recovers it");
        }
        self.shared.close();
    }
}

#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    durable: bool,
    answers: Vec<(Answer, Outcome)>,
}

impl Batch {
    fn answer(self) {
        for (answer, outcome) in self.answers {
            // Nobody waits any more: the commit stands all the same.
            let _ = answer.send(outcome);
        }
    }

    /// Every outcome was computed on a state that is not going to be.
    fn refuse(self, error: &StoreError) {
        for (answer, _) in self.answers {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

fn item_of(event: &Event) -> Item<'_> {
    match &event.kind {
        EventKind::Put { entry, .. } => Item::Put {
            key: &entry.key,
            create_revision: entry.create_revision,
            value: &entry.value,
        },
        EventKind::Delete { key, .. } => Item::Delete { key },
    }
}

/// What an entry takes in a checkpoint, about.
fn entry_bytes(key: &str, value: usize) -> u64 {
    (key.len() + value + 16) as u64
}

fn live_bytes(space: &KeySpace) -> u64 {
    space
        .iter_from("", None)
        .map(|entry| entry_bytes(entry.key(), entry.value().len()))
        .sum()
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn refusal(error: &io::Error) -> StoreError {
    if is_full(error) {
        StoreError::DiskFull
    } else {
        StoreError::Unavailable(format!("the store's log cannot be written: {error}"))
    }
}
