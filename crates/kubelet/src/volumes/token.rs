//! Tokens of service accounts for pods: asked for by TokenRequest, kept until 80 % of
//! their life is over.

use crate::context::Context;
use fluyt_client::rest;
use fluyt_kubelet_core::model;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A token and when to replace it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub text: String,
    pub refresh_at: Timestamp,
}

/// Tokens by pod uid and what was asked for; dropped with their pod.
static CACHE: LazyLock<Mutex<HashMap<(String, String), Token>>> = LazyLock::new(Mutex::default);

#[derive(Deserialize)]
struct Answer {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: String,
    expiration_timestamp: Timestamp,
}

/// The token that a projection asks for.
pub(super) async fn get(
    context: &Arc<Context>,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
) -> Result<Token, String> {
    let seconds = source.expiration_seconds.unwrap_or(3600);
    let audience = source.audience.clone().unwrap_or_default();
    let key = (model::uid(pod).to_owned(), format!("{audience}/{seconds}"));
    let now = Timestamp::now();
    if let Some(token) = CACHE
        .lock()
        .get(&key)
        .filter(|token| token.refresh_at > now)
    {
        return Ok(token.clone());
    }
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
    let audiences: Vec<String> = [audience]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod",
                "name": model::name(pod), "uid": model::uid(pod),
            },
        },
    });
    let path = rest::path("", "v1", model::namespace(pod), "serviceaccounts", account);
    let answer: Answer = rest::create(&context.client, &format!("{path}/token"), &request)
        .await
        .map_err(|error| format!("failed to fetch token: {error}"))?;
    let life = answer.status.expiration_timestamp.duration_since(now);
    let token = Token {
        text: answer.status.token,
        refresh_at: now + SignedDuration::from_secs((life.as_secs() * 4 / 5).max(1)),
    };
    CACHE.lock().insert(key, token.clone());
    Ok(token)
}

/// Forgets a pod's tokens.
pub(super) fn forget(uid: &str) {
    CACHE.lock().retain(|(owner, _), _| owner != uid);
}
