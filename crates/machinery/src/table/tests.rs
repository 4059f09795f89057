//! What upstream prints for objects in the states that matter.

use fluyt_api::catalogue;
use serde_json::json;

use super::*;

const NOW: &str = "2026-01-02T00:00:00Z";

fn cells(group: &str, version: &str, plural: &str, object: &Value) -> Vec<Value> {
    let resource = catalogue::find(group, version, plural).unwrap();
    let cells = row(resource, object, NOW.parse().unwrap());
    assert_eq!(cells.len(), columns(resource).len());
    cells
}

fn pod(spec: Value, status: Value) -> Vec<Value> {
    let metadata = json!({"name": "web", "creationTimestamp": "2026-01-01T23:55:00Z"});
    cells(
        "",
        "v1",
        "pods",
        &json!({"metadata": metadata, "spec": spec, "status": status}),
    )
}

/// Ready, status and restarts of a pod.
fn check_pod(spec: Value, status: Value, expected: [&str; 3]) {
    let cells = pod(spec, status);
    assert_eq!([&cells[1], &cells[2], &cells[3]], expected);
}

#[test]
fn every_kind_fills_its_columns() {
    for resource in catalogue::resources() {
        for object in [
            json!({}),
            json!({"metadata": {"name": "a"}, "spec": {}, "status": {}}),
        ] {
            let cells = row(resource, &object, NOW.parse().unwrap());
            assert_eq!(cells.len(), columns(resource).len(), "{}", resource.kind);
        }
    }
}

#[test]
fn no_printer_is_named_twice_or_for_nothing() {
    let mut seen = std::collections::BTreeSet::new();
    for printer in FAMILIES.iter().flat_map(|family| family.iter()) {
        assert!(
            seen.insert((printer.group, printer.kind)),
            "{}",
            printer.kind
        );
        let known = catalogue::resources()
            .iter()
            .any(|resource| resource.group == printer.group && resource.kind == printer.kind);
        assert!(known || printer.kind == "Scale", "{}", printer.kind);
    }
}

