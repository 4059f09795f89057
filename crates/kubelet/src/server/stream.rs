//! Exec, attach and port-forward. The runtime serves the streams itself on loopback; the
//! kubelet connects the two ends and copies bytes, whatever protocol they speak. Only the
//! one that no runtime speaks is translated.

use super::Server;
use super::routes::{Body, Query, find, text};
use super::translate::{self, Wanted};
use bytes::Bytes;
use fluyt_cri::{AttachRequest, ExecRequest, PortForwardRequest};
use fluyt_kubelet_core::model::State;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A command's output as one answer.
pub(super) async fn run(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Response<Body> {
    let id = match running(server, namespace, pod, container) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let command = match query.all("command").as_slice() {
        // The old form: one parameter with spaces.
        [] => query
            .get("cmd")
            .unwrap_or_default()
            .split(' ')
            .map(str::to_owned)
            .collect(),
        command => command.to_vec(),
    };
    match server.context.cri.exec_sync(&id, command, 0).await {
        Ok(answer) => {
            let mut output = answer.stdout;
            output.extend(answer.stderr);
            text(200, output)
        }
        Err(error) => text(500, error.to_string()),
    }
}

pub(super) async fn exec(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Response<Body> {
    let id = match running(server, namespace, pod, container) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let tty = query.flag(&["tty"]);
    let wanted = ExecRequest {
        container_id: id,
        cmd: query.all("command"),
        tty,
        stdin: query.flag(&["input", "stdin"]),
        stdout: query.flag(&["output", "stdout"]),
        // With a terminal there is only one output.
        stderr: query.flag(&["error", "stderr"]) && !tty,
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return text(400, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let streams = Wanted {
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty,
    };
    match server.context.cri.exec(wanted).await {
        Ok(answer) => connect(&answer.url, streams, request).await,
        Err(error) => text(500, error.to_string()),
    }
}

pub(super) async fn attach(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Response<Body> {
    let id = match running(server, namespace, pod, container) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let tty = query.flag(&["tty"]);
    let wanted = AttachRequest {
        container_id: id,
        tty,
        stdin: query.flag(&["input", "stdin"]),
        stdout: query.flag(&["output", "stdout"]),
        stderr: query.flag(&["error", "stderr"]) && !tty,
    };
    let streams = Wanted {
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty,
    };
    match server.context.cri.attach(wanted).await {
        Ok(answer) => connect(&answer.url, streams, request).await,
        Err(error) => text(500, error.to_string()),
    }
}

pub(super) async fn port_forward(
    server: &Server,
    namespace: &str,
    pod: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(handle) = find(server, namespace, pod) else {
        return text(404, "pod does not exist");
    };
    let sandbox = handle
        .observed
        .read()
        .sandbox()
        .filter(|sandbox| sandbox.ready)
        .map(|sandbox| sandbox.id.clone());
    let Some(pod_sandbox_id) = sandbox else {
        return text(
            400,
            format!("unable to forward port because pod is not running: {pod}"),
        );
    };
    let ports = query.all("port").into_iter().chain(query.all("ports"));
    let port = ports
        .flat_map(|list| {
            list.split(',')
                .filter_map(|port| port.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect();
    match server
        .context
        .cri
        .port_forward(PortForwardRequest {
            pod_sandbox_id,
            port,
        })
        .await
    {
        Ok(answer) => splice(&answer.url, request).await,
        Err(error) => text(500, error.to_string()),
    }
}

/// The id of a running container, or the answer that says why there is none.
fn running(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Result<String, Box<Response<Body>>> {
    let Some(handle) = find(server, namespace, pod) else {
        return Err(Box::new(text(404, "pod does not exist")));
    };
    let observed = handle.observed.read();
    match observed.latest(container) {
        Some(found) if found.state == State::Running => Ok(found.id.clone()),
        _ => Err(Box::new(text(
            500,
            format!("container not found ({container:?})"),
        ))),
    }
}

/// Connects the client's streams with the runtime's.
async fn connect(url: &str, streams: Wanted, request: Request<Incoming>) -> Response<Body> {
    if translate::asked_for(&request) {
        translate::answer(url, streams, request).await
    } else {
        splice(url, request).await
    }
}

/// A connection to the runtime's streaming server, and what to ask there.
pub(super) struct Dialled {
    pub sender: SendRequest<Empty<Bytes>>,
    pub authority: String,
    pub target: String,
}

/// Connects to the address of a streaming URL.
pub(super) async fn dial(url: &str) -> Result<Dialled, String> {
    let url: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let authority = url.authority().ok_or("no address")?.to_string();
    let stream = TcpStream::connect(&authority)
        .await
        .map_err(|error| format!("{authority}: {error}"))?;
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let target = target.to_owned();
    Ok(Dialled {
        sender,
        authority,
        target,
    })
}

/// What the runtime answered instead of changing the protocol.
pub(super) async fn refusal(answer: Response<Incoming>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let bytes = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    text(parts.status.as_u16(), bytes)
}

/// Sends the request on to the runtime and, once both sides have changed the protocol,
/// copies bytes both ways until one of them ends.
async fn splice(url: &str, request: Request<Incoming>) -> Response<Body> {
    match try_splice(url, request).await {
        Ok(response) => response,
        Err(error) => text(502, format!("the runtime's streaming server: {error}")),
    }
}

async fn try_splice(url: &str, mut request: Request<Incoming>) -> Result<Response<Body>, String> {
    let Dialled {
        mut sender,
        authority,
        target,
    } = dial(url).await?;
    let mut onward = Request::builder()
        .method(request.method())
        .uri(target)
        .header("Host", &authority);
    for (name, value) in request.headers() {
        // What is ours, and what the runtime's router would weigh against its formats.
        let ours = [
            http::header::HOST,
            http::header::AUTHORIZATION,
            http::header::CONTENT_LENGTH,
            http::header::ACCEPT,
            http::header::ACCEPT_ENCODING,
        ]
        .contains(name);
        if !ours {
            onward = onward.header(name, value);
        }
    }
    let onward = onward
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut answer = sender
        .send_request(onward)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refusal(answer).await);
    }
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let behind = hyper::upgrade::on(&mut answer);
    let before = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (Ok(behind), Ok(before)) = tokio::join!(behind, before) else {
            return;
        };
        let (mut behind, mut before) = (TokioIo::new(behind), TokioIo::new(before));
        let _ = tokio::io::copy_bidirectional(&mut before, &mut behind).await;
    });
    Ok(response)
}
