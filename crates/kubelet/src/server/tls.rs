//! The server's certificate: the one given, else one that the kubelet signs itself and
//! keeps, so that it stays the same over restarts.

use crate::context::Context;
use anyhow::{Context as _, bail};
use fluyt_pki::{CertificateAuthority, Request, Usage};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

pub(super) fn acceptor(context: &Context) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = match &context.settings.tls {
        Some(files) => files.clone(),
        None => own_certificate(context)?,
    };
    let chain = certificates("--tls-cert-file", &certificate)?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("--tls-private-key-file {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("TLS")?;
    let builder = match &context.settings.auth.client_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("--client-ca-file", path)? {
                roots
                    .add(certificate)
                    .with_context(|| format!("--client-ca-file {}", path.display()))?;
            }
            // Who shows no certificate may still show a token, or be anonymous.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .with_context(|| format!("--client-ca-file {}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .context("the server's certificate and key")?;
    // Streams are upgraded, which HTTP/2 has no way for.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(flag: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let named = || format!("{flag} {}", path.display());
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .with_context(named)?
        .collect();
    let list = list.with_context(named)?;
    if list.is_empty() {
        bail!("{}: no certificate in it", named());
    }
    Ok(list)
}

/// Makes or finds a certificate of our own.
fn own_certificate(context: &Context) -> anyhow::Result<(PathBuf, PathBuf)> {
    let settings = &context.settings;
    let certificate = settings.cert_dir.join("kubelet.crt");
    let key = settings.cert_dir.join("kubelet.key");
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    std::fs::create_dir_all(&settings.cert_dir)
        .with_context(|| settings.cert_dir.display().to_string())?;
    let mut names = vec![
        settings.node_name.clone(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
    ];
    names.extend(context.host_ips.iter().cloned());
    let authority = CertificateAuthority::generate(&format!("{}-ca", settings.node_name))
        .context("--cert-dir")?;
    let issued = authority
        .issue(&Request {
            common_name: &settings.node_name,
            organizations: &[],
            names: &names,
            usage: Usage::Server,
        })
        .context("--cert-dir")?;
    std::fs::write(&certificate, issued.certificate)
        .with_context(|| certificate.display().to_string())?;
    write_private(&key, &issued.key).with_context(|| key.display().to_string())?;
    Ok((certificate, key))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
