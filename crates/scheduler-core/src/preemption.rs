//! Preemption: when no node does, evict pods of lower priority from the node where that hurts least.
//!
//! The search removes victims from the picture of the cluster for real, asks the same filters as any decision, and puts them back:
//! there is no second implementation of the rules. The preemptor's place on its nominated node is reserved by placing it there, so
//! that pods of the same or lower priority see it; pods of higher priority are decided without it.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::classes::{Choice, ClassId};
use crate::cluster::{NodeId, PodId};
use crate::core::{Core, PodRef};
use crate::diagnosis::{Diagnosis, preemption_message};
use crate::labels::Selector;
use crate::objects::{PodDisruptionBudget, Text};
use crate::plugins::{Rejection, default_preemption};

pub(crate) const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
pub(crate) const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What preemption decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    pub node: Text,
    /// From the most to the least important.
    pub victims: Vec<PodRef>,
    /// Pods of lower priority that had the node reserved and lose it.
    pub displaced: Vec<PodRef>,
}

/// Disruption budgets, and the places reserved by preemptors.
#[derive(Default)]
pub struct Budgets {
    budgets: BTreeMap<Text, PodDisruptionBudget>,
    pub(crate) reservations: HashMap<PodId, NodeId>,
    /// See [`crate::nominated`].
    pub(crate) held: Vec<(NodeId, PodId)>,
}

impl Budgets {
    pub fn set(&mut self, budget: PodDisruptionBudget) {
        let key =
            compact_str::format_compact!("{}/{}", budget.metadata.namespace, budget.metadata.name);
        self.budgets.insert(key, budget);
    }

    pub fn remove(&mut self, key: &str) {
        self.budgets.remove(key);
    }
}

/// Reservations that this pod need not respect are lifted: its own, and those of pods of lower priority.
pub(crate) fn lift_reservations(core: &mut Core, pod: PodId) -> Vec<(PodId, NodeId)> {
    if core.budgets.reservations.is_empty() {
        return Vec::new();
    }
    let priority = core.cluster.pod(pod).priority;
    let mut lifted: Vec<(PodId, NodeId)> = core
        .budgets
        .reservations
        .iter()
        .map(|(id, node)| (*id, *node))
        // The row of a node that is gone ends with the last pod on it.
        .filter(|(_, node)| core.cluster.nodes.is_present(*node))
        .filter(|(id, _)| *id == pod || core.cluster.pod(*id).priority < priority)
        .collect();
    lifted.sort_unstable();
    for (id, _) in &lifted {
        core.cluster.unplace(*id);
    }
    lifted.retain(|(id, _)| *id != pod);
    lifted
}

pub(crate) fn restore_reservations(core: &mut Core, lifted: Vec<(PodId, NodeId)>) {
    for (id, node) in lifted {
        core.cluster.place_on(id, node);
    }
}

/// A pod that comes with a nominated node (an earlier scheduler made room for it there) keeps its place.
pub(crate) fn adopt_nomination(core: &mut Core, pod: PodId) {
    let name = core.cluster.pod(pod).nominated.clone();
    if name.is_empty() {
        return;
    }
    core.cluster.place(pod, &name);
    if let Some(node) = core.cluster.pod(pod).node {
        core.budgets.reservations.insert(pod, node);
    }
}

/// The node that preemption made room on is tried first.
pub(crate) fn nominated_choice(
    core: &mut Core,
    pod: PodId,
    class: ClassId,
    profile: usize,
) -> Option<Choice> {
    let node = core.budgets.reservations.remove(&pod)?;
    // A place on a node that is gone was not lifted; without its reservation nothing else would give it back.
    core.cluster.unplace(pod);
    core.fits(class, profile, node).ok().map(|()| Choice {
        node,
        score: 0,
        feasible: 1,
    })
}

/// A node on which evictions would make room.
pub(crate) struct Candidate {
    pub node: NodeId,
    pub victims: Vec<PodId>,
    pub violations: usize,
}

/// How many nodes are no candidates, by reason.
type Reasons = BTreeMap<String, usize>;

