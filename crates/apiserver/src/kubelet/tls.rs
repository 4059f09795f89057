//! The client's side of TLS to kubelets: our certificate, and their verification if an authority is given.

use std::sync::Arc;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::options::Options;
use crate::server::tls::certificates;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn config(options: &Options) -> anyhow::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("the TLS provider lacks a protocol version")?;
    let builder = match &options.kubelet_certificate_authority {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, "kubelet-certificate-authority")? {
                roots.add(certificate).with_context(|| {
                    format!("--kubelet-certificate-authority {}", path.display())
                })?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider()))),
    };
    let identity = (
        &options.kubelet_client_certificate,
        &options.kubelet_client_key,
    );
    let config = match identity {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "kubelet-client-certificate")?;
            let key = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("--kubelet-client-key {}", key.display()))?;
            builder.with_client_auth_cert(chain, key).with_context(|| {
                format!("--kubelet-client-certificate {}", certificate.display())
            })?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => anyhow::bail!("--kubelet-client-certificate and --kubelet-client-key belong together"),
    };
    Ok(Arc::new(config))
}

pub(super) fn unverified() -> anyhow::Result<Arc<ClientConfig>> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("the TLS provider lacks a protocol version")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts every certificate: what upstream does without --kubelet-certificate-authority.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
