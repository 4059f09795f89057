//! Defaults, kind by kind, and the law that once is enough.

use super::*;
use crate::codec::plan::plan;
use fluyt_api::catalogue;
use serde_json::json;

fn check(group: &str, version: &str, plural: &str, input: Value, want: Value) {
    let resource = catalogue::find(group, version, plural).unwrap();
    let mut object = input;
    apply(resource, &mut object);
    assert_eq!(object, want);
    apply(resource, &mut object);
    assert_eq!(object, want, "twice");
}

#[test]
fn once_is_enough_for_every_kind() {
    for resource in catalogue::resources() {
        let mut object = plan(resource.type_id).empty();
        object["apiVersion"] = json!(resource.api_version());
        apply(resource, &mut object);
        let once = object.clone();
        apply(resource, &mut object);
        assert_eq!(object, once, "{}", resource.group_resource());
    }
}

#[test]
fn services() {
    check(
        "",
        "v1",
        "services",
        json!({"spec": {"ports": [{"port": 80}]}}),
        json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "sessionAffinity": "None",
            "type": "ClusterIP", "internalTrafficPolicy": "Cluster"}}),
    );
}

#[test]
fn secrets_take_plain_text() {
    check(
        "",
        "v1",
        "secrets",
        json!({"stringData": {"a": "b"}, "data": {"a": "eA=="}}),
        json!({"data": {"a": "Yg=="}, "type": "Opaque"}),
    );
}

#[test]
fn image_policies() {
    for (image, want) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:0", "IfNotPresent"),
    ] {
        let mut spec = json!({"containers": [{"image": image}]});
        pod::pod_spec(&mut spec);
        assert_eq!(spec["containers"][0]["imagePullPolicy"], want, "{image}");
    }
}

#[test]
fn volumes_and_probes() {
    let mut spec = json!({
        "containers": [{"image": "a:1", "livenessProbe": {"httpGet": {"port": 80}}, "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}],
        "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "c"}}, {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {"name": "e", "hostPath": {"path": "/"}}]});
    pod::pod_spec(&mut spec);
    assert_eq!(
        spec["containers"][0]["livenessProbe"],
        json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(
        spec["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"],
        "v1"
    );
    assert_eq!(
        spec["volumes"],
        json!([{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
        {"name": "d", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
        {"name": "e", "hostPath": {"path": "/", "type": ""}}])
    );
}

#[test]
fn deployments() {
    let resource = catalogue::find("apps", "v1", "deployments").unwrap();
    let mut object = json!({"spec": {"template": {"spec": {"containers": []}}}});
    apply(resource, &mut object);
    let spec = &object["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!(
        (
            &spec["revisionHistoryLimit"],
            &spec["progressDeadlineSeconds"]
        ),
        (&json!(10), &json!(600))
    );
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    assert!(spec["template"]["spec"].get("enableServiceLinks").is_none());
}
