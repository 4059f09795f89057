//! The cgroup around each pod. The runtime makes the containers' cgroups inside it.
//! Best effort: a machine without a controller runs pods without that limit.

use fluyt_kubelet_core::resources::{CgroupValues, weight};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the controllers are mounted.
enum Hierarchy {
    /// One directory per controller.
    V1(Vec<PathBuf>),
    V2(PathBuf),
}

fn hierarchy() -> Hierarchy {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let of = |kind: &str| -> Vec<PathBuf> {
        let fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        fields
            .filter(|fields| fields.get(2) == Some(&kind))
            .filter_map(|fields| fields.get(1).map(PathBuf::from))
            .collect()
    };
    let v1 = of("cgroup");
    match (v1.is_empty(), of("cgroup2").into_iter().next()) {
        (true, Some(root)) => Hierarchy::V2(root),
        _ => Hierarchy::V1(v1),
    }
}

/// Makes a pod's cgroup and sets its values.
pub(crate) fn create_pod(path: &str, values: &CgroupValues) {
    let relative = path.trim_start_matches('/');
    match hierarchy() {
        Hierarchy::V1(roots) => {
            for root in roots {
                create_v1(&root, relative, values);
            }
        }
        Hierarchy::V2(root) => create_v2(&root, relative, values),
    }
}

fn create_v1(root: &Path, relative: &str, values: &CgroupValues) {
    let directory = root.join(relative);
    let controllers = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let has = |name: &str| controllers.split(',').any(|controller| controller == name);
    if has("cpu") && fs::create_dir_all(&directory).is_ok() {
        set(&directory, "cpu.shares", values.cpu_shares.to_string());
        if values.cpu_quota_us > 0 {
            set(
                &directory,
                "cpu.cfs_period_us",
                values.cpu_period_us.to_string(),
            );
            set(
                &directory,
                "cpu.cfs_quota_us",
                values.cpu_quota_us.to_string(),
            );
        }
    }
    if has("memory") && fs::create_dir_all(&directory).is_ok() && values.memory_limit_bytes > 0 {
        set(
            &directory,
            "memory.limit_in_bytes",
            values.memory_limit_bytes.to_string(),
        );
    }
}

fn create_v2(root: &Path, relative: &str, values: &CgroupValues) {
    let mut directory = root.to_owned();
    for part in relative.split('/') {
        // Each level must pass the controllers on.
        set(
            &directory,
            "cgroup.subtree_control",
            "+cpu +memory +pids +cpuset +io".to_owned(),
        );
        directory.push(part);
        if fs::create_dir_all(&directory).is_err() {
            return;
        }
    }
    set(
        &directory,
        "cgroup.subtree_control",
        "+cpu +memory +pids +cpuset +io".to_owned(),
    );
    set(
        &directory,
        "cpu.weight",
        weight(values.cpu_shares).to_string(),
    );
    if values.cpu_quota_us > 0 {
        set(
            &directory,
            "cpu.max",
            format!("{} {}", values.cpu_quota_us, values.cpu_period_us),
        );
    }
    if values.memory_limit_bytes > 0 {
        set(
            &directory,
            "memory.max",
            values.memory_limit_bytes.to_string(),
        );
    }
}

fn set(directory: &Path, file: &str, value: String) {
    if let Err(error) = fs::write(directory.join(file), value) {
        tracing::debug!(cgroup = %directory.display(), file, %error, "cannot set");
    }
}

/// Removes a cgroup and those inside it; those with processes stay.
pub(crate) fn remove(path: &str) {
    let relative = path.trim_start_matches('/');
    let roots = match hierarchy() {
        Hierarchy::V1(roots) => roots,
        Hierarchy::V2(root) => vec![root],
    };
    for root in roots {
        remove_tree(&root.join(relative));
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // A cgroup is removed by removing its directory although it is full of files.
    let _ = fs::remove_dir(directory);
}
