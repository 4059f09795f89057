//! `--record FILE`: everything that the core is told, and what it decided, as JSON lines with times, for [`crate::replay`].
//!
//! The first line holds the configuration and the seed. Also written is what this scheduler tells the core itself: how bindings ended,
//! claims that it wrote, and what extenders made of a pod. Invariant: the lines up to any one of them are enough to repeat what the
//! core did until then. The file is bounded: at its limit the recording ends, with a line that says so, and the scheduler goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use fluyt_scheduler_core::cluster::devices::ClaimToWrite;
use fluyt_scheduler_core::cluster::devices::objects::ResourceClaim;
use fluyt_scheduler_core::core::{Decision, Outcome, PodRef};
use fluyt_scheduler_core::extended::{Eviction, Refusal};
use fluyt_scheduler_core::objects::Text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Configuration;
use crate::informers::Input;

/// One thing that happened, `at` nanoseconds after the start.
#[derive(Debug, Deserialize, Serialize)]
pub struct Line<I> {
    pub at: u64,
    pub what: What<I>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum What<I> {
    /// The first line.
    Started(Box<Started>),
    /// Informers saw this.
    Input(I),
    /// The core was asked for a decision; `None`: it had none to make.
    Decided(Option<Decided>),
    Bound(Pod),
    BindFailed(Pod),
    /// This scheduler wrote it, and does not wait for the informer.
    Claim(Box<ResourceClaim>),
    Asked(Box<Asked>),
    /// The last line of a file that reached its limit.
    Full,
}

/// About a pod that extenders have a say in: what was asked of the core for them, and what came of it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Asked {
    Scores {
        pod: Pod,
        nodes: Vec<Text>,
    },
    Evictions(Pod),
    Place {
        pod: Pod,
        node: Text,
        score: i64,
        feasible: usize,
        /// `None`: the node did no longer do.
        decided: Option<Decided>,
    },
    Nowhere {
        pod: Pod,
        refusals: Vec<Refusal>,
        evictions: Option<Vec<Eviction>>,
        decided: Option<Decided>,
    },
    Retry(Pod),
}

pub const VERSION: u32 = 2;

/// What the core was made from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    pub version: u32,
    pub seed: Option<u64>,
    pub strict_sampling: bool,
    /// The feature gate GangScheduling.
    #[serde(default)]
    pub gangs: bool,
    /// `--pod-max-in-unschedulable-pods-duration`.
    #[serde(default)]
    pub flush_after: Option<Duration>,
    pub configuration: Configuration,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl From<&PodRef> for Pod {
    fn from(pod: &PodRef) -> Self {
        Self {
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            uid: pod.uid.to_string(),
        }
    }
}

impl From<Pod> for PodRef {
    fn from(pod: Pod) -> Self {
        Self {
            namespace: pod.namespace.into(),
            name: pod.name.into(),
            uid: pod.uid.into(),
        }
    }
}

/// What of a decision must be the same when it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    pub pod: Pod,
    /// Where it goes, or the node on which preemption makes room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feasible: Option<usize>,
    /// Why it goes nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub victims: Vec<Pod>,
    /// The allocation to write by claim (`namespace/name`); null: it has its devices already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Value>,
}

impl From<&Decision> for Decided {
    fn from(decision: &Decision) -> Self {
        Self {
            pod: (&decision.pod).into(),
            node: Some(decision.node.to_string()),
            score: Some(decision.score),
            feasible: Some(decision.feasible),
            message: String::new(),
            victims: Vec::new(),
            claims: decision.claims.iter().map(allocation).collect(),
        }
    }
}

fn allocation(claim: &ClaimToWrite) -> (String, Value) {
    let allocation = claim.allocation.as_deref();
    let written = serde_json::to_value(allocation).unwrap_or_default();
    (claim.key().into(), written)
}

impl From<&Outcome> for Decided {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Placed(decision) => decision.into(),
            Outcome::Unschedulable {
                pod,
                message,
                preemption,
                ..
            } => Self {
                pod: pod.into(),
                node: preemption.as_ref().map(|one| one.node.to_string()),
                score: None,
                feasible: None,
                message: message.clone(),
                victims: preemption
                    .iter()
                    .flat_map(|one| &one.victims)
                    .map(Pod::from)
                    .collect(),
                claims: BTreeMap::new(),
            },
        }
    }
}

/// An open recording. Lines are buffered; [`Record::flush`] is called when there is nothing else to do.
pub struct Record {
    path: PathBuf,
    /// `None` once it is full or could not be written.
    file: Option<BufWriter<File>>,
    /// Bytes that may still be written.
    left: u64,
}

impl Record {
    /// Errors: the file cannot be written.
    pub fn create(path: &Path, limit_bytes: u64, started: Started) -> anyhow::Result<Self> {
        let at_flag = || format!("--record {}", path.display());
        let file = File::create(path).with_context(at_flag)?;
        let mut record = Self {
            path: path.to_owned(),
            file: Some(BufWriter::with_capacity(1 << 18, file)),
            left: limit_bytes,
        };
        record.write(Duration::ZERO, What::Started(Box::new(started)));
        record.flush();
        anyhow::ensure!(record.file.is_some(), "{}: cannot be written", at_flag());
        Ok(record)
    }

    pub fn input(&mut self, input: &Input, now: Duration) {
        self.write(now, What::Input(input));
    }

    pub fn decided(&mut self, outcome: Option<&Outcome>, now: Duration) {
        self.write(now, What::Decided(outcome.map(Decided::from)));
    }

    pub fn claim(&mut self, claim: &ResourceClaim, now: Duration) {
        self.write(now, What::Claim(Box::new(claim.clone())));
    }

