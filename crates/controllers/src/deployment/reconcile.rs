//! What a deployment does next: which replica sets to create, scale, annotate or delete, and the status to report. Pure.
//!
//! One pass makes one safe move: sizes are decided on what the replica sets report, so that a plan made from an old cache never
//! goes below the available or above the surge that the strategy allows.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::annotations;
use super::math::{max_surge, max_unavailable, new_set_size, proportion};
use super::members::{Member, Members};
use super::status;
use super::template;
use crate::objects::ConditionStatus;
use crate::objects::apps::{Condition, Deployment, DeploymentStatus, ReplicaSet, StrategyType};

/// One request, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the set of the present template.
    Create {
        name: String,
        replicas: i32,
        object: Value,
    },
    /// Bring annotations and minReadySeconds of the current set up to date.
    Annotate {
        name: Box<str>,
        annotations: Vec<(String, String)>,
        min_ready_seconds: i32,
    },
    Scale {
        name: Box<str>,
        from: i32,
        to: i32,
        annotations: Vec<(String, String)>,
    },
    Delete {
        name: Box<str>,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The deployment's revision annotation, where it must change.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// Look again then, though nothing has changed.
    pub recheck: Option<Timestamp>,
}

/// `sets` are those that the deployment controls; `old_pods_running` tells whether pods of old sets still exist.
pub fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    old_pods_running: bool,
    now: Timestamp,
) -> Plan {
    let template = template::normalized(deployment.spec.template.value());
    let planner = Planner {
        deployment,
        members: Members::of(&template, sets),
        template,
        conditions: deployment.status.conditions.clone(),
        plan: Plan::default(),
        now,
    };
    planner.run(old_pods_running)
}

struct Planner<'a> {
    deployment: &'a Deployment,
    members: Members,
    template: Value,
    conditions: Vec<Condition>,
    plan: Plan,
    now: Timestamp,
}

