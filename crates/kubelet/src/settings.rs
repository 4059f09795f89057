//! What the flags and the configuration file amount to. Flags win over the file, the file
//! over the defaults; nothing below this module reads either.

use crate::options::Options;
use anyhow::{Context, bail};
use fluyt_kubelet_core::files::ClusterDns;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A taint that the node registers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

/// Who may use the kubelet's server.
#[derive(Clone, Debug)]
pub struct ServerAuth {
    pub client_ca: Option<PathBuf>,
    pub anonymous: bool,
    pub token_webhook: bool,
    pub webhook: bool,
}

/// The effective settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node_name: String,
    pub node_ip: Option<IpAddr>,
    pub root: PathBuf,
    /// Where the pods' logs are.
    pub logs: PathBuf,
    pub endpoint: Option<String>,
    pub manifests: Option<PathBuf>,
    pub address: IpAddr,
    pub port: u16,
    pub healthz_port: u16,
    pub cert_dir: PathBuf,
    pub tls: Option<(PathBuf, PathBuf)>,
    pub auth: ServerAuth,
    pub dns: ClusterDns,
    pub resolv_conf: PathBuf,
    pub pod_cidr: Option<String>,
    pub cluster_cidr: Option<String>,
    pub cgroup_root: String,
    pub max_pods: u32,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub register: bool,
    pub status_frequency: Duration,
    pub pause_image: Option<String>,
    pub log_max_bytes: u64,
    pub log_max_files: usize,
}

