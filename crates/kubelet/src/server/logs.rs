//! Container logs over HTTP: read in pieces, filtered, and followed as they grow. A reader
//! that follows waits for the kernel to tell of changes, and for the container's end.

use super::Server;
use super::routes::{Body, Query, find, text};
use crate::changes::Changes;
use crate::logs::{Entry, parse, tail_offset};
use crate::pods::worker::Handle;
use bytes::Bytes;
use fluyt_kubelet_core::model::{self, State};
use fluyt_kubelet_core::names;
use futures::StreamExt;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

const PIECE: usize = 64 * 1024;
/// Pieces that wait for a slow reader.
const PIECES_AHEAD: usize = 4;

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
struct Wanted {
    follow: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    timestamps: bool,
    limit: Option<u64>,
    stream: Option<&'static str>,
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, String> {
        let number = |name: &str| match query.get(name) {
            None | Some("") => Ok(None),
            Some(value) => value
                .parse::<u64>()
                .map(Some)
                .map_err(|_| format!("{name}: {value:?} is not a number")),
        };
        let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
            (Some(seconds), _) => {
                let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                Timestamp::now().checked_sub(ago).ok()
            }
            (None, Some(time)) if !time.is_empty() => Some(
                time.parse()
                    .map_err(|_| format!("sinceTime: {time:?} is not a time"))?,
            ),
            _ => None,
        };
        let tail = match query.get("tail") {
            Some("all") => None,
            Some(_) => number("tail")?,
            None => number("tailLines")?,
        };
        Ok(Self {
            follow: query.flag(&["follow"]),
            tail: tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
            since,
            timestamps: query.flag(&["timestamps"]),
            limit: number("limitBytes")?,
            stream: match query.get("stream") {
                Some("Stdout") => Some("stdout"),
                Some("Stderr") => Some("stderr"),
                _ => None,
            },
        })
    }
}

/// A container's log.
pub(super) fn answer(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Response<Body> {
    let Some(handle) = find(server, namespace, pod) else {
        return text(404, format!("pod {pod:?} does not exist\n"));
    };
    let current = handle.current.read().clone();
    if model::find_container(&current, container).is_none() {
        return text(
            404,
            format!("container {container:?} not found in pod {pod:?}\n"),
        );
    }
    let wanted = match Wanted::of(query) {
        Ok(wanted) => wanted,
        Err(message) => return text(400, message),
    };
    let previous = query.flag(&["previous"]);
    let chosen = {
        let observed = handle.observed.read();
        let mut all = observed
            .containers
            .iter()
            .filter(|found| found.name == container);
        if previous {
            all.nth(1).cloned()
        } else {
            all.next().cloned()
        }
    };
    let Some(chosen) = chosen else {
        return text(400, refusal(&current, container, previous));
    };
    let path = names::pod_log_directory(&server.context.settings.logs, &current)
        .join(names::container_log(container, chosen.restart_count));
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let reader = Reader {
        path,
        wanted,
        id: chosen.id,
        handle,
        sender,
        sent: 0,
    };
    tokio::spawn(reader.run());
    let pieces = tokio_util_stream(receiver).map(|bytes| Ok(Frame::data(bytes)));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    let kind = http::HeaderValue::from_static("text/plain");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}

fn tokio_util_stream(
    receiver: mpsc::Receiver<Bytes>,
) -> impl futures::Stream<Item = Bytes> + Send + Sync {
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

/// Why a container has no log.
fn refusal(pod: &k8s_openapi::api::core::v1::Pod, container: &str, previous: bool) -> String {
    if previous {
        return format!(
            "previous terminated container {container:?} in pod {:?} not found",
            model::name(pod)
        );
    }
    let status = pod.status.as_ref();
    let lists = status.map(|status| {
        [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ]
    });
    let found = lists
        .into_iter()
        .flatten()
        .flatten()
        .flatten()
        .find(|status| status.name == container);
    let waiting = found
        .and_then(|status| status.state.as_ref())
        .and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.clone())
        .unwrap_or_else(|| "ContainerCreating".to_owned());
    let why = match reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
        reason => reason.to_owned(),
    };
    format!(
        "container {container:?} in pod {:?} is waiting to start: {why}",
        model::name(pod)
    )
}