#[test]
fn pods_print_what_their_containers_do() {
    let one = || json!({"containers": [{"name": "a"}], "nodeName": "n1"});
    let status = |container: Value| json!({"phase": "Running", "containerStatuses": [container]});
    check_pod(one(), json!({"phase": "Pending"}), ["0/1", "Pending", "0"]);
    check_pod(
        one(),
        json!({"phase": "Failed", "reason": "Evicted"}),
        ["0/1", "Evicted", "0"],
    );
    check_pod(
        one(),
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
        ["0/1", "SchedulingGated", "0"],
    );
    check_pod(
        one(),
        status(json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}})),
        ["1/1", "Running", "0"],
    );
    check_pod(
        one(),
        status(
            json!({"name": "a", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T23:55:00Z"}}}),
        ),
        ["0/1", "CrashLoopBackOff", "3 (5m ago)"],
    );
    check_pod(
        one(),
        status(json!({"name": "a", "state": {"terminated": {"exitCode": 3}}})),
        ["0/1", "ExitCode:3", "0"],
    );
    check_pod(
        one(),
        status(json!({"name": "a", "state": {"terminated": {"exitCode": 0, "signal": 9}}})),
        ["0/1", "Signal:9", "0"],
    );
}

#[test]
fn a_finished_container_beside_a_running_one_is_not_the_pods_status() {
    let spec = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let finished =
        json!({"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let running = json!({"name": "b", "ready": true, "state": {"running": {}}});
    let both = json!([finished, running]);
    check_pod(
        spec(),
        json!({"phase": "Running", "containerStatuses": both, "conditions": [{"type": "Ready", "status": "True"}]}),
        ["1/2", "Running", "0"],
    );
    check_pod(
        spec(),
        json!({"phase": "Running", "containerStatuses": both}),
        ["1/2", "NotReady", "0"],
    );
    let failed = json!({"name": "b", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}});
    check_pod(
        spec(),
        json!({"phase": "Running", "containerStatuses": [finished, failed]}),
        ["0/2", "Error", "0"],
    );
}

#[test]
fn init_containers_and_sidecars_come_first() {
    let spec = || json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let init = |statuses: Value| json!({"phase": "Pending", "initContainerStatuses": statuses});
    check_pod(
        spec(),
        init(json!([{"name": "i", "state": {"running": {}}}])),
        ["0/2", "Init:0/2", "0"],
    );
    check_pod(
        spec(),
        init(json!([{"name": "i", "state": {"terminated": {"exitCode": 2}}, "restartCount": 1}])),
        ["0/2", "Init:ExitCode:2", "1"],
    );
    check_pod(
        spec(),
        init(json!([{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}])),
        ["0/2", "Init:ErrImagePull", "0"],
    );
    // An init container's restarts are forgotten once the pod runs; a sidecar's are not.
    check_pod(
        spec(),
        json!({"phase": "Running",
            "initContainerStatuses": [
                {"name": "i", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}},
                {"name": "s", "restartCount": 2, "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]}),
        ["2/2", "Running", "2"],
    );
}

#[test]
fn deleted_pods_terminate_unless_they_have_ended() {
    let object = |phase: &str, reason: &str| json!({"metadata": {"name": "a", "deletionTimestamp": NOW}, "status": {"phase": phase, "reason": reason}});
    let status = |phase, reason| cells("", "v1", "pods", &object(phase, reason))[2].clone();
    assert_eq!(status("Running", ""), "Terminating");
    assert_eq!(status("Running", "NodeLost"), "Unknown");
    assert_eq!(status("Succeeded", ""), "Succeeded");
}

#[test]
fn wide_pods_name_address_and_node() {
    let cells = pod(
        json!({"nodeName": "n1", "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]}),
        json!({"podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "x", "status": "True"}]}),
    );
    assert_eq!(
        cells[4..],
        [
            json!("5m"),
            json!("10.0.0.1"),
            json!("n1"),
            json!("<none>"),
            json!("1/2")
        ]
    );
    let resource = catalogue::find("", "v1", "pods").unwrap();
    assert_eq!(
        row_conditions(resource, &json!({"status": {"phase": "Running"}})),
        None
    );
    let done = row_conditions(resource, &json!({"status": {"phase": "Failed"}})).unwrap();
    assert_eq!(done[0]["reason"], "Failed");
}

#[test]
fn nodes_print_condition_roles_and_version() {
    let node = json!({
        "metadata": {"name": "n1", "creationTimestamp": "2025-12-30T20:00:00Z", "labels": {
            "node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.1", "architecture": "amd64"}}});
    assert_eq!(
        cells("", "v1", "nodes", &node),
        [
            "n1",
            "NotReady,SchedulingDisabled",
            "a,b,control-plane",
            "2d4h",
            "v1.36.0",
            "10.0.0.2",
            "<none>",
            "<unknown>",
            "6.1 (amd64)",
            "<unknown>"
        ]
    );
}

#[test]
fn services_print_addresses_and_ports() {
    let service = |spec: Value, status: Value| {
        let cells = cells(
            "",
            "v1",
            "services",
            &json!({"metadata": {"name": "s"}, "spec": spec, "status": status}),
        );
        [
            cells[1].clone(),
            cells[2].clone(),
            cells[3].clone(),
            cells[4].clone(),
            cells[6].clone(),
        ]
    };
    assert_eq!(
        service(
            json!({"type": "ClusterIP", "clusterIPs": ["10.1.0.1"], "selector": {"b": "c", "a": "b"},
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}]}),
            json!({})
        ),
        [
            "ClusterIP",
            "10.1.0.1",
            "<none>",
            "80/TCP,53:30053/UDP",
            "a=b,b=c"
        ]
    );
    assert_eq!(
        service(
            json!({"type": "LoadBalancer", "externalIPs": ["3.3.3.3"]}),
            json!({"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "1.example"}]}})
        ),
        [
            "LoadBalancer",
            "<none>",
            "1.example,2.2.2.2,3.3.3.3",
            "<none>",
            "<none>"
        ]
    );
    assert_eq!(
        service(json!({"type": "LoadBalancer"}), json!({}))[2],
        "<pending>"
    );
    assert_eq!(
        service(
            json!({"type": "ExternalName", "externalName": "e.example"}),
            json!({})
        )[2],
        "e.example"
    );
}

#[test]
fn workloads_print_their_counts() {
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}});
    let object = json!({"metadata": {"name": "web", "creationTimestamp": NOW}, "spec": spec,
        "status": {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2, "replicas": 3}});
    assert_eq!(
        cells("apps", "v1", "deployments", &object),
        [
            json!("web"),
            json!("2/3"),
            json!(1),
            json!(2),
            json!("0s"),
            json!("a,b"),
            json!("x,y"),
            json!("app=web")
        ]
    );
    assert_eq!(
        cells("apps", "v1", "replicasets", &object)[..4],
        [json!("web"), json!(3), json!(3), json!(2)]
    );
    assert_eq!(cells("apps", "v1", "statefulsets", &object)[1], "2/3");
    let job = json!({"metadata": {"name": "j"}, "spec": {"completions": 2}, "status": {"succeeded": 1,
        "startTime": "2026-01-01T23:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]}});
    assert_eq!(
        cells("batch", "v1", "jobs", &job)[1..4],
        [json!("Suspended"), json!("1/2"), json!("60m")]
    );
}

#[test]
fn events_of_both_groups_print_alike() {
    let core = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "message": " done\n",
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec"}, "count": 3,
        "source": {"component": "kubelet", "host": "n1"},
        "firstTimestamp": "2026-01-01T23:00:00Z", "lastTimestamp": "2026-01-01T23:59:00Z"});
    let newer = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "note": " done\n",
        "regarding": {"kind": "Pod", "name": "web", "fieldPath": "spec"}, "deprecatedCount": 3,
        "deprecatedSource": {"component": "kubelet", "host": "n1"},
        "deprecatedFirstTimestamp": "2026-01-01T23:00:00Z", "deprecatedLastTimestamp": "2026-01-01T23:59:00Z"});
    let expected = [
        json!("60s"),
        json!("Normal"),
        json!("Pulled"),
        json!("pod/web"),
        json!("spec"),
        json!("kubelet, n1"),
        json!("done"),
        json!("60m"),
        json!(3),
        json!("e"),
    ];
    assert_eq!(cells("", "v1", "events", &core), expected);
    assert_eq!(cells("events.k8s.io", "v1", "events", &newer), expected);
    let series = json!({"eventTime": "2026-01-01T23:00:00.000000Z", "involvedObject": {"kind": "Node"},
        "series": {"count": 7, "lastObservedTime": "2026-01-01T23:59:30.000000Z"}, "reportingComponent": "x"});
    let cells = cells("", "v1", "events", &series);
    assert_eq!(
        [&cells[0], &cells[3], &cells[5], &cells[7], &cells[8]],
        [
            &json!("30s"),
            &json!("node"),
            &json!("x"),
            &json!("60m"),
            &json!(7)
        ]
    );
}

#[test]
fn autoscalers_print_their_metrics() {
    let metric =
        |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let targets = |metrics: Value, current: Value| {
        let object = json!({"metadata": {"name": "h"}, "spec": {"metrics": metrics}, "status": {"currentMetrics": current}});
        cells("autoscaling", "v2", "horizontalpodautoscalers", &object)[2].clone()
    };
    assert_eq!(targets(json!([]), json!([])), "<none>");
    assert_eq!(
        targets(
            json!([metric(json!({"averageUtilization": 80}))]),
            json!([])
        ),
        "cpu: <unknown>/80%"
    );
    let current = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "50m"}}}]);
    assert_eq!(
        targets(json!([metric(json!({"averageValue": "100m"}))]), current),
        "cpu: 50m/100m"
    );
    let external = json!({"type": "External", "external": {"target": {"value": "5"}}});
    assert_eq!(
        targets(json!([external, external, external]), json!([])),
        "<unknown>/5, <unknown>/5 + 1 more..."
    );
}

