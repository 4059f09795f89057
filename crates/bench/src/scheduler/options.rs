//! The flags of `fluyt bench scheduler`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fluyt_client::ClientOptions;

/// Measure a scheduler end to end over the API: scheduler_perf's workloads against any API server
///
/// Without a server named, each run gets a fresh one with a durable store and our scheduler. Measured is when an
/// independent watch sees that a pod has a node.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # What there is
  fluyt bench scheduler --list

  # One workload, three times, and a plot of it
  fluyt bench scheduler --workload SchedulingBasic --plot basic.svg

  # All of them, once each, as JSON
  fluyt bench scheduler --workload all --runs 1 --output json > figures.json

  # A smaller size, and a workload of your own
  fluyt bench scheduler --workload ./mine.yaml --nodes 500 --init-pods 500 --pods 1000

  # A stock scheduler at a stock API server; give its client a rate that does not limit it (qps: 5000, burst: 5000)
  fluyt bench scheduler --kubeconfig admin.conf --external-scheduler --workload SchedulingBasic

The barrier: the measured pods exist before the first of them is scheduled. Our scheduler is paused while they are created
(it goes on watching) and then resumed. An external one cannot be paused, so its pods carry a scheduling gate, which is then
removed pod by pod: that is writing, which the time includes, and the notes say how long it took. `--barrier none` creates
them while the scheduler works, as scheduler_perf itself does.")]
pub struct SchedulerOptions {
    /// A workload's name, `all`, or a YAML file
    #[arg(long, value_name = "NAME", default_value = "SchedulingBasic")]
    pub workload: Vec<String>,
    /// Print the workloads and their sizes
    #[arg(long)]
    pub list: bool,
    /// How often each is measured; the median is reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Nodes instead of the workload's own number
    #[arg(long, value_name = "N")]
    pub nodes: Option<usize>,
    /// Pods before the measured ones, instead of the workload's own number
    #[arg(long, value_name = "N")]
    pub init_pods: Option<usize>,
    /// Measured pods, instead of the workload's own number
    #[arg(long, value_name = "N")]
    pub pods: Option<usize>,
    /// What holds the measured pods back until all are there (default: pause, and gates with --external-scheduler)
    #[arg(long, value_enum, value_name = "HOW")]
    pub barrier: Option<Barrier>,
    /// The scheduler runs already; none is started
    #[arg(long)]
    pub external_scheduler: bool,
    /// Whom the pods wait for, of an external scheduler
    #[arg(long, value_name = "NAME", default_value = "default-scheduler")]
    pub scheduler_name: String,
    /// Give up when no pod was bound for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
    /// How the figures are printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// Write a plot of bound pods over time
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Address of the API server, as in https://10.0.0.1:6443
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Kubeconfig file of the API server
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Bearer token to authenticate with
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// File with the certificate authority to trust
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Processes of the named server whose CPU is measured, children included
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// The fluyt binary to start (default: this one)
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Barrier {
    /// The scheduler is paused
    Pause,
    /// A scheduling gate on each pod
    Gates,
    /// Pods are scheduled as they are created
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

impl SchedulerOptions {
    /// Whether the server is one that runs already.
    pub(crate) fn is_remote(&self) -> bool {
        self.server.is_some() || self.kubeconfig.is_some()
    }

    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions {
            kubeconfig: self.kubeconfig.clone(),
            server: self.server.clone(),
            token: self.token.clone(),
            certificate_authority: self.certificate_authority.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            user_agent: "fluyt-bench".into(),
            ..ClientOptions::default()
        }
    }

    pub(crate) fn barrier(&self) -> Barrier {
        let own = if self.external_scheduler {
            Barrier::Gates
        } else {
            Barrier::Pause
        };
        self.barrier.unwrap_or(own)
    }

    /// Errors: flags that exclude each other.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.is_remote() || !self.external_scheduler,
            "--external-scheduler needs --server or --kubeconfig"
        );
        anyhow::ensure!(
            !self.external_scheduler || self.barrier() != Barrier::Pause,
            "--barrier pause: an external scheduler cannot be paused"
        );
        Ok(())
    }
}
