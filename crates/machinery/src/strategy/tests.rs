//! Rules that hold for every kind.

use super::*;
use serde_json::json;

#[test]
fn every_resource_has_rules() {
    for resource in catalogue::resources() {
        let rules = of(resource);
        let object =
            json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {}});
        assert!(
            rules
                .validate(&object)
                .iter()
                .any(|e| e.field == "metadata.name"),
            "{}",
            resource.group_resource()
        );
    }
}

#[test]
fn status_is_the_servers() {
    let ctx = Ctx {
        now: jiff::Timestamp::UNIX_EPOCH,
        uid: uuid::Uuid::nil(),
        entropy: 0,
        namespace: String::new(),
    };
    let jobs = of(catalogue::find("batch", "v1", "jobs").unwrap());
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": {}, "status": {"active": 3}});
    jobs.prepare_for_create(&mut job, &ctx);
    assert_eq!(job["status"], json!({}));
    let nodes = of(catalogue::find("", "v1", "nodes").unwrap());
    let mut node = json!({"metadata": {}, "status": {"capacity": {"cpu": "1"}}});
    nodes.prepare_for_create(&mut node, &ctx);
    assert_eq!(node["status"]["capacity"]["cpu"], "1");
}

#[test]
fn facts_of_some_kinds() {
    let of = |group, plural| of(catalogue::find(group, "v1", plural).unwrap());
    assert!(of("", "services").allow_create_on_update());
    assert!(!of("", "pods").allow_create_on_update());
    assert!(!of("coordination.k8s.io", "leases").allow_unconditional_update());
    assert!(of("", "configmaps").allow_unconditional_update());
    assert_eq!(
        of("coordination.k8s.io", "leases").durability(),
        Durability::Relaxed
    );
}
