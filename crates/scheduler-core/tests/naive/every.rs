//! Every filter's answer by itself, none left out after the first that fails.

use super::*;

/// The plugins that turn a node away, with their reasons.
pub fn failing(world: &World, pod: &Pod, node: &Node) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    let mut say = |plugin, reasons: Vec<String>| {
        if !reasons.is_empty() {
            all.insert(plugin, reasons);
        }
    };
    let when = |fails: bool, reason: &str| match fails {
        true => vec![reason.to_owned()],
        false => Vec::new(),
    };
    let text = |reason: Option<&str>| reason.map(str::to_owned).into_iter().collect::<Vec<_>>();
    let cordon = "node.kubernetes.io/unschedulable";
    let cordoned = node.spec.unschedulable && !tolerates(pod, cordon, "", "NoSchedule");
    say(
        "NodeUnschedulable",
        when(cordoned, "node(s) were unschedulable"),
    );
    let tainted = node.spec.taints.iter().any(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !tolerates(pod, &taint.key, &taint.value, &taint.effect)
    });
    say(
        "TaintToleration",
        when(tainted, "node(s) had untolerated taint(s)"),
    );
    let elsewhere = !node_affinity_matches(pod, node);
    say(
        "NodeAffinity",
        when(
            elsewhere,
            "node(s) didn't match Pod's node affinity/selector",
        ),
    );
    let taken = ports_taken(world, pod, node);
    say(
        "NodePorts",
        when(
            taken,
            "node(s) didn't have free ports for the requested pod ports",
        ),
    );
    say("NodeResourcesFit", resources(world, pod, node));
    say("PodTopologySpread", text(hard_spread(world, pod, node)));
    say("InterPodAffinity", text(pod_affinity(world, pod, node)));
    all
}