    pub fn asked(&mut self, asked: Asked, now: Duration) {
        self.write(now, What::Asked(Box::new(asked)));
    }

    pub fn answered(&mut self, pod: &PodRef, bound: bool, now: Duration) {
        let pod = Pod::from(pod);
        let what = match bound {
            true => What::Bound(pod),
            false => What::BindFailed(pod),
        };
        self.write(now, what);
    }

    fn write(&mut self, now: Duration, what: What<&Input>) {
        if self.file.is_none() {
            return;
        }
        let at = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let line = match serde_json::to_vec(&Line { at, what }) {
            Ok(line) => line,
            Err(error) => return self.give_up(&error.to_string()),
        };
        let size = line.len() as u64 + 1;
        if size > self.left {
            let last: Line<&Input> = Line {
                at,
                what: What::Full,
            };
            self.put(&serde_json::to_vec(&last).unwrap_or_default());
            self.flush();
            return self.give_up("it has reached --record-limit");
        }
        self.left -= size;
        self.put(&line);
    }

    fn put(&mut self, line: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            self.give_up(&error.to_string());
        }
    }

    pub fn flush(&mut self) {
        let flushed = self.file.as_mut().map(BufWriter::flush);
        if let Some(Err(error)) = flushed {
            self.give_up(&error.to_string());
        }
    }

    fn give_up(&mut self, why: &str) {
        tracing::warn!("the recording {} ends: {why}", self.path.display());
        if let Some(file) = self.file.take() {
            // What could not be written before will not be now.
            let _ = file.into_parts();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::informers::Seen;
    use crate::replay;

    fn started() -> Started {
        Started {
            version: VERSION,
            seed: Some(1),
            strict_sampling: false,
            gangs: false,
            flush_after: None,
            configuration: Configuration::default(),
        }
    }

    #[test]
    fn a_recording_ends_at_its_limit_and_can_be_repeated_until_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("decisions.jsonl");
        let mut record = Record::create(&file, 32_768, started()).unwrap();
        for second in 0..1000 {
            record.decided(None, Duration::from_secs(second));
        }
        record.flush();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.len() < 32_768 + 64, "{}", text.len());
        assert!(text.ends_with("\"what\":\"full\"}\n"), "{text}");
        let options = replay::Options { file, quiet: true };
        let summary = replay::run(&options, &mut Vec::new()).unwrap();
        assert_eq!(summary.decisions, 0);
    }

    /// What the informer has not seen yet counts: without the claim as it was written, its device would be free after the binding.
    #[test]
    fn claims_that_were_written_are_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("decisions.jsonl");
        let configuration = Configuration::standard();
        let mut core = crate::new_core(
            &configuration,
            &crate::Registry::default(),
            false,
            None,
            false,
        )
        .unwrap()
        .0;
        let mut intake = crate::intake::Intake::new(true);
        let started = Started {
            configuration,
            seed: None,
            ..started()
        };
        let mut record = Record::create(&file, 1 << 20, started).unwrap();
        let now = Duration::ZERO;
        for input in inputs() {
            record.input(&input, now);
            intake.take(&mut core, input, now, |_| {});
        }
        let mut placed = 0;
        loop {
            let outcome = core.schedule_one(now);
            record.decided(outcome.as_ref(), now);
            let Some(outcome) = outcome else { break };
            let Outcome::Placed(decision) = outcome else {
                continue;
            };
            placed += 1;
            for written in &decision.claims {
                let known = core.cluster().devices.claim(&written.key()).unwrap();
                let mut claim = ResourceClaim::clone(known);
                claim.status.allocation = written.allocation.as_deref().cloned();
                claim.metadata.resource_version = "2".into();
                record.claim(&claim, now);
                core.apply_resource_claim(claim, now);
            }
            record.answered(&decision.pod, true, now);
            core.bound(&decision.pod, now);
        }
        record.flush();
        assert_eq!(placed, 1);
        let options = replay::Options { file, quiet: true };
        let summary = replay::run(&options, &mut Vec::new()).unwrap();
        assert_eq!((summary.decisions, summary.placed), (2, 1));
    }

    /// A node with one device, and two pods that want it.
    fn inputs() -> Vec<Input> {
        use fluyt_client::informer::Event::Applied;
        use serde_json::{from_value, json};
        let amounts = json!({"cpu": "4", "memory": "4Gi", "pods": "9"});
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": amounts}});
        let class = json!({"metadata": {"name": "any"}, "spec": {}});
        let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d", "nodeName": "n", "devices": [{"name": "one"}],
                           "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}}});
        let mut inputs = vec![
            Input::Nodes(vec![Applied(Seen(from_value(node).unwrap()))]),
            Input::DeviceClasses(vec![Applied(Seen(from_value(class).unwrap()))]),
            Input::ResourceSlices(vec![Applied(Seen(from_value(slice).unwrap()))]),
        ];
        for name in ["a", "b"] {
            let claim = json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1"},
                "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "any", "count": 1}}]}}});
            let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
                "spec": {"schedulerName": "default-scheduler", "containers": [{}],
                         "resourceClaims": [{"name": "x", "resourceClaimName": name}]}});
            inputs.push(Input::ResourceClaims(vec![Applied(Seen(
                from_value(claim).unwrap(),
            ))]));
            inputs.push(Input::Pods(vec![Applied(Seen(from_value(pod).unwrap()))]));
        }
        inputs
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let path = Path::new("/nonexistent/decisions.jsonl");
        let error = Record::create(path, 1, started()).err();
        let error = format!("{:#}", error.unwrap());
        assert!(
            error.contains("--record /nonexistent/decisions.jsonl"),
            "{error}"
        );
    }
}
