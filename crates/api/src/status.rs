//! `metav1.Status`: every answer that is not an object, in upstream's words.
//!
//! Clients decide by `reason` and `code`, people and tests by `message`; all three are
//! upstream's. A group-resource argument is `deployments.apps`, or `pods` for the core group.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::field::{self, FieldError};
use crate::text::quote;

/// A failure as the API answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// The reason, a word for machines.
    pub reason: &'static str,
    /// The message, a sentence for people.
    pub message: String,
    /// What the failure is about.
    pub details: Option<Details>,
}

/// What a failure is about. Empty strings and lists are not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind, or its resource where upstream says the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single causes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again; 0 says nothing about it.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

/// One cause of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// A word for machines.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn is_zero(seconds: &i32) -> bool {
    *seconds == 0
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Metadata {}
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", "Status")?;
        map.serialize_entry("apiVersion", "v1")?;
        map.serialize_entry("metadata", &Metadata {})?;
        map.serialize_entry("status", "Failure")?;
        map.serialize_entry("message", &self.message)?;
        if !self.reason.is_empty() {
            map.serialize_entry("reason", self.reason)?;
        }
        if let Some(details) = &self.details {
            map.serialize_entry("details", details)?;
        }
        map.serialize_entry("code", &self.code)?;
        map.end()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// Splits `deployments.apps` into resource and group.
fn split(group_resource: &str) -> (&str, &str) {
    group_resource
        .split_once('.')
        .unwrap_or((group_resource, ""))
}