#[test]
fn kinds_without_a_printer_show_when_they_were_made() {
    let object = json!({"metadata": {"name": "r", "creationTimestamp": NOW}});
    assert_eq!(
        cells("rbac.authorization.k8s.io", "v1", "roles", &object),
        ["r", NOW]
    );
    assert_eq!(DEFAULT.columns[1].name, "Created At");
}

#[test]
fn lists_are_cut_short() {
    let addresses =
        json!([{"addresses": [{"ip": "1"}, {"ip": "2"}], "ports": [{"port": 80}, {"port": 81}]}]);
    let object = json!({"metadata": {"name": "e"}, "subsets": addresses});
    assert_eq!(
        cells("", "v1", "endpoints", &object)[1],
        "1:80,2:80,1:81 + 1 more..."
    );
    let slice = json!({"ports": [{"port": 80}, {"name": "x"}, {}], "endpoints": []});
    let cells = cells("discovery.k8s.io", "v1", "endpointslices", &slice);
    assert_eq!(cells[2..4], [json!("80,x,*"), json!("<unset>")]);
}

#[test]
fn durations_have_two_or_three_figures() {
    let check =
        |seconds: i64, expected: &str| assert_eq!(human_duration(seconds), expected, "{seconds}");
    const MINUTE: i64 = 60;
    const HOUR: i64 = 3600;
    const DAY: i64 = 86400;
    check(-5, "<invalid>");
    check(-1, "0s");
    check(119, "119s");
    check(120, "2m");
    check(121, "2m1s");
    check(10 * MINUTE, "10m");
    check(3 * HOUR - 1, "179m");
    check(3 * HOUR, "3h");
    check(3 * HOUR + 61, "3h1m");
    check(47 * HOUR, "47h");
    check(48 * HOUR, "2d");
    check(50 * HOUR, "2d2h");
    check(8 * DAY, "8d");
    check(365 * 2 * DAY - 1, "729d");
    check(365 * 2 * DAY, "2y");
    check(365 * 2 * DAY + DAY, "2y1d");
    check(365 * 9 * DAY, "9y");
}
