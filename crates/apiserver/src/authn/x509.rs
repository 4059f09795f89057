//! The user of a client certificate: common name and organizations, read once per connection. That the certificate
//! is valid has been checked by the TLS handshake.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

pub(crate) fn user(certificate: &CertificateDer<'_>) -> Option<Arc<User>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned);
    Some(User::authenticated(name, groups))
}
