//! The command line, with upstream's names and defaults, and what it resolves to.

use fluyt_client::ClientOptions;
use std::net::IpAddr;
use std::path::PathBuf;

/// Flags of the kubelet.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  Join a cluster with credentials from a file:
    fluyt kubelet --kubeconfig /etc/fluyt/kubelet.kubeconfig --hostname-override node1

  Join a test cluster that serves without authentication:
    fluyt kubelet --api-servers http://master:8080

  Run static pods from a directory, each file a pod:
    fluyt kubelet --kubeconfig kubelet.kubeconfig --pod-manifest-path /etc/kubernetes/manifests

  Use a container runtime that is running already:
    fluyt kubelet --kubeconfig kubelet.kubeconfig --container-runtime-endpoint unix:///run/containerd/containerd.sock")]
pub struct Options {
    /// Path of a kubeconfig that says where the API server is and who the kubelet is.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Address of the API server, for example http://master:8080; overrides the kubeconfig's.
    #[arg(long, value_name = "URL", alias = "master", alias = "api_servers")]
    pub api_servers: Option<String>,

    /// File with the kubelet's configuration (kind KubeletConfiguration); flags win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The node's name instead of the host name.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub hostname_override: String,

    /// The node's address instead of that of the default route.
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<IpAddr>,

    /// Directory of the kubelet's files: pods' volumes, and the private runtime's state.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    pub root_dir: PathBuf,

    /// Socket of a CRI runtime; without it the kubelet runs a containerd of its own.
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,

    /// Directory or file with static pods.
    #[arg(long, value_name = "PATH")]
    pub pod_manifest_path: Option<PathBuf>,

    /// Address that the kubelet's server listens on.
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,

    /// Port of the kubelet's server (TLS); 0 for none.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Port of the plain health server on loopback; 0 for none.
    #[arg(long, value_name = "PORT")]
    pub healthz_port: Option<u16>,

    /// Directory where a self-signed certificate is kept.
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,

    /// Certificate of the kubelet's server.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// Key of the kubelet's server.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Certificates of those whose client certificates are accepted.
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// Serve requests without credentials, as system:anonymous [default: true].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub anonymous_auth: Option<bool>,

    /// Ask the API server about bearer tokens [default: false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub authentication_token_webhook: Option<bool>,

    /// AlwaysAllow, or Webhook: ask the API server whether a request is allowed [default: AlwaysAllow].
    #[arg(long, value_name = "MODE", value_parser = ["AlwaysAllow", "Webhook"])]
    pub authorization_mode: Option<String>,

    /// Addresses of the cluster's DNS, separated by commas.
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub cluster_dns: Vec<String>,

    /// The cluster's DNS domain.
    #[arg(long, value_name = "NAME")]
    pub cluster_domain: Option<String>,

    /// Addresses for pods, if the API server does not say (node.spec.podCIDR).
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<String>,

    /// Addresses of all pods of the cluster: traffic within is not masqueraded.
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Option<String>,

    /// Cgroup under which the pods' cgroups are made.
    #[arg(long, value_name = "PATH")]
    pub cgroup_root: Option<String>,

    /// How many pods the node takes.
    #[arg(long, value_name = "N")]
    pub max_pods: Option<u32>,

    /// Labels of the node: key=value, separated by commas.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub node_labels: Vec<String>,

    /// Register the node with the API server.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub register_node: bool,

    /// Taints of the node: key=value:effect, separated by commas.
    #[arg(long, value_name = "TAINTS", value_delimiter = ',')]
    pub register_with_taints: Vec<String>,

    /// How often the node's status is looked at, for example 10s.
    #[arg(long, value_name = "DURATION")]
    pub node_status_update_frequency: Option<String>,

    /// Image of the container that holds a pod's namespaces [default: the one inside the binary].
    #[arg(long, value_name = "IMAGE")]
    pub pod_infra_container_image: Option<String>,

    /// The node's resolv.conf.
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,

    /// Log verbosity.
    #[arg(short = 'v', long = "v", value_name = "N", default_value_t = 0)]
    pub verbosity: u8,
}

impl Options {
    /// How to reach the API server.
    pub fn client_config(&self) -> ClientOptions {
        ClientOptions {
            kubeconfig: self.kubeconfig.clone(),
            server: self.api_servers.clone(),
            user_agent: format!("kubelet/{}", crate::VERSION),
            ..ClientOptions::default()
        }
    }
}
