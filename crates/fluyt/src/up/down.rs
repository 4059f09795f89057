//! `fluyt down`: end a cluster, also one whose process was killed, and remove every trace of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Layout, State, default_data_dir, state, teardown};

#[derive(Args)]
#[command(after_help = "Examples:
  fluyt down
  fluyt down --data-dir /tmp/test")]
pub struct Options {
    /// The data directory that was given to `fluyt up`; it is removed
    #[arg(long, value_name = "DIR", default_value_os_t = default_data_dir())]
    data_dir: PathBuf,
}

/// `up` ends within five seconds of SIGTERM; beyond that it is killed.
const LIMIT: Duration = Duration::from_secs(8);

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Ok(layout) = Layout::existing(&options.data_dir) else {
        println!("no cluster in {}", options.data_dir.display());
        return Ok(ExitCode::SUCCESS);
    };
    if !layout.marker().exists() {
        bail!(
            "{} was not made by fluyt up (there is no .fluyt in it); nothing is removed",
            layout.root().display()
        );
    }
    stop_process(&layout)?;
    teardown::stop_containers(&layout);
    let tag = State::load(&layout).map_or_else(|_| layout.tag(), |state| state.tag);
    teardown::remove(&layout, &tag)
        .with_context(|| format!("cannot remove {}", layout.root().display()))?;
    println!("the cluster in {} is gone", layout.root().display());
    Ok(ExitCode::SUCCESS)
}

fn stop_process(layout: &Layout) -> anyhow::Result<()> {
    let Some(pid) = state::running(layout) else {
        return Ok(());
    };
    let process = Pid::from_raw(pid);
    kill(process, Signal::SIGTERM).with_context(|| format!("cannot stop process {pid}"))?;
    let deadline = Instant::now() + LIMIT;
    while state::running(layout).is_some() {
        if Instant::now() > deadline {
            kill(process, Signal::SIGKILL).with_context(|| format!("cannot kill process {pid}"))?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
