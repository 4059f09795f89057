//! The API server alone: `cargo run -p fluyt-apiserver --example apiserver -- --storage memory --insecure-port 8080 --secure-port 0`.

use clap::Parser;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: fluyt_apiserver::Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let shutdown = CancellationToken::new();
    let running = fluyt_apiserver::start(arguments.options, shutdown.clone()).await?;
    println!(
        "secure {:?}, insecure {:?}",
        running.secure_addr(),
        running.insecure_addr()
    );
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        shutdown.cancel();
    });
    running.wait().await
}
