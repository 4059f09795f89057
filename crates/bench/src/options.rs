//! The flags of `fluyt bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fluyt_client::ClientOptions;

use crate::scheduler::SchedulerOptions;

/// Measure an API server: without a server named, one is started for it.
#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  # Everything, against a server of its own; the figures as JSON too
  fluyt bench --json figures.json

  # Only creates and gets, quickly
  fluyt bench --runs 1 creates gets

  # Another Kubernetes on this machine, with the memory and CPU of its processes
  fluyt bench --kubeconfig /etc/kubernetes/admin.conf --server-pid $(pgrep -o kube-apiserver) --json stock.json

  # Ours, compared with that
  fluyt bench --compare stock.json

Scenarios: ready, size, idle, creates, gets, list, watch, bind, simulated, node, pod-start (all of them
if none is named). The last two start a node, which needs root and containerd."
)]
pub struct Options {
    #[command(subcommand)]
    pub suite: Option<Suite>,
    /// What to measure
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Address of the API server, as in https://10.0.0.1:6443
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Kubeconfig file of the API server
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Bearer token to authenticate with
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Do not check the server's certificate
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// File with the certificate authority to trust
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// File with the client certificate
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// File with the client certificate's key
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Processes of the named server whose memory and CPU (children included) are measured
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compare with the JSON file of another run instead of the recorded Kubernetes figures
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// How often each figure is measured; the median is reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// For how long the CPU use of the idle server is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub idle_seconds: u64,
    /// Pods per run of `creates`
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub creates: usize,
    /// Requests per run of `gets`
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub gets: usize,
    /// Nodes of `bind`
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub nodes: usize,
    /// Pods of `list` and of each run of `bind`
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    pub pods: usize,
    /// Image of the pods of `pod-start`, present on the nodes (default: the pause image of our nodes)
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// The fluyt binary to start and weigh (default: this one)
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

/// Whole suites of measurements with flags of their own.
#[derive(Subcommand, Clone, Debug)]
pub enum Suite {
    Scheduler(Box<SchedulerOptions>),
}

impl Options {
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
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            user_agent: "fluyt-bench".into(),
            ..ClientOptions::default()
        }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs as usize
    }
}
