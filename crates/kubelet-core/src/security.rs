//! Security contexts: the container's settings over the pod's, and what follows from them.

use crate::api::{Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};

/// Paths of /proc and /sys that an ordinary container must not see.
pub const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Paths of /proc that an ordinary container must not change.
pub const READ_ONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// How system calls are filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
    /// A profile's path below the kubelet's seccomp directory.
    Localhost(String),
}

/// What holds for one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    pub privileged: bool,
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub run_as_non_root: bool,
    pub read_only_root: bool,
    pub no_new_privileges: bool,
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    pub seccomp: Seccomp,
    pub unmasked_proc: bool,
    pub supplemental_groups: Vec<i64>,
}

/// What holds for a container of a pod.
pub fn effective(pod: &Pod, container: &Container) -> Effective {
    let pod_context = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.clone());
    let of_pod: PodSecurityContext = pod_context.unwrap_or_default();
    let own: SecurityContext = container.security_context.clone().unwrap_or_default();
    let capabilities = own.capabilities.unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    Effective {
        privileged,
        run_as_user: own.run_as_user.or(of_pod.run_as_user),
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        run_as_non_root: own
            .run_as_non_root
            .or(of_pod.run_as_non_root)
            .unwrap_or(false),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        seccomp: seccomp(
            own.seccomp_profile
                .as_ref()
                .or(of_pod.seccomp_profile.as_ref()),
        ),
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
        supplemental_groups: supplemental_groups(pod),
    }
}

/// The pod's supplemental groups and the group of its volumes.
pub fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let Some(context) = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref())
    else {
        return Vec::new();
    };
    let groups = context.supplemental_groups.iter().flatten().copied();
    groups.chain(context.fs_group).collect()
}

/// The filter that a profile names.
pub fn seccomp(profile: Option<&SeccompProfile>) -> Seccomp {
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.clone())) {
        Some(("RuntimeDefault", _)) => Seccomp::RuntimeDefault,
        Some(("Localhost", path)) => Seccomp::Localhost(path.unwrap_or_default()),
        _ => Seccomp::Unconfined,
    }
}

/// Refuses to run as root what must not; `image_user` is the image's own uid, if numeric,
/// and `image_user_name` its name if not.
pub fn check_non_root(
    effective: &Effective,
    pod: &str,
    container: &str,
    image_user: Option<i64>,
    image_user_name: &str,
) -> Result<(), String> {
    if !effective.run_as_non_root {
        return Ok(());
    }
    match effective.run_as_user {
        Some(0) => Err(format!(
            "container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})"
        )),
        Some(_) => Ok(()),
        None if !image_user_name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({image_user_name}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
        )),
        None if image_user.unwrap_or(0) == 0 => Err(format!(
            "container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_overrides_the_pod() {
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [], "securityContext": {
            "runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
            "seccompProfile": {"type": "RuntimeDefault"}}}}))
            .unwrap();
        let container: Container = serde_json::from_value(json!({"name": "a", "securityContext": {
            "runAsUser": 10, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}})).unwrap();
        let effective = effective(&pod, &container);
        assert_eq!(
            (effective.run_as_user, effective.run_as_group),
            (Some(10), Some(2))
        );
        assert_eq!(effective.supplemental_groups, [4, 3]);
        assert_eq!(effective.seccomp, Seccomp::RuntimeDefault);
        assert!(effective.no_new_privileges);
        assert_eq!(effective.drop_capabilities, ["ALL"]);
    }

    #[test]
    fn non_root_is_verified() {
        let effective = |user| Effective {
            run_as_non_root: true,
            run_as_user: user,
            ..Default::default()
        };
        let table = [
            (Some(0), None, "", false),
            (Some(1), None, "", true),
            (None, Some(0), "", false),
            (None, Some(5), "", true),
            (None, None, "", false),
            (None, None, "www", false),
        ];
        for (user, image, name, allowed) in table {
            let checked = check_non_root(&effective(user), "p", "c", image, name);
            assert_eq!(checked.is_ok(), allowed, "{user:?} {image:?} {name}");
        }
    }
}
