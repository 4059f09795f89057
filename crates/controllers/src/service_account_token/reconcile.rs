//! What becomes of a secret of type kubernetes.io/service-account-token. Pure.

use crate::objects::core::{ServiceAccount, TokenSecret};

/// The annotation that names the service account.
pub const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// The annotation with the uid of the service account, once the token is made.
pub const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Keep,
    /// It belongs to an account that does not exist, or to an earlier one of that name.
    Delete,
    /// Token, certificate authority or namespace are missing or old.
    Fill,
}

/// `authority` is the certificate authority as base64, or empty if there is none to hand out.
pub fn decide(secret: &TokenSecret, account: Option<&ServiceAccount>, authority: &str) -> Decision {
    let annotations = &secret.metadata.annotations;
    if annotations.get(ACCOUNT_NAME).is_none_or(str::is_empty) || secret.metadata.is_deleting() {
        return Decision::Keep;
    }
    let Some(account) = account else {
        return Decision::Delete;
    };
    let uid = annotations.get(ACCOUNT_UID).unwrap_or("");
    if !uid.is_empty() && *uid != *account.metadata.uid {
        return Decision::Delete;
    }
    let data = &secret.data;
    let complete = data.token
        && data.namespace
        && (authority.is_empty() || &*data.ca == authority)
        && !uid.is_empty();
    if complete {
        Decision::Keep
    } else {
        Decision::Fill
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn secrets_follow_their_accounts() {
        let account: ServiceAccount = serde_json::from_value(
            json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}}),
        )
        .unwrap();
        let full = json!({"token": "dA==", "ca.crt": "Y2E=", "namespace": "bg=="});
        let named = |uid: &str| json!({ACCOUNT_NAME: "a", ACCOUNT_UID: uid});
        let cases: [(Value, Value, Option<&ServiceAccount>, Decision); 7] = [
            (named("u"), full.clone(), Some(&account), Decision::Keep),
            (named(""), full.clone(), Some(&account), Decision::Fill),
            (
                json!({ACCOUNT_NAME: "a"}),
                json!(null),
                Some(&account),
                Decision::Fill,
            ),
            (
                named("u"),
                json!({"token": "dA==", "ca.crt": "b2xk", "namespace": "bg=="}),
                Some(&account),
                Decision::Fill,
            ),
            (
                named("other"),
                full.clone(),
                Some(&account),
                Decision::Delete,
            ),
            (named("u"), full.clone(), None, Decision::Delete),
            (json!({}), full, None, Decision::Keep),
        ];
        for (annotations, data, account, expected) in cases {
            let secret: TokenSecret = serde_json::from_value(
                json!({"metadata": {"name": "s", "annotations": annotations}, "data": data}),
            )
            .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(decide(&secret, account, "Y2E="), expected);
        }
    }
}
