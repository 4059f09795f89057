//! Kubeconfig files: which ones apply, how several merge, and how to change one entry of the file that
//! holds it. Values stay raw JSON so that fields we do not know survive a rewrite.

use crate::failure::Failure;
use crate::text::{goquote::quote, yaml};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The lists of named entries, and the field that holds an entry's content.
pub(crate) const LISTS: [(&str, &str); 3] = [
    ("clusters", "cluster"),
    ("contexts", "context"),
    ("users", "user"),
];

/// Fields that are paths, relative to the file they are in.
const PATHS: [&str; 4] = [
    "certificate-authority",
    "client-certificate",
    "client-key",
    "tokenFile",
];

/// The files that apply and what is in them.
#[derive(Debug, Clone)]
pub(crate) struct Kubeconfig {
    files: Vec<(PathBuf, Value)>,
    /// All files in one; the first that names an entry or a current context wins.
    merged: Value,
}

impl Kubeconfig {
    /// Reads `--kubeconfig`, else the files of KUBECONFIG, else `~/.kube/config`; a missing file counts
    /// as empty unless it was asked for by the flag.
    pub(crate) fn load(flag: Option<&str>) -> Result<Kubeconfig, Failure> {
        let mut files = Vec::new();
        for path in paths(flag) {
            match std::fs::read_to_string(&path) {
                Ok(text) => files.push((path.clone(), parse(&path, &text)?)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && flag.is_none() => {
                    files.push((path, empty()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Failure::message(format!(
                        "stat {}: no such file or directory",
                        path.display()
                    )));
                }
                Err(error) => {
                    return Err(Failure::message(format!(
                        "error loading config file {}: {error}",
                        quote(&path.display().to_string())
                    )));
                }
            }
        }
        Ok(Kubeconfig::from_files(files))
    }

    /// Like [`Kubeconfig::load`], but the file of the flag need not exist: it is about to be written.
    pub(crate) fn load_for_writing(flag: Option<&str>) -> Result<Kubeconfig, Failure> {
        match flag {
            Some(path) if !Path::new(path).exists() => {
                Ok(Kubeconfig::from_files(vec![(PathBuf::from(path), empty())]))
            }
            other => Kubeconfig::load(other),
        }
    }

    fn from_files(files: Vec<(PathBuf, Value)>) -> Kubeconfig {
        let mut merged = empty();
        for (path, file) in &files {
            merge_into(&mut merged, file, path);
        }
        Kubeconfig { files, merged }
    }

    /// The view over all files; relative paths are made absolute.
    pub(crate) fn merged(&self) -> &Value {
        &self.merged
    }

    pub(crate) fn current_context(&self) -> &str {
        self.merged["current-context"].as_str().unwrap_or_default()
    }

    /// The content of the entry `name` of a list (`clusters`, `contexts`, `users`).
    pub(crate) fn entry(&self, list: &str, name: &str) -> Option<&Value> {
        let field = LISTS.iter().find(|(known, _)| *known == list)?.1;
        let entry = entries(&self.merged, list).find(|entry| entry["name"] == name)?;
        Some(&entry[field])
    }

    pub(crate) fn names(&self, list: &str) -> Vec<String> {
        let mut names: Vec<String> = entries(&self.merged, list)
            .filter_map(|entry| entry["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// The file that changes go to when nothing says otherwise.
    pub(crate) fn default_file(&self) -> &Path {
        self.files
            .iter()
            .map(|(path, _)| path.as_path())
            .find(|path| path.exists())
            .or_else(|| self.files.last().map(|(path, _)| path.as_path()))
            .unwrap_or(Path::new("config"))
    }

    /// The file that holds an entry.
    pub(crate) fn file_of(&self, list: &str, name: &str) -> Option<&Path> {
        self.files
            .iter()
            .find(|(_, file)| entries(file, list).any(|entry| entry["name"] == name))
            .map(|(path, _)| path.as_path())
    }

    /// Changes one file and writes it back, mode 0600, parent directories made.
    pub(crate) fn modify(
        &self,
        path: &Path,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), Failure> {
        let mut file = self
            .files
            .iter()
            .find(|(known, _)| known == path)
            .map_or_else(empty, |(_, file)| file.clone());
        if !file.is_object() {
            file = empty();
        }
        let map = file.as_object_mut().expect("made an object above");
        for (key, value) in empty().as_object().into_iter().flatten() {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
        change(map);
        write(path, &file)
    }
}

/// Sets or makes the entry `name`; `change` gets its content.
pub(crate) fn upsert(
    file: &mut Map<String, Value>,
    list: &str,
    name: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) {
    let field = LISTS
        .iter()
        .find(|(known, _)| *known == list)
        .map_or("cluster", |(_, field)| field);
    let entries = file.entry(list).or_insert_with(|| json!([]));
    if !entries.is_array() {
        *entries = json!([]);
    }
    let entries = entries.as_array_mut().expect("made an array above");
    if !entries.iter().any(|entry| entry["name"] == name) {
        entries.push(json!({"name": name, field: {}}));
        entries.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    }
    let Some(entry) = entries.iter_mut().find(|entry| entry["name"] == name) else {
        return;
    };
    if !entry[field].is_object() {
        entry[field] = json!({});
    }
    if let Some(content) = entry[field].as_object_mut() {
        change(content);
    }
}

/// Removes the entry `name`.
pub(crate) fn remove(file: &mut Map<String, Value>, list: &str, name: &str) {
    if let Some(entries) = file.get_mut(list).and_then(Value::as_array_mut) {
        entries.retain(|entry| entry["name"] != name);
    }
}

/// The entries of a list; none if the field is missing or null.
pub(crate) fn entries<'a>(config: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    config[list].as_array().into_iter().flatten()
}

fn paths(flag: Option<&str>) -> Vec<PathBuf> {
    if let Some(path) = flag.filter(|path| !path.is_empty()) {
        return vec![PathBuf::from(path)];
    }
    match std::env::var_os("KUBECONFIG") {
        Some(value) if !value.is_empty() => std::env::split_paths(&value)
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        _ => std::env::var_os("HOME")
            .map(|home| vec![PathBuf::from(home).join(".kube/config")])
            .unwrap_or_default(),
    }
}

fn parse(path: &Path, text: &str) -> Result<Value, Failure> {
    let value = if text.trim().is_empty() {
        Value::Null
    } else {
        yaml::parse(text).map_err(|error| {
            Failure::message(format!(
                "error loading config file {}: {error}",
                quote(&path.display().to_string())
            ))
        })?
    };
    match value {
        Value::Null => Ok(empty()),
        Value::Object(_) => Ok(value),
        _ => Err(Failure::message(format!(
            "error loading config file {}: it is not a mapping of kubeconfig fields",
            quote(&path.display().to_string())
        ))),
    }
}

pub(crate) fn empty() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [],
        "contexts": [],
        "users": [],
        "current-context": "",
    })
}

fn merge_into(merged: &mut Value, file: &Value, path: &Path) {
    if merged["current-context"] == "" && file["current-context"].is_string() {
        merged["current-context"] = file["current-context"].clone();
    }
    for (list, field) in LISTS {
        for entry in entries(file, list) {
            if entries(merged, list).any(|known| known["name"] == entry["name"]) {
                continue;
            }
            let mut entry = entry.clone();
            absolute_paths(&mut entry[field], path);
            if let Some(known) = merged[list].as_array_mut() {
                known.push(entry);
            }
        }
        if let Some(known) = merged[list].as_array_mut() {
            known.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        }
    }
}

fn absolute_paths(content: &mut Value, file: &Path) {
    let directory = file.parent().unwrap_or(Path::new("."));
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    for field in PATHS {
        if let Some(path) = content[field].as_str().filter(|path| !path.is_empty()) {
            let path = directory.join(path);
            content[field] = json!(path.display().to_string());
        } else if content[field].is_null()
            && let Some(map) = content.as_object_mut()
        {
            map.remove(field);
        }
    }
}

fn write(path: &Path, file: &Value) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent)?;
    }
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = options
        .open(&temporary)
        .map_err(|error| Failure::message(format!("open {}: {error}", path.display())))?;
    std::io::Write::write_all(&mut out, yaml::to_string(file).as_bytes())?;
    std::fs::rename(&temporary, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, server: &str, current: &str) -> Value {
        json!({
            "current-context": current,
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
        })
    }

    #[test]
    fn the_first_file_wins_and_paths_are_relative_to_their_file() {
        let config = Kubeconfig::from_files(vec![
            (PathBuf::from("/a/config"), file("one", "https://1", "")),
            (PathBuf::from("/b/config"), file("one", "https://2", "two")),
        ]);
        assert_eq!(config.current_context(), "two");
        let cluster = config.entry("clusters", "one").unwrap();
        assert_eq!(cluster["server"], "https://1");
        assert_eq!(cluster["certificate-authority"], "/a/ca.crt");
    }

    #[test]
    fn a_change_keeps_fields_it_does_not_know() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/config");
        let mut content = file("one", "https://1", "one");
        content["mystery"] = json!(5);
        let config = Kubeconfig::from_files(vec![(path.clone(), content)]);
        config
            .modify(&path, |file| {
                upsert(file, "contexts", "c", |context| {
                    context.insert("namespace".into(), json!("x"));
                });
            })
            .unwrap();
        let read = Kubeconfig::load(path.to_str()).unwrap();
        assert_eq!(read.entry("contexts", "c").unwrap()["namespace"], "x");
        assert_eq!(read.files[0].1["mystery"], 5);
    }
}
