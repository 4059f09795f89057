//! Responses: objects as they are stored, Status errors, plain text.

use bytes::Bytes;
use fluyt_api::status::Status;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};

use super::accept::Accepted;
use super::body::Body;
use super::query::Query;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, private");
pub(crate) const CONTENT_TYPE_OPTIONS: HeaderName =
    HeaderName::from_static("x-content-type-options");

/// JSON bytes with a status code.
pub(crate) fn json(code: StatusCode, bytes: Bytes) -> Response<Body> {
    with_type(code, JSON, Body::Full(bytes))
}

/// An object in the representation that was agreed on.
pub(crate) fn object(
    code: StatusCode,
    bytes: Bytes,
    accepted: Accepted,
    query: &Query,
) -> Response<Body> {
    if accepted.yaml {
        let yaml = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|value| serde_saphyr::to_string(&value).ok());
        if let Some(yaml) = yaml {
            return with_type(code, YAML, Body::Full(Bytes::from(yaml)));
        }
    }
    if query.flag("pretty") {
        let pretty = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|value| serde_json::to_vec_pretty(&value).ok());
        if let Some(pretty) = pretty {
            return json(code, Bytes::from(pretty));
        }
    }
    json(code, bytes)
}

/// A body of the given type.
pub(crate) fn with_type(code: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_CACHE);
    response
}

pub(crate) fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = with_type(code, TEXT, Body::Full(Bytes::from(text.into())));
    response
        .headers_mut()
        .insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A JSON value with code 200.
pub(crate) fn value(value: &serde_json::Value) -> Response<Body> {
    json(StatusCode::OK, to_bytes(value))
}

/// An error as a metav1.Status.
pub(crate) fn error(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, to_bytes(status));
    let retry = status
        .details
        .as_ref()
        .and_then(|details| retry_after(details.retry_after_seconds));
    if let Some(value) = retry {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn retry_after(seconds: impl Into<Option<i32>>) -> Option<HeaderValue> {
    seconds
        .into()
        .filter(|seconds| *seconds > 0)
        .map(|seconds| HeaderValue::from(seconds as u32))
}

/// Adds upstream's `Warning: 299 - "text"` headers.
pub(crate) fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings.iter().take(64) {
        let escaped: String = warning
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                _ => vec![c],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

pub(crate) fn to_bytes(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("JSON values always serialize"))
}
