//! What a replica set does next, from its spec and the pods that exist: adopt, release, create, delete, and the status to report.
//! Pure: caches and the clock are arguments.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::objects::apps::{Condition, ReplicaSet, ReplicaSetStatus};
use crate::objects::pod::{Phase, Pod};
use crate::objects::{ConditionStatus, Meta, Pairs, rfc3339};

/// At most this many pods are created or deleted in one reconcile.
pub const BURST: usize = 500;

/// Which of the candidate pods are the set's.
#[derive(Debug, Default)]
pub struct Claim {
    /// Ours, or to be adopted; active ones count as replicas.
    pub owned: Vec<Arc<Pod>>,
    /// Selected and without a controller: an owner reference must be added.
    pub adopt: Vec<Arc<Pod>>,
    /// Ours but no longer selected: the owner reference must go.
    pub release: Vec<Arc<Pod>>,
    /// Ours and being deleted, not finished.
    pub terminating: usize,
}

pub fn claim(set: &ReplicaSet, candidates: impl IntoIterator<Item = Arc<Pod>>) -> Claim {
    let mut claim = Claim::default();
    for pod in candidates {
        let ours = match pod.meta.controller() {
            Some(owner) if owner.uid != set.metadata.uid => continue,
            owner => owner.is_some(),
        };
        let selected = set.spec.selector.matches(&pod.meta.labels);
        if ours && selected && pod.meta.is_deleting() && !pod.phase.is_terminal() {
            claim.terminating += 1;
        }
        if !pod.is_active() {
            continue;
        }
        match (ours, selected) {
            (true, true) => claim.owned.push(pod),
            (true, false) if !set.metadata.is_deleting() => claim.release.push(pod),
            (false, true) if !set.metadata.is_deleting() => claim.adopt.push(pod),
            _ => {}
        }
    }
    claim
}

/// How the number of pods must change.
#[derive(Debug, PartialEq)]
pub enum Scale {
    Keep,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

impl PartialEq for Pod {
    fn eq(&self, other: &Self) -> bool {
        self.meta.uid == other.meta.uid
    }
}

/// `related` counts the active pods per node of all sets with the same owner: pods that stand close together go first.
pub fn scale(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    related: &HashMap<Box<str>, usize>,
    now: Timestamp,
) -> Scale {
    let wanted = usize::try_from(set.spec.replicas).unwrap_or(0);
    match active.len().cmp(&wanted) {
        Ordering::Equal => Scale::Keep,
        Ordering::Less => Scale::Create((wanted - active.len()).min(BURST)),
        Ordering::Greater => {
            let count = (active.len() - wanted).min(BURST);
            let mut pods = active.to_vec();
            pods.sort_by(|a, b| deletion_order(a, b, related, now));
            pods.truncate(count);
            Scale::Delete(pods)
        }
    }
}

/// Less is deleted first: unassigned, pending, not ready, cheap, crowded, ready for a short time, restarted often, young.
fn deletion_order(
    a: &Pod,
    b: &Pod,
    related: &HashMap<Box<str>, usize>,
    now: Timestamp,
) -> Ordering {
    let rank = |pod: &Pod| related.get(&pod.node_name).copied().unwrap_or(0);
    let ready_since = |pod: &Pod| pod.ready.and_then(|ready| ready.since);
    let by_ready_time = || {
        if a.is_ready() && b.is_ready() {
            younger_first(ready_since(a), ready_since(b), now, a, b)
        } else {
            Ordering::Equal
        }
    };
    (!a.node_name.is_empty())
        .cmp(&!b.node_name.is_empty())
        .then_with(|| phase_order(a.phase).cmp(&phase_order(b.phase)))
        .then_with(|| a.is_ready().cmp(&b.is_ready()))
        .then_with(|| a.deletion_cost.cmp(&b.deletion_cost))
        .then_with(|| rank(b).cmp(&rank(a)))
        .then_with(by_ready_time)
        .then_with(|| b.restarts.cmp(&a.restarts))
        .then_with(|| {
            younger_first(
                a.meta.creation_timestamp,
                b.meta.creation_timestamp,
                now,
                a,
                b,
            )
        })
}

fn phase_order(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        _ => 2,
    }
}

