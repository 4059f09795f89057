//! ConfigMaps and Secrets: keys, size, and what is frozen once it is immutable.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fluyt_api::names;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::strategy::Rules;

const MAX_BYTES: usize = 1 << 20;
const FROZEN: &str = "field is immutable when `immutable` is set";
const DATA: At<'static> = At::root("data");

pub(super) fn extend_config_map(rules: &mut Rules) {
    rules.check = check_config_map;
    rules.check_update = |new, old, errors| {
        check_frozen(new, old, &["data", "binaryData"], errors);
        check_config_map(new, errors);
    };
}

pub(super) fn extend_secret(rules: &mut Rules) {
    rules.update = |new, old, _| {
        if new.text("type").is_empty() {
            new.copy_from(old, "type");
        }
    };
    rules.check = check_secret;
    rules.check_update = |new, old, errors| {
        errors.immutable(&At::root("type"), new.at("type"), old.at("type"));
        check_frozen(new, old, &["data"], errors);
        check_secret(new, errors);
    };
    rules.select = |secret| vec![("type", secret.text("type").into())];
}

fn check_frozen(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    if !old.is_true("immutable") {
        return;
    }
    if !new.is_true("immutable") {
        errors.forbidden(&At::root("immutable"), FROZEN);
    }
    for field in fields {
        if new.at(field) != old.at(field) {
            errors.forbidden(&At::root(field), FROZEN);
        }
    }
}

/// The length of what base64 text stands for.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn check_config_map(map: &Value, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in map.members("data") {
        errors.all_invalid(&DATA.key(key), key, names::config_map_key(key));
        if map.at("binaryData").has(key) {
            errors.invalid(
                &DATA.key(key),
                key.as_str(),
                "duplicate of key present in binaryData",
            );
        }
        size += value.as_str().map_or(0, str::len);
    }
    let binary = At::root("binaryData");
    for (key, value) in map.members("binaryData") {
        errors.all_invalid(&binary.key(key), key, names::config_map_key(key));
        size += value.as_str().map_or(0, decoded_len);
    }
    if size > MAX_BYTES {
        errors.too_long(&At::ROOT.key(""), MAX_BYTES);
    }
}

fn check_secret(secret: &Value, errors: &mut Errors) {
    let data = secret.at("data");
    let mut size = 0;
    for (key, value) in secret.members("data") {
        errors.all_invalid(&DATA.key(key), key, names::config_map_key(key));
        size += value.as_str().map_or(0, decoded_len);
    }
    if size > MAX_BYTES {
        errors.too_long(&DATA, MAX_BYTES);
    }
    match secret.text("type") {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let metadata = At::root("metadata");
            let annotations = metadata.child("annotations");
            let stated = secret.at("metadata").at("annotations").text(ACCOUNT);
            if stated.is_empty() {
                errors.required(&annotations.key(ACCOUNT), "");
            }
        }
        "kubernetes.io/dockercfg" => check_json(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => check_json(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            errors.required(&DATA.key("username"), "");
            errors.required(&DATA.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if data.text("ssh-privatekey").is_empty() => {
            errors.required(&DATA.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !data.has(key) {
                    errors.required(&DATA.key(key), "");
                }
            }
        }
        _ => {}
    }
}

fn check_json(data: &Value, key: &str, errors: &mut Errors) {
    if !data.has(key) {
        errors.required(&DATA.key(key), "");
        return;
    }
    let bytes = STANDARD.decode(data.text(key)).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        errors.invalid(
            &DATA.key(key),
            "<secret contents redacted>",
            error.to_string(),
        );
    }
}
