//! Starts the controllers that the options ask for, once this process leads, and stops them all together.
//!
//! `run` ends when `shutdown` is cancelled, or with an error when leadership is lost: two active controller managers would undo
//! each other's work, so upstream's exits too.

use std::sync::Arc;

use anyhow::bail;
use fluyt_client::events::Recorder;
use fluyt_client::kube::Client;
use fluyt_client::leader::{self, LeaderOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::clock::Clock;
use crate::context::{ClientFactory, Context};
use crate::informers::Informers;
use crate::options::Options;
use crate::registry::CONTROLLERS;

/// Runs the controllers with one identity for all of them.
pub async fn run(
    options: Options,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    run_with(
        options,
        client.clone(),
        Arc::new(client),
        Clock::System,
        shutdown,
    )
    .await
}

/// Runs the controllers: `client` watches and holds the lease, `factory` makes each controller's own.
pub async fn run_with(
    options: Options,
    client: Client,
    factory: Arc<dyn ClientFactory>,
    clock: Clock,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let known: Vec<&str> = CONTROLLERS
        .iter()
        .map(|controller| controller.name)
        .collect();
    let unknown = options.unknown_controllers(&known);
    if let Some(name) = unknown.first() {
        bail!(
            "--controllers: {name:?} is not in the list of known controllers: {}",
            known.join(", ")
        );
    }
    if !options.leader.leader_elect {
        lead(options, client, factory, clock, shutdown).await;
        return Ok(());
    }
    let Some(leadership) =
        leader::acquire(client.clone(), leader_options(&options), &shutdown).await
    else {
        return Ok(());
    };
    let work = shutdown.child_token();
    let mut leading = std::pin::pin!(lead(options, client, factory, clock, work.clone()));
    let lost = tokio::select! {
        () = &mut leading => false,
        () = leadership.lost.cancelled() => true,
    };
    if lost {
        work.cancel();
        leading.await;
        bail!("leader election lost");
    }
    leadership.release().await;
    Ok(())
}

fn leader_options(options: &Options) -> LeaderOptions {
    let leader = &options.leader;
    LeaderOptions {
        namespace: leader.leader_elect_resource_namespace.clone(),
        lease_duration: leader.leader_elect_lease_duration,
        renew_deadline: leader.leader_elect_renew_deadline,
        retry_period: leader.leader_elect_retry_period,
        ..LeaderOptions::new(&leader.leader_elect_resource_name)
    }
}

/// How long controllers may take to end after shutdown.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs every enabled controller until shutdown. One that ends by itself (nothing to do without its flags) leaves the others alone.
async fn lead(
    options: Options,
    client: Client,
    factory: Arc<dyn ClientFactory>,
    clock: Clock,
    shutdown: CancellationToken,
) {
    let options = Arc::new(options);
    let informers = Arc::new(Informers::new(client, shutdown.clone()));
    let mut controllers = JoinSet::new();
    for controller in &CONTROLLERS {
        if !options.enables(controller.name, true) {
            continue;
        }
        let client = factory.client(controller.name);
        let context = Context {
            name: controller.name,
            api: Api::new(client.clone()),
            informers: informers.clone(),
            recorder: Recorder::new(client, controller.component, ""),
            options: options.clone(),
            clock,
            shutdown: shutdown.clone(),
        };
        controllers.spawn((controller.run)(context));
    }
    tracing::info!("{} controllers started", controllers.len());
    let all = async {
        while let Some(ended) = controllers.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a controller ended: {error}");
            }
        }
        shutdown.cancelled().await;
    };
    let patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    };
    // Those that still wait for a server that is away are dropped where they are: what they would do, the next run does.
    tokio::select! {
        () = all => {}
        () = patience => {}
    }
}
