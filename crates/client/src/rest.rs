//! Requests by path: the API's path grammar is regular, so components that keep slim types of their own need no typed client.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use serde::de::DeserializeOwned;

/// A patch's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// `/api/v1/...` or `/apis/GROUP/VERSION/...` up to the plural (and the name, where there is one).
pub fn path(group: &str, version: &str, namespace: &str, plural: &str, name: &str) -> String {
    let mut path = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    for (label, part) in [("namespaces/", namespace), ("", plural), ("", name)] {
        if !part.is_empty() {
            path.push('/');
            path.push_str(label);
            path.push_str(part);
        }
    }
    path
}

/// A request with a JSON body (or none) and JSON expected back.
pub fn request(
    method: Method,
    path_and_query: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>, kube::Error> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(http::header::ACCEPT, "application/json");
    if !body.is_empty() {
        builder = builder.header(http::header::CONTENT_TYPE, content_type);
    }
    builder.body(body).map_err(kube::Error::HttpError)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, kube::Error> {
    serde_json::to_vec(value).map_err(kube::Error::SerdeError)
}

/// Sends and returns the raw bytes of a successful answer; an error answer becomes `kube::Error::Api` with the server's Status.
pub async fn send(client: &Client, request: Request<Vec<u8>>) -> Result<Bytes, kube::Error> {
    let response = client.send(request.map(kube::client::Body::from)).await?;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    if status.is_client_error() || status.is_server_error() {
        return Err(api_error(status, &bytes));
    }
    Ok(bytes)
}

fn api_error(code: StatusCode, body: &[u8]) -> kube::Error {
    let status = serde_json::from_slice::<kube::core::Status>(body).unwrap_or_else(|_| {
        kube::core::Status::failure(&String::from_utf8_lossy(body), "Failed to parse error data")
            .with_code(code.as_u16())
    });
    kube::Error::Api(status.boxed())
}

async fn typed<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
) -> Result<T, kube::Error> {
    let bytes = send(client, request).await?;
    serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)
}

pub async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, kube::Error> {
    typed(client, request(Method::GET, path, "", Vec::new())?).await
}

/// As [`get`], with an absent object as `None`.
pub async fn get_opt<T: DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<Option<T>, kube::Error> {
    match get(client, path).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub async fn create<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<T, kube::Error> {
    let request = request(Method::POST, path, "application/json", json(body)?)?;
    typed(client, request).await
}

pub async fn replace<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<T, kube::Error> {
    let request = request(Method::PUT, path, "application/json", json(body)?)?;
    typed(client, request).await
}

pub async fn patch<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    kind: PatchType,
    body: &impl serde::Serialize,
) -> Result<T, kube::Error> {
    let request = request(Method::PATCH, path, kind.content_type(), json(body)?)?;
    typed(client, request).await
}

/// Deletes with metav1.DeleteOptions given as JSON.
pub async fn delete(
    client: &Client,
    path: &str,
    options: &serde_json::Value,
) -> Result<(), kube::Error> {
    let request = request(Method::DELETE, path, "application/json", json(options)?)?;
    send(client, request).await.map(drop)
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

pub fn is_not_found(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// 409 for either reason: a conflicting resourceVersion or an object that exists already.
pub fn is_conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}

pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn paths() {
        assert_eq!(path("", "v1", "", "nodes", "n1"), "/api/v1/nodes/n1");
        assert_eq!(
            path("apps", "v1", "default", "deployments", ""),
            "/apis/apps/v1/namespaces/default/deployments"
        );
    }
}
