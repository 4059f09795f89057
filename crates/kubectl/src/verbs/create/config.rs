//! Generators of what pods are configured with: namespaces, config maps, secrets, accounts, quotas.

use super::{CreateFlags, one_name, pair};
use crate::failure::Failure;
use crate::text::gojson;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Create a namespace with the specified name
#[derive(clap::Args, Debug)]
pub(super) struct Namespace {
    names: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl Namespace {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "namespace")?;
        Ok(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}, "status": {}}))
    }
}

/// Where the data of config maps and secrets comes from.
#[derive(clap::Args, Debug, Clone)]
struct Sources {
    /// A file, key=file, or a directory whose files become keys
    #[arg(long = "from-file")]
    files: Vec<String>,
    /// A key and literal value (key=value)
    #[arg(long = "from-literal")]
    literals: Vec<String>,
    /// A file of key=value lines
    #[arg(long = "from-env-file")]
    env_files: Vec<String>,
}

impl Sources {
    fn read(&self) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        if !self.env_files.is_empty() && self.files.len() + self.literals.len() > 0 {
            return Err(Failure::message(
                "from-env-file cannot be combined with from-file or from-literal",
            ));
        }
        let mut data: Vec<(String, Vec<u8>)> = Vec::new();
        for source in &self.files {
            read_file_source(source, &mut data)?;
        }
        for literal in &self.literals {
            let (key, value) = pair(literal, "literal")?;
            add(&mut data, key, unquoted(value).as_bytes().to_vec())?;
        }
        for file in &self.env_files {
            let text = read(file)?;
            for line in String::from_utf8_lossy(&text).lines() {
                let line = line.trim_start();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                match line.split_once('=') {
                    Some((key, value)) => add(&mut data, key, value.as_bytes().to_vec())?,
                    None => {
                        let value = std::env::var(line).unwrap_or_default();
                        add(&mut data, line, value.into_bytes())?;
                    }
                }
            }
        }
        Ok(data)
    }
}

fn read_file_source(source: &str, data: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let (key, path) = match source.split_once('=') {
        Some((key, path)) if !key.is_empty() && !path.is_empty() => (Some(key), path),
        Some(("", path)) => {
            return Err(Failure::message(format!("key name for file path {path} missing")));
        }
        Some((key, _)) => {
            return Err(Failure::message(format!("file path for key name {key} missing")));
        }
        None => (None, source),
    };
    let metadata = std::fs::metadata(path)
        .map_err(|_| Failure::message(format!("error reading {path}: no such file or directory")))?;
    if !metadata.is_dir() {
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        return add(data, key.unwrap_or(name), read(path)?);
    }
    if key.is_some() {
        return Err(Failure::message("cannot give a key name for a directory path"));
    }
    let mut files: Vec<_> = std::fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        add(data, name, read(&file.display().to_string())?)?;
    }
    Ok(())
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::message(format!("open {path}: no such file or directory")),
        _ => Failure::message(format!("open {path}: {error}")),
    })
}

fn add(data: &mut Vec<(String, Vec<u8>)>, key: &str, value: Vec<u8>) -> Result<(), Failure> {
    let valid = !key.is_empty()
        && key.len() <= 253
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !valid {
        return Err(Failure::message(format!(
            "{} is not valid key name for a ConfigMap a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            crate::text::goquote::quote(key)
        )));
    }
    if data.iter().any(|(known, _)| known == key) {
        return Err(Failure::message(format!(
            "cannot add key {}, another key by that name already exists in data for ConfigMap",
            crate::text::goquote::quote(key)
        )));
    }
    data.push((key.to_owned(), value));
    Ok(())
}

/// A value that is quoted as a whole loses its quotes.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Create a config map from a local file, directory or literal value
#[derive(clap::Args, Debug)]
pub(super) struct ConfigMap {
    names: Vec<String>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl ConfigMap {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "configmap")?;
        let (mut data, mut binary) = (Map::new(), Map::new());
        for (key, value) in self.sources.read()? {
            match String::from_utf8(value) {
                Ok(text) => data.insert(key, json!(text)),
                Err(bytes) => binary.insert(key, json!(BASE64.encode(bytes.as_bytes()))),
            };
        }
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        if !data.is_empty() {
            object["data"] = Value::Object(data);
        }
        if !binary.is_empty() {
            object["binaryData"] = Value::Object(binary);
        }
        Ok(object)
    }
}

/// Create a secret using a specified subcommand
#[derive(clap::Args, Debug)]
pub(super) struct Secret {
    #[command(subcommand)]
    kind: SecretKind,
}

#[derive(clap::Subcommand, Debug)]
enum SecretKind {
    Generic(GenericSecret),
    Tls(TlsSecret),
    DockerRegistry(RegistrySecret),
}

