//! Writes a set of files so that a reader sees all of the old or all of the new: the files
//! lie in a directory with a time in its name, `..data` points to it, and every visible
//! name points through `..data`. Replacing that one link replaces everything.

use super::at;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    /// The owner, where it is not root.
    pub user: Option<u32>,
}

/// Files by relative path.
pub(super) type Files = BTreeMap<String, File>;

const DATA: &str = "..data";

/// Makes `directory` show exactly these files; does nothing if it does already.
pub(super) fn write(directory: &Path, files: &Files, group: Option<u32>) -> Result<(), String> {
    at(directory, fs::create_dir_all(directory))?;
    at(
        directory,
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)),
    )?;
    for path in files.keys() {
        check(path)?;
    }
    let old = fs::read_link(directory.join(DATA)).ok();
    if old
        .as_ref()
        .is_some_and(|old| same(&directory.join(old), files))
    {
        return Ok(());
    }
    let fresh = fresh_name(directory);
    write_all(&directory.join(&fresh), files, group)?;
    let temporary = directory.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    at(&temporary, symlink(&fresh, &temporary))?;
    at(directory, fs::rename(&temporary, directory.join(DATA)))?;
    link_names(directory, files)?;
    if let Some(old) = old {
        let old = directory.join(old);
        at(&old, fs::remove_dir_all(&old))?;
    }
    Ok(())
}

/// Paths must be relative, stay inside, and not begin like our own names.
fn check(path: &str) -> Result<(), String> {
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(format!("invalid path {path:?} in a volume"));
    }
    Ok(())
}

/// "..2026_11_24_03_42_47.123456789", which did not exist before.
fn fresh_name(directory: &Path) -> PathBuf {
    let mut now = jiff::Timestamp::now();
    loop {
        let name = format!(
            "..{}.{:09}",
            now.strftime("%Y_%m_%d_%H_%M_%S"),
            now.subsec_nanosecond()
        );
        if !directory.join(&name).exists() {
            return name.into();
        }
        now += jiff::SignedDuration::from_nanos(1);
    }
}

fn write_all(directory: &Path, files: &Files, group: Option<u32>) -> Result<(), String> {
    at(directory, fs::create_dir(directory))?;
    at(
        directory,
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)),
    )?;
    for (name, file) in files {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            at(parent, fs::create_dir_all(parent))?;
        }
        at(&path, fs::write(&path, &file.data))?;
        // With a group of its own the volume is readable by that group.
        let mode = if group.is_some() {
            file.mode | ((file.mode & 0o400) >> 3)
        } else {
            file.mode
        };
        at(
            &path,
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)),
        )?;
        if group.is_some() || file.user.is_some() {
            at(&path, chown(&path, file.user, group))?;
        }
    }
    Ok(())
}

/// True when the directory holds exactly these files with these contents.
fn same(directory: &Path, files: &Files) -> bool {
    let mut seen = BTreeSet::new();
    list(directory, Path::new(""), &mut seen);
    seen.len() == files.len()
        && files.iter().all(|(name, file)| {
            seen.contains(Path::new(name))
                && fs::read(directory.join(name)).is_ok_and(|data| data == file.data)
        })
}

fn list(directory: &Path, prefix: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = prefix.join(entry.file_name());
        if entry.path().is_dir() {
            list(&entry.path(), &name, into);
        } else {
            into.insert(name);
        }
    }
}

/// The names that users see, each a link through `..data`; removes those that went.
fn link_names(directory: &Path, files: &Files) -> Result<(), String> {
    let wanted: BTreeSet<&str> = files
        .keys()
        .filter_map(|name| name.split('/').next())
        .collect();
    for name in &wanted {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            at(&link, symlink(Path::new(DATA).join(name), &link))?;
        }
    }
    for entry in at(directory, fs::read_dir(directory))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            at(&entry.path(), fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |data: &str| File {
            data: data.into(),
            mode: 0o644,
            user: None,
        };
        list.iter()
            .map(|(name, data)| ((*name).to_owned(), file(data)))
            .collect()
    }

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap()
    }

    #[test]
    fn a_change_replaces_everything_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(path, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(
            (read(path, "a"), read(path, "d/b")),
            ("1".into(), "2".into())
        );
        let before = fs::read_link(path.join(DATA)).unwrap();
        write(path, &files(&[("a", "9"), ("c", "3")]), None).unwrap();
        assert_eq!((read(path, "a"), read(path, "c")), ("9".into(), "3".into()));
        assert!(!path.join("d").exists());
        assert!(!path.join(before).exists());
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let directory = tempfile::tempdir().unwrap();
        let set = files(&[("a", "1")]);
        write(directory.path(), &set, None).unwrap();
        let before = fs::read_link(directory.path().join(DATA)).unwrap();
        write(directory.path(), &set, None).unwrap();
        assert_eq!(fs::read_link(directory.path().join(DATA)).unwrap(), before);
    }

    #[test]
    fn paths_may_not_leave() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["../x", "/x", "..x", ""] {
            assert!(
                write(directory.path(), &files(&[(name, "")]), None).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn modes_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let set = Files::from([(
            "a".to_owned(),
            File {
                data: vec![],
                mode: 0o400,
                user: None,
            },
        )]);
        write(directory.path(), &set, None).unwrap();
        let mode = fs::metadata(directory.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o400);
    }
}
