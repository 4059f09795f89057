//! kubeconfig files with inline credentials.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Who the file lets its holder be.
#[derive(Clone, Debug)]
pub enum Credentials<'a> {
    /// PEM.
    Certificate {
        certificate: &'a str,
        key: &'a str,
    },
    Token(&'a str),
    None,
}

/// A kubeconfig of one cluster, one user, one context. `authority` is PEM; none for plain HTTP.
pub fn kubeconfig(
    cluster: &str,
    server: &str,
    authority: Option<&str>,
    user: &str,
    credentials: &Credentials<'_>,
) -> String {
    let authority = authority.map_or_else(String::new, |pem| {
        format!("    certificate-authority-data: {}\n", STANDARD.encode(pem))
    });
    let user_fields = match credentials {
        Credentials::Certificate { certificate, key } => format!(
            "\n    client-certificate-data: {}\n    client-key-data: {}",
            STANDARD.encode(certificate),
            STANDARD.encode(key)
        ),
        Credentials::Token(token) => format!("\n    token: {token}"),
        Credentials::None => " {}".to_owned(),
    };
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster}\n  cluster:\n{authority}    server: {server}\n\
         users:\n- name: {user}\n  user:{user_fields}\n\
         contexts:\n- name: {cluster}\n  context:\n    cluster: {cluster}\n    user: {user}\ncurrent-context: {cluster}\n"
    )
}
