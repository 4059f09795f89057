//! Exec and attach for clients of `v5.channel.k8s.io`, the WebSocket protocol in which input can
//! end. Runtimes do not speak it; the kubelet accepts the WebSocket and opens SPDY to the runtime,
//! as Kubernetes' API server does towards its nodes.
//!
//! Each direction is a task of its own that holds one block: neither waits for the other, and a
//! side that does not read slows the one that writes. The session is over when the runtime has
//! ended all outputs, or when either connection is gone.

use super::routes::{Body, text};
use super::spdy::{self, Decoder, Event, Opener};
use super::stream::{Dialled, dial, refusal};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode,
};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

const PROTOCOL: &str = "v5.channel.k8s.io";
/// What the runtime is asked for: the error stream then carries a `Status`.
const RUNTIME_PROTOCOL: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// One message of a client; longer ones end the session.
const LONGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// A `Status`; a longer one ends the session.
const LONGEST_STATUS: usize = 64 * 1024;
/// How long the end of a session may take the client.
const LINGER: Duration = Duration::from_secs(10);

type Client = WebSocketStream<TokioIo<Upgraded>>;
type Runtime = TokioIo<Upgraded>;

/// The streams that the runtime expects for a request, beside that of the error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// Whether the request is for a WebSocket of version 5.
pub(super) fn asked_for<T>(request: &Request<T>) -> bool {
    let headers = request.headers();
    let websocket = headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut offered = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    websocket && offered.any(|protocol| protocol.trim() == PROTOCOL)
}

/// Opens both ends; the session then runs in the background.
pub(super) async fn answer(
    url: &str,
    wanted: Wanted,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let mut response = match create_response_with_body(&request, || Empty::new().boxed()) {
        Ok(response) => response,
        Err(error) => return text(400, error.to_string()),
    };
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    let runtime = match open(url).await {
        Ok(Ok(runtime)) => runtime,
        Ok(Err(refused)) => return refused,
        Err(error) => return text(502, format!("the runtime's streaming server: {error}")),
    };
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_MESSAGE));
        let client = TokioIo::new(client);
        let client = WebSocketStream::from_raw_socket(client, Role::Server, Some(config)).await;
        session(client, runtime, wanted).await;
    });
    response
}

/// A SPDY session with the runtime, or its refusal.
async fn open(url: &str) -> Result<Result<Runtime, Response<Body>>, String> {
    let Dialled {
        mut sender,
        authority,
        target,
    } = dial(url).await?;
    let request = Request::post(target)
        .header(HOST, authority)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "SPDY/3.1")
        .header("X-Stream-Protocol-Version", RUNTIME_PROTOCOL)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Err(refusal(answer).await));
    }
    let upgraded = hyper::upgrade::on(&mut answer)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Ok(TokioIo::new(upgraded)))
}

/// The numbers of the streams.
#[derive(Debug, Clone, Copy)]
struct Streams {
    error: u32,
    stdin: Option<u32>,
    stdout: Option<u32>,
    stderr: Option<u32>,
    resize: Option<u32>,
}

impl Streams {
    /// Numbers the wanted streams; and the frames that open them.
    fn open(wanted: Wanted) -> (Self, Vec<u8>) {
        let mut opener = Opener::default();
        let mut frames = Vec::new();
        let mut open = |kind: &str| {
            let (stream, frame) = opener.open("streamtype", kind);
            frames.extend(frame);
            stream
        };
        let streams = Self {
            error: open("error"),
            stdin: wanted.stdin.then(|| open("stdin")),
            stdout: wanted.stdout.then(|| open("stdout")),
            stderr: wanted.stderr.then(|| open("stderr")),
            resize: wanted.tty.then(|| open("resize")),
        };
        (streams, frames)
    }

    fn all(self) -> Vec<u32> {
        let optional = [self.stdin, self.stdout, self.stderr, self.resize];
        [Some(self.error)]
            .into_iter()
            .chain(optional)
            .flatten()
            .collect()
    }
}

