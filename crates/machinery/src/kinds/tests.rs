//! Kind by kind: what a create makes of an object, what is wrong with it, what an update may change.

use fluyt_api::catalogue::{self, Resource};
use serde_json::{Value, json};

use crate::codec::{FieldValidation, Gvk, decode_value};
use crate::get::Put;
use crate::{Ctx, defaults, meta, strategy};

fn ctx() -> Ctx {
    Ctx {
        now: jiff::Timestamp::UNIX_EPOCH,
        uid: uuid::Uuid::nil(),
        entropy: 7,
        namespace: "default".into(),
    }
}

fn find(kind: &str) -> &'static Resource {
    catalogue::resources()
        .iter()
        .find(|r| r.kind == kind && r.version == "v1" && r.is_persisted())
        .unwrap()
}

/// An object as the server would keep it when created.
fn made(kind: &str, input: Value) -> Value {
    let resource = find(kind);
    let gvk = Gvk {
        group: resource.group,
        version: resource.version,
        kind: resource.kind,
    };
    let mut object = decode_value(input, resource.type_id, &gvk, FieldValidation::Strict)
        .unwrap()
        .object;
    object.open("metadata").or_put("name", "x");
    defaults::apply(resource, &mut object);
    meta::create_meta(resource, &mut object, "", &ctx()).unwrap();
    strategy::of(resource).prepare_for_create(&mut object, &ctx());
    object
}

fn check(kind: &str, input: Value, want: &[&str]) {
    let object = made(kind, input);
    let found: Vec<String> = strategy::of(find(kind))
        .validate(&object)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, want, "{object}");
}

fn check_update(kind: &str, old: Value, new: Value, want: &[&str]) {
    let (old, mut new) = (made(kind, old), made(kind, new));
    let rules = strategy::of(find(kind));
    rules.prepare_for_update(&mut new, &old, &ctx());
    let found: Vec<String> = rules
        .validate_update(&new, &old)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, want, "{new}");
}

fn template(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[test]
fn services() {
    check("Service", json!({"spec": {"ports": [{"port": 80}]}}), &[]);
    check(
        "Service",
        json!({"spec": {}}),
        &["spec.ports: Required value"],
    );
    check("Service", json!({"spec": {"clusterIP": "None"}}), &[]);
    check(
        "Service",
        json!({"spec": {"ports": [{"port": 0}]}}),
        &[
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    );
    check(
        "Service",
        json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}),
        &[
            "spec.ports[0].name: Required value",
            "spec.ports[1].name: Required value",
        ],
    );
    check(
        "Service",
        json!({"spec": {"type": "ExternalName"}}),
        &["spec.externalName: Required value"],
    );
    check(
        "Service",
        json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}]}}),
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    check(
        "Service",
        json!({"spec": {"type": "Magic", "ports": [{"port": 80}]}}),
        &[
            "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ],
    );
}

#[test]
fn services_keep_their_addresses() {
    let old = made(
        "Service",
        json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 30001}]}}),
    );
    assert_eq!(old["spec"]["clusterIPs"], json!(["10.0.0.7"]));
    let mut new = made(
        "Service",
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
    );
    let rules = strategy::of(find("Service"));
    rules.prepare_for_update(&mut new, &old, &ctx());
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.7");
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
    check_update(
        "Service",
        json!({"spec": {"clusterIP": "10.0.0.7", "ports": [{"port": 80}]}}),
        json!({"spec": {"clusterIP": "10.0.0.8", "ports": [{"port": 80}]}}),
        &["spec.clusterIPs: Invalid value: [\"10.0.0.8\"]: may not change once set"],
    );
}

#[test]
fn maps_and_secrets() {
    check(
        "ConfigMap",
        json!({"data": {"a b": "c"}}),
        &[
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ],
    );
    check(
        "ConfigMap",
        json!({"data": {"a": "x".repeat(1 << 20)}}),
        &[],
    );
    check(
        "ConfigMap",
        json!({"data": {"ab": "x".repeat((1 << 20) + 1)}}),
        &["[]: Too long: may not be more than 1048576 bytes"],
    );
    check_update(
        "ConfigMap",
        json!({"immutable": true, "data": {"a": "b"}}),
        json!({"data": {"a": "c"}}),
        &[
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ],
    );
    check(
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}}),
        &["data[tls.key]: Required value"],
    );
    check_update(
        "Secret",
        json!({"type": "a"}),
        json!({"type": "b"}),
        &["type: Invalid value: \"b\": field is immutable"],
    );
}

#[test]
fn deployments() {
    let good = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template(json!({"a": "b"}))}});
    check("Deployment", good.clone(), &[]);
    check(
        "Deployment",
        json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template(json!({"a": "c"}))}}),
        &[
            "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
        ],
    );
    check(
        "Deployment",
        json!({"spec": {"replicas": -1, "template": template(json!({}))}}),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
        ],
    );
    let mut other = good.clone();
    other["spec"]["strategy"] = json!({"type": "Recreate", "rollingUpdate": {}});
    check(
        "Deployment",
        other,
        &[
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ],
    );
    let mut other = good.clone();
    other["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    check(
        "Deployment",
        other,
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ],
    );
    let moved = json!({"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": template(json!({"a": "c"}))}});
    check_update(
        "Deployment",
        good.clone(),
        moved,
        &["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"],
    );
    let mut wide = good.clone();
    wide["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}});
    check(
        "Deployment",
        wide,
        &[
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ],
    );
}

