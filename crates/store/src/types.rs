//! The vocabulary of the store: entries, operations, preconditions and errors.
//! Values are opaque bytes; nothing here knows what an object is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The store-wide counter: every commit that changes something gets the next one.
pub type Revision = u64;

/// Says where a revision belongs inside a value. Given the value as the caller wrote it
/// (without a revision), it names the byte offset and what surrounds the decimal number.
/// `None` leaves the value as it is.
///
/// Contract: the answer depends only on the bytes before `offset`, so asking again about the
/// spliced value gives the same offset. That is how a revision is taken out again.
pub type SpliceFn = fn(&[u8]) -> Option<Splice>;

/// `value[..offset] ++ before ++ revision ++ after ++ value[offset..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    pub offset: usize,
    pub before: &'static [u8],
    pub after: &'static [u8],
}

/// A live key at one revision. Cloning copies two pointers, never the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Arc<str>,
    /// With `mod_revision` spliced in.
    pub value: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
}

/// What must hold of a key, at the moment of the commit, for the commit to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    None,
    Absent,
    Exists,
    ModRevision(Revision),
}

/// Whether the answer to a write waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    #[default]
    Durable,
    /// May be lost when the machine (not the process) dies. For Events and Leases.
    Relaxed,
}

#[derive(Clone, Debug)]
pub enum Op {
    Put {
        key: String,
        value: Bytes,
        precondition: Precondition,
        durability: Durability,
    },
    Delete {
        key: String,
        precondition: Precondition,
    },
}

impl Op {
    pub fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete { key, .. } => key,
        }
    }

    pub fn precondition(&self) -> Precondition {
        match self {
            Op::Put { precondition, .. } | Op::Delete { precondition, .. } => *precondition,
        }
    }

    pub(crate) fn is_relaxed(&self) -> bool {
        matches!(
            self,
            Op::Put {
                durability: Durability::Relaxed,
                ..
            }
        )
    }
}

/// The outcome of a commit: one revision for all operations.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The commit's revision; the current one if nothing changed (a delete of an absent key).
    pub revision: Revision,
    /// Per operation: the new entry of a Put, the deleted entry of a Delete (`None`: was absent).
    pub entries: Vec<Option<Entry>>,
}

/// A part of a prefix as of one revision.
#[derive(Clone, Debug)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The revision of the state that was read: pass it to read the next page of the same state.
    pub revision: Revision,
    /// Whether keys follow after the last entry.
    pub more: bool,
    /// How many keys follow, where the backend knows.
    pub remaining: Option<u64>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("precondition of operation {index} failed")]
    PreconditionFailed {
        index: usize,
        current: Option<Entry>,
    },
    #[error("the requested revision has been compacted, the oldest readable one is {oldest}")]
    Compacted { oldest: Revision },
    #[error("the requested revision is in the future, the current one is {current}")]
    FutureRevision { current: Revision },
    #[error("no space left on the store's disk")]
    DiskFull,
    #[error("store unavailable: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Corrupt(String),
    #[error("the store is closed")]
    Closed,
    #[error("{} is in use by another process{}", path.display(), owner_suffix(*owner))]
    InUse { path: PathBuf, owner: Option<u32> },
    #[error("invalid request: {0}")]
    Invalid(String),
}

fn owner_suffix(owner: Option<u32>) -> String {
    owner
        .map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// How the in-memory part of a store is bounded, and what the embedded backend may skip.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where revisions go in values; the default leaves values alone.
    pub splice: SpliceFn,
    /// At most this many past events are kept for watches and reads of older revisions.
    pub window_events: usize,
    /// At most this many bytes of superseded values are kept for the same.
    pub window_bytes: usize,
    /// Older events leave the window with the next commit.
    pub window_age: Duration,
    /// Whether `Durability::Relaxed` is honoured; `false` makes every write durable.
    pub relaxed: bool,
    /// The embedded log is compacted when it exceeds both this and twice the live data.
    pub log_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            splice: no_splice,
            window_events: 50_000,
            // About 6,000 updates of pods: a second of a busy cluster for a watcher to catch up.
            window_bytes: 8 << 20,
            window_age: Duration::from_secs(60),
            relaxed: true,
            log_bytes: 16 << 20,
        }
    }
}

/// The `SpliceFn` of stores whose values do not carry their revision.
pub fn no_splice(_: &[u8]) -> Option<Splice> {
    None
}

/// `value` with `revision` where `splice` wants it.
pub fn splice_in(splice: SpliceFn, value: Bytes, revision: Revision) -> Bytes {
    let Some(Splice {
        offset,
        before,
        after,
    }) = splice(&value)
    else {
        return value;
    };
    let digits = revision.to_string();
    let mut out = Vec::with_capacity(value.len() + before.len() + digits.len() + after.len());
    out.extend_from_slice(&value[..offset]);
    out.extend_from_slice(before);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(after);
    out.extend_from_slice(&value[offset..]);
    Bytes::from(out)
}

/// The inverse of [`splice_in`]; a value that does not carry `revision` comes back unchanged.
pub fn splice_out(splice: SpliceFn, value: &Bytes, revision: Revision) -> Bytes {
    let Some(Splice {
        offset,
        before,
        after,
    }) = splice(value)
    else {
        return value.clone();
    };
    let spliced = [before, revision.to_string().as_bytes(), after].concat();
    let tail = value.get(offset..).unwrap_or_default();
    match tail.strip_prefix(spliced.as_slice()) {
        Some(rest) => Bytes::from([&value[..offset], rest].concat()),
        None => value.clone(),
    }
}
