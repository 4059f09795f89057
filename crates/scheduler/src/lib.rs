//! The scheduler's shell: watches an API server, feeds [`fluyt_scheduler_core`], and carries out what it decides.
//!
//! One task owns the core; informers, bindings and events are tasks around it, joined by bounded channels. Everything goes through
//! the Kubernetes API, so the scheduler also runs against a stock API server.
//!
//! Must not know: how the API server stores objects, what controllers or nodes do with them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bindings;
mod clients;
mod config;
mod decision_log;
mod driver;
mod evictions;
mod extenders;
mod groups;
mod health;
mod informers;
mod intake;
mod metrics;
mod options;
mod pause;
pub mod plugin;
mod prebind;
mod program;
mod publish;
mod questions;
mod record;
mod registry;
pub mod replay;
mod reports;
mod scheduled;
mod serve;
mod storage;
mod volumes;
mod why;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use fluyt_client::kube::Client;
use fluyt_client::leader::{self, LeaderOptions};
use fluyt_scheduler_core::core::Core;
use fluyt_scheduler_core::queue::Backoff;
use tokio_util::sync::CancellationToken;

pub use config::Configuration;
pub use fluyt_scheduler_core as core;
pub use options::{Command, Options};
pub use program::main;
pub use registry::Registry;

/// Schedules until `shutdown` is cancelled. Errors: the configuration is bad, the port is taken, or the lease was lost.
pub async fn run(
    options: Options,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    run_with(options, Registry::default(), client, shutdown).await
}

/// As [`run`], with plugins of one's own.
pub async fn run_with(
    options: Options,
    registry: Registry,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let configuration = options.configuration()?;
    if let Some(path) = &options.write_config_to {
        let text = serde_saphyr::to_string(&configuration)?;
        return std::fs::write(path, text)
            .with_context(|| format!("--write-config-to {}", path.display()));
    }
    let paused = match options.pause_on_signal {
        true => pause::on_signals()?,
        false => pause::never(),
    };
    let gangs = options.is_enabled("GangScheduling");
    let (mut core, storage) = new_core(
        &configuration,
        &registry,
        options.strict_sampling,
        options.seed,
        gangs,
    )?;
    if let Some(patience) = options.compatibility.pod_max_in_unschedulable_pods_duration {
        core.flush_unschedulable_after(patience.0);
    }
    let stop = shutdown.child_token();
    let _stop = stop.clone().drop_guard();
    let part = Part {
        metrics: Arc::new(metrics::Metrics::new(core.profiles())),
        health: Arc::new(health::Health::default()),
        active: CancellationToken::new(),
        client,
        stop,
    };
    let (questions, desk) = questions::channel();
    let log = options.decision_log.as_deref();
    let log = log.map(decision_log::DecisionLog::open).transpose()?;
    let mut annotations = BTreeMap::new();
    if options.secure_port != 0 || options.any_secure_port {
        let log = log.clone();
        let why = why::Why { questions, log };
        let server = serve::Server::new(&options, &configuration, &part);
        let serving = server.start(&options, why, part.stop.clone()).await?;
        let names: Vec<String> = core.scheduler_names().map(str::to_owned).collect();
        annotations = publish::annotations(&serving.url, serving.authority.as_deref(), &names);
    }
    let scheduling = Scheduling {
        core,
        storage,
        gangs,
        record: options.record(&configuration)?,
        paused,
        desk,
        log,
    };
    let outcome = part
        .run(&configuration, scheduling, annotations, &shutdown)
        .await;
    part.health.stop();
    outcome
}

/// What all parts of a running scheduler share.
pub(crate) struct Part {
    client: Client,
    metrics: Arc<metrics::Metrics>,
    health: Arc<health::Health>,
    /// Cancelled when decisions may be made.
    active: CancellationToken,
    stop: CancellationToken,
}

/// What the driver gets once this scheduler watches.
struct Scheduling {
    core: Core,
    /// Objects about storage are watched.
    storage: bool,
    /// Groups of pods are watched.
    gangs: bool,
    record: Option<record::Record>,
    paused: pause::Paused,
    desk: questions::Desk,
    log: Option<decision_log::DecisionLog>,
}

