//! The bytes on disk, shared by log, checkpoint and snapshot files.
//!
//! A file is a 16-byte header (8 bytes of magic, a number) and records. A record is
//!
//! ```text
//! magic 4 | payload length u32 | crc32 u32 | synced u64 | payload        (little-endian)
//! ```
//!
//! where the checksum covers length, `synced` and payload, and `synced` is how much of the file
//! was known to be on disk when the record was written. That tells a torn tail (nothing after
//! it claims that it was synced: never acknowledged) from damage in the middle. A payload is a
//! sequence of items; one record is one group commit, so it is there whole or not at all.

use std::io::{self, Read};

use crate::types::Revision;

pub(crate) const LOG_MAGIC: &[u8; 8] = b"FLUYTLG1";
pub(crate) const CHECKPOINT_MAGIC: &[u8; 8] = b"FLUYTCP1";
pub(crate) const SNAPSHOT_MAGIC: &[u8; 8] = b"FLUYTSN1";
pub(crate) const FILE_HEADER: usize = 16;

const RECORD_MAGIC: &[u8; 4] = b"\xf1LYT";
const RECORD_HEADER: usize = 20;
const MAX_PAYLOAD: usize = 1 << 30;

pub(crate) fn file_header(magic: &[u8; 8], number: u64) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..8].copy_from_slice(magic);
    header[8..].copy_from_slice(&number.to_le_bytes());
    header
}

/// One fact in a payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Opens a commit: the `Put`s and `Delete`s that follow carry this revision.
    Commit {
        revision: Revision,
    },
    Put {
        key: &'a str,
        create_revision: Revision,
        value: &'a [u8],
    },
    Delete {
        key: &'a str,
    },
    /// No revision above this was given out before the record was on disk.
    Ceiling {
        revision: Revision,
    },
    /// Written last by an orderly close: nothing was lost, the counter stands here.
    Closed {
        revision: Revision,
    },
    /// First in a checkpoint or snapshot: the state's revision.
    State {
        revision: Revision,
    },
    Entry {
        key: &'a str,
        create_revision: Revision,
        mod_revision: Revision,
        value: &'a [u8],
    },
    /// Last in a checkpoint or snapshot.
    End {
        entries: u64,
    },
}

const COMMIT: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;
const CEILING: u8 = 4;
const CLOSED: u8 = 5;
const STATE: u8 = 6;
const ENTRY: u8 = 7;
const END: u8 = 8;

/// A record under construction; its buffer is reused.
#[derive(Default)]
pub(crate) struct RecordBuilder {
    buffer: Vec<u8>,
}

