//! Subresources that take one part of the object that a client sends: a namespace's finalizers, a pod's ephemeral
//! containers or resources, a signing request's approval.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_machinery::{codec, defaults};
use http::StatusCode;
use serde_json::Value;

use crate::dispatch::{Answer, Request};
use crate::handlers::change::Changer;
use crate::handlers::patch::Patch;
use crate::handlers::{body, options};
use crate::http::{accept, respond};
use crate::lifecycle::Part;
use crate::present::Presenter;

/// Copies the subresource's part of `new` into the stored object.
type Take = fn(stored: &mut Value, new: &Value);

/// What a subresource takes; none for those that have a handler of their own.
pub(crate) fn of(resource: &Resource, subresource: &str) -> Option<Take> {
    Some(match (resource.group, resource.plural, subresource) {
        ("", "namespaces", "finalize") => |stored, new| {
            stored["spec"]["finalizers"] = new["spec"]["finalizers"].clone();
            drop_null(&mut stored["spec"], "finalizers");
        },
        ("", "pods", "ephemeralcontainers") => |stored, new| {
            stored["spec"]["ephemeralContainers"] = new["spec"]["ephemeralContainers"].clone();
            drop_null(&mut stored["spec"], "ephemeralContainers");
        },
        ("", "pods", "resize") => resize,
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => |stored, new| {
            stored["status"]["conditions"] = new["status"]["conditions"].clone();
            drop_null(&mut stored["status"], "conditions");
        },
        _ => return None,
    })
}

fn drop_null(object: &mut Value, field: &str) {
    if object[field].is_null()
        && let Some(map) = object.as_object_mut()
    {
        map.remove(field);
    }
}

fn resize(stored: &mut Value, new: &Value) {
    let mut changed = false;
    for list in ["containers", "initContainers"] {
        for container in stored["spec"][list].as_array_mut().into_iter().flatten() {
            let same = new["spec"][list]
                .as_array()
                .into_iter()
                .flatten()
                .find(|other| other["name"] == container["name"]);
            if let Some(same) = same
                && same["resources"] != container["resources"]
            {
                container["resources"] = same["resources"].clone();
                changed = true;
            }
        }
    }
    if changed && let Some(generation) = stored["metadata"]["generation"].as_i64() {
        stored["metadata"]["generation"] = (generation + 1).into();
    }
}

pub(crate) async fn handle(
    mut request: Request,
    resource: &'static Resource,
    take: Take,
) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let (dry_run, validation) = options::write(&request)?;
    let wanted = if request.info.verb == "patch" {
        Wanted::Patched(Patch::read(&mut request).await?)
    } else {
        let mut object = body::object(
            &mut request,
            resource.type_id,
            body::gvk(resource),
            validation,
        )
        .await?;
        body::settle_name(&request.info.name, &mut object)?;
        Wanted::Whole(object)
    };
    let changer = Changer {
        core: &request.core,
        user: &request.user,
        resource,
        part: Part::Own,
        subresource: &request.info.subresource,
        namespace: if resource.namespaced {
            &request.info.namespace
        } else {
            ""
        },
        name: &request.info.name,
        dry_run,
    };
    let changed = changer
        .run(|old| {
            let mut new = match &wanted {
                Wanted::Whole(object) => object.clone(),
                Wanted::Patched(patch) => {
                    let patched = patch.apply(resource, old)?;
                    let gvk = body::gvk(resource);
                    codec::decode_value(patched, resource.type_id, &gvk, validation)?.object
                }
            };
            defaults::apply(resource, &mut new);
            let mut object = old.clone();
            take(&mut object, &new);
            let version = body::meta(&new, "resourceVersion");
            if !version.is_empty() {
                body::set(&mut object, "resourceVersion", version.into());
            }
            Ok::<Value, Status>(object)
        })
        .await?;
    let bytes = presenter.object(&changed.value)?;
    let mut response = respond::object(StatusCode::OK, bytes, accepted, &request.query);
    respond::add_warnings(&mut response, &request.warnings);
    Ok(response)
}

enum Wanted {
    Whole(Value),
    Patched(Patch),
}
