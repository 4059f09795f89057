//! Volumes without content of their own: empty directories, tmpfs, paths of the node.

use super::at;
use fluyt_kubelet_core::amount::value;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// An empty directory, on disk or in memory, writable by everyone as upstream's is.
pub(super) fn empty_dir(
    path: &Path,
    source: &EmptyDirVolumeSource,
    group: Option<u32>,
) -> Result<(), String> {
    let medium = source.medium.as_deref().unwrap_or_default();
    match medium {
        "" => {}
        "Memory" => tmpfs(path, source.size_limit.as_ref().map(value))?,
        other => return Err(format!("emptyDir medium {other:?} is not supported")),
    }
    at(path, fs::create_dir_all(path))?;
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    at(
        path,
        fs::set_permissions(path, fs::Permissions::from_mode(mode)),
    )?;
    if let Some(group) = group {
        at(path, chown(path, None, Some(group)))?;
    }
    Ok(())
}

/// A tmpfs at that directory, unless one is there.
pub(super) fn tmpfs(path: &Path, size_bytes: Option<i64>) -> Result<(), String> {
    at(path, fs::create_dir_all(path))?;
    if is_mount_point(path) {
        return Ok(());
    }
    let data = size_bytes
        .filter(|size| *size > 0)
        .map(|size| format!("size={size}"));
    let mounted = mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
        data.as_deref(),
    );
    mounted.map_err(|error| format!("{}: tmpfs: {error}", path.display()))
}

/// True when the directory is on another device than its parent.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let parent = path.parent().and_then(|parent| fs::metadata(parent).ok());
    match (fs::metadata(path), parent) {
        (Ok(own), Some(parent)) => own.dev() != parent.dev(),
        _ => false,
    }
}

/// A path of the node, checked and created as its type asks.
pub(super) fn host_path(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            at(&path, fs::create_dir_all(&path))?;
            at(
                &path,
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)),
            )?;
        }
        "FileOrCreate" if !path.exists() => {
            at(&path, fs::File::create(&path))?;
            at(
                &path,
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)),
            )?;
        }
        _ => {}
    }
    let found = fs::metadata(&path)
        .ok()
        .map(|metadata| metadata.file_type());
    let fits = |check: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(check);
    let (good, noun) = match kind {
        "" => return Ok(path),
        "Directory" | "DirectoryOrCreate" => (fits(fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (fits(fs::FileType::is_file), "a file"),
        "Socket" => (fits(FileTypeExt::is_socket), "a socket file"),
        "CharDevice" => (fits(FileTypeExt::is_char_device), "a character device"),
        "BlockDevice" => (fits(FileTypeExt::is_block_device), "a block device"),
        other => return Err(format!("hostPath type {other:?} is not known")),
    };
    if good {
        Ok(path)
    } else {
        Err(format!(
            "hostPath type check failed: {} is not {noun}",
            path.display()
        ))
    }
}

/// A path inside a volume, created as a directory if absent; refuses to lead outside.
pub(crate) fn within(volume: &Path, sub_path: &str) -> Result<PathBuf, String> {
    if sub_path.split('/').any(|part| part == "..") {
        return Err(format!("subPath {sub_path:?} must not contain \"..\""));
    }
    let path = volume.join(sub_path.trim_start_matches('/'));
    if fs::symlink_metadata(&path).is_err() {
        at(&path, fs::create_dir_all(&path))?;
    }
    let real = at(&path, path.canonicalize())?;
    let root = at(volume, volume.canonicalize())?;
    if real.starts_with(&root) {
        Ok(real)
    } else {
        Err(format!("subPath {sub_path:?} leads out of its volume"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_paths_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        assert!(within(directory.path(), "a/b").unwrap().ends_with("a/b"));
        assert!(within(directory.path(), "../x").is_err());
        std::os::unix::fs::symlink("/etc", directory.path().join("out")).unwrap();
        assert!(within(directory.path(), "out").is_err());
    }

    #[test]
    fn host_paths_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let source = |name: &str, kind: &str| HostPathVolumeSource {
            path: directory.path().join(name).to_string_lossy().into_owned(),
            type_: Some(kind.to_owned()),
        };
        for (name, kind, good) in [
            ("new", "DirectoryOrCreate", true),
            ("new", "File", false),
            ("file", "FileOrCreate", true),
            ("file", "Directory", false),
            ("absent", "Directory", false),
            ("absent", "", true),
            ("file", "Socket", false),
        ] {
            assert_eq!(
                host_path(&source(name, kind)).is_ok(),
                good,
                "{name} {kind}"
            );
        }
    }

    #[test]
    fn an_empty_directory_is_everyones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        empty_dir(&path, &EmptyDirVolumeSource::default(), None).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o777
        );
    }
}
