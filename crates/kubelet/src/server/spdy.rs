//! SPDY/3.1 frames as far as a runtime's streaming server needs them: the only protocol it speaks
//! in which one side can end a stream and leave the others open.
//!
//! Pure: bytes in, events out, and frames as bytes. Whatever the other side sends ends in an event
//! or an error, and nothing is held but the frame's head and what was handed in. There is no flow
//! control, as in the servers' library (moby/spdystream); the connection's own slows both sides.
//! Source: the SPDY/3.1 draft, section 2.6.

use bytes::{Buf, Bytes, BytesMut};

/// Payload of one frame; more is split.
pub(super) const BLOCK: usize = 32 * 1024;
/// Control frames longer than this are not part of any exchange with a runtime.
const LONGEST_CONTROL: usize = 64 * 1024;
const HEAD: usize = 8;
const CONTROL: u32 = 1 << 31;
const VERSION: u16 = 3;
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// What the other side did.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// It accepted a stream, and with `last` has nothing to send on it.
    Reply { stream: u32, last: bool },
    /// Some bytes of a stream; after `last` there are none.
    Data {
        stream: u32,
        bytes: Bytes,
        last: bool,
    },
    /// It gave up a stream in both directions.
    Reset { stream: u32 },
    /// It wants this frame back, if it began the exchange.
    Ping { id: u32 },
    /// It ends the session.
    GoAway,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(super) enum Malformed {
    #[error("SPDY frame of version {0}, not 3")]
    Version(u16),
    #[error("SPDY control frame of type {kind} with {length} bytes")]
    Length { kind: u16, length: usize },
    #[error("SPDY frame of stream 0")]
    Stream,
}

/// Cuts what was received into events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The data frame whose payload is coming in.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    stream: u32,
    left: usize,
    last: bool,
}

impl Decoder {
    /// The next event, taken off the front of `input`; none until more has arrived.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Malformed> {
        loop {
            if let Some(open) = self.open.take() {
                return Ok(self.payload(open, input));
            }
            let Some(mut head) = input.get(..HEAD) else {
                return Ok(None);
            };
            let (first, second) = (head.get_u32(), head.get_u32());
            let (flags, length) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
            if first & CONTROL == 0 {
                if first == 0 {
                    return Err(Malformed::Stream);
                }
                input.advance(HEAD);
                self.open = Some(Open {
                    stream: first,
                    left: length,
                    last: flags & FIN != 0,
                });
                continue;
            }
            let (version, kind) = ((first >> 16) as u16 & 0x7fff, first as u16);
            if version != VERSION {
                return Err(Malformed::Version(version));
            }
            if length > LONGEST_CONTROL {
                return Err(Malformed::Length { kind, length });
            }
            if input.len() < HEAD + length {
                return Ok(None);
            }
            input.advance(HEAD);
            let body = input.split_to(length).freeze();
            if let Some(event) = control(kind, flags, body)? {
                return Ok(Some(event));
            }
        }
    }

    /// What is there of a data frame's payload.
    fn payload(&mut self, mut open: Open, input: &mut BytesMut) -> Option<Event> {
        if input.is_empty() && open.left > 0 {
            self.open = Some(open);
            return None;
        }
        let bytes = input.split_to(open.left.min(input.len())).freeze();
        open.left -= bytes.len();
        let whole = open.left == 0;
        let event = Event::Data {
            stream: open.stream,
            bytes,
            last: whole && open.last,
        };
        if !whole {
            self.open = Some(open);
        }
        Some(event)
    }
}

