//! Who may ask: a client certificate of the cluster's authority or a bearer token says who, a SubjectAccessReview whether.
//!
//! As upstream's delegated authentication and authorization: nothing is decided here, the API server is asked every time.

use std::sync::Arc;

use anyhow::Context;
use fluyt_client::kube::Client;
use fluyt_client::rest;
use http::{Request, header};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
    uid: Option<String>,
}

/// The authority of client certificates, as PEM: the flag's, else what the API server publishes; `None`: certificates are not known.
/// Errors: the flag's file cannot be read.
pub async fn authority(
    options: &crate::Options,
    client: &Client,
) -> anyhow::Result<Option<String>> {
    if let Some(path) = &options.compatibility.client_ca_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--client-ca-file {}", path.display()))?;
        return Ok(Some(text));
    }
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    // An API server that is not there yet must not keep the scheduler from starting; tokens work without.
    let published = rest::get_opt::<Value>(client, path);
    let published = tokio::time::timeout(std::time::Duration::from_secs(5), published).await;
    let map = published.ok().and_then(Result::ok).flatten();
    Ok(map.and_then(|map| map["data"]["client-ca-file"].as_str().map(str::to_owned)))
}

/// Lets connections without a certificate in: they may have a token, or need neither.
pub fn verifier(
    authority: Option<&str>,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.unwrap_or_default().as_bytes()) {
        roots
            .add(certificate.context("the authority of client certificates")?)
            .context("the authority of client certificates")?;
    }
    if roots.is_empty() {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    builder
        .allow_unauthenticated()
        .build()
        .context("the authority of client certificates")
}

/// The user that a verified certificate names: common name and organizations.
pub fn user_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificates?.first()?).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok().map(str::to_owned))
        .chain(["system:authenticated".to_owned()]);
    Some(User {
        name,
        groups: groups.collect(),
        uid: None,
    })
}

/// The API server knows the caller and allows this method on this path.
pub async fn is_allowed<B>(client: &Client, user: Option<&User>, request: &Request<B>) -> bool {
    let known = match user {
        Some(user) => Some(user.clone()),
        None => bearer(client, request).await,
    };
    let Some(user) = known else {
        return false;
    };
    let access = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": user.name,
        "groups": user.groups,
        "uid": user.uid,
        "nonResourceAttributes": {
            "path": request.uri().path(),
            "verb": request.method().as_str().to_ascii_lowercase(),
        },
    }});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = rest::create::<Value>(client, path, &access).await;
    answer.is_ok_and(|answer| answer["status"]["allowed"] == true)
}

async fn bearer<B>(client: &Client, request: &Request<B>) -> Option<User> {
    let header = request.headers().get(header::AUTHORIZATION)?;
    let token = header.to_str().ok()?.strip_prefix("Bearer ")?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = rest::create::<Value>(client, path, &review).await.ok()?;
    if review["status"]["authenticated"] != true {
        return None;
    }
    let user = &review["status"]["user"];
    let groups = user["groups"].as_array().into_iter().flatten();
    Some(User {
        name: user["username"].as_str()?.to_owned(),
        groups: groups
            .filter_map(|group| group.as_str().map(str::to_owned))
            .collect(),
        uid: user["uid"].as_str().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluyt_pki::{CertificateAuthority, Request as CertificateRequest, Usage};

    #[test]
    fn a_certificate_names_user_and_groups() {
        let authority = CertificateAuthority::generate("ca").unwrap();
        let issued = authority
            .issue(&CertificateRequest {
                common_name: "jane",
                organizations: &["devs"],
                names: &[],
                usage: Usage::Client,
            })
            .unwrap();
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let user = user_of(Some(&[certificate])).unwrap();
        assert_eq!(user.name, "jane");
        assert_eq!(user.groups, ["devs", "system:authenticated"]);
        assert_eq!(user_of(None), None);
    }
}