/// Runs until the runtime has said how it went and the client has heard it.
async fn session(client: Client, runtime: Runtime, wanted: Wanted) {
    let (streams, frames) = Streams::open(wanted);
    let (reader, mut writer) = tokio::io::split(runtime);
    if writer.write_all(&frames).await.is_err() {
        return;
    }
    let (sink, source) = client.split();
    let (opened, when_opened) = oneshot::channel();
    let (echo, echoes) = mpsc::channel(4);
    let (gone, ended) = (CancellationToken::new(), CancellationToken::new());
    let input = Input {
        source,
        streams,
        writer: Some(writer),
        ended: ended.clone(),
        pinged: 0,
    };
    let client_gone = gone.clone();
    let mut input = tokio::spawn(async move {
        let source = input.run(when_opened, echoes).await;
        client_gone.cancel();
        source
    });
    let mut output = Output {
        sink,
        opened: Some(opened),
        echo,
        progress: Progress::new(streams),
    };
    let first = [(wanted.stdout, STDOUT), (wanted.stderr, STDERR)];
    let first = first.iter().find(|(wanted, _)| *wanted);
    // The client learns that the session is there, as from Kubernetes.
    let greeting = output.send(first.map_or(STATUS, |(_, channel)| *channel), &[]);
    let greeted = gone.run_until_cancelled(greeting).await;
    if let Some(Ok(())) = greeted
        && let Some(outcome) = gone.run_until_cancelled(output.run(reader)).await
    {
        ended.cancel();
        // Whoever still waits for the streams waits in vain.
        output.opened = None;
        let _ = tokio::time::timeout(LINGER, output.finish(outcome)).await;
        // What the client still sends is read: a reset would take the status from it.
        if let Ok(Ok(source)) = tokio::time::timeout(LINGER, &mut input).await
            && let Ok(mut client) = source.reunite(output.sink)
        {
            let _ = client.get_mut().shutdown().await;
        }
    }
    input.abort();
}

/// From the client to the runtime.
struct Input {
    source: SplitStream<Client>,
    streams: Streams,
    /// None when there is nobody to write to any more.
    writer: Option<WriteHalf<Runtime>>,
    ended: CancellationToken,
    pinged: u32,
}

impl Input {
    /// Until the client is gone. The runtime drops what arrives before it has accepted a stream.
    async fn run(
        mut self,
        opened: oneshot::Receiver<()>,
        mut echoes: mpsc::Receiver<u32>,
    ) -> SplitStream<Client> {
        if opened.await.is_err() {
            self.writer = None;
        }
        let mut echoing = true;
        loop {
            tokio::select! {
                message = self.source.next() => match message {
                    Some(Ok(message)) => self.message(message).await,
                    Some(Err(_)) | None => return self.source,
                },
                id = echoes.recv(), if echoing => match id {
                    Some(id) => self.write(spdy::ping(id)).await,
                    None => echoing = false,
                },
            }
        }
    }

    async fn message(&mut self, message: Message) {
        let message = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            // A sign of life for the one side is one for the other.
            Message::Ping(_) => {
                let id = self.pinged.wrapping_mul(2) | 1;
                self.pinged = self.pinged.wrapping_add(1);
                return self.write(spdy::ping(id)).await;
            }
            // Reading on answers it and ends the stream.
            Message::Close(_) | Message::Pong(_) | Message::Frame(_) => return,
        };
        match message.split_first() {
            Some((&CLOSE, [channel, ..])) => {
                if let Some(stream) = self.take(*channel) {
                    self.write(spdy::data_head(stream, 0, true).to_vec()).await;
                }
            }
            Some((&channel, data)) => {
                if let Some(stream) = self.stream(channel).and_then(|stream| *stream) {
                    for block in data.chunks(spdy::BLOCK) {
                        let head = spdy::data_head(stream, block.len(), false);
                        self.write([head.as_slice(), block].concat()).await;
                    }
                }
            }
            None => {}
        }
    }

    fn stream(&mut self, channel: u8) -> Option<&mut Option<u32>> {
        match channel {
            STDIN => Some(&mut self.streams.stdin),
            RESIZE => Some(&mut self.streams.resize),
            _ => None,
        }
    }

    /// The stream of a channel, which is closed from now on.
    fn take(&mut self, channel: u8) -> Option<u32> {
        self.stream(channel)?.take()
    }

    async fn write(&mut self, frame: Vec<u8>) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        let written = self.ended.run_until_cancelled(writer.write_all(&frame));
        if !matches!(written.await, Some(Ok(()))) {
            self.writer = None;
        }
    }
}

