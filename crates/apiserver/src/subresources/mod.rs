//! Subresources, one file each, and the resources that are questions rather than objects.

mod binding;
mod components;
mod eviction;
mod parts;
mod pod_streams;
mod proxy;
mod reviews;
mod scale;
mod token;

use fluyt_api::catalogue::{Resource, Verb};
use fluyt_api::status::Status;

use crate::dispatch::{Answer, Request};
use crate::handlers;
use crate::lifecycle::Part;

/// Hands a request to its subresource.
pub(crate) async fn route(request: Request, resource: &'static Resource) -> Answer {
    let Some(subresource) = resource.subresource(&request.info.subresource) else {
        return Err(Status::generic_not_found());
    };
    let verb = request.info.verb;
    let known = subresource
        .verbs
        .iter()
        .any(|known| known.as_str() == verb || (verb == "list" && *known == Verb::Get));
    if !known {
        return Err(handlers::method_not_allowed(&request));
    }
    match (resource.plural, subresource.name, verb) {
        (_, "scale", _) => scale::handle(request, resource).await,
        ("pods", "log", "get") => pod_streams::log(request, resource).await,
        ("pods", "exec", _) => pod_streams::exec(request, resource, "exec").await,
        ("pods", "attach", _) => pod_streams::exec(request, resource, "attach").await,
        ("pods", "portforward", _) => pod_streams::port_forward(request, resource).await,
        (_, "proxy", _) => proxy::handle(request, resource).await,
        ("pods", "binding", "create") => binding::handle(request).await,
        ("pods", "eviction", "create") => eviction::handle(request, resource).await,
        ("serviceaccounts", "token", "create") => token::handle(request, resource).await,
        (_, _, "get") => handlers::get::handle(request, resource).await,
        (_, "status", "update") => {
            handlers::update::handle_part(request, resource, Part::Status).await
        }
        (_, "status", "patch") => {
            handlers::patch::handle_part(request, resource, Part::Status).await
        }
        (_, name, "update" | "patch") => match parts::of(resource, name) {
            Some(take) => parts::handle(request, resource, take).await,
            None => Err(handlers::method_not_allowed(&request)),
        },
        _ => Err(handlers::method_not_allowed(&request)),
    }
}

/// Resources without stored objects.
pub(crate) async fn route_virtual(request: Request, resource: &'static Resource) -> Answer {
    match (resource.group, resource.plural, request.info.verb) {
        ("", "bindings", "create") => binding::handle(request).await,
        ("", "componentstatuses", _) => components::handle(request, resource).await,
        ("authentication.k8s.io" | "authorization.k8s.io", _, "create") => {
            reviews::handle(request, resource).await
        }
        _ => Err(handlers::method_not_allowed(&request)),
    }
}
