//! PATCH: JSON patch, merge patch and strategic merge patch, applied to the newest state until one commits.

use bytes::Bytes;
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_machinery::{codec, defaults, patch};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::body;
use super::change::Changer;
use super::options;
use crate::dispatch::{Answer, Request};
use crate::http::{accept, respond};
use crate::lifecycle::Part;
use crate::present::Presenter;

/// A patch, read but not applied.
pub(crate) enum Patch {
    Json(Bytes),
    Merge(Value),
    Strategic(Value),
}

pub(crate) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    handle_part(request, resource, Part::Main).await
}

pub(crate) async fn handle_part(
    mut request: Request,
    resource: &'static Resource,
    part: Part,
) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let (dry_run, validation) = options::write(&request)?;
    let patch = Patch::read(&mut request).await?;
    let changer = Changer {
        core: &request.core,
        user: &request.user,
        resource,
        part,
        subresource: &request.info.subresource,
        namespace: if resource.namespaced {
            &request.info.namespace
        } else {
            ""
        },
        name: &request.info.name,
        dry_run,
    };
    let mut warnings = Vec::new();
    let name = request.info.name.as_str();
    let changed = changer
        .run(|old| {
            let patched = patch.apply(resource, old)?;
            let gvk = body::gvk(resource);
            let decoded = codec::decode_value(patched, resource.type_id, &gvk, validation)?;
            let mut object = decoded.object;
            warnings = decoded.warnings;
            body::settle_name(name, &mut object)?;
            body::settle_namespace(resource, changer.namespace, &mut object)?;
            defaults::apply(resource, &mut object);
            Ok(object)
        })
        .await?;
    warnings.extend(changed.warnings);
    let bytes = presenter.object(&changed.value)?;
    let mut response = respond::object(StatusCode::OK, bytes, accepted, &request.query);
    respond::add_warnings(&mut response, &warnings);
    Ok(response)
}

impl Patch {
    pub(crate) async fn read(request: &mut Request) -> Result<Self, Status> {
        let content_type = request
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let essence = content_type
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_owned();
        let kind: fn(Value) -> Patch = match essence.as_str() {
            "application/json-patch+json" => {
                return Ok(Patch::Json(request.read_body().await?));
            }
            "application/merge-patch+json" => Patch::Merge,
            "application/strategic-merge-patch+json" => Patch::Strategic,
            _ => {
                return Err(Status::unsupported_media_type(
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
                ));
            }
        };
        let bytes = request.read_body().await?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
        if !value.is_object() {
            return Err(Status::bad_request(
                "error decoding patch: the patch is not a JSON object",
            ));
        }
        Ok(kind(value))
    }

    pub(crate) fn apply(&self, resource: &Resource, target: &Value) -> Result<Value, Status> {
        match self {
            Patch::Json(bytes) => patch::json(target, bytes),
            Patch::Merge(value) => patch::merge(target, value),
            Patch::Strategic(value) => patch::strategic(resource.type_id, target, value),
        }
    }
}
