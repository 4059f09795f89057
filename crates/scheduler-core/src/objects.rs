//! The API objects as the scheduler reads them: only the fields that filters, scores and the queue need are decoded.
//!
//! Unknown fields are skipped by serde, so a change of the API that the scheduler does not read costs nothing.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::cluster::devices::objects::{PodResourceClaim, PodResourceClaimStatus};
use crate::labels::{LabelSelector, Labels};
use crate::storage::{self, Annotations};

/// Short strings live inside the value, which is what most names, keys and values are.
pub type Text = CompactString;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: Text,
    pub namespace: Text,
    pub uid: Text,
    pub resource_version: Text,
    pub labels: Labels,
    pub annotations: Annotations,
    pub creation_timestamp: Option<Text>,
    pub deletion_timestamp: Option<Text>,
    pub owner_references: Vec<OwnerReference>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub api_version: Text,
    pub kind: Text,
    pub name: Text,
    pub uid: Text,
    pub controller: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Meta,
    pub spec: PodSpec,
    pub status: PodStatus,
}

impl Pod {
    /// `namespace/name`, the key of every map of pods.
    pub fn key(&self) -> Text {
        let mut key =
            Text::with_capacity(self.metadata.namespace.len() + self.metadata.name.len() + 1);
        key.push_str(&self.metadata.namespace);
        key.push('/');
        key.push_str(&self.metadata.name);
        key
    }

    pub fn is_assigned(&self) -> bool {
        !self.spec.node_name.is_empty()
    }

