//! Which events wake a pod that a default plugin turned away: a row for every action that upstream 1.36 registers, and for those
//! that look alike and must not count (EventsToRegister and the hints of each plugin).
//!
//! Where ours wakes more often than upstream, that is said with the row: a pod that is tried in vain costs little, one that waits
//! for nothing costs its owner minutes.

use std::time::Duration;

use serde_json::{Value, json};

use super::testing::{Bed, NOW, read};
use crate::cluster::NodeFacts;
use crate::events::{Event, NodeView, PodChange, Waiting};
use crate::objects::{Node, Pod};
use crate::plugins;
use crate::spec::{Identity, Spec};

fn node(labels: Value, taints: Value, cpu: &str) -> Node {
    read(
        json!({"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints},
                "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "9"}}}),
    )
}

fn pod(name: &str, labels: Value, spec: Value) -> Pod {
    let mut spec = spec;
    spec["schedulerName"] = json!("default-scheduler");
    read(
        json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "labels": labels}, "spec": spec}),
    )
}

/// Asks about a waiting pod with this spec.
fn wakes(spec: &Value, event: impl Fn(&Waiting<'_>) -> bool) -> bool {
    let mut bed = Bed::new(&[]);
    let pod = pod("waits", json!({"app": "a"}), spec.clone());
    bed.core.apply_pod(&pod, NOW + Duration::from_secs(1));
    let id = bed.core.cluster.pod_id("ns/waits").unwrap();
    let (spec, identity) = (
        bed.core.cluster.pod_spec(id).clone(),
        bed.core.cluster.pod_identity(id).clone(),
    );
    event(&Waiting {
        cluster: &bed.core.cluster,
        pod: id,
        spec: &spec,
        identity: &identity,
    })
}

fn plugin(name: &str) -> Box<dyn plugins::Plugin> {
    let all = plugins::registry().into_iter();
    let mut all = all.map(|(make, _)| make());
    all.find(|plugin| plugin.name() == name).unwrap()
}

fn on_added(name: &str, spec: &Value, new: &Node) -> bool {
    let facts = NodeFacts::of(new);
    let new = |facts| NodeView::new(&new.metadata.name, facts);
    wakes(spec, |waiting| {
        plugin(name).wakes(waiting, &Event::NodeAdded { new: new(&facts) })
    })
}

fn on_updated(name: &str, spec: &Value, old: &Node, new: &Node) -> bool {
    let (before, after) = (NodeFacts::of(old), NodeFacts::of(new));
    wakes(spec, |waiting| {
        let event = Event::NodeUpdated {
            old: NodeView::new(&old.metadata.name, &before),
            new: NodeView::new(&new.metadata.name, &after),
        };
        plugin(name).wakes(waiting, &event)
    })
}

fn on_deleted(name: &str, spec: &Value, other: &Pod) -> bool {
    let (old, identity) = (Spec::of(other, true), Identity::of(other));
    wakes(spec, |waiting| {
        let event = Event::PlacedPodDeleted {
            old: &old,
            identity: &identity,
        };
        plugin(name).wakes(waiting, &event)
    })
}

fn on_placed_update(name: &str, spec: &Value, old: &Pod, new: &Pod) -> bool {
    let (before, old_identity) = (Spec::of(old, true), Identity::of(old));
    let (after, identity) = (Spec::of(new, true), Identity::of(new));
    wakes(spec, |waiting| {
        let event = Event::PlacedPodUpdated {
            old: &before,
            old_identity: &old_identity,
            new: &after,
            identity: &identity,
        };
        plugin(name).wakes(waiting, &event)
    })
}

fn on_own(name: &str, spec: &Value, change: PodChange) -> bool {
    wakes(spec, |waiting| {
        let pod = waiting.pod;
        plugin(name).wakes(waiting, &Event::PodUpdated { pod, change })
    })
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]})
}

fn spread(policy: &str) -> Value {
    json!({"containers": [{}], "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
           "nodeTaintsPolicy": policy, "labelSelector": {"matchLabels": {"app": "a"}}}]})
}

const TAINT: &str = "NoSchedule";

