//! What is measured: a control plane of our own in a temporary directory, or a server that runs already, with our
//! scheduler or another.
//!
//! Our own is `fluyt up` without nodes and without controllers: as in the reference's workloads, only the API server, its
//! durable store and the scheduler run. Its scheduler pauses on SIGUSR1 and resumes on SIGUSR2.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use fluyt_client::ClientOptions;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::options::SchedulerOptions;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Whom pods wait for at a server that is not ours, which may have a scheduler of its own.
const OWN_NAME: &str = "fluyt-bench";

pub(crate) struct Cluster {
    pub(crate) client: ClientOptions,
    pub(crate) scheduler_name: String,
    /// Processes whose CPU is measured.
    pub(crate) pids: Vec<u32>,
    /// The process that schedules; none when the scheduler is external.
    child: Option<Child>,
    _directory: TempDir,
}

impl Cluster {
    pub(crate) async fn start(options: &SchedulerOptions) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("fluyt-bench-").tempdir()?;
        let mut cluster = Cluster {
            client: options.client_options(),
            scheduler_name: options.scheduler_name.clone(),
            pids: options.server_pid.clone(),
            child: None,
            _directory: directory,
        };
        let path = cluster._directory.path().to_owned();
        let child = if !options.is_remote() {
            cluster.client = ClientOptions {
                kubeconfig: Some(path.join("admin.kubeconfig")),
                user_agent: "fluyt-bench".into(),
                ..ClientOptions::default()
            };
            control_plane(&binary(options)?, &path).await?
        } else if !options.external_scheduler {
            cluster.scheduler_name = OWN_NAME.to_owned();
            scheduler(options, &path)?
        } else {
            return Ok(cluster);
        };
        cluster.pids.extend(child.id());
        cluster.child = Some(child);
        Ok(cluster)
    }

    pub(crate) async fn pause(&self) -> anyhow::Result<()> {
        self.signal("-USR1").await
    }

    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        self.signal("-USR2").await
    }

    async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.as_ref().and_then(Child::id);
        let pid = pid.context("there is no scheduler of ours to pause")?;
        let sent = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .await?;
        anyhow::ensure!(sent.success(), "the scheduler has ended");
        Ok(())
    }

    /// As an operator would; by force after ten seconds.
    pub(crate) async fn stop(mut self) {
        if self.signal("-TERM").await.is_err() {
            return;
        }
        let Some(child) = &mut self.child else { return };
        let wait = tokio::time::timeout(Duration::from_secs(10), child.wait());
        if wait.await.is_err() {
            let _ = child.kill().await;
        }
    }
}

fn binary(options: &SchedulerOptions) -> anyhow::Result<PathBuf> {
    match &options.binary {
        Some(path) => Ok(path.clone()),
        None => std::env::current_exe().context("cannot find this program's file"),
    }
}

async fn control_plane(binary: &Path, directory: &Path) -> anyhow::Result<Child> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut child = Command::new(binary)
        .args(["up", "--nodes", "0", "--bind-address", "127.0.0.1"])
        .args(["--scheduler-only", "--secure-port", &port.to_string()])
        .arg("--data-dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let errors = child.stderr.take();
    let errors = errors.context("the server has no standard error")?;
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
    outcome
        .with_context(|| format!("the server was not ready in {} s", READY_WITHIN.as_secs()))??;
    // Read on, or the server would block on a full pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(child)
}

/// Our scheduler at somebody else's server, under a name of its own.
fn scheduler(options: &SchedulerOptions, directory: &Path) -> anyhow::Result<Child> {
    let config = directory.join("scheduler.json");
    let content = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": { "leaderElect": false },
        "profiles": [{ "schedulerName": OWN_NAME }],
    });
    std::fs::write(&config, content.to_string())?;
    let kubeconfig = match (&options.kubeconfig, &options.server) {
        (Some(path), None) => path.clone(),
        _ => kubeconfig(options, directory)?,
    };
    let binary = binary(options)?;
    Command::new(&binary)
        .arg("scheduler")
        .args(["--secure-port", "0", "--pause-on-signal"])
        .arg("--config")
        .arg(&config)
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}

/// What the flags say about the server, as a file for another process; readable by us alone.
fn kubeconfig(options: &SchedulerOptions, directory: &Path) -> anyhow::Result<PathBuf> {
    let authority = options.certificate_authority.as_deref();
    let authority = authority.map(std::fs::canonicalize).transpose()?;
    let mut cluster = json!({ "server": options.server });
    if let Some(authority) = authority {
        cluster["certificate-authority"] = json!(authority);
    }
    if options.insecure_skip_tls_verify {
        cluster["insecure-skip-tls-verify"] = json!(true);
    }
    let user = match &options.token {
        Some(token) => json!({ "token": token }),
        None => json!({}),
    };
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    // Temporary directories are readable by their owner only.
    let path = directory.join("scheduler.kubeconfig");
    std::fs::write(&path, content.to_string())?;
    Ok(path)
}
