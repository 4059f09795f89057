//! What would make a pod fit: for every node that turns it away the changes that its failing filters call for, alike ones drawn
//! together, the smallest first, each tried before it is told.
//!
//! Bounded: so many different suggestions are weighed, and of those so many are tried; which ones is decided by effort, then by row.

use std::collections::BTreeMap;

use serde::Serialize;
use smallvec::SmallVec;

use super::changes::{Change, missing_labels, stands_for_cordon, words};
use super::pass::{Failing, Pass};
use crate::classes::ClassId;
use crate::cluster::{NodeId, PodId};
use crate::core::Core;
use crate::objects::Text;
use crate::plugins::{Rejection, inter_pod_affinity, node_affinity, pod_topology_spread};

/// Different suggestions weighed; of those tried; of those told.
const WEIGHED: usize = 256;
const TRIED: usize = 12;
const TOLD: usize = 8;
/// Nodes on which evicting pods is tried, and pods tried on each.
const ROOM_NODES: usize = 16;
const ROOM_PODS: usize = 32;

/// A change after which the pod fits: it was made on the picture of the cluster, and every filter agreed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    pub text: String,
    pub changes: Vec<Change>,
    /// Where the pod would fit then.
    pub nodes: Vec<Text>,
    /// Smaller is less of a change; only the order means something.
    pub effort: u64,
    /// It was tried, and it is enough.
    pub sufficient: bool,
}

/// Nodes that one kind of change could open.
pub(super) struct Candidate {
    pub changes: Vec<Change>,
    pub effort: u64,
    /// The node that the amounts are for.
    pub node: NodeId,
    pub nodes: Vec<NodeId>,
}

#[derive(Default)]
pub(super) struct Candidates {
    by_kind: BTreeMap<Vec<Change>, Candidate>,
    /// Nodes where only what others occupy is in the way, with how much that is.
    room: Vec<(u64, NodeId)>,
}

impl Candidates {
    /// What could open this node.
    pub fn consider(&mut self, core: &Core, pass: &Pass, node: NodeId, failing: &Failing) {
        let changes = pod_side(core, pass, node, failing);
        let effort = |changes: &[Change]| {
            changes
                .iter()
                .map(|one| one.effort(&pass.spec))
                .sum::<u64>()
        };
        if failing.iter().all(|rejection| rejection.resolvable) {
            let missing = changes.as_ref().map_or(1000, |changes| effort(changes));
            self.room.push((missing, node));
            if self.room.len() >= 64 * ROOM_NODES {
                self.trim_room();
            }
        }
        let sides = [changes, node_side(core, pass, node, failing)];
        for changes in sides.into_iter().flatten() {
            self.add(effort(&changes), changes, node);
        }
    }

    fn trim_room(&mut self) {
        self.room.sort_unstable();
        self.room.truncate(ROOM_NODES);
    }

    fn add(&mut self, effort: u64, changes: Vec<Change>, node: NodeId) {
        let mut kind: Vec<Change> = changes.iter().map(Change::kind).collect();
        kind.sort();
        if let Some(known) = self.by_kind.get_mut(&kind) {
            known.nodes.push(node);
            if (effort, node) < (known.effort, known.node) {
                (known.effort, known.node, known.changes) = (effort, node, changes);
            }
            return;
        }
        if self.by_kind.len() >= WEIGHED {
            return;
        }
        let candidate = Candidate {
            changes,
            effort,
            node,
            nodes: vec![node],
        };
        self.by_kind.insert(kind, candidate);
    }

    /// The least effort first; those that open more nodes before those that open fewer.
    pub fn take(&mut self) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = std::mem::take(&mut self.by_kind).into_values().collect();
        all.sort_by_key(|one| (one.effort, std::cmp::Reverse(one.nodes.len()), one.node));
        all.truncate(TRIED);
        all
    }

    pub fn room(&mut self) -> Vec<NodeId> {
        self.trim_room();
        self.room.iter().map(|(_, node)| *node).collect()
    }
}

/// Sorted, and no more than people read. A suggestion that contains a smaller one is none.
pub(super) fn order(mut suggestions: Vec<Suggestion>) -> Vec<Suggestion> {
    suggestions.sort_by(|a, b| {
        (a.effort, std::cmp::Reverse(a.nodes.len()), &a.text).cmp(&(
            b.effort,
            std::cmp::Reverse(b.nodes.len()),
            &b.text,
        ))
    });
    suggestions.truncate(TOLD);
    suggestions
}

