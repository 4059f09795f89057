//! From flags and kubeconfig files to a client. Explicit flags win over `--kubeconfig`, that over `KUBECONFIG`, that over
//! `~/.kube/config`, that over the in-cluster environment.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Where the API server is and who we are.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    pub kubeconfig: Option<PathBuf>,
    /// `--master`, `--server`, `--api-servers`: overrides the address in the kubeconfig.
    pub server: Option<String>,
    pub token: Option<String>,
    pub certificate_authority: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub insecure_skip_tls_verify: bool,
    pub tls_server_name: Option<String>,
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub user_agent: String,
    pub impersonate_user: Option<String>,
    pub impersonate_groups: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        path: String,
        source: Box<KubeconfigError>,
    },
    #[error("the server address {server:?} is not a URL such as https://10.0.0.1:6443")]
    Server { server: String },
    #[error("{flag} {path}: {source}")]
    File {
        flag: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{flag} {path}: no PEM certificate in it")]
    Certificate { flag: &'static str, path: PathBuf },
    #[error(
        "no API server is named: give --kubeconfig FILE or --master URL, or set KUBECONFIG (outside a cluster there is no default)"
    )]
    Nowhere,
    #[error("cannot make a client: {0}")]
    Client(Box<kube::Error>),
}

/// Makes a client; no request is sent yet, so an absent server is not an error here.
pub async fn connect(options: &ClientOptions) -> Result<Client, ConnectError> {
    let config = config(options).await?;
    Client::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))
}

/// The effective configuration, for callers that need the address or the namespace too.
pub async fn config(options: &ClientOptions) -> Result<Config, ConnectError> {
    let mut config = base(options).await?;
    if let Some(server) = &options.server {
        config.cluster_url = parse_server(server)?;
    }
    if let Some(namespace) = &options.namespace {
        config.default_namespace.clone_from(namespace);
    }
    credentials(options, &mut config)?;
    config.accept_invalid_certs |= options.insecure_skip_tls_verify;
    if options.tls_server_name.is_some() {
        config.tls_server_name.clone_from(&options.tls_server_name);
    }
    // gzip on loopback and LANs costs more than it saves, and watch streams must not be buffered by it.
    config.disable_compression = true;
    if !options.user_agent.is_empty()
        && let Ok(value) = HeaderValue::from_str(&options.user_agent)
    {
        config
            .headers
            .push((HeaderName::from_static("user-agent"), value));
    }
    Ok(config)
}

async fn base(options: &ClientOptions) -> Result<Config, ConnectError> {
    if let Some(path) = &options.kubeconfig {
        return from_files(std::slice::from_ref(path), options).await;
    }
    if let Some(server) = &options.server {
        // A bare address, as in `--master=http://localhost:8080`, needs no file; one that exists may still hold credentials.
        let files = default_files();
        return match files.is_empty() || server.starts_with("http://") {
            true => Ok(Config::new(parse_server(server)?)),
            false => from_files(&files, options).await,
        };
    }
    let files = default_files();
    if !files.is_empty() {
        return from_files(&files, options).await;
    }
    Config::incluster().map_err(|_| ConnectError::Nowhere)
}

/// The files that apply without a flag: KUBECONFIG (several, separated by colons) or ~/.kube/config; only those that exist.
pub fn default_files() -> Vec<PathBuf> {
    let listed = match std::env::var_os("KUBECONFIG") {
        Some(value) if !value.is_empty() => std::env::split_paths(&value).collect(),
        _ => std::env::var_os("HOME")
            .map(|home| vec![PathBuf::from(home).join(".kube/config")])
            .unwrap_or_default(),
    };
    listed.into_iter().filter(|path| path.exists()).collect()
}

async fn from_files(files: &[PathBuf], options: &ClientOptions) -> Result<Config, ConnectError> {
    let named = |path: &PathBuf| path.display().to_string();
    let mut merged = Kubeconfig::default();
    let mut names = Vec::new();
    for path in files {
        let wrap = |source| ConnectError::Kubeconfig {
            path: named(path),
            source: Box::new(source),
        };
        let next = Kubeconfig::read_from(path).map_err(wrap)?;
        merged = merged.merge(next).map_err(wrap)?;
        names.push(named(path));
    }
    let selection = KubeConfigOptions {
        context: options.context.clone(),
        cluster: options.cluster.clone(),
        user: options.user.clone(),
    };
    Config::from_custom_kubeconfig(merged, &selection)
        .await
        .map_err(|source| ConnectError::Kubeconfig {
            path: names.join(":"),
            source: Box::new(source),
        })
}

fn parse_server(server: &str) -> Result<Uri, ConnectError> {
    // Upstream takes "host:port" for http; the first of a comma-separated list is used, as the old --api-servers allowed a list.
    let first = server.split(',').next().unwrap_or(server).trim();
    let text = if first.contains("://") {
        first.to_owned()
    } else {
        format!("http://{first}")
    };
    match text.parse::<Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(ConnectError::Server {
            server: server.to_owned(),
        }),
    }
}

fn credentials(options: &ClientOptions, config: &mut Config) -> Result<(), ConnectError> {
    if let Some(token) = &options.token {
        config.auth_info.token = Some(token.clone().into());
        config.auth_info.token_file = None;
    }
    let path_text = |path: &PathBuf| path.display().to_string();
    if let Some(path) = &options.client_certificate {
        config.auth_info.client_certificate = Some(path_text(path));
        config.auth_info.client_certificate_data = None;
    }
    if let Some(path) = &options.client_key {
        config.auth_info.client_key = Some(path_text(path));
        config.auth_info.client_key_data = None;
    }
    if let Some(path) = &options.certificate_authority {
        config.root_cert = Some(read_certificates("--certificate-authority", path)?);
    }
    if options.impersonate_user.is_some() {
        config
            .auth_info
            .impersonate
            .clone_from(&options.impersonate_user);
    }
    if !options.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(options.impersonate_groups.clone());
    }
    Ok(())
}

/// The DER certificates of a PEM file.
fn read_certificates(flag: &'static str, path: &PathBuf) -> Result<Vec<Vec<u8>>, ConnectError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let text = std::fs::read(path).map_err(|source| ConnectError::File {
        flag,
        path: path.clone(),
        source,
    })?;
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&text)
        .filter_map(Result::ok)
        .map(|certificate| certificate.as_ref().to_vec())
        .collect();
    match found.is_empty() {
        true => Err(ConnectError::Certificate {
            flag,
            path: path.clone(),
        }),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_addresses() {
        for (given, expected) in [
            ("http://master:8080", "http://master:8080/"),
            ("localhost:8080", "http://localhost:8080/"),
            ("https://a:1,https://b:2", "https://a:1/"),
        ] {
            assert_eq!(parse_server(given).unwrap().to_string(), expected);
        }
        assert!(parse_server("http://").is_err());
        assert!(parse_server("not a url").is_err());
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let options = ClientOptions {
            kubeconfig: Some("/nonexistent/admin.kubeconfig".into()),
            ..Default::default()
        };
        let error = config(&options).await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/admin.kubeconfig"), "{error}");
    }
}