/// Ages are compared by their order of magnitude, so that pods of about one age are told apart by their (random) uid.
fn younger_first(
    a: Option<Timestamp>,
    b: Option<Timestamp>,
    now: Timestamp,
    x: &Pod,
    y: &Pod,
) -> Ordering {
    let (a, b) = match (a, b) {
        (None, None) => return Ordering::Equal,
        (None, Some(_)) => return Ordering::Less,
        (Some(_), None) => return Ordering::Greater,
        (Some(a), Some(b)) if a == b => return Ordering::Equal,
        (Some(a), Some(b)) => (a, b),
    };
    let magnitude = |time: Timestamp| {
        let age = now.duration_since(time).as_nanos();
        u128::try_from(age)
            .ok()
            .and_then(u128::checked_ilog2)
            .map_or(-1, i64::from)
    };
    magnitude(a)
        .cmp(&magnitude(b))
        .then_with(|| x.meta.uid.cmp(&y.meta.uid))
}

/// The status to report. `failure` is what went wrong while scaling, in words.
pub fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&str>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let template = set.spec.template.value();
    let labels: Pairs =
        serde_json::from_value(template["metadata"]["labels"].clone()).unwrap_or_default();
    let labelled = |pod: &&Arc<Pod>| {
        labels
            .iter()
            .all(|(key, value)| pod.meta.labels.get(key) == Some(value))
    };
    let min_ready = i64::from(set.spec.min_ready_seconds);
    let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let available = active
        .iter()
        .filter(|pod| pod.is_available(min_ready, now))
        .count();
    let mut conditions = set.status.conditions.clone();
    let failing = conditions
        .iter()
        .any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some(message) if !failing => {
            conditions.push(failure_condition(set, active.len(), message, now))
        }
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some(_) => {}
    }
    ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: count(active.iter().filter(labelled).count()),
        ready_replicas: count(active.iter().filter(|pod| pod.is_ready()).count()),
        available_replicas: count(available),
        terminating_replicas: Some(count(terminating)),
        observed_generation: set.metadata.generation,
        conditions,
    }
}

fn failure_condition(set: &ReplicaSet, active: usize, message: &str, now: Timestamp) -> Condition {
    let wanted = usize::try_from(set.spec.replicas).unwrap_or(0);
    let reason = match active.cmp(&wanted) {
        Ordering::Less => "FailedCreate",
        Ordering::Greater => "FailedDelete",
        Ordering::Equal => "",
    };
    Condition {
        type_: "ReplicaFailure".into(),
        status: ConditionStatus::True,
        last_update_time: None,
        last_transition_time: Some(rfc3339(now)),
        reason: reason.into(),
        message: message.into(),
    }
}

/// When the next ready pod will count as available, if one is waiting for that.
pub fn next_availability(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    now: Timestamp,
) -> Option<Timestamp> {
    let min_ready = i64::from(set.spec.min_ready_seconds);
    active
        .iter()
        .filter_map(|pod| pod.available_at(min_ready))
        .filter(|at| *at > now)
        .min()
}

