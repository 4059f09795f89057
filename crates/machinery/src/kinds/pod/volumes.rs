//! Checks of volumes and of how containers mount them.

use std::collections::BTreeSet;

use fluyt_api::names;
use serde_json::Value;

use super::env;
use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::meta::NameRule;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Checks the volumes of a pod; gives those that containers may mount: the valid ones.
/// `pod` is the pod's name where it is known.
pub(super) fn check<'a>(
    spec: &'a Value,
    pod: &str,
    list: &At,
    errors: &mut Errors,
) -> Vec<(&'a str, &'a Value)> {
    let mut valid: Vec<(&str, &Value)> = Vec::new();
    for (index, volume) in spec.items("volumes").iter().enumerate() {
        let at = list.index(index);
        let name = volume.text("name");
        let before = errors.len();
        check_source(volume, pod, &at, errors);
        let at = at.child("name");
        if name.is_empty() {
            errors.required(&at, "");
        } else {
            errors.all_invalid(&at, name, names::dns1123_label(name));
        }
        if valid.iter().any(|(known, _)| *known == name) {
            errors.duplicate(&at, name);
        }
        if errors.len() == before {
            valid.push((name, volume));
        }
    }
    valid
}

/// Exactly one source, and what each demands. The fields are those of the sources in the order in
/// which upstream looks at them.
fn check_source(volume: &Value, pod: &str, at: &At, errors: &mut Errors) {
    let mut sources = 0;
    for (name, source) in volume.as_object().into_iter().flatten() {
        if name == "name" || source.is_null() {
            continue;
        }
        sources += 1;
        let at = at.child(name);
        if sources > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        check_one(name, source, &at, errors);
        if name == "ephemeral" && !pod.is_empty() {
            check_claim_name(pod, volume.text("name"), &at, errors);
        }
    }
    if sources == 0 {
        errors.required(at, "must specify a volume type");
    }
}

fn check_claim_name(pod: &str, volume: &str, at: &At, errors: &mut Errors) {
    let claim = format!("{pod}-{volume}");
    for message in NameRule::Subdomain.check(&claim, false) {
        errors.invalid(
            &at.child("name"),
            volume,
            format!("PVC name {claim:?}: {message}"),
        );
    }
}

fn check_one(name: &str, source: &Value, at: &At, errors: &mut Errors) {
    match name {
        "emptyDir" if source.text("sizeLimit").starts_with('-') => {
            errors.forbidden(
                &at.child("sizeLimit"),
                "SizeLimit field must be a valid resource quantity",
            );
        }
        "hostPath" => check_host_path(source, at, errors),
        "secret" => check_files(source, "secretName", at, errors),
        "configMap" => check_files(source, "name", at, errors),
        "downwardAPI" => {
            check_mode(source, "defaultMode", at, errors);
            for file in source.items("items") {
                check_downward_file(file, at, errors);
            }
        }
        "projected" => check_projected(source, at, errors),
        "persistentVolumeClaim" => require(source, &["claimName"], at, errors),
        "nfs" => {
            require(source, &["server", "path"], at, errors);
            if !source.text("path").is_empty() && !source.text("path").starts_with('/') {
                errors.invalid(
                    &at.child("path"),
                    source.text("path"),
                    "must be an absolute path",
                );
            }
        }
        "csi" => require(source, &["driver"], at, errors),
        "ephemeral" if !source.has("volumeClaimTemplate") => {
            errors.required(&at.child("volumeClaimTemplate"), "");
        }
        "image" => {
            require(source, &["reference"], at, errors);
            let policy = source.text("pullPolicy");
            if !matches!(policy, "Always" | "Never" | "IfNotPresent") {
                errors.not_supported(
                    &at.child("pullPolicy"),
                    policy,
                    &["Always", "IfNotPresent", "Never"],
                );
            }
        }
        _ => {}
    }
}

fn require(source: &Value, fields: &[&str], at: &At, errors: &mut Errors) {
    for field in fields {
        if source.text(field).is_empty() {
            errors.required(&at.child(field), "");
        }
    }
}

