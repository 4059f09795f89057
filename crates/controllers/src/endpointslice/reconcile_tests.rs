//! Tables for the slices of a service.

use super::*;

fn service(extra: Value) -> Service {
    let mut spec = json!({"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}]});
    for (key, value) in extra.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    serde_json::from_value(
        json!({"metadata": {"name": "web", "namespace": "n", "uid": "svc", "labels": {"team": "a"}},
        "spec": spec}),
    )
    .unwrap()
}

/// (name, ip, ready, deleting)
fn pod(name: &str, ip: &str, ready: bool, deleting: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "web"},
                "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")},
            "spec": {"nodeName": "node1"},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}
        }))
        .unwrap(),
    )
}

fn node(_name: &str) -> Option<Arc<Node>> {
    let node =
        json!({"metadata": {"name": "node1", "labels": {"topology.kubernetes.io/zone": "z1"}}});
    Some(Arc::new(serde_json::from_value(node).unwrap()))
}

fn make(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    limit: usize,
) -> Plan {
    plan(service, pods, &node, existing, limit)
}

/// The slice that the server makes of one that was created.
fn stored(object: &Value, name: &str) -> Arc<EndpointSlice> {
    let mut object = object.clone();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["uid"] = json!(name);
    Arc::new(serde_json::from_value(object).unwrap())
}

fn addresses(endpoints: &Value) -> Vec<String> {
    let list = endpoints.as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_slice_tells_where_and_in_which_state_the_pods_are() {
    let pods = [
        pod("a", "10.0.0.1", true, false),
        pod("b", "10.0.0.2", false, false),
        pod("c", "10.0.0.3", true, true),
    ];
    let plan = make(&service(json!({})), &pods, &[], 100);
    let slice = &plan.create[0];
    assert_eq!(slice["metadata"]["generateName"], "web-");
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"team": "a", SERVICE_NAME: "web", MANAGED_BY: CONTROLLER})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "svc");
    assert_eq!(
        slice["ports"],
        json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
    );
    assert_eq!(
        slice["endpoints"][0],
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "n", "name": "a", "uid": "a"}, "nodeName": "node1", "zone": "z1"})
    );
    assert_eq!(
        slice["endpoints"][1]["conditions"],
        json!({"ready": false, "serving": false, "terminating": false})
    );
    assert_eq!(
        slice["endpoints"][2]["conditions"],
        json!({"ready": false, "serving": true, "terminating": true})
    );
    let published = make(
        &service(json!({"publishNotReadyAddresses": true})),
        &pods,
        &[],
        100,
    );
    assert_eq!(
        published.create[0]["endpoints"][1]["conditions"]["ready"],
        true
    );
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let pods = [pod("a", "10.0.0.1", true, false)];
    let first = make(&service(json!({})), &pods, &[], 100);
    let slices = [stored(&first.create[0], "s1")];
    assert_eq!(
        make(&service(json!({})), &pods, &slices, 100),
        Plan::default()
    );
    // With nobody behind it a service keeps one empty slice.
    let empty = make(&service(json!({})), &[], &[], 100);
    assert_eq!(empty.create[0]["endpoints"], json!([]));
    let slices = [stored(&empty.create[0], "s2")];
    assert_eq!(
        make(&service(json!({})), &[], &slices, 100),
        Plan::default()
    );
}

#[test]
fn endpoints_stay_where_they_are_and_new_ones_fill_up() {
    let all: Vec<_> = (1..6)
        .map(|n| pod(&format!("p{n}"), &format!("10.0.0.{n}"), true, false))
        .collect();
    let first = make(&service(json!({})), &all[..4], &[], 2);
    assert_eq!(first.create.len(), 2);
    let slices = [
        stored(&first.create[0], "s1"),
        stored(&first.create[1], "s2"),
    ];
    // p1 goes, p5 comes: only the slice with room changes.
    let next = make(&service(json!({})), &all[1..], &slices, 2);
    assert_eq!(
        (next.create.len(), next.update.len(), next.delete.len()),
        (0, 1, 0)
    );
    assert_eq!(&*next.update[0].slice.metadata.name, "s1");
    assert_eq!(
        addresses(&json!(next.update[0].endpoints)),
        ["10.0.0.2", "10.0.0.5"]
    );
    // One more than fits.
    let more = [&all[..], &[pod("p6", "10.0.0.6", true, false)]].concat();
    let grown = make(&service(json!({})), &more, &slices, 2);
    assert_eq!((grown.create.len(), grown.update.len()), (1, 0));
    // A slice that becomes empty goes.
    let shrunk = make(&service(json!({})), &all[2..4], &slices, 2);
    assert_eq!(
        (
            shrunk.create.len(),
            shrunk.update.len(),
            shrunk.delete.len()
        ),
        (0, 0, 1)
    );
}

#[test]
fn readiness_and_labels_are_updated_in_place() {
    let first = make(
        &service(json!({})),
        &[pod("a", "10.0.0.1", true, false)],
        &[],
        100,
    );
    let slices = [stored(&first.create[0], "s1")];
    let unready = make(
        &service(json!({})),
        &[pod("a", "10.0.0.1", false, false)],
        &slices,
        100,
    );
    assert_eq!(unready.update[0].endpoints[0]["conditions"]["ready"], false);
    let headless = service(json!({"clusterIP": "None"}));
    let relabelled = make(
        &headless,
        &[pod("a", "10.0.0.1", true, false)],
        &slices,
        100,
    );
    assert_eq!(relabelled.update[0].labels[HEADLESS], "");
    assert_eq!(make(&service(json!({})), &[], &slices, 100).delete.len(), 1);
}

#[test]
fn other_ports_and_families_get_slices_of_their_own() {
    let first = make(
        &service(json!({})),
        &[pod("a", "10.0.0.1", true, false)],
        &[],
        100,
    );
    let slices = [stored(&first.create[0], "s1")];
    let moved = service(json!({"ports": [{"name": "http", "port": 80, "targetPort": 9090}]}));
    let plan = make(&moved, &[pod("a", "10.0.0.1", true, false)], &slices, 100);
    assert_eq!((plan.create.len(), plan.delete.len()), (1, 1));
    let dual = service(json!({"ipFamilies": ["IPv4", "IPv6"]}));
    let plan = make(&dual, &[pod("a", "10.0.0.1", true, false)], &slices, 100);
    assert_eq!(plan.create.len(), 1, "an empty IPv6 slice");
    assert_eq!(plan.create[0]["addressType"], "IPv6");
    let v6 = service(json!({"ipFamilies": ["IPv6"]}));
    assert_eq!(make(&v6, &[], &slices, 100).delete.len(), 1);
}
