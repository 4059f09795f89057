//! PUT: the whole object replaces the stored one; a few resources may come into being that way.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_machinery::{defaults, strategy};
use http::StatusCode;
use serde_json::Value;

use super::body::{self, meta};
use super::change::Changer;
use super::create::Creation;
use super::options;
use crate::dispatch::{Answer, Request};
use crate::http::{accept, respond};
use crate::lifecycle::Part;
use crate::present::Presenter;
use crate::stored;

pub(crate) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    handle_part(request, resource, Part::Main).await
}

/// As [`handle`] for one part of the object: the whole without status, or the status alone.
pub(crate) async fn handle_part(
    mut request: Request,
    resource: &'static Resource,
    part: Part,
) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let (dry_run, validation) = options::write(&request)?;
    let mut object = body::object(
        &mut request,
        resource.type_id,
        body::gvk(resource),
        validation,
    )
    .await?;
    body::settle_name(&request.info.name, &mut object)?;
    let namespace = if resource.namespaced {
        request.info.namespace.clone()
    } else {
        String::new()
    };
    body::settle_namespace(resource, &namespace, &mut object)?;
    defaults::apply(resource, &mut object);
    if part == Part::Main && creates(&request, resource, &namespace, &object).await? {
        let creation = Creation {
            core: &request.core,
            user: &request.user,
            resource,
            namespace: &namespace,
            dry_run,
        };
        let (value, warnings) = creation.run(object).await?;
        request.warnings.extend(warnings);
        let bytes = presenter.object(&value)?;
        let mut response = respond::object(StatusCode::CREATED, bytes, accepted, &request.query);
        respond::add_warnings(&mut response, &request.warnings);
        return Ok(response);
    }
    let changer = Changer {
        core: &request.core,
        user: &request.user,
        resource,
        part,
        subresource: &request.info.subresource,
        namespace: &namespace,
        name: &request.info.name,
        dry_run,
    };
    let changed = changer.run(|_| Ok(object.clone())).await?;
    request.warnings.extend(changed.warnings);
    let bytes = presenter.object(&changed.value)?;
    let mut response = respond::object(StatusCode::OK, bytes, accepted, &request.query);
    respond::add_warnings(&mut response, &request.warnings);
    Ok(response)
}

/// Whether this PUT is a creation.
async fn creates(
    request: &Request,
    resource: &Resource,
    namespace: &str,
    object: &Value,
) -> Result<bool, Status> {
    if !strategy::of(resource).allow_create_on_update() {
        return Ok(false);
    }
    let key = stored::key(resource, namespace, &request.info.name);
    let (entry, _) = stored::get(&*request.core.store, &key)
        .await
        .map_err(|error| stored::failure(&error))?;
    // An update of a given version never creates.
    Ok(entry.is_none() && matches!(meta(object, "resourceVersion"), "" | "0"))
}
