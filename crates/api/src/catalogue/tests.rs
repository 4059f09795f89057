//! What the rest of the code relies on in the generated catalogue.

use std::collections::BTreeMap;

use super::*;

#[test]
fn every_kind_has_its_schema() {
    for resource in resources() {
        let ty = schema::get(resource.type_id);
        assert!(
            ty.gvks.iter().any(|gvk| (gvk.group, gvk.version, gvk.kind)
                == (resource.group, resource.version, resource.kind)),
            "{} {}",
            resource.api_version(),
            resource.kind
        );
    }
}

#[test]
fn prefixes_are_upstreams() {
    let check = |group, version, plural, prefix| {
        assert_eq!(find(group, version, plural).unwrap().storage_prefix, prefix);
    };
    check("", "v1", "pods", "/registry/pods");
    check("", "v1", "nodes", "/registry/minions");
    check("", "v1", "services", "/registry/services/specs");
    check("", "v1", "endpoints", "/registry/services/endpoints");
    check("", "v1", "replicationcontrollers", "/registry/controllers");
    check("apps", "v1", "deployments", "/registry/deployments");
    check("networking.k8s.io", "v1", "ingresses", "/registry/ingress");
    check(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "/registry/apiextensions.k8s.io/customresourcedefinitions",
    );
}

#[test]
fn one_prefix_belongs_to_one_stored_resource() {
    let mut owners: BTreeMap<&str, (&str, &str, &str)> = BTreeMap::new();
    for resource in resources().iter().filter(|r| r.is_persisted()) {
        let stored = stored(resource).unwrap();
        let owner = (stored.group, stored.version, stored.plural);
        assert_eq!(
            *owners.entry(resource.storage_prefix).or_insert(owner),
            owner
        );
    }
    assert_eq!(owners["/registry/events"], ("", "v1", "events"));
    assert_eq!(
        owners["/registry/horizontalpodautoscalers"],
        ("autoscaling", "v2", "horizontalpodautoscalers")
    );
    // One prefix may not lie inside another: a range over the shorter would see both.
    for a in owners.keys() {
        assert!(
            !owners.keys().any(|b| b.starts_with(&format!("{a}/"))),
            "{a}"
        );
    }
}

#[test]
fn what_is_not_persisted_is_known() {
    let not: Vec<_> = resources()
        .iter()
        .filter(|r| !r.is_persisted())
        .map(|r| r.plural)
        .collect();
    assert_eq!(
        not,
        [
            "bindings",
            "componentstatuses",
            "selfsubjectreviews",
            "tokenreviews",
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews"
        ]
    );
}

#[test]
fn subresources_name_their_kind() {
    let scale = find("apps", "v1", "deployments")
        .unwrap()
        .subresource("scale")
        .unwrap();
    assert_eq!(
        (scale.api_version().as_str(), scale.kind),
        ("autoscaling/v1", "Scale")
    );
    let status = find("", "v1", "pods")
        .unwrap()
        .subresource("status")
        .unwrap();
    assert_eq!((status.api_version().as_str(), status.kind), ("v1", "Pod"));
    assert!(status.type_id.is_some());
    let token = find("", "v1", "serviceaccounts")
        .unwrap()
        .subresource("token")
        .unwrap();
    assert_eq!(token.api_version(), "authentication.k8s.io/v1");
}