struct Reader {
    path: PathBuf,
    wanted: Wanted,
    id: String,
    handle: Handle,
    sender: mpsc::Sender<Bytes>,
    sent: u64,
}

impl Reader {
    async fn run(mut self) {
        if let Err(error) = self.read().await {
            tracing::debug!(log = %self.path.display(), %error, "reading stopped");
        }
    }

    async fn read(&mut self) -> std::io::Result<()> {
        let mut changes = Changes::new()?;
        let mut looks = self.handle.looks.subscribe();
        let mut file = File::open(&self.path).await?;
        if let Some(lines) = self.wanted.tail {
            let path = self.path.clone();
            let offset = tokio::task::spawn_blocking(move || tail_offset(&path, lines)).await??;
            file.seek(std::io::SeekFrom::Start(offset)).await?;
        }
        if self.wanted.follow {
            changes.watch_file(&self.path)?;
        }
        let mut rest = Vec::new();
        loop {
            // Asked before reading to the end: what was written before the end is read.
            let ended = !self.wanted.follow || !self.still_runs();
            if !self.read_to_end(&mut file, &mut rest).await? {
                return Ok(());
            }
            if let Some(fresh) = self.rotated(&file).await {
                file = fresh;
                changes = Changes::new()?;
                changes.watch_file(&self.path)?;
                continue;
            }
            if ended {
                return Ok(());
            }
            tokio::select! {
                changed = changes.next() => changed?,
                looked = looks.changed() => if looked.is_err() { return Ok(()) },
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    fn still_runs(&self) -> bool {
        let observed = self.handle.observed.read();
        observed
            .containers
            .iter()
            .any(|container| container.id == self.id && container.state == State::Running)
    }

    /// The new file, if the log was moved away and written anew.
    async fn rotated(&self, file: &File) -> Option<File> {
        use std::os::unix::fs::MetadataExt;
        let old = file.metadata().await.ok()?.ino();
        let new = tokio::fs::metadata(&self.path).await.ok()?.ino();
        if old == new {
            return None;
        }
        File::open(&self.path).await.ok()
    }

    /// Sends everything up to the end of the file; false when the reader has enough.
    async fn read_to_end(&mut self, file: &mut File, rest: &mut Vec<u8>) -> std::io::Result<bool> {
        let mut buffer = vec![0; PIECE];
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                return Ok(true);
            }
            rest.extend_from_slice(&buffer[..count]);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let complete: Vec<u8> = rest.drain(..=end).collect();
            let mut output = Vec::with_capacity(complete.len());
            let lines = complete.split(|byte| *byte == b'\n').filter_map(parse);
            lines.for_each(|entry| self.append(&entry, &mut output));
            if !self.send(output).await {
                return Ok(false);
            }
        }
    }

    fn append(&self, entry: &Entry<'_>, output: &mut Vec<u8>) {
        if self
            .wanted
            .stream
            .is_some_and(|stream| stream != entry.stream)
        {
            return;
        }
        if let Some(since) = self.wanted.since
            && entry
                .time
                .parse::<Timestamp>()
                .is_ok_and(|time| time < since)
        {
            return;
        }
        if self.wanted.timestamps {
            output.extend_from_slice(entry.time.as_bytes());
            output.push(b' ');
        }
        output.extend_from_slice(entry.text);
        if !entry.partial {
            output.push(b'\n');
        }
    }

    async fn send(&mut self, mut output: Vec<u8>) -> bool {
        if let Some(limit) = self.wanted.limit {
            let left = usize::try_from(limit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
            output.truncate(left);
        }
        self.sent += output.len() as u64;
        if !output.is_empty() && self.sender.send(output.into()).await.is_err() {
            return false;
        }
        self.wanted.limit.is_none_or(|limit| self.sent < limit)
    }
}
