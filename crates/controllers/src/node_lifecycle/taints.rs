//! The taints that a node's conditions stand for. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::objects::node::{Node, Taint};
use crate::objects::{ConditionStatus, rfc3339};

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
pub const NO_EXECUTE: &str = "NoExecute";
const NO_SCHEDULE: &str = "NoSchedule";

/// (condition, status, taint)
const BY_CONDITION: [(&str, ConditionStatus, &str); 6] = [
    ("Ready", ConditionStatus::False, NOT_READY),
    ("Ready", ConditionStatus::Unknown, UNREACHABLE),
    (
        "MemoryPressure",
        ConditionStatus::True,
        "node.kubernetes.io/memory-pressure",
    ),
    (
        "DiskPressure",
        ConditionStatus::True,
        "node.kubernetes.io/disk-pressure",
    ),
    (
        "NetworkUnavailable",
        ConditionStatus::True,
        "node.kubernetes.io/network-unavailable",
    ),
    (
        "PIDPressure",
        ConditionStatus::True,
        "node.kubernetes.io/pid-pressure",
    ),
];

/// Taints to add and to remove, by key and effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    pub add: Vec<(&'static str, &'static str)>,
    pub remove: Vec<(&'static str, &'static str)>,
}

impl Swap {
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    fn want(&mut self, node: &Node, key: &'static str, effect: &'static str, wanted: bool) {
        match (wanted, node.has_taint(key, effect)) {
            (true, false) => self.add.push((key, effect)),
            (false, true) => self.remove.push((key, effect)),
            _ => {}
        }
    }

    /// Applies the change to a live node; false if it is as it should be.
    pub fn apply(&self, live: &mut Value, now: Timestamp) -> bool {
        let mut taints: Vec<Taint> =
            serde_json::from_value(live["spec"]["taints"].clone()).unwrap_or_default();
        let before = taints.clone();
        let is = |taint: &Taint, (key, effect): (&str, &str)| {
            &*taint.key == key && &*taint.effect == effect
        };
        taints.retain(|taint| !self.remove.iter().any(|one| is(taint, *one)));
        for add in &self.add {
            if !taints.iter().any(|taint| is(taint, *add)) {
                let time_added = Some(rfc3339(now).into());
                taints.push(Taint {
                    key: add.0.into(),
                    value: "".into(),
                    effect: add.1.into(),
                    time_added,
                });
            }
        }
        if taints == before {
            return false;
        }
        live["spec"]["taints"] = json!(taints);
        true
    }
}

/// What the NoSchedule taints of a node must become.
pub fn no_schedule(node: &Node) -> Swap {
    let mut swap = Swap::default();
    for (type_, status, key) in BY_CONDITION {
        let wanted = node
            .condition(type_)
            .is_some_and(|condition| condition.status == status);
        swap.want(node, key, NO_SCHEDULE, wanted);
    }
    swap.want(node, UNSCHEDULABLE, NO_SCHEDULE, node.unschedulable);
    swap
}

/// What the NoExecute taints of a node must become, and whether that may happen at once: driving pods from a node that was fine
/// so far is rationed per zone.
pub fn no_execute(node: &Node) -> (Swap, Urgency) {
    let status = node.ready().map(|ready| ready.status);
    let mut swap = Swap::default();
    swap.want(
        node,
        NOT_READY,
        NO_EXECUTE,
        status == Some(ConditionStatus::False),
    );
    swap.want(
        node,
        UNREACHABLE,
        NO_EXECUTE,
        status == Some(ConditionStatus::Unknown),
    );
    if status.is_none() {
        return (Swap::default(), Urgency::Now);
    }
    let urgency = if swap.add.is_empty() || !swap.remove.is_empty() {
        Urgency::Now
    } else {
        Urgency::Rationed
    };
    (swap, urgency)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Now,
    Rationed,
}

/// Frees a node of both NoExecute taints.
pub fn reachable(node: &Node) -> Swap {
    let mut swap = Swap::default();
    swap.want(node, NOT_READY, NO_EXECUTE, false);
    swap.want(node, UNREACHABLE, NO_EXECUTE, false);
    swap
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, more: Value, taints: Value, unschedulable: bool) -> Node {
        let mut conditions = vec![json!({"type": "Ready", "status": ready})];
        conditions.extend(more.as_array().cloned().unwrap_or_default());
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"taints": taints, "unschedulable": unschedulable},
            "status": {"conditions": conditions}}))
        .unwrap()
    }

    #[test]
    fn conditions_become_no_schedule_taints() {
        let pressure = json!([{"type": "MemoryPressure", "status": "True"}, {"type": "DiskPressure", "status": "False"}]);
        let stale = json!([{"key": NOT_READY, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]);
        for (node, add, remove) in [
            (
                node("True", json!([]), stale.clone(), false),
                vec![],
                vec![NOT_READY],
            ),
            (
                node("False", json!([]), json!([]), false),
                vec![NOT_READY],
                vec![],
            ),
            (
                node("Unknown", json!([]), stale, false),
                vec![UNREACHABLE],
                vec![NOT_READY],
            ),
            (
                node("True", pressure, json!([]), false),
                vec!["node.kubernetes.io/memory-pressure"],
                vec![],
            ),
            (
                node("True", json!([]), json!([]), true),
                vec![UNSCHEDULABLE],
                vec![],
            ),
        ] {
            let swap = no_schedule(&node);
            let keys =
                |list: &[(&'static str, &str)]| list.iter().map(|one| one.0).collect::<Vec<_>>();
            assert_eq!(keys(&swap.add), add);
            assert_eq!(keys(&swap.remove), remove);
        }
    }

    #[test]
    fn no_execute_taints_follow_the_ready_condition() {
        let tainted = |key: &str| json!([{"key": key, "effect": "NoExecute"}]);
        for (ready, taints, changes, urgency) in [
            ("True", tainted(UNREACHABLE), (0, 1), Urgency::Now),
            ("Unknown", json!([]), (1, 0), Urgency::Rationed),
            ("Unknown", tainted(NOT_READY), (1, 1), Urgency::Now),
            ("False", tainted(NOT_READY), (0, 0), Urgency::Now),
        ] {
            let (swap, found) = no_execute(&node(ready, json!([]), taints, false));
            assert_eq!((swap.add.len(), swap.remove.len()), changes, "{ready}");
            assert_eq!(found, urgency, "{ready}");
        }
    }

    #[test]
    fn swaps_touch_only_their_own_taints() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let mut live = json!({"spec": {"taints": [{"key": "mine", "value": "x", "effect": "NoSchedule"},
            {"key": NOT_READY, "effect": "NoExecute"}]}});
        let swap = Swap {
            add: vec![(UNREACHABLE, NO_EXECUTE)],
            remove: vec![(NOT_READY, NO_EXECUTE)],
        };
        assert!(swap.apply(&mut live, now));
        assert_eq!(
            live["spec"]["taints"],
            json!([{"key": "mine", "value": "x", "effect": "NoSchedule"},
                {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T12:00:00Z"}])
        );
        assert!(!swap.apply(&mut live, now));
    }
}
