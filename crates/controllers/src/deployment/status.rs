//! A deployment's status: the counts, and the conditions Available, Progressing and ReplicaFailure in upstream's words.

use jiff::Timestamp;

use super::math::max_unavailable;
use super::members::{Member, Members};
use crate::clock::plus_seconds;
use crate::objects::apps::{Condition, Deployment, DeploymentStatus};
use crate::objects::{ConditionStatus, rfc3339};

pub const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const FAILURE: &str = "ReplicaFailure";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

pub fn condition(
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status,
        last_update_time: Some(rfc3339(now)),
        last_transition_time: Some(rfc3339(now)),
        reason: reason.to_owned(),
        message,
    }
}

pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// Sets a condition unless one of the same status and reason is there; the transition time changes with the status only.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) {
    let current = find(conditions, &new.type_).filter(|current| current.status == new.status);
    if let Some(current) = current {
        if current.reason == new.reason {
            return;
        }
        new.last_transition_time
            .clone_from(&current.last_transition_time);
    }
    remove(conditions, &new.type_);
    conditions.push(new);
}

/// The deadline for progress, if there is one.
pub fn deadline(deployment: &Deployment) -> Option<i64> {
    deployment
        .spec
        .progress_deadline_seconds
        .filter(|seconds| *seconds != i32::MAX)
        .map(i64::from)
}

/// Counts and the Available condition, from `conditions`.
pub fn counted(
    deployment: &Deployment,
    members: &Members,
    conditions: Vec<Condition>,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |count: fn(&Member) -> i32| members.all().map(count).sum::<i32>();
    let available = members.available();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: sum(|member| member.status.replicas),
        updated_replicas: members
            .current
            .as_ref()
            .map_or(0, |member| member.status.replicas),
        ready_replicas: sum(|member| member.status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (members.total() - available).max(0),
        terminating_replicas: terminating(members),
        collision_count: deployment.status.collision_count,
        conditions,
    };
    let enough = available >= deployment.spec.replicas - max_unavailable(deployment);
    let (value, reason, message) = if enough {
        (
            ConditionStatus::True,
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            ConditionStatus::False,
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set(
        &mut status.conditions,
        condition(AVAILABLE, value, reason, message.to_owned(), now),
    );
    status
}

/// Unknown while a set that was synced has not told its number.
fn terminating(members: &Members) -> Option<i32> {
    let told = members.all().filter(|member| {
        member.status.observed_generation != 0 || member.status.terminating_replicas.is_some()
    });
    told.map(|member| member.status.terminating_replicas).sum()
}

pub fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas;
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    after.updated_replicas > before.updated_replicas
        || after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
}

/// When lack of progress becomes a failure.
fn due(deployment: &Deployment, progressing: &Condition) -> Option<Timestamp> {
    let updated: Timestamp = progressing.last_update_time.as_ref()?.parse().ok()?;
    Some(plus_seconds(updated, deadline(deployment)?))
}

fn timed_out(deployment: &Deployment, conditions: &[Condition], now: Timestamp) -> bool {
    let Some(progressing) = find(conditions, PROGRESSING) else {
        return false;
    };
    match progressing.reason.as_str() {
        NEW_SET_AVAILABLE => false,
        TIMED_OUT => true,
        _ => due(deployment, progressing).is_some_and(|due| due < now),
    }
}

/// The status during a rollout, with what progress it has made. `conditions` are the deployment's, with what this reconcile added.
pub fn rollout(
    deployment: &Deployment,
    members: &Members,
    conditions: Vec<Condition>,
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = counted(deployment, members, conditions, now);
    if deadline(deployment).is_none() {
        remove(&mut status.conditions, PROGRESSING);
    }
    let current = find(&status.conditions, PROGRESSING).cloned();
    let settled = status.replicas == status.updated_replicas
        && current
            .as_ref()
            .is_some_and(|condition| condition.reason == NEW_SET_AVAILABLE);
    if deadline(deployment).is_some() && !settled {
        estimate(deployment, members, &mut status, current, now);
    }
    match failure(members) {
        Some(failure) => set(&mut status.conditions, failure),
        None => remove(&mut status.conditions, FAILURE),
    }
    status
}

fn estimate(
    deployment: &Deployment,
    members: &Members,
    status: &mut DeploymentStatus,
    current: Option<Condition>,
    now: Timestamp,
) {
    let subject = match &members.current {
        Some(member) => format!("ReplicaSet {:?}", member.name),
        None => format!("Deployment {:?}", deployment.metadata.name),
    };
    if complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set(
            &mut status.conditions,
            condition(
                PROGRESSING,
                ConditionStatus::True,
                NEW_SET_AVAILABLE,
                message,
                now,
            ),
        );
    } else if progressed(&deployment.status, status) {
        // The same reason again, but with a new update time: that is what the deadline counts from.
        let message = format!("{subject} is progressing.");
        let mut new = condition(
            PROGRESSING,
            ConditionStatus::True,
            "ReplicaSetUpdated",
            message,
            now,
        );
        if let Some(current) = current.filter(|current| current.status == ConditionStatus::True) {
            new.last_transition_time = current.last_transition_time;
        }
        remove(&mut status.conditions, PROGRESSING);
        set(&mut status.conditions, new);
    } else if timed_out(deployment, &status.conditions, now) {
        let message = format!("{subject} has timed out progressing.");
        set(
            &mut status.conditions,
            condition(PROGRESSING, ConditionStatus::False, TIMED_OUT, message, now),
        );
    }
}

/// A replica set's failure to create or delete pods, the current set's first.
fn failure(members: &Members) -> Option<Condition> {
    let sets = members.current.iter().chain(&members.old);
    let failure = sets
        .filter_map(|member| find(&member.status.conditions, FAILURE))
        .next()?;
    Some(Condition {
        last_update_time: failure.last_transition_time.clone(),
        ..failure.clone()
    })
}

/// When to look again whether the rollout is stuck.
pub fn recheck(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    let progressing = find(&status.conditions, PROGRESSING)?;
    if complete(deployment, status)
        || matches!(progressing.reason.as_str(), TIMED_OUT | NEW_SET_AVAILABLE)
    {
        return None;
    }
    // One second more than due, because condition times have no fractions.
    due(deployment, progressing).map(|due| plus_seconds(due.max(now), 1))
}

/// What pausing or resuming does to the Progressing condition; true if it changed.
pub fn note_pause(
    deployment: &Deployment,
    conditions: &mut Vec<Condition>,
    now: Timestamp,
) -> bool {
    if deadline(deployment).is_none() {
        return false;
    }
    let reason = find(conditions, PROGRESSING).map(|condition| condition.reason.as_str());
    let was_paused = reason == Some(PAUSED);
    let (reason, message) = match (deployment.spec.paused, reason) {
        (_, Some(TIMED_OUT)) => return false,
        (true, _) if !was_paused => (PAUSED, "Deployment is paused"),
        (false, _) if was_paused => ("DeploymentResumed", "Deployment is resumed"),
        _ => return false,
    };
    set(
        conditions,
        condition(
            PROGRESSING,
            ConditionStatus::Unknown,
            reason,
            message.to_owned(),
            now,
        ),
    );
    true
}
