//! The documents against those of a running upstream server, where its answers are at hand.

use std::path::{Path, PathBuf};

use super::*;

/// The API data lies beside the repository on the machines that own it.
fn data(name: &str) -> Option<Value> {
    let directory: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kubernetes-1.36/discovery");
    if !directory.exists() {
        eprintln!("no API data at {}; nothing to compare", directory.display());
        return None;
    }
    let text =
        std::fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Some(serde_json::from_slice(&text).unwrap())
}

/// What depends on the server and not on the API.
fn without_server_facts(mut value: Value) -> Value {
    if let Some(resources) = value["resources"].as_array_mut() {
        for resource in resources {
            resource
                .as_object_mut()
                .unwrap()
                .remove("storageVersionHash");
        }
    }
    value
}

#[test]
fn legacy_documents_are_upstreams() {
    let Some(api) = data("api.json") else { return };
    let address = api["serverAddressByClientCIDRs"][0]["serverAddress"]
        .as_str()
        .unwrap();
    assert_eq!(api_versions(address), api);
    assert_eq!(api_group_list(), data("apis.json").unwrap());
    for GroupVersions { group, versions } in catalogue::group_versions() {
        if group.is_empty() {
            continue;
        }
        assert_eq!(
            api_group(group),
            data(&format!("apis__{group}.json")),
            "{group}"
        );
        for version in *versions {
            let expected =
                data(&format!("apis__{group}__{version}.json")).map(without_server_facts);
            assert_eq!(resource_list(group, version), expected, "{group}/{version}");
        }
    }
    assert_eq!(
        resource_list("", "v1"),
        data("api__v1.json").map(without_server_facts)
    );
}

#[test]
fn aggregated_document_is_upstreams() {
    let Some(expected) = data("aggregated_v2.json") else {
        return;
    };
    assert_eq!(aggregated_v2(false), expected);
}

#[test]
fn aggregated_core_document_has_the_same_shape() {
    let core = aggregated_v2(true);
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
    assert_eq!(core["items"][0]["metadata"], json!({}));
    let resources = core["items"][0]["versions"][0]["resources"]
        .as_array()
        .unwrap();
    let pods = resources
        .iter()
        .find(|resource| resource["resource"] == "pods")
        .unwrap();
    assert_eq!(pods["shortNames"], json!(["po"]));
    let eviction = pods["subresources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|sub| sub["subresource"] == "eviction");
    assert_eq!(
        eviction.unwrap()["responseKind"],
        json!({"group": "policy", "version": "v1", "kind": "Eviction"})
    );
}

#[test]
fn unknown_groups_and_versions_have_no_document() {
    assert_eq!(api_group("example.com"), None);
    assert_eq!(api_group(""), None);
    assert_eq!(resource_list("apps", "v2"), None);
}
