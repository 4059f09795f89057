//! What if somebody applied this manifest: where would its pods go now, how many fit, and what runs out first.
//!
//! The replicas are placed one after the other, as decisions would, on the picture of the cluster itself, and taken out again in the
//! reverse order before anybody else looks: ids are given back so that the next pods get those that they would have got anyway.
//! Not considered: pods that wait already, preemption, and the priority of the manifest's pods over others.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::manifest::{Kind, Manifest};
use super::{Explanation, NodesBy, Why};
use crate::cluster::{NodeId, PodId};
use crate::core::Core;
use crate::objects::{Pod, Text};
use crate::plugins::{node_affinity, taint_toleration};
use crate::preemption::{lift_reservations, restore_reservations};
use crate::spec::Spec;

/// Replicas that are tried at most: about as much work as so many decisions, in one go.
pub const MOST_REPLICAS: usize = 10_000;

/// A question about a manifest being answered. [`WhatIf::step`] until it says that it is done, then [`WhatIf::finish`].
pub struct WhatIf {
    manifest: Manifest,
    why: Why,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfAnswer {
    pub kind: Text,
    pub name: Text,
    pub namespace: Text,
    /// How many are wanted; for a DaemonSet the nodes that its selectors and tolerations let in.
    pub replicas: usize,
    /// How many of them were tried.
    pub tried: usize,
    pub fit: usize,
    /// By node, in the order of the nodes.
    pub placements: Vec<Placement>,
    /// What the first replica that finds no place is told by how many nodes: the most frequent is what runs out first.
    pub runs_out: Vec<NodesBy>,
    pub summary: String,
    /// About the first of them.
    pub first: Explanation,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    pub node: Text,
    pub pods: usize,
}

impl WhatIf {
    pub fn new(core: &Core, manifest: Manifest) -> Self {
        let why = Why::of_template(core, &manifest.template);
        Self { manifest, why }
    }

    /// Works on, looking at about `rows` nodes; true when what remains is to place the replicas.
    pub fn step(&mut self, core: &mut Core, rows: usize) -> bool {
        self.why.step(core, rows)
    }

    /// Nobody wants the answer any more.
    pub fn abandon(self, core: &mut Core) {
        self.why.abandon(core);
    }

