//! kube-scheduler's flags.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use fluyt_client::ClientOptions;

use crate::config::{self, Configuration, GoDuration};
use crate::record::{self, Record, Started};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  # With a kubeconfig
  fluyt scheduler --kubeconfig /etc/kubernetes/scheduler.conf

  # Against an API server without authentication
  kube-scheduler --master=http://localhost:8080

  # With a configuration file, as users of kube-scheduler have it
  fluyt scheduler --config scheduler.yaml --kubeconfig scheduler.conf")]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// File with a KubeSchedulerConfiguration.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write the effective configuration to this file and exit.
    #[arg(long, value_name = "FILE")]
    pub write_config_to: Option<PathBuf>,
    /// File that says how to reach the API server.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server; overrides the one in the kubeconfig.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Address to serve health and metrics on.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port to serve health and metrics on, with TLS; 0 serves nothing.
    #[arg(long, value_name = "PORT", default_value_t = 10259)]
    pub secure_port: u16,
    /// Certificate of that port; one is made when absent.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Key of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// Break ties between equally good nodes by this number, reproducibly; without it the first known node is taken.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Write down everything that decisions depend on, and the decisions, for `fluyt scheduler replay`.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// The recording ends at this size, in MiB.
    #[arg(
        long,
        value_name = "MEBIBYTES",
        default_value_t = 1024,
        requires = "record"
    )]
    pub record_limit: u64,
    /// For measurements: SIGUSR1 pauses decisions, SIGUSR2 resumes them.
    #[arg(long, hide = true)]
    pub pause_on_signal: bool,
    /// Look at percentageOfNodesToScore of the nodes for each pod, as kube-scheduler does; otherwise all are looked at, at no cost.
    #[arg(long)]
    pub strict_sampling: bool,
    /// Port 0 means any free port, not none; for those who start several in a process.
    #[arg(skip)]
    pub any_secure_port: bool,
    /// Address that `kubectl why` reaches that port under; by default the bind address, or this machine's.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_address: Option<IpAddr>,
    /// Keep every decision with its scores in this file, so that `kubectl why` can tell after a restart.
    #[arg(long, value_name = "FILE")]
    pub decision_log: Option<PathBuf>,
    #[command(flatten)]
    pub leader: LeaderElection,
    #[command(flatten)]
    pub compatibility: Compatibility,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Decide again what a recording says, and compare
    Replay(crate::replay::Options),
}

/// Several schedulers, one active. A flag that is given wins over the configuration file.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaderElection {
    /// Schedule only while holding the lease [default: true].
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", overrides_with = "leader_elect")]
    pub leader_elect: Option<bool>,
    /// How long others wait for a leader that no longer renews [default: 15s].
    #[arg(long, value_name = "DURATION")]
    pub leader_elect_lease_duration: Option<GoDuration>,
    /// How long the leader tries to renew before it stops [default: 10s].
    #[arg(long, value_name = "DURATION")]
    pub leader_elect_renew_deadline: Option<GoDuration>,
    /// Time between tries to acquire or renew [default: 2s].
    #[arg(long, value_name = "DURATION")]
    pub leader_elect_retry_period: Option<GoDuration>,
    /// Only "leases" exists [default: leases].
    #[arg(long, value_name = "TYPE")]
    pub leader_elect_resource_lock: Option<String>,
    /// Name of the lease [default: kube-scheduler].
    #[arg(long, value_name = "NAME")]
    pub leader_elect_resource_name: Option<String>,
    /// Namespace of the lease [default: kube-system].
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
}

impl LeaderElection {
    fn apply(&self, election: &mut config::LeaderElection) {
        fn set<T: Clone>(field: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        }
        set(&mut election.leader_elect, &self.leader_elect);
        set(
            &mut election.lease_duration,
            &self.leader_elect_lease_duration,
        );
        set(
            &mut election.renew_deadline,
            &self.leader_elect_renew_deadline,
        );
        set(&mut election.retry_period, &self.leader_elect_retry_period);
        set(
            &mut election.resource_lock,
            &self.leader_elect_resource_lock,
        );
        set(
            &mut election.resource_name,
            &self.leader_elect_resource_name,
        );
        let namespace = &self.leader_elect_resource_namespace;
        set(&mut election.resource_namespace, namespace);
    }
}

