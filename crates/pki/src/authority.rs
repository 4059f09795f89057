//! A certificate authority and what it issues.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::files::{read, write_private, write_public};

/// Ten years, as kubeadm's authorities.
const AUTHORITY_DAYS: i64 = 3650;
/// One year; `up` issues anew at each start, so nobody has to renew.
const ISSUED_DAYS: i64 = 365;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: not a PEM certificate and key of an authority: {source}")]
    Load { path: PathBuf, source: rcgen::Error },
    #[error("cannot make a certificate for {subject:?}: {source}")]
    Issue {
        subject: String,
        source: rcgen::Error,
    },
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Server,
    Client,
    Both,
}

/// What a certificate shall say.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// CN: the user's name, for a client certificate.
    pub common_name: &'a str,
    /// O: the user's groups.
    pub organizations: &'a [&'a str],
    /// DNS names and IP addresses of a server.
    pub names: &'a [String],
    pub usage: Usage,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

/// Signs certificates. Its own certificate and key are files that survive restarts.
pub struct CertificateAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    key: String,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CertificateAuthority")
            .finish_non_exhaustive()
    }
}

fn days_from_now(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    // Clocks of other machines may be behind ours.
    let start = OffsetDateTime::now_utc() - Duration::hours(1);
    (start, start + Duration::days(days))
}

fn named(common_name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = days_from_now(days);
    params
}

impl CertificateAuthority {
    pub fn generate(common_name: &str) -> Result<Self, PkiError> {
        let fail = |source| PkiError::Issue {
            subject: common_name.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = named(common_name, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(&key).map_err(fail)?.pem();
        Ok(Self {
            certificate,
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        })
    }

    pub fn load(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
        let pair = KeyPair::from_pem(&key_pem).map_err(|source| PkiError::Load {
            path: key.to_owned(),
            source,
        })?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate_pem, pair).map_err(|source| PkiError::Load {
                path: certificate.to_owned(),
                source,
            })?;
        Ok(Self {
            certificate: certificate_pem,
            key: key_pem,
            issuer,
        })
    }

    /// `DIR/NAME.crt` and `DIR/NAME.key`, made when absent.
    pub fn load_or_generate(
        directory: &Path,
        name: &str,
        common_name: &str,
    ) -> Result<Self, PkiError> {
        let certificate = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        if certificate.exists() && key.exists() {
            return Self::load(&certificate, &key);
        }
        let authority = Self::generate(common_name)?;
        write_private(&key, &authority.key)?;
        write_public(&certificate, &authority.certificate)?;
        Ok(authority)
    }

    /// PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    pub fn issue(&self, request: &Request<'_>) -> Result<Issued, PkiError> {
        let fail = |source| PkiError::Issue {
            subject: request.common_name.to_owned(),
            source,
        };
        let params = leaf(request).map_err(fail)?;
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(fail)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn leaf(request: &Request<'_>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(request.common_name, ISSUED_DAYS);
    for organization in request.organizations {
        params
            .distinguished_name
            .push(DnType::OrganizationName, *organization);
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match request.usage {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Both => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
    };
    for name in request.names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    Ok(params)
}

/// The pair that signs and verifies service account tokens (ES256), `DIR/sa.key` and `DIR/sa.pub`; made when absent.
/// Returns (private PEM, public PEM).
pub fn service_account_key(directory: &Path) -> Result<(String, String), PkiError> {
    let (private, public) = (directory.join("sa.key"), directory.join("sa.pub"));
    if private.exists() && public.exists() {
        return Ok((read(&private)?, read(&public)?));
    }
    let key = KeyPair::generate().map_err(|source| PkiError::Issue {
        subject: "service accounts".to_owned(),
        source,
    })?;
    write_private(&private, &key.serialize_pem())?;
    write_public(&public, &key.public_key_pem())?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_a_restart_and_what_it_issues_says_what_was_asked() {
        let directory = tempfile::tempdir().unwrap();
        let first =
            CertificateAuthority::load_or_generate(directory.path(), "ca", "fluyt-ca").unwrap();
        let second =
            CertificateAuthority::load_or_generate(directory.path(), "ca", "fluyt-ca").unwrap();
        assert_eq!(first.certificate(), second.certificate());
        let issued = second
            .issue(&Request {
                common_name: "system:node:node1",
                organizations: &["system:nodes"],
                names: &["127.0.0.1".into(), "localhost".into()],
                usage: Usage::Both,
            })
            .unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let subject = certificate.subject().to_string();
        assert!(subject.contains("CN=system:node:node1") && subject.contains("O=system:nodes"));
        let (_, ca) = x509_parser::pem::parse_x509_pem(first.certificate().as_bytes()).unwrap();
        assert_eq!(
            certificate.issuer().to_string(),
            ca.parse_x509().unwrap().subject().to_string()
        );
    }

    #[test]
    fn a_broken_authority_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), "nonsense").unwrap();
        std::fs::write(directory.path().join("ca.key"), "nonsense").unwrap();
        let error =
            CertificateAuthority::load_or_generate(directory.path(), "ca", "x").unwrap_err();
        assert!(error.to_string().contains("ca.key"), "{error}");
    }
}
