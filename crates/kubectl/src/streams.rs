//! Streams to containers: the channel protocol over a WebSocket, the terminal, and forwarded ports.
//!
//! Each binary message starts with its channel: 0 input, 1 output, 2 errors, 3 the final status, 4 sizes
//! of the terminal. Version 5 adds 255, by which one channel is closed.

use crate::failure::Failure;
use crate::object::Object;
use crate::rest::{Call, Rest};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Write};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Bytes, Message};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// Blocks of input read ahead of the connection.
const QUEUE: usize = 16;
const BLOCK: usize = 16 * 1024;

/// What is connected to the container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attached {
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
}

/// Runs a session on this process's standard streams until the container's side ends it; true if
/// it had anything to say.
pub(crate) async fn session(rest: &Rest, call: &Call, attached: Attached) -> Result<bool, Failure> {
    let connection = rest.upgrade(call).await?;
    let input = attached.stdin.then(read_stdin);
    let _raw = if attached.tty {
        RawTerminal::enter()
    } else {
        None
    };
    let mut spoke = false;
    run(connection, input, attached.tty, |channel, data| {
        spoke = true;
        let written = if channel == STDERR {
            std::io::stderr().write_all(data)
        } else {
            let mut out = std::io::stdout();
            out.write_all(data).and_then(|()| out.flush())
        };
        written.is_ok()
    })
    .await?;
    Ok(spoke)
}

/// Runs a command without a terminal; `input` is fed to it, its output goes to `sink`.
pub(crate) async fn pipe(
    rest: &Rest,
    call: &Call,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let connection = rest.upgrade(call).await?;
    run(connection, input, false, |channel, data| match channel {
        STDOUT => sink(data).is_ok(),
        _ => std::io::stderr().write_all(data).is_ok(),
    })
    .await
}

async fn run(
    connection: kube::client::Connection,
    mut input: Option<mpsc::Receiver<Vec<u8>>>,
    tty: bool,
    mut output: impl FnMut(u8, &[u8]) -> bool,
) -> Result<(), Failure> {
    let can_close = connection.supports_stream_close();
    let (mut sender, mut receiver) = connection.into_stream().split();
    let mut sizes = tty.then(TerminalSizes::new).flatten();
    if let Some(size) = sizes.as_ref().and_then(|_| terminal_size()) {
        send(&mut sender, RESIZE, size.as_bytes()).await?;
    }
    loop {
        tokio::select! {
            message = receiver.next() => {
                let message = match message {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return Err(broken(&error.to_string())),
                    None => return Err(broken("unexpected EOF")),
                };
                let data = match message {
                    Message::Binary(data) => data,
                    Message::Text(text) => Bytes::from(text),
                    Message::Close(_) => return Ok(()),
                    _ => continue,
                };
                let Some((&channel, data)) = data.split_first() else {
                    continue;
                };
                match channel {
                    STDOUT | STDERR if data.is_empty() => {}
                    STDOUT | STDERR
                        if !output(channel, data) => {
                            return Ok(());
                        }
                    STATUS if !data.is_empty() => return final_status(data),
                    _ => {}
                }
            }
            block = next_block(&mut input) => match block {
                Some(block) => send(&mut sender, STDIN, &block).await?,
                None => {
                    input = None;
                    if can_close {
                        send(&mut sender, CLOSE, &[STDIN]).await?;
                    } else {
                        // Without a way to close the channel an empty block ends the input.
                        send(&mut sender, STDIN, &[]).await?;
                    }
                }
            },
            size = next_size(&mut sizes) => {
                send(&mut sender, RESIZE, size.as_bytes()).await?;
            }
        }
    }
}

/// How the container fared is not known when the connection breaks.
fn broken(error: &str) -> Failure {
    Failure::message(format!("error reading from error stream: {error}"))
}

type Sender = futures::stream::SplitSink<
    tokio_tungstenite::WebSocketStream<hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>>,
    Message,
>;

async fn send(sender: &mut Sender, channel: u8, data: &[u8]) -> Result<(), Failure> {
    let mut message = Vec::with_capacity(data.len() + 1);
    message.push(channel);
    message.extend_from_slice(data);
    // A connection that is closing still has its status to tell: the reader finds out.
    let _ = sender.send(Message::Binary(message.into())).await;
    Ok(())
}

