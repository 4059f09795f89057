//! Deciding about a whole pod group at once: its pods are placed one after the other, and all placements are taken back unless
//! enough of them have one.
//!
//! Invariant: between two calls of the core, either none of a group's waiting pods is assumed, or so many that, with those that were
//! there, minCount is met.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::cluster::PodId;
use crate::core::{Core, Outcome};
use crate::objects::{Meta, Text};
use crate::plugins::gang_scheduling::{NAME, TOO_FEW, WAITING};
use crate::queue::{Place, Rejectors};

const UNSCHEDULABLE: &str = "pod group is unschedulable";
const PREEMPTING: &str =
    "pod group is unschedulable, pod group is waiting for preemption to complete";

/// scheduling.k8s.io/v1alpha2 PodGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodGroup {
    pub metadata: Meta,
    pub spec: PodGroupSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGroupSpec {
    pub scheduling_policy: SchedulingPolicy,
}

/// Without a gang, the group's pods are decided together, but each counts for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SchedulingPolicy {
    pub gang: Option<Gang>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gang {
    pub min_count: usize,
}

impl PodGroup {
    fn key(&self) -> Text {
        compact_str::format_compact!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    fn min_count(&self) -> usize {
        let gang = self.spec.scheduling_policy.gang.as_ref();
        gang.map_or(0, |gang| gang.min_count)
    }
}

/// The condition PodGroupScheduled after a decision about the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReport {
    pub namespace: Text,
    pub name: Text,
    pub scheduled: bool,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Default)]
pub struct Gangs {
    groups: HashMap<Text, PodGroup>,
    /// Of the last group that was decided, in order.
    pub(crate) outcomes: VecDeque<Outcome>,
    reports: Vec<GroupReport>,
}

impl Core {
    pub fn apply_group(&mut self, group: PodGroup, now: Duration) {
        let key = group.key();
        self.gangs.groups.insert(key.clone(), group);
        self.group_grew(&key, now);
    }

    pub fn delete_group(&mut self, key: &str) {
        self.gangs.groups.remove(key);
    }

    /// What is to be said about groups, since this was asked last.
    pub fn take_group_reports(&mut self) -> Vec<GroupReport> {
        std::mem::take(&mut self.gangs.reports)
    }

    /// How many outcomes of the group that was decided last are still to be asked for.
    pub fn group_outcomes(&self) -> usize {
        self.gangs.outcomes.len()
    }

    /// The group of a pod that is decided with others.
    pub(crate) fn gang_of(&self, pod: PodId) -> Option<Text> {
        let group = self.cluster.pod(pod).group.as_ref()?;
        self.plugin_filters(pod, NAME).then(|| group.clone())
    }

    /// PreEnqueue: the group is there, and has enough pods.
    pub(crate) fn gang_holds(&self, pod: PodId) -> Result<(), String> {
        let Some(key) = self.gang_of(pod) else {
            return Ok(());
        };
        let Some(group) = self.gangs.groups.get(&key) else {
            let name = key.split_once('/').map_or("", |(_, name)| name);
            return Err(format!(
                "waiting for pods's pod group {name:?} to appear in scheduling queue"
            ));
        };
        match self.cluster.group_members(&key).count() < group.min_count() {
            true => Err(TOO_FEW.to_owned()),
            false => Ok(()),
        }
    }

    /// A pod joined, or the group appeared: its pods may be queued now, or tried again.
    pub(crate) fn group_grew(&mut self, key: &str, now: Duration) {
        let members: Vec<PodId> = self.cluster.group_members(key).collect();
        for pod in members {
            self.reconsider_gate(pod, now);
            let waits = match self.queued_place(pod) {
                Some(Place::Unschedulable { rejectors, .. }) => rejectors.contains(&NAME),
                _ => false,
            };
            if waits {
                self.wake_pod(pod, now);
            }
        }
    }

