//! Tables for the deployment plan.

use super::*;
use serde_json::json;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn deployment(replicas: i32, image: &str, extra: Value) -> Deployment {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
        "spec": {"replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": "web"}}, "template": template(image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}},
        "status": {}
    });
    merge(&mut object, extra);
    serde_json::from_value(object).unwrap()
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

/// A replica set of an image: (name, image, revision, size, available, desired annotation).
fn set(
    name: &str,
    image: &str,
    revision: i64,
    replicas: i32,
    available: i32,
    desired: i32,
) -> Arc<ReplicaSet> {
    let surge = (desired + 3) / 4;
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "generation": 1,
                "creationTimestamp": format!("2026-01-01T0{revision}:00:00Z"),
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string(),
                    "deployment.kubernetes.io/desired-replicas": desired.to_string(),
                    "deployment.kubernetes.io/max-replicas": (desired + surge).to_string()}},
            "spec": {"replicas": replicas, "template": template(image)},
            "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available,
                "observedGeneration": 1}
        }))
        .unwrap(),
    )
}

/// The sizes that a plan decides, as "name from->to", with "+name size" for a new set and "-name" for a deleted one.
fn moves(plan: &Plan) -> Vec<String> {
    let text = |step: &Step| match step {
        Step::Create { replicas, .. } => format!("+new {replicas}"),
        Step::Annotate { name, .. } => format!("@{name}"),
        Step::Scale { name, from, to, .. } => format!("{name} {from}->{to}"),
        Step::Delete { name } => format!("-{name}"),
    };
    plan.steps.iter().map(text).collect()
}

fn reason(plan: &Plan, type_: &str) -> String {
    status::find(&plan.status.conditions, type_)
        .map(|condition| condition.reason.clone())
        .unwrap_or_default()
}