    pub fn finish(self, core: &mut Core, now: Duration) -> WhatIfAnswer {
        let first = self.why.finish(core, now);
        let manifest = self.manifest;
        let outcome = match manifest.mode {
            Kind::DaemonSet => daemons(core, &manifest, &first),
            Kind::Pod | Kind::Replicated => replicas(core, &manifest),
        };
        let mut answer = WhatIfAnswer {
            kind: manifest.kind,
            name: manifest.name,
            namespace: manifest.namespace,
            replicas: outcome.wanted,
            tried: outcome.tried,
            fit: outcome.placements.iter().map(|one| one.pods).sum(),
            placements: outcome.placements,
            runs_out: outcome.runs_out,
            summary: String::new(),
            first,
        };
        answer.summary = answer.summarize();
        answer
    }
}

impl WhatIfAnswer {
    fn summarize(&self) -> String {
        let all = format!(
            "{} of {} replica{}",
            self.fit,
            self.replicas,
            super::changes::plural(self.replicas)
        );
        if self.tried < self.replicas && self.fit == self.tried {
            return format!(
                "all of the {} tried of {} replicas fit",
                self.tried, self.replicas
            );
        }
        match (self.fit == self.replicas, self.runs_out.first()) {
            (true, _) => format!("{all} fit"),
            (false, Some(first)) => format!("{all} fit; what runs out first: {}", first.reason),
            (false, None) => format!("{all} fit"),
        }
    }
}

struct Outcome {
    wanted: usize,
    tried: usize,
    placements: Vec<Placement>,
    runs_out: Vec<NodesBy>,
}

fn replicas(core: &mut Core, manifest: &Manifest) -> Outcome {
    let mut added: Vec<PodId> = Vec::new();
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    let wanted = manifest.replicas;
    let (mut tried, mut runs_out) = (0, Vec::new());
    while tried < wanted.min(MOST_REPLICAS) {
        tried += 1;
        let replica = replica(core, manifest, tried);
        let id = core.cluster.add_pod(&replica);
        added.push(id);
        // A claim that they share gets its devices once, as with a group of pods.
        let together = &mut core.cluster.devices.together;
        together.insert(replica.metadata.uid);
        match place(core, id) {
            Some(node) => *counts.entry(node).or_insert(0) += 1,
            None => {
                runs_out = told_by_last(core, id);
                break;
            }
        }
    }
    let named = |(node, pods): (NodeId, usize)| Placement {
        node: core.cluster.nodes.name(node).clone(),
        pods,
    };
    let placements = counts.into_iter().map(named).collect();
    core.cluster.devices.together.clear();
    for id in added.into_iter().rev() {
        let uid = core.cluster.pod(id).uid.clone();
        core.cluster.settle_devices(&uid);
        core.cluster.remove_pod(id);
    }
    Outcome {
        wanted,
        tried,
        placements,
        runs_out,
    }
}

/// A pod that cannot be taken for one that exists: no real name has a space.
fn replica(core: &Core, manifest: &Manifest, number: usize) -> Pod {
    let mut pod = manifest.template.clone();
    pod.metadata.name = compact_str::format_compact!("{} (what-if {number})", manifest.name);
    pod.metadata.uid = pod.key();
    debug_assert!(core.cluster.pod_id(&pod.key()).is_none());
    pod.spec.node_name = Text::default();
    pod
}

fn place(core: &mut Core, id: PodId) -> Option<NodeId> {
    if core.cluster.node_count() == 0 {
        return None;
    }
    let profile = core.profile_for(id);
    if core.rejected_at_once(id, profile).is_some() || core.demand_of(id).is_err() {
        return None;
    }
    let lifted = lift_reservations(core, id);
    let class = core.class_with_claims(id, profile);
    let choice = core.classes.get(class).choose(&core.profiles[profile]);
    restore_reservations(core, lifted);
    let node = choice?.node;
    core.reserve_devices(id, class, node);
    core.cluster.place_on(id, node);
    Some(node)
}

/// What every node says to the pod that finds no place, most frequent first.
fn told_by_last(core: &mut Core, id: PodId) -> Vec<NodesBy> {
    let key = core.cluster.pod(id).key.clone();
    let Some(mut why) = Why::of_pod(core, &key) else {
        return Vec::new();
    };
    let filtered = why.look_only(core);
    if let Some((_, why)) = why.rejected_at_once(core) {
        let nodes: Vec<NodeId> = core.cluster.nodes.iter().collect();
        return vec![NodesBy::new(core, why, &nodes)];
    }
    let mut by_reason: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for (failing, nodes) in filtered {
        for reason in failing.iter().flat_map(|rejection| &rejection.reasons) {
            by_reason
                .entry(reason.to_string())
                .or_default()
                .extend(&nodes);
        }
    }
    let mut told: Vec<NodesBy> = by_reason
        .into_iter()
        .map(|(reason, nodes)| NodesBy::new(core, reason, &nodes))
        .collect();
    told.sort_by_key(|one| std::cmp::Reverse(one.count));
    told
}

/// A DaemonSet wants a pod on every node that its selectors name and whose taints its pods tolerate.
fn daemons(core: &Core, manifest: &Manifest, first: &Explanation) -> Outcome {
    let spec = Spec::of(&manifest.template, false);
    let wanted_on = |node: &NodeId| {
        let entry = core.cluster.nodes.entry(*node);
        node_affinity::matches(&spec, &entry.name, &entry.facts.labels)
            && !taint_toleration::is_untolerated(&entry.facts.taints, &spec.tolerations)
    };
    let wanted: Vec<Text> = core
        .cluster
        .nodes
        .iter()
        .filter(wanted_on)
        .map(|node| core.cluster.nodes.name(node).clone())
        .collect();
    let mut refused: BTreeMap<&Text, Vec<&str>> = BTreeMap::new();
    for group in &first.filtered {
        for node in &group.nodes {
            let reasons = group.filters.iter().flat_map(|filter| &filter.reasons);
            refused.insert(node, reasons.map(String::as_str).collect());
        }
    }
    let mut by_reason: BTreeMap<&str, Vec<Text>> = BTreeMap::new();
    let mut placements = Vec::new();
    for node in &wanted {
        match refused.get(node) {
            None => placements.push(Placement {
                node: node.clone(),
                pods: 1,
            }),
            Some(reasons) => {
                for reason in reasons {
                    by_reason.entry(reason).or_default().push(node.clone());
                }
            }
        }
    }
    let mut runs_out: Vec<NodesBy> = by_reason
        .into_iter()
        .map(|(reason, nodes)| NodesBy {
            reason: reason.to_owned(),
            count: nodes.len(),
            nodes,
        })
        .collect();
    runs_out.sort_by_key(|one| std::cmp::Reverse(one.count));
    Outcome {
        wanted: wanted.len(),
        tried: wanted.len(),
        placements,
        runs_out,
    }
}