/// The core as a configuration asks for it, and whether it reads objects about storage. With a seed, ties between nodes go by that.
fn new_core(
    configuration: &Configuration,
    registry: &Registry,
    strict_sampling: bool,
    seed: Option<u64>,
    gangs: bool,
) -> anyhow::Result<(Core, bool)> {
    let mut profiles = configuration.to_profiles(registry, strict_sampling)?;
    let backoff = Backoff {
        initial: seconds(configuration.pod_initial_backoff_seconds),
        maximum: seconds(configuration.pod_max_backoff_seconds),
    };
    if gangs {
        for profile in &mut profiles {
            profile.enable_gang_scheduling();
        }
    }
    let storage = storage::is_needed(&profiles);
    let mut core = Core::new(profiles, backoff);
    if let Some(seed) = seed {
        core.break_ties_by(seed);
    }
    Ok((core, storage))
}

impl Part {
    /// `annotations`: where this scheduler answers, for its lease.
    async fn run(
        &self,
        configuration: &Configuration,
        scheduling: Scheduling,
        annotations: BTreeMap<String, String>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let election = &configuration.leader_election;
        if !election.leader_elect {
            self.active.cancel();
            if !annotations.is_empty() {
                let namespace = election.resource_namespace.clone();
                let name = election.resource_name.clone();
                let (client, stop) = (self.client.clone(), self.stop.clone());
                tokio::spawn(publish::publish(client, namespace, name, annotations, stop));
            }
            return self.schedule(configuration, scheduling).await;
        }
        let leader = LeaderOptions {
            namespace: election.resource_namespace.clone(),
            lease_duration: election.lease_duration.0,
            renew_deadline: election.renew_deadline.0,
            retry_period: election.retry_period.0,
            annotations,
            ..LeaderOptions::new(&election.resource_name)
        };
        self.metrics.leads(&election.resource_name, false);
        let acquire = leader::acquire(self.client.clone(), leader, shutdown);
        if configuration.delay_cache_until_active {
            self.health.set_standby(true);
            let leadership = acquire.await;
            self.health.set_standby(false);
            let schedule = self.schedule(configuration, scheduling);
            return self.lead(election, leadership, schedule).await;
        }
        // Watches while it waits for the lease, so that it can decide at once.
        let schedule = self.schedule(configuration, scheduling);
        tokio::pin!(acquire, schedule);
        tokio::select! {
            leadership = &mut acquire => self.lead(election, leadership, schedule).await,
            outcome = &mut schedule => outcome,
        }
    }

    async fn lead(
        &self,
        election: &config::LeaderElection,
        leadership: Option<leader::Leadership>,
        schedule: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let Some(leadership) = leadership else {
            return Ok(());
        };
        self.metrics.leads(&election.resource_name, true);
        self.active.cancel();
        let lost = leadership.lost.clone();
        tokio::select! {
            outcome = schedule => {
                leadership.release().await;
                outcome
            }
            () = lost.cancelled() => Err(anyhow::anyhow!("leaderelection lost")),
        }
    }

    async fn schedule(
        &self,
        configuration: &Configuration,
        scheduling: Scheduling,
    ) -> anyhow::Result<()> {
        let (client, stop) = (&self.client, &self.stop);
        let extenders = extenders::Extenders::new(&configuration.extenders, client, stop)?;
        let (inputs, mut tasks) =
            informers::start(client, scheduling.storage, scheduling.gangs, stop);
        let around = driver::Surroundings {
            client: client.clone(),
            metrics: self.metrics.clone(),
            inputs,
            intake: intake::Intake::new(scheduling.storage),
            extenders,
            active: self.active.clone(),
            health: self.health.clone(),
        };
        driver::Driver::new(scheduling.core, around, stop)
            .recording(scheduling.record)
            .paused_by(scheduling.paused)
            .answering(scheduling.desk, scheduling.log)
            .run(stop.clone())
            .await;
        stop.cancel();
        tasks.shutdown().await;
        Ok(())
    }
}

/// Validation refuses negative ones.
fn seconds(seconds: i64) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