/// What the pod would have to change for this node; `None`: nothing that it says is (alone) in the way.
fn pod_side(core: &Core, pass: &Pass, node: NodeId, failing: &Failing) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    for rejection in failing {
        match rejection.plugin {
            "NodeUnschedulable" => changes.push(Change::Uncordon),
            "TaintToleration" => tolerate(core, pass, node, failing, &mut changes),
            node_affinity::NAME => select_less(core, pass, node, &mut changes),
            "NodePorts" => drop_ports(core, pass, node, &mut changes),
            "NodeResourcesFit" => ask_for_less(core, pass, node, rejection, &mut changes)?,
            pod_topology_spread::NAME => spread_less(core, pass, node, &mut changes)?,
            inter_pod_affinity::NAME => mind_others_less(core, pass, node, &mut changes)?,
            _ => return None,
        }
    }
    // A cordon is lifted on the node, everything else is said by the pod: the two are not mixed.
    let mixed = changes.contains(&Change::Uncordon);
    (!changes.is_empty() && !mixed).then_some(changes)
}

fn tolerate(core: &Core, pass: &Pass, node: NodeId, failing: &Failing, changes: &mut Vec<Change>) {
    let cordoned = failing.iter().any(|one| one.plugin == "NodeUnschedulable");
    for taint in &core.cluster.nodes.entry(node).facts.taints {
        let tolerated = pass.spec.tolerations.iter().any(|one| one.tolerates(taint));
        if taint.forbids() && !tolerated && !(cordoned && stands_for_cordon(taint)) {
            changes.push(Change::Tolerate {
                key: taint.key.clone(),
                value: taint.value.clone(),
                effect: taint.effect.clone(),
            });
        }
    }
}

fn select_less(core: &Core, pass: &Pass, node: NodeId, changes: &mut Vec<Change>) {
    let entry = core.cluster.nodes.entry(node);
    let labels = &entry.facts.labels;
    for (key, value) in pass.spec.node_selector.iter() {
        if labels.get(key) != Some(value) {
            changes.push(Change::DropNodeSelector {
                key: key.clone(),
                value: value.clone(),
            });
        }
    }
    let required = pass.spec.required_nodes.as_ref();
    let unmet = required.is_some_and(|required| {
        let terms = &required.node_selector_terms;
        !terms
            .iter()
            .any(|term| node_affinity::matches_term(term, &entry.name, labels))
    });
    if unmet {
        changes.push(Change::DropNodeAffinity);
    }
}

fn drop_ports(core: &Core, pass: &Pass, node: NodeId, changes: &mut Vec<Change>) {
    let used = &core.cluster.nodes.entry(node).ports;
    for port in &pass.spec.ports {
        if used.iter().any(|(own, _)| own.conflicts(port)) {
            changes.push(Change::DropHostPort {
                port: port.port,
                protocol: port.protocol.clone(),
                ip: port.ip.clone(),
            });
        }
    }
}

/// `None`: no request is the trouble (the number of pods is), or nothing at all of what it asks for is left.
fn ask_for_less(
    core: &Core,
    pass: &Pass,
    node: NodeId,
    rejection: &Rejection,
    changes: &mut Vec<Change>,
) -> Option<()> {
    for reason in &rejection.reasons {
        let crate::plugins::Reason::Insufficient(resource) = reason else {
            return None;
        };
        let free = free(core, node, resource);
        let wanted = super::changes::amount(&pass.spec, resource);
        if free <= 0 || wanted <= free {
            return None;
        }
        changes.push(Change::AskForLess {
            resource: resource.clone(),
            by: wanted - free,
        });
    }
    Some(())
}

fn free(core: &Core, node: NodeId, resource: &str) -> i64 {
    let nodes = &core.cluster.nodes;
    match resource {
        "cpu" => nodes.cpu.free(node),
        "memory" => nodes.memory.free(node),
        "ephemeral-storage" => nodes.ephemeral_storage.free(node),
        name => nodes
            .scalars
            .get(name)
            .map_or(0, |column| column.free(node)),
    }
}

