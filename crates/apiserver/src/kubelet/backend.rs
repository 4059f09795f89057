//! One forwarded request: a connection of its own, the client's headers without its credentials, and, when the
//! backend switches protocols, both connections joined until one side ends.

use std::sync::Arc;
use std::time::Duration;

use fluyt_api::status::Status;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue,
    SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Answer, Request};
use crate::http::body::{Body, RequestBody};

const CONNECT: Duration = Duration::from_secs(10);
/// How much of an error's text is read.
const ERROR_BYTES: usize = 16 * 1024;

/// A server to forward to.
pub(crate) struct Backend {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Plain text when absent.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What is asked of it.
pub(crate) struct Forward {
    /// Path and query.
    pub(crate) target: String,
    /// Turn a failure's text into a Status, as for logs.
    pub(crate) errors_as_status: bool,
}

impl Backend {
    /// Sends the request on and answers with what comes back.
    pub(crate) async fn forward(&self, mut request: Request, forward: Forward) -> Answer {
        let body = request.body.take();
        let upgrade = request.upgrade.take();
        let outgoing = self.outgoing(&request, &forward, body)?;
        let answer = self.send(outgoing).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return switch(answer, upgrade, request.core.shutdown.clone());
        }
        if forward.errors_as_status && !answer.status().is_success() {
            return Err(failure(answer, &request).await);
        }
        let (mut parts, body) = answer.into_parts();
        for hop in [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE] {
            parts.headers.remove(hop);
        }
        Ok(Response::from_parts(parts, Body::Incoming(body)))
    }

    /// Status and text of a GET without credentials; of a long text the beginning.
    pub(crate) async fn get(&self, target: &str) -> Result<(StatusCode, String), Status> {
        let mut outgoing = http::Request::new(RequestBody::empty());
        *outgoing.uri_mut() = target
            .parse()
            .map_err(|error| Status::internal(format!("{target}: {error}")))?;
        let host = format!("{}:{}", bracketed(&self.host), self.port);
        let host = HeaderValue::from_str(&host)
            .map_err(|error| Status::internal(format!("{host}: {error}")))?;
        outgoing.headers_mut().insert(HOST, host);
        let answer = self.send(outgoing).await?;
        let code = answer.status();
        Ok((code, text(answer).await))
    }

    fn outgoing(
        &self,
        request: &Request,
        forward: &Forward,
        body: Option<RequestBody>,
    ) -> Result<http::Request<RequestBody>, Status> {
        let body = body.ok_or_else(|| Status::internal("the request's body is gone"))?;
        let mut outgoing = http::Request::new(body);
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = forward
            .target
            .parse()
            .map_err(|error| Status::bad_request(format!("forwarding: {error}")))?;
        let headers = outgoing.headers_mut();
        copy_headers(&request.headers, headers, &request.method);
        let host = format!("{}:{}", bracketed(&self.host), self.port);
        let host = HeaderValue::from_str(&host)
            .map_err(|error| Status::internal(format!("forwarding: {error}")))?;
        headers.insert(HOST, host);
        Ok(outgoing)
    }

    async fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<Response<Incoming>, Status> {
        let address = format!("{}:{}", bracketed(&self.host), self.port);
        let failed = |error: &dyn std::fmt::Display| {
            Status::internal(format!(
                "error dialing backend: dial tcp {address}: {error}"
            ))
        };
        let stream =
            tokio::time::timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port)))
                .await
                .map_err(|_| failed(&"i/o timeout"))?
                .map_err(|error| failed(&describe(&error)))?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => exchange(stream, request).await,
            Some(config) => {
                let name =
                    ServerName::try_from(self.host.clone()).map_err(|error| failed(&error))?;
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                let stream = tokio::time::timeout(CONNECT, connector.connect(name, stream))
                    .await
                    .map_err(|_| failed(&"TLS handshake timeout"))?
                    .map_err(|error| failed(&error))?;
                exchange(stream, request).await
            }
        }
    }
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

async fn exchange<S>(
    stream: S,
    request: http::Request<RequestBody>,
) -> Result<Response<Incoming>, Status>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| Status::internal(format!("error dialing backend: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Ends with the response's body, or when the upgraded connection is taken over.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a forwarded connection ended with an error");
        }
    });
    sender.send_request(request).await.map_err(failed)
}

/// Everything but the client's credentials and what belongs to its own connection.
fn copy_headers(from: &HeaderMap, to: &mut HeaderMap, method: &Method) {
    let upgrades = from.contains_key(UPGRADE);
    for (name, value) in from {
        let hop = *name == HOST
            || *name == AUTHORIZATION
            || name.as_str().starts_with("impersonate-")
            || *name == TRANSFER_ENCODING
            || (*name == CONNECTION && !upgrades)
            || (*name == CONTENT_LENGTH && upgrades && *method == Method::GET);
        if hop {
            continue;
        }
        if *name == SEC_WEBSOCKET_PROTOCOL {
            if let Some(value) = without_token(value) {
                to.append(SEC_WEBSOCKET_PROTOCOL, value);
            }
            continue;
        }
        to.append(name.clone(), value.clone());
    }
}

/// The offered protocols without the bearer token that browsers hide among them.
fn without_token(value: &HeaderValue) -> Option<HeaderValue> {
    let kept: Vec<&str> = value
        .to_str()
        .ok()?
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.starts_with("base64url.bearer."))
        .collect();
    HeaderValue::from_str(&kept.join(", ")).ok()
}

/// Joins the client's connection with the backend's.
fn switch(
    mut answer: Response<Incoming>,
    client: Option<OnUpgrade>,
    shutdown: CancellationToken,
) -> Answer {
    let Some(client) = client else {
        return Err(Status::bad_request(
            "the backend switches protocols, but this connection cannot",
        ));
    };
    let backend = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let length: HeaderName = CONTENT_LENGTH;
    for (name, value) in answer.headers() {
        if *name != length && *name != TRANSFER_ENCODING {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    tokio::spawn(async move {
        let joined = async {
            let (client, backend) = futures::try_join!(client, backend)?;
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            let copied = tokio::io::copy_bidirectional_with_sizes(
                &mut client,
                &mut backend,
                32 * 1024,
                32 * 1024,
            )
            .await;
            if let Err(error) = copied {
                tracing::debug!(%error, "a joined connection ended with an error");
            }
            Ok::<(), hyper::Error>(())
        };
        if let Some(Err(error)) = shutdown.run_until_cancelled(joined).await {
            tracing::debug!(%error, "switching protocols failed");
        }
    });
    Ok(response)
}

async fn text(answer: Response<Incoming>) -> String {
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
        if text.len() > ERROR_BYTES {
            text.truncate(ERROR_BYTES);
            break;
        }
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// The backend's refusal as a Status.
async fn failure(answer: Response<Incoming>, request: &Request) -> Status {
    let code = answer.status();
    let text = text(answer).await;
    let info = &request.info;
    match code.as_u16() {
        400 => Status::bad_request(text),
        401 => Status::unauthorized(),
        403 => Status::forbidden(&info.group_resource(), &info.name, text),
        404 => Status {
            code: 404,
            reason: "NotFound",
            message: format!(
                "the server could not find the requested resource ( {}/{} {})",
                info.resource, info.subresource, info.name
            ),
            details: Some(Default::default()),
        },
        503 => Status::service_unavailable(text),
        _ => Status::internal(text),
    }
}
