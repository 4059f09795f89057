//! A node's kubelet as a child process, entered into the node's network namespace: its memory and its end are its own.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

pub struct Process {
    /// Program and arguments, the same at each start.
    words: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Process {
    pub fn start(namespace: &str, flags: Vec<String>, log: PathBuf) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the binary's own path is unknown")?;
        // The kernel ends the kubelet when this process dies, however it dies; its containers go on.
        let mut words: Vec<String> = vec!["setpriv".into(), "--pdeathsig=TERM".into()];
        words.extend(["nsenter".into(), format!("--net={namespace}")]);
        words.extend([program.display().to_string(), "kubelet".into()]);
        words.extend(flags);
        let child = spawn(&words, &log)?;
        Ok(Self { words, log, child })
    }

    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.words, &self.log)?;
        Ok(())
    }

    /// Waits for its end, and says how it ended and where more is written.
    pub async fn ended(&mut self) -> anyhow::Result<String> {
        let status = self.child.wait().await?;
        Ok(format!("{status}; log: {}", self.log.display()))
    }

    pub async fn stop(&mut self, limit: Duration) {
        if let Some(pid) = self.child.id() {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
        }
        if tokio::time::timeout(limit, self.child.wait())
            .await
            .is_err()
        {
            let _ = self.child.kill().await;
        }
    }
}

fn spawn(words: &[String], log: &std::path::Path) -> anyhow::Result<Child> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let (program, arguments) = words.split_first().context("a command has a program")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {program}"))
}
