//! The kubelet's own server: logs, exec, port-forward, statistics, health. Requests come
//! from the API server on behalf of users; each is authenticated and authorized first.

mod auth;
mod logs;
mod routes;
mod spdy;
mod stats;
mod stream;
mod tls;
mod translate;

use crate::context::Context;
use crate::pods::manager::Handles;
use anyhow::Context as _;
use auth::{Authority, Peer};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections at the same time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 1000;

/// What requests are answered from.
pub(crate) struct Server {
    pub context: Arc<Context>,
    pub handles: Handles,
    authority: Authority,
}

/// The listening server.
pub(crate) struct Listening {
    server: Arc<Server>,
    listener: TcpListener,
    tls: TlsAcceptor,
    health: Option<TcpListener>,
}

impl Server {
    /// Binds the ports; `None` when the server is off.
    pub async fn bind(
        context: Arc<Context>,
        handles: Handles,
    ) -> anyhow::Result<Option<Listening>> {
        let settings = &context.settings;
        if settings.port == 0 {
            return Ok(None);
        }
        let address = (settings.address, settings.port);
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {}:{} (--address, --port)",
                address.0, address.1
            )
        })?;
        // Health is a convenience: another kubelet of this machine may have the port.
        let health = match settings.healthz_port {
            0 => None,
            port => TcpListener::bind(("127.0.0.1", port)).await.ok(),
        };
        let tls = tls::acceptor(&context)?;
        let authority = Authority::new(context.clone());
        let server = Arc::new(Server {
            context,
            handles,
            authority,
        });
        Ok(Some(Listening {
            server,
            listener,
            tls,
            health,
        }))
    }
}

impl Listening {
    /// The port that was bound.
    pub fn port(&self) -> u16 {
        self.listener
            .local_addr()
            .map_or(0, |address| address.port())
    }

    /// Serves until shutdown; open streams end with the process.
    pub async fn run(self, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        if let Some(health) = self.health {
            tokio::spawn(serve_health(health, shutdown.clone()));
        }
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (server, tls, shutdown) = (self.server.clone(), self.tls.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = serve(server, tls, stream) => {}
                    () = shutdown.cancelled() => {}
                }
                drop(slot);
            });
        }
    }
}

async fn serve(server: Arc<Server>, tls: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let handshake =
        tokio::time::timeout(std::time::Duration::from_secs(10), tls.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    let peer = Arc::new(Peer::of(stream.get_ref().1.peer_certificates()));
    let service = service_fn(move |request| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(routes::answer(server, &peer, request).await) }
    });
    let connection = Builder::new(TokioExecutor::new());
    if let Err(error) = connection
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a connection ended");
    }
}

/// `/healthz` without TLS on loopback.
async fn serve_health(listener: TcpListener, shutdown: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        tokio::spawn(async move {
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let known = request.uri().path() == "/healthz";
                let (code, text) = if known {
                    (200, "ok")
                } else {
                    (404, "404 page not found\n")
                };
                Ok::<_, std::convert::Infallible>(routes::text(code, text))
            });
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
