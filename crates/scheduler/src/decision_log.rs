//! `--decision-log FILE`: every decision with its scores, one JSON object a line, so that "why there?" can be answered after a
//! restart and long after the scheduler has forgotten.
//!
//! Written in the background; when the disk is slower than decisions, the newest lines are dropped and counted. Bounded: at its limit
//! the file is renamed to FILE.1, which replaces the one before.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::explain::Recorded;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

const QUEUE: usize = 65_536;
/// Bytes.
const LIMIT: u64 = 256 * 1024 * 1024;

#[derive(Clone)]
pub struct DecisionLog {
    path: Arc<PathBuf>,
    sender: mpsc::Sender<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    pod: String,
    uid: String,
    at: jiff::Timestamp,
    decision: Recorded,
}

impl DecisionLog {
    /// Errors: the file cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = append(path).with_context(|| format!("--decision-log {}", path.display()))?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let own = path.to_owned();
        std::thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || write_all(&own, file, receiver))
            .context("--decision-log: cannot start its thread")?;
        Ok(Self {
            path: Arc::new(path.to_owned()),
            sender,
        })
    }

    pub fn write(&self, pod: &PodRef, decision: Recorded) {
        let line = Line {
            pod: pod.key().into(),
            uid: pod.uid.to_string(),
            at: jiff::Timestamp::now(),
            decision,
        };
        if self.sender.try_send(line).is_err() {
            tracing::debug!("--decision-log: the disk does not keep up, a decision is left out");
        }
    }

    /// The newest decision about a pod. Reads the whole file, off the runtime's threads.
    pub async fn find(&self, pod: &str) -> Option<Recorded> {
        let (path, pod) = (self.path.clone(), pod.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            find_in(&path, &pod).or_else(|| find_in(&older(&path), &pod))
        });
        found.await.ok().flatten()
    }
}

fn append(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn write_all(path: &Path, file: std::fs::File, mut receiver: mpsc::Receiver<Line>) {
    let mut size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut file = std::io::BufWriter::new(file);
    while let Some(line) = receiver.blocking_recv() {
        let Ok(mut text) = serde_json::to_vec(&line) else {
            continue;
        };
        text.push(b'\n');
        size += text.len() as u64;
        let mut outcome = file.write_all(&text);
        if receiver.is_empty() {
            outcome = outcome.and_then(|()| file.flush());
        }
        if size >= LIMIT {
            outcome = outcome
                .and_then(|()| file.flush())
                .and_then(|()| std::fs::rename(path, older(path)))
                .and_then(|()| append(path))
                .map(|new| file = std::io::BufWriter::new(new));
            size = 0;
        }
        if let Err(error) = outcome {
            tracing::warn!("--decision-log {}: {error}; it ends here", path.display());
            return;
        }
    }
}

fn find_in(path: &Path, pod: &str) -> Option<Recorded> {
    let file = std::fs::File::open(path).ok()?;
    let wanted = format!("{{\"pod\":{},", serde_json::Value::from(pod));
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let line = lines.filter(|line| line.starts_with(&wanted)).last()?;
    let line: Line = serde_json::from_str(&line).ok()?;
    let mut decision = line.decision;
    let age = jiff::Timestamp::now().duration_since(line.at);
    decision.seconds_ago = Duration::try_from(age).unwrap_or_default().as_secs_f64();
    Some(decision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluyt_scheduler_core::core::{Core, Outcome};
    use serde_json::json;

    #[tokio::test]
    async fn decisions_are_found_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("decisions");
        let mut core = Core::default();
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "9"}}});
        core.apply_node(&serde_json::from_value(node).unwrap(), Duration::ZERO);
        let pod = json!({"metadata": {"name": "p", "namespace": "default", "uid": "1"},
                         "spec": {"schedulerName": "default-scheduler", "containers": [{}]}});
        core.apply_pod(&serde_json::from_value(pod).unwrap(), Duration::ZERO);
        let Some(Outcome::Placed(decision)) = core.schedule_one(Duration::ZERO) else {
            panic!("the pod fits");
        };
        let recorded = core.recorded("default/p", Duration::ZERO).unwrap();
        let log = DecisionLog::open(&path).unwrap();
        log.write(&decision.pod, recorded.clone());
        let again = DecisionLog::open(&path).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let found = loop {
            if let Some(found) = again.find("default/p").await {
                break found;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the line is never written"
            );
            tokio::task::yield_now().await;
        };
        assert_eq!(found.scores, recorded.scores);
        assert!(again.find("default/q").await.is_none());
    }
}
