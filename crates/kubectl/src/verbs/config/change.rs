//! The actions of `config` that write: each changes the file that holds the entry, or the first that is
//! read for a new one. Values come from the global flags of the same names.

use super::{no_such, one};
use crate::context::Context;
use crate::failure::Failure;
use crate::kubeconfig::{Kubeconfig, entries, remove, upsert};
use crate::output;
use crate::text::goquote::quote;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Set a context entry in kubeconfig
#[derive(clap::Args, Debug)]
pub(super) struct SetContext {
    names: Vec<String>,
    /// Modify the current context
    #[arg(long)]
    current: bool,
}

/// Set a cluster entry in kubeconfig
#[derive(clap::Args, Debug)]
pub(super) struct SetCluster {
    names: Vec<String>,
    /// Embed the certificate authority in the kubeconfig
    #[arg(long)]
    embed_certs: bool,
    /// Proxy through which the server is reached
    #[arg(long)]
    proxy_url: Option<String>,
}

/// Set a user entry in kubeconfig
#[derive(clap::Args, Debug)]
pub(super) struct SetCredentials {
    names: Vec<String>,
    /// Embed client certificate and key in the kubeconfig
    #[arg(long)]
    embed_certs: bool,
    /// Username for basic authentication
    #[arg(long)]
    username: Option<String>,
    /// Password for basic authentication
    #[arg(long)]
    password: Option<String>,
    /// Command of an exec credential plugin
    #[arg(long)]
    exec_command: Option<String>,
    /// API version of the exec credential plugin
    #[arg(long)]
    exec_api_version: Option<String>,
    /// Arguments of the exec credential plugin
    #[arg(long, value_delimiter = ',')]
    exec_arg: Vec<String>,
}

pub(super) fn use_context(config: &Kubeconfig, names: &[String]) -> Result<(), Failure> {
    let name = one(names, "a current-context")?;
    if config.entry("contexts", name).is_none() {
        return Err(no_such("context", name));
    }
    config.modify(&current_context_file(config), |file| {
        file.insert("current-context".to_owned(), json!(name));
    })?;
    output::line(format!("Switched to context {}.", quote(name)));
    Ok(())
}

fn current_context_file(config: &Kubeconfig) -> PathBuf {
    config.default_file().to_path_buf()
}

fn file_for(config: &Kubeconfig, list: &str, name: &str) -> PathBuf {
    config.file_of(list, name).unwrap_or(config.default_file()).to_path_buf()
}

pub(super) fn set_context(context: &Context, config: &Kubeconfig, flags: &SetContext) -> Result<(), Failure> {
    let name = if flags.current {
        if config.current_context().is_empty() {
            return Err(Failure::message("no current context is set"));
        }
        config.current_context()
    } else {
        match flags.names.as_slice() {
            [name] => name,
            _ => {
                return Err(Failure::message("you must specify a non-empty context name or --current"));
            }
        }
    };
    let existed = config.entry("contexts", name).is_some();
    let globals = &context.globals;
    config.modify(&file_for(config, "contexts", name), |file| {
        upsert(file, "contexts", name, |entry| {
            for (field, value) in [
                ("cluster", &globals.cluster),
                ("user", &globals.user),
                ("namespace", &globals.namespace),
            ] {
                if let Some(value) = value {
                    entry.insert(field.to_owned(), json!(value));
                }
            }
            for field in ["cluster", "user"] {
                entry.entry(field).or_insert_with(|| json!(""));
            }
        });
    })?;
    let word = if existed { "modified" } else { "created" };
    output::line(format!("Context {} {word}.", quote(name)));
    Ok(())
}

/// A file as its path made absolute, or as data.
fn certificate(entry: &mut Map<String, Value>, field: &str, path: &str, embed: bool) -> Result<(), Failure> {
    let data_field = format!("{field}-data");
    if embed {
        let data = std::fs::read(path)
            .map_err(|error| Failure::message(format!("could not read {field} data from {path}: {error}")))?;
        entry.insert(data_field, json!(BASE64.encode(data)));
        entry.remove(field);
    } else {
        let path = std::path::absolute(path)?;
        entry.insert(field.to_owned(), json!(path.display().to_string()));
        entry.remove(&data_field);
    }
    Ok(())
}

pub(super) fn set_cluster(context: &Context, config: &Kubeconfig, flags: &SetCluster) -> Result<(), Failure> {
    let name = one(&flags.names, "a non-empty cluster name")?;
    let globals = &context.globals;
    let mut problem = Ok(());
    config.modify(&file_for(config, "clusters", name), |file| {
        upsert(file, "clusters", name, |entry| {
            for (field, value) in [
                ("server", &globals.server),
                ("tls-server-name", &globals.tls_server_name),
                ("proxy-url", &flags.proxy_url),
            ] {
                if let Some(value) = value {
                    entry.insert(field.to_owned(), json!(value));
                }
            }
            entry.entry("server").or_insert_with(|| json!(""));
            if globals.insecure_skip_tls_verify {
                entry.insert("insecure-skip-tls-verify".to_owned(), json!(true));
                entry.remove("certificate-authority");
                entry.remove("certificate-authority-data");
            }
            if let Some(path) = &globals.certificate_authority {
                problem = certificate(entry, "certificate-authority", path, flags.embed_certs);
                entry.remove("insecure-skip-tls-verify");
            }
        });
    })?;
    problem?;
    output::line(format!("Cluster {} set.", quote(name)));
    Ok(())
}

