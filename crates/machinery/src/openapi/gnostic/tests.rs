//! The protobuf document read back by messages declared here, against the JSON one.

use std::collections::BTreeMap;

use prost::Message as _;

use super::super::{v2, v2_protobuf};
use super::*;

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Strings {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, optional, tag = "21")]
    additional: Option<Schemas>,
    #[prost(message, optional, tag = "22")]
    ty: Option<Strings>,
    #[prost(message, optional, tag = "23")]
    items: Option<Schemas>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Definitions>,
    #[prost(message, repeated, tag = "31")]
    extensions: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Definitions {
    #[prost(message, repeated, tag = "1")]
    all: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Operation {
    #[prost(string, tag = "5")]
    id: String,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, repeated, tag = "13")]
    extensions: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Parameter {
    #[prost(message, optional, tag = "2")]
    other: Option<NonBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NonBody {
    #[prost(message, optional, tag = "3")]
    query: Option<Query>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Query {
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    ty: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PathItem {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamedPath {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    all: Vec<NamedPath>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Swagger {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Definitions>,
}

fn both() -> (Swagger, Value) {
    (
        Swagger::decode(v2_protobuf()).unwrap(),
        serde_json::from_slice(&v2()).unwrap(),
    )
}

/// A decoded schema as the JSON document writes it.
fn json(schema: &Schema) -> Value {
    let mut out = serde_json::Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    if !schema.reference.is_empty() {
        put("$ref", schema.reference.clone().into());
    }
    if !schema.format.is_empty() {
        put("format", schema.format.clone().into());
    }
    if !schema.required.is_empty() {
        put("required", schema.required.clone().into());
    }
    if let Some(ty) = &schema.ty {
        put("type", ty.value[0].clone().into());
    }
    if let Some(additional) = &schema.additional {
        put("additionalProperties", json(&additional.schema[0]));
    }
    if let Some(items) = &schema.items {
        put("items", json(&items.schema[0]));
    }
    if let Some(properties) = &schema.properties {
        let properties = properties
            .all
            .iter()
            .map(|p| (p.name.clone(), json(p.value.as_ref().unwrap())));
        put("properties", Value::Object(properties.collect()));
    }
    for extension in &schema.extensions {
        let yaml = &extension.value.as_ref().unwrap().yaml;
        put(&extension.name, serde_json::from_str(yaml).unwrap());
    }
    Value::Object(out)
}

#[test]
fn definitions_are_those_of_the_json_document() {
    let (swagger, document) = both();
    assert_eq!(swagger.version, "2.0");
    let definitions = swagger.definitions.unwrap().all;
    let decoded = definitions
        .iter()
        .map(|d| (d.name.clone(), json(d.value.as_ref().unwrap())));
    assert_eq!(Value::Object(decoded.collect()), document["definitions"]);
}

#[test]
fn operations_carry_kind_and_parameters() {
    let (swagger, document) = both();
    let paths: BTreeMap<_, _> = swagger
        .paths
        .unwrap()
        .all
        .into_iter()
        .map(|p| (p.name, p.value.unwrap()))
        .collect();
    assert_eq!(paths.len(), document["paths"].as_object().unwrap().len());
    for (path, item) in &paths {
        let id = item.get.as_ref().map(|get| get.id.as_str());
        assert_eq!(
            id,
            document["paths"][path]["get"]["operationId"].as_str(),
            "{path}"
        );
    }
    let patch = paths["/api/v1/namespaces/{namespace}/pods/{name}"]
        .patch
        .as_ref()
        .unwrap();
    let queries: Vec<_> = patch
        .parameters
        .iter()
        .filter_map(|p| p.parameter.as_ref()?.other.as_ref()?.query.clone())
        .map(|query| (query.name, query.ty))
        .collect();
    assert!(queries.contains(&("fieldValidation".to_owned(), "string".to_owned())));
    assert!(queries.contains(&("force".to_owned(), "boolean".to_owned())));
    let kind = patch
        .extensions
        .iter()
        .find(|e| e.name == "x-kubernetes-group-version-kind")
        .unwrap();
    assert!(kind.value.as_ref().unwrap().yaml.contains("\"Pod\""));
}
