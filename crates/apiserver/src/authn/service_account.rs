//! Service account tokens: JWTs signed and verified here, bound to a pod, secret or node and to the account's uid.
//! A token is good while its account and the object that it is bound to exist.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fluyt_api::status::Status;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::{SERVICE_ACCOUNT_PREFIX, User};
use crate::core::Core;
use crate::options::Options;
use crate::stored;

/// Tokens whose verification is remembered, and for how long: the signature is the costly part.
const CACHE_SIZE: usize = 4096;
const CACHE_FOR: Duration = Duration::from_secs(10);

/// A reference inside the claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// The private claims, under upstream's name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Private {
    pub(crate) namespace: String,
    #[serde(rename = "serviceaccount")]
    pub(crate) service_account: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(default, rename = "warnafter", skip_serializing_if = "Option::is_none")]
    pub(crate) warn_after: Option<i64>,
}

/// All claims of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub(crate) aud: Audiences,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    #[serde(default)]
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) private: Private,
    #[serde(default)]
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// `aud` is a string or a list of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "Vec<String>")]
pub(crate) struct Audiences(pub(crate) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Audiences {
    fn from(value: OneOrMany) -> Self {
        Audiences(match value {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}

impl From<Audiences> for Vec<String> {
    fn from(value: Audiences) -> Self {
        value.0
    }
}

struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    id: String,
}

struct Verifier {
    key: DecodingKey,
    algorithm: Algorithm,
    id: String,
    der: Vec<u8>,
}

/// A verified token.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) user: Arc<User>,
    pub(crate) audiences: Vec<String>,
}

/// Signs and verifies.
pub(crate) struct Tokens {
    issuer: String,
    audiences: Vec<String>,
    signer: Option<Signer>,
    verifiers: Vec<Verifier>,
    checked: Mutex<HashMap<[u8; 32], (Instant, Claims)>>,
}

impl Tokens {
    pub(crate) fn load(options: &Options) -> anyhow::Result<Self> {
        let signer = match &options.service_account_signing_key_file {
            Some(path) => Some(signer(path)?),
            None => None,
        };
        let mut files: Vec<&Path> = options
            .service_account_key_file
            .iter()
            .map(|path| path.as_path())
            .collect();
        if files.is_empty() {
            files.extend(options.service_account_signing_key_file.as_deref());
        }
        let verifiers = files
            .into_iter()
            .map(verifier)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let audiences = if options.api_audiences.is_empty() {
            vec![options.service_account_issuer.clone()]
        } else {
            options.api_audiences.clone()
        };
        Ok(Tokens {
            issuer: options.service_account_issuer.clone(),
            audiences,
            signer,
            verifiers,
            checked: Mutex::default(),
        })
    }

    pub(crate) fn own_audiences(&self) -> Vec<String> {
        self.audiences.clone()
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A signed token.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, Status> {
        let signer = self.signer.as_ref().ok_or_else(|| {
            Status::internal("this server has no --service-account-signing-key-file")
        })?;
        let mut header = Header::new(signer.algorithm);
        header.typ = None;
        header.kid = Some(signer.id.clone());
        jsonwebtoken::encode(&header, claims, &signer.key)
            .map_err(|error| Status::internal(format!("signing a token: {error}")))
    }

    /// The account behind a token for one of `audiences`.
    pub(crate) async fn verify(
        &self,
        core: &Arc<Core>,
        token: &str,
        audiences: &[String],
    ) -> Option<Verified> {
        let claims = self.claims(token)?;
        let now = jiff::Timestamp::now().as_second();
        if claims.exp <= now || claims.nbf > now + 10 {
            return None;
        }
        let granted: Vec<String> = audiences
            .iter()
            .filter(|audience| claims.aud.0.contains(audience))
            .cloned()
            .collect();
        if granted.is_empty() {
            return None;
        }
        let user = bound_user(core, &claims).await?;
        Some(Verified {
            user: Arc::new(user),
            audiences: granted,
        })
    }

    /// The claims, if a known key signed them and they are ours.
    fn claims(&self, token: &str) -> Option<Claims> {
        if self.verifiers.is_empty() || token.matches('.').count() != 2 {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((at, claims)) = self.checked.lock().get(&digest)
            && at.elapsed() < CACHE_FOR
        {
            return Some(claims.clone());
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let claims = self
            .verifiers
            .iter()
            .filter(|verifier| {
                verifier.algorithm == header.alg
                    && header.kid.as_ref().is_none_or(|id| *id == verifier.id)
            })
            .find_map(|verifier| {
                let mut validation = Validation::new(verifier.algorithm);
                validation.validate_aud = false;
                validation.validate_exp = false;
                validation.required_spec_claims.clear();
                validation.set_issuer(&[&self.issuer]);
                jsonwebtoken::decode::<Claims>(token, &verifier.key, &validation).ok()
            })?
            .claims;
        let mut checked = self.checked.lock();
        if checked.len() >= CACHE_SIZE {
            checked.retain(|_, (at, _)| at.elapsed() < CACHE_FOR);
            if checked.len() >= CACHE_SIZE {
                checked.clear();
            }
        }
        checked.insert(digest, (Instant::now(), claims.clone()));
        Some(claims)
    }

    /// The signature algorithms of the known keys.
    pub(crate) fn algorithms(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = self
            .verifiers
            .iter()
            .map(|verifier| algorithm_name(verifier.algorithm))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The public keys, as the members of a JSON Web Key Set.
    pub(crate) fn key_set(&self) -> Vec<Value> {
        self.verifiers.iter().filter_map(Verifier::to_jwk).collect()
    }
}

fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        _ => "ES256",
    }
}

impl Verifier {
    /// The key's numbers, read from the end of its DER form.
    fn to_jwk(&self) -> Option<Value> {
        let (_, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&self.der).ok()?;
        let mut jwk = serde_json::json!({
            "use": "sig", "kid": self.id, "alg": algorithm_name(self.algorithm),
        });
        match info.parsed().ok()? {
            PublicKey::RSA(key) => {
                let trim = |bytes: &[u8]| {
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    URL_SAFE_NO_PAD.encode(&bytes[zeros..])
                };
                jwk["kty"] = "RSA".into();
                jwk["n"] = trim(key.modulus).into();
                jwk["e"] = trim(key.exponent).into();
            }
            PublicKey::EC(point) => {
                let bytes = point.data();
                let half = bytes.len().checked_sub(1)? / 2;
                jwk["kty"] = "EC".into();
                jwk["crv"] = "P-256".into();
                jwk["x"] = URL_SAFE_NO_PAD.encode(bytes.get(1..=half)?).into();
                jwk["y"] = URL_SAFE_NO_PAD.encode(bytes.get(half + 1..)?).into();
            }
            _ => return None,
        }
        Some(jwk)
    }
}

/// Whether account and bound object still exist under the same uid.
async fn bound_user(core: &Arc<Core>, claims: &Claims) -> Option<User> {
    let private = &claims.private;
    let namespace = private.namespace.as_str();
    let account = &private.service_account;
    let exists = |plural: &'static str, namespace: String, wanted: Reference| async move {
        let found = stored::find(&*core.store, ("", "v1", plural), &namespace, &wanted.name)
            .await
            .ok()??;
        let metadata = &found["metadata"];
        let same = wanted.uid.is_empty() || metadata["uid"] == wanted.uid.as_str();
        let going = metadata["deletionTimestamp"]
            .as_str()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            // Tokens outlive a deletion mark for a minute, as upstream.
            .is_some_and(|at| at.as_second() + 60 < jiff::Timestamp::now().as_second());
        (same && !going).then_some(found)
    };
    exists("serviceaccounts", namespace.to_owned(), account.clone()).await?;
    let mut extra = std::collections::BTreeMap::new();
    if let Some(pod) = &private.pod {
        let found: Value = exists("pods", namespace.to_owned(), pod.clone()).await?;
        extra.insert(key("pod-name"), vec![pod.name.clone()]);
        extra.insert(key("pod-uid"), vec![pod.uid.clone()]);
        if let (None, Some(node)) = (&private.node, found["spec"]["nodeName"].as_str()) {
            extra.insert(key("node-name"), vec![node.to_owned()]);
        }
    }
    if let Some(secret) = &private.secret {
        exists("secrets", namespace.to_owned(), secret.clone()).await?;
    }
    if let Some(node) = &private.node {
        if private.pod.is_none() {
            exists("nodes", String::new(), node.clone()).await?;
        }
        extra.insert(key("node-name"), vec![node.name.clone()]);
        if !node.uid.is_empty() {
            extra.insert(key("node-uid"), vec![node.uid.clone()]);
        }
    }
    if !claims.jti.is_empty() {
        extra.insert(key("credential-id"), vec![format!("JTI={}", claims.jti)]);
    }
    let mut user = User {
        name: format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", account.name),
        uid: account.uid.clone(),
        groups: groups(namespace),
        extra,
    };
    user.add_authenticated();
    Some(user)
}

fn key(name: &str) -> String {
    format!("authentication.kubernetes.io/{name}")
}

/// The groups of every service account of a namespace.
pub(crate) fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("reading service account key {}", path.display()))
}

/// The key's identifier: the digest of the public key's DER form, as upstream names keys.
fn key_id(public_der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(public_der))
}