#[test]
fn added_nodes() {
    let plain = node(json!({"zone": "a"}), json!([]), "2");
    let bare = node(json!({}), json!([]), "2");
    let tainted = node(json!({}), json!([{"key": "k", "effect": TAINT}]), "2");
    let nothing = json!({"containers": [{}]});
    let selects = json!({"containers": [{}], "nodeSelector": {"zone": "a"}});
    for (name, spec, new, expected) in [
        ("NodeName", &nothing, &bare, true),
        ("NodePorts", &nothing, &bare, true),
        ("NodeUnschedulable", &nothing, &bare, true),
        ("VolumeRestrictions", &nothing, &bare, true),
        ("VolumeBinding", &nothing, &bare, true),
        ("VolumeZone", &nothing, &bare, true),
        ("DynamicResources", &nothing, &bare, true),
        ("NodeDeclaredFeatures", &nothing, &bare, true),
        // It waits for the CSINode.
        ("NodeVolumeLimits", &nothing, &bare, false),
        ("TaintToleration", &nothing, &plain, true),
        ("TaintToleration", &nothing, &tainted, false),
        ("NodeAffinity", &selects, &plain, true),
        ("NodeAffinity", &selects, &bare, false),
        ("NodeResourcesFit", &asks("2"), &plain, true),
        ("NodeResourcesFit", &asks("3"), &plain, false),
        ("PodTopologySpread", &spread("Ignore"), &plain, true),
        ("PodTopologySpread", &spread("Ignore"), &bare, false),
    ] {
        assert_eq!(on_added(name, spec, new), expected, "{name}: {spec}");
    }
}

#[test]
fn updated_nodes() {
    let plain = node(json!({"zone": "a"}), json!([]), "2");
    let labelled = node(json!({"zone": "a", "other": "x"}), json!([]), "2");
    let moved = node(json!({"zone": "b"}), json!([]), "2");
    let tainted = node(
        json!({"zone": "a"}),
        json!([{"key": "k", "effect": TAINT}]),
        "2",
    );
    let larger = node(json!({"zone": "a"}), json!([]), "3");
    let nothing = json!({"containers": [{}]});
    let spread = spread("Ignore");
    for (name, spec, old, new, expected) in [
        ("NodeName", &nothing, &plain, &labelled, false),
        ("NodePorts", &nothing, &tainted, &plain, false),
        ("VolumeRestrictions", &nothing, &plain, &labelled, false),
        ("VolumeBinding", &nothing, &plain, &labelled, true),
        ("VolumeBinding", &nothing, &tainted, &plain, false),
        ("VolumeZone", &nothing, &plain, &moved, true),
        ("VolumeZone", &nothing, &plain, &larger, false),
        ("DynamicResources", &nothing, &plain, &larger, true),
        ("DynamicResources", &nothing, &plain, &moved, true),
        ("DynamicResources", &nothing, &tainted, &plain, false),
        ("NodeDeclaredFeatures", &nothing, &plain, &labelled, false),
        ("TaintToleration", &nothing, &tainted, &plain, true),
        ("TaintToleration", &nothing, &plain, &tainted, false),
        ("NodeResourcesFit", &asks("3"), &plain, &larger, true),
        ("NodeResourcesFit", &asks("2"), &larger, &plain, false),
        ("PodTopologySpread", &spread, &plain, &moved, true),
        ("PodTopologySpread", &spread, &plain, &tainted, true),
        ("PodTopologySpread", &spread, &plain, &labelled, false),
    ] {
        assert_eq!(on_updated(name, spec, old, new), expected, "{name}: {spec}");
    }
}