impl RecordBuilder {
    pub(crate) fn clear(&mut self) {
        // One huge commit must not pin its buffer for ever.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.resize(RECORD_HEADER, 0);
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn push(&mut self, item: &Item<'_>) {
        let out = &mut self.buffer;
        match *item {
            Item::Commit { revision } => tagged(out, COMMIT, &[revision]),
            Item::Put {
                key,
                create_revision,
                value,
            } => {
                tagged(out, PUT, &[create_revision]);
                blob(out, key.as_bytes());
                blob(out, value);
            }
            Item::Delete { key } => {
                tagged(out, DELETE, &[]);
                blob(out, key.as_bytes());
            }
            Item::Ceiling { revision } => tagged(out, CEILING, &[revision]),
            Item::Closed { revision } => tagged(out, CLOSED, &[revision]),
            Item::State { revision } => tagged(out, STATE, &[revision]),
            Item::Entry {
                key,
                create_revision,
                mod_revision,
                value,
            } => {
                tagged(out, ENTRY, &[create_revision, mod_revision]);
                blob(out, key.as_bytes());
                blob(out, value);
            }
            Item::End { entries } => tagged(out, END, &[entries]),
        }
    }

    /// The finished record.
    pub(crate) fn seal(&mut self, synced: u64) -> &[u8] {
        let length = (self.buffer.len() - RECORD_HEADER) as u32;
        let (header, payload) = self.buffer.split_at_mut(RECORD_HEADER);
        let crc = checksum(length, synced, payload);
        header[..4].copy_from_slice(RECORD_MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        header[12..].copy_from_slice(&synced.to_le_bytes());
        &self.buffer
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, numbers: &[u64]) {
    out.push(tag);
    numbers.iter().for_each(|&number| varint(out, number));
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn blob(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn checksum(length: u32, synced: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&synced.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The payload says something that no version of this program writes.
#[derive(Debug)]
pub(crate) struct Malformed;

/// Reads the items of a payload in order.
pub(crate) struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Items { rest: payload }
    }

    fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let tag = self.byte()?;
        Ok(match tag {
            COMMIT => Item::Commit {
                revision: self.number()?,
            },
            PUT => {
                let create_revision = self.number()?;
                Item::Put {
                    create_revision,
                    key: self.text()?,
                    value: self.blob()?,
                }
            }
            DELETE => Item::Delete { key: self.text()? },
            CEILING => Item::Ceiling {
                revision: self.number()?,
            },
            CLOSED => Item::Closed {
                revision: self.number()?,
            },
            STATE => Item::State {
                revision: self.number()?,
            },
            ENTRY => {
                let (create_revision, mod_revision) = (self.number()?, self.number()?);
                Item::Entry {
                    create_revision,
                    mod_revision,
                    key: self.text()?,
                    value: self.blob()?,
                }
            }
            END => Item::End {
                entries: self.number()?,
            },
            _ => return Err(Malformed),
        })
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn blob(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (blob, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(blob)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.blob()?).map_err(|_| Malformed)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.item())
    }
}

/// What a file has at the reader's position.
pub(crate) enum Next {
    Record,
    /// The file ends here, cleanly.
    End,
    /// Bytes that are no intact record.
    Bad,
}

/// Reads a file's records one after the other; `offset` is where the next one starts.
pub(crate) struct Reader<R> {
    inner: R,
    pub(crate) offset: u64,
    pub(crate) payload: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Reader {
            inner,
            offset: 0,
            payload: Vec::new(),
        }
    }

    /// Whether the file starts with exactly this header.
    pub(crate) fn header(&mut self, expected: &[u8; FILE_HEADER]) -> io::Result<bool> {
        let mut header = [0; FILE_HEADER];
        let matches = fill(&mut self.inner, &mut header)? == FILE_HEADER && header == *expected;
        self.offset = if matches { FILE_HEADER as u64 } else { 0 };
        Ok(matches)
    }

    /// Moves to the next record; its items are in `payload` then.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
        let mut header = [0; RECORD_HEADER];
        match fill(&mut self.inner, &mut header)? {
            0 => return Ok(Next::End),
            RECORD_HEADER => {}
            _ => return Ok(Next::Bad),
        }
        let Some((length, crc, synced)) = parse_header(&header) else {
            return Ok(Next::Bad);
        };
        self.payload.clear();
        let read = (&mut self.inner)
            .take(length as u64)
            .read_to_end(&mut self.payload)?;
        if read < length || checksum(length as u32, synced, &self.payload) != crc {
            return Ok(Next::Bad);
        }
        self.offset += (RECORD_HEADER + length) as u64;
        Ok(Next::Record)
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn parse_header(header: &[u8]) -> Option<(usize, u32, u64)> {
    let rest = header.strip_prefix(RECORD_MAGIC)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let (synced, _) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length <= MAX_PAYLOAD).then(|| {
        (
            length,
            u32::from_le_bytes(*crc),
            u64::from_le_bytes(*synced),
        )
    })
}

/// Whether an intact record after `offset` says that `offset` had been synced before: then the
/// bytes there were acknowledged once and are damaged now.
pub(crate) fn was_synced(file: &[u8], offset: u64) -> bool {
    let start = (offset as usize).min(file.len());
    memchr::memmem::find_iter(&file[start..], RECORD_MAGIC).any(|at| {
        let record = &file[start + at..];
        let Some((length, crc, synced)) = parse_header(record) else {
            return false;
        };
        let payload = record.get(RECORD_HEADER..RECORD_HEADER + length);
        synced > offset
            && payload.is_some_and(|payload| checksum(length as u32, synced, payload) == crc)
    })
}
