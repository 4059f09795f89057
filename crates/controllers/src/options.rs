//! The command line of the controller manager: upstream's flags, names and defaults.

use std::path::PathBuf;
use std::time::Duration;

use fluyt_client::ClientOptions;

const EXAMPLES: &str = "Examples:
  # Run every controller against a server without authentication
  kube-controller-manager --master=http://127.0.0.1:8080

  # Hand out pod address ranges, and sign service account tokens
  kube-controller-manager --kubeconfig=/etc/fluyt/controller-manager.kubeconfig \\
    --allocate-node-cidrs --cluster-cidr=10.244.0.0/16 \\
    --service-account-private-key-file=sa.key --root-ca-file=ca.crt

  # All controllers but one
  kube-controller-manager --controllers='*,-node-ipam-controller' --kubeconfig=admin.kubeconfig";

/// Runs the controllers: loops that bring the cluster to the state that the API's objects ask for.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Path to a kubeconfig file with the address of the API server and the credentials.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server; overrides the one in the kubeconfig.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Controllers to run: '*' is all that are on by default, 'name' turns one on, '-name' turns one off.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "*",
        allow_hyphen_values = true
    )]
    pub controllers: Vec<String>,
    /// Accepted; a separate process uses its kubeconfig's identity for all controllers, `fluyt up` one service account for each.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false", value_name = "BOOL")]
    pub use_service_account_credentials: bool,

    /// Range for pods in the cluster; needs --allocate-node-cidrs.
    #[arg(long, value_name = "CIDRS", value_delimiter = ',')]
    pub cluster_cidr: Vec<String>,
    /// Range for services, which is never handed out to nodes.
    #[arg(long, value_name = "CIDRS", value_delimiter = ',')]
    pub service_cluster_ip_range: Vec<String>,
    /// Hand out a part of --cluster-cidr to each node.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false", value_name = "BOOL")]
    pub allocate_node_cidrs: bool,
    /// Prefix length of a node's range (default 24 for IPv4, 64 for IPv6).
    #[arg(long, value_name = "BITS")]
    pub node_cidr_mask_size: Option<u8>,
    /// Prefix length of a node's IPv4 range, in dual-stack clusters.
    #[arg(long, value_name = "BITS")]
    pub node_cidr_mask_size_ipv4: Option<u8>,
    /// Prefix length of a node's IPv6 range, in dual-stack clusters.
    #[arg(long, value_name = "BITS")]
    pub node_cidr_mask_size_ipv6: Option<u8>,
    /// Accepted for compatibility; only RangeAllocator exists.
    #[arg(long, value_name = "TYPE", default_value = "RangeAllocator")]
    pub cidr_allocator_type: String,

    /// PEM file with the private key (RSA or ECDSA) that signs service account tokens.
    #[arg(long, value_name = "FILE")]
    pub service_account_private_key_file: Option<PathBuf>,
    /// PEM file with the certificate authority that is published to every namespace and put into token secrets.
    #[arg(long, value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,
    /// PEM file with the certificate that signs certificates cluster-wide; accepted, no signer runs yet.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// PEM file with the key of --cluster-signing-cert-file; accepted, no signer runs yet.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_key_file: Option<PathBuf>,
    /// Longest life of a signed certificate; accepted, no signer runs yet.
    #[arg(long, value_name = "DURATION", default_value = "8760h0m0s", value_parser = duration)]
    pub cluster_signing_duration: Duration,

    /// How often node health is looked at; accepted, health is followed by deadline instead.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub node_monitor_period: Duration,
    /// How long a node may be silent before it is marked unhealthy.
    #[arg(long, value_name = "DURATION", default_value = "50s", value_parser = duration)]
    pub node_monitor_grace_period: Duration,
    /// How long a new node may be silent before it is marked unhealthy.
    #[arg(long, value_name = "DURATION", default_value = "1m0s", value_parser = duration)]
    pub node_startup_grace_period: Duration,
    /// Deprecated and without effect: pods are evicted by taints and tolerations.
    #[arg(long, value_name = "DURATION", default_value = "5m0s", value_parser = duration)]
    pub pod_eviction_timeout: Duration,
    /// Nodes per second that are tainted for eviction while their zone is healthy.
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    pub node_eviction_rate: f64,
    /// Nodes per second that are tainted for eviction while their zone is unhealthy.
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub secondary_node_eviction_rate: f64,
    /// Part of a zone's nodes that must be unready (and at least three) for the zone to count as unhealthy.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.55)]
    pub unhealthy_zone_threshold: f32,
    /// Zones of this many nodes or fewer are not evicted from at all while they are unhealthy.
    #[arg(long, value_name = "NODES", default_value_t = 50)]
    pub large_cluster_size_threshold: usize,

    /// Finished pods that may exist before the oldest are deleted; 0 or less turns this off.
    #[arg(
        long,
        value_name = "PODS",
        default_value_t = 12_500,
        allow_hyphen_values = true
    )]
    pub terminated_pod_gc_threshold: i64,
    /// Endpoints in a slice at most.
    #[arg(long, value_name = "ENDPOINTS", default_value_t = 100)]
    pub max_endpoints_per_slice: usize,
    /// How long changes of pods are collected before Endpoints are written.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub endpoint_updates_batch_period: Duration,
    /// How long changes of pods are collected before endpoint slices are written.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub endpointslice_updates_batch_period: Duration,
    /// Delete objects whose owners are gone.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "true", value_name = "BOOL")]
    pub enable_garbage_collector: bool,

    #[command(flatten)]
    pub workers: Workers,
    #[command(flatten)]
    pub leader: LeaderElection,
    #[command(flatten)]
    pub compatibility: Compatibility,
}