/// From the runtime to the client.
struct Output {
    sink: SplitSink<Client, Message>,
    /// Told when the runtime has accepted all streams.
    opened: Option<oneshot::Sender<()>>,
    echo: mpsc::Sender<u32>,
    progress: Progress,
}

impl Output {
    /// Until all outputs have ended; an error says why that will not happen.
    async fn run(&mut self, mut reader: ReadHalf<Runtime>) -> Result<(), String> {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::new();
        while !self.progress.is_over() {
            buffer.reserve(spdy::BLOCK);
            let length = reader.read_buf(&mut buffer).await;
            if length.map_err(|error| error.to_string())? == 0 {
                return Err("the runtime closed the connection".to_owned());
            }
            while let Some(event) = decoder
                .next(&mut buffer)
                .map_err(|error| error.to_string())?
            {
                self.event(event).await?;
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: Event) -> Result<(), String> {
        match self.progress.take(event)? {
            Step::None => {}
            Step::Opened => {
                if let Some(opened) = self.opened.take() {
                    let _ = opened.send(());
                }
            }
            Step::Send(channel, data) => {
                let sent = self.send(channel, &data).await;
                sent.map_err(|error| error.to_string())?;
            }
            // With input that nobody reads there is no place for it either.
            Step::Echo(id) => {
                let _ = self.echo.try_send(id);
            }
        }
        Ok(())
    }

    async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), Error> {
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(data);
        self.sink.send(Message::Binary(message.into())).await
    }

    /// Tells the client how it went, and that this was all.
    async fn finish(&mut self, outcome: Result<(), String>) {
        let status = match outcome {
            Ok(()) if self.progress.status.is_empty() => success(),
            Err(error) if self.progress.status.is_empty() => failure(&error),
            _ => std::mem::take(&mut self.progress.status),
        };
        if self.send(STATUS, &status).await.is_ok() {
            let close = CloseFrame {
                code: CloseCode::Normal,
                reason: Default::default(),
            };
            let _ = self.sink.send(Message::Close(Some(close))).await;
        }
    }
}

fn success() -> Vec<u8> {
    br#"{"metadata":{},"status":"Success"}"#.to_vec()
}

fn failure(error: &str) -> Vec<u8> {
    let status = serde_json::json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {error}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": error}]},
        "code": 500,
    });
    status.to_string().into_bytes()
}