pub(super) fn set_credentials(
    context: &Context,
    config: &Kubeconfig,
    flags: &SetCredentials,
) -> Result<(), Failure> {
    let name = one(&flags.names, "a non-empty user name")?;
    let globals = &context.globals;
    let mut problem = Ok(());
    config.modify(&file_for(config, "users", name), |file| {
        upsert(file, "users", name, |entry| {
            problem = credentials(entry, globals, flags);
        });
    })?;
    problem?;
    output::line(format!("User {} set.", quote(name)));
    Ok(())
}

fn credentials(
    entry: &mut Map<String, Value>,
    globals: &crate::cli::Globals,
    flags: &SetCredentials,
) -> Result<(), Failure> {
    for (field, value) in [
        ("token", &globals.token),
        ("username", &flags.username),
        ("password", &flags.password),
    ] {
        if let Some(value) = value {
            entry.insert(field.to_owned(), json!(value));
        }
    }
    for (field, path) in [
        ("client-certificate", &globals.client_certificate),
        ("client-key", &globals.client_key),
    ] {
        if let Some(path) = path {
            certificate(entry, field, path, flags.embed_certs)?;
        }
    }
    if let Some(command) = &flags.exec_command {
        let version = flags.exec_api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1");
        entry.insert(
            "exec".to_owned(),
            json!({
                "apiVersion": version,
                "command": command,
                "args": flags.exec_arg,
                "env": null,
                "interactiveMode": "IfAvailable",
                "provideClusterInfo": false,
            }),
        );
    }
    Ok(())
}

pub(super) fn delete(config: &Kubeconfig, list: &str, names: &[String]) -> Result<(), Failure> {
    let kind = list.trim_end_matches('s');
    let name = one(names, &format!("a {kind} to delete"))?;
    let Some(path) = config.file_of(list, name).map(std::path::Path::to_path_buf) else {
        return Err(Failure::message(format!(
            "cannot delete {kind} {name}, not in {}",
            config.default_file().display()
        )));
    };
    if list == "contexts" && config.current_context() == name {
        output::error_line(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one",
        );
    }
    config.modify(&path, |file| remove(file, list, name))?;
    output::line(format!("deleted {kind} {name} from {}", path.display()));
    Ok(())
}

pub(super) fn rename_context(config: &Kubeconfig, names: &[String]) -> Result<(), Failure> {
    let [old, new] = names else {
        return Err(Failure::message("you must specify the original context name and the new name"));
    };
    let Some(path) = config.file_of("contexts", old).map(std::path::Path::to_path_buf) else {
        return Err(Failure::message(format!(
            "cannot rename the context {}, it's not in {}",
            quote(old),
            config.default_file().display()
        )));
    };
    if config.entry("contexts", new).is_some() {
        return Err(Failure::message(format!(
            "cannot rename the context {}, the context {} already exists in {}",
            quote(old),
            quote(new),
            path.display()
        )));
    }
    config.modify(&path, |file| {
        for entry in file.get_mut("contexts").and_then(Value::as_array_mut).into_iter().flatten() {
            if entry["name"] == old.as_str() {
                entry["name"] = json!(new);
            }
        }
        if file.get("current-context").is_some_and(|current| current == old.as_str()) {
            file.insert("current-context".to_owned(), json!(new));
        }
    })?;
    output::line(format!("Context {} renamed to {}.", quote(old), quote(new)));
    Ok(())
}

/// `contexts.NAME.namespace`: the list, the entry, the field; names may hold dots.
fn property(config: &Kubeconfig, path: &str) -> Option<(String, String, String)> {
    let (list, rest) = path.split_once('.')?;
    let (name, field) = rest.rsplit_once('.')?;
    let known = entries(config.merged(), list).any(|entry| entry["name"] == name);
    (known || matches!(list, "clusters" | "contexts" | "users"))
        .then(|| (list.to_owned(), name.to_owned(), field.to_owned()))
}

pub(super) fn set(config: &Kubeconfig, words: &[String]) -> Result<(), Failure> {
    let [path, value] = words else {
        return Err(Failure::message("you must specify a property name and a value"));
    };
    if path == "current-context" {
        config.modify(&current_context_file(config), |file| {
            file.insert(path.clone(), json!(value));
        })?;
    } else if let Some((list, name, field)) = property(config, path) {
        let value = match value.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => json!(text),
        };
        config.modify(&file_for(config, &list, &name), |file| {
            upsert(file, &list, &name, |entry| {
                entry.insert(field, value);
            });
        })?;
    } else {
        return Err(Failure::message(format!("unable to parse {}", quote(path))));
    }
    output::line(format!("Property {} set.", quote(path)));
    Ok(())
}

pub(super) fn unset(config: &Kubeconfig, words: &[String]) -> Result<(), Failure> {
    let [path] = words else {
        return Err(Failure::message("you must specify a property name"));
    };
    if path == "current-context" {
        config.modify(&current_context_file(config), |file| {
            file.insert(path.clone(), json!(""));
        })?;
    } else if let Some((list, name)) = path.split_once('.').filter(|(list, name)| config.entry(list, name).is_some()) {
        config.modify(&file_for(config, list, name), |file| remove(file, list, name))?;
    } else if let Some((list, name, field)) = property(config, path) {
        config.modify(&file_for(config, &list, &name), |file| {
            upsert(file, &list, &name, |entry| {
                entry.remove(&field);
            });
        })?;
    } else {
        return Err(Failure::message(format!("current map key `{path}` is invalid")));
    }
    output::line(format!("Property {} unset.", quote(path)));
    Ok(())
}
