//! Checks of what a pod and its containers may do to the machine.

use fluyt_api::names;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;

fn check_id(context: &Value, field: &str, at: &At, errors: &mut Errors) {
    if let Some(id) = context.int(field) {
        for message in names::unix_id(id) {
            errors.invalid(&at.child(field), id, message);
        }
    }
}

/// Checks the security context of a container.
pub(super) fn check_container(context: &Value, host_users: bool, at: &At, errors: &mut Errors) {
    if context.is_null() {
        return;
    }
    check_id(context, "runAsUser", at, errors);
    check_id(context, "runAsGroup", at, errors);
    if context.has("procMount") {
        let (mount, at) = (context.text("procMount"), at.child("procMount"));
        if !matches!(mount, "Default" | "Unmasked") {
            errors.not_supported(&at, mount, &["Default", "Unmasked"]);
        }
        if host_users && mount == "Unmasked" {
            errors.invalid(&at, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    check_profile(context, "seccompProfile", at, errors);
    if context.flag("allowPrivilegeEscalation") == Some(false) {
        if context.is_true("privileged") {
            errors.invalid(
                at,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let added = context.at("capabilities").items("add");
        if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            errors.invalid(at, context.clone(), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    check_profile(context, "appArmorProfile", at, errors);
}

/// A seccomp or AppArmor profile: a type, and a local profile's name exactly when it is one.
fn check_profile(context: &Value, field: &str, at: &At, errors: &mut Errors) {
    let profile = context.at(field);
    if profile.is_null() {
        return;
    }
    let at = at.child(field);
    let local = profile.text("localhostProfile");
    let name = at.child("localhostProfile");
    match profile.text("type") {
        "Localhost" => {
            if local.is_empty() {
                errors.required(&name, "must be set when seccomp type is Localhost");
            } else if field == "seccompProfile" && (local.starts_with('/') || local.contains(".."))
            {
                let why = if local.starts_with('/') {
                    "must be a relative path"
                } else {
                    "must not contain '..'"
                };
                errors.invalid(&name, local, why);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.has("localhostProfile") {
                errors.invalid(
                    &name,
                    local,
                    "can only be set when seccomp type is Localhost",
                );
            }
        }
        "" => errors.required(
            &at.child("type"),
            "type is required when seccompProfile is set",
        ),
        other => errors.not_supported(
            &at.child("type"),
            other,
            &["Localhost", "RuntimeDefault", "Unconfined"],
        ),
    }
}

/// Checks the security context of a pod; `spec` is at `parent`.
pub(super) fn check_pod(spec: &Value, parent: &At, errors: &mut Errors) {
    let context = spec.at("securityContext");
    let at = parent.child("securityContext");
    check_id(context, "fsGroup", &at, errors);
    check_id(context, "runAsUser", &at, errors);
    check_id(context, "runAsGroup", &at, errors);
    let groups = at.child("supplementalGroups");
    for (index, group) in context.items("supplementalGroups").iter().enumerate() {
        let id = group.as_i64().unwrap_or(0);
        for message in names::unix_id(id) {
            errors.invalid(&groups.index(index), id, message);
        }
    }
    if spec.is_true("shareProcessNamespace") && spec.is_true("hostPID") {
        errors.invalid(
            &parent.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    check_sysctls(spec, context, &at, errors);
    for (field, allowed) in [
        ("fsGroupChangePolicy", ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", ["Merge", "Strict"]),
        ("seLinuxChangePolicy", ["MountOption", "Recursive"]),
    ] {
        if context.has(field) && !allowed.contains(&context.text(field)) {
            errors.not_supported(&at.child(field), context.text(field), &allowed);
        }
    }
    check_profile(context, "seccompProfile", &at, errors);
    check_profile(context, "appArmorProfile", &at, errors);
    check_host_users(spec, parent, errors);
}

fn check_sysctls(spec: &Value, context: &Value, at: &At, errors: &mut Errors) {
    let list = at.child("sysctls");
    let mut seen: Vec<String> = Vec::new();
    for (index, sysctl) in context.items("sysctls").iter().enumerate() {
        let at = list.index(index);
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
            continue;
        }
        let valid = name.len() <= 253
            && name.split(['.', '/']).all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
            });
        if !valid {
            errors.invalid(&at.child("name"), name, "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        }
        let dotted = name.replace('/', ".");
        if seen.contains(&dotted) {
            errors.duplicate(&at.child("name"), name);
        }
        if spec.is_true("hostNetwork") && dotted.starts_with("net.") {
            errors.invalid(
                &at.child("name"),
                name,
                "may not be specified when 'hostNetwork' is true",
            );
        }
        if spec.is_true("hostIPC") && (dotted.starts_with("kernel.") || dotted.starts_with("fs.")) {
            errors.invalid(
                &at.child("name"),
                name,
                "may not be specified when 'hostIPC' is true",
            );
        }
        seen.push(dotted);
    }
}

fn check_host_users(spec: &Value, at: &At, errors: &mut Errors) {
    if spec.flag("hostUsers") != Some(false) {
        return;
    }
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.is_true(field) {
            errors.forbidden(&at.child(shown), "when `hostUsers` is false");
        }
    }
}
