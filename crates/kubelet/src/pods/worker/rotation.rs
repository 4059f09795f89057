//! Logs are moved away before they grow too large. How soon a log is looked at again
//! depends on how fast it grew: a quiet container's is looked at with the pod.

use super::{Outcome, Task, Worker};
use fluyt_cri::ReopenContainerLogRequest;
use fluyt_kubelet_core::model::State;
use fluyt_kubelet_core::names;
use jiff::{SignedDuration, Timestamp};
use std::fs;
use std::path::{Path, PathBuf};

/// The sizes that a container's log had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    bytes: u64,
    at: Timestamp,
    /// When it would be full at its pace.
    pub full_at: Option<Timestamp>,
}

impl Worker {
    /// Looks at the logs of running containers and moves away those that are full.
    pub(super) fn rotate_logs(&mut self) {
        let now = Timestamp::now();
        let limit = self.context.settings.log_max_bytes;
        let directory = names::pod_log_directory(&self.context.settings.logs, &self.pod);
        let running = self
            .observed
            .containers
            .iter()
            .filter(|container| container.state == State::Running);
        let logs: Vec<(String, PathBuf)> = running
            .map(|container| {
                let log = names::container_log(&container.name, container.restart_count);
                (container.id.clone(), directory.join(log))
            })
            .collect();
        self.growth
            .retain(|id, _| logs.iter().any(|(known, _)| known == id));
        for (id, path) in logs {
            let Ok(bytes) = fs::metadata(&path).map(|metadata| metadata.len()) else {
                continue;
            };
            if bytes >= limit {
                self.growth.remove(&id);
                self.rotate(id, path);
                continue;
            }
            let before = self.growth.get(&id).copied();
            let full_at = before.and_then(|before| full_at(&before, bytes, now, limit));
            self.growth.insert(
                id,
                Growth {
                    bytes,
                    at: now,
                    full_at,
                },
            );
        }
    }

    fn rotate(&mut self, id: String, path: PathBuf) {
        let task = Task::Rotate(id.clone());
        if !self.may_try(&task) {
            return;
        }
        let context = self.context.clone();
        self.spawn(task, async move {
            let files = context.settings.log_max_files;
            let moved = crate::volumes::blocking(move || {
                move_away(&path, files).map_err(|error| format!("{}: {error}", path.display()))
            });
            if let Err(error) = moved.await {
                return Outcome::Other(Err(error));
            }
            let request = ReopenContainerLogRequest { container_id: id };
            let reopened = context.cri.reopen_container_log(request).await;
            Outcome::Other(reopened.map(drop).map_err(|error| error.to_string()))
        });
    }
}

/// When a log that grows as it did will reach the limit; never sooner than in a second.
fn full_at(before: &Growth, bytes: u64, now: Timestamp, limit: u64) -> Option<Timestamp> {
    let grown = bytes.saturating_sub(before.bytes);
    let millis = u64::try_from(now.duration_since(before.at).as_millis()).unwrap_or(0);
    if grown == 0 || millis == 0 {
        return None;
    }
    let left = (limit - bytes).saturating_mul(millis) / grown;
    let left = i64::try_from(left)
        .unwrap_or(i64::MAX)
        .clamp(1000, 3_600_000);
    now.checked_add(SignedDuration::from_millis(left)).ok()
}

/// Renames a log after the time and removes the oldest, so that `files` are left with the
/// one that is written next.
fn move_away(path: &Path, files: usize) -> std::io::Result<()> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    fs::rename(path, path.with_file_name(format!("{name}.{stamp}")))?;
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let prefix = format!("{name}.");
    let mut old: Vec<PathBuf> = fs::read_dir(parent)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .collect();
    old.sort();
    let excess = old.len().saturating_sub(files.saturating_sub(1));
    for path in old.into_iter().take(excess) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_log_is_looked_at_soon() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let before = Growth {
            bytes: 0,
            at: now - SignedDuration::from_secs(10),
            full_at: None,
        };
        let seconds =
            |bytes| full_at(&before, bytes, now, 1000).map(|at| at.duration_since(now).as_secs());
        assert_eq!(seconds(0), None);
        assert_eq!(seconds(100), Some(90));
        assert_eq!(seconds(999), Some(1));
    }

    #[test]
    fn only_so_many_files_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        for day in 1..=4 {
            fs::write(
                directory.path().join(format!("0.log.2026010{day}-000000")),
                "old",
            )
            .unwrap();
        }
        fs::write(&path, "new").unwrap();
        move_away(&path, 3).unwrap();
        let mut names: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names.len(), 2);
        assert_eq!(names[0], "0.log.20260104-000000");
    }
}
