//! Whether a pod that is bound to this node may run on it: upstream's
//! pkg/kubelet/lifecycle/predicate.go, which does not trust whoever set `spec.nodeName`.
//! A verdict depends on nothing but its three arguments, so the same pod beside the same
//! others on the same node is always judged alike.

use crate::amount::{ResourceList, milli, value};
use crate::api::{NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};
use crate::model::{containers, host_network, init_containers, is_sidecar, uid};
use crate::names::{is_mirror, is_static};
use crate::resources::requests;
use crate::status::Failure;
use fluyt_api::selector::{Operator, Requirement};
use std::collections::BTreeMap;

/// From this priority on a pod is never turned away for want of resources
/// (scheduling.SystemCriticalPriority).
const CRITICAL_PRIORITY: i32 = 2_000_000_000;
const OS_LABEL: &str = "kubernetes.io/os";
const OS: &str = "linux";

/// What a verdict needs to know of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// `status.allocatable`, the count of pods included.
    pub allocatable: ResourceList,
    /// `status.features.supplementalGroupsPolicy`.
    pub supplemental_groups_policy: bool,
}

/// Why a pod may not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// As the event and `status.reason` have it: "OutOfcpu", "NodeAffinity".
    pub reason: String,
    /// As the event has it.
    pub message: String,
}

impl Rejection {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn predicate(name: &str, why: &str) -> Self {
        Self::new(name, format!("Predicate {name} failed: {why}"))
    }

    /// What the pod's status says for good.
    pub fn failure(&self) -> Failure {
        Failure {
            reason: self.reason.clone(),
            message: format!("Pod was rejected: {}", self.message),
        }
    }

    /// The node's labels decided it, so an outdated view of them may be to blame.
    pub fn is_about_labels(&self) -> bool {
        self.reason == "NodeAffinity"
    }
}

/// True for a pod that only this kubelet can run, or that the cluster cannot do without.
/// Upstream evicts others to make room for it; here it is let in beside them.
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority);
    is_static(pod) || is_mirror(pod) || priority.is_some_and(|p| p >= CRITICAL_PRIORITY)
}

/// The pod has been told that this node took it on: it was admitted before.
pub fn was_admitted(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|status| status.start_time.is_some())
}

/// Judges a pod beside the ones that the node has taken on; a pod among those with the
/// uid of the judged one is not counted. The first reason that upstream would find is told.
pub fn admit(node: &NodeFacts, others: &[&Pod], pod: &Pod) -> Result<(), Rejection> {
    check_system(node, pod)?;
    let others: Vec<&Pod> = others
        .iter()
        .copied()
        .filter(|other| uid(other) != uid(pod))
        .collect();
    if !is_critical(pod) {
        check_resources(node, &others, pod)?;
    }
    check_affinity(node, pod)?;
    check_name(node, pod)?;
    check_ports(&others, pod)?;
    check_taints(node, pod)
}

/// What no eviction could mend.
fn check_system(node: &NodeFacts, pod: &Pod) -> Result<(), Rejection> {
    let label = pod.metadata.labels.as_ref().and_then(|l| l.get(OS_LABEL));
    if label.is_some_and(|label| label != OS) {
        let message =
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Err(Rejection::new(
            "PodOSSelectorNodeLabelDoesNotMatch",
            message,
        ));
    }
    let Some(spec) = &pod.spec else {
        return Ok(());
    };
    if spec.os.as_ref().is_some_and(|os| os.name != OS) {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        return Err(Rejection::new("PodOSNotSupported", message));
    }
    let policy = spec
        .security_context
        .as_ref()
        .and_then(|context| context.supplemental_groups_policy.as_deref());
    if policy == Some("Strict") && !node.supplemental_groups_policy {
        let message = "SupplementalGroupsPolicy=Strict is not supported in this node";
        return Err(Rejection::new(
            "SupplementalGroupsPolicyNotSupported",
            message,
        ));
    }
    Ok(())
}

/// The count of pods first, then what the pod asks for, in upstream's order.
fn check_resources(node: &NodeFacts, others: &[&Pod], pod: &Pod) -> Result<(), Rejection> {
    let capacity = |name: &str| {
        node.allocatable.get(name).map_or(0, |quantity| {
            if name == "cpu" {
                milli(quantity)
            } else {
                value(quantity)
            }
        })
    };
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count >= capacity("pods") {
        return Err(insufficient("pods", 1, count, capacity("pods")));
    }
    let mut used: BTreeMap<String, i64> = BTreeMap::new();
    for (name, amount) in others.iter().flat_map(|other| requests(other)) {
        let sum = used.entry(name).or_insert(0);
        *sum = sum.saturating_add(amount);
    }
    let mut wanted = requests(pod);
    // An extended resource that the node does not know is somebody else's to give.
    wanted.retain(|name, _| !is_extended(name) || node.allocatable.contains_key(name));
    let named = ["cpu", "memory", "ephemeral-storage"];
    let ordered = named
        .into_iter()
        .filter_map(|name| Some((name, *wanted.get(name)?)));
    let counted = wanted
        .iter()
        .map(|(name, amount)| (name.as_str(), *amount))
        .filter(|(name, _)| !named.contains(name) && is_counted(name));
    for (name, amount) in ordered.chain(counted).filter(|(_, amount)| *amount > 0) {
        let taken = used.get(name).copied().unwrap_or(0);
        if amount > capacity(name).saturating_sub(taken) {
            return Err(insufficient(name, amount, taken, capacity(name)));
        }
    }
    Ok(())
}