/// Create a secret from a local file, directory, or literal value
#[derive(clap::Args, Debug)]
struct GenericSecret {
    names: Vec<String>,
    #[command(flatten)]
    sources: Sources,
    /// The type of secret to create
    #[arg(long = "type")]
    secret_type: Option<String>,
    #[command(flatten)]
    flags: CreateFlags,
}

/// Create a TLS secret
#[derive(clap::Args, Debug)]
struct TlsSecret {
    names: Vec<String>,
    /// Path to PEM encoded public key certificate
    #[arg(long)]
    cert: Option<String>,
    /// Path to private key associated with given certificate
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    flags: CreateFlags,
}

/// Create a secret for use with a Docker registry
#[derive(clap::Args, Debug)]
struct RegistrySecret {
    names: Vec<String>,
    /// Server location for the registry
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    /// Username for registry authentication
    #[arg(long)]
    docker_username: Option<String>,
    /// Password for registry authentication
    #[arg(long)]
    docker_password: Option<String>,
    /// Email for the registry
    #[arg(long)]
    docker_email: Option<String>,
    #[command(flatten)]
    flags: CreateFlags,
}

impl Secret {
    pub(super) fn object(self) -> Result<(Value, CreateFlags), Failure> {
        let secret = |name: &str, data: Vec<(String, Vec<u8>)>, secret_type: Option<&str>| {
            let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
            if !data.is_empty() {
                object["data"] = data
                    .into_iter()
                    .map(|(key, value)| (key, json!(BASE64.encode(value))))
                    .collect();
            }
            if let Some(secret_type) = secret_type {
                object["type"] = json!(secret_type);
            }
            object
        };
        match self.kind {
            SecretKind::Generic(generic) => {
                let name = one_name(&generic.names, "secret generic")?;
                let object = secret(name, generic.sources.read()?, generic.secret_type.as_deref());
                Ok((object, generic.flags))
            }
            SecretKind::Tls(tls) => {
                let name = one_name(&tls.names, "secret tls")?;
                let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
                    return Err(Failure::message("key and cert must be specified"));
                };
                let data = vec![("tls.crt".to_owned(), read(cert)?), ("tls.key".to_owned(), read(key)?)];
                Ok((secret(name, data, Some("kubernetes.io/tls")), tls.flags))
            }
            SecretKind::DockerRegistry(registry) => {
                let name = one_name(&registry.names, "secret docker-registry")?;
                let data = vec![(".dockerconfigjson".to_owned(), registry.config()?)];
                Ok((secret(name, data, Some("kubernetes.io/dockerconfigjson")), registry.flags))
            }
        }
    }
}

impl RegistrySecret {
    fn config(&self) -> Result<Vec<u8>, Failure> {
        let (Some(username), Some(password)) = (&self.docker_username, &self.docker_password) else {
            return Err(Failure::message(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
            ));
        };
        let mut entry = json!({
            "username": username,
            "password": password,
            "auth": BASE64.encode(format!("{username}:{password}")),
        });
        if let Some(email) = &self.docker_email {
            entry["email"] = json!(email);
        }
        let config = json!({"auths": {&self.docker_server: entry}});
        Ok(gojson::compact(&config).into_bytes())
    }
}

/// Create a service account with the specified name
#[derive(clap::Args, Debug)]
pub(super) struct ServiceAccount {
    names: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl ServiceAccount {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "serviceaccount")?;
        Ok(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}))
    }
}

/// Create a quota with the specified name, hard limits, and optional scopes
#[derive(clap::Args, Debug)]
pub(super) struct Quota {
    names: Vec<String>,
    /// A comma-delimited set of resource=quantity pairs that define a hard limit
    #[arg(long, value_delimiter = ',')]
    hard: Vec<String>,
    /// A comma-delimited set of quota scopes
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl Quota {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "quota")?;
        let mut spec = json!({});
        for item in &self.hard {
            let (resource, quantity) = pair(item, "hard")?;
            spec["hard"][resource] = json!(quantity);
        }
        if !self.scopes.is_empty() {
            spec["scopes"] = json!(self.scopes);
        }
        Ok(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec, "status": {}}))
    }
}

/// Create a priority class with the specified name, value, globalDefault and description
#[derive(clap::Args, Debug)]
pub(super) struct PriorityClass {
    names: Vec<String>,
    /// The value of this priority class
    #[arg(long, default_value_t = 0)]
    value: i64,
    /// Whether this class is the default for pods without one
    #[arg(long)]
    global_default: bool,
    /// When this priority class should be used
    #[arg(long, default_value = "")]
    description: String,
    /// Never or PreemptLowerPriority
    #[arg(long, default_value = "PreemptLowerPriority")]
    preemption_policy: String,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl PriorityClass {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "priorityclass")?;
        let mut object = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": self.value,
            "preemptionPolicy": self.preemption_policy,
        });
        if self.global_default {
            object["globalDefault"] = json!(true);
        }
        if !self.description.is_empty() {
            object["description"] = json!(self.description);
        }
        Ok(object)
    }
}
