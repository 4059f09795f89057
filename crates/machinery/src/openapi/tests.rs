//! The documents against those of a running upstream server, where its answers are at hand,
//! and what clients look for in them.

use std::path::Path;

use super::*;

/// The API data lies beside the repository on the machines that own it.
fn data(name: &str) -> Option<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kubernetes-1.36");
    if !directory.exists() {
        eprintln!("no API data at {}; nothing to compare", directory.display());
        return None;
    }
    let text =
        std::fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Some(serde_json::from_slice(&text).unwrap())
}

fn read(document: &Bytes) -> Value {
    serde_json::from_slice(document).unwrap()
}

/// A schema without what we leave out and without differences that mean nothing.
fn plain_schema(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(plain_schema).collect(),
        Value::Object(entries) => {
            let mut out: Map<String, Value> = entries
                .iter()
                .filter(|(key, value)| !(*key == "description" && value.is_string()))
                .map(|(key, value)| (key.clone(), plain_schema(value)))
                .collect();
            if let (1, Some(all)) = (out.len(), out.get("allOf")) {
                return all[0].clone();
            }
            if let Some(required) = out.get_mut("required").and_then(Value::as_array_mut) {
                required.sort_by_key(Value::to_string);
            }
            if let Some(kinds) = out
                .get_mut("x-kubernetes-group-version-kind")
                .and_then(Value::as_array_mut)
            {
                kinds.sort_by_key(Value::to_string);
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

fn parameter_facts(parameters: &Value, document: &Value, into: &mut BTreeSet<String>) {
    for parameter in parameters.as_array().into_iter().flatten() {
        let parameter = match parameter["$ref"].as_str() {
            Some(reference) => &document["parameters"][reference.rsplit('/').next().unwrap()],
            None => parameter,
        };
        if parameter["in"] == "body" {
            into.insert(format!(
                "body {} {}",
                parameter["schema"], parameter["required"]
            ));
            continue;
        }
        let ty = parameter
            .get("type")
            .unwrap_or(&parameter["schema"]["type"]);
        into.insert(format!("{} {} {ty}", parameter["name"], parameter["in"]));
    }
}

/// What a client can rely on of an operation, apart from media types.
fn operation_facts(item: &Value, operation: &Value, document: &Value) -> Value {
    let mut parameters = BTreeSet::new();
    parameter_facts(&item["parameters"], document, &mut parameters);
    parameter_facts(&operation["parameters"], document, &mut parameters);
    let any_schema = |content: &Value| {
        content
            .as_object()
            .and_then(|content| content.values().next())
            .map(|content| content["schema"].clone())
    };
    let responses: Map<String, Value> = operation["responses"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(code, answer)| {
            let schema = any_schema(&answer["content"]).unwrap_or_else(|| answer["schema"].clone());
            (code.clone(), schema)
        })
        .collect();
    json!({
        "id": operation["operationId"],
        "tags": operation["tags"],
        "action": operation["x-kubernetes-action"],
        "kind": operation["x-kubernetes-group-version-kind"],
        "parameters": parameters,
        "body": any_schema(&operation["requestBody"]["content"]),
        "body required": operation["requestBody"]["required"],
        "responses": responses,
    })
}

fn check_paths(ours: &Value, theirs: &Value, context: &str) {
    let kept = |path: &&String| {
        !path.contains("/watch/")
            && !path.starts_with("/logs/")
            && !path.starts_with("/openid/")
            && !path.starts_with("/.well-known/")
    };
    let our_paths: BTreeSet<_> = ours["paths"].as_object().unwrap().keys().collect();
    let their_paths: BTreeSet<_> = theirs["paths"]
        .as_object()
        .unwrap()
        .keys()
        .filter(kept)
        .collect();
    assert_eq!(our_paths, their_paths, "{context}");
    for path in our_paths {
        let (our_item, their_item) = (&ours["paths"][path], &theirs["paths"][path]);
        let methods = |item: &Value| -> BTreeSet<String> {
            item.as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
                .cloned()
                .collect()
        };
        assert_eq!(methods(our_item), methods(their_item), "{context} {path}");
        for method in methods(our_item) {
            assert_eq!(
                operation_facts(our_item, &our_item[&method], ours),
                operation_facts(their_item, &their_item[&method], theirs),
                "{context} {method} {path}"
            );
        }
    }
}

fn check_schemas(ours: &Value, theirs: &Value, context: &str) {
    let names = |schemas: &Value| -> BTreeSet<String> {
        schemas
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    assert_eq!(names(ours), names(theirs), "{context}");
    for name in names(ours) {
        assert_eq!(
            plain_schema(&ours[&name]),
            plain_schema(&theirs[&name]),
            "{context} {name}"
        );
    }
}

#[test]
fn version_3_says_what_upstreams_says() {
    for part in parts() {
        let key = part.key();
        let Some(theirs) = data(&format!(
            "openapi-v3/{}_openapi.json",
            key.replace('/', "__")
        )) else {
            return;
        };
        let ours = read(&v3_document(&key).unwrap());
        check_paths(&ours, &theirs, &key);
        check_schemas(
            &ours["components"]["schemas"],
            &theirs["components"]["schemas"],
            &key,
        );
    }
}

#[test]
fn version_2_says_what_upstreams_says() {
    let Some(mut theirs) = data("openapi-v2.json") else {
        return;
    };
    let ours = read(&v2());
    check_paths(&ours, &theirs, "v2");
    // Upstream names kinds of the shared types in versions that it does not serve; we do not.
    for ty in ["DeleteOptions", "WatchEvent"] {
        let name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{ty}");
        let kinds = |document: &Value| {
            document["definitions"][&name]["x-kubernetes-group-version-kind"].clone()
        };
        let (own, all) = (kinds(&ours), kinds(&theirs));
        assert!(
            own.as_array()
                .unwrap()
                .iter()
                .all(|kind| all.as_array().unwrap().contains(kind))
        );
        theirs["definitions"][&name]["x-kubernetes-group-version-kind"] = own;
    }
    check_schemas(&ours["definitions"], &theirs["definitions"], "v2");
}

#[test]
fn the_index_points_at_documents_by_their_hash() {
    let index = read(&v3_index());
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let hash = v3_hash("apis/apps/v1").unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={hash}"));
    assert_eq!(
        hash,
        format!("{:X}", Sha256::digest(v3("apps", "v1").unwrap()))
    );
    assert!(index["paths"].get("api/v1").is_some());
    assert!(v3("apps", "v9").is_none());
    assert!(v3_document("apis/example.com").is_none());
}

/// How `kubectl` finds out whether the server validates fields: the PATCH of the kind takes
/// the parameter.
#[test]
fn every_patch_of_a_kind_takes_field_validation() {
    let document = read(&v3("apps", "v1").unwrap());
    let mut found = false;
    for item in document["paths"].as_object().unwrap().values() {
        let patch = &item["patch"];
        if patch["x-kubernetes-group-version-kind"]["kind"] != "Deployment" {
            continue;
        }
        found = true;
        let names: Vec<_> = patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| &p["name"])
            .collect();
        assert!(names.contains(&&json!("fieldValidation")));
    }
    assert!(found);
}

#[test]
fn documents_are_references_without_loose_ends() {
    fn check(value: &Value, schemas: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| check(item, schemas)),
            Value::Object(entries) => {
                if let Some(Value::String(reference)) = entries.get("$ref") {
                    let name = reference.rsplit('/').next().unwrap();
                    assert!(schemas.get(name).is_some(), "{reference}");
                }
                entries.values().for_each(|value| check(value, schemas));
            }
            _ => {}
        }
    }
    let document = read(&v3("", "v1").unwrap());
    check(&document["paths"], &document["components"]["schemas"]);
    check(&document["components"], &document["components"]["schemas"]);
}
