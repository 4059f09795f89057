//! Health, metrics and configuration over HTTPS, as upstream serves them on --secure-port.
//!
//! Health is open to everybody. The rest is answered to callers on this machine, and to others that [`crate::clients`] lets in. What
//! people ask about pods is [`crate::why`].

mod pages;
mod resources;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use fluyt_client::kube::Client;
use fluyt_pki::{CertificateAuthority, Request as CertificateRequest, Usage};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Part;
use crate::config::Configuration;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::why::{self, Why};
use crate::{clients, publish};

/// Connections served together; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// Where it is reached.
pub struct Serving {
    pub url: String,
    /// PEM of who issued the certificate, when it was made here.
    pub authority: Option<String>,
}

/// Who sends requests over a connection.
#[derive(Clone)]
struct Caller {
    peer: IpAddr,
    /// By a client certificate.
    user: Option<clients::User>,
}

pub struct Server {
    address: SocketAddr,
    certificate: Option<(std::path::PathBuf, std::path::PathBuf)>,
    shared: Arc<Shared>,
}

struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    client: Client,
    configz: Value,
    /// What /flagz says.
    flags: String,
    started: jiff::Timestamp,
}

impl Server {
    pub fn new(options: &Options, configuration: &Configuration, part: &Part) -> Self {
        let files = options.tls_cert_file.clone();
        Self {
            address: SocketAddr::new(options.bind_address, options.secure_port),
            certificate: files.zip(options.tls_private_key_file.clone()),
            shared: Arc::new(Shared {
                metrics: part.metrics.clone(),
                health: part.health.clone(),
                client: part.client.clone(),
                configz: json!({"kubescheduler.config.k8s.io": configuration}),
                flags: options.in_effect(configuration),
                started: jiff::Timestamp::now(),
            }),
        }
    }

    /// Listens, then serves in the background until `stop`.
    pub async fn start(
        self,
        options: &Options,
        why: Why,
        stop: CancellationToken,
    ) -> anyhow::Result<Serving> {
        let listener = TcpListener::bind(self.address)
            .await
            .with_context(|| format!("--secure-port {}: cannot listen", self.address))?;
        let unspecified = self.address.ip().is_unspecified();
        let host = options
            .advertise_address
            .unwrap_or_else(|| match unspecified {
                true => publish::outward_address(),
                false => self.address.ip(),
            });
        let port = listener.local_addr().context("--secure-port")?.port();
        let authority = clients::authority(options, &self.shared.client).await?;
        let (acceptor, own_authority) = self.acceptor(host, authority.as_deref())?;
        tokio::spawn(async move {
            stop.run_until_cancelled(accept(listener, acceptor, self.shared, why))
                .await;
        });
        Ok(Serving {
            url: format!("https://{}", SocketAddr::new(host, port)),
            authority: own_authority,
        })
    }

    /// `host`: the address in the certificate, when one is made; `clients`: the authority of client certificates. Answers also who
    /// issued the certificate, where that is known.
    fn acceptor(
        &self,
        host: IpAddr,
        clients: Option<&str>,
    ) -> anyhow::Result<(TlsAcceptor, Option<String>)> {
        let mut own_authority = None;
        let (certificate, key) = match &self.certificate {
            Some((certificate, key)) => (
                std::fs::read_to_string(certificate)
                    .with_context(|| format!("--tls-cert-file {}", certificate.display()))?,
                std::fs::read_to_string(key)
                    .with_context(|| format!("--tls-private-key-file {}", key.display()))?,
            ),
            None => {
                let (certificate, key, authority) = self_signed(host)?;
                own_authority = Some(authority);
                (certificate, key)
            }
        };
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("the serving certificate")?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the serving key")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = clients::verifier(clients, &provider)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((TlsAcceptor::from(Arc::new(config)), own_authority))
    }
}

/// Certificate, key and the certificate of the authority that was made for them.
fn self_signed(host: IpAddr) -> anyhow::Result<(String, String, String)> {
    let authority = CertificateAuthority::generate("localhost-ca")?;
    let issued = authority.issue(&CertificateRequest {
        common_name: "localhost",
        organizations: &[],
        names: &[
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            host.to_string(),
        ],
        usage: Usage::Server,
    })?;
    let authority = authority.certificate().to_owned();
    Ok((issued.certificate, issued.key, authority))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, why: Why) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = room.clone().acquire_owned().await {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, say: others must give some back first.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let (acceptor, shared, why) = (acceptor.clone(), shared.clone(), why.clone());
        tokio::spawn(async move {
            serve(stream, peer.ip(), acceptor, shared, why).await;
            drop(permit);
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    why: Why,
) {
    let handshake = acceptor.accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(std::time::Duration::from_secs(10), handshake).await
    else {
        return;
    };
    let caller = Caller {
        peer,
        user: clients::user_of(stream.get_ref().1.peer_certificates()),
    };
    let service = service_fn(|request| {
        let (shared, why, caller) = (shared.clone(), why.clone(), caller.clone());
        async move { Ok::<_, Infallible>(answer(&shared, &why, &caller, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("connection of {peer}: {error}");
    }
}

async fn answer(
    shared: &Shared,
    why: &Why,
    caller: &Caller,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let root = path.split('/').nth(1).unwrap_or_default();
    if matches!(root, "healthz" | "livez" | "readyz") {
        return pages::health(&shared.health, path, request.uri().query());
    }
    let is_local = caller.peer.to_canonical().is_loopback();
    if !is_local && !clients::is_allowed(&shared.client, caller.user.as_ref(), &request).await {
        return text(StatusCode::FORBIDDEN, PLAIN, "Forbidden\n".to_owned());
    }
    match path {
        "/metrics" => text(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            shared.metrics.text(),
        ),
        "/metrics/resources" => match resources::text(&shared.client).await {
            Ok(body) => text(StatusCode::OK, PLAIN, body),
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                format!("{error}\n"),
            ),
        },
        "/configz" => text(
            StatusCode::OK,
            "application/json",
            shared.configz.to_string(),
        ),
        "/why" | "/why/what-if" => why::answer(why, request).await,
        "/flagz" => text(StatusCode::OK, PLAIN, pages::flags(&shared.flags)),
        "/statusz" => text(StatusCode::OK, PLAIN, pages::status(shared.started)),
        _ => text(
            StatusCode::NOT_FOUND,
            PLAIN,
            "404 page not found\n".to_owned(),
        ),
    }
}

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";

pub(crate) fn text(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let value = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