/// The part of KubeletConfiguration that is understood; the rest is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    address: Option<IpAddr>,
    port: Option<u16>,
    healthz_port: Option<u16>,
    static_pod_path: Option<PathBuf>,
    #[serde(rename = "clusterDNS")]
    cluster_dns: Vec<String>,
    cluster_domain: Option<String>,
    cgroup_root: Option<String>,
    max_pods: Option<u32>,
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    container_runtime_endpoint: Option<String>,
    pod_logs_dir: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
    node_status_update_frequency: Option<String>,
    tls_cert_file: Option<PathBuf>,
    tls_private_key_file: Option<PathBuf>,
    container_log_max_size: Option<String>,
    container_log_max_files: Option<usize>,
    authentication: FileAuthentication,
    authorization: FileAuthorization,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileAuthentication {
    x509: FileX509,
    anonymous: FileEnabled,
    webhook: FileEnabled,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileX509 {
    #[serde(rename = "clientCAFile")]
    client_ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FileEnabled {
    enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FileAuthorization {
    mode: Option<String>,
}

impl Settings {
    /// Resolves the options; reads the configuration file if one is named.
    pub fn resolve(options: &Options) -> anyhow::Result<Self> {
        let (file, strict_defaults) = read_file(options.config.as_deref())?;
        let root = absolute(&options.root_dir)?;
        let node_name = node_name(&options.hostname_override)?;
        let frequency = options
            .node_status_update_frequency
            .as_ref()
            .or(file.node_status_update_frequency.as_ref());
        let mode = options
            .authorization_mode
            .as_ref()
            .or(file.authorization.mode.as_ref());
        let log_size = file.container_log_max_size.as_deref().unwrap_or("10Mi");
        Ok(Self {
            node_ip: options.node_ip.filter(|ip| !ip.is_unspecified()),
            logs: file
                .pod_logs_dir
                .clone()
                .unwrap_or_else(|| default_logs(&root)),
            endpoint: options
                .container_runtime_endpoint
                .clone()
                .or(file.container_runtime_endpoint),
            manifests: options.pod_manifest_path.clone().or(file.static_pod_path),
            address: options
                .address
                .or(file.address)
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port: options.port.or(file.port).unwrap_or(10250),
            healthz_port: options.healthz_port.or(file.healthz_port).unwrap_or(10248),
            cert_dir: options.cert_dir.clone().unwrap_or_else(|| root.join("pki")),
            tls: pair(
                options.tls_cert_file.clone(),
                options.tls_private_key_file.clone(),
            )
            .or(pair(file.tls_cert_file, file.tls_private_key_file)),
            auth: ServerAuth {
                client_ca: options
                    .client_ca_file
                    .clone()
                    .or(file.authentication.x509.client_ca_file),
                // A configuration file has safer defaults than the flags, as upstream's has.
                anonymous: options
                    .anonymous_auth
                    .or(file.authentication.anonymous.enabled)
                    .unwrap_or(!strict_defaults),
                token_webhook: options
                    .authentication_token_webhook
                    .or(file.authentication.webhook.enabled)
                    .unwrap_or(strict_defaults),
                webhook: mode.map_or(strict_defaults, |mode| mode == "Webhook"),
            },
            dns: ClusterDns {
                servers: if options.cluster_dns.is_empty() {
                    file.cluster_dns
                } else {
                    options.cluster_dns.clone()
                },
                domain: options
                    .cluster_domain
                    .clone()
                    .or(file.cluster_domain)
                    .unwrap_or_else(|| "cluster.local".into()),
            },
            resolv_conf: options
                .resolv_conf
                .clone()
                .or(file.resolv_conf)
                .unwrap_or_else(|| "/etc/resolv.conf".into()),
            pod_cidr: options
                .pod_cidr
                .clone()
                .or(file.pod_cidr)
                .filter(|cidr| !cidr.is_empty()),
            cluster_cidr: options.cluster_cidr.clone(),
            cgroup_root: options
                .cgroup_root
                .clone()
                .or(file.cgroup_root)
                .unwrap_or_else(|| default_cgroup(&root)),
            max_pods: options.max_pods.or(file.max_pods).unwrap_or(110),
            labels: labels(&options.node_labels)?,
            taints: options
                .register_with_taints
                .iter()
                .map(|text| taint(text))
                .collect::<Result<_, _>>()?,
            register: options.register_node,
            status_frequency: frequency
                .map_or(Ok(Duration::from_secs(10)), |text| duration(text))?,
            pause_image: options.pod_infra_container_image.clone(),
            log_max_bytes: log_bytes(log_size)?,
            log_max_files: file.container_log_max_files.unwrap_or(5).max(2),
            node_name,
            root,
        })
    }
}

impl Settings {
    /// The image of the container that holds a pod's namespaces.
    pub(crate) fn sandbox_image(&self) -> String {
        let image = self.pause_image.clone();
        image.unwrap_or_else(|| fluyt_image::PAUSE_IMAGE.to_owned())
    }
}

/// Eight hexadecimal digits that tell one kubelet's files from another's.
pub(crate) fn short_id(root: &Path) -> String {
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read_file(path: Option<&Path>) -> anyhow::Result<(File, bool)> {
    let Some(path) = path else {
        return Ok((File::default(), false));
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?;
    let file = crate::yaml::read(&text).with_context(|| format!("--config {}", path.display()))?;
    Ok((file, true))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("--root-dir {}", path.display()))
}

/// Upstream's place for the default root; elsewhere the logs stay with the rest.
fn default_logs(root: &Path) -> PathBuf {
    if root == Path::new("/var/lib/kubelet") {
        "/var/log/pods".into()
    } else {
        root.join("logs")
    }
}

fn default_cgroup(root: &Path) -> String {
    if root == Path::new("/var/lib/kubelet") {
        "/kubepods".into()
    } else {
        format!("/fluyt-{}", short_id(root))
    }
}

fn node_name(given: &str) -> anyhow::Result<String> {
    let name = match given {
        "" => nix::unistd::gethostname()
            .context("host name")?
            .to_string_lossy()
            .into_owned(),
        given => given.to_owned(),
    };
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        bail!("--hostname-override: the node needs a name");
    }
    Ok(name)
}

fn pair<T>(a: Option<T>, b: Option<T>) -> Option<(T, T)> {
    a.zip(b)
}

fn labels(list: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for text in list.iter().filter(|text| !text.is_empty()) {
        let Some((key, value)) = text.split_once('=') else {
            bail!("--node-labels: {text:?} is not key=value");
        };
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn taint(text: &str) -> anyhow::Result<Taint> {
    let (rest, effect) = text
        .rsplit_once(':')
        .with_context(|| format!("--register-with-taints: {text:?} is not key=value:effect"))?;
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        bail!("--register-with-taints: {text:?}: unknown effect {effect:?}");
    }
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    Ok(Taint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect: effect.to_owned(),
    })
}

/// "10s", "5m", "1m30s", "500ms".
fn duration(text: &str) -> anyhow::Result<Duration> {
    let parsed: jiff::SignedDuration = text
        .parse()
        .with_context(|| format!("{text:?} is not a duration such as 10s"))?;
    let seconds = parsed.as_secs_f64();
    if seconds <= 0.0 {
        bail!("{text:?}: a duration above zero is needed");
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn log_bytes(text: &str) -> anyhow::Result<u64> {
    let quantity = k8s_openapi::apimachinery::pkg::api::resource::Quantity(text.to_owned());
    let bytes = fluyt_kubelet_core::amount::value(&quantity);
    match u64::try_from(bytes) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => bail!("containerLogMaxSize: {text:?} is not an amount of bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("10s", 10.0), ("1m30s", 90.0), ("500ms", 0.5)] {
            assert_eq!(duration(text).unwrap().as_secs_f64(), expected, "{text}");
        }
        assert!(duration("soon").is_err());
    }

    #[test]
    fn taints() {
        let taint = taint("a/b=c:NoSchedule").unwrap();
        assert_eq!(
            (
                taint.key.as_str(),
                taint.value.as_str(),
                taint.effect.as_str()
            ),
            ("a/b", "c", "NoSchedule")
        );
        assert!(super::taint("a=b:Never").is_err());
        assert!(super::taint("a").is_err());
    }

    #[test]
    fn nodes_on_one_machine_differ() {
        assert_ne!(
            default_cgroup(Path::new("/a")),
            default_cgroup(Path::new("/b"))
        );
        assert_eq!(default_cgroup(Path::new("/var/lib/kubelet")), "/kubepods");
    }

    #[test]
    fn a_configuration_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(
            &path,
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 5\nclusterDNS: [10.0.0.10]\nauthentication:\n  anonymous:\n    enabled: false\n",
        )
        .unwrap();
        let (file, strict) = read_file(Some(&path)).unwrap();
        assert!(strict);
        assert_eq!(file.max_pods, Some(5));
        assert_eq!(file.cluster_dns, ["10.0.0.10"]);
        assert_eq!(file.authentication.anonymous.enabled, Some(false));
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: crate::Options,
    }

    /// Settings of a node called node1 with everything else by default.
    pub(crate) fn settings() -> super::Settings {
        let command = Command::parse_from(["kubelet", "--hostname-override", "node1"]);
        super::Settings::resolve(&command.options).unwrap()
    }
}
