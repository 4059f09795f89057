//! Reads the API data and gives it one shape, so that the emitters see no file layout.
//!
//! Only types of Kubernetes itself (`io.k8s.…`) are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// A version and its resources.
pub(super) type Version = (String, Vec<Value>);

/// Groups and their versions.
pub(super) type Groups = Vec<(String, Vec<Version>)>;

/// The API data.
pub(super) struct Data {
    /// Schemas by their OpenAPI name, descriptions still inside.
    pub(super) schemas: BTreeMap<String, Value>,
    /// Fields of protobuf messages by message name.
    pub(super) messages: Map<String, Value>,
    /// `(group, [(version, resources)])` in the order of `/apis`, the core group first;
    /// the resources in the shape of aggregated discovery.
    pub(super) groups: Groups,
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

/// The text at `key`, or nothing.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The array at `key`, or nothing.
pub(super) fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

impl Data {
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let messages = match read(&directory.join("protobuf-fields.json"))? {
            Value::Object(messages) => messages,
            _ => anyhow::bail!("protobuf-fields.json is not an object"),
        };
        Ok(Self {
            schemas: schemas(directory)?,
            messages,
            groups: groups(directory)?,
        })
    }

    /// The names of all types, sorted: a type's place is its identity.
    pub(super) fn type_names(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    /// The type that carries `(group, version, kind)` alone.
    pub(super) fn type_of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&str> {
        self.schemas.iter().find_map(|(name, schema)| {
            let gvks = array(schema, "x-kubernetes-group-version-kind");
            let matches = gvks.iter().any(|gvk| {
                text(gvk, "group") == group
                    && text(gvk, "version") == version
                    && text(gvk, "kind") == kind
            });
            (matches && gvks.len() == 1).then_some(name.as_str())
        })
    }
}

fn schemas(directory: &Path) -> Result<BTreeMap<String, Value>> {
    let mut files: Vec<_> = std::fs::read_dir(directory.join("openapi-v3"))
        .context("list openapi-v3")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    for file in files {
        let document = read(&file)?;
        let Some(found) = document["components"]["schemas"].as_object() else {
            continue;
        };
        for (name, schema) in found {
            if !name.starts_with("io.k8s.") {
                continue;
            }
            match schemas.get_mut(name) {
                None => {
                    schemas.insert(name.clone(), schema.clone());
                }
                Some(known) => merge_kinds(known, schema),
            }
        }
    }
    Ok(schemas)
}

/// Types shared by all groups (DeleteOptions, WatchEvent) name only the kinds of the document
/// they stand in; the table wants them all.
fn merge_kinds(known: &mut Value, other: &Value) {
    const KEY: &str = "x-kubernetes-group-version-kind";
    let mut all: BTreeSet<(String, String, String)> = BTreeSet::new();
    for gvk in array(known, KEY).iter().chain(array(other, KEY)) {
        all.insert((
            text(gvk, "group").into(),
            text(gvk, "version").into(),
            text(gvk, "kind").into(),
        ));
    }
    if all.is_empty() {
        return;
    }
    known[KEY] = all
        .into_iter()
        .map(|(group, version, kind)| {
            serde_json::json!({"group": group, "version": version, "kind": kind})
        })
        .collect();
}

fn groups(directory: &Path) -> Result<Groups> {
    let core = read(&directory.join("discovery/api__v1.json"))?;
    let mut groups = vec![(
        String::new(),
        vec![("v1".to_owned(), aggregate(array(&core, "resources")))],
    )];
    let aggregated = read(&directory.join("discovery/aggregated_v2.json"))?;
    for group in array(&aggregated, "items") {
        let name = text(&group["metadata"], "name").to_owned();
        if !is_upstream(&name) {
            continue;
        }
        let versions = array(group, "versions")
            .iter()
            .map(|v| {
                (
                    text(v, "version").to_owned(),
                    array(v, "resources").to_vec(),
                )
            })
            .collect();
        groups.push((name, versions));
    }
    Ok(groups)
}

/// Groups of a distribution's own are left out.
fn is_upstream(group: &str) -> bool {
    group.ends_with(".k8s.io") || !group.contains('.')
}

/// Gives the flat list of a legacy `APIResourceList` the nested shape of aggregated discovery.
fn aggregate(flat: &[Value]) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    for item in flat {
        let kind = serde_json::json!({
            "group": text(item, "group"),
            "version": text(item, "version"),
            "kind": text(item, "kind"),
        });
        let name = text(item, "name");
        if let Some((parent, sub)) = name.split_once('/') {
            let entry = serde_json::json!({
                "subresource": sub, "responseKind": kind, "verbs": item["verbs"],
            });
            match resources.iter_mut().find(|r| text(r, "resource") == parent) {
                Some(resource) => match resource["subresources"].as_array_mut() {
                    Some(list) => list.push(entry),
                    None => resource["subresources"] = Value::Array(vec![entry]),
                },
                None => unreachable!("{name} is listed after its parent"),
            }
            continue;
        }
        resources.push(serde_json::json!({
            "resource": name,
            "responseKind": kind,
            "scope": if item["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": item["singularName"],
            "shortNames": item["shortNames"],
            "categories": item["categories"],
            "verbs": item["verbs"],
        }));
    }
    resources
}
