//! What a namespace that is being deleted reports, and when it is looked at again. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::objects::rfc3339;

/// The finalizer in spec.finalizers that this controller removes.
pub const FINALIZER: &str = "kubernetes";
/// How long finalizers of other parties are assumed to take.
pub const FINALIZER_ESTIMATE_SECONDS: i64 = 15;

/// What is left of one resource after deleting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// `pods.` or `deployments.apps`, as upstream's message has it.
    pub resource: String,
    pub count: usize,
    pub finalizers: BTreeMap<String, usize>,
    /// Seconds until the rest should be gone; 0 is unknown.
    pub estimate_seconds: i64,
}

/// The outcome of one pass over a namespace's content.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    pub remaining: Vec<Remaining>,
    pub errors: Vec<String>,
}

impl Pass {
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty() && self.errors.is_empty()
    }

    /// When to look again: about half the time that the slowest resource should take.
    pub fn retry_after(&self) -> Duration {
        let longest = self
            .remaining
            .iter()
            .map(|one| one.estimate_seconds)
            .max()
            .unwrap_or(0);
        let seconds = u64::try_from(longest / 2 + 1).unwrap_or(1);
        Duration::from_secs(seconds)
    }
}

/// Counts what is left of a list of objects' metadata.
pub fn remaining(resource: &str, objects: &[Value], grace_estimate: i64) -> Remaining {
    let mut finalizers = BTreeMap::new();
    for object in objects {
        for finalizer in object["metadata"]["finalizers"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if let Some(finalizer) = finalizer.as_str() {
                *finalizers.entry(finalizer.to_owned()).or_insert(0) += 1;
            }
        }
    }
    let estimate_seconds = match grace_estimate {
        0 if !finalizers.is_empty() => FINALIZER_ESTIMATE_SECONDS,
        estimate => estimate,
    };
    Remaining {
        resource: resource.to_owned(),
        count: objects.len(),
        finalizers,
        estimate_seconds,
    }
}

/// How long the pods of a namespace may still take: the longest grace period, unless it has passed since the deletion.
pub fn grace_estimate(
    grace_periods: impl Iterator<Item = i64>,
    deleted_at: Timestamp,
    now: Timestamp,
) -> i64 {
    let longest = grace_periods.max().unwrap_or(0);
    if now.duration_since(deleted_at).as_secs() >= longest {
        0
    } else {
        longest
    }
}

/// Type, reason and message when all is well, in the order in which the conditions are listed.
const FINE: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

/// The conditions after a pass; `None` if they are as they were.
pub fn conditions(before: &[Value], pass: &Pass, now: Timestamp) -> Option<Vec<Value>> {
    let mut conditions = before.to_vec();
    let mut changed = false;
    for (type_, reason, message) in FINE {
        let problem = problem(type_, pass);
        let status = if problem.is_some() { "True" } else { "False" };
        let (reason, message) = problem.unwrap_or((reason, message.to_owned()));
        let new = json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": rfc3339(now)});
        match conditions
            .iter_mut()
            .find(|condition| condition["type"] == type_)
        {
            None => conditions.push(new),
            Some(old)
                if ["status", "reason", "message"]
                    .iter()
                    .all(|field| old[field] == new[field]) =>
            {
                continue;
            }
            Some(old) => {
                let since = if old["status"] == new["status"] {
                    old["lastTransitionTime"].take()
                } else {
                    Value::Null
                };
                *old = new;
                if !since.is_null() {
                    old["lastTransitionTime"] = since;
                }
            }
        }
        changed = true;
    }
    changed.then_some(conditions)
}

fn problem(type_: &str, pass: &Pass) -> Option<(&'static str, String)> {
    match type_ {
        "NamespaceDeletionContentFailure" if !pass.errors.is_empty() => {
            let mut errors = pass.errors.clone();
            errors.sort_unstable();
            let message = format!(
                "Failed to delete all resource types, {} remaining: {}",
                errors.len(),
                errors.join(", ")
            );
            Some(("ContentDeletionFailed", message))
        }
        "NamespaceContentRemaining" if !pass.remaining.is_empty() => {
            let mut parts: Vec<String> = pass
                .remaining
                .iter()
                .map(|one| format!("{} has {} resource instances", one.resource, one.count))
                .collect();
            parts.sort_unstable();
            Some((
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", parts.join(", ")),
            ))
        }
        "NamespaceFinalizersRemaining" => {
            let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
            for (finalizer, count) in pass.remaining.iter().flat_map(|one| &one.finalizers) {
                *totals.entry(finalizer).or_insert(0) += count;
            }
            if totals.is_empty() {
                return None;
            }
            let parts: Vec<String> = totals
                .iter()
                .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
                .collect();
            let message = format!(
                "Some content in the namespace has finalizers remaining: {}",
                parts.join(", ")
            );
            Some(("SomeFinalizersRemain", message))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn find<'a>(conditions: &'a [Value], type_: &str) -> &'a Value {
        conditions
            .iter()
            .find(|condition| condition["type"] == type_)
            .unwrap()
    }

    #[test]
    fn conditions_say_what_is_left() {
        let pods = [
            json!({"metadata": {"finalizers": ["a/b", "c"]}}),
            json!({"metadata": {"finalizers": ["c"]}}),
        ];
        let left = remaining("pods.", &pods, 0);
        assert_eq!((left.count, left.estimate_seconds), (2, 15));
        let pass = Pass {
            remaining: vec![left],
            errors: vec!["boom".into()],
        };
        let told = conditions(&[], &pass, now()).unwrap();
        assert_eq!(told.len(), 5);
        assert_eq!(
            find(&told, "NamespaceContentRemaining")["message"],
            "Some resources are remaining: pods. has 2 resource instances"
        );
        assert_eq!(
            find(&told, "NamespaceFinalizersRemaining")["message"],
            "Some content in the namespace has finalizers remaining: a/b in 1 resource instances, c in 2 resource instances"
        );
        assert_eq!(
            find(&told, "NamespaceDeletionContentFailure")["message"],
            "Failed to delete all resource types, 1 remaining: boom"
        );
        assert_eq!(
            conditions(&told, &pass, now()),
            None,
            "nothing new, nothing to write"
        );
        let empty = conditions(&told, &Pass::default(), now()).unwrap();
        assert!(empty.iter().all(|condition| condition["status"] == "False"));
        assert_eq!(
            find(&empty, "NamespaceContentRemaining")["reason"],
            "ContentRemoved"
        );
    }

    #[test]
    fn grace_periods_are_respected_but_not_for_ever() {
        let deleted: Timestamp = "2026-01-01T11:59:50Z".parse().unwrap();
        assert_eq!(grace_estimate([30, 5].into_iter(), deleted, now()), 30);
        assert_eq!(grace_estimate([10].into_iter(), deleted, now()), 0);
        assert_eq!(grace_estimate([].into_iter(), deleted, now()), 0);
        let pass = Pass {
            remaining: vec![remaining("pods.", &[json!({})], 30)],
            errors: vec![],
        };
        assert_eq!(pass.retry_after(), Duration::from_secs(16));
    }
}
