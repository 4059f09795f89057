//! Manifests from files, directories and standard input, as objects with the place they came from.

use crate::failure::Failure;
use crate::object::Object;
use crate::text::{goquote::quote, yaml};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// The flags that name manifests.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct FileFlags {
    /// The files that contain the configurations to act on: a file, a directory, or - for standard input
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub(crate) filenames: Vec<String>,
    /// Process the directory used in -f, --filename recursively
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,
}

impl FileFlags {
    pub(crate) fn is_empty(&self) -> bool {
        self.filenames.is_empty()
    }
}

/// One object of a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) value: Value,
    /// The file, or `STDIN`.
    pub(crate) source: String,
}

/// Reads all; lists are taken apart.
pub(crate) fn read(flags: &FileFlags) -> Result<Vec<Manifest>, Failure> {
    let mut manifests = Vec::new();
    let mut failures = Vec::new();
    for name in flags.filenames.iter().flat_map(|names| names.split(',')) {
        if name == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            decode(&text, "STDIN", &mut manifests)?;
            continue;
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(Failure::message(format!(
                "unable to read URL {}: manifests are read from files and standard input",
                quote(name)
            )));
        }
        match expand(name, flags.recursive) {
            Ok(files) => {
                for file in files {
                    let source = file.display().to_string();
                    let text = std::fs::read_to_string(&file).map_err(|error| {
                        Failure::message(format!("error reading {}: {error}", quote(&source)))
                    })?;
                    decode(&text, &source, &mut manifests)?;
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)?;
    Ok(manifests)
}

fn expand(name: &str, recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    let path = Path::new(name);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let globbed = glob(path);
            if globbed.is_empty() {
                return Err(Failure::message(format!(
                    "the path {} does not exist",
                    quote(name)
                )));
            }
            return Ok(globbed);
        }
        Err(error) => {
            return Err(Failure::message(format!(
                "the path {} cannot be accessed: {error}",
                quote(name)
            )));
        }
    };
    if !metadata.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    walk(path, recursive, &mut files)?;
    if files.is_empty() {
        return Err(Failure::message(format!(
            "error reading [{name}]: recognized file extensions are [.json .yaml .yml]"
        )));
    }
    Ok(files)
}

/// `*` in the last segment of a path that the shell left alone.
fn glob(path: &Path) -> Vec<PathBuf> {
    let (Some(pattern), parent) = (
        path.file_name().and_then(|name| name.to_str()),
        path.parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    ) else {
        return Vec::new();
    };
    let Some((prefix, suffix)) = pattern.split_once('*') else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.len() >= prefix.len() + suffix.len()
                && name.starts_with(prefix)
                && name.ends_with(suffix)
        })
        .collect();
    found.sort();
    found
}

fn walk(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if recursive {
                walk(&path, true, files)?;
            }
        } else if path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&extension))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn decode(text: &str, source: &str, manifests: &mut Vec<Manifest>) -> Result<(), Failure> {
    let documents = yaml::documents(text)
        .map_err(|error| Failure::message(format!("error parsing {source}: {error}")))?;
    for value in documents {
        flatten(value, source, manifests)?;
    }
    Ok(())
}

fn flatten(mut value: Value, source: &str, manifests: &mut Vec<Manifest>) -> Result<(), Failure> {
    if !value.is_object() {
        return Err(Failure::message(format!(
            "error parsing {source}: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(&value)
        )));
    }
    let mut missing = Vec::new();
    if value.text("apiVersion").is_empty() {
        missing.push("apiVersion not set");
    }
    if value.kind().is_empty() {
        missing.push("kind not set");
    }
    if !missing.is_empty() {
        let missing = match missing.as_slice() {
            [one] => (*one).to_owned(),
            many => format!("[{}]", many.join(", ")),
        };
        return Err(Failure::message(format!(
            "error validating {}: error validating data: {missing}; if you choose to ignore these errors, turn validation off with --validate=false",
            quote(source)
        )));
    }
    let is_list = value.kind().ends_with("List") && value["items"].is_array();
    if !is_list {
        manifests.push(Manifest {
            value,
            source: source.to_owned(),
        });
        return Ok(());
    }
    let item_kind = value.kind().trim_end_matches("List").to_owned();
    let api_version = value["apiVersion"].clone();
    for mut item in value["items"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default()
    {
        if item.is_object() && item["kind"].is_null() && !item_kind.is_empty() {
            item["kind"] = Value::String(item_kind.clone());
            item["apiVersion"] = api_version.clone();
        }
        flatten(item, source, manifests)?;
    }
    Ok(())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        let mut manifests = Vec::new();
        let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
        decode(text, "x.yaml", &mut manifests).unwrap();
        let names: Vec<&str> = manifests
            .iter()
            .map(|manifest| manifest.value.name())
            .collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |text: &str, expected: &str| {
            let failure = decode(text, "x.yaml", &mut Vec::new()).unwrap_err();
            assert!(failure.render().contains(expected), "{}", failure.render());
        };
        check("metadata: {name: a}", "[apiVersion not set, kind not set]");
        check("apiVersion: v1", "error validating data: kind not set;");
        check("- a", "error parsing x.yaml");
    }

    #[test]
    fn a_missing_path() {
        let flags = FileFlags {
            filenames: vec!["nowhere.yaml".to_owned()],
            recursive: false,
        };
        assert_eq!(
            read(&flags).unwrap_err().render(),
            "error: the path \"nowhere.yaml\" does not exist"
        );
    }
}
