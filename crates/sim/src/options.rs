//! The flags of `fluyt sim`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fluyt_client::ClientOptions;

/// Simulate nodes: they register, heartbeat by lease, and report their pods running.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # A thousand nodes for the cluster of `fluyt up`
  fluyt sim --nodes 1000 --kubeconfig /var/lib/fluyt/admin.kubeconfig

  # Small nodes whose pods take two seconds to start
  fluyt sim --nodes 50 --cpu 2 --memory 4Gi --pod-start-ms 2000 --kubeconfig admin.kubeconfig")]
pub struct Options {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub nodes: usize,
    /// Names are this and a number
    #[arg(long, value_name = "TEXT", default_value = "sim-")]
    pub name_prefix: String,
    /// Kubeconfig file of the API server
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server, as in http://10.0.0.1:8080
    #[arg(long, alias = "master", value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token to authenticate with
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Do not check the server's certificate
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Each node's CPU, as a quantity
    #[arg(long, value_name = "QUANTITY", default_value = "32")]
    pub cpu: String,
    /// Each node's memory, as a quantity
    #[arg(long, value_name = "QUANTITY", default_value = "256Gi")]
    pub memory: String,
    /// How many pods fit on each node
    #[arg(long, value_name = "N", default_value_t = 110)]
    pub max_pods: u32,
    /// Zones that the nodes are spread over (topology.kubernetes.io/zone)
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub zones: u32,
    /// A lease is renewed this often; the renewals of all nodes are spread evenly
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub lease_renew_seconds: u32,
    /// A node counts as gone this long after its last renewal
    #[arg(long, value_name = "SECONDS", default_value_t = 40)]
    pub lease_duration_seconds: u32,
    /// From the binding of a pod to its containers running
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub pod_start_ms: u64,
    /// How long containers take to end when they are told to (never longer than the pod's grace)
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub pod_stop_ms: u64,
    /// Requests in flight
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: u32,
}

impl Options {
    pub fn client_config(&self) -> ClientOptions {
        ClientOptions {
            kubeconfig: self.kubeconfig.clone(),
            server: self.server.clone(),
            token: self.token.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            user_agent: "fluyt-sim".into(),
            ..ClientOptions::default()
        }
    }

    pub(crate) fn renew_every(&self) -> Duration {
        Duration::from_secs(self.lease_renew_seconds.into())
    }

    pub(crate) fn node_name(&self, number: usize) -> String {
        format!("{}{number}", self.name_prefix)
    }

    /// The number of one of our nodes.
    pub(crate) fn node_number(&self, name: &str) -> Option<usize> {
        let number = name.strip_prefix(&self.name_prefix)?.parse().ok()?;
        (number < self.nodes && self.node_name(number) == name).then_some(number)
    }
}
