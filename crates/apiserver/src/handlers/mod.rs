//! The verbs of the API, each once for all resources.

pub(crate) mod body;
pub(crate) mod change;
pub(crate) mod continuation;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod deletecollection;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod options;
pub(crate) mod patch;
pub(crate) mod update;
pub(crate) mod watch;

use fluyt_api::catalogue::{self, Resource, Verb};
use fluyt_api::status::{Details, Status};

use crate::dispatch::{Answer, Request};
use crate::http::respond;
use crate::subresources;

/// Finds the resource and hands the request to its verb.
pub(crate) async fn route(request: Request) -> Answer {
    let info = &request.info;
    let Some(resource) = catalogue::find(&info.group, &info.version, &info.resource) else {
        return Err(Status::generic_not_found());
    };
    if !fits_scope(resource, &request) {
        return Err(Status::generic_not_found());
    }
    if !info.subresource.is_empty() {
        return subresources::route(request, resource).await;
    }
    let Some(verb) = verb(info.verb) else {
        return Err(method_not_allowed(&request));
    };
    let misplaced = match verb {
        Verb::Create => !info.name.is_empty(),
        Verb::Get | Verb::Update | Verb::Patch => info.name.is_empty(),
        _ => false,
    };
    if misplaced || !resource.has_verb(verb) {
        return Err(method_not_allowed(&request));
    }
    if !resource.is_persisted() {
        return subresources::route_virtual(request, resource).await;
    }
    match verb {
        Verb::Get => get::handle(request, resource).await,
        Verb::List => list::handle(request, resource).await,
        Verb::Watch => watch::handle(request, resource).await,
        Verb::Create => create::handle(request, resource).await,
        Verb::Update => update::handle(request, resource).await,
        Verb::Patch => patch::handle(request, resource).await,
        Verb::Delete => delete::handle(request, resource).await,
        Verb::DeleteCollection => deletecollection::handle(request, resource).await,
    }
}

/// Namespaced objects are reached through their namespace; lists and watches also without one.
fn fits_scope(resource: &Resource, request: &Request) -> bool {
    let info = &request.info;
    if resource.namespaced {
        !info.namespace.is_empty()
            || matches!(info.verb, "list" | "watch")
            // Reviews that are about a namespace but not in it never get here.
            || (info.name.is_empty() && info.verb == "deletecollection")
            || (info.name.is_empty() && info.verb == "create")
    } else {
        info.namespace.is_empty() || resource.plural == "namespaces"
    }
}

fn verb(name: &str) -> Option<Verb> {
    Some(match name {
        "get" => Verb::Get,
        "list" => Verb::List,
        "watch" => Verb::Watch,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "patch" => Verb::Patch,
        "delete" => Verb::Delete,
        "deletecollection" => Verb::DeleteCollection,
        _ => return None,
    })
}

pub(crate) fn method_not_allowed(_request: &Request) -> Status {
    Status {
        code: 405,
        reason: "MethodNotAllowed",
        message: "the server does not allow this method on the requested resource".to_owned(),
        details: Some(Details::default()),
    }
}

/// A Status with "Success", as deletions answer.
pub(crate) fn success(resource: &Resource, name: &str, uid: &str) -> Answer {
    let mut details = serde_json::json!({ "name": name, "kind": resource.plural });
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    if !uid.is_empty() {
        details["uid"] = uid.into();
    }
    Ok(respond::value(&serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    })))
}
