//! Defaults of the core group.

use serde_json::{Map, Value, json};

use super::{blank, each, pod};
use crate::get::{Get, Put};

pub(super) fn apply(kind: &str, object: &mut Value) {
    match kind {
        "Pod" => pod::pod(object),
        "PodTemplate" => pod::template(object),
        "ReplicationController" => replication_controller(object),
        "Service" => service(object),
        "Namespace" => namespace(object),
        "Node" => node(object),
        "Secret" => secret(object),
        "PersistentVolume" => volume(object),
        "PersistentVolumeClaim" => claim(object),
        "Endpoints" => each(object, "subsets", |subset| {
            each(subset, "ports", |port| port.or_put("protocol", "TCP"));
        }),
        "LimitRange" => {
            if let Some(spec) = object.inner("spec") {
                each(spec, "limits", limit);
            }
        }
        _ => {}
    }
}

fn replication_controller(object: &mut Value) {
    let labels = object
        .at("spec")
        .at("template")
        .at("metadata")
        .at("labels")
        .clone();
    if labels.is_object() {
        let spec = object.open("spec");
        spec.or_put("selector", labels.clone());
        object.open("metadata").or_put("labels", labels);
    }
    let spec = object.open("spec");
    spec.or_put("replicas", 1);
    pod::template(spec);
}

fn service(object: &mut Value) {
    let spec = object.open("spec");
    spec.or_put("sessionAffinity", "None");
    match spec.text("sessionAffinity") {
        "None" => {
            spec.pull("sessionAffinityConfig");
        }
        "ClientIP" => spec
            .open("sessionAffinityConfig")
            .open("clientIP")
            .or_put("timeoutSeconds", 10_800),
        _ => {}
    }
    spec.or_put("type", "ClusterIP");
    each(spec, "ports", |port| {
        port.or_put("protocol", "TCP");
        let target = port.at("targetPort");
        if target.is_null() || target == 0 || target == "" {
            let number = port.int("port").unwrap_or(0);
            port.put("targetPort", number);
        }
    });
    let kind = spec.text("type").to_owned();
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !spec.items("externalIPs").is_empty());
    if external {
        spec.or_put("externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        spec.or_put("internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        spec.or_put("allocateLoadBalancerNodePorts", true);
        if let Some(balancer) = object
            .inner("status")
            .and_then(|status| status.inner("loadBalancer"))
        {
            each(balancer, "ingress", |ingress| {
                if !blank(ingress, "ip") {
                    ingress.or_put("ipMode", "VIP");
                }
            });
        }
    }
}

fn namespace(object: &mut Value) {
    let name = object.at("metadata").text("name").to_owned();
    if !name.is_empty() {
        object
            .open("metadata")
            .open("labels")
            .put("kubernetes.io/metadata.name", name);
    }
    object.open("status").or_put("phase", "Active");
}

fn node(object: &mut Value) {
    if let Some(status) = object.inner("status")
        && !status.has("allocatable")
        && status.has("capacity")
    {
        let capacity = status.at("capacity").clone();
        status.put("allocatable", capacity);
    }
    let spec = object.open("spec");
    let first = spec.items("podCIDRs").first().cloned();
    match first {
        None if !blank(spec, "podCIDR") => {
            let cidr = spec.at("podCIDR").clone();
            spec.put("podCIDRs", json!([cidr]));
        }
        Some(first) if blank(spec, "podCIDR") => spec.put("podCIDR", first),
        _ => {}
    }
}

/// `stringData` is only ever written: it becomes `data`.
fn secret(object: &mut Value) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    if let Some(Value::Object(plain)) = object.pull("stringData") {
        let data = object.open("data");
        for (key, text) in plain {
            let encoded = STANDARD.encode(text.as_str().unwrap_or(""));
            data.put(&key, encoded);
        }
    }
    object.or_put("type", "Opaque");
}

fn volume(object: &mut Value) {
    let spec = object.open("spec");
    spec.or_put("persistentVolumeReclaimPolicy", "Retain");
    spec.or_put("volumeMode", "Filesystem");
    if let Some(source) = spec.inner("hostPath") {
        source.or_put("type", "");
    }
    object.open("status").or_put("phase", "Pending");
}

fn claim(object: &mut Value) {
    object.open("spec").or_put("volumeMode", "Filesystem");
    object.open("status").or_put("phase", "Pending");
}

fn limit(item: &mut Value) {
    if item.text("type") != "Container" {
        return;
    }
    let map = |item: &Value, key: &str| -> Map<String, Value> {
        item.at(key).as_object().cloned().unwrap_or_default()
    };
    let mut default = map(item, "default");
    for (name, max) in map(item, "max") {
        default.entry(name).or_insert(max);
    }
    let mut request = map(item, "defaultRequest");
    for (name, value) in default.iter().chain(&map(item, "min")) {
        request.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (key, list) in [("default", default), ("defaultRequest", request)] {
        if !list.is_empty() {
            item.put(key, list);
        }
    }
}