/// A control frame's meaning; none for those that change nothing here: settings, windows,
/// streams that the other side wants to open. The blocks of headers are not read.
fn control(kind: u16, flags: u8, mut body: Bytes) -> Result<Option<Event>, Malformed> {
    let needed = match kind {
        SYN_REPLY | PING | HEADERS => 4,
        RST_STREAM | GOAWAY => 8,
        _ => return Ok(None),
    };
    if body.len() < needed {
        let length = body.len();
        return Err(Malformed::Length { kind, length });
    }
    let id = body.get_u32();
    let stream = id & !CONTROL;
    let last = flags & FIN != 0;
    Ok(match kind {
        PING => Some(Event::Ping { id }),
        GOAWAY => Some(Event::GoAway),
        _ if stream == 0 => return Err(Malformed::Stream),
        RST_STREAM => Some(Event::Reset { stream }),
        SYN_REPLY => Some(Event::Reply { stream, last }),
        // Later headers say nothing, but may be the end.
        _ => last.then(|| Event::Data {
            stream,
            bytes: Bytes::new(),
            last,
        }),
    })
}

/// Opens streams, whose numbers a client counts up in odd steps.
#[derive(Debug, Default)]
pub(super) struct Opener {
    opened: u32,
}

impl Opener {
    /// The number of the next stream and the frame that opens it with one header.
    pub fn open(&mut self, name: &str, value: &str) -> (u32, Vec<u8>) {
        let stream = self.opened * 2 + 1;
        let mut block = Vec::new();
        // One zlib stream runs through all blocks of a session; its head is in the first.
        if self.opened == 0 {
            block.extend_from_slice(&ZLIB_HEAD);
        }
        self.opened += 1;
        block.extend(stored(&header_block(name, value)));
        let mut body = Vec::with_capacity(10 + block.len());
        body.extend_from_slice(&stream.to_be_bytes());
        // No associated stream, the highest priority, no credentials.
        body.extend_from_slice(&[0; 6]);
        body.extend(block);
        (stream, control_frame(SYN_STREAM, &body))
    }
}

/// Deflate with a window of 32 KiB and a dictionary: the one of SPDY/3, known by its Adler-32.
/// Nothing that is sent refers to it.
const ZLIB_HEAD: [u8; 6] = [0x78, 0x20, 0xe3, 0xc6, 0xa7, 0xc2];