/// How many keys of a controller are worked on at the same time.
#[derive(Clone, Debug, clap::Args)]
pub struct Workers {
    /// Deployments that are synced at the same time.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub concurrent_deployment_syncs: usize,
    /// Replica sets that are synced at the same time.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub concurrent_replicaset_syncs: usize,
    /// Services whose Endpoints are synced at the same time.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub concurrent_endpoint_syncs: usize,
    /// Services whose slices are synced at the same time.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub concurrent_service_endpoint_syncs: usize,
    /// Namespaces that are emptied at the same time.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub concurrent_namespace_syncs: usize,
    /// Service account token secrets that are synced at the same time.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub concurrent_serviceaccount_token_syncs: usize,
    /// Objects that the garbage collector works on at the same time.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub concurrent_gc_syncs: usize,
}

/// Several controller managers, one active.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaderElection {
    /// Work only while holding the lease.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "true", value_name = "BOOL")]
    pub leader_elect: bool,
    /// How long others wait for a leader that no longer renews.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// How long the leader tries to renew before it stops leading.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// Time between tries to acquire or renew.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
    /// Only "leases" exists.
    #[arg(long, value_name = "TYPE", default_value = "leases")]
    pub leader_elect_resource_lock: String,
    /// Name of the lease.
    #[arg(long, value_name = "NAME", default_value = "kube-controller-manager")]
    pub leader_elect_resource_name: String,
    /// Namespace of the lease.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub leader_elect_resource_namespace: String,
}

/// Flags that upstream's set-up tools pass and that change nothing here.
#[derive(Clone, Debug, clap::Args)]
pub struct Compatibility {
    /// Address to serve health on; accepted, nothing is served yet.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub bind_address: String,
    /// Port to serve health on; accepted, nothing is served yet.
    #[arg(long, value_name = "PORT", default_value_t = 10257)]
    pub secure_port: u16,
    /// Name of the cluster; accepted.
    #[arg(long, value_name = "NAME", default_value = "kubernetes")]
    pub cluster_name: String,
    /// Certificate authority of clients of the health port; accepted.
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Certificate authority of the aggregation layer; accepted.
    #[arg(long, value_name = "FILE")]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Kubeconfig that delegates authentication of the health port; accepted.
    #[arg(long, value_name = "FILE")]
    pub authentication_kubeconfig: Option<PathBuf>,
    /// Kubeconfig that delegates authorization of the health port; accepted.
    #[arg(long, value_name = "FILE")]
    pub authorization_kubeconfig: Option<PathBuf>,
    /// Requests per second to the API server; accepted, requests are bounded by the workers.
    #[arg(long, value_name = "RATE", default_value_t = 20.0)]
    pub kube_api_qps: f32,
    /// Burst above --kube-api-qps; accepted.
    #[arg(long, value_name = "REQUESTS", default_value_t = 30)]
    pub kube_api_burst: i32,
}

impl Default for Options {
    /// The defaults of the command line.
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        <Line as clap::Parser>::parse_from(["kube-controller-manager"]).options
    }
}

impl Options {
    /// How the command line says to reach the API server.
    pub fn client_config(&self) -> ClientOptions {
        ClientOptions {
            kubeconfig: self.kubeconfig.clone(),
            server: self.master.clone(),
            user_agent: "kube-controller-manager".to_owned(),
            ..ClientOptions::default()
        }
    }

    /// Whether --controllers turns on `name`, which is `default_on` otherwise.
    pub fn enables(&self, name: &str, default_on: bool) -> bool {
        let mut star = false;
        for item in &self.controllers {
            match item.trim() {
                item if item == name => return true,
                item if item.strip_prefix('-') == Some(name) => return false,
                "*" => star = true,
                _ => {}
            }
        }
        star && default_on
    }

    /// Names in --controllers that are not in `known`.
    pub fn unknown_controllers(&self, known: &[&str]) -> Vec<String> {
        let names = self.controllers.iter().map(|item| item.trim());
        let names = names.filter(|item| !matches!(*item, "*" | ""));
        let bare = names.map(|item| item.strip_prefix('-').unwrap_or(item));
        bare.filter(|name| !known.contains(name))
            .map(str::to_owned)
            .collect()
    }
}

/// A duration as Go writes it: `1h30m`, `50s`, `1.5s`, `100ms`, `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let invalid =
        || format!("invalid duration {text:?}: expected a form such as 50s, 5m0s or 100ms");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0.0_f64);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(invalid()),
        };
        total += number * seconds;
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("50s", Some(50_000)),
            ("5m0s", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("100ms", Some(100)),
            ("1.5s", Some(1500)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5x", None),
        ] {
            let found = duration(text).ok().map(|duration| duration.as_millis());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_list_of_controllers_is_upstreams_grammar() {
        for (list, name, default_on, expected) in [
            ("*", "a", true, true),
            ("*", "a", false, false),
            ("*,a", "a", false, true),
            ("*,-a", "a", true, false),
            ("a", "b", true, false),
            ("-a,*", "a", true, false),
        ] {
            let options = Options {
                controllers: list.split(',').map(str::to_owned).collect(),
                ..Options::default()
            };
            assert_eq!(options.enables(name, default_on), expected, "{list} {name}");
        }
        let options = Options {
            controllers: vec!["*".into(), "-x".into()],
            ..Options::default()
        };
        assert_eq!(options.unknown_controllers(&["a"]), ["x"]);
    }

    #[test]
    fn defaults_are_upstreams() {
        let options = Options::default();
        assert_eq!(options.node_monitor_grace_period, Duration::from_secs(50));
        assert_eq!(options.terminated_pod_gc_threshold, 12_500);
        assert!(options.leader.leader_elect);
    }
}
