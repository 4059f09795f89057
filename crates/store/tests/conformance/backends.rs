//! How each backend is started for a test, and that nothing of it is left behind.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fluyt_store::{Options, Splice, Store};
use tempfile::TempDir;

#[async_trait]
pub(crate) trait Backend {
    /// A new, empty store.
    async fn store(&self) -> Arc<dyn Store>;
    /// Random cases that are affordable.
    fn cases(&self) -> u32;
}

/// Values of the tests look like objects: `{"metadata":{"name":"x"}}`.
pub(crate) fn splice(value: &[u8]) -> Option<Splice> {
    const START: &[u8] = b"{\"metadata\":{";
    value.starts_with(START).then_some(Splice {
        offset: START.len(),
        before: b"\"resourceVersion\":\"",
        after: b"\",",
    })
}

pub(crate) fn options() -> Options {
    Options {
        splice,
        ..Options::default()
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

type Case = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) fn run(backend: impl Backend + Sync, case: impl FnOnce(Arc<dyn Store>) -> Case) {
    runtime().block_on(async {
        let store = backend.store().await;
        let limited = tokio::time::timeout(Duration::from_secs(60), case(store.clone()));
        limited.await.expect("the case takes a minute: it hangs");
        store.close().await;
    });
}

pub(crate) struct Memory;

#[async_trait]
impl Backend for Memory {
    async fn store(&self) -> Arc<dyn Store> {
        fluyt_store::memory(options())
    }

    fn cases(&self) -> u32 {
        200
    }
}

pub(crate) struct Embedded {
    directory: TempDir,
    next: AtomicUsize,
}

impl Embedded {
    pub(crate) fn new() -> Self {
        Embedded {
            directory: tempfile::tempdir().unwrap(),
            next: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn store(&self) -> Arc<dyn Store> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(number.to_string());
        fluyt_store::embedded(&path, &options()).await.unwrap()
    }

    fn cases(&self) -> u32 {
        30
    }
}

/// One etcd process; a store of it that is not the first gets its own etcd.
pub(crate) struct Etcd {
    servers: std::sync::Mutex<Vec<Server>>,
}

impl Etcd {
    pub(crate) fn start() -> Self {
        Etcd {
            servers: std::sync::Mutex::default(),
        }
    }
}

#[async_trait]
impl Backend for Etcd {
    async fn store(&self) -> Arc<dyn Store> {
        let server = Server::start();
        let endpoints = [server.endpoint()];
        self.servers.lock().unwrap().push(server);
        fluyt_store::etcd(&endpoints, None, "/", &options())
            .await
            .unwrap()
    }

    fn cases(&self) -> u32 {
        5
    }
}

/// An etcd on free ports and a temporary directory, killed with the test.
pub(crate) struct Server {
    child: Child,
    port: u16,
    peer_port: u16,
    directory: TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn spawn(directory: &TempDir, port: u16, peer_port: u16) -> Child {
    let (client, peer) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{peer_port}"),
    );
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    Command::new("etcd")
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("etcd must be installed (Debian: etcd-server) for these tests")
}

impl Server {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, peer_port) = (free_port(), free_port());
        let child = spawn(&directory, port, peer_port);
        Server {
            child,
            port,
            peer_port,
            directory,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.directory, self.port, self.peer_port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

mod reconnection {
    use super::*;
    use fluyt_store::StoreError;

    #[test]
    fn an_absent_etcd_is_unavailable_not_a_hang() {
        let endpoint = format!("127.0.0.1:{}", free_port());
        runtime().block_on(async {
            let started = std::time::Instant::now();
            let refused = fluyt_store::etcd(&[endpoint], None, "/", &options())
                .await
                .err()
                .unwrap();
            assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
            assert!(started.elapsed() < Duration::from_secs(12));
        });
    }

    /// The store finds the living one of several endpoints, and its watches outlive a restart.
    #[test]
    fn watches_outlive_a_restart_of_etcd() {
        let mut server = Server::start();
        let endpoints = [
            format!("http://127.0.0.1:{}", free_port()),
            server.endpoint(),
        ];
        runtime().block_on(async {
            let store = fluyt_store::etcd(&endpoints, None, "/", &options())
                .await
                .unwrap();
            let mut watch = store
                .watch("/a/", store.revision().await.unwrap())
                .await
                .unwrap();
            crate::suite::put(&*store, "/a/1", "1").await;
            assert_eq!(watch.next().await.unwrap().unwrap().events.len(), 1);
            server.kill();
            server.restart();
            crate::suite::put_when_back(&*store, "/a/2", "2").await;
            let next = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
            let batch = next.expect("no event after the restart").unwrap().unwrap();
            assert_eq!(&**batch.events[0].key(), "/a/2");
        });
    }
}
