//! serviceaccount-token-controller: fills secrets of type kubernetes.io/service-account-token with a token that does not expire.
//! Nobody gets such a secret unasked; pods use bound tokens from the TokenRequest API instead.

pub mod reconcile;

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fluyt_client::queue::WorkQueue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::api::{DeleteOptions, Error, Result, SECRETS, SERVICE_ACCOUNTS};
use crate::context::Context;
use crate::informers::Informer;
use crate::objects::core::{ServiceAccount, TokenSecret};
use crate::worker::{Outcome, Reconcile, work};
use reconcile::{ACCOUNT_NAME, ACCOUNT_UID, Decision};

const ISSUER: &str = "kubernetes/serviceaccount";

pub async fn run(context: Context) {
    let Some(file) = context.options.service_account_private_key_file.clone() else {
        tracing::debug!(
            "{} is off: no --service-account-private-key-file",
            context.name
        );
        return;
    };
    let (signer, authority) = match load(&file, context.options.root_ca_file.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::error!("{error}; {} is off", context.name);
            return;
        }
    };
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        secrets: context.informers.token_secrets(),
        accounts: context.informers.service_accounts(),
        signer,
        authority,
        context: context.clone(),
    });
    let enqueue = queue.clone();
    controller.secrets.on_change(move |change| {
        if change.new.is_some() {
            enqueue.add(change.key());
        }
    });
    let (secrets, enqueue) = (controller.secrets.clone(), queue.clone());
    controller.accounts.on_change(move |change| {
        let account = &change.object().metadata;
        for secret in secrets.in_namespace(&account.namespace) {
            if secret.metadata.annotations.get(ACCOUNT_NAME) == Some(&account.name) {
                enqueue.add(secret.metadata.key().into());
            }
        }
    });
    controller.secrets.synced().await;
    controller.accounts.synced().await;
    let workers = context
        .options
        .workers
        .concurrent_serviceaccount_token_syncs;
    work(&context, &queue, workers, controller).await;
}

/// Signs tokens with the key of --service-account-private-key-file.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Signer {
    fn from_pem(pem: &[u8]) -> Option<Self> {
        if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
            return Some(Self {
                key,
                algorithm: Algorithm::RS256,
            });
        }
        let key = EncodingKey::from_ec_pem(pem).ok()?;
        Some(Self {
            key,
            algorithm: Algorithm::ES256,
        })
    }

    fn sign(&self, secret: &TokenSecret, account: &ServiceAccount) -> Result<String> {
        let (meta, account) = (&secret.metadata, &account.metadata);
        let claims = json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{}:{}", account.namespace, account.name),
            "kubernetes.io/serviceaccount/namespace": account.namespace,
            "kubernetes.io/serviceaccount/secret.name": meta.name,
            "kubernetes.io/serviceaccount/service-account.name": account.name,
            "kubernetes.io/serviceaccount/service-account.uid": account.uid,
        });
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.key).map_err(|error| {
            Error::Other(format!(
                "cannot sign the token of secret {}: {error}",
                meta.key()
            ))
        })
    }
}

/// The signer, and the certificate authority as base64 (empty without --root-ca-file).
fn load(key: &Path, authority: Option<&Path>) -> Result<(Signer, String), String> {
    let flag = format!("--service-account-private-key-file={}", key.display());
    let pem = std::fs::read(key).map_err(|error| format!("{flag}: {error}"))?;
    let signer = Signer::from_pem(&pem)
        .ok_or_else(|| format!("{flag}: not a private key in PEM (RSA or ECDSA P-256)"))?;
    let Some(authority) = authority else {
        return Ok((signer, String::new()));
    };
    let pem = std::fs::read(authority)
        .map_err(|error| format!("--root-ca-file={}: {error}", authority.display()))?;
    Ok((signer, BASE64.encode(pem)))
}

struct Controller {
    context: Context,
    secrets: Arc<Informer<TokenSecret>>,
    accounts: Arc<Informer<ServiceAccount>>,
    signer: Signer,
    authority: String,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let Some(secret) = self.secrets.get(key) else {
            return Ok(Outcome::Done);
        };
        let name = secret
            .metadata
            .annotations
            .get(ACCOUNT_NAME)
            .unwrap_or_default();
        let mut account = self
            .accounts
            .get(&format!("{}/{name}", secret.metadata.namespace));
        if account.is_none() && !name.is_empty() {
            // Before anything is deleted, ask the server: the account may be newer than the cache.
            account = self.live_account(&secret.metadata.namespace, name).await?;
        }
        match reconcile::decide(&secret, account.as_deref(), &self.authority) {
            Decision::Keep => {}
            Decision::Delete => self.delete(&secret).await?,
            Decision::Fill => {
                if let Some(account) = &account {
                    self.fill(&secret, account).await?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

impl Controller {
    async fn live_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<ServiceAccount>>> {
        let live = self
            .context
            .api
            .get_opt(SERVICE_ACCOUNTS, namespace, name)
            .await?;
        let account = live
            .map(serde_json::from_value::<ServiceAccount>)
            .transpose();
        account
            .map(|account| account.map(Arc::new))
            .map_err(|error| Error::Other(error.to_string()))
    }

    async fn delete(&self, secret: &TokenSecret) -> Result<()> {
        let meta = &secret.metadata;
        let options = DeleteOptions {
            uid: Some(&meta.uid),
            ..DeleteOptions::default()
        };
        self.context
            .api
            .delete(SECRETS, &meta.namespace, &meta.name, options)
            .await
    }

    async fn fill(&self, secret: &TokenSecret, account: &ServiceAccount) -> Result<()> {
        let meta = &secret.metadata;
        let token = self.signer.sign(secret, account)?;
        let fill = |live: &mut Value| {
            if live["metadata"]["uid"].as_str() != Some(&*meta.uid) {
                return false;
            }
            if !live["data"].is_object() {
                live["data"] = json!({});
            }
            if live["data"]["token"].as_str().is_none_or(str::is_empty) {
                live["data"]["token"] = json!(BASE64.encode(&token));
            }
            live["data"]["namespace"] = json!(BASE64.encode(meta.namespace.as_bytes()));
            if !self.authority.is_empty() {
                live["data"]["ca.crt"] = json!(self.authority);
            }
            live["metadata"]["annotations"][ACCOUNT_UID] = json!(account.metadata.uid);
            true
        };
        match self
            .context
            .api
            .modify(SECRETS, (&meta.namespace, &meta.name), "", None, fill)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
