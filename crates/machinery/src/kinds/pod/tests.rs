//! What is wrong with which pod, in upstream's words.

use fluyt_api::catalogue;
use serde_json::{Value, json};

use crate::codec::{FieldValidation, Gvk, decode_value};
use crate::get::Put;
use crate::strategy::{self, Strategy};
use crate::{Ctx, defaults, patch};

fn ctx() -> Ctx {
    Ctx {
        now: jiff::Timestamp::UNIX_EPOCH,
        uid: uuid::Uuid::nil(),
        entropy: 7,
        namespace: "default".into(),
    }
}

fn rules() -> &'static dyn Strategy {
    strategy::of(pods())
}

fn pods() -> &'static catalogue::Resource {
    catalogue::find("", "v1", "pods").unwrap()
}

/// A valid pod, changed by a strategic merge patch, decoded and defaulted.
fn pod(change: Value) -> Value {
    let base = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "busybox:1"}]}});
    let changed = patch::strategic(pods().type_id, &base, &change).unwrap();
    let gvk = Gvk {
        group: "",
        version: "v1",
        kind: "Pod",
    };
    let mut pod = decode_value(changed, pods().type_id, &gvk, FieldValidation::Strict)
        .unwrap()
        .object;
    defaults::apply(pods(), &mut pod);
    pod
}

fn errors(pod: &Value) -> Vec<String> {
    rules()
        .validate(pod)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn check(change: Value, want: &[&str]) {
    let shown = change.to_string();
    assert_eq!(errors(&pod(change)), want, "{shown}");
}

#[test]
fn a_plain_pod_is_valid_and_defaulted() {
    let mut plain = pod(json!({}));
    assert_eq!(errors(&plain), Vec::<String>::new());
    rules().prepare_for_create(&mut plain, &ctx());
    assert_eq!(
        plain,
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default", "generation": 1},
            "spec": {"containers": [{"name": "c", "image": "busybox:1", "imagePullPolicy": "IfNotPresent",
                    "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
                "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30},
            "status": {"phase": "Pending", "qosClass": "BestEffort"}})
    );
}

#[test]
fn containers_are_checked() {
    let c = |container: Value| json!({"spec": {"containers": [container]}});
    check(
        c(json!({"name": "c", "$patch": "delete"})),
        &["spec.containers: Required value"],
    );
    check(
        c(json!({"name": "B_ad", "image": "x"})),
        &[
            "spec.containers[0].name: Invalid value: \"B_ad\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ],
    );
    check(
        c(json!({"name": "c", "image": ""})),
        &["spec.containers[0].image: Required value"],
    );
    check(
        c(json!({"name": "c", "imagePullPolicy": "Sometimes"})),
        &[
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ],
    );
    check(
        c(json!({"name": "c", "ports": [{"containerPort": 70000}]})),
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ],
    );
    check(
        c(json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
        &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
    );
    check(
        c(json!({"name": "c", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
        &[
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ],
    );
    check(
        c(json!({"name": "c", "resources": {"limits": {"gpu": "1"}}})),
        &[
            "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
        ],
    );
    check(
        c(json!({"name": "c", "livenessProbe": {"periodSeconds": -1}})),
        &[
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
            "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    check(
        c(
            json!({"name": "c", "env": [{"name": "A", "valueFrom": {}}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
        ),
        &[
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
        ],
    );
}

#[test]
fn specs_are_checked() {
    let s = |spec: Value| json!({ "spec": spec });
    check(
        s(json!({"restartPolicy": "Maybe"})),
        &[
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ],
    );
    check(
        s(
            json!({"initContainers": [{"name": "c", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
        ),
        &[
            "spec.initContainers[0].name: Duplicate value: \"c\"",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
    check(
        s(json!({"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/x"}}]})),
        &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
    check(
        s(json!({"volumes": [{"name": "a"}, {"name": "b", "secret": {}}]})),
        &["spec.volumes[1].secret.secretName: Required value"],
    );
    check(
        s(json!({"tolerations": [{"operator": "Equal", "value": "x"}]})),
        &[
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ],
    );
    check(
        s(
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
        ),
        &["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
    );
    check(
        s(
            json!({"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
        ),
        &[
            "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ],
    );
    check(
        s(json!({"activeDeadlineSeconds": 0})),
        &[
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ],
    );
    check(
        json!({"metadata": {"name": "A"}}),
        &[
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    );
}

#[test]
fn quality_of_service() {
    let with = |resources: Value| {
        let mut pod = pod(json!({"spec": {"containers": [{"name": "c", "resources": resources}]}}));
        rules().prepare_for_create(&mut pod, &ctx());
        pod["status"]["qosClass"].clone()
    };
    assert_eq!(with(json!({})), "BestEffort");
    assert_eq!(with(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(with(json!({"limits": {"cpu": "1"}})), "Burstable");
    assert_eq!(
        with(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        "Guaranteed"
    );
}

#[test]
fn updates_keep_to_what_may_change() {
    let stored = |change: Value| {
        let mut pod = pod(change);
        pod.open("metadata").put("resourceVersion", "1");
        pod
    };
    let old = stored(json!({}));
    let update = |change: Value| -> Vec<String> {
        let new = stored(change);
        let found = rules().validate_update(&new, &old);
        found.iter().map(ToString::to_string).collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        update(json!({"spec": {"containers": [{"name": "c", "image": "busybox:2"}]}})),
        none
    );
    assert_eq!(update(json!({"metadata": {"labels": {"a": "b"}}})), none);
    assert_eq!(update(json!({"spec": {"activeDeadlineSeconds": 5}})), none);
    assert_eq!(
        update(json!({"spec": {"tolerations": [{"operator": "Exists"}]}})),
        none
    );
    let refused = update(json!({"spec": {"nodeName": "n"}}));
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"), "{refused:?}");
    assert!(refused[0].contains("nodeName: null -> \"n\""));
    assert_eq!(
        update(json!({"spec": {"containers": [{"name": "d", "image": "x"}]}})),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
}

#[test]
fn status_updates_touch_status_only() {
    let mut old = pod(json!({}));
    rules().prepare_for_create(&mut old, &ctx());
    let mut new = old.clone();
    new["spec"]["nodeName"] = json!("elsewhere");
    new["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
    rules().prepare_for_status_update(&mut new, &old, &ctx());
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"]["phase"], "Running");
    assert_eq!(new["status"]["qosClass"], "BestEffort");
    assert!(rules().validate_status_update(&new, &old).is_empty());
    let fields = rules().selectable_fields(&new);
    assert!(fields.contains(&("status.phase", "Running".into())));
    assert!(fields.contains(&("spec.hostNetwork", "false".into())));
}

#[test]
fn doubtful_pods_are_warned_about() {
    let warned = |change: Value| rules().warnings(&pod(change));
    assert!(warned(json!({})).is_empty());
    assert_eq!(
        warned(json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}})),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"
        ]
    );
    assert_eq!(
        warned(
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "500m"}}}]}})
        ),
        [
            "spec.containers[0].resources.requests[memory]: fractional byte value \"500m\" is invalid, must be an integer"
        ]
    );
    let twice = json!({"spec": {"containers": [{"name": "c", "$patch": "delete"}, {"name": "d", "image": "i",
        "env": [{"name": "A", "value": "1"}]}]}});
    let mut pod = pod(twice);
    pod["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    assert_eq!(
        rules().warnings(&pod),
        [
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"
        ]
    );
    assert!(rules().warnings_on_update(&pod, &json!({})).is_empty());
}