/// The reference that makes `meta` the controller of what carries it.
pub fn controller_reference(api_version: &str, kind: &str, meta: &Meta) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": meta.name, "uid": meta.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// A pod as the set's template says.
pub fn pod_from_template(set: &ReplicaSet) -> Value {
    let mut template = set.spec.template.value();
    let mut metadata = json!({
        "generateName": format!("{}-", set.metadata.name),
        "namespace": set.metadata.namespace,
        "ownerReferences": [controller_reference("apps/v1", "ReplicaSet", &set.metadata)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = template["metadata"][field].take();
        if !value.is_null() {
            metadata[field] = value;
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"].take()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "n", "uid": "rs", "generation": 3},
            "spec": {"replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web", "extra": "yes"}, "annotations": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]}}}
        }))
        .unwrap()
    }

    /// `owner`: uid of the controller, or "".
    fn pod(name: &str, owner: &str, app: &str, extra: Value) -> Arc<Pod> {
        let owners = if owner.is_empty() {
            json!([])
        } else {
            json!([{"uid": owner, "controller": true}])
        };
        let mut object = json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": app}, "ownerReferences": owners},
            "spec": {}, "status": {"phase": "Running"}
        });
        merge(&mut object, extra);
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    fn ready(since: &str) -> Value {
        json!({"spec": {"nodeName": "x"},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}})
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|pod| &*pod.meta.name).collect()
    }

    #[test]
    fn pods_are_claimed_by_reference_and_selector() {
        let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let claim = claim(
            &set(1),
            [
                pod("ours", "rs", "web", json!({})),
                pod("relabelled", "rs", "other", json!({})),
                pod("orphan", "", "web", json!({})),
                pod("strange", "", "other", json!({})),
                pod("theirs", "another", "web", json!({})),
                pod("going", "rs", "web", deleting.clone()),
                pod("orphan-going", "", "web", deleting),
                pod(
                    "done",
                    "rs",
                    "web",
                    json!({"status": {"phase": "Succeeded"}}),
                ),
            ],
        );
        assert_eq!(names(&claim.owned), ["ours"]);
        assert_eq!(names(&claim.release), ["relabelled"]);
        assert_eq!(names(&claim.adopt), ["orphan"]);
        assert_eq!(claim.terminating, 1);
    }

    #[test]
    fn the_difference_is_made_in_bursts() {
        let pods: Vec<_> = (0..3)
            .map(|i| pod(&format!("p{i}"), "rs", "web", json!({})))
            .collect();
        let none = HashMap::new();
        assert_eq!(scale(&set(3), &pods, &none, now()), Scale::Keep);
        assert_eq!(scale(&set(5), &pods, &none, now()), Scale::Create(2));
        assert_eq!(scale(&set(5000), &pods, &none, now()), Scale::Create(BURST));
        assert!(
            matches!(scale(&set(0), &pods, &none, now()), Scale::Delete(all) if all.len() == 3)
        );
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        let cheap = json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}});
        let mut cheap_ready = ready("2026-01-01T00:00:00Z");
        merge(&mut cheap_ready, cheap);
        let pods = vec![
            pod("old-ready", "rs", "web", ready("2026-01-01T00:00:00Z")),
            pod("new-ready", "rs", "web", ready("2026-01-01T11:59:00Z")),
            pod("cheap", "rs", "web", cheap_ready),
            pod("unready", "rs", "web", json!({"spec": {"nodeName": "x"}})),
            pod(
                "pending",
                "rs",
                "web",
                json!({"spec": {"nodeName": "x"}, "status": {"phase": "Pending"}}),
            ),
            pod(
                "unassigned",
                "rs",
                "web",
                json!({"status": {"phase": "Pending"}}),
            ),
        ];
        let Scale::Delete(order) = scale(&set(0), &pods, &HashMap::new(), now()) else {
            panic!()
        };
        assert_eq!(
            names(&order),
            [
                "unassigned",
                "pending",
                "unready",
                "cheap",
                "new-ready",
                "old-ready"
            ]
        );
    }

    #[test]
    fn crowded_nodes_are_thinned_out_first() {
        let on = |name: &str, node: &str| {
            let mut extra = ready("2026-01-01T00:00:00Z");
            merge(&mut extra, json!({"spec": {"nodeName": node}}));
            pod(name, "rs", "web", extra)
        };
        let pods = vec![on("alone", "a"), on("crowd", "b")];
        let related = HashMap::from([("a".into(), 1), ("b".into(), 4)]);
        let Scale::Delete(order) = scale(&set(1), &pods, &related, now()) else {
            panic!()
        };
        assert_eq!(names(&order), ["crowd"]);
    }

    #[test]
    fn status_counts() {
        let mut labelled = ready("2026-01-01T11:59:55Z");
        merge(
            &mut labelled,
            json!({"metadata": {"labels": {"extra": "yes"}}}),
        );
        let pods = vec![
            pod("a", "rs", "web", ready("2026-01-01T11:00:00Z")),
            pod("b", "rs", "web", labelled),
            pod("c", "rs", "web", json!({})),
        ];
        let status = status(&set(4), &pods, 2, Some("quota"), now());
        assert_eq!(
            (
                status.replicas,
                status.ready_replicas,
                status.available_replicas
            ),
            (3, 2, 1)
        );
        assert_eq!(
            (status.fully_labeled_replicas, status.terminating_replicas),
            (1, Some(2))
        );
        assert_eq!(status.observed_generation, 3);
        assert_eq!(status.conditions[0].reason, "FailedCreate");
        assert_eq!(
            next_availability(&set(4), &pods, now()),
            Some("2026-01-01T12:00:05Z".parse().unwrap())
        );
        let mut failed = set(4);
        failed.status.conditions = status.conditions;
        assert!(
            super::status(&failed, &pods, 0, None, now())
                .conditions
                .is_empty()
        );
    }

    #[test]
    fn pods_are_made_from_the_template() {
        let pod = pod_from_template(&set(1));
        assert_eq!(pod["metadata"]["generateName"], "web-1-");
        assert_eq!(pod["metadata"]["labels"]["extra"], "yes");
        assert_eq!(pod["metadata"]["annotations"]["a"], "b");
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "rs");
        assert_eq!(pod["spec"]["containers"][0]["image"], "i");
    }
}