/// Flags that set-up tools pass and that change nothing here.
#[derive(Clone, Debug, clap::Args)]
pub struct Compatibility {
    /// Kubeconfig that delegates authentication; accepted, the scheduler's own client asks.
    #[arg(long, value_name = "FILE")]
    pub authentication_kubeconfig: Option<PathBuf>,
    /// Kubeconfig that delegates authorization; accepted, the scheduler's own client asks.
    #[arg(long, value_name = "FILE")]
    pub authorization_kubeconfig: Option<PathBuf>,
    /// Accepted.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub authentication_tolerate_lookup_failure: Option<bool>,
    /// Accepted: /healthz, /readyz and /livez are always open.
    #[arg(long, value_name = "PATHS")]
    pub authorization_always_allow_paths: Option<String>,
    /// Authority of client certificates on the secure port; by default the one that the API server publishes
    /// (ConfigMap kube-system/extension-apiserver-authentication).
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Accepted.
    #[arg(long, value_name = "FILE")]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Accepted.
    #[arg(long, value_name = "NAMES")]
    pub requestheader_allowed_names: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "HEADERS")]
    pub requestheader_username_headers: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "HEADERS")]
    pub requestheader_group_headers: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "HEADERS")]
    pub requestheader_extra_headers_prefix: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub authentication_skip_lookup: Option<bool>,
    /// Accepted.
    #[arg(long, value_name = "DURATION")]
    pub authentication_token_webhook_cache_ttl: Option<GoDuration>,
    /// Accepted.
    #[arg(long, value_name = "DURATION")]
    pub authorization_webhook_cache_authorized_ttl: Option<GoDuration>,
    /// Accepted.
    #[arg(long, value_name = "DURATION")]
    pub authorization_webhook_cache_unauthorized_ttl: Option<GoDuration>,
    /// Accepted: what rustls offers is modern.
    #[arg(long, value_name = "CIPHERS")]
    pub tls_cipher_suites: Option<String>,
    /// Accepted: TLS 1.2 or later.
    #[arg(long, value_name = "VERSION")]
    pub tls_min_version: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "STREAMS")]
    pub http2_max_streams_per_connection: Option<u32>,
    /// Accepted.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub permit_port_sharing: Option<bool>,
    /// Accepted.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub permit_address_sharing: Option<bool>,
    /// Accepted.
    #[arg(long, value_name = "FORMAT")]
    pub logging_format: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "PATTERN=LEVEL")]
    pub vmodule: Option<String>,
    /// Accepted; the version is 1.36.
    #[arg(long, value_name = "VERSIONS")]
    pub emulated_version: Vec<String>,
    /// Accepted; nothing is hidden.
    #[arg(long, value_name = "VERSION")]
    pub show_hidden_metrics_for_version: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "METRICS")]
    pub disabled_metrics: Vec<String>,
    /// How long an unschedulable pod waits without anything that could help it [default: 5m].
    #[arg(long, value_name = "DURATION")]
    pub pod_max_in_unschedulable_pods_duration: Option<GoDuration>,
    /// Accepted; there is no certificate directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub cert_dir: Option<PathBuf>,
    /// Requests per second to the API server; accepted, bindings are bounded by number, not by rate.
    #[arg(long, value_name = "RATE")]
    pub kube_api_qps: Option<f32>,
    /// Accepted.
    #[arg(long, value_name = "REQUESTS")]
    pub kube_api_burst: Option<i32>,
    /// Accepted.
    #[arg(long, value_name = "TYPE")]
    pub kube_api_content_type: Option<String>,
    /// Accepted.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub profiling: Option<bool>,
    /// Accepted.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub contention_profiling: Option<bool>,
    /// Feature gates, NAME=true|false, with commas between; GangScheduling has an effect, others are accepted.
    #[arg(long, value_name = "GATES")]
    pub feature_gates: Vec<String>,
    /// How much to log; accepted, RUST_LOG says more.
    #[arg(short = 'v', long = "v", value_name = "LEVEL")]
    pub verbosity: Option<u8>,
}

impl Options {
    /// How flags and configuration file say to reach the API server.
    pub fn client_config(&self) -> ClientOptions {
        // A bad file is reported by `run`, which reads it again.
        let from_file = self
            .configuration()
            .ok()
            .map(|configuration| configuration.client_connection.kubeconfig)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        ClientOptions {
            kubeconfig: self.kubeconfig.clone().or(from_file),
            server: self.master.clone(),
            user_agent: "kube-scheduler".to_owned(),
            ..ClientOptions::default()
        }
    }

    /// The recording that is asked for, begun.
    pub(crate) fn record(&self, configuration: &Configuration) -> anyhow::Result<Option<Record>> {
        let Some(path) = &self.record else {
            return Ok(None);
        };
        let limit = self.record_limit.saturating_mul(1 << 20);
        let started = Started {
            version: record::VERSION,
            flush_after: self
                .compatibility
                .pod_max_in_unschedulable_pods_duration
                .as_ref()
                .map(|patience| patience.0),
            seed: self.seed,
            strict_sampling: self.strict_sampling,
            gangs: self.is_enabled("GangScheduling"),
            configuration: configuration.clone(),
        };
        Record::create(path, limit, started).map(Some)
    }

