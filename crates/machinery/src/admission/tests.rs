//! The admission steps by example.

use super::*;
use crate::Ctx;
use fluyt_api::catalogue;
use serde_json::json;

fn pods() -> &'static Resource {
    catalogue::find("", "v1", "pods").unwrap()
}

fn ctx() -> Ctx {
    Ctx {
        now: jiff::Timestamp::UNIX_EPOCH,
        uid: uuid::Uuid::nil(),
        entropy: 1,
        namespace: "default".into(),
    }
}

#[test]
fn tolerations_are_added_once() {
    let mut pod = json!({"spec": {}});
    default_tolerations(&mut pod);
    assert_eq!(
        pod["spec"]["tolerations"][0],
        json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    );
    let once = pod.clone();
    default_tolerations(&mut pod);
    assert_eq!(pod, once);
    let mut tolerant = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    default_tolerations(&mut tolerant);
    assert_eq!(tolerant["spec"]["tolerations"].as_array().unwrap().len(), 1);
}

#[test]
fn accounts_bring_tokens() {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    assert_eq!(
        default_service_account(&mut pod).as_deref(),
        Some("default")
    );
    let account = json!({"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "s"}]});
    service_account(pods(), &mut pod, Some(&account), &ctx()).unwrap();
    let spec = &pod["spec"];
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-") && volume.len() == 21);
    assert_eq!(
        spec["containers"][0]["volumeMounts"][0],
        json!({"name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"})
    );
    assert_eq!(
        spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"],
        3607
    );
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
    let once = pod.clone();
    service_account(pods(), &mut pod, Some(&account), &ctx()).unwrap();
    assert_eq!(pod, once);

    let mut quiet =
        json!({"spec": {"automountServiceAccountToken": false, "containers": [{"name": "c"}]}});
    default_service_account(&mut quiet);
    service_account(pods(), &mut quiet, Some(&account), &ctx()).unwrap();
    assert!(quiet["spec"].get("volumes").is_none());
    let refused = service_account(pods(), &mut pod, None, &ctx()).unwrap_err();
    assert_eq!(
        refused.message,
        "pods \"p\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
    );
}

#[test]
fn priorities_come_from_classes() {
    let classes = system_priority_classes();
    let find = |name: &str| classes.iter().find(|c| c["metadata"]["name"] == name);
    let mut pod =
        json!({"metadata": {"name": "p"}, "spec": {"priorityClassName": "system-node-critical"}});
    priority(pods(), &mut pod, find, None).unwrap();
    assert_eq!(pod["spec"]["priority"], 2_000_001_000);
    let mut plain = json!({"spec": {}});
    priority(pods(), &mut plain, find, None).unwrap();
    assert_eq!(
        plain["spec"],
        json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})
    );
    let mut lost = json!({"metadata": {"name": "p"}, "spec": {"priorityClassName": "x"}});
    assert_eq!(
        priority(pods(), &mut lost, find, None).unwrap_err().message,
        "pods \"p\" is forbidden: no PriorityClass with name x was found"
    );
    let mut bold = json!({"metadata": {"name": "p"}, "spec": {"priority": 5}});
    assert!(priority(pods(), &mut bold, find, None).unwrap_err().message.contains("the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0"));
}

#[test]
fn limit_ranges_fill_in_and_bound() {
    let range = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}, "max": {"cpu": "2"}, "min": {"cpu": "100m"}}]}});
    let ranges = [range];
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    apply_limit_defaults(&mut pod, &ranges);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}})
    );
    assert_eq!(
        pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    check_limits(pods(), &pod, &ranges).unwrap();
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("3");
    assert_eq!(
        check_limits(pods(), &pod, &ranges).unwrap_err().message,
        "pods \"p\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
}

#[test]
fn quotas_are_charged_and_refuse() {
    let quota = |used: &str| json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}, "used": {"pods": used}}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    let changed = check_quotas(pods(), &pod, None, &[quota("1")]).unwrap();
    assert_eq!(changed[0]["status"]["used"]["pods"], "2");
    assert_eq!(
        check_quotas(pods(), &pod, None, &[quota("2")])
            .unwrap_err()
            .message,
        "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    assert!(
        check_quotas(pods(), &pod, Some(&pod), &[quota("2")])
            .unwrap()
            .is_empty()
    );
    let cpu = json!({"metadata": {"name": "q"}, "status": {"hard": {"requests.cpu": "2"}, "used": {"requests.cpu": "0"}}});
    assert_eq!(
        check_quotas(pods(), &pod, None, &[cpu])
            .unwrap_err()
            .message,
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
}

#[test]
fn namespaces_that_go_take_nothing_new() {
    let pod = json!({"metadata": {"name": "p"}});
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let refused = check_namespace(pods(), &pod, "n", Some(&going)).unwrap_err();
    assert_eq!(
        refused.message,
        "pods \"p\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    assert_eq!(
        check_namespace(pods(), &pod, "n", None).unwrap_err().code,
        404
    );
    check_namespace(pods(), &pod, "n", Some(&json!({"metadata": {}}))).unwrap();
    assert!(check_namespace_deletion("kube-system").is_err());
}

#[test]
fn defaults_of_storage_and_nodes() {
    let classes = [
        json!({"metadata": {"name": "a", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
        json!({"metadata": {"name": "b"}}),
    ];
    let mut claim = json!({"metadata": {}, "spec": {}});
    default_class("PersistentVolumeClaim", &mut claim, &classes);
    protect_storage("PersistentVolumeClaim", &mut claim);
    assert_eq!(
        claim,
        json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}, "spec": {"storageClassName": "a"}})
    );
    let mut node = json!({"spec": {}});
    taint_new_node(&mut node);
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}