/// `given`: candidates that someone else chose, to be taken as they are.
pub(crate) fn run(
    core: &mut Core,
    pod: PodId,
    class: ClassId,
    profile: usize,
    diagnosis: &mut Diagnosis,
    given: Option<Vec<Candidate>>,
) -> Option<Preemption> {
    if !core.profiles[profile].filters(default_preemption::NAME) {
        return None;
    }
    let found = match given {
        Some(candidates) => Ok((candidates, Reasons::new())),
        None => find(core, pod, class, profile, diagnosis.nodes),
    };
    let (mut candidates, reasons) = match found {
        Ok(found) => found,
        Err(why) => {
            diagnosis.preemption = Some(format!("preemption: {why}"));
            return None;
        }
    };
    let Some(best) = select(core, &candidates).map(|at| candidates.swap_remove(at)) else {
        diagnosis.preemption = Some(preemption_message(diagnosis.nodes, reasons));
        return None;
    };
    core.cluster.place_on(pod, best.node);
    core.budgets.reservations.insert(pod, best.node);
    Some(Preemption {
        node: core.cluster.nodes.name(best.node).clone(),
        victims: best.victims.iter().map(|id| core.reference(*id)).collect(),
        displaced: Vec::new(),
    })
}

/// Of the reservations that were lifted for the preemptor, all of pods of lower priority, those on its node are given up.
pub(crate) fn displace(
    core: &mut Core,
    preemption: &mut Preemption,
    lifted: &mut Vec<(PodId, NodeId)>,
) {
    let node = core.cluster.nodes.id(&preemption.node);
    for (id, _) in lifted.extract_if(.., |(_, at)| Some(*at) == node) {
        core.budgets.reservations.remove(&id);
        preemption.displaced.push(core.reference(id));
    }
}

/// The nodes on which evictions would make room, and why the others are none. Errors: why the pod may not preempt.
pub(crate) fn find(
    core: &mut Core,
    pod: PodId,
    class: ClassId,
    profile: usize,
    nodes: usize,
) -> Result<(Vec<Candidate>, Reasons), &'static str> {
    if let Some(why) = ineligible(core, pod) {
        return Err(why);
    }
    let helpful = resolvable_nodes(core, class, profile);
    let mut reasons = Reasons::new();
    let hopeless = nodes - helpful.len();
    if hopeless > 0 {
        reasons.insert(NOT_HELPFUL.to_owned(), hopeless);
    }
    let wanted = core.profiles[profile].min_candidates.of(helpful.len());
    let mut candidates = Vec::new();
    for node in helpful {
        match dry_run(core, pod, class, profile, node) {
            Ok(candidate) => candidates.push(candidate),
            Err(None) => *reasons.entry(NO_VICTIMS.to_owned()).or_insert(0) += 1,
            Err(Some(rejection)) => {
                for reason in &rejection.reasons {
                    *reasons.entry(reason.to_string()).or_insert(0) += 1;
                }
            }
        }
        if candidates.len() >= wanted {
            break;
        }
    }
    Ok((candidates, reasons))
}

/// No eviction could help: only says so.
pub(crate) fn hopeless(core: &Core, pod: PodId, profile: usize, diagnosis: &mut Diagnosis) {
    if !core.profiles[profile].filters(default_preemption::NAME) {
        return;
    }
    diagnosis.preemption = Some(match ineligible(core, pod) {
        Some(why) => format!("preemption: {why}"),
        None => {
            let reasons = BTreeMap::from([(NOT_HELPFUL.to_owned(), diagnosis.nodes)]);
            preemption_message(diagnosis.nodes, reasons)
        }
    });
}

pub(crate) fn ineligible(core: &Core, pod: PodId) -> Option<&'static str> {
    let entry = core.cluster.pod(pod);
    if entry.never_preempts {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = core.cluster.nodes.id(&entry.nominated)?;
    let waits = core
        .cluster
        .nodes
        .entry(nominated)
        .pods
        .iter()
        .map(|id| core.cluster.pod(*id))
        .any(|other| other.preempted && other.priority < entry.priority);
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// Nodes where evictions could help at all.
pub(crate) fn resolvable_nodes(core: &mut Core, class: ClassId, profile: usize) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = core.cluster.nodes.iter().collect();
    nodes.retain(|node| {
        let fits = match core.budgets.held.is_empty() {
            true => core
                .classes
                .get(class)
                .check(&core.profiles[profile], *node),
            false => core.fits(class, profile, *node),
        };
        matches!(
            fits,
            Err(Some(Rejection {
                resolvable: true,
                ..
            }))
        )
    });
    nodes
}