impl Planner<'_> {
    fn run(mut self, old_pods_running: bool) -> Plan {
        let deployment = self.deployment;
        if deployment.metadata.is_deleting() {
            return self.finish(false);
        }
        status::note_pause(deployment, &mut self.conditions, self.now);
        self.adopt_current();
        if deployment.spec.paused || self.is_scaling() {
            self.rescale();
            if deployment.spec.paused {
                self.clean_up();
            }
            return self.finish(false);
        }
        match deployment.spec.strategy.type_ {
            StrategyType::RollingUpdate => self.roll(),
            StrategyType::Recreate => self.recreate(old_pods_running),
        }
        self.finish(true)
    }

    /// Turns the sizes that were decided into steps and works out the status.
    fn finish(mut self, rollout: bool) -> Plan {
        let conditions = std::mem::take(&mut self.conditions);
        let (deployment, members, now) = (self.deployment, &self.members, self.now);
        if rollout {
            self.plan.status = status::rollout(deployment, members, conditions, now);
            self.plan.recheck = status::recheck(deployment, &self.plan.status, now);
        } else {
            self.plan.status = status::counted(deployment, members, conditions, now);
        }
        self.plan
    }

    /// Keeps the current set's annotations and the deployment's revision in step.
    fn adopt_current(&mut self) {
        let revision = self.members.highest_old_revision() + 1;
        let Some(current) = &mut self.members.current else {
            return;
        };
        let updates = annotations::updates(
            &self.deployment.metadata.annotations,
            &current.annotations,
            revision,
        );
        let min_ready_seconds = self.deployment.spec.min_ready_seconds;
        if !updates.is_empty() || current.min_ready_seconds != min_ready_seconds {
            for (key, value) in &updates {
                current.annotations = current.annotations.with(key, value);
            }
            self.plan.steps.push(Step::Annotate {
                name: current.name.clone(),
                annotations: updates,
                min_ready_seconds,
            });
        }
        let revision = current
            .annotations
            .get(annotations::REVISION)
            .map(str::to_owned);
        let name = current.name.clone();
        self.set_revision(revision);
        if status::deadline(self.deployment).is_some()
            && status::find(&self.conditions, status::PROGRESSING).is_none()
        {
            let message = format!("Found new replica set {name:?}");
            self.progressing("FoundNewReplicaSet", message);
        }
    }

    fn set_revision(&mut self, revision: Option<String>) {
        let present = self
            .deployment
            .metadata
            .annotations
            .get(annotations::REVISION);
        self.plan.revision = revision.filter(|revision| Some(revision.as_str()) != present);
    }

    fn progressing(&mut self, reason: &str, message: String) {
        let condition = status::condition(
            status::PROGRESSING,
            ConditionStatus::True,
            reason,
            message,
            self.now,
        );
        status::set(&mut self.conditions, condition);
    }

    /// Whether the wanted number of replicas has changed since the sets were last scaled.
    fn is_scaling(&self) -> bool {
        let active = self.members.all().filter(|member| member.replicas > 0);
        active
            .filter_map(|member| annotations::count(&member.annotations, annotations::DESIRED))
            .any(|desired| desired != self.deployment.spec.replicas)
    }

    /// Decides the size of one set; with `force` the annotations are refreshed even if the size stays.
    fn resize(
        deployment: &Deployment,
        steps: &mut Vec<Step>,
        member: &mut Member,
        to: i32,
        force: bool,
    ) -> bool {
        let wanted = deployment.spec.replicas;
        let notes = [
            (annotations::DESIRED, wanted),
            (annotations::MAX, wanted + max_surge(deployment)),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_string()));
        let stale = notes
            .iter()
            .any(|(key, value)| member.annotations.get(key) != Some(value));
        let resized = member.replicas != to;
        let needed = resized || (force && stale);
        if !needed {
            return false;
        }
        let from = member.present;
        member.replicas = to;
        // A second decision about a set in one plan replaces the first.
        steps.retain(|step| !matches!(step, Step::Scale { name, .. } if *name == member.name));
        steps.push(Step::Scale {
            name: member.name.clone(),
            from,
            to,
            annotations: notes.to_vec(),
        });
        resized
    }

    fn create_current(&mut self) {
        let revision = self.members.highest_old_revision() + 1;
        let replicas = new_set_size(self.deployment, self.members.total(), 0);
        let object = template::new_set(self.deployment, &self.template, replicas, revision);
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let notes =
            serde_json::from_value(object["metadata"]["annotations"].clone()).unwrap_or_default();
        self.members.current = Some(Member::planned(&name, replicas, notes));
        if status::deadline(self.deployment).is_some() {
            self.progressing(
                "NewReplicaSetCreated",
                format!("Created new replica set {name:?}"),
            );
        }
        self.plan.steps.push(Step::Create {
            name,
            replicas,
            object,
        });
        self.set_revision(Some(revision.to_string()));
    }

    fn roll(&mut self) {
        if self.members.current.is_none() {
            self.create_current();
        }
        if self.grow_current() || self.shrink_old() {
            return;
        }
        if status::complete(self.deployment, &self.deployment.status) {
            self.clean_up();
        }
    }

    /// Brings the current set to its size, or as near as the surge allows.
    fn grow_current(&mut self) -> bool {
        let (deployment, total) = (self.deployment, self.members.total());
        let Some(current) = &mut self.members.current else {
            return false;
        };
        let wanted = deployment.spec.replicas;
        let to = match current.replicas.cmp(&wanted) {
            std::cmp::Ordering::Equal => return false,
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Less => new_set_size(deployment, total, current.replicas),
        };
        Self::resize(deployment, &mut self.plan.steps, current, to, false)
    }

    /// Scales old sets down: first replicas that are not available anyway, then as many as availability allows.
    fn shrink_old(&mut self) -> bool {
        let deployment = self.deployment;
        let Some(current) = &self.members.current else {
            return false;
        };
        if self.members.old.iter().all(|member| member.replicas == 0) {
            return false;
        }
        let minimum = deployment.spec.replicas - max_unavailable(deployment);
        let current_unavailable = current.replicas - current.status.available_replicas;
        let removable = self.members.total() - minimum - current_unavailable;
        if removable <= 0 {
            return false;
        }
        let unhealthy = self.drop_unhealthy(removable);
        let healthy = self.drop_available(minimum);
        unhealthy + healthy > 0
    }

    fn drop_unhealthy(&mut self, limit: i32) -> i32 {
        let (deployment, steps) = (self.deployment, &mut self.plan.steps);
        let mut dropped = 0;
        for member in self
            .members
            .old
            .iter_mut()
            .filter(|member| member.replicas > 0)
        {
            let unhealthy = member.replicas - member.status.available_replicas;
            let count = unhealthy.min(limit - dropped);
            if count > 0 {
                let to = member.replicas - count;
                Self::resize(deployment, steps, member, to, false);
                dropped += count;
            }
        }
        dropped
    }

    fn drop_available(&mut self, minimum: i32) -> i32 {
        let spare = self.members.available() - minimum;
        let (deployment, steps) = (self.deployment, &mut self.plan.steps);
        let mut dropped = 0;
        for member in self
            .members
            .old
            .iter_mut()
            .filter(|member| member.replicas > 0)
        {
            let count = member.replicas.min(spare - dropped);
            if count > 0 {
                let to = member.replicas - count;
                Self::resize(deployment, steps, member, to, false);
                dropped += count;
            }
        }
        dropped
    }

    /// All old pods go before the first new one comes.
    fn recreate(&mut self, old_pods_running: bool) {
        let deployment = self.deployment;
        let mut scaled = false;
        for member in self
            .members
            .old
            .iter_mut()
            .filter(|member| member.replicas > 0)
        {
            scaled |= Self::resize(deployment, &mut self.plan.steps, member, 0, false);
        }
        let lingering = self
            .members
            .old
            .iter()
            .any(|member| member.status.replicas > 0);
        if scaled || lingering || old_pods_running {
            return;
        }
        match &mut self.members.current {
            None => self.create_current(),
            Some(current) => {
                Self::resize(
                    deployment,
                    &mut self.plan.steps,
                    current,
                    deployment.spec.replicas,
                    false,
                );
            }
        }
        if status::complete(deployment, &deployment.status) {
            self.clean_up();
        }
    }

    /// Follows a change of spec.replicas: with one set it is simple, during a rollout every set gets its share.
    fn rescale(&mut self) {
        let (deployment, wanted) = (self.deployment, self.deployment.spec.replicas);
        let active = self
            .members
            .all()
            .filter(|member| member.replicas > 0)
            .count();
        if active <= 1 {
            let steps = &mut self.plan.steps;
            if let Some(only) = only_or_latest(&mut self.members) {
                Self::resize(deployment, steps, only, wanted, false);
            }
            return;
        }
        if self
            .members
            .current
            .as_ref()
            .is_some_and(|current| saturated(deployment, current))
        {
            for member in self
                .members
                .old
                .iter_mut()
                .filter(|member| member.replicas > 0)
            {
                Self::resize(deployment, &mut self.plan.steps, member, 0, false);
            }
            return;
        }
        if deployment.spec.strategy.type_ == StrategyType::RollingUpdate {
            self.share_out(wanted);
        }
    }

    fn share_out(&mut self, wanted: i32) {
        let deployment = self.deployment;
        let allowed = if wanted > 0 {
            wanted + max_surge(deployment)
        } else {
            0
        };
        let mut members: Vec<&mut Member> = self
            .members
            .all_mut()
            .filter(|member| member.replicas > 0)
            .collect();
        let to_add = allowed - members.iter().map(|member| member.replicas).sum::<i32>();
        // Larger sets first; equal ones newer first when growing, older first when shrinking.
        members.sort_by(|a, b| {
            let by_age = if to_add > 0 { b.by_age(a) } else { a.by_age(b) };
            b.replicas.cmp(&a.replicas).then(by_age)
        });
        let mut added = 0;
        let mut sizes: Vec<i32> = Vec::with_capacity(members.len());
        for member in &members {
            let part = proportion(deployment, member, to_add, added);
            sizes.push(member.replicas + part);
            added += part;
        }
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        for (member, size) in members.into_iter().zip(sizes) {
            Self::resize(deployment, &mut self.plan.steps, member, size, true);
        }
    }

    /// Deletes the oldest sets beyond the history limit, if nothing of them is left.
    fn clean_up(&mut self) {
        let limit = self
            .deployment
            .spec
            .revision_history_limit
            .filter(|limit| *limit != i32::MAX);
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
            return;
        };
        let mut old: Vec<&Member> = self
            .members
            .old
            .iter()
            .filter(|member| !member.deleting)
            .collect();
        let excess = old.len().saturating_sub(limit);
        let revision = |member: &Member| annotations::revision(&member.annotations);
        old.sort_by(|a, b| revision(a).cmp(&revision(b)).then_with(|| a.by_age(b)));
        for member in old.into_iter().take(excess) {
            let empty = member.status.replicas == 0 && member.replicas == 0 && member.present == 0;
            if empty && member.generation <= member.status.observed_generation {
                self.plan.steps.push(Step::Delete {
                    name: member.name.clone(),
                });
            }
        }
    }
}

/// The one active set; if none is active the current one, or else the newest.
fn only_or_latest(members: &mut Members) -> Option<&mut Member> {
    if let Some(at) = members.old.iter().position(|member| member.replicas > 0) {
        return members.old.get_mut(at);
    }
    if members.current.is_some() {
        members.current.as_mut()
    } else {
        members.old.last_mut()
    }
}

/// The current set has all its replicas, available, at the present scale.
fn saturated(deployment: &Deployment, current: &Member) -> bool {
    let wanted = deployment.spec.replicas;
    current.replicas == wanted
        && annotations::count(&current.annotations, annotations::DESIRED) == Some(wanted)
        && current.status.available_replicas == wanted
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
