//! A server of our own to measure: `fluyt up` in a temporary directory, without nodes or with
//! one, which ends with us.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fluyt_client::ClientOptions;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::options::Options;

const READY_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct OwnServer {
    child: Child,
    directory: TempDir,
    binary: PathBuf,
    /// Nodes and their runtimes outlive the server: they are taken down.
    nodes: usize,
    /// From the start of the process to the announcement that it is ready.
    pub(crate) ready_ms: f64,
}

pub(crate) fn binary(options: &Options) -> anyhow::Result<PathBuf> {
    match &options.binary {
        Some(path) => Ok(path.clone()),
        None => std::env::current_exe().context("cannot find this program's file"),
    }
}

/// A node of ours needs root and containerd.
pub(crate) fn nodes_can_run() -> Result<(), &'static str> {
    let own = std::fs::metadata("/proc/self").map(|own| own.uid());
    if own.is_ok_and(|uid| uid != 0) {
        return Err("not root");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|place| place.join("containerd").is_file());
    match found {
        true => Ok(()),
        false => Err("containerd is not installed (`cargo xtask setup` installs it)"),
    }
}

impl OwnServer {
    pub(crate) async fn start(options: &Options, nodes: usize) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("fluyt-bench-").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let binary = binary(options)?;
        let started = Instant::now();
        let mut child = Command::new(&binary)
            .args(["up", "--bind-address", "127.0.0.1"])
            .args(["--nodes", &nodes.to_string()])
            .args(["--secure-port", &port.to_string()])
            .arg("--data-dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let errors = child
            .stderr
            .take()
            .context("the server has no standard error")?;
        let mut lines = BufReader::new(errors).lines();
        let mut said = Vec::new();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("ready in ") {
                    return Ok(());
                }
                said.push(line);
            }
            bail!("the server ended before it was ready:\n{}", said.join("\n"))
        };
        let outcome = tokio::time::timeout(READY_WITHIN, ready).await;
        outcome.with_context(|| {
            format!("the server was not ready in {} s", READY_WITHIN.as_secs())
        })??;
        let ready_ms = started.elapsed().as_secs_f64() * 1e3;
        // Read on, or the server would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(OwnServer {
            child,
            directory,
            binary,
            nodes,
            ready_ms,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("admin.kubeconfig")
    }

    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions {
            kubeconfig: Some(self.kubeconfig()),
            user_agent: "fluyt-bench".into(),
            ..ClientOptions::default()
        }
    }

    /// As an operator would: SIGTERM; by force after ten seconds.
    pub(crate) async fn stop(&mut self) {
        let pid = self.pid().to_string();
        let terminated = Command::new("kill").args(["-TERM", &pid]).status().await;
        let orderly = terminated.is_ok_and(|status| status.success());
        let wait = Duration::from_secs(if orderly { 10 } else { 0 });
        if tokio::time::timeout(wait, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if self.nodes == 0 {
            return;
        }
        let _ = self.child.start_kill();
        let _ = std::process::Command::new(&self.binary)
            .arg("down")
            .arg("--data-dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
