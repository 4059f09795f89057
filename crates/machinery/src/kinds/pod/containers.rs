//! Checks of containers, init containers and ephemeral containers.
//!
//! Invariant: a name is unique among all containers of a pod.

use std::collections::BTreeSet;

use fluyt_api::names;
use serde_json::Value;

use super::{env, probes, resources, security, volumes};
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;

/// What a container's checks need to know of its pod.
pub(super) struct Pod<'a> {
    pub(super) volumes: Vec<(&'a str, &'a Value)>,
    /// Names of `spec.resourceClaims`.
    pub(super) claims: Vec<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) restart_policy: &'a str,
    /// The pod shares the host's user namespace.
    pub(super) host_users: bool,
}

const SIDECAR_ONLY: &str = "may not be set for init containers without restartPolicy=Always";
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks all containers of a pod's spec.
pub(super) fn check(spec: &Value, pod: &Pod, at: &At, errors: &mut Errors) {
    check_main(spec, pod, &at.child("containers"), errors);
    check_init(spec, pod, &at.child("initContainers"), errors);
    check_ephemeral(spec, pod, &at.child("ephemeralContainers"), errors);
}

fn check_main(spec: &Value, pod: &Pod, list: &At, errors: &mut Errors) {
    let containers = spec.items("containers");
    if containers.is_empty() {
        errors.required(list, "");
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let at = list.index(index);
        check_common(container, pod, &at, errors);
        let name = container.text("name");
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        probes::check(container, pod.grace, &at, errors);
        check_restart_policy(container, &at, errors);
    }
    check_host_ports(containers, list, errors);
}

fn check_init(spec: &Value, pod: &Pod, list: &At, errors: &mut Errors) {
    let mut seen: BTreeSet<&str> = names_of(spec, "containers").collect();
    for (index, container) in spec.items("initContainers").iter().enumerate() {
        let at = list.index(index);
        check_common(container, pod, &at, errors);
        check_restart_policy(container, &at, errors);
        let name = container.text("name");
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        check_host_ports(std::slice::from_ref(container), list, errors);
        if container.text("restartPolicy") == "Always" {
            probes::check(container, pod.grace, &at, errors);
            continue;
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            if container.has(field) {
                errors.forbidden(&at.child(field), SIDECAR_ONLY);
            }
        }
    }
}

fn check_ephemeral(spec: &Value, pod: &Pod, list: &At, errors: &mut Errors) {
    const FORBIDDEN: &str = "cannot be set for an Ephemeral Container";
    let others: BTreeSet<&str> = names_of(spec, "containers")
        .chain(names_of(spec, "initContainers"))
        .collect();
    let mut seen = others.clone();
    for (index, container) in spec.items("ephemeralContainers").iter().enumerate() {
        let at = list.index(index);
        check_common(container, pod, &at, errors);
        check_image_space(container, &at, errors);
        let name = container.text("name");
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        let target = container.text("targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&at.child("targetContainerName"), target);
        }
        for field in [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "restartPolicy",
            "resizePolicy",
        ] {
            if container.has(field) {
                errors.forbidden(&at.child(field), FORBIDDEN);
            }
        }
        let resources = container.at("resources");
        if resources
            .as_object()
            .is_some_and(|fields| !fields.is_empty())
        {
            errors.forbidden(&at.child("resources"), FORBIDDEN);
        }
        let mounts = at.child("volumeMounts");
        for (index, mount) in container.items("volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.text(field).is_empty() {
                    errors.forbidden(&mounts.index(index).child(field), FORBIDDEN);
                }
            }
        }
    }
}

fn names_of<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    spec.items(list)
        .iter()
        .map(|container| container.text("name"))
}

