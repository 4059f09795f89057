//! What every verb needs: the global flags, the kubeconfig, the connection and the resource mapping,
//! each made when it is first asked for, so that `config view` works without a server.

use crate::cli::Globals;
use crate::failure::Failure;
use crate::kubeconfig::Kubeconfig;
use crate::mapper::Mapper;
use crate::rest::Rest;
use crate::text::{duration, goquote::quote};
use base64::Engine;
use kube::config::{KubeConfigOptions, Kubeconfig as KubeKubeconfig};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where the classic insecure port is, when nothing names a server.
const DEFAULT_SERVER: &str = "http://localhost:8080";
const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

pub(crate) struct Context {
    pub(crate) globals: Globals,
    kubeconfig: std::sync::OnceLock<Kubeconfig>,
    rest: OnceCell<Rest>,
    mapper: Mapper,
}

impl Context {
    pub(crate) fn new(globals: Globals) -> Context {
        Context {
            globals,
            kubeconfig: std::sync::OnceLock::new(),
            rest: OnceCell::new(),
            mapper: Mapper::default(),
        }
    }

    pub(crate) fn kubeconfig(&self) -> Result<&Kubeconfig, Failure> {
        if let Some(config) = self.kubeconfig.get() {
            return Ok(config);
        }
        let config = Kubeconfig::load(self.globals.kubeconfig.as_deref())?;
        Ok(self.kubeconfig.get_or_init(|| config))
    }

    pub(crate) async fn rest(&self) -> Result<&Rest, Failure> {
        self.rest.get_or_try_init(|| self.connect()).await
    }

    pub(crate) fn mapper(&self) -> &Mapper {
        &self.mapper
    }

    /// The name of the context in use; empty if there is none.
    pub(crate) fn context_name(&self) -> Result<String, Failure> {
        let config = self.kubeconfig()?;
        Ok(match &self.globals.context {
            Some(name) => name.clone(),
            None => config.current_context().to_owned(),
        })
    }