#[test]
fn deployment_generations_count_annotations() {
    let rules = strategy::of(find("Deployment"));
    let old = made(
        "Deployment",
        json!({"spec": {"template": template(json!({}))}}),
    );
    assert_eq!(old["metadata"]["generation"], 1);
    let mut annotated = old.clone();
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    rules.prepare_for_update(&mut annotated, &old, &ctx());
    assert_eq!(annotated["metadata"]["generation"], 2);
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    rules.prepare_for_update(&mut labelled, &old, &ctx());
    assert_eq!(labelled["metadata"]["generation"], 1);
}

#[test]
fn other_workloads() {
    let spec = |more: Value| {
        let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template(json!({"a": "b"}))});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    for kind in ["ReplicaSet", "DaemonSet", "StatefulSet"] {
        check(kind, spec(json!({})), &[]);
    }
    check(
        "DaemonSet",
        spec(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}})),
        &[
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ],
    );
    check_update(
        "StatefulSet",
        spec(json!({})),
        spec(json!({"serviceName": "s"})),
        &[
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ],
    );
}

#[test]
fn jobs() {
    let mut work = template(json!({}));
    work["spec"]["restartPolicy"] = json!("Never");
    let job = made("Job", json!({"spec": {"template": work.clone()}}));
    assert_eq!(
        job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"],
        job["metadata"]["uid"]
    );
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"]["job-name"],
        "x"
    );
    check("Job", json!({"spec": {"template": work.clone()}}), &[]);
    check(
        "Job",
        json!({"spec": {"template": template(json!({}))}}),
        &[
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ],
    );
    let cron = |schedule: &str| json!({"spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": work}}}});
    check("CronJob", cron("*/5 0-6 * jan mon,fri"), &[]);
    check("CronJob", cron("@hourly"), &[]);
    check(
        "CronJob",
        cron("61 * * * *"),
        &["spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"],
    );
}

#[test]
fn roles_and_bindings() {
    check(
        "Role",
        json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        &[],
    );
    check(
        "Role",
        json!({"rules": [{"verbs": [], "nonResourceURLs": ["/x"]}]}),
        &[
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
        ],
    );
    let binding = |role: &str| json!({"roleRef": {"kind": "Role", "name": role}, "subjects": [{"kind": "User", "name": "u"}]});
    check("RoleBinding", binding("a"), &[]);
    check_update(
        "RoleBinding",
        binding("a"),
        binding("b"),
        &[
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"b\"}: cannot change roleRef",
        ],
    );
    let mut named = made(
        "ClusterRole",
        json!({"metadata": {"name": "system:node"}, "rules": []}),
    );
    named["rules"] = json!([]);
    assert!(
        strategy::of(find("ClusterRole"))
            .validate(&named)
            .is_empty()
    );
}

#[test]
fn endpoints() {
    check(
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80}]}]}),
        &[
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ],
    );
    check(
        "EndpointSlice",
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": []}]}),
        &["endpoints[1].addresses: Required value: must contain at least 1 address"],
    );
}

#[test]
fn small_kinds() {
    check(
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0}}),
        &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
    );
    check(
        "PriorityClass",
        json!({"value": 1_000_000_001}),
        &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    );
    check(
        "PodDisruptionBudget",
        json!({"spec": {"minAvailable": "200%"}}),
        &["spec.minAvailable: Invalid value: \"200%\": must not be greater than 100%"],
    );
    check(
        "PersistentVolumeClaim",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        &[],
    );
    check(
        "PersistentVolumeClaim",
        json!({"spec": {}}),
        &[
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    );
    check(
        "StorageClass",
        json!({"provisioner": ""}),
        &["provisioner: Required value"],
    );
    check(
        "Event",
        json!({"involvedObject": {"namespace": "other"}}),
        &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
    );
    check(
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]}}),
        &[
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than default request value 1",
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
        ],
    );
}

#[test]
fn nodes_and_namespaces() {
    let namespace = made("Namespace", json!({}));
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "x"
    );
    let node = made(
        "Node",
        json!({"spec": {"podCIDR": "10.1.0.0/24"}, "status": {"capacity": {"cpu": "4"}}}),
    );
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.1.0.0/24"]));
    assert_eq!(node["status"]["allocatable"], json!({"cpu": "4"}));
    check_update(
        "Node",
        json!({"spec": {"podCIDR": "10.1.0.0/24"}}),
        json!({"spec": {"podCIDR": "10.2.0.0/24"}}),
        &[
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
        ],
    );
    check(
        "Node",
        json!({"spec": {"taints": [{"key": "a", "effect": "Sometimes"}]}}),
        &[
            "spec.taints[0].effect: Unsupported value: \"Sometimes\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
        ],
    );
}

#[test]
fn nodes_may_have_resources_of_any_name() {
    let amounts = json!({"cpu": "4", "attachable-volumes-csi-ebs.csi.aws.com": "39"});
    check(
        "Node",
        json!({"status": {"capacity": amounts, "allocatable": {"cpu": "-1"}}}),
        &["status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
}
