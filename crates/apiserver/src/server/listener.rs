//! Accepts connections until shutdown, then waits for the requests that are under way, but not long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use crate::authn::{User, x509};
use crate::core::Core;
use crate::dispatch::Peer;

/// A client must finish its TLS handshake within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Binds, naming the flag in the error.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("--{flag}: cannot listen on {address}"))
}

/// Serves one listener; with an acceptor it speaks TLS.
pub(crate) struct Server {
    pub(crate) core: Arc<Core>,
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Server {
    pub(crate) async fn run(self) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => self.spawn(stream),
                Err(error) => {
                    // Out of descriptors or the like: connections that end will make room.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let core = self.core.clone();
        let shutdown = self.shutdown.clone();
        let Some(acceptor) = self.tls.clone() else {
            let peer = Arc::new(Peer {
                user: Some(User::unsecured()),
                unchecked: true,
            });
            self.tasks
                .spawn(connection::serve(core, peer, stream, shutdown));
            return;
        };
        self.tasks.spawn(async move {
            let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake failed");
                    return;
                }
                Err(_) => return,
            };
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first());
            let peer = Arc::new(Peer {
                user: certificate.and_then(x509::user),
                unchecked: false,
            });
            connection::serve(core, peer, stream, shutdown).await;
        });
    }
}
