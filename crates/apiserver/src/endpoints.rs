//! Everything that is not a resource: discovery, documents, health, version, metrics.

use bytes::Bytes;
use fluyt_api::catalogue;
use fluyt_api::status::Status;
use fluyt_machinery::{discovery, openapi};
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::dispatch::{Answer, Request};
use crate::http::body::Body;
use crate::http::{accept, respond};

pub(crate) async fn route(request: Request) -> Answer {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Status::generic_not_found());
    }
    let path = request.info.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] => Ok(index()),
        ["api"] => Ok(api(&request)),
        ["apis"] => Ok(apis(&request)),
        ["api", version] => resources("", version),
        ["apis", group] => group_document(group),
        ["apis", group, version] => resources(group, version),
        ["version"] => Ok(version()),
        ["healthz" | "livez" | "readyz", rest @ ..] => {
            Ok(crate::bootstrap::health(&request, segments[0], rest))
        }
        ["metrics"] => Ok(metrics(&request).await),
        ["openapi", "v2"] => Ok(openapi_v2(&request)),
        ["openapi", "v3"] => Ok(document(&request, openapi::v3_index())),
        ["openapi", "v3", key @ ..] => match openapi::v3_document(&key.join("/")) {
            Some(bytes) => Ok(document(&request, bytes)),
            None => Err(Status::generic_not_found()),
        },
        [".well-known", "openid-configuration"] => Ok(openid_configuration(&request)),
        ["openid", "v1", "jwks"] => Ok(keys(&request)),
        _ => Err(Status::generic_not_found()),
    }
}

fn index() -> Response<Body> {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".to_owned(),
        "/apis".to_owned(),
        "/healthz".to_owned(),
        "/livez".to_owned(),
        "/metrics".to_owned(),
        "/openapi/v2".to_owned(),
        "/openapi/v3".to_owned(),
        "/openid/v1/jwks".to_owned(),
        "/readyz".to_owned(),
        "/version".to_owned(),
    ];
    for group in catalogue::group_versions() {
        if !group.group.is_empty() {
            paths.push(format!("/apis/{}", group.group));
        }
        for version in group.versions {
            paths.push(if group.group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{}/{version}", group.group)
            });
        }
    }
    paths.sort();
    respond::value(&json!({ "paths": paths }))
}

fn api(request: &Request) -> Response<Body> {
    if let Some(version) = accept::wants_aggregated_discovery(&request.headers) {
        return aggregated(request, true, version);
    }
    let host = request
        .headers
        .get(http::header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    respond::value(&discovery::api_versions(host))
}

fn apis(request: &Request) -> Response<Body> {
    if let Some(version) = accept::wants_aggregated_discovery(&request.headers) {
        return aggregated(request, false, version);
    }
    respond::value(&discovery::api_group_list())
}

fn aggregated(request: &Request, core: bool, version: &'static str) -> Response<Body> {
    let bytes = respond::to_bytes(&discovery::aggregated(core, version));
    let mut response = document(request, bytes);
    let content_type = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn resources(group: &str, version: &str) -> Answer {
    match discovery::resource_list(group, version) {
        Some(list) => Ok(respond::value(&list)),
        None => Err(Status::generic_not_found()),
    }
}

fn group_document(name: &str) -> Answer {
    match discovery::api_group(name) {
        Some(group) => Ok(respond::value(&group)),
        None => Err(Status::generic_not_found()),
    }
}

/// The version that this server answers as.
pub const GIT_VERSION: &str = concat!("v1.36.0+fluyt.", env!("CARGO_PKG_VERSION"));

fn version() -> Response<Body> {
    respond::value(&json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform()),
    }))
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn metrics(request: &Request) -> Response<Body> {
    let text = request.core.metrics.encode(&request.core).await;
    respond::with_type(
        StatusCode::OK,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        Body::Full(Bytes::from(text)),
    )
}

/// A large document with an entity tag, so that clients fetch it once.
fn document(request: &Request, bytes: Bytes) -> Response<Body> {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(&bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let tag = format!("\"{hex}\"");
    let known = request
        .headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains(&hex));
    let mut response = if known {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::json(StatusCode::OK, bytes)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Version 2 of OpenAPI in the form asked for: kubectl up to 1.27 reads protobuf only, and asks
/// for it by a name that is no media type, so the answer has to spell it another way.
fn openapi_v2(request: &Request) -> Response<Body> {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    const ASKED: [&str; 2] = [
        PROTOBUF,
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    ];
    let accept = request.headers.get(http::header::ACCEPT);
    let first = accept
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split([',', ';']).next())
        .unwrap_or("")
        .trim();
    if !ASKED.contains(&first) {
        return document(request, openapi::v2());
    }
    let mut response = document(request, openapi::v2_protobuf());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    headers.insert(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn openid_configuration(request: &Request) -> Response<Body> {
    let tokens = &request.core.authenticator.service_accounts;
    respond::value(&json!({
        "issuer": tokens.issuer(),
        "jwks_uri": format!("{}/openid/v1/jwks", tokens.issuer()),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": tokens.algorithms(),
    }))
}

fn keys(request: &Request) -> Response<Body> {
    let tokens = &request.core.authenticator.service_accounts;
    let mut response = respond::value(&json!({ "keys": tokens.key_set() }));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/jwk-set+json"),
    );
    response
}
