//! GET of one object: the stored bytes are the answer.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use http::StatusCode;

use crate::dispatch::{Answer, Request};
use crate::http::{accept, respond};
use crate::present::Presenter;
use crate::stored;

pub(crate) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let key = stored::key(resource, &request.info.namespace, &request.info.name);
    let (entry, _) = stored::get(&*request.core.store, &key)
        .await
        .map_err(|error| stored::failure(&error))?;
    let entry =
        entry.ok_or_else(|| Status::not_found(&resource.group_resource(), &request.info.name))?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let bytes = presenter.object(&entry.value)?;
    Ok(respond::object(
        StatusCode::OK,
        bytes,
        accepted,
        &request.query,
    ))
}
