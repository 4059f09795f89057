//! Removes a pod's directory. What is mounted in it is unmounted first and looked for
//! again: nothing is ever deleted through a mount.

use nix::mount::{MntFlags, umount2};
use std::fs;
use std::path::{Path, PathBuf};

/// Removes the directory of a pod and everything mounted below it.
pub(crate) fn remove_pod_directory(directory: &Path, uid: &str) -> Result<(), String> {
    super::token::forget(uid);
    if !directory.exists() {
        return Ok(());
    }
    for mount in mounts_below(directory) {
        umount2(&mount, MntFlags::MNT_DETACH)
            .map_err(|error| format!("unmount {}: {error}", mount.display()))?;
    }
    if let Some(left) = mounts_below(directory).first() {
        return Err(format!("{} is still mounted", left.display()));
    }
    fs::remove_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

/// Mount points at or below a directory, deepest first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|path| path.starts_with(directory))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// The kernel writes a space as \040 and so on.
fn unescape(text: &str) -> PathBuf {
    let table = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    PathBuf::from(
        table
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_are_read() {
        assert_eq!(unescape("/a\\040b"), Path::new("/a b"));
    }

    #[test]
    fn a_directory_goes_with_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let pod = directory.path().join("pod");
        fs::create_dir_all(pod.join("volumes/x")).unwrap();
        remove_pod_directory(&pod, "u").unwrap();
        assert!(!pod.exists());
        remove_pod_directory(&pod, "u").unwrap();
    }
}
