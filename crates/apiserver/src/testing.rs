//! A server for tests: everything in memory, ports chosen by the system, no flags needed.

use std::net::SocketAddr;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::options::{Options, Storage};
use crate::running::{Running, start as start_with};

/// A running server that ends when it is told to, or is dropped.
pub struct TestServer {
    pub running: Running,
    pub shutdown: CancellationToken,
}

impl TestServer {
    /// The address of the port without TLS and authentication.
    pub fn address(&self) -> SocketAddr {
        self.running
            .insecure_addr()
            .expect("test servers have an insecure port")
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Ends the server and waits until it is gone.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.running.wait().await.expect("the server ends cleanly");
    }
}

/// Options of a server in memory on a free port without TLS.
pub fn options() -> Options {
    Options {
        storage: Some(Storage::Memory),
        secure_port: 0,
        any_insecure_port: true,
        service_cluster_ip_range: "10.0.0.0/16".to_owned(),
        ..Options::defaults()
    }
}

/// Starts a server in memory.
pub async fn start() -> TestServer {
    serve(options()).await
}

/// Starts a server over the embedded store in `directory`.
pub async fn start_in(directory: &Path) -> TestServer {
    serve(Options {
        storage: Some(Storage::Embedded),
        data_dir: directory.to_owned(),
        ..options()
    })
    .await
}

/// Starts a server with these options.
pub async fn serve(options: Options) -> TestServer {
    let shutdown = CancellationToken::new();
    let running = start_with(options, shutdown.clone())
        .await
        .expect("the test server starts");
    running.ready().await;
    TestServer { running, shutdown }
}
