//! A table per rule: the node, the pods that it has, and the verdict in upstream's words.

use super::*;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

fn node() -> NodeFacts {
    let amount = |(name, text): (&str, &str)| (name.to_owned(), Quantity(text.to_owned()));
    let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    NodeFacts {
        name: "node1".into(),
        labels: [
            ("disk", "ssd"),
            ("size", "8"),
            ("kubernetes.io/os", "linux"),
        ]
        .map(label)
        .into(),
        allocatable: [
            ("cpu", "2"),
            ("memory", "1Gi"),
            ("ephemeral-storage", "10Gi"),
            ("hugepages-2Mi", "4Mi"),
            ("example.com/gpu", "1"),
            ("pods", "3"),
        ]
        .map(amount)
        .into(),
        ..NodeFacts::default()
    }
}

fn pod(uid: &str, spec: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": []}});
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn asking(uid: &str, requests: Value) -> Pod {
    pod(
        uid,
        json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}),
    )
}

fn with_port(uid: &str, port: Value) -> Pod {
    pod(uid, json!({"containers": [{"name": "c", "ports": [port]}]}))
}

fn annotated(mut pod: Pod, key: &str, value: &str) -> Pod {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(key.to_owned(), value.to_owned());
    pod
}

/// The verdict's reason; "" when the pod is admitted.
fn reason(node: &NodeFacts, others: &[&Pod], pod: &Pod) -> String {
    admit(node, others, pod)
        .err()
        .map(|rejection| rejection.reason)
        .unwrap_or_default()
}

fn rejection(others: &[&Pod], pod: &Pod) -> (String, String) {
    let rejection = admit(&node(), others, pod).unwrap_err();
    (rejection.reason, rejection.message)
}

#[test]
fn an_ordinary_pod_is_admitted() {
    let plain = pod("a", json!({"nodeName": "node1"}));
    assert_eq!(admit(&node(), &[], &plain), Ok(()));
}

#[test]
fn resources_are_what_is_left() {
    let other = asking(
        "other",
        json!({"cpu": "1500m", "memory": "512Mi", "example.com/gpu": "1"}),
    );
    for (requests, expected) in [
        (json!({"cpu": "500m", "memory": "512Mi"}), ""),
        (json!({"cpu": "501m"}), "OutOfcpu"),
        (json!({"memory": "513Mi"}), "OutOfmemory"),
        (json!({"cpu": "2", "memory": "2Gi"}), "OutOfcpu"),
        (
            json!({"ephemeral-storage": "11Gi"}),
            "OutOfephemeral-storage",
        ),
        (json!({"hugepages-2Mi": "6Mi"}), "OutOfhugepages-2Mi"),
        (json!({"example.com/gpu": "1"}), "OutOfexample.com/gpu"),
        // Nothing that this node knows: whoever placed the pod knows more.
        (json!({"example.com/license": "5"}), ""),
        (json!({"cpu": "0", "memory": "0"}), ""),
    ] {
        let pod = asking("a", requests.clone());
        assert_eq!(reason(&node(), &[&other], &pod), expected, "{requests}");
    }
}

#[test]
fn an_overcommitted_node_takes_pods_that_ask_for_nothing() {
    let other = asking("other", json!({"cpu": "4"}));
    assert_eq!(reason(&node(), &[&other], &pod("a", json!({}))), "");
    let less = asking("a", json!({"memory": "1Mi"}));
    assert_eq!(reason(&node(), &[&other], &less), "");
}

#[test]
fn rejections_say_how_much_is_missing() {
    let other = asking("other", json!({"cpu": "1500m"}));
    let (_, message) = rejection(&[&other], &asking("a", json!({"cpu": "1"})));
    assert_eq!(
        message,
        "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
    );
    let rejected = admit(&node(), &[], &asking("a", json!({"memory": "2Gi"}))).unwrap_err();
    let failure = rejected.failure();
    assert_eq!(failure.reason, "OutOfmemory");
    assert_eq!(
        failure.message,
        "Pod was rejected: Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824"
    );
}

#[test]
fn pods_are_counted() {
    let others = ["x", "y", "z"].map(|uid| pod(uid, json!({})));
    let all: Vec<&Pod> = others.iter().collect();
    let new = pod("a", json!({}));
    assert_eq!(reason(&node(), &all[..2], &new), "");
    assert_eq!(
        rejection(&all, &new),
        (
            "OutOfpods".to_owned(),
            "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3".to_owned()
        )
    );
}

