//! Defaults of pods and pod templates.
//!
//! Invariant: a template gets only what holds for every pod made from it; what depends on the pod
//! itself (requests from limits, host ports, service links) is filled in on the pod alone.

use serde_json::{Map, Value, json};

use super::{blank, each};
use crate::get::{Get, Put};

/// Defaults of a pod.
pub(super) fn pod(object: &mut Value) {
    let spec = object.open("spec");
    for list in ["containers", "initContainers"] {
        each(spec, list, requests_from_limits);
    }
    pod_level_requests(spec);
    spec.or_put("enableServiceLinks", true);
    if spec.is_true("hostNetwork") {
        for list in ["containers", "initContainers"] {
            each(spec, list, host_ports);
        }
    }
    pod_spec(spec);
    let Some(status) = object.inner("status") else {
        return;
    };
    sync_addresses(status, "podIP", "podIPs");
}

/// Defaults of the pod template in `spec.template`.
pub(super) fn template(holder: &mut Value) {
    if let Some(template) = holder.inner("template") {
        template_body(template);
    }
}

/// Defaults of a pod template itself.
pub(super) fn template_body(template: &mut Value) {
    pod_spec(template.open("spec"));
}

fn sync_addresses(status: &mut Value, one: &str, many: &str) {
    let first = status
        .items(many)
        .first()
        .map(|ip| ip.text("ip").to_owned());
    match first {
        None if !blank(status, one) => {
            let ip = status.text(one).to_owned();
            status.put(many, json!([{ "ip": ip }]));
        }
        Some(ip) if blank(status, one) => status.put(one, ip),
        _ => {}
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(resources) = container.inner("resources") else {
        return;
    };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    let requests = resources.open("requests");
    for (name, limit) in limits {
        requests.or_put(&name, limit);
    }
}

/// Requests of the pod as a whole follow its limits where nobody says otherwise.
fn pod_level_requests(spec: &mut Value) {
    let limits = spec.at("resources").at("limits").clone();
    let Value::Object(limits) = limits else {
        return;
    };
    let named = |spec: &Value, resource: &str| {
        ["containers", "initContainers"].iter().any(|list| {
            spec.items(list)
                .iter()
                .any(|c| c.at("resources").at("requests").has(resource))
        })
    };
    let mut wanted = Map::new();
    for (name, limit) in limits {
        let value = if named(spec, &name) && !name.starts_with("hugepages-") {
            Value::from(crate::kinds::pod::resources::requests(spec, &name))
        } else {
            limit
        };
        wanted.insert(name, value);
    }
    if wanted.is_empty() {
        return;
    }
    let requests = spec.open("resources").open("requests");
    for (name, value) in wanted {
        requests.or_put(&name, value);
    }
}

fn host_ports(container: &mut Value) {
    each(container, "ports", |port| {
        if port.int("hostPort").unwrap_or(0) == 0
            && let Some(number) = port.int("containerPort")
        {
            port.put("hostPort", number);
        }
    });
}

/// Defaults of a pod's spec.
pub(crate) fn pod_spec(spec: &mut Value) {
    spec.or_put("dnsPolicy", "ClusterFirst");
    spec.or_put("restartPolicy", "Always");
    spec.or_put("securityContext", json!({}));
    spec.or_put("terminationGracePeriodSeconds", 30);
    spec.or_put("schedulerName", "default-scheduler");
    // Two names of one field; the older wins.
    if spec.has("serviceAccount") && !spec.has("serviceAccountName") {
        let name = spec.text("serviceAccount").to_owned();
        spec.put("serviceAccountName", name);
    } else if spec.has("serviceAccountName") {
        let name = spec.text("serviceAccountName").to_owned();
        spec.put("serviceAccount", name);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, container);
    }
    each(spec, "volumes", volume);
}

fn container(container: &mut Value) {
    if blank(container, "imagePullPolicy") {
        let policy = pull_policy(container.text("image"));
        container.put("imagePullPolicy", policy);
    }
    container.or_put("terminationMessagePath", "/dev/termination-log");
    container.or_put("terminationMessagePolicy", "File");
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.inner(name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = container.inner("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(http) = lifecycle.inner(hook).and_then(|hook| hook.inner("httpGet")) {
                http_get(http);
            }
        }
    }
    each(container, "env", |variable| {
        if let Some(source) = variable.inner("valueFrom") {
            references(source);
        }
    });
    each(container, "ports", |port| port.or_put("protocol", "TCP"));
}

fn probe(probe: &mut Value) {
    probe.or_put("timeoutSeconds", 1);
    probe.or_put("periodSeconds", 10);
    probe.or_put("successThreshold", 1);
    probe.or_put("failureThreshold", 3);
    if let Some(http) = probe.inner("httpGet") {
        http_get(http);
    }
    if let Some(grpc) = probe.inner("grpc") {
        grpc.or_put("service", "");
    }
}

fn http_get(http: &mut Value) {
    http.or_put("path", "/");
    http.or_put("scheme", "HTTP");
}

fn volume(volume: &mut Value) {
    let sources = volume.as_object().map_or(0, |fields| {
        fields.keys().filter(|key| *key != "name").count()
    });
    if sources == 0 {
        volume.put("emptyDir", json!({}));
    }
    const MODE: i64 = 0o644;
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.inner(source) {
            source.or_put("defaultMode", MODE);
        }
    }
    if let Some(source) = volume.inner("downwardAPI") {
        downward_items(source);
    }
    if let Some(source) = volume.inner("projected") {
        each(source, "sources", |source| {
            if let Some(token) = source.inner("serviceAccountToken") {
                token.or_put("expirationSeconds", 3600);
            }
            if let Some(downward) = source.inner("downwardAPI") {
                downward_items(downward);
            }
        });
    }
    if let Some(source) = volume.inner("hostPath") {
        source.or_put("type", "");
    }
    if let Some(source) = volume.inner("image")
        && blank(source, "pullPolicy")
    {
        let policy = pull_policy(source.text("reference"));
        source.put("pullPolicy", policy);
    }
    if let Some(spec) = volume
        .inner("ephemeral")
        .and_then(|source| source.inner("volumeClaimTemplate"))
        .and_then(|template| template.inner("spec"))
    {
        spec.or_put("volumeMode", "Filesystem");
    }
}

fn downward_items(source: &mut Value) {
    each(source, "items", references);
}

/// References to the pod's own fields and resources.
fn references(source: &mut Value) {
    if let Some(field) = source.inner("fieldRef") {
        field.or_put("apiVersion", "v1");
    }
    if let Some(resource) = source.inner("resourceFieldRef") {
        resource.or_put("divisor", "0");
    }
}

/// An image named by a moving tag is always looked for; any other only when it is not there.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let moving = !name.contains('@')
        && match name.split_once(':') {
            Some((_, tag)) => tag == "latest",
            None => !name.is_empty(),
        };
    if moving { "Always" } else { "IfNotPresent" }
}
