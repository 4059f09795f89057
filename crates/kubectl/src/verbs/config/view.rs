//! `config view`: the merged configuration, secrets hidden unless asked for.

use crate::context::Context;
use crate::failure::Failure;
use crate::printers::{Format, PrintFlags, Printer};
use crate::text::goquote::quote;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Display merged kubeconfig settings or a specified kubeconfig file
#[derive(clap::Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    print: PrintFlags,
    /// Flatten the resulting kubeconfig file into self-contained output
    #[arg(long)]
    flatten: bool,
    /// Remove all information not used by current-context from the output
    #[arg(long)]
    minify: bool,
    /// Display raw byte data and sensitive data
    #[arg(long)]
    raw: bool,
    /// Merge the full hierarchy of kubeconfig files (accepted; always so)
    #[arg(long, hide = true, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    merge: bool,
}

pub(super) fn run(context: &Context, flags: &Flags) -> Result<(), Failure> {
    let mut config = context.kubeconfig()?.merged().clone();
    if flags.minify {
        minify(&mut config, &context.context_name()?)?;
    }
    if flags.flatten {
        for_each_content(&mut config, flatten_content)?;
    }
    if !flags.raw {
        for_each_content(&mut config, |content| {
            redact(content);
            Ok(())
        })?;
    }
    for list in ["clusters", "contexts", "users"] {
        if config[list].as_array().is_some_and(Vec::is_empty) {
            config[list] = Value::Null;
        }
    }
    if config["preferences"].as_object().is_some_and(serde_json::Map::is_empty)
        && let Some(map) = config.as_object_mut()
    {
        map.remove("preferences");
    }
    let format = match flags.print.format(false)? {
        Format::Human { .. } => Format::Yaml,
        other => other,
    };
    Printer::new(format, true).print(&config, "")
}

fn minify(config: &mut Value, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::message("current-context must exist in order to minify"));
    }
    let content = |list: &str, field: &str, name: &str| {
        config[list]
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["name"] == name)
            .map(|entry| entry[field].clone())
    };
    let Some(chosen) = content("contexts", "context", name) else {
        return Err(Failure::message(format!("cannot locate context {}", quote(name))));
    };
    for (list, keep) in [("contexts", &json!(name)), ("clusters", &chosen["cluster"]), ("users", &chosen["user"])] {
        if let Some(entries) = config[list].as_array_mut() {
            entries.retain(|entry| entry["name"] == *keep);
        }
    }
    config["current-context"] = json!(name);
    Ok(())
}

fn for_each_content(
    config: &mut Value,
    mut change: impl FnMut(&mut Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (list, field) in [("clusters", "cluster"), ("users", "user")] {
        for entry in config[list].as_array_mut().into_iter().flatten() {
            if entry[field].is_object() {
                change(&mut entry[field])?;
            }
        }
    }
    Ok(())
}

/// Files become data.
fn flatten_content(content: &mut Value) -> Result<(), Failure> {
    for field in ["certificate-authority", "client-certificate", "client-key"] {
        let Some(path) = content[field].as_str().map(str::to_owned) else {
            if let Some(map) = content.as_object_mut() {
                map.remove(field);
            }
            continue;
        };
        let data = std::fs::read(&path).map_err(|error| Failure::message(format!("open {path}: {error}")))?;
        content[format!("{field}-data")] = json!(BASE64.encode(data));
        if let Some(map) = content.as_object_mut() {
            map.remove(field);
        }
    }
    Ok(())
}

fn redact(content: &mut Value) {
    for (field, shown) in [
        ("certificate-authority-data", "DATA+OMITTED"),
        ("client-certificate-data", "DATA+OMITTED"),
        ("client-key-data", "DATA+OMITTED"),
        ("token", "REDACTED"),
        ("password", "REDACTED"),
    ] {
        if content[field].as_str().is_some_and(|text| !text.is_empty()) {
            content[field] = json!(shown);
        } else if let Some(map) = content.as_object_mut() {
            map.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let mut config = json!({
            "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority-data": "AAAA"}}],
            "users": [{"name": "u", "user": {"token": "secret"}}, {"name": "v", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        minify(&mut config, "x").unwrap();
        for_each_content(&mut config, |content| {
            redact(content);
            Ok(())
        })
        .unwrap();
        assert_eq!(config["users"], json!([{"name": "u", "user": {"token": "REDACTED"}}]));
        assert_eq!(
            config["clusters"][0]["cluster"],
            json!({"server": "https://x", "certificate-authority-data": "DATA+OMITTED"})
        );
        assert!(minify(&mut config, "y").is_err());
    }
}
