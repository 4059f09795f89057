//! Checks of environment variables and their sources.

use fluyt_api::names;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::meta::NameRule;

/// Fields of a pod that a variable may take its value from.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that a file may be made of.
pub(super) const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Fields that any reference may name, so that another is an error of its own kind.
const FIELD_LABELS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks `env` and `envFrom` of a container.
pub(super) fn check(container: &Value, at: &At, errors: &mut Errors) {
    let list = at.child("env");
    for (index, variable) in container.items("env").iter().enumerate() {
        let at = list.index(index);
        let name = variable.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            errors.all_invalid(&at.child("name"), name, names::environment_variable(name));
        }
        if variable.has("valueFrom") {
            check_source(variable, &at.child("valueFrom"), errors);
        }
    }
    let list = at.child("envFrom");
    for (index, source) in container.items("envFrom").iter().enumerate() {
        check_from(source, &list.index(index), &list, errors);
    }
}

fn check_source(variable: &Value, at: &At, errors: &mut Errors) {
    let source = variable.at("valueFrom");
    let mut sources = 0;
    if source.has("fieldRef") {
        sources += 1;
        check_field(
            source.at("fieldRef"),
            &ENV_FIELDS,
            &at.child("fieldRef"),
            errors,
        );
    }
    if source.has("resourceFieldRef") {
        sources += 1;
        let at = at.child("resourceFieldRef");
        check_resource(source.at("resourceFieldRef"), false, &at, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if source.has(name) {
            sources += 1;
            check_key(source.at(name), &at.child(name), errors);
        }
    }
    if source.has("fileKeyRef") {
        sources += 1;
        let (file, at) = (source.at("fileKeyRef"), at.child("fileKeyRef"));
        for field in ["key", "volumeName", "path"] {
            if file.text(field).is_empty() {
                errors.required(&at.child(field), "");
            }
        }
    }
    if sources == 0 {
        errors.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if !variable.text("value").is_empty() {
        errors.invalid(at, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(
            at,
            "",
            "may not have more than one field specified at a time",
        );
    }
}

fn check_key(reference: &Value, at: &At, errors: &mut Errors) {
    let (name, key) = (reference.text("name"), reference.text("key"));
    errors.all_invalid(
        &at.child("name"),
        name,
        NameRule::Subdomain.check(name, false),
    );
    if key.is_empty() {
        errors.required(&at.child("key"), "");
    } else {
        errors.all_invalid(&at.child("key"), key, names::config_map_key(key));
    }
}

fn check_from(source: &Value, at: &At, list: &At, errors: &mut Errors) {
    let prefix = source.text("prefix");
    if !prefix.is_empty() {
        errors.all_invalid(
            &at.child("prefix"),
            prefix,
            names::environment_variable(prefix),
        );
    }
    let mut sources = 0;
    for name in ["configMapRef", "secretRef"] {
        if !source.has(name) {
            continue;
        }
        sources += 1;
        let at = at.child(name);
        let at = at.child("name");
        match source.at(name).text("name") {
            "" => errors.required(&at, ""),
            name => errors.all_invalid(&at, name, NameRule::Subdomain.check(name, true)),
        }
    }
    match sources {
        0 => errors.invalid(
            list,
            "",
            "must specify one of: `configMapRef` or `secretRef`",
        ),
        1 => {}
        _ => errors.invalid(
            list,
            "",
            "may not have more than one field specified at a time",
        ),
    }
}

/// Checks a reference to a field of the pod.
pub(super) fn check_field(reference: &Value, allowed: &[&str], at: &At, errors: &mut Errors) {
    let version = reference.text("apiVersion");
    if version.is_empty() {
        errors.required(&at.child("apiVersion"), "");
        return;
    }
    let path = reference.text("fieldPath");
    let field = at.child("fieldPath");
    if path.is_empty() {
        errors.required(&field, "");
        return;
    }
    let (base, subscript) = match path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        Some((base, key)) => (base, Some(key)),
        None => (path, None),
    };
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        errors.invalid(&field, path, why);
        return;
    }
    if !FIELD_LABELS.contains(&base) {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        errors.invalid(&field, path, why);
        return;
    }
    match (subscript, base) {
        (Some(key), "metadata.annotations") => {
            let key = key.to_lowercase();
            errors.all_invalid(at, &key, names::qualified_name(&key));
        }
        (Some(key), "metadata.labels") => errors.all_invalid(at, key, names::qualified_name(key)),
        (Some(_), base) => errors.invalid(at, base, "does not support subscript"),
        (None, base) if !allowed.contains(&base) => errors.not_supported(&field, base, allowed),
        _ => {}
    }
}

/// Checks a reference to what a container asks for or may use.
pub(super) fn check_resource(reference: &Value, volume: bool, at: &At, errors: &mut Errors) {
    let resource = reference.text("resource");
    if volume && reference.text("containerName").is_empty() {
        errors.required(&at.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !RESOURCES.contains(&resource)
        && !resource.starts_with("limits.hugepages-")
        && !resource.starts_with("requests.hugepages-")
    {
        errors.not_supported(&at.child("resource"), resource, &RESOURCES);
    }
    check_divisor(resource, reference.text("divisor"), at, errors);
}

fn check_divisor(resource: &str, divisor: &str, at: &At, errors: &mut Errors) {
    if matches!(divisor, "" | "0") {
        return;
    }
    let at = at.child("divisor");
    let cpu = resource.ends_with(".cpu");
    let bytes = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    if cpu && !matches!(divisor, "1m" | "1") {
        errors.invalid(
            &at,
            resource,
            "only divisor's values 1m and 1 are supported with the cpu resource",
        );
    } else if !cpu && !bytes.contains(&divisor) {
        let what = match resource.rsplit('.').next() {
            Some("memory") => "memory",
            Some("ephemeral-storage") => "local ephemeral storage",
            _ => "hugepages",
        };
        errors.invalid(
            &at,
            resource,
            format!(
                "only divisor's values {} are supported with the {what} resource",
                bytes.join(", ")
            ),
        );
    }
}
