//! `up --detach`: the same command again as a child in a session of its own; the parent passes on what it says until it runs.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::progress::Progress;
use super::{Layout, Options, state, status};

/// Set for the child.
const MARK: &str = "FLUYT_DETACHED";
/// The child's last word to its parent; the summary is printed by the parent.
const RUNNING: &str = "Fluyt runs";

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let layout = Layout::new(&options.data_dir)?;
    if let Some(pid) = state::running(&layout) {
        let known = state::State::load(&layout)?;
        println!(
            "the cluster in {} runs already (process {pid})",
            layout.root().display()
        );
        println!("{}", status::summary(&layout, &known.server, known.nodes));
        return Ok(ExitCode::SUCCESS);
    }
    let log = layout.log("up");
    std::fs::create_dir_all(log.parent().unwrap_or(layout.root()))?;
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = std::io::pipe()?;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|word| word != "--detach");
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .context("cannot start the cluster's process")?;
    follow(reader, &mut child)
}

/// Passes the child's lines on until the cluster runs or the child ends.
fn follow(reader: impl Read, child: &mut std::process::Child) -> anyhow::Result<ExitCode> {
    let progress = Progress::new();
    let mut lines = BufReader::new(reader).lines();
    let mut running = false;
    while let Some(Ok(line)) = lines.next() {
        if let Some(error) = line.strip_prefix("error: ") {
            bail!("{error}");
        }
        running |= line.starts_with(RUNNING);
        if running && line.is_empty() {
            progress.finish("");
            return Ok(ExitCode::SUCCESS);
        }
        match running || line.starts_with("ready in ") {
            true => progress.say(&line),
            false => progress.step(&line),
        }
    }
    let status = child.wait()?;
    bail!("the cluster's process ended early ({status})");
}

/// In the child: the terminal's signals are not for it.
pub fn become_session_leader() {
    if is_detached() {
        // Fails only for a process group leader, which a spawned child is not.
        let _ = nix::unistd::setsid();
    }
}

/// In the child, once the parent has heard all that it waits for: what is said from here on goes into the log.
pub fn let_go(layout: &Layout) -> anyhow::Result<()> {
    if !is_detached() {
        return Ok(());
    }
    let path = layout.log("up");
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    nix::unistd::dup2_stderr(log).with_context(|| format!("cannot write to {}", path.display()))
}

pub fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}
