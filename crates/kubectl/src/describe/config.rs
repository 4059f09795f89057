//! Namespaces, config maps, secrets, service accounts, quotas, limit ranges.

use super::Facts;
use super::parts::{annotations, events, labels, map_pairs};
use super::writer::Writer;
use crate::object::Object;
use crate::text::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

pub(crate) fn namespace(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.field(0, "Status", object.text("status.phase"));
    let conditions = object.list("status.conditions");
    if !conditions.is_empty() {
        w.line(0, "Conditions:");
        w.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        w.line(1, "----\t------\t------------------\t------\t-------");
        for condition in conditions {
            w.line(
                1,
                format!(
                    "{}\t{}\t{}\t{}\t{}",
                    condition.text("type"),
                    condition.text("status"),
                    time::rfc1123z(&condition["lastTransitionTime"]),
                    condition.text("reason"),
                    condition.text("message")
                ),
            );
        }
    }
    if let Some(quotas) = &facts.quotas {
        w.line(0, "");
        namespace_quotas(&mut w, quotas);
    }
    if let Some(ranges) = &facts.limit_ranges {
        w.line(0, "");
        namespace_limits(&mut w, ranges);
    }
    w.finish()
}

fn namespace_quotas(w: &mut Writer, quotas: &[Value]) {
    if quotas.is_empty() {
        return w.line(0, "No resource quota.");
    }
    w.line(0, "Resource Quotas");
    let mut quotas: Vec<&Value> = quotas.iter().collect();
    quotas.sort_by_key(|quota| quota.name().to_owned());
    for quota in quotas {
        w.field(1, "Name", quota.name());
        scopes(w, quota, 1);
        w.line(1, "Resource\tUsed\tHard");
        w.line(1, "--------\t---\t---");
        usage(w, quota, 1);
    }
}

fn scopes(w: &mut Writer, quota: &Value, level: usize) {
    let mut scopes: Vec<&str> = quota
        .list("spec.scopes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if scopes.is_empty() {
        return;
    }
    scopes.sort_unstable();
    w.field(level, "Scopes", scopes.join(", "));
}

fn usage(w: &mut Writer, quota: &Value, level: usize) {
    for (name, hard) in map_pairs(quota.at("status.hard")) {
        let used = quota["status"]["used"][name].as_str().unwrap_or("0");
        w.line(level, format!("{name}\t{used}\t{hard}"));
    }
}

fn namespace_limits(w: &mut Writer, ranges: &[Value]) {
    if ranges.is_empty() {
        return w.line(0, "No LimitRange resource.");
    }
    w.line(
        0,
        "Resource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio",
    );
    w.line(
        0,
        " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------",
    );
    for range in ranges {
        limits(w, range, " ");
    }
}

fn limits(w: &mut Writer, range: &Value, prefix: &str) {
    const FIELDS: [&str; 5] = [
        "min",
        "max",
        "defaultRequest",
        "default",
        "maxLimitRequestRatio",
    ];
    for item in range.list("spec.limits") {
        let mut names: Vec<&str> = FIELDS
            .iter()
            .flat_map(|field| map_pairs(&item[*field]))
            .map(|(name, _)| name)
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let cells: Vec<&str> = FIELDS
                .iter()
                .map(|field| item[*field][name].as_str().unwrap_or("-"))
                .collect();
            w.line(
                0,
                format!(
                    "{prefix}{}\t{name}\t{}",
                    item.text("type"),
                    cells.join("\t")
                ),
            );
        }
    }
}

pub(crate) fn limit_range(object: &Value, _: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    w.line(
        0,
        "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio",
    );
    w.line(
        0,
        "----\t--------\t---\t---\t---------------\t-------------\t-----------------------",
    );
    limits(&mut w, object, "");
    w.finish()
}

pub(crate) fn quota(object: &Value, _: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    scopes(&mut w, object, 0);
    w.line(0, "Resource\tUsed\tHard");
    w.line(0, "--------\t----\t----");
    usage(&mut w, object, 0);
    w.finish()
}

pub(crate) fn config_map(object: &Value, facts: &Facts) -> String {
    let mut w = heading(object);
    w.line(0, "\nData\n====");
    for (key, value) in map_pairs(&object["data"]) {
        w.line(0, format!("{key}:\n----"));
        w.line(0, value);
        w.line(0, "");
    }
    w.line(0, "\nBinaryData\n====");
    for (key, value) in map_pairs(&object["binaryData"]) {
        w.line(0, format!("{key}: {} bytes", decoded(value).len()));
    }
    w.line(0, "");
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn secret(object: &Value, _: &Facts) -> String {
    let mut w = heading(object);
    w.line(0, format!("\nType:\t{}", object.text("type")));
    w.line(0, "\nData\n====");
    let is_token = object.text("type") == "kubernetes.io/service-account-token";
    for (key, value) in map_pairs(&object["data"]) {
        let value = decoded(value);
        if is_token && key == "token" {
            w.field(0, key, String::from_utf8_lossy(&value));
        } else {
            w.field(0, key, format!("{} bytes", value.len()));
        }
    }
    w.finish()
}

fn decoded(value: &str) -> Vec<u8> {
    BASE64.decode(value).unwrap_or_default()
}

pub(crate) fn service_account(object: &Value, facts: &Facts) -> String {
    let mut w = heading(object);
    let names: Vec<&str> = object
        .list("imagePullSecrets")
        .iter()
        .map(|secret| secret.text("name"))
        .collect();
    if names.is_empty() {
        w.line(0, "Image pull secrets:\t<none>");
    }
    for (index, name) in names.iter().enumerate() {
        let header = if index == 0 {
            "Image pull secrets:"
        } else {
            "                   "
        };
        w.line(0, format!("{header}\t{name}"));
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn heading(object: &Value) -> Writer {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w
}
