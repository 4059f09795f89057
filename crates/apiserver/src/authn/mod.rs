//! Who makes a request: a client certificate on the connection, else a bearer token, else nobody.

pub(crate) mod impersonation;
pub(crate) mod service_account;
pub(crate) mod static_tokens;
pub(crate) mod user;
pub(crate) mod x509;

use std::sync::Arc;

use fluyt_api::status::Status;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

pub(crate) use user::{AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, UNAUTHENTICATED, User};

use crate::core::Core;
use crate::options::Options;

/// The authenticators in force.
pub(crate) struct Authenticator {
    static_tokens: static_tokens::Tokens,
    pub(crate) service_accounts: service_account::Tokens,
    anonymous: bool,
}

impl Authenticator {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Authenticator {
            static_tokens: match &options.token_auth_file {
                Some(path) => static_tokens::Tokens::load(path)?,
                None => static_tokens::Tokens::default(),
            },
            service_accounts: service_account::Tokens::load(options)?,
            anonymous: options.anonymous_auth,
        })
    }

    /// The user of a request without a client certificate.
    pub(crate) async fn authenticate(
        &self,
        core: &Arc<Core>,
        headers: &HeaderMap,
    ) -> Result<Arc<User>, Status> {
        if let Some(token) = bearer(headers) {
            return match self.token(core, &token).await {
                Some(user) => Ok(user),
                None => Err(Status::unauthorized()),
            };
        }
        if self.anonymous {
            return Ok(User::anonymous_shared());
        }
        Err(Status::unauthorized())
    }

    /// The user that a token stands for.
    pub(crate) async fn token(&self, core: &Arc<Core>, token: &str) -> Option<Arc<User>> {
        if let Some(user) = self.static_tokens.find(token) {
            return Some(user);
        }
        if core.options.enable_bootstrap_token_auth
            && let Some(user) = bootstrap_token(core, token).await
        {
            return Some(user);
        }
        let audiences = self.service_accounts.own_audiences();
        self.service_accounts
            .verify(core, token, &audiences)
            .await
            .map(|verified| verified.user)
    }
}

/// The token of the Authorization header, or of a WebSocket subprotocol, where browsers put it.
fn bearer(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| token.to_owned());
    }
    use base64::Engine;
    let protocols = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|protocol| {
        protocol
            .trim()
            .strip_prefix("base64url.bearer.authorization.k8s.io.")
    })?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()?;
    String::from_utf8(bytes).ok()
}

/// `ID.SECRET`, kept as a secret in kube-system.
async fn bootstrap_token(core: &Arc<Core>, token: &str) -> Option<Arc<User>> {
    use base64::Engine;
    let (id, secret) = token.split_once('.')?;
    if id.len() != 6 || secret.len() != 16 {
        return None;
    }
    let name = format!("bootstrap-token-{id}");
    let object = crate::stored::find(&*core.store, ("", "v1", "secrets"), "kube-system", &name)
        .await
        .ok()??;
    let field = |key: &str| -> Option<String> {
        let text = object["data"][key].as_str()?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()?;
        String::from_utf8(bytes).ok()
    };
    let valid = object["type"] == "bootstrap.kubernetes.io/token"
        && object["metadata"]["deletionTimestamp"].is_null()
        && field("token-id").as_deref() == Some(id)
        && constant_time_eq(field("token-secret")?.as_bytes(), secret.as_bytes())
        && field("usage-bootstrap-authentication").as_deref() == Some("true");
    let expired = field("expiration")
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .is_some_and(|at| at < jiff::Timestamp::now());
    if !valid || expired {
        return None;
    }
    let extra = field("auth-extra-groups").unwrap_or_default();
    let groups = std::iter::once("system:bootstrappers")
        .chain(extra.split(','))
        .filter(|group| !group.is_empty())
        .map(str::to_owned);
    Some(User::authenticated(
        &format!("system:bootstrap:{id}"),
        groups,
    ))
}

fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0u8, |sum, (a, b)| sum | (a ^ b))
            == 0
}