#[test]
fn a_pod_does_not_stand_in_its_own_way() {
    let mut greedy = asking("a", json!({"cpu": "2"}));
    greedy.spec.as_mut().unwrap().containers[0].ports =
        with_port("a", json!({"containerPort": 80, "hostPort": 80}))
            .spec
            .unwrap()
            .containers[0]
            .ports
            .take();
    assert_eq!(reason(&node(), &[&greedy], &greedy), "");
}

#[test]
fn selectors_and_required_affinity_must_both_hold() {
    let required = |terms: Value| {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    };
    let label = |key: &str, operator: &str, values: Value| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
    let name = |operator: &str, value: &str| json!([{"matchFields": [{"key": "metadata.name", "operator": operator, "values": [value]}]}]);
    let mut both = required(label("disk", "In", json!(["ssd"])));
    both["nodeSelector"] = json!({"disk": "hdd"});
    for (spec, admitted) in [
        (json!({"nodeSelector": {"disk": "ssd"}}), true),
        (json!({"nodeSelector": {"disk": "hdd"}}), false),
        (json!({"nodeSelector": {"disk": "ssd", "zone": "a"}}), false),
        (required(label("disk", "In", json!(["hdd", "ssd"]))), true),
        (required(label("disk", "NotIn", json!(["ssd"]))), false),
        (required(label("zone", "NotIn", json!(["a"]))), true),
        (required(label("zone", "Exists", json!([]))), false),
        (required(label("zone", "DoesNotExist", json!([]))), true),
        (required(label("size", "Gt", json!(["7"]))), true),
        (required(label("size", "Lt", json!(["8"]))), false),
        (required(label("disk", "Gt", json!(["7"]))), false),
        (required(label("disk", "Like", json!(["ssd"]))), false),
        (required(name("In", "node1")), true),
        (required(name("In", "node2")), false),
        (required(name("NotIn", "node1")), false),
        (required(json!([])), false),
        (required(json!([{}])), false),
        // One term is enough.
        (
            required(json!([{}, label("disk", "Exists", json!([]))[0]])),
            true,
        ),
        (both, false),
    ] {
        let expected = if admitted { "" } else { "NodeAffinity" };
        assert_eq!(
            reason(&node(), &[], &pod("a", spec.clone())),
            expected,
            "{spec}"
        );
    }
    let (_, message) = rejection(&[], &pod("a", json!({"nodeSelector": {"disk": "hdd"}})));
    assert_eq!(
        message,
        "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    );
}

#[test]
fn a_pod_of_another_node_is_not_ours() {
    assert_eq!(
        rejection(&[], &pod("a", json!({"nodeName": "node2"}))),
        (
            "NodeName".to_owned(),
            "Predicate NodeName failed: node(s) didn't match the requested node name".to_owned()
        )
    );
}

#[test]
fn host_ports_are_taken_once() {
    let taken = with_port(
        "other",
        json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}),
    );
    for (port, expected) in [
        (json!({"containerPort": 80, "hostPort": 80}), "NodePorts"),
        (
            json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}),
            "NodePorts",
        ),
        (
            json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.2"}),
            "",
        ),
        (
            json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"}),
            "",
        ),
        (json!({"containerPort": 80, "hostPort": 81}), ""),
        (json!({"containerPort": 80}), ""),
    ] {
        let pod = with_port("a", port.clone());
        assert_eq!(reason(&node(), &[&taken], &pod), expected, "{port}");
    }
    let (_, message) = rejection(
        &[&taken],
        &with_port("a", json!({"containerPort": 1, "hostPort": 80})),
    );
    assert_eq!(
        message,
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    );
}

#[test]
fn sidecars_and_the_nodes_network_take_ports_too() {
    let ports = json!([{"containerPort": 80}]);
    let network = pod(
        "n",
        json!({"hostNetwork": true, "containers": [{"name": "c", "ports": ports}]}),
    );
    let init = |policy: Value| {
        pod(
            "i",
            json!({"hostNetwork": true, "initContainers": [
                {"name": "i", "ports": ports, "restartPolicy": policy}]}),
        )
    };
    assert_eq!(
        reason(&node(), &[&network], &init(json!("Always"))),
        "NodePorts"
    );
    assert_eq!(reason(&node(), &[&network], &init(Value::Null)), "");
}

