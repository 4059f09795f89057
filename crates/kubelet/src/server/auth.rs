//! Who asks, and whether they may. A client certificate or a bearer token names the user;
//! what they may do the API server says (SubjectAccessReview on nodes/SUBRESOURCE).

use crate::context::Context;
use fluyt_client::rest;
use http::Method;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Answers of the API server are kept this long.
const ALLOWED_FOR: Duration = Duration::from_secs(300);
const DENIED_FOR: Duration = Duration::from_secs(30);
/// Answers that are kept; beyond, all are forgotten.
const MOST_ANSWERS: usize = 1000;

/// A user as certificates, tokens and the API name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub name: String,
    pub groups: Vec<String>,
}

/// What the connection's certificate says; it was verified with the handshake.
#[derive(Debug, Default)]
pub(super) struct Peer(Option<User>);

impl Peer {
    pub fn of(certificates: Option<&[CertificateDer<'_>]>) -> Self {
        let user = certificates
            .and_then(|chain| chain.first())
            .and_then(|der| {
                let (_, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
                let subject = certificate.subject();
                let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
                let groups = subject
                    .iter_organization()
                    .filter_map(|group| group.as_str().ok())
                    .map(str::to_owned);
                Some(User {
                    name,
                    groups: groups.collect(),
                })
            });
        Self(user)
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Unauthorized,
    Forbidden(String),
}

/// Who asked, with which verb, for which subresource of nodes.
type Asked = (User, &'static str, &'static str);

/// Decides about requests.
pub(super) struct Authority {
    context: Arc<Context>,
    answers: Mutex<HashMap<Asked, (bool, Instant)>>,
}

impl Authority {
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            answers: Mutex::default(),
        }
    }

    /// Passes a request on, or says why not.
    pub async fn check(
        &self,
        peer: &Peer,
        method: &Method,
        path: &str,
        token: Option<&str>,
    ) -> Result<(), Refusal> {
        let user = self.user(peer, token).await.ok_or(Refusal::Unauthorized)?;
        if !self.context.settings.auth.webhook {
            return Ok(());
        }
        let verb = verb(method);
        let mut last = "";
        for subresource in subresources(path) {
            if self.allowed(&user, verb, subresource).await {
                return Ok(());
            }
            last = subresource;
        }
        Err(Refusal::Forbidden(format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{last}])\n",
            user.name
        )))
    }

    async fn user(&self, peer: &Peer, token: Option<&str>) -> Option<User> {
        let authenticated = |mut user: User| {
            user.groups.push("system:authenticated".to_owned());
            user
        };
        if let Some(user) = &peer.0 {
            return Some(authenticated(user.clone()));
        }
        let auth = &self.context.settings.auth;
        if let Some(token) = token {
            // A bad token is not anonymous, as upstream has it.
            return match auth.token_webhook {
                true => self.review_token(token).await.map(authenticated),
                false => None,
            };
        }
        auth.anonymous.then(|| User {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
        })
    }

    async fn review_token(&self, token: &str) -> Option<User> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer: Value = rest::create(&self.context.client, path, &review)
            .await
            .ok()?;
        let status = &answer["status"];
        if status["authenticated"] != true {
            return None;
        }
        let groups = status["user"]["groups"].as_array().into_iter().flatten();
        Some(User {
            name: status["user"]["username"].as_str()?.to_owned(),
            groups: groups
                .filter_map(|group| group.as_str().map(str::to_owned))
                .collect(),
        })
    }

    async fn allowed(&self, user: &User, verb: &'static str, subresource: &'static str) -> bool {
        let key = (user.clone(), verb, subresource);
        if let Some((allowed, until)) = self.answers.lock().get(&key)
            && *until > Instant::now()
        {
            return *allowed;
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user.name,
                "groups": user.groups,
                "resourceAttributes": {
                    "verb": verb, "version": "v1", "resource": "nodes",
                    "subresource": subresource, "name": self.context.settings.node_name,
                },
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer: Result<Value, _> = rest::create(&self.context.client, path, &review).await;
        let allowed = match answer {
            Ok(answer) => answer["status"]["allowed"] == true,
            Err(error) => {
                tracing::warn!(%error, "cannot ask the API server whether a request is allowed");
                return false;
            }
        };
        let until = Instant::now() + if allowed { ALLOWED_FOR } else { DENIED_FOR };
        let mut answers = self.answers.lock();
        if answers.len() >= MOST_ANSWERS {
            answers.clear();
        }
        answers.insert(key, (allowed, until));
        allowed
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

/// The subresources of nodes any of which allows a path.
fn subresources(path: &str) -> Vec<&'static str> {
    let below = |root: &str| {
        path == root
            || path
                .strip_prefix(root)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let table: [(&str, &[&'static str]); 8] = [
        ("/pods", &["pods", "proxy"]),
        ("/runningpods", &["pods", "proxy"]),
        ("/healthz", &["healthz", "proxy"]),
        ("/configz", &["configz", "proxy"]),
        ("/stats", &["stats"]),
        ("/metrics", &["metrics"]),
        ("/logs", &["log"]),
        ("/checkpoint", &["checkpoint"]),
    ];
    let found = table.iter().find(|(root, _)| below(root));
    found.map_or_else(|| vec!["proxy"], |(_, list)| list.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_need_their_subresource() {
        for (path, expected) in [
            ("/containerLogs/a/b/c", vec!["proxy"]),
            ("/exec/a/b/c", vec!["proxy"]),
            ("/metrics/cadvisor", vec!["metrics"]),
            ("/stats/summary", vec!["stats"]),
            ("/pods", vec!["pods", "proxy"]),
            ("/podsx", vec!["proxy"]),
        ] {
            assert_eq!(subresources(path), expected, "{path}");
        }
    }

    #[test]
    fn a_certificate_names_its_user() {
        let authority = fluyt_pki::CertificateAuthority::generate("ca").unwrap();
        let issued = authority
            .issue(&fluyt_pki::Request {
                common_name: "kube-apiserver",
                organizations: &["system:masters"],
                names: &[],
                usage: fluyt_pki::Usage::Client,
            })
            .unwrap();
        use rustls::pki_types::pem::PemObject;
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let user = Peer::of(Some(&[der])).0.unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            ("kube-apiserver", vec!["system:masters".to_owned()])
        );
    }
}
