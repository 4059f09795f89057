//! One event, as all watchers of a resource share it. The object's bytes are the store's own; what selectors need
//! is read off them once, by the first watcher that asks.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use fluyt_machinery::codec;
use fluyt_store::{Entry, Event, EventKind, Revision};

use super::filter::Attributes;

/// What happened to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted => "DELETED",
        }
    }
}

/// An event shared by all watchers.
pub(crate) struct Frame {
    pub(crate) revision: Revision,
    pub(crate) change: Change,
    pub(crate) key: Arc<str>,
    /// The object after the change; for a deletion its last state with the deletion's resourceVersion.
    pub(crate) value: Bytes,
    /// The object before the change.
    pub(crate) previous: Option<Bytes>,
    pub(crate) at: Instant,
    attributes: OnceLock<Attributes>,
    previous_attributes: OnceLock<Attributes>,
}

impl Frame {
    pub(crate) fn new(event: Event) -> Self {
        let (change, key, value, previous) = match event.kind {
            EventKind::Put { entry, prev } => {
                let change = match prev {
                    Some(_) => Change::Modified,
                    None => Change::Added,
                };
                (change, entry.key, entry.value, prev.map(|prev| prev.value))
            }
            EventKind::Delete { key, prev } => {
                let value = with_revision(&prev, event.revision);
                (Change::Deleted, key, value, Some(prev.value))
            }
        };
        Frame {
            revision: event.revision,
            change,
            key,
            value,
            previous,
            at: Instant::now(),
            attributes: OnceLock::new(),
            previous_attributes: OnceLock::new(),
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.value.len() + 160
    }

    pub(crate) fn attributes(&self, read: impl Fn(&[u8]) -> Attributes) -> &Attributes {
        self.attributes.get_or_init(|| read(&self.value))
    }

    pub(crate) fn previous_attributes(
        &self,
        read: impl Fn(&[u8]) -> Attributes,
    ) -> Option<&Attributes> {
        let previous = self.previous.as_ref()?;
        Some(self.previous_attributes.get_or_init(|| read(previous)))
    }
}

/// The entry's bytes with another resourceVersion, as the last state of a deleted object is shown.
pub(crate) fn with_revision(entry: &Entry, revision: Revision) -> Bytes {
    const FIELD: &[u8] = b"\"resourceVersion\":\"";
    let value = &entry.value;
    let Some(start) = codec::splice_at(value) else {
        return value.clone();
    };
    let Some(digits) = value[start..].strip_prefix(FIELD) else {
        return value.clone();
    };
    let length = digits
        .iter()
        .position(|byte| *byte == b'"')
        .unwrap_or(digits.len());
    let mut bytes = Vec::with_capacity(value.len() + 4);
    bytes.extend_from_slice(&value[..start + FIELD.len()]);
    bytes.extend_from_slice(itoa::Buffer::new().format(revision).as_bytes());
    bytes.extend_from_slice(&digits[length..]);
    Bytes::from(bytes)
}