fn check_host_path(source: &Value, at: &At, errors: &mut Errors) {
    const TYPES: [&str; 8] = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    let path = source.text("path");
    if path.is_empty() {
        errors.required(&at.child("path"), "");
        return;
    }
    check_backsteps(path, &at.child("path"), errors);
    let kind = source.text("type");
    if !TYPES.contains(&kind) {
        errors.not_supported(&at.child("type"), kind, &TYPES);
    }
}

fn check_mode(source: &Value, field: &str, at: &At, errors: &mut Errors) {
    if let Some(mode) = source.int(field)
        && !(0..=0o777).contains(&mode)
    {
        errors.invalid(&at.child(field), mode, MODE);
    }
}

/// A secret or config map as files.
fn check_files(source: &Value, name: &str, at: &At, errors: &mut Errors) {
    require(source, &[name], at, errors);
    check_mode(source, "defaultMode", at, errors);
    let list = at.child("items");
    for (index, item) in source.items("items").iter().enumerate() {
        check_item(item, &list.index(index), errors);
    }
}

fn check_item(item: &Value, at: &At, errors: &mut Errors) {
    require(item, &["key", "path"], at, errors);
    check_local_path(item.text("path"), &at.child("path"), errors);
    check_mode(item, "mode", at, errors);
}

fn check_downward_file(file: &Value, at: &At, errors: &mut Errors) {
    require(file, &["path"], at, errors);
    check_local_path(file.text("path"), &at.child("path"), errors);
    if file.has("fieldRef") {
        let field = at.child("fieldRef");
        env::check_field(file.at("fieldRef"), &env::VOLUME_FIELDS, &field, errors);
        if file.has("resourceFieldRef") {
            errors.invalid(
                at,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            );
        }
    } else if file.has("resourceFieldRef") {
        let field = at.child("resourceFieldRef");
        env::check_resource(file.at("resourceFieldRef"), true, &field, errors);
    } else {
        errors.required(at, "one of fieldRef and resourceFieldRef is required");
    }
    check_mode(file, "mode", at, errors);
}

fn check_projected(volume: &Value, at: &At, errors: &mut Errors) {
    check_mode(volume, "defaultMode", at, errors);
    let list = at.child("sources");
    let mut paths = BTreeSet::new();
    for (index, source) in volume.items("sources").iter().enumerate() {
        let place = list.index(index);
        let mut sources = 0;
        for (name, part) in source.as_object().into_iter().flatten() {
            if part.is_null() {
                continue;
            }
            sources += 1;
            let part_at = place.child(name);
            match name.as_str() {
                "secret" | "configMap" => {
                    require(part, &["name"], &part_at, errors);
                    let items = part_at.child("items");
                    for (index, item) in part.items("items").iter().enumerate() {
                        check_item(item, &items.index(index), errors);
                        check_unique(item.text("path"), part.text("name"), &mut paths, at, errors);
                    }
                }
                "downwardAPI" => {
                    for file in part.items("items") {
                        check_downward_file(file, &part_at, errors);
                        check_unique(file.text("path"), file.text("path"), &mut paths, at, errors);
                    }
                }
                "serviceAccountToken" => check_token(part, at, &part_at, errors),
                _ => {}
            }
        }
        if sources > 1 {
            errors.forbidden(&place, "may not specify more than 1 volume type per source");
        }
    }
}

fn check_unique<'a>(
    path: &'a str,
    shown: &str,
    paths: &mut BTreeSet<&'a str>,
    at: &At,
    errors: &mut Errors,
) {
    if !path.is_empty() && !paths.insert(path) {
        errors.invalid(at, shown, "conflicting duplicate paths");
    }
}