/// The number of headers, then each name and value with their lengths.
fn header_block(name: &str, value: &str) -> Vec<u8> {
    let mut block = 1_u32.to_be_bytes().to_vec();
    for text in [name, value] {
        block.extend_from_slice(&(text.len() as u32).to_be_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    block
}

/// Deflate's stored blocks, and an empty one that makes the reader hand out what it has.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 10);
    let parts = bytes.chunks(usize::from(u16::MAX));
    for part in parts.chain([&[] as &[u8]]) {
        let length = part.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A data frame's head for at most [`BLOCK`] bytes of payload, which follow it.
pub(super) fn data_head(stream: u32, length: usize, last: bool) -> [u8; HEAD] {
    debug_assert!(length <= BLOCK);
    let flags = if last { u32::from(FIN) << 24 } else { 0 };
    head(stream, flags | length as u32)
}

/// A ping, or the answer to one.
pub(super) fn ping(id: u32) -> Vec<u8> {
    control_frame(PING, &id.to_be_bytes())
}

fn control_frame(kind: u16, body: &[u8]) -> Vec<u8> {
    let first = CONTROL | u32::from(VERSION) << 16 | u32::from(kind);
    let mut frame = head(first, body.len() as u32).to_vec();
    frame.extend_from_slice(body);
    frame
}

fn head(first: u32, second: u32) -> [u8; HEAD] {
    (u64::from(first) << 32 | u64::from(second)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(input: &[u8]) -> Result<Vec<Event>, Malformed> {
        let mut input = BytesMut::from(input);
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        while let Some(event) = decoder.next(&mut input)? {
            events.push(event);
        }
        Ok(events)
    }

    fn data(stream: u32, bytes: &'static [u8], last: bool) -> Event {
        let bytes = Bytes::from_static(bytes);
        Event::Data {
            stream,
            bytes,
            last,
        }
    }

    fn data_frame(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
        [data_head(stream, bytes.len(), last).as_slice(), bytes].concat()
    }

    #[test]
    fn streams_are_opened_in_odd_steps() {
        let mut opener = Opener::default();
        let (first, frame) = opener.open("streamtype", "error");
        let block = b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error";
        let length = block.len() as u8;
        let expected = [
            b"\x80\x03\0\x01\0\0\0".as_slice(),
            &[10 + 6 + 5 + length + 5],
            b"\0\0\0\x01\0\0\0\0\0\0",
            b"\x78\x20\xe3\xc6\xa7\xc2",
            &[0, length, 0, !length, 0xff],
            block,
            b"\0\0\0\xff\xff",
        ]
        .concat();
        assert_eq!((first, frame), (1, expected));
        let (second, frame) = opener.open("streamtype", "stdin");
        assert_eq!(second, 3);
        assert_eq!(frame[8..18], *b"\0\0\0\x03\0\0\0\0\0\0");
        assert_eq!(frame[18], 0, "the zlib stream goes on");
    }

    #[test]
    fn frames_become_events() {
        let frames = [
            control_frame(SYN_REPLY, b"\0\0\0\x01what follows is not read"),
            control_frame(4, b"\0\0\0\0"),
            data_frame(3, b"hello", false),
            data_frame(3, b"", true),
            ping(2),
            control_frame(9, b"\0\0\0\x01\0\0\0\x01"),
            control_frame(RST_STREAM, b"\0\0\0\x05\0\0\0\x05"),
            control_frame(GOAWAY, b"\0\0\0\x05\0\0\0\0"),
        ]
        .concat();
        let expected = vec![
            Event::Reply {
                stream: 1,
                last: false,
            },
            data(3, b"hello", false),
            data(3, b"", true),
            Event::Ping { id: 2 },
            Event::Reset { stream: 5 },
            Event::GoAway,
        ];
        assert_eq!(events(&frames), Ok(expected));
    }

    #[test]
    fn headers_may_be_the_end_of_a_stream() {
        let mut frame = control_frame(HEADERS, b"\0\0\0\x07");
        assert_eq!(events(&frame), Ok(vec![]));
        frame[4] = FIN;
        assert_eq!(events(&frame), Ok(vec![data(7, b"", true)]));
    }

    #[test]
    fn bytes_may_come_one_by_one() {
        let frames = [
            data_frame(1, b"abc", true),
            ping(2),
            data_frame(3, b"d", false),
        ]
        .concat();
        let (mut input, mut decoder) = (BytesMut::new(), Decoder::default());
        let mut found = Vec::new();
        for byte in frames {
            input.extend_from_slice(&[byte]);
            while let Some(event) = decoder.next(&mut input).unwrap() {
                found.push(event);
            }
        }
        let expected = vec![
            data(1, b"a", false),
            data(1, b"b", false),
            data(1, b"c", true),
            Event::Ping { id: 2 },
            data(3, b"d", false),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn bad_frames_are_errors() {
        for (frame, expected) in [
            (b"\x80\x02\0\x06\0\0\0\x04".to_vec(), Malformed::Version(2)),
            (data_frame(0, b"x", false), Malformed::Stream),
            (
                control_frame(RST_STREAM, b"\0\0\0\0\0\0\0\x01"),
                Malformed::Stream,
            ),
            (
                control_frame(PING, b"\0"),
                Malformed::Length {
                    kind: PING,
                    length: 1,
                },
            ),
            (
                b"\x80\x03\0\x02\0\xff\xff\xff".to_vec(),
                Malformed::Length {
                    kind: SYN_REPLY,
                    length: 0x00ff_ffff,
                },
            ),
        ] {
            assert_eq!(events(&frame), Err(expected), "{frame:?}");
        }
    }

    #[test]
    fn any_bytes_are_events_or_errors() {
        // A small generator of its own: the same bytes in each run.
        let mut state = 7_u64;
        let mut byte = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        for _ in 0..2000 {
            let mut input: Vec<u8> = (0..64).map(|_| byte()).collect();
            // Half of them look like control frames of the right version.
            if byte() & 1 == 0 {
                input[..3].copy_from_slice(b"\x80\x03\0");
                input[3] %= 10;
                input[5..7].copy_from_slice(b"\0\0");
            }
            let _ = events(&input);
        }
    }
}
