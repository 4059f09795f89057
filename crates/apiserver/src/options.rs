//! The API server's flags, under the names that kube-apiserver gives them, so that manifests, unit files and
//! habits carry over. Flags that are ours alone say so.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which backend keeps the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Storage {
    /// Nothing survives the process: tests and simulations.
    Memory,
    /// The log-structured store in `--data-dir`.
    Embedded,
    /// An etcd cluster, named by `--etcd-servers`.
    Etcd,
}

/// Flags of `fluyt apiserver` (also `kube-apiserver`).
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # an API server over the embedded store, TLS on port 6443 with a generated certificate
  fluyt apiserver --data-dir /var/lib/fluyt

  # over etcd, without TLS or authentication (for trying things on a closed network)
  kube-apiserver --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range=10.0.0.0/16 \\
      --insecure-bind-address=0.0.0.0 --insecure-port=8080")]
pub struct Options {
    /// etcd servers to use, as scheme://host:port, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// CA file that the etcd servers' certificates are verified with.
    #[arg(long)]
    pub etcd_cafile: Option<PathBuf>,
    /// Client certificate shown to etcd.
    #[arg(long)]
    pub etcd_certfile: Option<PathBuf>,
    /// Key of the client certificate shown to etcd.
    #[arg(long)]
    pub etcd_keyfile: Option<PathBuf>,
    /// Prefix of every key in etcd.
    #[arg(long, default_value = "/registry")]
    pub etcd_prefix: String,
    /// Directory of the embedded store (Fluyt's own flag).
    #[arg(long, default_value = "/var/lib/fluyt")]
    pub data_dir: PathBuf,
    /// Where objects are kept (Fluyt's own flag); etcd when --etcd-servers is given, else embedded.
    #[arg(long, value_enum)]
    pub storage: Option<Storage>,
    /// Events and Leases may skip the disk in the embedded store (Fluyt's own flag).
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub relaxed_durability: bool,

    /// Address range from which services get their cluster IPs.
    #[arg(long, default_value = "10.0.0.0/24")]
    pub service_cluster_ip_range: String,
    /// Ports from which NodePort services get theirs.
    #[arg(long, default_value = "30000-32767")]
    pub service_node_port_range: String,
    /// Address that other members of the cluster reach this server at.
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,

    /// Address of the port without TLS, authentication and authorization.
    #[arg(long, default_value = "127.0.0.1")]
    pub insecure_bind_address: IpAddr,
    /// Port without TLS, authentication and authorization; 0 turns it off.
    #[arg(long, default_value_t = 0)]
    pub insecure_port: u16,
    /// Address of the port with TLS.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Further addresses to listen on with TLS, on the same port (Fluyt's own flag); may be repeated.
    #[arg(long)]
    pub additional_bind_address: Vec<IpAddr>,
    /// Port with TLS; 0 turns it off.
    #[arg(long, default_value_t = 6443)]
    pub secure_port: u16,
    /// Certificate (chain) served on the secure port.
    #[arg(long, requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Key of --tls-cert-file.
    #[arg(long, requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// Directory for the generated serving certificate when --tls-cert-file is not given.
    #[arg(long, default_value = "/var/run/kubernetes")]
    pub cert_dir: PathBuf,
    /// Requests with a client certificate signed by one of these authorities are identified by its
    /// common name and organizations.
    #[arg(long)]
    pub client_ca_file: Option<PathBuf>,

    /// Client certificate shown to kubelets.
    #[arg(long)]
    pub kubelet_client_certificate: Option<PathBuf>,
    /// Key of --kubelet-client-certificate.
    #[arg(long)]
    pub kubelet_client_key: Option<PathBuf>,
    /// Authority that kubelets' serving certificates are verified with; not verified when absent.
    #[arg(long)]
    pub kubelet_certificate_authority: Option<PathBuf>,
    /// Node address types in the order in which they are tried for connections to the kubelet.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "InternalIP,ExternalIP,Hostname"
    )]
    pub kubelet_preferred_address_types: Vec<String>,

    /// Issuer of service account tokens.
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local")]
    pub service_account_issuer: String,
    /// Public (or private) keys that service account tokens are verified with; may be repeated.
    #[arg(long)]
    pub service_account_key_file: Vec<PathBuf>,
    /// Private key that service account tokens are signed with.
    #[arg(long)]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// Audiences of this API server, for tokens; the issuer when absent.
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Vec<String>,

    /// Authorization modes in order: AlwaysAllow, AlwaysDeny, RBAC, Node.
    #[arg(long, value_delimiter = ',')]
    pub authorization_mode: Vec<String>,
    /// Let requests through that carry no credentials, as system:anonymous.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub anonymous_auth: bool,
    /// File of static bearer tokens: token,user,uid,"group1,group2".
    #[arg(long)]
    pub token_auth_file: Option<PathBuf>,
    /// Accept bootstrap tokens kept as secrets in kube-system.
    #[arg(long, default_value_t = false)]
    pub enable_bootstrap_token_auth: bool,

    /// Allow privileged containers.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub allow_privileged: bool,
    /// Admission plugins to enable beside the default ones.
    #[arg(long, value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// Admission plugins to leave out although they are enabled by default.
    #[arg(long, value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,

    /// How long events are kept, in seconds or with a unit (90s, 30m, 1h).
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub event_ttl: std::time::Duration,
    /// Most non-mutating requests in flight, beyond which requests are refused; 0 lifts the limit.
    #[arg(long, default_value_t = 400)]
    pub max_requests_inflight: usize,
    /// Most mutating requests in flight, beyond which requests are refused; 0 lifts the limit.
    #[arg(long, default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,

    /// Serve with TLS on a port that the system chooses (tests).
    #[arg(skip)]
    pub any_secure_port: bool,
    /// Serve without TLS on a port that the system chooses (tests).
    #[arg(skip)]
    pub any_insecure_port: bool,
    /// Serve callers in this process alone.
    #[arg(skip)]
    pub in_process_only: bool,
    /// The components that run in this process, and end it when they end: "scheduler", "controller-manager".
    #[arg(skip)]
    pub companions: Vec<&'static str>,
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is not a duration such as 90s, 30m or 1h"))?;
    let seconds = match unit {
        "" | "s" => number,
        "m" | "m0s" => number * 60,
        "h" | "h0m0s" => number * 3600,
        _ => return Err(format!("{text:?} is not a duration such as 90s, 30m or 1h")),
    };
    Ok(std::time::Duration::from_secs(seconds))
}

impl Options {
    /// The flags' defaults, for callers that build options in code.
    pub fn defaults() -> Self {
        use clap::FromArgMatches;
        let command = Self::augment_args(clap::Command::new("apiserver"));
        let matches = command.get_matches_from(["apiserver"]);
        Self::from_arg_matches(&matches).expect("every flag has a default or is optional")
    }

    /// The backend in force.
    pub fn storage(&self) -> Storage {
        self.storage.unwrap_or(if self.etcd_servers.is_empty() {
            Storage::Embedded
        } else {
            Storage::Etcd
        })
    }

    /// The authorization modes in force: what is given, else RBAC and Node on a server with client
    /// authentication, else AlwaysAllow (upstream's default).
    pub fn authorization_modes(&self) -> Vec<String> {
        if self.authorization_mode.is_empty() {
            vec!["AlwaysAllow".to_owned()]
        } else {
            self.authorization_mode.clone()
        }
    }
}