async fn next_block(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_size(sizes: &mut Option<TerminalSizes>) -> String {
    match sizes {
        Some(sizes) => sizes.next().await,
        None => std::future::pending().await,
    }
}

/// The `Status` at the end: how the command went.
fn final_status(data: &[u8]) -> Result<(), Failure> {
    let Ok(status) = serde_json::from_slice::<Value>(data) else {
        return Err(Failure::message(String::from_utf8_lossy(data).into_owned()));
    };
    if status["status"] == "Success" {
        return Ok(());
    }
    if status["reason"] == "NonZeroExitCode" {
        let code = status
            .list("details.causes")
            .iter()
            .find(|cause| cause["reason"] == "ExitCode")
            .and_then(|cause| cause.text("message").parse::<i32>().ok());
        if let Some(code) = code {
            return Err(Failure::Exact {
                text: format!("command terminated with exit code {code}"),
                code,
            });
        }
    }
    Err(Failure::message(status.text("message")))
}

/// Standard input in blocks. A thread of its own reads it, as a blocked read cannot be given up.
pub(crate) fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut block = vec![0; BLOCK];
        while let Ok(length) = stdin.read(&mut block) {
            if length == 0 || sender.blocking_send(block[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// The terminal without line editing and echo, until dropped.
struct RawTerminal {
    before: rustix::termios::Termios,
}

impl RawTerminal {
    fn enter() -> Option<RawTerminal> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = rustix::termios::tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &raw).ok()?;
        Some(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let stdin = std::io::stdin();
        let _ =
            rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal as the protocol writes it.
fn terminal_size() -> Option<String> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(json!({"Width": size.ws_col, "Height": size.ws_row}).to_string())
}

/// Changes of the terminal's size.
struct TerminalSizes {
    signals: tokio::signal::unix::Signal,
}

impl TerminalSizes {
    fn new() -> Option<TerminalSizes> {
        let kind = tokio::signal::unix::SignalKind::window_change();
        let signals = tokio::signal::unix::signal(kind).ok()?;
        Some(TerminalSizes { signals })
    }

    async fn next(&mut self) -> String {
        loop {
            if self.signals.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            if let Some(size) = terminal_size() {
                return size;
            }
        }
    }
}

/// Carries one accepted connection to a port of a pod: channel 0 is data, channel 1 is what went wrong;
/// the first message of each only names the port.
pub(crate) async fn forward(rest: &Rest, call: &Call, socket: TcpStream) -> Result<(), Failure> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let connection = rest.upgrade(call).await?;
    let (mut sender, mut receiver) = connection.into_stream().split();
    let (mut reader, mut writer) = socket.into_split();
    let mut block = vec![0; BLOCK];
    let mut named = [false; 2];
    let mut local_open = true;
    loop {
        tokio::select! {
            message = receiver.next() => {
                let data = match message {
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    Some(Ok(_)) => continue,
                };
                let Some((&channel, data)) = data.split_first() else {
                    continue;
                };
                let Some(named) = named.get_mut(usize::from(channel)) else {
                    continue;
                };
                if !std::mem::replace(named, true) && data.len() == 2 {
                    continue;
                }
                if channel == 1 {
                    return Err(Failure::message(String::from_utf8_lossy(data).into_owned()));
                }
                if writer.write_all(data).await.is_err() {
                    return Ok(());
                }
            }
            length = reader.read(&mut block), if local_open => match length {
                Ok(0) | Err(_) => {
                    // The other side may still have something to say; it ends the connection.
                    local_open = false;
                    let _ = sender.send(Message::Close(None)).await;
                }
                Ok(length) => send(&mut sender, STDIN, &block[..length]).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_how_it_went() {
        assert!(final_status(br#"{"status":"Success"}"#).is_ok());
        let failure = final_status(
            br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#,
        )
        .unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        assert_eq!(failure.render(), "command terminated with exit code 3");
        let failure =
            final_status(br#"{"status":"Failure","message":"no such file"}"#).unwrap_err();
        assert_eq!(failure.render(), "error: no such file");
    }
}