    /// The namespace that requests go to.
    pub(crate) fn namespace(&self) -> Result<String, Failure> {
        if let Some(namespace) = self.explicit_namespace() {
            return Ok(namespace.to_owned());
        }
        let config = self.kubeconfig()?;
        let context = self.context_name()?;
        let of_context = config
            .entry("contexts", &context)
            .and_then(|context| context["namespace"].as_str())
            .filter(|namespace| !namespace.is_empty());
        if let Some(namespace) = of_context {
            return Ok(namespace.to_owned());
        }
        if self.is_in_cluster()?
            && let Ok(namespace) = std::fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE)
        {
            return Ok(namespace.trim().to_owned());
        }
        Ok("default".to_owned())
    }

    /// The namespace of `-n`, which objects of files must agree with.
    pub(crate) fn explicit_namespace(&self) -> Option<&str> {
        self.globals
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
    }

    fn is_in_cluster(&self) -> Result<bool, Failure> {
        let config = self.kubeconfig()?;
        let configured = !config.names("clusters").is_empty()
            || self.globals.server.is_some()
            || !self.context_name()?.is_empty();
        Ok(!configured && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some())
    }

    async fn connect(&self) -> Result<Rest, Failure> {
        self.client(self.client_config().await?)
    }

    /// Another server of this cluster, with the same credentials. `authority`: PEM of who issued its certificate, when that is not
    /// the cluster's.
    pub(crate) async fn connect_to(
        &self,
        url: &str,
        authority: Option<&str>,
    ) -> Result<Rest, Failure> {
        let mut config = self.client_config().await?;
        config.cluster_url = url
            .parse()
            .map_err(|error| Failure::message(format!("{}: {error}", quote(url))))?;
        if let Some(authority) = authority {
            config.root_cert = Some(certificates(authority));
            config.tls_server_name = None;
        }
        self.client(config)
    }

    fn client(&self, config: kube::Config) -> Result<Rest, Failure> {
        let timeout = self.request_timeout()?;
        let url = config.cluster_url.to_string();
        let client =
            kube::Client::try_from(config).map_err(|error| invalid_configuration(&error))?;
        Ok(Rest::new(client, &url, timeout, self.globals.verbosity))
    }

    async fn client_config(&self) -> Result<kube::Config, Failure> {
        let mut config = if self.is_in_cluster()? {
            kube::Config::incluster().map_err(|error| Failure::message(error.to_string()))?
        } else {
            let effective: KubeKubeconfig = serde_json::from_value(self.effective_config()?)
                .map_err(|error| Failure::message(format!("invalid configuration: {error}")))?;
            kube::Config::from_custom_kubeconfig(effective, &KubeConfigOptions::default())
                .await
                .map_err(|error| invalid_configuration(&error))?
        };
        config.disable_compression = true;
        config.default_retry = false;
        config.write_timeout = None;
        Ok(config)
    }

    fn request_timeout(&self) -> Result<Option<std::time::Duration>, Failure> {
        let Some(text) = self.globals.request_timeout.as_deref() else {
            return Ok(None);
        };
        let parsed = match text.parse::<u64>() {
            Ok(seconds) => Some(std::time::Duration::from_secs(seconds)),
            Err(_) => duration::parse(text),
        };
        match parsed {
            Some(timeout) if timeout.is_zero() => Ok(None),
            Some(timeout) => Ok(Some(timeout)),
            None => Err(Failure::message(format!(
                "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h): {}",
                quote(text)
            ))),
        }
    }

    /// One cluster, one user, one context: the kubeconfig's choice with the flags laid over it.
    fn effective_config(&self) -> Result<Value, Failure> {
        let config = self.kubeconfig()?;
        let name = self.context_name()?;
        let context = match config.entry("contexts", &name) {
            Some(context) => context.clone(),
            None if name.is_empty() => json!({}),
            None => {
                return Err(Failure::message(format!(
                    "context {} does not exist",
                    quote(&name)
                )));
            }
        };
        let pick = |list: &str, flag: &Option<String>, field: &str| -> Result<Value, Failure> {
            let wanted = flag
                .as_deref()
                .or(context[field].as_str())
                .unwrap_or_default();
            match config.entry(list, wanted) {
                Some(content) => Ok(content.clone()),
                None if flag.is_some() => Err(Failure::message(format!(
                    "{} {} does not exist",
                    if field == "user" { "auth info" } else { field },
                    quote(wanted)
                ))),
                None => Ok(json!({})),
            }
        };
        let mut cluster = pick("clusters", &self.globals.cluster, "cluster")?;
        let mut user = pick("users", &self.globals.user, "user")?;
        self.overlay_cluster(&mut cluster)?;
        self.overlay_user(&mut user);
        Ok(json!({
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": self.namespace()?}}],
            "current-context": "x",
        }))
    }

    fn overlay_cluster(&self, cluster: &mut Value) -> Result<(), Failure> {
        let globals = &self.globals;
        if let Some(server) = &globals.server {
            let server = if server.contains("://") {
                server.clone()
            } else {
                format!("http://{server}")
            };
            cluster["server"] = json!(server);
        }
        if cluster["server"].as_str().unwrap_or_default().is_empty() {
            cluster["server"] = json!(DEFAULT_SERVER);
        }
        if let Some(path) = &globals.certificate_authority {
            cluster["certificate-authority"] = json!(path);
            remove(cluster, "certificate-authority-data");
        }
        if globals.insecure_skip_tls_verify {
            cluster["insecure-skip-tls-verify"] = json!(true);
            remove(cluster, "certificate-authority");
            remove(cluster, "certificate-authority-data");
        }
        if let Some(name) = &globals.tls_server_name {
            cluster["tls-server-name"] = json!(name);
        }
        let certificate = cluster["certificate-authority"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !certificate.is_empty() && !std::path::Path::new(&certificate).exists() {
            return Err(Failure::message(format!(
                "unable to read certificate-authority {certificate}: open {certificate}: no such file or directory"
            )));
        }
        Ok(())
    }

    fn overlay_user(&self, user: &mut Value) {
        let globals = &self.globals;
        if let Some(path) = &globals.client_certificate {
            user["client-certificate"] = json!(path);
            remove(user, "client-certificate-data");
        }
        if let Some(path) = &globals.client_key {
            user["client-key"] = json!(path);
            remove(user, "client-key-data");
        }
        if let Some(token) = &globals.token {
            *user = json!({"token": token});
        }
        if let Some(name) = &globals.impersonate_user {
            user["as"] = json!(name);
        }
        if !globals.impersonate_groups.is_empty() {
            user["as-groups"] = json!(globals.impersonate_groups);
        }
    }
}

/// The certificates of a PEM text, as DER.
fn certificates(pem: &str) -> Vec<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let blocks = pem.split(BEGIN).skip(1);
    let body = |block: &str| {
        let text: String = block.split("-----END").next()?.split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(text).ok()
    };
    blocks.filter_map(body).collect()
}

fn remove(value: &mut Value, field: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(field);
    }
}

fn invalid_configuration(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    Failure::message(text)
}