/// The least important pods that must go from this node. `Err(None)`: there is nobody to evict.
pub(crate) fn dry_run(
    core: &mut Core,
    pod: PodId,
    class: ClassId,
    profile: usize,
    node: NodeId,
) -> Result<Candidate, Option<Rejection>> {
    let priority = core.cluster.pod(pod).priority;
    let mut lower: Vec<PodId> = core
        .cluster
        .nodes
        .entry(node)
        .pods
        .iter()
        .copied()
        .filter(|id| core.cluster.pod(*id).priority < priority)
        .collect();
    if lower.is_empty() {
        return Err(None);
    }
    sort_by_importance(core, &mut lower);
    for id in &lower {
        core.cluster.lift(*id);
    }
    let fits = |core: &mut Core| core.fits(class, profile, node);
    if let Err(rejection) = fits(core) {
        for id in &lower {
            core.cluster.place_on(*id, node);
        }
        core.classes.refresh(class, &core.cluster, &core.profiles);
        return Err(rejection);
    }
    let (violating, others) = split_by_budget(core, &lower);
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (ids, violates) in [(violating, true), (others, false)] {
        for id in ids {
            core.cluster.place_on(id, node);
            if fits(core).is_err() {
                core.cluster.lift(id);
                victims.push(id);
                violations += usize::from(violates);
            }
        }
    }
    for id in &victims {
        core.cluster.place_on(*id, node);
    }
    core.classes.refresh(class, &core.cluster, &core.profiles);
    sort_by_importance(core, &mut victims);
    Ok(Candidate {
        node,
        victims,
        violations,
    })
}

/// Higher priority first, then who has run for longer.
fn sort_by_importance(core: &Core, pods: &mut [PodId]) {
    pods.sort_by(|a, b| {
        let (a, b) = (core.cluster.pod(*a), core.cluster.pod(*b));
        b.priority
            .cmp(&a.priority)
            .then_with(|| a.started.cmp(&b.started))
            .then_with(|| a.key.cmp(&b.key))
    });
}

/// Those whose eviction a disruption budget does not allow, and the others; both in the given order.
fn split_by_budget(core: &Core, pods: &[PodId]) -> (Vec<PodId>, Vec<PodId>) {
    let budgets: Vec<(&PodDisruptionBudget, Selector)> = core
        .budgets
        .budgets
        .values()
        .map(|budget| (budget, Selector::new(budget.spec.selector.as_ref())))
        .collect();
    let mut allowed: Vec<i32> = budgets
        .iter()
        .map(|(budget, _)| budget.status.disruptions_allowed)
        .collect();
    let violates = |id: &PodId| {
        let identity = core.cluster.pod_identity(*id);
        let name = core.cluster.pod(*id).name();
        let mut violated = false;
        for ((budget, selector), left) in budgets.iter().zip(&mut allowed) {
            let applies = budget.metadata.namespace == identity.namespace
                && !identity.labels.is_empty()
                && !selector.is_empty()
                && selector.matches(&identity.labels)
                && !budget.status.disrupted_pods.contains_key(name);
            if applies {
                *left -= 1;
                violated |= *left < 0;
            }
        }
        violated
    };
    pods.iter().copied().partition(violates)
}

/// Which is best: fewest violated budgets, lowest highest priority, smallest sum of priorities, fewest victims, latest start; then as
/// other ties go.
pub(crate) fn select(core: &Core, candidates: &[Candidate]) -> Option<usize> {
    let best = candidates.iter().enumerate().min_by_key(|(_, candidate)| {
        let pods = || candidate.victims.iter().map(|id| core.cluster.pod(*id));
        let highest = pods().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
        // Upstream shifts priorities so that a victim more never makes the sum smaller.
        let sum: i64 = pods()
            .map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1)
            .sum();
        let earliest = pods()
            .filter(|pod| pod.priority == highest)
            .map(|pod| pod.started.clone())
            .min()
            .unwrap_or_default();
        (
            candidate.violations,
            highest,
            sum,
            candidate.victims.len(),
            std::cmp::Reverse(earliest),
            core.classes.ties().rank(candidate.node),
        )
    });
    best.map(|(at, _)| at)
}