    pub fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Finished pods use nothing; upstream does not even watch them.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    pub fn priority(&self) -> i32 {
        self.spec.priority.unwrap_or(0)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub node_name: Text,
    pub scheduler_name: Text,
    pub node_selector: Labels,
    pub affinity: Option<Box<Affinity>>,
    pub tolerations: Vec<Toleration>,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    pub overhead: ResourceList,
    pub resources: Option<ResourceRequirements>,
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    pub priority: Option<i32>,
    pub preemption_policy: Text,
    pub scheduling_gates: Vec<SchedulingGate>,
    pub volumes: Vec<Volume>,
    pub host_network: bool,
    pub host_users: Option<bool>,
    pub resource_claims: Vec<PodResourceClaim>,
    pub scheduling_group: Option<SchedulingGroup>,
}

/// The group that a pod is scheduled with (alpha).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulingGroup {
    pub pod_group_name: Option<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SchedulingGate {
    pub name: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: Text,
    pub image: Option<ImageVolume>,
    pub persistent_volume_claim: Option<ClaimVolume>,
    pub ephemeral: Option<EphemeralVolume>,
    pub csi: Option<InlineCsi>,
    pub gce_persistent_disk: Option<storage::GceDisk>,
    pub aws_elastic_block_store: Option<storage::VolumeById>,
    pub azure_disk: Option<storage::AzureDisk>,
    pub cinder: Option<storage::VolumeById>,
    pub portworx_volume: Option<storage::VolumeById>,
    pub iscsi: Option<storage::Iscsi>,
    pub rbd: Option<storage::Rbd>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimVolume {
    pub claim_name: Text,
}

impl Volume {
    /// The sources that a CSI driver may serve instead.
    pub fn in_tree(&self) -> storage::InTreeSource {
        storage::InTreeSource {
            gce_persistent_disk: self.gce_persistent_disk.clone(),
            aws_elastic_block_store: self.aws_elastic_block_store.clone(),
            azure_disk: self.azure_disk.clone(),
            cinder: self.cinder.clone(),
            portworx_volume: self.portworx_volume.clone(),
        }
    }
}

/// A volume whose claim is made for the pod: that there is one is all that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct EphemeralVolume {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct InlineCsi {
    pub driver: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ImageVolume {
    pub reference: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: Text,
    pub nominated_node_name: Text,
    pub start_time: Option<Text>,
    pub conditions: Vec<Condition>,
    pub container_statuses: Vec<ContainerStatus>,
    pub init_container_statuses: Vec<ContainerStatus>,
    pub resource_claim_statuses: Vec<PodResourceClaimStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    pub r#type: Text,
    pub status: Text,
    pub reason: Text,
    pub message: String,
}

/// What an in-place resize has granted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: Text,
    pub allocated_resources: Option<ResourceList>,
    pub resources: Option<StatusResources>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct StatusResources {
    pub requests: Option<ResourceList>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: Text,
    pub image: Text,
    pub resources: ResourceRequirements,
    pub ports: Vec<ContainerPort>,
    pub restart_policy: Text,
    pub restart_policy_rules: Vec<RestartRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RestartRule {
    pub action: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceRequirements {
    pub requests: ResourceList,
}

/// Resource names and quantities as written; see [`crate::requests`].
pub type ResourceList = Labels;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    pub host_port: i32,
    #[serde(rename = "hostIP")]
    pub host_ip: Text,
    pub protocol: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    pub node_affinity: Option<NodeAffinity>,
    pub pod_affinity: Option<PodAffinity>,
    pub pod_anti_affinity: Option<PodAffinity>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<PreferredSchedulingTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    pub match_expressions: Vec<crate::labels::Requirement>,
    pub match_fields: Vec<crate::labels::Requirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct PreferredSchedulingTerm {
    pub weight: i32,
    pub preference: NodeSelectorTerm,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Vec<PodAffinityTerm>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<WeightedPodAffinityTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    pub label_selector: Option<LabelSelector>,
    pub namespaces: Vec<Text>,
    pub namespace_selector: Option<LabelSelector>,
    pub topology_key: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    pub weight: i32,
    pub pod_affinity_term: PodAffinityTerm,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    pub max_skew: i32,
    pub topology_key: Text,
    pub when_unsatisfiable: Text,
    pub label_selector: Option<LabelSelector>,
    pub min_domains: Option<i32>,
    pub node_affinity_policy: Option<Text>,
    pub node_taints_policy: Option<Text>,
    pub match_label_keys: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct Toleration {
    pub key: Text,
    pub operator: Text,
    pub value: Text,
    pub effect: Text,
}

impl Toleration {
    pub fn tolerates(&self, taint: &Taint) -> bool {
        taint.is_matched_by(&self.key, &self.operator, &self.value, &self.effect)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct Taint {
    pub key: Text,
    pub value: Text,
    pub effect: Text,
}

impl Taint {
    /// Whether a toleration of these fields tolerates it: the rules of core/v1 Toleration; the numeric operators Lt and Gt are behind
    /// an alpha gate and match nothing.
    pub(crate) fn is_matched_by(
        &self,
        key: &str,
        operator: &str,
        value: &str,
        effect: &str,
    ) -> bool {
        (effect.is_empty() || effect == self.effect)
            && (key.is_empty() || key == self.key)
            && match operator {
                "" | "Equal" => value == self.value,
                "Exists" => true,
                _ => false,
            }
    }

    /// NoSchedule and NoExecute keep pods away; PreferNoSchedule only costs score.
    pub fn forbids(&self) -> bool {
        matches!(self.effect.as_str(), "NoSchedule" | "NoExecute")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Meta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeSpec {
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    pub allocatable: ResourceList,
    pub images: Vec<ContainerImage>,
    pub declared_features: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerImage {
    pub names: Vec<Text>,
    pub size_bytes: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Namespace {
    pub metadata: Meta,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Meta,
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServiceSpec {
    pub selector: Option<Labels>,
}

/// A ReplicaSet or StatefulSet: what default spreading needs of the owner of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Workload {
    pub metadata: Meta,
    pub spec: WorkloadSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct WorkloadSpec {
    pub selector: Option<LabelSelector>,
}

/// A ReplicationController's selector is a plain map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ReplicationController {
    pub metadata: Meta,
    pub spec: ServiceSpec,
}

/// policy/v1 PodDisruptionBudget, for preemption.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodDisruptionBudget {
    pub metadata: Meta,
    pub spec: WorkloadSpec,
    pub status: PodDisruptionBudgetStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetStatus {
    pub disruptions_allowed: i32,
    #[serde(serialize_with = "names_only")]
    pub disrupted_pods: std::collections::BTreeMap<Text, serde::de::IgnoredAny>,
}

fn names_only<S: serde::Serializer>(
    pods: &std::collections::BTreeMap<Text, serde::de::IgnoredAny>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pods.keys().map(|name| (name, ())))
}
