//! The serving side of TLS: certificate (given, or made at the first start), client certificates, session tickets.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::options::Options;

/// The acceptor for the secure port.
pub(crate) fn acceptor(
    options: &Options,
    service_ip: Option<IpAddr>,
) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = match (&options.tls_cert_file, &options.tls_private_key_file) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => generated(options, service_ip)?,
    };
    let chain = certificates(&certificate, "tls-cert-file")?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("--tls-private-key-file {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("the TLS provider lacks a protocol version")?;
    let builder = match &options.client_ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, "client-ca-file")? {
                roots
                    .add(certificate)
                    .with_context(|| format!("--client-ca-file {}", path.display()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .allow_unauthenticated()
                    .build()
                    .with_context(|| format!("--client-ca-file {}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .with_context(|| format!("--tls-cert-file {}", certificate.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().context("TLS session tickets")?;
    config.send_tls13_tickets = 2;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificates of a PEM file.
pub(crate) fn certificates(
    path: &Path,
    flag: &str,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("--{flag} {}", path.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "--{flag} {}: no certificate in it",
        path.display()
    );
    Ok(chain)
}

/// `apiserver.crt` and `apiserver.key` in --cert-dir, made when absent, as upstream does.
fn generated(options: &Options, service_ip: Option<IpAddr>) -> anyhow::Result<(PathBuf, PathBuf)> {
    let directory = &options.cert_dir;
    let certificate = directory.join("apiserver.crt");
    let key = directory.join("apiserver.key");
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    std::fs::create_dir_all(directory)
        .with_context(|| format!("--cert-dir {}", directory.display()))?;
    let mut names = vec![
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        "kubernetes.default.svc.cluster.local".to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    names.extend(service_ip.map(|ip| ip.to_string()));
    names.extend(options.advertise_address.map(|ip| ip.to_string()));
    if !options.bind_address.is_unspecified() {
        names.push(options.bind_address.to_string());
    }
    names.dedup();
    let authority = fluyt_pki::CertificateAuthority::generate("fluyt-apiserver-ca")?;
    let issued = authority.issue(&fluyt_pki::Request {
        common_name: "kube-apiserver",
        organizations: &[],
        names: &names,
        usage: fluyt_pki::Usage::Server,
    })?;
    let chain = format!("{}{}", issued.certificate, authority.certificate());
    fluyt_pki::write_private(&key, &issued.key)?;
    fluyt_pki::write_public(&certificate, &chain)?;
    Ok((certificate, key))
}
