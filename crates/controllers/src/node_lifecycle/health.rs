//! Whether a node is alive, from what was last heard of it. Pure.
//!
//! What counts is when a heartbeat was *seen* by the controller's own clock; the times that a node writes are only compared with
//! each other, because its clock may be wrong.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::plus;
use crate::objects::node::Node;
use crate::objects::rfc3339;

/// What is known of one node's heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// When the last sign of life was seen.
    pub probe: Timestamp,
    /// status.conditions[Ready].lastHeartbeatTime as last seen; `None` while there is no Ready condition.
    heartbeat: Option<Option<Timestamp>>,
    /// spec.renewTime of the lease as last seen.
    renewed: Option<Timestamp>,
}

/// Takes in the node as it is and its lease's renewal.
pub fn observe(
    before: Option<&Health>,
    node: &Node,
    renewed: Option<Timestamp>,
    now: Timestamp,
) -> Health {
    let heartbeat = node.ready().map(|ready| ready.last_heartbeat_time);
    let mut health = match before {
        Some(before) => before.clone(),
        // A node that never reported has been silent since it was made.
        None if heartbeat.is_none() => Health {
            probe: node.meta.creation_timestamp.unwrap_or(now),
            heartbeat: None,
            renewed: None,
        },
        None => Health {
            probe: now,
            heartbeat,
            renewed: None,
        },
    };
    if health.heartbeat != heartbeat {
        health.probe = now;
        health.heartbeat = heartbeat;
    }
    if renewed > health.renewed {
        health.probe = now;
        health.renewed = renewed;
    }
    health
}

impl Health {
    /// A renewal of the lease; true if it was news.
    pub fn renew(&mut self, renewed: Option<Timestamp>, now: Timestamp) -> bool {
        if renewed <= self.renewed {
            return false;
        }
        self.renewed = renewed;
        self.probe = now;
        true
    }

    /// From when on silence means that the node is gone.
    pub fn deadline(&self, node: &Node, grace: Duration, startup_grace: Duration) -> Timestamp {
        let grace = if node.ready().is_some() {
            grace
        } else {
            startup_grace
        };
        plus(self.probe, grace)
    }
}

/// The conditions that become Unknown with a silent node. NetworkUnavailable is not the kubelet's.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Marks a silent node in its live object; false if there is nothing to mark.
pub fn mark_unknown(live: &mut Value, now: Timestamp) -> bool {
    let created = live["metadata"]["creationTimestamp"].clone();
    if !live["status"]["conditions"].is_array() {
        live["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = live["status"]["conditions"].as_array_mut() else {
        return false;
    };
    let mut changed = false;
    for type_ in CONDITIONS {
        match conditions
            .iter_mut()
            .find(|condition| condition["type"] == type_)
        {
            None => {
                conditions.push(json!({
                    "type": type_, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                    "lastHeartbeatTime": created, "lastTransitionTime": rfc3339(now),
                }));
                changed = true;
            }
            Some(condition) if condition["status"] != "Unknown" => {
                condition["status"] = json!("Unknown");
                condition["reason"] = json!("NodeStatusUnknown");
                condition["message"] = json!("Kubelet stopped posting node status.");
                condition["lastTransitionTime"] = json!(rfc3339(now));
                changed = true;
            }
            Some(_) => {}
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_268_800 + second).unwrap()
    }

    fn node(heartbeat: Option<i64>) -> Node {
        let conditions = heartbeat.map(|second| {
            json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": rfc3339(at(second))}])
        });
        serde_json::from_value(
            json!({"metadata": {"name": "a", "creationTimestamp": rfc3339(at(0))},
            "status": {"conditions": conditions}}),
        )
        .unwrap()
    }

    #[test]
    fn signs_of_life_move_the_deadline() {
        let grace = (Duration::from_secs(50), Duration::from_secs(60));
        let deadline = |health: &Health, node: &Node| health.deadline(node, grace.0, grace.1);
        // Never reported: silent since its creation, with the longer grace.
        let new = node(None);
        let mut health = observe(None, &new, None, at(30));
        assert_eq!(deadline(&health, &new), at(60));
        // The first report.
        let reported = node(Some(40));
        health = observe(Some(&health), &reported, None, at(41));
        assert_eq!(deadline(&health, &reported), at(91));
        // Looking again without news changes nothing.
        health = observe(Some(&health), &reported, None, at(70));
        assert_eq!(deadline(&health, &reported), at(91));
        // A lease renewal, seen late, counts from when it was seen; an old one does not count.
        assert!(health.renew(Some(at(60)), at(80)));
        assert!(!health.renew(Some(at(59)), at(85)));
        assert_eq!(deadline(&health, &reported), at(130));
        // A node that was there when the controller started has its full grace.
        let seen = observe(None, &reported, Some(at(1)), at(1000));
        assert_eq!(deadline(&seen, &reported), at(1050));
    }

    #[test]
    fn a_silent_node_becomes_unknown_once() {
        let mut live = json!({"metadata": {"creationTimestamp": "c"}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "h"},
            {"type": "NetworkUnavailable", "status": "False"}]}});
        assert!(mark_unknown(&mut live, at(0)));
        let conditions = live["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions[0]["reason"], "NodeStatusUnknown");
        assert_eq!(
            conditions[0]["message"],
            "Kubelet stopped posting node status."
        );
        assert_eq!(conditions[0]["lastHeartbeatTime"], "h");
        assert_eq!(conditions[1]["status"], "False");
        assert_eq!(conditions[2]["reason"], "NodeStatusNeverUpdated");
        assert_eq!(conditions[2]["lastHeartbeatTime"], "c");
        assert_eq!(conditions.len(), 5);
        assert!(!mark_unknown(&mut live, at(9)));
    }
}
