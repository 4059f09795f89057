//! Measures an API server, ours or any other, from the outside: what it costs, and what it does.
//!
//! The load generator shares the machine with the server, so it is light: requests are bytes
//! made beforehand, connections are kept, answers are parsed as far as their status and length.
//! Must not know: anything about how the server works.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod load;
mod options;
mod processes;
mod progress;
mod report;
mod scenarios;
mod scheduler;
mod server;
mod target;
mod wire;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

pub use options::{Options, Suite};
use progress::Progress;
use report::Report;
use scenarios::{Group, Scenario};
pub use scheduler::SchedulerOptions;
use server::OwnServer;
use target::Target;

/// What a scenario works with.
pub(crate) struct Context {
    pub(crate) target: Arc<Target>,
    pub(crate) options: Options,
    pub(crate) progress: Progress,
    /// Whose memory and CPU is measured; none for a server elsewhere.
    pub(crate) pids: Vec<u32>,
    /// Whether the scenarios' namespace is there.
    pub(crate) prepared: Cell<bool>,
    /// Of a server that we started.
    pub(crate) ready_ms: Option<f64>,
    /// Of a server that we started.
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Runs the chosen scenarios and prints the table; Ctrl-C stops it and what it started.
pub async fn run(options: Options) -> anyhow::Result<()> {
    if let Some(Suite::Scheduler(options)) = options.suite {
        return scheduler::run(*options).await;
    }
    let json = options.json.clone();
    let mut report = Report::new(options.compare.as_deref())?;
    let outcome = tokio::select! {
        outcome = measure(options, &mut report) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    // What was measured before a failure counts all the same.
    print!("{}", report.table());
    if let Some(path) = json {
        report
            .write_json(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    outcome
}

async fn measure(options: Options, report: &mut Report) -> anyhow::Result<()> {
    let chosen = scenarios::choose(&options.scenarios)?;
    let progress = Progress::new();
    if options.is_remote() {
        let target = Arc::new(Target::new(&options.client_options()).await?);
        let pids = options.server_pid.clone();
        let context = Context {
            target,
            options,
            progress,
            pids,
            prepared: Cell::new(false),
            ready_ms: None,
            kubeconfig: None,
        };
        return run_all(&context, &chosen, report).await;
    }
    // Each group gets a fresh server, so that memory is not what an earlier load left behind.
    for group in Group::ALL {
        let chosen: Vec<_> = chosen
            .iter()
            .copied()
            .filter(|scenario| scenario.group == group)
            .collect();
        if chosen.is_empty() {
            continue;
        }
        if group == Group::Node
            && let Err(why) = server::nodes_can_run()
        {
            progress.note(&format!("left out what needs a node: {why}"));
            continue;
        }
        progress.step("starting a server");
        let mut server = OwnServer::start(&options, usize::from(group == Group::Node)).await?;
        let client = server.client_options();
        let context = Context {
            target: Arc::new(Target::new(&client).await?),
            options: options.clone(),
            progress: progress.clone(),
            pids: vec![server.pid()],
            prepared: Cell::new(false),
            ready_ms: Some(server.ready_ms),
            kubeconfig: Some(server.kubeconfig()),
        };
        let outcome = run_all(&context, &chosen, report).await;
        server.stop().await;
        outcome?;
    }
    Ok(())
}

async fn run_all(
    context: &Context,
    chosen: &[&'static Scenario],
    report: &mut Report,
) -> anyhow::Result<()> {
    for scenario in chosen {
        context.progress.step(scenario.about);
        let measured = (scenario.run)(context).await;
        report.extend(measured.with_context(|| format!("scenario {}", scenario.name))?);
    }
    context.progress.finish();
    Ok(())
}