#[test]
fn placed_pods_that_end_or_change() {
    let other = |labels: Value, spec: Value| pod("other", labels, spec);
    let port = json!({"containers": [{"ports": [{"hostPort": 80}]}]});
    let claim = json!({"containers": [{}], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
    let nothing = json!({"containers": [{}]});
    let app = |name: &str| json!({"app": name});
    for (name, spec, ends, expected) in [
        (
            "NodeResourcesFit",
            &asks("1"),
            other(app("b"), nothing.clone()),
            true,
        ),
        ("NodePorts", &port, other(app("b"), port.clone()), true),
        ("NodePorts", &port, other(app("b"), nothing.clone()), false),
        (
            "VolumeRestrictions",
            &claim,
            other(app("b"), claim.clone()),
            true,
        ),
        (
            "VolumeRestrictions",
            &claim,
            other(app("b"), nothing.clone()),
            false,
        ),
        (
            "NodeVolumeLimits",
            &nothing,
            other(app("b"), claim.clone()),
            true,
        ),
        (
            "NodeVolumeLimits",
            &claim,
            other(app("b"), nothing.clone()),
            false,
        ),
        (
            "VolumeBinding",
            &claim,
            other(app("b"), claim.clone()),
            false,
        ),
        (
            "DynamicResources",
            &nothing,
            other(app("b"), nothing.clone()),
            false,
        ),
        (
            "PodTopologySpread",
            &spread("Ignore"),
            other(app("a"), nothing.clone()),
            true,
        ),
        (
            "PodTopologySpread",
            &spread("Ignore"),
            other(app("b"), nothing.clone()),
            false,
        ),
    ] {
        assert_eq!(on_deleted(name, spec, &ends), expected, "{name}: {spec}");
    }
    let memory = json!({"containers": [{"resources": {"requests": {"memory": "1Gi"}}}]});
    for (name, spec, old, new, expected) in [
        ("NodeResourcesFit", asks("1"), asks("2"), asks("1"), true),
        ("NodeResourcesFit", asks("1"), asks("1"), asks("2"), false),
        // Less of what this pod does not ask for.
        ("NodeResourcesFit", memory, asks("2"), asks("1"), false),
        ("NodeAffinity", asks("1"), asks("2"), asks("1"), false),
    ] {
        let (old, new) = (other(app("b"), old), other(app("b"), new));
        assert_eq!(
            on_placed_update(name, &spec, &old, &new),
            expected,
            "{name}: {spec}"
        );
    }
    let (a, b) = (other(app("a"), nothing.clone()), other(app("b"), nothing));
    assert!(on_placed_update(
        "PodTopologySpread",
        &spread("Ignore"),
        &b,
        &a
    ));
    assert!(!on_placed_update(
        "PodTopologySpread",
        &spread("Ignore"),
        &b,
        &b
    ));
}

#[test]
fn changes_of_the_pod_itself() {
    let labels = PodChange {
        labels: true,
        ..PodChange::default()
    };
    let tolerations = PodChange {
        tolerations: true,
        ..PodChange::default()
    };
    let scaled_down = PodChange {
        scaled_down: true,
        ..PodChange::default()
    };
    let claims = PodChange {
        claims: true,
        ..PodChange::default()
    };
    let nothing = json!({"containers": [{}]});
    let tolerant = json!({"containers": [{}], "tolerations": [{"operator": "Exists"}]});
    let made = json!({"containers": [{}], "resourceClaims": []});
    for (name, spec, change, expected) in [
        ("InterPodAffinity", &nothing, labels, true),
        ("InterPodAffinity", &nothing, tolerations, false),
        ("TaintToleration", &nothing, tolerations, true),
        ("TaintToleration", &nothing, labels, false),
        ("NodeUnschedulable", &tolerant, tolerations, true),
        ("NodeUnschedulable", &nothing, tolerations, false),
        ("NodeUnschedulable", &tolerant, labels, false),
        ("NodeResourcesFit", &nothing, scaled_down, true),
        ("NodeResourcesFit", &nothing, labels, false),
        ("PodTopologySpread", &spread("Honor"), tolerations, true),
        ("PodTopologySpread", &spread("Ignore"), tolerations, false),
        ("PodTopologySpread", &spread("Ignore"), labels, true),
        ("PodTopologySpread", &spread("Ignore"), scaled_down, false),
        ("DynamicResources", &made, labels, false),
        ("NodeAffinity", &nothing, labels, false),
        ("NodePorts", &nothing, labels, false),
        ("VolumeBinding", &nothing, claims, false),
        // A nomination alone, for example: nothing that could help.
        ("NodeResourcesFit", &nothing, PodChange::default(), false),
    ] {
        assert_eq!(
            on_own(name, spec, change),
            expected,
            "{name}: {spec} {change:?}"
        );
    }
}

/// Ours alone: upstream forgets that a relabelled namespace moves pods in or out of a term's reach.
#[test]
fn namespaces() {
    let nothing = json!({"containers": [{}]});
    for registered in plugins::registry() {
        let name = registered.0().name();
        let woken = wakes(&nothing, |waiting| {
            plugin(name).wakes(waiting, &Event::NamespaceChanged)
        });
        assert_eq!(woken, name == "InterPodAffinity", "{name}");
    }
}
