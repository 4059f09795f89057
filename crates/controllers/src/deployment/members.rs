//! The replica sets of a deployment as a plan sees them: with the sizes that the plan has already decided.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::annotations;
use super::template::normalized;
use crate::objects::Pairs;
use crate::objects::apps::{ReplicaSet, ReplicaSetStatus};

/// One replica set.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: Box<str>,
    pub annotations: Pairs,
    pub created: Option<Timestamp>,
    pub deleting: bool,
    pub generation: i64,
    pub min_ready_seconds: i32,
    /// The size, as planned.
    pub replicas: i32,
    /// The size, as it is.
    pub present: i32,
    pub status: ReplicaSetStatus,
}

impl Member {
    pub fn of(set: &ReplicaSet) -> Self {
        Self {
            name: set.metadata.name.clone(),
            annotations: set.metadata.annotations.clone(),
            created: set.metadata.creation_timestamp,
            deleting: set.metadata.is_deleting(),
            generation: set.metadata.generation,
            min_ready_seconds: set.spec.min_ready_seconds,
            replicas: set.spec.replicas,
            present: set.spec.replicas,
            status: set.status.clone(),
        }
    }

    /// A set that the plan creates.
    pub fn planned(name: &str, replicas: i32, annotations: Pairs) -> Self {
        Self {
            name: name.into(),
            annotations,
            created: Some(Timestamp::MAX),
            deleting: false,
            generation: 0,
            min_ready_seconds: 0,
            replicas,
            present: replicas,
            status: ReplicaSetStatus::default(),
        }
    }

    /// Older first; then by name.
    pub fn by_age(&self, other: &Self) -> Ordering {
        self.created
            .cmp(&other.created)
            .then_with(|| self.name.cmp(&other.name))
    }
}

/// The current set (of the deployment's template) and the old ones, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Members {
    pub current: Option<Member>,
    pub old: Vec<Member>,
}

impl Members {
    /// Sorts the owned sets into the current one and the old ones. Of several with the template the oldest is the current one.
    pub fn of(template: &Value, sets: &[std::sync::Arc<ReplicaSet>]) -> Self {
        let mut members: Vec<(bool, Member)> = sets
            .iter()
            .map(|set| {
                (
                    normalized(set.spec.template.value()) == *template,
                    Member::of(set),
                )
            })
            .collect();
        members.sort_by(|(_, a), (_, b)| a.by_age(b));
        let mut sorted = Self::default();
        for (matches, member) in members {
            if matches && sorted.current.is_none() {
                sorted.current = Some(member);
            } else {
                sorted.old.push(member);
            }
        }
        sorted
    }

    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.old.iter().chain(&self.current)
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.old.iter_mut().chain(&mut self.current)
    }

    pub fn total(&self) -> i32 {
        self.all().map(|member| member.replicas).sum()
    }

    pub fn available(&self) -> i32 {
        self.all()
            .map(|member| member.status.available_replicas)
            .sum()
    }

    pub fn highest_old_revision(&self) -> i64 {
        self.old
            .iter()
            .map(|member| annotations::revision(&member.annotations))
            .max()
            .unwrap_or(0)
    }
}