fn check_token(token: &Value, volume: &At, at: &At, errors: &mut Errors) {
    let seconds = token.int("expirationSeconds").unwrap_or(0);
    let field = at.child("expirationSeconds");
    if seconds < 600 {
        errors.invalid(
            &field,
            seconds,
            "may not specify a duration less than 10 minutes",
        );
    }
    if seconds > 1 << 32 {
        errors.invalid(
            &field,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    let path = token.text("path");
    if path.is_empty() {
        errors.required(&volume.child("path"), "");
    } else {
        check_local_path(path, &volume.child("path"), errors);
    }
}

/// A path inside a volume that does not climb out of it.
fn check_descending(path: &str, at: &At, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    check_backsteps(path, at, errors);
}

fn check_backsteps(path: &str, at: &At, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// As above; names that begin with two dots are the volume's own.
fn check_local_path(path: &str, at: &At, errors: &mut Errors) {
    check_descending(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}

/// Checks `volumeMounts` and `volumeDevices` of a container.
pub(super) fn check_mounts(
    container: &Value,
    volumes: &[(&str, &Value)],
    at: &At,
    errors: &mut Errors,
) {
    let list = at.child("volumeMounts");
    let devices = container.items("volumeDevices");
    let mut paths = BTreeSet::new();
    for (index, mount) in container.items("volumeMounts").iter().enumerate() {
        let at = list.index(index);
        let (name, path) = (mount.text("name"), mount.text("mountPath"));
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        }
        if !volumes.iter().any(|(known, _)| *known == name) {
            errors.not_found(&at.child("name"), name);
        }
        if path.is_empty() {
            errors.required(&at.child("mountPath"), "");
        }
        if !paths.insert(path) {
            errors.invalid(&at.child("mountPath"), path, "must be unique");
        }
        if devices.iter().any(|device| device.text("name") == name) {
            errors.invalid(
                &at.child("name"),
                name,
                "must not already exist in volumeDevices",
            );
        }
        if devices.iter().any(|d| d.text("devicePath") == path) {
            errors.invalid(
                &at.child("mountPath"),
                path,
                "must not already exist as a path in volumeDevices",
            );
        }
        check_mount_options(mount, container, &at, &list, errors);
    }
    check_devices(container, volumes, at, errors);
}

fn check_mount_options(mount: &Value, container: &Value, at: &At, list: &At, errors: &mut Errors) {
    let (sub_path, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    check_descending(sub_path, &list.child("subPath"), errors);
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            errors.invalid(
                &at.child("subPathExpr"),
                expression,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
        check_descending(expression, &list.child("subPathExpr"), errors);
    }
    let propagation = mount.text("mountPropagation");
    if mount.has("mountPropagation") {
        let at = list.child("mountPropagation");
        let known = ["Bidirectional", "HostToContainer", "None"];
        if !known.contains(&propagation) {
            errors.not_supported(&at, propagation, &known);
        }
        if propagation == "Bidirectional" && !container.at("securityContext").is_true("privileged")
        {
            errors.forbidden(
                &at,
                "Bidirectional mount propagation is available only to privileged containers",
            );
        }
    }
    let at = list.child("recursiveReadOnly");
    match mount.text("recursiveReadOnly") {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.is_true("readOnly") {
                errors.forbidden(&at, "may only be specified when readOnly is true");
            }
            if !matches!(propagation, "" | "None") {
                errors.forbidden(
                    &at,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        other => errors.not_supported(&at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn check_devices(container: &Value, volumes: &[(&str, &Value)], at: &At, errors: &mut Errors) {
    let list = at.child("volumeDevices");
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in container.items("volumeDevices").iter().enumerate() {
        let at = list.index(index);
        let (name, path) = (device.text("name"), device.text("devicePath"));
        let source = volumes.iter().find(|(known, _)| *known == name);
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        }
        if !names.insert(name) {
            errors.invalid(&at.child("name"), name, "must be unique");
        }
        match source {
            None => errors.not_found(&at.child("name"), name),
            Some((_, volume)) => {
                if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") {
                    errors.invalid(&at.child("name"), name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
                }
            }
        }
        if path.is_empty() {
            errors.required(&at.child("devicePath"), "");
        }
        if !paths.insert(path) {
            errors.invalid(&at.child("devicePath"), path, "must be unique");
        }
        if path.split('/').any(|part| part == "..") {
            errors.invalid(
                &at.child("devicePath"),
                path,
                "can not contain backsteps ('..')",
            );
        }
    }
}