fn insufficient(name: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    Rejection {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    }
}

/// Kinds of resources beside the named ones that a node keeps count of.
fn is_counted(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-") || name.starts_with("attachable-volumes-")
}

/// A resource outside Kubernetes' own names.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// `nodeSelector` and the required node affinity: both must hold.
fn check_affinity(node: &NodeFacts, pod: &Pod) -> Result<(), Rejection> {
    let Some(spec) = &pod.spec else {
        return Ok(());
    };
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    let wanted = required.is_none_or(|selector| {
        selector
            .node_selector_terms
            .iter()
            .any(|term| term_matches(node, term))
    });
    if selected && wanted {
        return Ok(());
    }
    Err(Rejection::predicate(
        "NodeAffinity",
        "node(s) didn't match Pod's node affinity/selector",
    ))
}

/// An empty term matches nothing, and neither does one that cannot be understood.
fn term_matches(node: &NodeFacts, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or(&[]);
    let fields = term.match_fields.as_deref().unwrap_or(&[]);
    let empty = expressions.is_empty() && fields.is_empty();
    !empty
        && expressions.iter().all(|wanted| label_matches(node, wanted))
        && fields.iter().all(|wanted| field_matches(node, wanted))
}

fn label_matches(node: &NodeFacts, wanted: &NodeSelectorRequirement) -> bool {
    let operator = match wanted.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let values = wanted.values.clone().unwrap_or_default();
    Requirement::new(&wanted.key, operator, values)
        .is_ok_and(|requirement| requirement.matches(&node.labels))
}

/// The only field is the node's name, compared with exactly one value.
fn field_matches(node: &NodeFacts, wanted: &NodeSelectorRequirement) -> bool {
    let own = if wanted.key == "metadata.name" {
        node.name.as_str()
    } else {
        ""
    };
    match (wanted.operator.as_str(), wanted.values.as_deref()) {
        ("In", Some([value])) => value == own,
        ("NotIn", Some([value])) => value != own,
        _ => false,
    }
}

fn check_name(node: &NodeFacts, pod: &Pod) -> Result<(), Rejection> {
    let wanted = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if wanted.is_none_or(|name| name.is_empty() || name == node.name) {
        return Ok(());
    }
    let why = "node(s) didn't match the requested node name";
    Err(Rejection::predicate("NodeName", why))
}

/// A port of the node: address ("0.0.0.0" for all of them), protocol, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HostPort<'a> {
    address: &'a str,
    protocol: &'a str,
    number: i32,
}

impl HostPort<'_> {
    fn clashes(&self, other: &HostPort<'_>) -> bool {
        let everywhere = [self.address, other.address].contains(&"0.0.0.0");
        self.number == other.number
            && self.protocol == other.protocol
            && (everywhere || self.address == other.address)
    }
}

fn check_ports(others: &[&Pod], pod: &Pod) -> Result<(), Rejection> {
    let wanted = host_ports(pod);
    let clash = others
        .iter()
        .flat_map(|other| host_ports(other))
        .any(|taken| wanted.iter().any(|port| port.clashes(&taken)));
    if !clash {
        return Ok(());
    }
    let why = "node(s) didn't have free ports for the requested pod ports";
    Err(Rejection::predicate("NodePorts", why))
}

/// The ports that the pod's containers and sidecars take of the node; with the node's
/// network, every port that they name.
fn host_ports(pod: &Pod) -> Vec<HostPort<'_>> {
    let sidecars = init_containers(pod).iter().filter(|c| is_sidecar(c));
    let ports = containers(pod)
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten());
    let described = ports.map(|port| HostPort {
        address: or(port.host_ip.as_deref(), "0.0.0.0"),
        protocol: or(port.protocol.as_deref(), "TCP"),
        number: match port.host_port.unwrap_or(0) {
            0 if host_network(pod) => port.container_port,
            number => number,
        },
    });
    described.filter(|port| port.number > 0).collect()
}

fn or<'a>(text: Option<&'a str>, default: &'static str) -> &'a str {
    text.filter(|text| !text.is_empty()).unwrap_or(default)
}

/// Only NoExecute counts here, and not for static pods: nobody could put them elsewhere.
fn check_taints(node: &NodeFacts, pod: &Pod) -> Result<(), Rejection> {
    if is_static(pod) {
        return Ok(());
    }
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or(&[]);
    let untolerated = node
        .taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .any(|taint| !tolerations.iter().any(|t| tolerates(t, taint)));
    if !untolerated {
        return Ok(());
    }
    let why = "node(s) had taints that the pod didn't tolerate";
    Err(Rejection::predicate("TaintToleration", why))
}

/// The rules of core/v1 Toleration without the numeric operators, which are alpha.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (given(&toleration.effect), given(&toleration.key));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => given(&toleration.value) == given(&taint.value),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
