//! Thousands of simulated nodes in one process: they register, renew their leases, report the
//! pods bound to them as running and let terminating ones go.
//!
//! A node is a number: everything about it follows from that, so 10,000 nodes cost no memory and
//! no task of their own. One loop owns the timers and a bounded number of requests in flight.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod node;
mod options;
mod pace;
mod pod;
mod simulation;
#[cfg(test)]
mod tests;

use fluyt_client::kube;
use tokio_util::sync::CancellationToken;

pub use options::Options;

/// Simulates until `shutdown`. The Node objects stay, as those of real nodes do.
pub async fn run(
    options: Options,
    client: kube::Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    simulation::Simulation::new(options, client)
        .run(shutdown)
        .await;
    Ok(())
}
