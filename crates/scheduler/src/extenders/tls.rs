//! TLS to extenders: tlsConfig's files or base64 data. As upstream, HTTPS without a certificate authority is not verified.

use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{Extender, ExtenderTls};

pub fn connector(extender: &Extender) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let tls = extender.tls_config.clone().unwrap_or_default();
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(client_config(&tls).context("tlsConfig")?)
        .https_or_http();
    let builder = match tls.server_name.as_str() {
        "" => builder,
        name => {
            let name = ServerName::try_from(name.to_owned()).context("tlsConfig.serverName")?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
    };
    Ok(builder.enable_http1().build())
}

/// Data wins over the file; empty when there is neither.
fn pem(data: &str, file: &str, field: &str) -> anyhow::Result<Vec<u8>> {
    if !data.is_empty() {
        return BASE64_STANDARD
            .decode(data)
            .with_context(|| format!("{field}Data: not base64"));
    }
    match file.is_empty() {
        true => Ok(Vec::new()),
        false => std::fs::read(file).with_context(|| format!("{field}File {file}")),
    }
}

fn client_config(tls: &ExtenderTls) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let authority = pem(&tls.ca_data, &tls.ca_file, "ca")?;
    let builder = match authority.is_empty() || tls.insecure {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider))),
        false => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&authority) {
                roots.add(certificate.context("ca")?)?;
            }
            if roots.is_empty() {
                bail!("ca: no PEM certificate in it");
            }
            builder.with_root_certificates(roots)
        }
    };
    let certificate = pem(&tls.cert_data, &tls.cert_file, "cert")?;
    let key = pem(&tls.key_data, &tls.key_file, "key")?;
    if certificate.is_empty() && key.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(&key).context("key")?;
    Ok(builder.with_client_auth_cert(chain.context("cert")?, key)?)
}

/// Signatures are checked, names and issuers are not.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