#[test]
fn only_no_execute_taints_turn_away() {
    let tainted = |effect: &str| {
        let taint = json!({"key": "k", "value": "v", "effect": effect});
        NodeFacts {
            taints: vec![serde_json::from_value(taint).unwrap()],
            ..node()
        }
    };
    let tolerating = |toleration: Value| pod("a", json!({"tolerations": [toleration]}));
    let plain = pod("a", json!({}));
    assert_eq!(reason(&tainted("NoSchedule"), &[], &plain), "");
    assert_eq!(
        admit(&tainted("NoExecute"), &[], &plain).unwrap_err(),
        Rejection {
            reason: "TaintToleration".into(),
            message:
                "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
                    .into()
        }
    );
    for (toleration, tolerated) in [
        (json!({"operator": "Exists"}), true),
        (
            json!({"key": "k", "operator": "Exists", "tolerationSeconds": 5}),
            true,
        ),
        (json!({"key": "k", "value": "v"}), true),
        (
            json!({"key": "k", "value": "v", "effect": "NoExecute"}),
            true,
        ),
        (
            json!({"key": "k", "value": "v", "effect": "NoSchedule"}),
            false,
        ),
        (json!({"key": "k", "value": "w"}), false),
        (json!({"key": "l", "operator": "Exists"}), false),
    ] {
        let expected = if tolerated { "" } else { "TaintToleration" };
        let pod = tolerating(toleration.clone());
        assert_eq!(
            reason(&tainted("NoExecute"), &[], &pod),
            expected,
            "{toleration}"
        );
    }
    let fixed = annotated(plain, crate::names::CONFIG_SOURCE, "file");
    assert_eq!(reason(&tainted("NoExecute"), &[], &fixed), "");
}

#[test]
fn critical_pods_never_lack_resources() {
    let greedy = || asking("a", json!({"cpu": "9"}));
    let mut important = greedy();
    important.spec.as_mut().unwrap().priority = Some(2_000_000_000);
    let mut high = greedy();
    high.spec.as_mut().unwrap().priority = Some(1_999_999_999);
    let fixed = annotated(greedy(), crate::names::CONFIG_SOURCE, "file");
    let mirror = annotated(greedy(), crate::names::CONFIG_MIRROR, "hash");
    for (pod, expected) in [
        (&important, ""),
        (&fixed, ""),
        (&mirror, ""),
        (&high, "OutOfcpu"),
        (
            &annotated(greedy(), crate::names::CONFIG_SOURCE, "api"),
            "OutOfcpu",
        ),
    ] {
        assert_eq!(reason(&node(), &[], pod), expected);
    }
    // Every other rule holds for them as well.
    let mut misplaced = important;
    misplaced.spec.as_mut().unwrap().node_selector =
        Some([("disk".to_owned(), "hdd".to_owned())].into());
    assert_eq!(reason(&node(), &[], &misplaced), "NodeAffinity");
}

#[test]
fn systems_must_match() {
    let windows = pod("a", json!({"os": {"name": "windows"}}));
    assert_eq!(reason(&node(), &[], &windows), "PodOSNotSupported");
    let mut labelled = pod("a", json!({}));
    labelled.metadata.labels = Some([(OS_LABEL.to_owned(), "windows".to_owned())].into());
    assert_eq!(
        reason(&node(), &[], &labelled),
        "PodOSSelectorNodeLabelDoesNotMatch"
    );
    let strict = pod(
        "a",
        json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}}),
    );
    assert_eq!(
        rejection(&[], &strict),
        (
            "SupplementalGroupsPolicyNotSupported".to_owned(),
            "SupplementalGroupsPolicy=Strict is not supported in this node".to_owned()
        )
    );
    let able = NodeFacts {
        supplemental_groups_policy: true,
        ..node()
    };
    assert_eq!(reason(&able, &[], &strict), "");
}

#[test]
fn a_start_time_tells_that_a_pod_was_admitted() {
    let mut known = pod("a", json!({}));
    assert!(!was_admitted(&known));
    known.status = serde_json::from_value(json!({"startTime": "2026-01-01T00:00:00Z"})).unwrap();
    assert!(was_admitted(&known));
}
