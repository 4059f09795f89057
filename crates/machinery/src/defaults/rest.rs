//! Defaults of the smaller groups.

use serde_json::{Value, json};

use super::each;
use crate::get::{Get, Put};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn apply(kind: &str, object: &mut Value) {
    match kind {
        "RoleBinding" | "ClusterRoleBinding" => binding(object),
        "StorageClass" => {
            object.or_put("reclaimPolicy", "Delete");
            object.or_put("volumeBindingMode", "Immediate");
        }
        "CSIDriver" => csi_driver(object.open("spec")),
        "PriorityClass" => object.or_put("preemptionPolicy", "PreemptLowerPriority"),
        "NetworkPolicy" => network_policy(object.open("spec")),
        "IngressClass" => {
            if let Some(parameters) = object
                .inner("spec")
                .and_then(|spec| spec.inner("parameters"))
            {
                parameters.or_put("scope", "Cluster");
            }
        }
        "EndpointSlice" => each(object, "ports", |port| {
            port.or_put("name", "");
            port.or_put("protocol", "TCP");
        }),
        "ValidatingWebhookConfiguration" => each(object, "webhooks", webhook),
        "MutatingWebhookConfiguration" => each(object, "webhooks", |hook| {
            webhook(hook);
            hook.or_put("reinvocationPolicy", "Never");
        }),
        "ValidatingAdmissionPolicy" => {
            let spec = object.open("spec");
            spec.or_put("failurePolicy", "Fail");
            if let Some(constraints) = spec.inner("matchConstraints") {
                match_resources(constraints);
            }
        }
        "ValidatingAdmissionPolicyBinding" => {
            if let Some(resources) = object
                .inner("spec")
                .and_then(|spec| spec.inner("matchResources"))
            {
                match_resources(resources);
            }
        }
        "APIService" => {
            if let Some(service) = object.inner("spec").and_then(|spec| spec.inner("service")) {
                service.or_put("port", 443);
            }
        }
        "CustomResourceDefinition" => custom_resource(object.open("spec")),
        _ => {}
    }
}

fn binding(object: &mut Value) {
    if let Some(role) = object.inner("roleRef")
        && role.text("apiGroup").is_empty()
    {
        role.put("apiGroup", RBAC);
    }
    each(object, "subjects", |subject| {
        if subject.text("apiGroup").is_empty() && matches!(subject.text("kind"), "User" | "Group") {
            subject.put("apiGroup", RBAC);
        }
    });
}

fn csi_driver(spec: &mut Value) {
    spec.or_put("attachRequired", true);
    spec.or_put("podInfoOnMount", false);
    spec.or_put("storageCapacity", false);
    spec.or_put("fsGroupPolicy", "ReadWriteOnceWithFSType");
    spec.or_put("volumeLifecycleModes", json!(["Persistent"]));
    spec.or_put("requiresRepublish", false);
    spec.or_put("seLinuxMount", false);
}

fn network_policy(spec: &mut Value) {
    for direction in ["ingress", "egress"] {
        each(spec, direction, |rule| {
            each(rule, "ports", |port| port.or_put("protocol", "TCP"));
        });
    }
    if !spec.has("policyTypes") {
        let types = if spec.items("egress").is_empty() {
            json!(["Ingress"])
        } else {
            json!(["Ingress", "Egress"])
        };
        spec.put("policyTypes", types);
    }
}

fn webhook(hook: &mut Value) {
    hook.or_put("failurePolicy", "Fail");
    hook.or_put("timeoutSeconds", 10);
    match_resources(hook);
    each(hook, "rules", |rule| rule.or_put("scope", "*"));
    if let Some(service) = hook
        .inner("clientConfig")
        .and_then(|config| config.inner("service"))
    {
        service.or_put("port", 443);
    }
}

fn match_resources(matching: &mut Value) {
    matching.or_put("matchPolicy", "Equivalent");
    matching.or_put("namespaceSelector", json!({}));
    matching.or_put("objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        each(matching, list, |rule| rule.or_put("scope", "*"));
    }
}

fn custom_resource(spec: &mut Value) {
    spec.or_put("conversion", json!({"strategy": "None"}));
    let kind = spec.at("names").text("kind").to_owned();
    let names = spec.open("names");
    if names.text("singular").is_empty() {
        names.put("singular", kind.to_lowercase());
    }
    if names.text("listKind").is_empty() {
        names.put("listKind", format!("{kind}List"));
    }
}
