//! What DELETE does, case by case.

use super::*;
use fluyt_api::catalogue;
use serde_json::json;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn run(plural: &str, object: &Value, options: Value) -> Deletion {
    let resource = ["", "apps", "batch"]
        .iter()
        .find_map(|group| catalogue::find(group, "v1", plural))
        .unwrap();
    delete(resource, object, &options, now()).unwrap()
}

fn marked(deletion: Deletion) -> Value {
    match deletion {
        Deletion::Mark(object) => *object,
        other => panic!("expected a mark, got {other:?}"),
    }
}

#[test]
fn pods_get_their_grace() {
    let pod = json!({"metadata": {"name": "p", "generation": 1},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}});
    let dying = marked(run("pods", &pod, json!({})));
    assert_eq!(
        dying["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:30Z"
    );
    assert_eq!(dying["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(dying["metadata"]["generation"], 2);
    assert_eq!(run("pods", &dying, json!({})), Deletion::Pending);
    assert_eq!(
        run("pods", &dying, json!({"gracePeriodSeconds": 60})),
        Deletion::Pending
    );
    let sooner = marked(run("pods", &dying, json!({"gracePeriodSeconds": 5})));
    assert_eq!(
        sooner["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:05Z"
    );
    assert_eq!(
        run("pods", &dying, json!({"gracePeriodSeconds": 0})),
        Deletion::Remove
    );
}

#[test]
fn pods_that_run_nowhere_go_at_once() {
    let unbound = json!({"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 30}});
    assert_eq!(run("pods", &unbound, json!({})), Deletion::Remove);
    let done = json!({"metadata": {"name": "p"},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Failed"}});
    assert_eq!(run("pods", &done, json!({})), Deletion::Remove);
}

#[test]
fn finalizers_hold() {
    let map = json!({"metadata": {"name": "m", "finalizers": ["example.com/x"]}});
    let dying = marked(run("configmaps", &map, json!({})));
    assert_eq!(
        dying["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:00Z"
    );
    assert_eq!(dying["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(run("configmaps", &dying, json!({})), Deletion::Pending);
    let resource = catalogue::find("", "v1", "configmaps").unwrap();
    let mut free = dying.clone();
    meta::remove_finalizer(&mut free, "example.com/x");
    assert!(completes_deletion(resource, &free, &dying));
    assert!(!completes_deletion(resource, &dying, &dying));
    assert!(!completes_deletion(resource, &map, &map));
}

#[test]
fn propagation_becomes_a_finalizer() {
    let set = json!({"metadata": {"name": "r"}});
    for (options, want) in [
        (json!({"propagationPolicy": "Orphan"}), "orphan"),
        (json!({"orphanDependents": true}), "orphan"),
        (
            json!({"propagationPolicy": "Foreground"}),
            "foregroundDeletion",
        ),
    ] {
        let dying = marked(run("replicasets", &set, options));
        assert_eq!(dying["metadata"]["finalizers"], json!([want]));
    }
    assert_eq!(run("replicasets", &set, json!({})), Deletion::Remove);
    assert_eq!(
        marked(run("jobs", &set, json!({})))["metadata"]["finalizers"],
        json!(["orphan"])
    );
}

#[test]
fn preconditions_must_hold() {
    let resource = catalogue::find("", "v1", "configmaps").unwrap();
    let map = json!({"metadata": {"name": "m", "uid": "a"}});
    let status = delete(
        resource,
        &map,
        &json!({"preconditions": {"uid": "b"}}),
        now(),
    )
    .unwrap_err();
    assert_eq!(status.code, 409);
    assert!(
        status
            .message
            .contains("the UID in the precondition (b) does not match the UID in record (a)")
    );
    let bad = delete(
        resource,
        &map,
        &json!({"propagationPolicy": "Never"}),
        now(),
    )
    .unwrap_err();
    assert_eq!(bad.code, 422);
}

#[test]
fn namespaces_terminate_first() {
    let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
    let dying = marked(run("namespaces", &namespace, json!({})));
    assert_eq!(dying["status"]["phase"], "Terminating");
    assert_eq!(run("namespaces", &dying, json!({})), Deletion::Pending);
    let mut empty = dying.clone();
    empty["spec"] = json!({});
    assert_eq!(run("namespaces", &empty, json!({})), Deletion::Remove);
    assert!(completes_deletion(
        catalogue::find("", "v1", "namespaces").unwrap(),
        &empty,
        &dying
    ));
}
