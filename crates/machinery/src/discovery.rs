//! Discovery: the documents that tell a client which groups, versions and resources exist.
//!
//! The legacy documents (`/api`, `/apis` and below) and the aggregated one say the same; both
//! are made from the catalogue whenever they are asked for and never kept. They are plain
//! values, so that a server that has resources beyond the catalogue can add them.

use fluyt_api::catalogue::{self, GroupVersions, Resource, Subresource, Verb};
use serde_json::{Map, Value, json};

/// The answer of `/api`. `server_address` is `host:port` as clients reach the server.
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address},
        ],
    })
}

/// The answer of `/apis`.
pub fn api_group_list() -> Value {
    let groups: Vec<Value> = named_groups().map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// The answer of `/apis/<group>`, if the group exists.
pub fn api_group(name: &str) -> Option<Value> {
    let mut answer = group(named_groups().find(|group| group.group == name)?);
    answer["kind"] = json!("APIGroup");
    answer["apiVersion"] = json!("v1");
    Some(answer)
}

/// The answer of `/api/v1` (the group is empty) or `/apis/<group>/<version>`, if it exists.
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    let known = catalogue::group_versions()
        .iter()
        .any(|known| known.group == group && known.versions.contains(&version));
    if !known {
        return None;
    }
    let mut resources = Vec::new();
    for resource in catalogue::of_version(group, version) {
        resources.push(legacy_resource(resource));
        resources.extend(
            resource
                .subresources
                .iter()
                .map(|sub| legacy_subresource(resource, sub)),
        );
    }
    let mut answer = json!({
        "kind": "APIResourceList",
        "groupVersion": group_version(group, version),
        "resources": resources,
    });
    // The oldest list is written without a version of its own.
    if !group.is_empty() {
        answer["apiVersion"] = json!("v1");
    }
    Some(answer)
}

/// The aggregated document of version 2: that of `/api` when `core`, else that of `/apis`.
pub fn aggregated_v2(core: bool) -> Value {
    aggregated(core, "v2")
}

/// The aggregated document in a version of `apidiscovery.k8s.io`; `v2beta1`, which clients of
/// 1.26 to 1.29 ask for, has the same shape.
pub fn aggregated(core: bool, version: &str) -> Value {
    let items: Vec<Value> = catalogue::group_versions()
        .iter()
        .filter(|group| group.group.is_empty() == core)
        .map(aggregated_group)
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn named_groups() -> impl Iterator<Item = &'static GroupVersions> {
    catalogue::group_versions()
        .iter()
        .filter(|group| !group.group.is_empty())
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn group(group: &GroupVersions) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| json!({"groupVersion": group_version(group.group, version), "version": version}))
        .collect();
    json!({
        "name": group.group,
        "preferredVersion": versions.first(),
        "versions": versions,
    })
}

fn verbs(verbs: &[Verb]) -> Value {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

fn add_names(to: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        to["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        to["categories"] = json!(resource.categories);
    }
}

fn legacy_resource(resource: &Resource) -> Value {
    let mut answer = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs(resource.verbs),
    });
    add_names(&mut answer, resource);
    answer
}

/// The group and version of a subresource's kind, when it is not the resource's own.
fn foreign(resource: &Resource, subresource: &Subresource) -> Option<(&'static str, &'static str)> {
    let own = (resource.group, resource.version);
    let kind = (subresource.group, subresource.version);
    (own != kind).then_some(kind)
}

fn legacy_subresource(resource: &Resource, subresource: &Subresource) -> Value {
    let mut answer = json!({
        "name": format!("{}/{}", resource.plural, subresource.name),
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": subresource.kind,
        "verbs": verbs(subresource.verbs),
    });
    if let Some((group, version)) = foreign(resource, subresource) {
        answer["group"] = json!(group);
        answer["version"] = json!(version);
    }
    answer
}

fn aggregated_group(group: &GroupVersions) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = catalogue::of_version(group.group, version)
                .map(aggregated_resource)
                .collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let mut metadata = Map::new();
    if !group.group.is_empty() {
        metadata.insert("name".into(), json!(group.group));
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut answer = json!({
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource.verbs),
    });
    add_names(&mut answer, resource);
    if !resource.subresources.is_empty() {
        let subresources = resource
            .subresources
            .iter()
            .map(|sub| aggregated_subresource(resource, sub));
        answer["subresources"] = subresources.collect();
    }
    answer
}

fn aggregated_subresource(resource: &Resource, subresource: &Subresource) -> Value {
    // An empty group and version stand for those of the document's place.
    let (group, version) = foreign(resource, subresource).unwrap_or_default();
    json!({
        "subresource": subresource.name,
        "responseKind": {"group": group, "version": version, "kind": subresource.kind},
        "verbs": verbs(subresource.verbs),
    })
}

#[cfg(test)]
mod tests;
