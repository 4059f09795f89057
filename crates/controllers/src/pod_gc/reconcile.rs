//! Which pods nobody will ever clean up. Pure.

use std::sync::Arc;

use crate::objects::node::Node;
use crate::objects::pod::Pod;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Its node does not exist, as far as the cache shows: look again after the quarantine and ask the server.
    Quarantine,
    /// Being deleted and never placed: no kubelet will finish that.
    Unscheduled,
    /// Being deleted on a node that is out of service.
    OutOfService,
}

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// `node` is the one that the pod is bound to, if it exists.
pub fn judge(pod: &Pod, node: Option<&Node>) -> Verdict {
    let deleting = pod.meta.is_deleting();
    match node {
        _ if pod.node_name.is_empty() => {
            if deleting {
                Verdict::Unscheduled
            } else {
                Verdict::Keep
            }
        }
        None => Verdict::Quarantine,
        Some(node)
            if deleting
                && !node.is_ready()
                && node
                    .taints
                    .iter()
                    .any(|taint| &*taint.key == OUT_OF_SERVICE) =>
        {
            Verdict::OutOfService
        }
        Some(_) => Verdict::Keep,
    }
}

/// The finished pods beyond `threshold`: evicted ones first, then the oldest.
pub fn excess(mut finished: Vec<Arc<Pod>>, threshold: usize) -> Vec<Arc<Pod>> {
    let count = finished.len().saturating_sub(threshold);
    if count == 0 {
        return Vec::new();
    }
    finished.sort_by(|a, b| {
        b.evicted
            .cmp(&a.evicted)
            .then_with(|| a.meta.creation_timestamp.cmp(&b.meta.creation_timestamp))
            .then_with(|| a.meta.name.cmp(&b.meta.name))
    });
    finished.truncate(count);
    finished
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, node: &str, deleting: bool, status: Value) -> Pod {
        let deletion = deleting.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "deletionTimestamp": deletion,
                "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len())},
            "spec": {"nodeName": node}, "status": status
        }))
        .unwrap()
    }

    fn node(ready: &str, taint: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    #[test]
    fn verdicts() {
        let (healthy, broken) = (node("True", "x"), node("False", OUT_OF_SERVICE));
        for (name, node_name, deleting, node, expected) in [
            ("waiting", "", false, None, Verdict::Keep),
            (
                "deleted before it was placed",
                "",
                true,
                None,
                Verdict::Unscheduled,
            ),
            ("node gone", "n", false, None, Verdict::Quarantine),
            ("deleted, node gone", "n", true, None, Verdict::Quarantine),
            ("running", "n", false, Some(&healthy), Verdict::Keep),
            ("stopping", "n", true, Some(&healthy), Verdict::Keep),
            (
                "stopping out of service",
                "n",
                true,
                Some(&broken),
                Verdict::OutOfService,
            ),
            (
                "running out of service",
                "n",
                false,
                Some(&broken),
                Verdict::Keep,
            ),
        ] {
            assert_eq!(
                judge(&pod("a", node_name, deleting, Value::Null), node),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn the_oldest_finished_pods_go() {
        let done = json!({"phase": "Succeeded"});
        let evicted = json!({"phase": "Failed", "reason": "Evicted"});
        let pods: Vec<_> = [
            ("aaa", &done),
            ("a", &done),
            ("aaaa", &evicted),
            ("aa", &done),
        ]
        .map(|(name, status)| Arc::new(pod(name, "n", false, status.clone())))
        .to_vec();
        let names: Vec<_> = excess(pods.clone(), 2)
            .iter()
            .map(|pod| pod.meta.name.clone())
            .collect();
        assert_eq!(
            names.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["aaaa", "a"]
        );
        assert!(excess(pods, 4).is_empty());
    }
}