/// `None`: the constraints are the profile's, not the pod's.
fn spread_less(core: &Core, pass: &Pass, node: NodeId, changes: &mut Vec<Change>) -> Option<()> {
    if pass.spec.spread.is_empty() {
        return None;
    }
    let values = pass.values(&core.cluster, node);
    for (constraint, hard) in pass.plan.hard.iter().enumerate() {
        let key = core
            .cluster
            .key(pass.plan.features[hard.feature].key)
            .name
            .clone();
        match values[hard.feature] {
            None => changes.push(Change::SoftenSpread { constraint, key }),
            Some(count) => {
                let skew = count + i64::from(hard.self_match) - pass.least(constraint);
                if skew > hard.max_skew {
                    let to = i32::try_from(skew).ok()?;
                    changes.push(Change::RaiseMaxSkew {
                        constraint,
                        key,
                        to,
                    });
                }
            }
        }
    }
    Some(())
}

/// `None`: it is other pods that mind this one.
fn mind_others_less(
    core: &Core,
    pass: &Pass,
    node: NodeId,
    changes: &mut Vec<Change>,
) -> Option<()> {
    let plan = &pass.plan;
    let values = pass.values(&core.cluster, node);
    let above = |feature: usize| values[feature].is_some_and(|count| count > 0);
    if plan
        .existing_anti_affinity
        .iter()
        .any(|feature| above(*feature))
    {
        return None;
    }
    let unmet = plan
        .affinity
        .iter()
        .enumerate()
        .filter(|(_, feature)| !above(**feature));
    // The first of several goes last, so that indices hold while they are applied.
    for (term, feature) in unmet.collect::<SmallVec<[_; 4]>>().into_iter().rev() {
        changes.push(Change::DropAffinity {
            term,
            key: core.cluster.key(plan.features[*feature].key).name.clone(),
        });
    }
    for feature in plan.anti_affinity.iter().filter(|feature| above(**feature)) {
        changes.push(Change::DropAntiAffinity {
            key: core.cluster.key(plan.features[*feature].key).name.clone(),
        });
    }
    Some(())
}

/// What would have to be done to the node: a cordon lifted, labels added.
fn node_side(core: &Core, pass: &Pass, node: NodeId, failing: &Failing) -> Option<Vec<Change>> {
    let facts = &core.cluster.nodes.entry(node).facts;
    let mut changes = Vec::new();
    for rejection in failing {
        match rejection.plugin {
            "NodeUnschedulable" => changes.push(Change::Uncordon),
            "TaintToleration" => {
                let forbids = |taint: &&crate::objects::Taint| {
                    taint.forbids() && !pass.spec.tolerations.iter().any(|one| one.tolerates(taint))
                };
                if !facts.taints.iter().filter(forbids).all(stands_for_cordon) {
                    return None;
                }
            }
            node_affinity::NAME => {
                let missing = missing_labels(&pass.spec, &facts.labels)?;
                let label = |(key, value)| Change::LabelNode { key, value };
                changes.extend(missing.into_iter().map(label));
            }
            _ => return None,
        }
    }
    (!changes.is_empty()).then_some(changes)
}

/// Tries changes of nodes: on each that it is for, until so many were tried.
pub(super) fn try_on_nodes(
    core: &mut Core,
    class: ClassId,
    candidate: &Candidate,
) -> Option<Suggestion> {
    let mut nodes = Vec::new();
    for &node in candidate.nodes.iter().take(ROOM_NODES) {
        // A node may have gone since the pass looked at it.
        let present = core.cluster.nodes.is_present(node);
        if present && fits_after(core, class, node, &candidate.changes) {
            nodes.push(core.cluster.nodes.name(node).clone());
        }
    }
    (!nodes.is_empty()).then(|| told(candidate.changes.clone(), nodes, candidate.effort))
}

fn fits_after(core: &mut Core, class: ClassId, node: NodeId, changes: &[Change]) -> bool {
    let mut facts = core.cluster.nodes.entry(node).facts.clone();
    for change in changes {
        match change {
            Change::Uncordon => {
                facts.unschedulable = false;
                facts.taints.retain(|taint| !stands_for_cordon(taint));
            }
            Change::LabelNode { key, value } => {
                let own = facts.labels.iter().filter(|(own, _)| *own != key);
                let own = own.map(|(k, v)| (k.clone(), v.clone()));
                facts.labels = own.chain([(key.clone(), value.clone())]).collect();
            }
            _ => return false,
        }
    }
    let before = core.cluster.swap_facts(node, facts);
    let fits = check(core, class, node);
    core.cluster.swap_facts(node, before);
    core.classes.refresh(class, &core.cluster, &core.profiles);
    fits
}

fn check(core: &mut Core, class: ClassId, node: NodeId) -> bool {
    core.classes.refresh(class, &core.cluster, &core.profiles);
    let class = core.classes.get(class);
    class
        .check(&core.profiles[class.plan().profile], node)
        .is_ok()
}

