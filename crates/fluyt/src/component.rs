//! One component in the foreground: a runtime, a client from its flags, a shutdown token, and its `run`.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;
use fluyt_client::{ClientOptions, kube};
use tokio_util::sync::CancellationToken;

use crate::{logging, signals};

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // Tasks that ignore the shutdown must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome.map(|()| ExitCode::SUCCESS)
}

fn with_client<F, W>(config: ClientOptions, run: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(kube::Client, CancellationToken) -> W,
    W: Future<Output = anyhow::Result<()>>,
{
    logging::to_stderr();
    block_on(async move {
        let shutdown = signals::shutdown()?;
        let client = fluyt_client::connect(&config).await?;
        run(client, shutdown).await
    })
}

pub fn apiserver(options: fluyt_apiserver::Options) -> anyhow::Result<ExitCode> {
    logging::to_stderr();
    block_on(async move {
        let shutdown = signals::shutdown()?;
        let running = fluyt_apiserver::start(options, shutdown).await?;
        running.wait().await
    })
}

pub fn scheduler(options: fluyt_scheduler::Options) -> anyhow::Result<ExitCode> {
    if let Some(fluyt_scheduler::Command::Replay(replay)) = &options.command {
        fluyt_scheduler::replay::run(replay, &mut std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    with_client(options.client_config(), |client, shutdown| {
        fluyt_scheduler::run(options, client, shutdown)
    })
}

pub fn controllers(options: fluyt_controllers::Options) -> anyhow::Result<ExitCode> {
    with_client(options.client_config(), |client, shutdown| {
        fluyt_controllers::run(options, client, shutdown)
    })
}

pub fn kubelet(options: fluyt_kubelet::Options) -> anyhow::Result<ExitCode> {
    with_client(options.client_config(), |client, shutdown| {
        fluyt_kubelet::run(options, client, shutdown)
    })
}

pub fn sim(options: fluyt_sim::Options) -> anyhow::Result<ExitCode> {
    with_client(options.client_config(), |client, shutdown| {
        fluyt_sim::run(options, client, shutdown)
    })
}

pub fn bench(options: fluyt_bench::Options) -> anyhow::Result<ExitCode> {
    block_on(fluyt_bench::run(options))
}

pub fn kubectl(arguments: Vec<OsString>) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        eprintln!("error: cannot start the runtime");
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(fluyt_kubectl::run(arguments));
    runtime.shutdown_background();
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
