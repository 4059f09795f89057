//! What must be on the machine, as a table: a file that shows it is there, and the Debian package that brings it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process::find;

/// (what is looked for: a program, or a file by its absolute path; package)
type Need = (&'static str, &'static str);

/// For nodes: a container runtime, its plugins, and the tools that set a node's network up.
const RUN: &[Need] = &[
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];

/// For the tests: real peers to talk to.
const TEST: &[Need] = &[
    ("etcd", "etcd-server"),
    ("docker-registry", "docker-registry"),
    ("kubectl", "kubernetes-client"),
    ("curl", "curl"),
    ("busybox", "busybox-static"),
];

pub fn run(tests: bool) -> anyhow::Result<()> {
    let needs = RUN.iter().chain(if tests { TEST } else { &[] });
    let missing: Vec<&str> = needs
        .filter(|(what, _)| !is_there(what))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    install(&missing)
}

fn is_there(what: &str) -> bool {
    match what.starts_with('/') {
        true => Path::new(what).exists(),
        false => find(what).is_some(),
    }
}

/// Services that packages bring must not start by themselves: clusters and tests start their own, where they want them.
const POLICY: &str = "/usr/sbin/policy-rc.d";

fn install(packages: &[&str]) -> anyhow::Result<()> {
    if find("apt-get").is_none() {
        bail!(
            "this machine has no apt-get; install what brings these Debian packages: {}",
            packages.join(" ")
        );
    }
    apt(&["update"])?;
    let own_policy = !Path::new(POLICY).exists();
    if own_policy {
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {POLICY} (set-up needs root)"))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(POLICY, mode)?;
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    let outcome = apt(&arguments);
    if own_policy {
        std::fs::remove_file(POLICY)?;
    }
    outcome
}

/// Quiet when it works, everything it said when it does not.
pub fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("cannot run apt-get")?;
    if !done.status.success() {
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        bail!("apt-get {} failed:\n{out}{err}", arguments.join(" "));
    }
    Ok(())
}
