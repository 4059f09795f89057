//! Request bodies as objects: media type, field validation, and the identity that the path already gives.

use fluyt_api::catalogue::Resource;
use fluyt_api::schema::TypeId;
use fluyt_api::status::Status;
use fluyt_machinery::codec::{self, FieldValidation, Gvk, Media};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::dispatch::Request;

/// The media type of a request body, as upstream accepts them.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Status> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(Media::Json);
    };
    let text = value.to_str().unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim();
    match essence {
        "" | "application/json" | "*/*" => Ok(Media::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// Reads and decodes the body as an object of `kind`.
pub(crate) async fn object(
    request: &mut Request,
    type_id: TypeId,
    gvk: Gvk,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let media = media(&request.headers)?;
    let bytes = request.read_body().await?;
    let decoded = codec::decode(&bytes, media, type_id, &gvk, validation)?;
    request.warnings.extend(decoded.warnings);
    Ok(decoded.object)
}

pub(crate) fn gvk(resource: &Resource) -> Gvk {
    Gvk {
        group: resource.group,
        version: resource.version,
        kind: resource.kind,
    }
}

/// Makes the object agree with the path's namespace, or refuses it.
pub(crate) fn settle_namespace(
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let given = object["metadata"]["namespace"].as_str().unwrap_or("");
    if !resource.namespaced {
        if !given.is_empty() {
            remove(object, "namespace");
        }
        return Ok(());
    }
    if given.is_empty() {
        set(object, "namespace", namespace.into());
    } else if given != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Makes the object of an update carry the path's name, or refuses it.
pub(crate) fn settle_name(name: &str, object: &mut Value) -> Result<(), Status> {
    let given = object["metadata"]["name"].as_str().unwrap_or("");
    if given.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    if given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}

/// Sets `metadata.FIELD`.
pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Default::default());
    }
    object["metadata"][field] = value;
}

/// Removes `metadata.FIELD`.
pub(crate) fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove(field);
    }
}

/// A string of the metadata; empty when absent.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}
