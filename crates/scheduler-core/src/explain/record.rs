//! Decisions remembered: a ring of compact records, written when a pod is placed, put into words only when somebody asks.
//!
//! A record holds numbers that the decision had at hand anyway, so keeping it costs about as much as copying it. Invariant: a record
//! is answered only for the pod that it is about; what a reused row or id once meant is never taken for its new user.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scores::{NodeScore, PluginScore, Scores};
use crate::classes::{Choice, Note, Noted, UNSCORED};
use crate::cluster::{Cluster, NodeId, PodId};
use crate::core::Core;
use crate::objects::Text;
use crate::plugins::{Plugin, Range, Reach};
use crate::profile::Profile;

/// How many decisions are remembered unless told otherwise: about 5 MB.
pub const REMEMBERED: usize = 16_384;

/// A decision as it was taken.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// On the clock of the one who drives the core.
    #[serde(skip)]
    pub at: Duration,
    pub seconds_ago: f64,
    pub nodes: usize,
    pub feasible: usize,
    pub scores: Scores,
}

pub(crate) struct Records {
    capacity: usize,
    ring: Vec<Record>,
    /// Where the next record goes; the oldest one is there once the ring is full.
    next: usize,
}

struct Record {
    pod: PodId,
    uid: u64,
    at: Duration,
    profile: usize,
    nodes: u32,
    feasible: u32,
    /// The serials of the rows of the chosen node and of the runner-up.
    serials: (u64, u64),
    note: Note,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            capacity: REMEMBERED,
            ring: Vec::new(),
            next: 0,
        }
    }
}

/// A place that nothing was written to yet.
const BLANK: Record = Record {
    pod: PodId::MAX,
    uid: 0,
    at: Duration::ZERO,
    profile: 0,
    nodes: 0,
    feasible: 0,
    serials: (0, 0),
    note: Note::BLANK,
};

impl Records {
    /// Where the next choice is noted: in its place in the ring, so that keeping it copies nothing. `None`: nothing is recorded. Who
    /// writes there must call [`Records::keep`].
    pub fn note(&mut self) -> Option<&mut Note> {
        if self.capacity == 0 {
            return None;
        }
        if self.next == self.ring.len() {
            self.ring.push(BLANK);
        }
        self.ring.get_mut(self.next).map(|record| &mut record.note)
    }

    /// Keeps what was noted of this choice. A choice that was not made among nodes (a nominated one) has no scores to keep.
    pub fn keep(
        &mut self,
        cluster: &Cluster,
        pod: PodId,
        profile: usize,
        choice: Choice,
        at: Duration,
    ) {
        let Some(record) = self.ring.get_mut(self.next) else {
            return;
        };
        if !std::mem::take(&mut record.note.is_set) {
            return;
        }
        let serial = |node: NodeId| {
            let entry = cluster.nodes.entries.get(node as usize);
            entry.map_or(0, |entry| entry.serial)
        };
        record.pod = pod;
        record.uid = fingerprint(&cluster.pod(pod).uid);
        record.at = at;
        record.profile = profile;
        record.nodes = cluster.node_count() as u32;
        record.feasible = choice.feasible as u32;
        record.serials = (serial(choice.node), serial(record.note.runner_up.node));
        self.next += 1;
        if self.next == self.capacity {
            self.next = 0;
        }
    }

    /// The newest record of a pod.
    fn find(&self, pod: PodId, uid: &Text) -> Option<&Record> {
        let uid = fingerprint(uid);
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        newest_first
            .into_iter()
            .find(|record| record.pod == pod && record.uid == uid)
    }
}

/// Enough to tell the users of one id apart: the ends of a uid, which is random.
fn fingerprint(uid: &str) -> u64 {
    let bytes = uid.as_bytes();
    let number = |part: Option<&[u8; 8]>| part.map_or(0, |part| u64::from_le_bytes(*part));
    let (first, last) = (bytes.first_chunk(), bytes.last_chunk());
    match (first, last) {
        (None, _) => bytes
            .iter()
            .fold(1, |sum, byte| sum << 8 | u64::from(*byte)),
        (first, last) => number(first) ^ number(last).rotate_left(29),
    }
}

impl Core {
    /// How many decisions are remembered; 0 remembers none. What was remembered is forgotten.
    pub fn remember_decisions(&mut self, capacity: usize) {
        self.records = Records {
            capacity,
            ..Records::default()
        };
    }

    /// The recorded decision about a pod that is known, if it is still remembered.
    pub fn recorded(&self, key: &str, now: Duration) -> Option<Recorded> {
        let id = self.cluster.pod_id(key)?;
        let record = self.records.find(id, &self.cluster.pod(id).uid)?;
        let name = |node: NodeId, serial: u64| {
            let entry = self.cluster.nodes.entries.get(node as usize)?;
            (entry.serial == serial && !entry.name.is_empty()).then(|| entry.name.clone())
        };
        let profile = &self.profiles[record.profile];
        let note = &record.note;
        let score = |noted: &Noted, serial| {
            let name = name(noted.node, serial).unwrap_or_else(|| "(a node that is gone)".into());
            node_score(profile, note, noted, name)
        };
        let second = (note.runner_up.node != NodeId::MAX).then_some(&note.runner_up);
        Some(Recorded {
            at: record.at,
            seconds_ago: now.saturating_sub(record.at).as_secs_f64(),
            nodes: record.nodes as usize,
            feasible: record.feasible as usize,
            scores: Scores::new(
                score(&note.chosen, record.serials.0),
                second.map(|second| score(second, record.serials.1)),
            ),
        })
    }
}

fn node_score(profile: &Profile, note: &Note, noted: &Noted, node: Text) -> NodeScore {
    let one = |plugin: &dyn Plugin, weight: i64, raw: Option<i64>, range: Option<&Range>| {
        let score = match (raw, range) {
            (None, _) => 0,
            (Some(raw), None) => raw,
            (Some(raw), Some(range)) => plugin.normalize(raw, *range),
        };
        PluginScore::new(plugin.name(), weight, raw, score)
    };
    let mut plugins = Vec::new();
    let object = profile.scores_of(Reach::Object).zip(&noted.objects);
    for (((plugin, weight), raw), range) in object.zip(&note.objects) {
        plugins.push(one(plugin, weight, Some(*raw), Some(range)));
    }
    for (index, (plugin, weight)) in profile.scores_of(Reach::Node).enumerate().take(4) {
        let raw = i64::from(noted.parts >> (8 * index) & 0xff);
        plugins.push(one(plugin, weight, Some(raw), None));
    }
    let topology = profile.scores_of(Reach::Topology).zip(&noted.topology);
    for (((plugin, weight), raw), range) in topology.zip(&note.topology) {
        let raw = (*raw != UNSCORED).then_some(*raw);
        plugins.push(one(plugin, weight, raw, Some(range)));
    }
    NodeScore::new(profile, node, noted.score, plugins)
}