    /// Decides about a group of which one pod was popped; the outcomes are left in order.
    pub(crate) fn schedule_gang(&mut self, key: &Text, first: PodId, now: Duration) {
        let members = self.pop_members(key, first, now);
        let Some(group) = self.gangs.groups.get(key) else {
            let name = key.split_once('/').map_or("", |(_, name)| name);
            let why = format!(
                "running Permit plugin {NAME:?}: failed to get podGroup {key}: podgroup.scheduling.k8s.io {name:?} not found"
            );
            for pod in members {
                self.reject(pod, why.clone(), now);
            }
            return;
        };
        let wanted = group.min_count();
        let uids = members.iter().map(|pod| self.cluster.pod(*pod).uid.clone());
        self.cluster.devices.together = uids.collect();
        let mut outcomes = Vec::with_capacity(members.len());
        for pod in members {
            if let Some(outcome) = self.decide(pod, false, now) {
                outcomes.push((pod, outcome));
            }
        }
        self.cluster.devices.together.clear();
        let preempts = outcomes.iter().any(|(_, outcome)| is_nominated(outcome));
        let found =
            |outcome: &Outcome| matches!(outcome, Outcome::Placed(_)) || is_nominated(outcome);
        let any = outcomes.iter().any(|(_, outcome)| found(outcome));
        // Assumed now, nominated now, or there before.
        let members = self.cluster.group_members(key);
        let is_placed = |pod: &PodId| self.cluster.pod(*pod).node.is_some();
        let placed = members.filter(is_placed).count();
        let feasible = any && placed >= wanted;
        for (pod, outcome) in outcomes {
            match outcome {
                outcome if feasible && !preempts => self.gangs.outcomes.push_back(outcome),
                Outcome::Placed(_) if feasible => self.nominate(pod, now),
                Outcome::Placed(_) => {
                    self.take_back(pod);
                    self.reject(pod, format!("{UNSCHEDULABLE}, {WAITING}"), now);
                }
                outcome if feasible => self.gangs.outcomes.push_back(outcome),
                Outcome::Unschedulable {
                    pod: reference,
                    plugins,
                    preemption: Some(_),
                    ..
                } => {
                    // Nobody is evicted for a pod whose group has no room; it still waits for what it lacks.
                    self.budgets.reservations.remove(&pod);
                    self.cluster.unplace(pod);
                    self.gangs.outcomes.push_back(Outcome::Unschedulable {
                        pod: reference,
                        message: format!("{UNSCHEDULABLE}, {WAITING}"),
                        plugins,
                        preemption: None,
                    });
                }
                outcome => self.gangs.outcomes.push_back(outcome),
            }
        }
        self.report(key, feasible, preempts);
    }

    /// The popped pod and all others of its group that wait, in the order in which they are tried.
    fn pop_members(&mut self, key: &str, first: PodId, now: Duration) -> Vec<PodId> {
        let scheduler = self.cluster.pod_spec(first).scheduler_name.clone();
        let others: Vec<PodId> = self
            .cluster
            .group_members(key)
            .filter(|pod| *pod != first)
            .filter(|pod| self.cluster.pod_spec(*pod).scheduler_name == scheduler)
            .collect();
        let mut members = vec![first];
        for pod in others {
            if self.queue.pop_specific(pod, now) {
                members.push(pod);
            }
        }
        members.sort_by_key(|pod| {
            let queued = self.queue.get(*pod);
            let first_seen = queued.map(|queued| queued.first_seen);
            (
                std::cmp::Reverse(self.cluster.pod(*pod).priority),
                first_seen,
                *pod,
            )
        });
        members
    }

    /// The pod waits, with this message, until its group is decided again.
    fn reject(&mut self, pod: PodId, message: String, now: Duration) {
        let rejectors = Rejectors::from_slice(&[NAME]);
        self.queue.unschedulable(pod, rejectors, now);
        let pod = self.reference(pod);
        self.gangs.outcomes.push_back(Outcome::Unschedulable {
            pod,
            message,
            plugins: vec![NAME],
            preemption: None,
        });
    }

    /// The place stays reserved while room is made for the others.
    fn nominate(&mut self, pod: PodId, now: Duration) {
        self.give_back(pod);
        if let Some(node) = self.cluster.pod(pod).node {
            self.budgets.reservations.insert(pod, node);
        }
        self.reject(pod, PREEMPTING.to_owned(), now);
    }

    fn take_back(&mut self, pod: PodId) {
        self.give_back(pod);
        self.cluster.unplace(pod);
    }

    /// What was reserved for the pod besides its place.
    fn give_back(&mut self, pod: PodId) {
        let uid = self.cluster.pod(pod).uid.clone();
        self.cluster.settle_devices(&uid);
        self.cluster.revert_volumes(pod);
    }

    fn report(&mut self, key: &str, feasible: bool, preempts: bool) {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let scheduled = feasible && !preempts;
        self.gangs.reports.push(GroupReport {
            namespace: namespace.into(),
            name: name.into(),
            scheduled,
            reason: match scheduled {
                true => "Scheduled",
                false => "Unschedulable",
            },
            message: match (feasible, preempts) {
                (true, false) => String::new(),
                (true, true) => PREEMPTING.to_owned(),
                (false, _) => UNSCHEDULABLE.to_owned(),
            },
        });
    }
}

/// Room is to be made for the pod on some node.
fn is_nominated(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Unschedulable {
            preemption: Some(_),
            ..
        }
    )
}