fn check_common(container: &Value, pod: &Pod, at: &At, errors: &mut Errors) {
    let name = container.text("name");
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        errors.all_invalid(&at.child("name"), name, names::dns1123_label(name));
    }
    if container.text("image").is_empty() {
        errors.required(&at.child("image"), "");
    }
    errors.one_of(
        &at.child("terminationMessagePolicy"),
        container.text("terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    );
    check_ports(container, &at.child("ports"), errors);
    env::check(container, at, errors);
    volumes::check_mounts(container, &pod.volumes, at, errors);
    errors.one_of(
        &at.child("imagePullPolicy"),
        container.text("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    resources::check(
        container.at("resources"),
        &pod.claims,
        &at.child("resources"),
        errors,
    );
    check_resize(
        container,
        pod.restart_policy,
        &at.child("resizePolicy"),
        errors,
    );
    security::check_container(
        container.at("securityContext"),
        pod.host_users,
        &at.child("securityContext"),
        errors,
    );
}

fn check_ports(container: &Value, list: &At, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, port) in container.items("ports").iter().enumerate() {
        let at = list.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            let messages = names::port_name(name);
            if !messages.is_empty() {
                errors.all_invalid(&at.child("name"), name, messages);
            } else if !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
        match port.int("containerPort").unwrap_or(0) {
            0 => errors.required(&at.child("containerPort"), ""),
            number => check_number(number, &at.child("containerPort"), errors),
        }
        if let Some(number) = port.int("hostPort").filter(|number| *number != 0) {
            check_number(number, &at.child("hostPort"), errors);
        }
        errors.one_of(&at.child("protocol"), port.text("protocol"), &PROTOCOLS);
    }
}

fn check_number(number: i64, at: &At, errors: &mut Errors) {
    for message in names::port_number(number) {
        errors.invalid(at, number, message);
    }
}

/// Two containers cannot have the same port of the host.
fn check_host_ports(containers: &[Value], list: &At, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let place = list.index(index);
        let ports = place.child("ports");
        for (index, port) in container.items("ports").iter().enumerate() {
            let number = port.int("hostPort").unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if !seen.insert(key.clone()) {
                errors.duplicate(&ports.index(index).child("hostPort"), key);
            }
        }
    }
}

fn check_resize(container: &Value, restart_policy: &str, at: &At, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for policy in container.items("resizePolicy") {
        let resource = policy.text("resourceName");
        if !seen.insert(resource) {
            errors.duplicate(at, resource);
        }
        errors.one_of(at, resource, &["cpu", "memory"]);
        let restart = policy.text("restartPolicy");
        errors.one_of(at, restart, &["NotRequired", "RestartContainer"]);
        if restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid(
                at,
                restart,
                "must be 'NotRequired' when pod `restartPolicy` is 'Never'",
            );
        }
    }
}

fn check_restart_policy(container: &Value, at: &At, errors: &mut Errors) {
    let rules = container.items("restartPolicyRules");
    let field = at.child("restartPolicy");
    if !container.has("restartPolicy") {
        if !rules.is_empty() {
            errors.required(
                &field,
                "must specify restartPolicy when restart rules are used",
            );
        }
    } else {
        let policy = container.text("restartPolicy");
        let known = ["Always", "Never", "OnFailure"];
        if !known.contains(&policy) {
            errors.not_supported(&field, policy, &known);
        }
    }
    let list = at.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.too_many(&list, rules.len(), 20);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = list.index(index);
        let actions = ["Restart", "RestartAllContainers"];
        if !actions.contains(&rule.text("action")) {
            errors.not_supported(&at.child("action"), rule.text("action"), &actions);
        }
        let codes = rule.at("exitCodes");
        let at = at.child("exitCodes");
        if codes.is_null() {
            errors.required(&at, "must be specified");
            continue;
        }
        if !["In", "NotIn"].contains(&codes.text("operator")) {
            errors.not_supported(
                &at.child("operator"),
                codes.text("operator"),
                &["In", "NotIn"],
            );
        }
        if codes.items("values").len() > 255 {
            errors.too_many(&at.child("values"), codes.items("values").len(), 255);
        }
    }
}

/// What holds for pods but not for templates, which other systems fill in.
pub(super) fn check_images(spec: &Value, at: &At, errors: &mut Errors) {
    for list in ["containers", "initContainers"] {
        let place = at.child(list);
        for (index, container) in spec.items(list).iter().enumerate() {
            check_image_space(container, &place.index(index), errors);
        }
    }
}

fn check_image_space(container: &Value, at: &At, errors: &mut Errors) {
    let image = container.text("image");
    if image.trim() != image {
        errors.invalid(
            &at.child("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
}
