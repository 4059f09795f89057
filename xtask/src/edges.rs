//! The allowed edges between our own crates, as a committed list.
//!
//! A new edge is the rarest kind of change: it decides what a crate may know. The list makes
//! it visible in review; a test fails when the manifests and the list differ in either
//! direction.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const HEADER: &str = "\
# Which of our crates may depend on which; `(dev)` for tests only.
# A new line here is a change of the architecture: see ARCHITECTURE.md.
# `cargo xtask edges --update` rewrites the list from the manifests.
";

fn list_path(root: &Path) -> PathBuf {
    root.join("xtask/edges.txt")
}

/// The edges that the manifests have.
pub fn actual(root: &Path) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("parse cargo metadata")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut edges = BTreeSet::new();
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            // Only our own crates are found by path.
            if dependency["path"].is_null() {
                continue;
            }
            let from = package["name"].as_str().unwrap_or_default();
            let to = dependency["name"].as_str().unwrap_or_default();
            let kind = match dependency["kind"].as_str() {
                Some(kind) => format!(" ({kind})"),
                None => String::new(),
            };
            edges.insert(format!("{from} -> {to}{kind}"));
        }
    }
    Ok(edges)
}

/// The edges that are allowed.
pub fn allowed(root: &Path) -> Result<BTreeSet<String>> {
    let path = list_path(root);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// Compares the manifests with the list, or with `update` rewrites the list.
pub fn run(root: &Path, update: bool) -> Result<()> {
    let actual = actual(root)?;
    if update {
        let lines: String = actual.iter().map(|edge| format!("{edge}\n")).collect();
        std::fs::write(list_path(root), format!("{HEADER}{lines}"))
            .context("write xtask/edges.txt")?;
        return Ok(());
    }
    let allowed = allowed(root)?;
    let new: Vec<_> = actual.difference(&allowed).collect();
    let gone: Vec<_> = allowed.difference(&actual).collect();
    if !new.is_empty() || !gone.is_empty() {
        bail!(
            "xtask/edges.txt and the manifests differ; new edges: {new:?}; edges no longer there: {gone:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_have_the_allowed_edges_and_no_others() {
        run(&crate::codegen::repository_root(), false).expect("the edges are as listed");
    }

    #[test]
    fn pure_crates_stay_at_the_bottom() {
        let edges = actual(&crate::codegen::repository_root()).expect("the manifests are readable");
        for pure in [
            "fluyt-api",
            "fluyt-store",
            "fluyt-cri",
            "fluyt-pki",
            "fluyt-image",
        ] {
            let from_pure = edges
                .iter()
                .find(|edge| edge.starts_with(&format!("{pure} -> ")) && !edge.ends_with("(dev)"));
            assert_eq!(from_pure, None, "{pure} depends on none of our crates");
        }
    }
}
