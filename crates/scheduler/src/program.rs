//! A scheduler as a program of its own: the command line of kube-scheduler, with plugins of one's own.

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{Options, Registry, run_with};

#[derive(Parser)]
#[command(name = "scheduler")]
struct CommandLine {
    #[command(flatten)]
    options: Options,
}

/// The whole `main` of a scheduler with plugins of one's own: reads the command line, connects, and schedules until SIGTERM or
/// SIGINT. Fails with 1, as kube-scheduler does when it loses its lease.
pub fn main(registry: Registry) -> ExitCode {
    let options = CommandLine::parse().options;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run_to_end(options, registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_to_end(options: Options, registry: Registry) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            stop.cancel();
        });
        let client = fluyt_client::connect(&options.client_config()).await?;
        run_with(options, registry, client, shutdown).await
    })
}
