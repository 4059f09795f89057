//! `fluyt bench scheduler`: scheduler_perf's workloads, end to end over the API of any server.
//!
//! Each run has a cluster of its own (or leaves the named server as it was). The clock starts when all measured pods are
//! there and the barrier is lifted, and it stops when an independent watch has seen each with a node.

mod background;
mod cluster;
mod follow;
mod measure;
mod objects;
mod options;
mod plot;
mod report;
mod samples;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

pub use options::{Barrier, Output, SchedulerOptions};

use crate::progress::Progress;
use crate::target::Target;
use cluster::Cluster;
use measure::{Bench, Run};
use report::{Line, Report};
use workload::Workload;

/// Measures the chosen workloads and prints the figures; Ctrl-C stops it and what it started.
pub async fn run(options: SchedulerOptions) -> anyhow::Result<()> {
    options.check()?;
    if options.list {
        print!("{}", report::list(&workload::all()?));
        return Ok(());
    }
    let report = tokio::select! {
        report = measure(&options) => report?,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    match options.output {
        Output::Table => print!("{}", report.table()),
        Output::Json => println!("{}", report.json()?),
    }
    if let Some(path) = &options.plot {
        let series: Vec<_> = report
            .workloads
            .iter()
            .map(|line| plot::Series {
                name: &line.name,
                points: &line.curve,
            })
            .collect();
        std::fs::write(path, plot::svg(&series))
            .with_context(|| format!("--plot {}", path.display()))?;
    }
    Ok(())
}

async fn measure(options: &SchedulerOptions) -> anyhow::Result<Report> {
    let mut workloads = workload::choose(&options.workload)?;
    let own_sizes = options
        .nodes
        .or(options.init_pods)
        .or(options.pods)
        .is_none();
    let mut report = describe(options);
    let progress = Progress::new();
    for workload in &mut workloads {
        workload.resize(options.nodes, options.init_pods, options.pods);
        let mut runs = Vec::new();
        for run in 1..=options.runs {
            let label = format!("{}, run {run} of {}", workload.name, options.runs);
            let measured = once(options, workload, &progress, label).await;
            runs.push(measured.with_context(|| format!("workload {}", workload.name))?);
        }
        let line = Line::new(workload, own_sizes, runs);
        report.push(line, options.external_scheduler);
    }
    progress.finish();
    Ok(report)
}

async fn once(
    options: &SchedulerOptions,
    workload: &Workload,
    progress: &Progress,
    label: String,
) -> anyhow::Result<Run> {
    progress.step(&format!("{label}: starting"));
    let cluster = Cluster::start(options).await?;
    let target = Arc::new(Target::new(&cluster.client).await?);
    let bench = Bench {
        target: &target,
        cluster: &cluster,
        workload,
        barrier: options.barrier(),
        patience: Duration::from_secs(options.patience),
        progress,
        label,
    };
    let outcome = bench.run().await;
    if options.is_remote() {
        let cleaned = bench.clean_up().await;
        // What went wrong first is what matters.
        let run = outcome?;
        cleaned.context("cannot delete what was created")?;
        cluster.stop().await;
        return Ok(run);
    }
    cluster.stop().await;
    outcome
}

fn describe(options: &SchedulerOptions) -> Report {
    let named = options.server.clone();
    let file = options
        .kubeconfig
        .as_ref()
        .map(|path| path.display().to_string());
    let server = match named.or(file) {
        Some(place) => format!("API server: {place}"),
        None => "API server: ours, durable store, no controllers".to_owned(),
    };
    let scheduler = match (options.external_scheduler, options.is_remote()) {
        (true, _) => format!("scheduler: external ({})", options.scheduler_name),
        (false, true) => "scheduler: ours, a process of its own".to_owned(),
        (false, false) => "scheduler: ours, in the server's process".to_owned(),
    };
    let barrier = match options.barrier() {
        Barrier::Pause => "the scheduler is paused while pods are created",
        Barrier::Gates => "scheduling gates, removed pod by pod",
        Barrier::None => "none, pods are scheduled while they are created",
    };
    let mut report = Report::new(server, scheduler, barrier.to_owned());
    if options.external_scheduler {
        report.notes.push(
            "a stock scheduler's client sends 50 requests a second unless clientConnection.qps and burst say otherwise"
                .to_owned(),
        );
    }
    if options.barrier() == Barrier::Gates {
        report
            .notes
            .push("the time includes the removal of the gates, one write for each pod".to_owned());
    }
    if options.is_remote() {
        report.notes.push(
            "nobody renews the nodes' leases: with a node controller at the server they become unreachable after its grace period"
                .to_owned(),
        );
    }
    report
}