/// What has come from the runtime, and what has not.
#[derive(Debug)]
struct Progress {
    streams: Streams,
    /// Streams that it has not accepted yet.
    unanswered: Vec<u32>,
    /// Outputs that have not ended.
    open: Vec<u32>,
    status: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Step {
    None,
    Opened,
    Send(u8, Bytes),
    Echo(u32),
}

impl Progress {
    fn new(streams: Streams) -> Self {
        let outputs = [Some(streams.error), streams.stdout, streams.stderr];
        Self {
            streams,
            unanswered: streams.all(),
            open: outputs.into_iter().flatten().collect(),
            status: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    fn take(&mut self, event: Event) -> Result<Step, String> {
        match event {
            Event::Reply { stream, last } => {
                let waiting = !self.unanswered.is_empty();
                self.unanswered.retain(|other| *other != stream);
                if last {
                    self.end(stream);
                }
                if waiting && self.unanswered.is_empty() {
                    return Ok(Step::Opened);
                }
            }
            Event::Data {
                stream,
                bytes,
                last,
            } => {
                let open = self.open.contains(&stream);
                if last {
                    self.end(stream);
                }
                if open && !bytes.is_empty() {
                    return self.data(stream, bytes);
                }
            }
            Event::Reset { stream } => {
                if self.unanswered.contains(&stream) {
                    return Err("the runtime refused a stream".to_owned());
                }
                self.end(stream);
            }
            // Even numbers are the server's; the others answer ours.
            Event::Ping { id } if id % 2 == 0 => return Ok(Step::Echo(id)),
            Event::Ping { .. } => {}
            Event::GoAway => self.open.clear(),
        }
        Ok(Step::None)
    }

    fn end(&mut self, stream: u32) {
        self.open.retain(|other| *other != stream);
    }

    fn data(&mut self, stream: u32, bytes: Bytes) -> Result<Step, String> {
        if stream == self.streams.error {
            if self.status.len() + bytes.len() > LONGEST_STATUS {
                self.status.clear();
                return Err("the runtime's status is too long".to_owned());
            }
            self.status.extend_from_slice(&bytes);
            return Ok(Step::None);
        }
        let channel = if Some(stream) == self.streams.stdout {
            STDOUT
        } else {
            STDERR
        };
        Ok(Step::Send(channel, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(stdin: bool, stderr: bool, tty: bool) -> (Streams, Progress) {
        let wanted = Wanted {
            stdin,
            stdout: true,
            stderr,
            tty,
        };
        let (streams, _) = Streams::open(wanted);
        (streams, Progress::new(streams))
    }

    fn data(stream: u32, bytes: &'static [u8], last: bool) -> Event {
        let bytes = Bytes::from_static(bytes);
        Event::Data {
            stream,
            bytes,
            last,
        }
    }

    #[test]
    fn streams_are_numbered_in_order() {
        let (streams, _) = started(true, true, false);
        assert_eq!(streams.all(), [1, 3, 5, 7]);
        let (streams, _) = started(true, false, true);
        assert_eq!((streams.stdout, streams.resize), (Some(5), Some(7)));
    }

    #[test]
    fn a_session_is_over_when_all_outputs_are() {
        let (streams, mut progress) = started(true, true, false);
        for stream in streams.all() {
            assert!(!progress.unanswered.is_empty());
            let last = false;
            let step = progress.take(Event::Reply { stream, last }).unwrap();
            assert_eq!(step == Step::Opened, stream == 7);
        }
        let hello = Bytes::from_static(b"hello");
        for (event, expected) in [
            (data(5, b"hello", false), Step::Send(STDOUT, hello.clone())),
            (data(7, b"hello", true), Step::Send(STDERR, hello)),
            (data(7, b"more", false), Step::None),
            (data(3, b"", true), Step::None),
            (Event::Ping { id: 2 }, Step::Echo(2)),
            (Event::Ping { id: 1 }, Step::None),
            (data(1, b"{}", false), Step::None),
            (data(5, b"", true), Step::None),
        ] {
            assert_eq!(progress.take(event), Ok(expected));
            assert!(!progress.is_over());
        }
        let reset = Event::Reset { stream: 1 };
        assert_eq!(progress.take(reset), Ok(Step::None));
        assert!(progress.is_over());
        assert_eq!(progress.status, b"{}");
    }

    #[test]
    fn a_refused_stream_or_an_endless_status_ends_it() {
        let (_, mut progress) = started(false, false, false);
        assert!(progress.take(Event::Reset { stream: 3 }).is_err());
        let (_, mut progress) = started(false, false, false);
        let block: &'static [u8] = &[b'x'; 40 * 1024];
        assert_eq!(progress.take(data(1, block, false)), Ok(Step::None));
        assert!(progress.take(data(1, block, false)).is_err());
    }

    #[test]
    fn version_5_is_asked_for_by_name() {
        for (upgrade, protocols, expected) in [
            ("websocket", "v5.channel.k8s.io, v4.channel.k8s.io", true),
            ("WebSocket", "v4.channel.k8s.io,v5.channel.k8s.io", true),
            ("websocket", "v4.channel.k8s.io", false),
            ("SPDY/3.1", "v5.channel.k8s.io", false),
        ] {
            let request = Request::get("/")
                .header(UPGRADE, upgrade)
                .header(SEC_WEBSOCKET_PROTOCOL, protocols)
                .body(())
                .unwrap();
            assert_eq!(asked_for(&request), expected, "{upgrade} {protocols}");
        }
    }
}
