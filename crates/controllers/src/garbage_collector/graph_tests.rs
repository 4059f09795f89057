//! Tables for the ownership graph.

use super::*;
use serde_json::{Value, json};

fn resolve(owner: &OwnerReference) -> Option<(ResourceId, bool)> {
    match &*owner.kind {
        "ReplicaSet" => Some((1, true)),
        "Pod" => Some((2, true)),
        "Node" => Some((3, false)),
        _ => None,
    }
}

fn graph() -> Graph {
    Graph::new(resolve)
}

fn owner(kind: &str, uid: &str, blocks: bool) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
}

fn meta(uid: &str, owners: Value, deleting: bool, finalizers: &[&str]) -> Meta {
    serde_json::from_value(
        json!({"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owners,
        "finalizers": finalizers, "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")}),
    )
    .unwrap()
}

fn plain(uid: &str, owners: Value) -> Meta {
    meta(uid, owners, false, &[])
}

fn delete(uid: &str) -> Task {
    Task::Delete(uid.into())
}

fn sorted(mut tasks: Vec<Task>) -> Vec<Task> {
    tasks.sort();
    tasks.dedup();
    tasks
}

#[test]
fn a_deleted_owner_puts_its_dependents_up() {
    let mut graph = graph();
    assert_eq!(graph.observe(1, &plain("rs", json!([]))), []);
    assert_eq!(
        graph.observe(2, &plain("p1", json!([owner("ReplicaSet", "rs", true)]))),
        []
    );
    assert_eq!(
        graph.observe(2, &plain("p2", json!([owner("ReplicaSet", "rs", true)]))),
        []
    );
    assert_eq!(sorted(graph.remove("rs")), [delete("p1"), delete("p2")]);
    graph.remove("p1");
    assert!(graph.get("rs").is_some_and(|node| node.is_virtual));
    graph.remove("p2");
    assert!(
        graph.is_empty(),
        "nothing is kept of an owner that nobody names"
    );
}

#[test]
fn an_owner_that_nobody_has_seen_is_asked_for() {
    let mut graph = graph();
    assert_eq!(
        graph.observe(2, &plain("p", json!([owner("ReplicaSet", "rs", false)]))),
        [delete("rs")]
    );
    assert!(graph.get("rs").is_some_and(|node| node.is_virtual));
    // It turns up after all.
    assert_eq!(graph.observe(1, &plain("rs", json!([]))), []);
    assert!(!graph.get("rs").is_some_and(|node| node.is_virtual));
    assert_eq!(graph.get("rs").map(|node| node.dependents.len()), Some(1));
}

#[test]
fn settled_objects_need_no_request() {
    let mut graph = graph();
    let pod = plain("p", json!([owner("ReplicaSet", "rs", true)]));
    graph.observe(2, &pod);
    assert!(!graph.is_settled("p"), "the owner has not been seen");
    graph.observe(1, &plain("rs", json!([])));
    assert!(graph.is_settled("p") && graph.is_settled("rs"));
    graph.remove("rs");
    assert!(!graph.is_settled("p"));
    let late = plain("late", json!([owner("ReplicaSet", "rs", true)]));
    assert_eq!(
        graph.observe(2, &late),
        [delete("late")],
        "an owner known to be gone is not waited for"
    );
}

#[test]
fn an_owner_of_an_unknown_kind_is_left_alone() {
    let mut graph = graph();
    assert_eq!(
        graph.observe(2, &plain("p", json!([owner("Strange", "s", false)]))),
        []
    );
    assert_eq!(graph.get("s").map(|node| node.place.resource), Some(None));
}

#[test]
fn an_owner_at_another_place_is_no_owner() {
    // A pod names a replica set by a uid that belongs to one in another namespace.
    let mut other = plain("rs", json!([]));
    other.namespace = "other".into();
    let pod = plain("p", json!([owner("ReplicaSet", "rs", false)]));
    let mut seen_first = graph();
    seen_first.observe(1, &other);
    assert_eq!(seen_first.observe(2, &pod), [delete("p")]);
    let mut seen_later = graph();
    seen_later.observe(2, &pod);
    assert_eq!(seen_later.observe(1, &other), [delete("p")]);
}

#[test]
fn foreground_deletion_goes_from_the_leaves_up() {
    let mut graph = graph();
    graph.observe(1, &plain("rs", json!([])));
    graph.observe(2, &plain("p1", json!([owner("ReplicaSet", "rs", true)])));
    graph.observe(2, &plain("p2", json!([owner("ReplicaSet", "rs", false)])));
    let tasks = graph.observe(1, &meta("rs", json!([]), true, &[FOREGROUND]));
    assert_eq!(sorted(tasks), [delete("p1"), delete("p2"), delete("rs")]);
    assert_eq!(
        graph.blocking("rs"),
        [("p1".into(), false)],
        "only those that block are waited for"
    );
    assert_eq!(graph.remove("p1"), [delete("rs")]);
    assert!(graph.blocking("rs").is_empty());
    // A dependent that no longer blocks frees its owner as well.
    let mut graph = super::tests::graph();
    graph.observe(1, &meta("rs", json!([]), true, &[FOREGROUND]));
    assert_eq!(
        graph.observe(2, &plain("p", json!([owner("ReplicaSet", "rs", true)]))),
        [delete("p")]
    );
    assert_eq!(
        graph.observe(2, &plain("p", json!([owner("ReplicaSet", "rs", false)]))),
        [delete("rs")]
    );
}

#[test]
fn orphaning_is_asked_for_by_finalizer() {
    let mut graph = graph();
    graph.observe(1, &plain("rs", json!([])));
    graph.observe(2, &plain("p", json!([owner("ReplicaSet", "rs", true)])));
    assert_eq!(
        graph.observe(1, &meta("rs", json!([]), true, &[ORPHAN])),
        [Task::Orphan("rs".into())]
    );
    // The dependent is freed, then the owner goes: nobody is left to delete.
    assert_eq!(graph.observe(2, &plain("p", json!([]))), []);
    assert_eq!(graph.remove("rs"), []);
}

#[test]
fn a_new_list_removes_what_is_not_in_it() {
    let mut graph = graph();
    graph.observe(1, &plain("rs", json!([])));
    graph.observe(2, &plain("p", json!([owner("ReplicaSet", "rs", true)])));
    let other = plain("rs2", json!([]));
    assert_eq!(graph.restart(1, std::iter::once(&other)), [delete("p")]);
    assert!(graph.get("rs2").is_some());
}
