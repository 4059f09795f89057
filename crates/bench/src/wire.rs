//! HTTP/1.1 on one kept connection, as little of it as a load generator needs: send bytes, read
//! the status, drain or look at the body.
//!
//! Not cancel-safe: a connection whose request was dropped half-way must be dropped too.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// More than this in a header or a chunk's length line is no HTTP.
const MAX_HEAD: usize = 64 << 10;
const READ: usize = 64 << 10;
/// How often a request is sent again that the server has no room for.
const MAX_RETRIES: usize = 10;

pub(crate) struct Connection {
    io: Box<dyn Io>,
    buffer: BytesMut,
}

/// How long an answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    length: Length,
    /// Of an overloaded server: how long to leave it alone.
    retry_after: Option<Duration>,
}

impl Connection {
    pub(crate) fn new(io: impl Io + 'static) -> Self {
        Connection {
            io: Box::new(io),
            buffer: BytesMut::with_capacity(READ),
        }
    }

    /// Sends a whole request and reads the head of its answer; `body` must follow.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<Head> {
        self.io.write_all(request).await.context("cannot send")?;
        self.io.flush().await.context("cannot send")?;
        loop {
            if let Some((head, length)) = parse_head(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(head);
            }
            ensure!(self.buffer.len() < MAX_HEAD, "the answer's head has no end");
            ensure!(self.fill().await? > 0, "the server closed the connection");
        }
    }

    /// Hands the body out piece by piece; returns its size.
    pub(crate) async fn body(
        &mut self,
        head: Head,
        mut sink: impl FnMut(&[u8]),
    ) -> anyhow::Result<u64> {
        match head.length {
            Length::Known(length) => {
                self.take(length, &mut sink).await?;
                Ok(length)
            }
            Length::Chunked => self.chunks(&mut sink).await,
            Length::UntilClose => {
                let mut total = 0;
                loop {
                    total += self.buffer.len() as u64;
                    sink(&self.buffer);
                    self.buffer.clear();
                    if self.fill().await? == 0 {
                        return Ok(total);
                    }
                }
            }
        }
    }

    /// One request of a load. A server that has too many requests in flight is asked again when it says (as client-go does, and as
    /// often); any other status but the expected one is an error with the answer in it.
    pub(crate) async fn expect(&mut self, request: &[u8], status: u16) -> anyhow::Result<u64> {
        let mut head = self.send(request).await?;
        for _ in 0..MAX_RETRIES {
            let (429, Some(pause)) = (head.status, head.retry_after) else {
                break;
            };
            self.body(head, |_| ()).await?;
            tokio::time::sleep(pause).await;
            head = self.send(request).await?;
        }
        if head.status == status {
            return self.body(head, |_| ()).await;
        }
        let mut text = Vec::new();
        self.body(head, |part| text.extend_from_slice(part)).await?;
        text.truncate(500);
        bail!(
            "HTTP {} instead of {status}: {}",
            head.status,
            String::from_utf8_lossy(&text)
        );
    }

    /// A request whose answer is wanted whole.
    pub(crate) async fn fetch(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let head = self.send(request).await?;
        let mut body = Vec::new();
        self.body(head, |part| body.extend_from_slice(part)).await?;
        Ok((head.status, body))
    }

    async fn chunks(&mut self, sink: &mut impl FnMut(&[u8])) -> anyhow::Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).context("a chunk without a length")?;
            if size == 0 {
                // Trailers, if any, end with an empty line.
                while !self.line().await?.is_empty() {}
                return Ok(total);
            }
            self.take(size, sink).await?;
            ensure!(
                self.line().await?.is_empty(),
                "a chunk is longer than it said"
            );
            total += size;
        }
    }

    async fn take(&mut self, length: u64, sink: &mut impl FnMut(&[u8])) -> anyhow::Result<()> {
        let mut left = length;
        loop {
            let now = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            if now > 0 {
                sink(&self.buffer[..now]);
                self.buffer.advance(now);
                left -= now as u64;
            }
            if left == 0 {
                return Ok(());
            }
            ensure!(
                self.fill().await? > 0,
                "the server closed the connection within an answer"
            );
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            ensure!(self.buffer.len() < MAX_HEAD, "a line has no end");
            ensure!(
                self.fill().await? > 0,
                "the server closed the connection within an answer"
            );
        }
    }

    async fn fill(&mut self) -> anyhow::Result<usize> {
        self.buffer.reserve(READ);
        self.io
            .read_buf(&mut self.buffer)
            .await
            .context("cannot read the answer")
    }
}

/// The head and its size, once it is there whole.
fn parse_head(buffer: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(size) = response.parse(buffer).context("this is not HTTP")?
    else {
        return Ok(None);
    };
    let status = response.code.context("an answer without a status")?;
    let (mut length, mut retry_after) = (Length::UntilClose, None);
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Length::Known(value.trim().parse().context("a bad content-length")?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") && value.contains("chunked")
        {
            length = Length::Chunked;
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after = value.trim().parse().ok().map(Duration::from_secs);
        }
    }
    if matches!(status, 204 | 304) {
        length = Length::Known(0);
    }
    let head = Head {
        status,
        length,
        retry_after,
    };
    Ok(Some((head, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server that answers with these bytes, torn into pieces of `piece`, is understood
    /// to have said.
    async fn understood(answer: &'static [u8], piece: usize) -> anyhow::Result<(u16, Vec<u8>)> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut request = [0; 4];
            theirs.read_exact(&mut request).await.unwrap();
            for part in answer.chunks(piece) {
                theirs.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let outcome = Connection::new(ours).fetch(b"GET ").await;
        server.await.unwrap();
        outcome
    }

    #[tokio::test]
    async fn answers_of_every_length_are_understood() {
        let cases: [(&[u8], u16, &[u8]); 5] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
            (
                b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
                201,
                b"hello",
            ),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
            (b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n", 409, b""),
            (b"HTTP/1.1 200 OK\r\n\r\nto the end", 200, b"to the end"),
        ];
        for (answer, status, body) in cases {
            for piece in [1, 2, 7, 1000] {
                let found = understood(answer, piece).await.unwrap();
                assert_eq!(found, (status, body.to_vec()), "in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn broken_answers_are_errors() {
        let cases: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"nonsense\r\n\r\n",
            b"",
        ];
        for answer in cases {
            assert!(understood(answer, 100).await.is_err(), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn an_unexpected_status_shows_the_answer() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!")
            .await
            .unwrap();
        let refused = Connection::new(ours)
            .expect(b"GET ", 200)
            .await
            .unwrap_err();
        assert_eq!(refused.to_string(), "HTTP 403 instead of 200: no!");
    }

    #[tokio::test]
    async fn a_server_without_room_is_asked_again() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let answers: [&[u8]; 2] = [
                b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 4\r\n\r\nbusy",
                b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
            ];
            for answer in answers {
                let mut request = [0; 4];
                theirs.read_exact(&mut request).await.unwrap();
                theirs.write_all(answer).await.unwrap();
            }
        });
        let size = Connection::new(ours).expect(b"GET ", 201).await.unwrap();
        assert_eq!(size, 2);
        server.await.unwrap();
    }
}