#[test]
fn a_new_deployment_gets_its_first_set() {
    let plan = plan(&deployment(3, "v1", json!({})), &[], false, now());
    assert_eq!(moves(&plan), ["+new 3"]);
    let Step::Create { object, name, .. } = &plan.steps[0] else {
        panic!()
    };
    let hash = object["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .unwrap();
    assert_eq!(*name, format!("web-{hash}"));
    assert_eq!(
        object["spec"]["selector"]["matchLabels"],
        json!({"app": "web", "pod-template-hash": hash})
    );
    assert_eq!(
        object["spec"]["template"]["metadata"]["labels"]["pod-template-hash"],
        hash
    );
    assert_eq!(
        object["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"],
        "4"
    );
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(reason(&plan, "Progressing"), "NewReplicaSetCreated");
    assert_eq!(reason(&plan, "Available"), "MinimumReplicasUnavailable");
    assert!(plan.recheck.is_some());
}

#[test]
fn a_rolling_update_stays_within_surge_and_unavailability() {
    // 4 replicas, surge 1, unavailable 1. (sets, moves)
    for (name, sets, expected) in [
        (
            "start",
            vec![set("a", "v1", 1, 4, 4, 4)],
            vec!["+new 1", "a 4->3"],
        ),
        (
            "new one is not available yet",
            vec![set("a", "v1", 1, 3, 3, 4), set("b", "v2", 2, 1, 0, 4)],
            vec!["b 1->2"],
        ),
        (
            "full, nothing to spare",
            vec![set("a", "v1", 1, 3, 3, 4), set("b", "v2", 2, 2, 0, 4)],
            vec![],
        ),
        (
            "one came up",
            vec![set("a", "v1", 1, 3, 3, 4), set("b", "v2", 2, 2, 1, 4)],
            vec!["a 3->2"],
        ),
        (
            "room to grow",
            vec![set("a", "v1", 1, 2, 2, 4), set("b", "v2", 2, 2, 2, 4)],
            vec!["b 2->3"],
        ),
        (
            "unhealthy old pods go first",
            vec![set("a", "v1", 1, 4, 1, 4), set("b", "v2", 2, 1, 1, 4)],
            vec!["a 4->2"],
        ),
        (
            "last step",
            vec![set("a", "v1", 1, 1, 1, 4), set("b", "v2", 2, 4, 4, 4)],
            vec!["a 1->0"],
        ),
        (
            "done",
            vec![set("a", "v1", 1, 0, 0, 4), set("b", "v2", 2, 4, 4, 4)],
            vec![],
        ),
    ] {
        let plan = plan(&deployment(4, "v2", json!({})), &sets, false, now());
        assert_eq!(moves(&plan), expected, "{name}");
    }
}

#[test]
fn rollouts_end_whatever_comes_up_and_never_break_the_bounds() {
    for replicas in 1..8 {
        let wanted = deployment(replicas, "v2", json!({}));
        let (surge, unavailable) = (max_surge(&wanted), max_unavailable(&wanted));
        let mut sets = vec![set("a", "v1", 1, replicas, replicas, replicas)];
        let mut rounds = 0;
        loop {
            let next = plan(&wanted, &sets, false, now());
            if next.steps.is_empty() {
                break;
            }
            for step in &next.steps {
                sets = apply(&sets, step, replicas);
            }
            let total: i32 = sets.iter().map(|set| set.spec.replicas).sum();
            let available: i32 = sets
                .iter()
                .map(|set| set.status.available_replicas.min(set.spec.replicas))
                .sum();
            assert!(total <= replicas + surge, "{replicas}: {total} pods");
            assert!(
                available >= replicas - unavailable,
                "{replicas}: {available} available"
            );
            // Everything that was asked for comes up before the next look.
            sets = sets
                .iter()
                .map(|one| {
                    let revision = annotations::revision(&one.metadata.annotations);
                    let image = if revision == 1 { "v1" } else { "v2" };
                    set(
                        &one.metadata.name,
                        image,
                        revision,
                        one.spec.replicas,
                        one.spec.replicas,
                        replicas,
                    )
                })
                .collect();
            rounds += 1;
            assert!(rounds < 30, "{replicas}: the rollout does not end");
        }
        let sizes: Vec<i32> = sets.iter().map(|set| set.spec.replicas).collect();
        assert_eq!(sizes, [0, replicas]);
    }
}

/// What the server and the replica set controller make of a step, before any pod has changed.
fn apply(sets: &[Arc<ReplicaSet>], step: &Step, desired: i32) -> Vec<Arc<ReplicaSet>> {
    let mut sets = sets.to_vec();
    match step {
        Step::Create { replicas, .. } => sets.push(set("b", "v2", 2, *replicas, 0, desired)),
        Step::Scale { name, to, .. } => {
            for one in &mut sets {
                if one.metadata.name == *name {
                    let mut changed = (**one).clone();
                    changed.spec.replicas = *to;
                    *one = Arc::new(changed);
                }
            }
        }
        Step::Annotate { .. } | Step::Delete { .. } => {}
    }
    sets
}

#[test]
fn scaling_is_shared_out_during_a_rollout() {
    for (name, replicas, sets, expected) in [
        (
            "only one set",
            6,
            vec![set("b", "v2", 1, 4, 4, 4)],
            vec!["b 4->6"],
        ),
        (
            "to zero",
            0,
            vec![set("b", "v2", 1, 4, 4, 4)],
            vec!["b 4->0"],
        ),
        (
            "from zero is no rollout",
            3,
            vec![set("b", "v2", 1, 0, 0, 0)],
            vec!["b 0->3"],
        ),
        (
            "10 of 10 at 8+5 become 20 at their share",
            20,
            vec![set("a", "v1", 1, 8, 8, 10), set("b", "v2", 2, 5, 0, 10)],
            vec!["a 8->15", "b 5->10"],
        ),
        (
            "down to half",
            5,
            vec![set("a", "v1", 1, 8, 8, 10), set("b", "v2", 2, 5, 0, 10)],
            vec!["a 8->4", "b 5->3"],
        ),
    ] {
        let plan = plan(&deployment(replicas, "v2", json!({})), &sets, false, now());
        let scaled: Vec<_> = moves(&plan)
            .into_iter()
            .filter(|text| text.contains("->"))
            .collect();
        assert_eq!(scaled, expected, "{name}");
    }
}

#[test]
fn recreate_waits_for_the_old_pods() {
    let recreate = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
    let wanted = deployment(3, "v2", recreate);
    let mut emptied = (*set("a", "v1", 1, 0, 0, 3)).clone();
    emptied.status.replicas = 1;
    for (name, sets, old_pods, expected) in [
        (
            "old pods go",
            vec![set("a", "v1", 1, 3, 3, 3)],
            true,
            vec!["a 3->0"],
        ),
        (
            "the set still counts one",
            vec![Arc::new(emptied)],
            false,
            vec![],
        ),
        (
            "a pod is terminating",
            vec![set("a", "v1", 1, 0, 0, 3)],
            true,
            vec![],
        ),
        (
            "gone",
            vec![set("a", "v1", 1, 0, 0, 3)],
            false,
            vec!["+new 3"],
        ),
    ] {
        assert_eq!(
            moves(&plan(&wanted, &sets, old_pods, now())),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let paused = json!({"spec": {"paused": true}});
    let sets = [set("a", "v1", 1, 4, 4, 4)];
    let plan4 = plan(&deployment(4, "v2", paused.clone()), &sets, false, now());
    assert_eq!(moves(&plan4), Vec::<String>::new());
    assert_eq!(reason(&plan4, "Progressing"), "DeploymentPaused");
    assert_eq!(
        moves(&plan(&deployment(6, "v2", paused), &sets, false, now())),
        ["a 4->6"]
    );
    let resumed = json!({"status": {"conditions": [{"type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused"}]}});
    let plan = plan(&deployment(4, "v1", resumed), &sets, false, now());
    assert!(
        plan.status
            .conditions
            .iter()
            .any(|condition| condition.reason == "DeploymentResumed"
                || condition.reason == "NewReplicaSetAvailable")
    );
}

#[test]
fn progress_is_told_and_its_lack_too() {
    let condition = |reason: &str, updated: &str| {
        json!({"status": {"conditions": [{"type": "Progressing", "status": "True", "reason": reason,
            "lastUpdateTime": updated, "lastTransitionTime": updated}], "updatedReplicas": 2, "replicas": 2}})
    };
    let half = [set("b", "v2", 1, 2, 1, 2)];
    let full = [set("b", "v2", 1, 2, 2, 2)];
    let created = "NewReplicaSetCreated";
    for (name, extra, sets, expected) in [
        (
            "all there",
            condition(created, "2026-01-01T11:59:00Z"),
            &full,
            "NewReplicaSetAvailable",
        ),
        (
            "some came",
            condition(created, "2026-01-01T11:00:00Z"),
            &half,
            "ReplicaSetUpdated",
        ),
    ] {
        let plan = plan(&deployment(2, "v2", extra), sets, false, now());
        assert_eq!(reason(&plan, "Progressing"), expected, "{name}");
    }
    let none = [set("b", "v2", 1, 2, 0, 2)];
    for (updated, expected, rechecked) in [
        ("2026-01-01T11:55:00Z", created, true),
        ("2026-01-01T11:49:59Z", "ProgressDeadlineExceeded", false),
    ] {
        let plan = plan(
            &deployment(2, "v2", condition(created, updated)),
            &none,
            false,
            now(),
        );
        assert_eq!(
            (
                reason(&plan, "Progressing").as_str(),
                plan.recheck.is_some()
            ),
            (expected, rechecked)
        );
    }
    let settled = plan(
        &deployment(
            2,
            "v2",
            condition("NewReplicaSetAvailable", "2026-01-01T01:00:00Z"),
        ),
        &half,
        false,
        now(),
    );
    assert_eq!(
        reason(&settled, "Progressing"),
        "NewReplicaSetAvailable",
        "a lost pod is no rollout"
    );
}

#[test]
fn history_is_limited_when_the_rollout_is_complete() {
    let complete = json!({"status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}});
    let sets = [
        set("a", "v1", 1, 0, 0, 2),
        set("b", "v2", 2, 0, 0, 2),
        set("c", "v3", 3, 2, 2, 2),
    ];
    assert_eq!(
        moves(&plan(&deployment(2, "v3", complete), &sets, false, now())),
        ["-a"]
    );
    assert_eq!(
        moves(&plan(&deployment(2, "v3", json!({})), &sets, false, now())),
        Vec::<String>::new()
    );
}

#[test]
fn going_back_to_an_old_template_reuses_its_set() {
    let sets = [set("a", "v1", 1, 0, 0, 4), set("b", "v2", 2, 4, 4, 4)];
    let plan = plan(&deployment(4, "v1", json!({})), &sets, false, now());
    assert_eq!(moves(&plan)[..2], ["@a".to_owned(), "a 0->1".to_owned()]);
    assert_eq!(plan.revision.as_deref(), Some("3"));
    let Step::Annotate { annotations, .. } = &plan.steps[0] else {
        panic!()
    };
    assert!(annotations.contains(&(annotations::REVISION_HISTORY.to_owned(), "1".to_owned())));
}