fn signer(path: &Path) -> anyhow::Result<Signer> {
    let pem = read(path)?;
    let (key, algorithm) = if let Ok(key) = EncodingKey::from_ec_pem(pem.as_bytes()) {
        (key, Algorithm::ES256)
    } else {
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())
            .with_context(|| format!("{}: neither an EC nor an RSA private key", path.display()))?;
        (key, Algorithm::RS256)
    };
    let id = key_id(&public_der(&pem, path)?);
    Ok(Signer { key, algorithm, id })
}

fn verifier(path: &Path) -> anyhow::Result<Verifier> {
    let pem = read(path)?;
    let der = public_der(&pem, path)?;
    let public = to_pem("PUBLIC KEY", &der);
    let (key, algorithm) = if let Ok(key) = DecodingKey::from_ec_pem(public.as_bytes()) {
        (key, Algorithm::ES256)
    } else {
        let key = DecodingKey::from_rsa_pem(public.as_bytes())
            .with_context(|| format!("{}: neither an EC nor an RSA key", path.display()))?;
        (key, Algorithm::RS256)
    };
    Ok(Verifier {
        key,
        algorithm,
        id: key_id(&der),
        der,
    })
}

/// The public key (SubjectPublicKeyInfo, DER) of a PEM file that holds a public or private key.
fn public_der(pem: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fluyt_pki::public_key_der(pem)
        .with_context(|| format!("{}: no public or private key in it", path.display()))
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for chunk in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(chunk).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