    /// Whether a feature gate is switched on by name; the last word counts.
    pub fn is_enabled(&self, gate: &str) -> bool {
        let gates = self
            .compatibility
            .feature_gates
            .iter()
            .flat_map(|list| list.split(','));
        let own = gates.filter_map(|one| one.trim().split_once('='));
        let mut own = own.filter(|(name, _)| *name == gate);
        own.next_back()
            .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"))
    }

    /// The configuration file with the flags on top: those of leader election always, those that upstream calls deprecated only
    /// when there is no file.
    pub fn configuration(&self) -> anyhow::Result<Configuration> {
        let mut configuration = match &self.config {
            None => self.without_file(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("--config {}", path.display()))?;
                Configuration::parse(&text)
                    .with_context(|| format!("--config {}", path.display()))?
            }
        };
        self.leader.apply(&mut configuration.leader_election);
        configuration.validate()?;
        Ok(configuration)
    }

    /// One NAME=VALUE a line, as /flagz shows them.
    pub(crate) fn in_effect(&self, configuration: &Configuration) -> String {
        let path = |path: &Option<PathBuf>| {
            let path = path.as_ref();
            path.map_or(String::new(), |path| path.display().to_string())
        };
        let election = &configuration.leader_election;
        let flags = [
            ("bind-address", self.bind_address.to_string()),
            ("config", path(&self.config)),
            ("feature-gates", self.compatibility.feature_gates.join(",")),
            ("kubeconfig", path(&self.kubeconfig)),
            ("leader-elect", election.leader_elect.to_string()),
            (
                "leader-elect-lease-duration",
                election.lease_duration.to_string(),
            ),
            (
                "leader-elect-renew-deadline",
                election.renew_deadline.to_string(),
            ),
            ("leader-elect-resource-lock", election.resource_lock.clone()),
            ("leader-elect-resource-name", election.resource_name.clone()),
            (
                "leader-elect-resource-namespace",
                election.resource_namespace.clone(),
            ),
            (
                "leader-elect-retry-period",
                election.retry_period.to_string(),
            ),
            ("master", self.master.clone().unwrap_or_default()),
            ("secure-port", self.secure_port.to_string()),
            ("strict-sampling", self.strict_sampling.to_string()),
            ("tls-cert-file", path(&self.tls_cert_file)),
            ("tls-private-key-file", path(&self.tls_private_key_file)),
        ];
        flags
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect()
    }

    fn without_file(&self) -> Configuration {
        let mut configuration = Configuration::standard();
        let flags = &self.compatibility;
        let connection = &mut configuration.client_connection;
        if let Some(path) = &self.kubeconfig {
            connection.kubeconfig = path.display().to_string();
        }
        connection.qps = flags.kube_api_qps.unwrap_or(connection.qps);
        connection.burst = flags.kube_api_burst.unwrap_or(connection.burst);
        if let Some(content_type) = &flags.kube_api_content_type {
            connection.content_type.clone_from(content_type);
        }
        if let Some(profiling) = flags.profiling {
            configuration.enable_profiling = profiling;
        }
        if let Some(profiling) = flags.contention_profiling {
            configuration.enable_contention_profiling = profiling;
        }
        configuration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn upstreams_command_lines_are_understood() {
        let line = "kube-scheduler --authentication-kubeconfig=/etc/s.conf --authorization-kubeconfig=/etc/s.conf \
                    --bind-address=127.0.0.1 --kubeconfig=/etc/s.conf --leader-elect=true --v=2";
        let options = Line::try_parse_from(line.split_whitespace())
            .unwrap()
            .options;
        assert_eq!(options.leader.leader_elect, Some(true));
        assert_eq!(options.secure_port, 10259);
        let options =
            Line::try_parse_from(["kube-scheduler", "--leader-elect=false", "--secure-port=0"])
                .unwrap()
                .options;
        assert!(
            !options
                .configuration()
                .unwrap()
                .leader_election
                .leader_elect
        );
    }

    #[test]
    fn the_last_word_about_a_feature_gate_counts() {
        let line = [
            "kube-scheduler",
            "--feature-gates=GenericWorkload=true,GangScheduling=true",
            "--feature-gates=GenericWorkload=false",
        ];
        let options = Line::try_parse_from(line).unwrap().options;
        assert!(options.is_enabled("GangScheduling"));
        assert!(!options.is_enabled("GenericWorkload"));
        assert!(!options.is_enabled("Gang"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let line = ["kube-scheduler", "--leader-elect-renew-deadline=20s"];
        let options = Line::try_parse_from(line).unwrap().options;
        let error = options.configuration().unwrap_err().to_string();
        assert!(error.contains("leaderElection.leaseDuration"), "{error}");
    }
}