fn about(group_resource: &str, name: &str) -> Option<Details> {
    let (kind, group) = split(group_resource);
    Some(Details {
        name: name.into(),
        group: group.into(),
        kind: kind.into(),
        ..Details::default()
    })
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn with(mut self, details: Option<Details>) -> Self {
        self.details = details;
        self
    }

    fn retry_after(self, seconds: i32) -> Self {
        self.with(Some(Details {
            retry_after_seconds: seconds,
            ..Details::default()
        }))
    }

    /// 404: the object does not exist.
    pub fn not_found(group_resource: &str, name: &str) -> Self {
        let message = format!("{group_resource} {} not found", quote(name));
        Self::new(404, "NotFound", message).with(about(group_resource, name))
    }

    /// 404: nothing is served at the path.
    pub fn generic_not_found() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with(Some(Details::default()))
    }

    /// 409: an object of the name exists.
    pub fn already_exists(group_resource: &str, name: &str) -> Self {
        let message = format!("{group_resource} {} already exists", quote(name));
        Self::new(409, "AlreadyExists", message).with(about(group_resource, name))
    }

    /// 409: every generated name was taken; the client may try again.
    pub fn generate_name_conflict(group_resource: &str, name: &str, retry_after: i32) -> Self {
        let mut status = Self::already_exists(group_resource, name);
        status.message += ", the server was not able to generate a unique name for the object";
        if let Some(details) = &mut status.details {
            details.retry_after_seconds = retry_after;
        }
        status
    }

    /// 409: the update does not fit the object as it is.
    pub fn conflict(group_resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {group_resource} {}: {why}",
            quote(name)
        );
        Self::new(409, "Conflict", message).with(about(group_resource, name))
    }

    /// 409: the object was changed since the client read it.
    pub fn stale(group_resource: &str, name: &str) -> Self {
        Self::conflict(
            group_resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: server-side apply meets fields that others own.
    pub fn apply_conflict(causes: Vec<Cause>, message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message).with(Some(Details {
            causes,
            ..Details::default()
        }))
    }

    /// 422: the object is not valid. `kind` is the kind, not the resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Self {
        let group_kind = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut message = format!("{group_kind} {} is invalid", quote(name));
        if !errors.is_empty() {
            message += ": ";
            message += &field::aggregate(&errors);
        }
        let causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.ty.reason().into(),
                message: error.body(),
                field: error.field.clone(),
            })
            .collect();
        Self::new(422, "Invalid", message).with(Some(Details {
            name: name.into(),
            group: group.into(),
            kind: kind.into(),
            causes,
            ..Details::default()
        }))
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 403: refused by a rule. Both arguments may be empty when nothing is known of the object.
    pub fn forbidden(group_resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let message = match (group_resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{group_resource} is forbidden: {why}"),
            _ => format!("{group_resource} {} is forbidden: {why}", quote(name)),
        };
        Self::new(403, "Forbidden", message).with(about(group_resource, name))
    }

    /// 401: the client did not prove who it is.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 410: the revision asked for is no longer kept; clients list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 410: what was asked for is gone.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Gone", message)
    }

    /// 405: the resource does not have the verb.
    pub fn method_not_supported(group_resource: &str, verb: &str) -> Self {
        let message = format!(
            "{verb} is not supported on resources of kind {}",
            quote(group_resource)
        );
        Self::new(405, "MethodNotAllowed", message).with(about(group_resource, ""))
    }

    /// 413: the body is larger than the server takes.
    pub fn too_large(why: impl fmt::Display) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {why}"),
        )
    }

    /// 415: the body is in a form the server does not read.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 406: the client accepts no form the server writes.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// 500: the server failed.
    pub fn internal(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {why}"),
        )
        .with(Some(Details {
            causes: vec![Cause {
                message: why,
                ..Cause::default()
            }],
            ..Details::default()
        }))
    }

    /// 500: the operation may be tried again.
    pub fn server_timeout(group_resource: &str, operation: &str, retry_after: i32) -> Self {
        let message = format!(
            "The {operation} operation against {group_resource} could not be completed at this time, please try again."
        );
        let mut details = about(group_resource, operation);
        if let Some(details) = &mut details {
            details.retry_after_seconds = retry_after;
        }
        Self::new(500, "ServerTimeout", message).with(details)
    }

    /// 504: the request took longer than it may.
    pub fn timeout(why: impl fmt::Display) -> Self {
        Self::new(504, "Timeout", format!("Timeout: {why}")).with(Some(Details::default()))
    }

    /// 429: later.
    pub fn too_many_requests(message: impl Into<String>, retry_after: i32) -> Self {
        Self::new(429, "TooManyRequests", message).retry_after(retry_after)
    }

    /// 503: not now.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::Path;

    fn check(status: &Status, expected: serde_json::Value) {
        assert_eq!(serde_json::to_value(status).unwrap(), expected);
    }

    #[test]
    fn not_found_is_upstreams() {
        check(
            &Status::not_found("deployments.apps", "web"),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps \"web\" not found", "reason": "NotFound",
                "details": {"name": "web", "group": "apps", "kind": "deployments"}, "code": 404}),
        );
    }

    #[test]
    fn keys_are_in_upstreams_order() {
        let text = serde_json::to_string(&Status::unauthorized()).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#
        );
    }

    #[test]
    fn invalid_lists_every_field() {
        let path = Path::new("spec").child("replicas");
        let errors = vec![field::invalid(
            &path,
            -1,
            "must be greater than or equal to 0",
        )];
        check(
            &Status::invalid("apps", "Deployment", "web", errors),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "reason": "Invalid",
                "details": {"name": "web", "group": "apps", "kind": "Deployment", "causes": [
                    {"reason": "FieldValueInvalid", "field": "spec.replicas",
                     "message": "Invalid value: -1: must be greater than or equal to 0"}]},
                "code": 422}),
        );
    }

    #[test]
    fn messages_are_upstreams() {
        let check = |status: Status, code: u16, reason: &str, message: &str| {
            assert_eq!(
                (status.code, status.reason, status.message.as_str()),
                (code, reason, message)
            );
        };
        check(
            Status::already_exists("pods", "a"),
            409,
            "AlreadyExists",
            "pods \"a\" already exists",
        );
        check(
            Status::stale("pods", "a"),
            409,
            "Conflict",
            "Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again",
        );
        check(
            Status::forbidden("pods", "a", "no"),
            403,
            "Forbidden",
            "pods \"a\" is forbidden: no",
        );
        check(
            Status::forbidden("pods", "", "no"),
            403,
            "Forbidden",
            "pods is forbidden: no",
        );
        check(
            Status::forbidden("", "", "no"),
            403,
            "Forbidden",
            "forbidden: no",
        );
        check(
            Status::method_not_supported("deployments.apps", "post"),
            405,
            "MethodNotAllowed",
            "post is not supported on resources of kind \"deployments.apps\"",
        );
        check(
            Status::internal("oops"),
            500,
            "InternalError",
            "Internal error occurred: oops",
        );
        check(
            Status::too_large("limit is 3"),
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3",
        );
        check(Status::timeout("slow"), 504, "Timeout", "Timeout: slow");
        check(
            Status::expired("too old resource version: 1 (2)"),
            410,
            "Expired",
            "too old resource version: 1 (2)",
        );
    }
}