/// Pods whose end would make room: on the nodes where least is missing, one pod if one is enough, else the fewest large ones.
pub(super) fn make_room(core: &mut Core, class: ClassId, nodes: &[NodeId]) -> Option<Suggestion> {
    let mut best: Option<(usize, i64, NodeId, Vec<PodId>)> = None;
    for &node in nodes {
        let Some(pods) = room_on(core, class, node) else {
            continue;
        };
        let freed = pods
            .iter()
            .map(|id| core.cluster.pod_spec(*id).requests.milli_cpu)
            .sum();
        let better = best
            .as_ref()
            .is_none_or(|(count, least, ..)| (pods.len(), freed) < (*count, *least));
        if better {
            best = Some((pods.len(), freed, node, pods));
        }
    }
    let (_, _, node, pods) = best?;
    let change = Change::Remove {
        owner: common_owner(core, &pods),
        pods: pods
            .iter()
            .map(|id| core.cluster.pod(*id).key.clone())
            .collect(),
    };
    let effort = 70 + 20 * pods.len() as u64;
    let name = core.cluster.nodes.name(node).clone();
    Some(told(vec![change], vec![name], effort))
}

fn room_on(core: &mut Core, class: ClassId, node: NodeId) -> Option<Vec<PodId>> {
    if !core.cluster.nodes.is_present(node) {
        return None;
    }
    let mut pods: Vec<PodId> = core.cluster.nodes.entry(node).pods.clone();
    let size = |core: &Core, id: PodId| {
        let requests = &core.cluster.pod_spec(id).requests;
        (requests.milli_cpu, requests.memory)
    };
    // Those on their way out already are no advice.
    pods.retain(|id| !core.cluster.pod(*id).terminating);
    pods.sort_by_key(|id| (size(core, *id), *id));
    for &id in pods.iter().take(ROOM_PODS) {
        if fits_without(core, class, node, &[id]) {
            return Some(vec![id]);
        }
    }
    let largest: Vec<PodId> = pods.iter().rev().copied().take(ROOM_PODS).collect();
    if !fits_without(core, class, node, &largest) {
        return None;
    }
    let enough =
        (1..=largest.len()).find(|count| fits_without(core, class, node, &largest[..*count]))?;
    Some(largest[..enough].to_vec())
}

fn fits_without(core: &mut Core, class: ClassId, node: NodeId, pods: &[PodId]) -> bool {
    for id in pods {
        core.cluster.lift(*id);
    }
    let fits = check(core, class, node);
    for id in pods {
        core.cluster.place_on(*id, node);
    }
    core.classes.refresh(class, &core.cluster, &core.profiles);
    fits
}

fn common_owner(core: &Core, pods: &[PodId]) -> Option<Text> {
    let mut owners = pods
        .iter()
        .map(|id| core.cluster.pod_identity(*id).owner.as_ref());
    let first = owners.next()??;
    owners
        .all(|owner| {
            owner.is_some_and(|owner| owner.name == first.name && owner.kind == first.kind)
        })
        .then(|| compact_str::format_compact!("{} {}", first.kind, first.name))
}

/// Asks the changed pod about the nodes of its kind; the pass stays open until it is complete.
pub(super) fn trial(core: &mut Core, pass: &Pass, candidate: &Candidate) -> Pass {
    let mut spec = (*pass.spec).clone();
    for change in &candidate.changes {
        change.apply(&mut spec);
    }
    let demand = pass.plan.demand.clone();
    Pass::new(core, spec, pass.identity.clone(), pass.profile, demand).only(candidate.nodes.clone())
}

pub(super) fn outcome(core: &Core, trial: &Pass, candidate: Candidate) -> Option<Suggestion> {
    let name = |node: &NodeId| core.cluster.nodes.name(*node).clone();
    let nodes: Vec<Text> = trial.feasible.iter().map(name).collect();
    (!nodes.is_empty()).then(|| told(candidate.changes, nodes, candidate.effort))
}

fn told(changes: Vec<Change>, nodes: Vec<Text>, effort: u64) -> Suggestion {
    let who = match nodes.as_slice() {
        [one] => format!("{one} fits"),
        many => format!("{} nodes fit", many.len()),
    };
    Suggestion {
        text: format!("{who} {}", words(&changes)),
        changes,
        nodes,
        effort,
        sufficient: true,
    }
}
