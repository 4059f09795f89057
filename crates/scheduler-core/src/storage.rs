//! The objects of storage as the scheduler reads them: claims, volumes, classes, and what CSI drivers say about nodes.
//!
//! Facts: core/v1 PersistentVolume and PersistentVolumeClaim, storage/v1; the annotations are component-helpers/storage/volume's.

use serde::{Deserialize, Deserializer, Serialize};

use crate::labels::{LabelSelector, Labels};
use crate::objects::{Meta, NodeSelector, ResourceList, Text};

/// On a claim: the controller has completed the binding.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a volume or claim: the binding was made by a controller, not by a user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: where its volume is to be provisioned.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim or volume: its class, before there was a field.
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// On a CSINode: the in-tree plugins whose volumes a CSI driver serves there.
pub const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";

const KNOWN: [&str; 5] = [
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    BETA_CLASS,
    MIGRATED_PLUGINS,
];

/// Only the annotations that scheduling reads; all others are dropped while decoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Labels);

impl Serialize for Annotations {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Annotations {
    pub fn get(&self, key: &str) -> Option<&Text> {
        self.0.get(key)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;
        impl<'de> serde::de::Visitor<'de> for Known {
            type Value = Annotations;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Annotations, A::Error> {
                let mut pairs: Vec<(Text, Text)> = Vec::new();
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    match KNOWN.contains(&&*key) {
                        true => pairs.push((key.as_ref().into(), map.next_value()?)),
                        false => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                }
                Ok(Annotations(pairs.into_iter().collect()))
            }
        }
        deserializer.deserialize_any(Known)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    pub metadata: Meta,
    pub spec: ClaimSpec,
    pub status: Phase,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    pub access_modes: Vec<Text>,
    pub selector: Option<LabelSelector>,
    pub resources: ClaimResources,
    pub volume_name: Text,
    pub storage_class_name: Option<Text>,
    pub volume_mode: Option<Text>,
    pub volume_attributes_class_name: Option<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimResources {
    pub requests: ResourceList,
}

/// The phase of a claim or volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Phase {
    pub phase: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PersistentVolume {
    pub metadata: Meta,
    pub spec: VolumeSpec,
    pub status: Phase,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    pub capacity: ResourceList,
    pub access_modes: Vec<Text>,
    pub claim_ref: Option<ClaimRef>,
    pub storage_class_name: Text,
    pub volume_mode: Option<Text>,
    pub node_affinity: Option<VolumeNodeAffinity>,
    pub volume_attributes_class_name: Option<Text>,
    pub csi: Option<CsiSource>,
    pub gce_persistent_disk: Option<GceDisk>,
    pub aws_elastic_block_store: Option<VolumeById>,
    pub azure_disk: Option<AzureDisk>,
    pub cinder: Option<VolumeById>,
    pub portworx_volume: Option<VolumeById>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimRef {
    pub namespace: Text,
    pub name: Text,
    pub uid: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    pub required: Option<NodeSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiSource {
    pub driver: Text,
    pub volume_handle: Text,
}

/// The in-tree sources that a CSI driver may serve instead; of a volume, or inline in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InTreeSource {
    pub gce_persistent_disk: Option<GceDisk>,
    pub aws_elastic_block_store: Option<VolumeById>,
    pub azure_disk: Option<AzureDisk>,
    pub cinder: Option<VolumeById>,
    pub portworx_volume: Option<VolumeById>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GceDisk {
    pub pd_name: Text,
    pub read_only: bool,
}

/// AWS EBS, Cinder and Portworx all name a volume alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeById {
    #[serde(rename = "volumeID")]
    pub volume_id: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AzureDisk {
    #[serde(rename = "diskURI")]
    pub disk_uri: Text,
    pub kind: Option<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Iscsi {
    pub iqn: Text,
    #[serde(rename = "readOnly")]
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rbd {
    pub monitors: Vec<Text>,
    pub pool: Text,
    pub image: Text,
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    pub metadata: Meta,
    pub provisioner: Text,
    /// Absent is Immediate (the API server fills it in).
    pub volume_binding_mode: Option<Text>,
    pub allowed_topologies: Vec<TopologyTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologyTerm {
    pub match_label_expressions: Vec<TopologyRequirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct TopologyRequirement {
    pub key: Text,
    pub values: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiNode {
    pub metadata: Meta,
    pub spec: CsiNodeSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiNodeSpec {
    pub drivers: Vec<CsiNodeDriver>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiNodeDriver {
    pub name: Text,
    pub allocatable: Option<CsiAllocatable>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiAllocatable {
    pub count: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiDriver {
    pub metadata: Meta,
    pub spec: CsiDriverSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiDriverSpec {
    pub storage_capacity: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiStorageCapacity {
    pub metadata: Meta,
    pub node_topology: Option<LabelSelector>,
    pub storage_class_name: Text,
    pub capacity: Option<Text>,
    pub maximum_volume_size: Option<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeAttachment {
    pub metadata: Meta,
    pub spec: AttachmentSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachmentSpec {
    pub attacher: Text,
    pub node_name: Text,
    pub source: AttachmentSource,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachmentSource {
    pub persistent_volume_name: Option<Text>,
}

impl PersistentVolumeClaim {
    /// The annotation wins over the field; empty: none.
    pub fn class(&self) -> &str {
        let field = self.spec.storage_class_name.as_ref();
        let annotation = self.metadata.annotations.get(BETA_CLASS);
        annotation.or(field).map_or("", |class| class.as_str())
    }
}

impl PersistentVolume {
    pub fn class(&self) -> &Text {
        let annotation = self.metadata.annotations.get(BETA_CLASS);
        annotation.unwrap_or(&self.spec.storage_class_name)
    }

    pub fn in_tree(&self) -> InTreeSource {
        InTreeSource {
            gce_persistent_disk: self.spec.gce_persistent_disk.clone(),
            aws_elastic_block_store: self.spec.aws_elastic_block_store.clone(),
            azure_disk: self.spec.azure_disk.clone(),
            cinder: self.spec.cinder.clone(),
            portworx_volume: self.spec.portworx_volume.clone(),
        }
    }

    pub fn affinity(&self) -> Option<&NodeSelector> {
        self.spec.node_affinity.as_ref()?.required.as_ref()
    }
}

impl StorageClass {
    pub fn waits_for_consumer(&self) -> bool {
        self.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
    }
}

impl CsiStorageCapacity {
    /// The largest volume that fits, in bytes; `None`: unknown, so nothing does.
    pub fn limit(&self) -> Option<i64> {
        let size = self.maximum_volume_size.as_ref().or(self.capacity.as_ref());
        size.map(|size| crate::requests::amount("storage", size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_known_annotations_are_kept() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"annotations": {"a": "b", SELECTED_NODE: "n1", BETA_CLASS: "old"}},
            "spec": {"storageClassName": "new"}}))
        .unwrap();
        assert_eq!(claim.metadata.annotations.get(SELECTED_NODE).unwrap(), "n1");
        assert_eq!(claim.metadata.annotations.get("a"), None);
        assert_eq!(claim.class(), "old");
    }

    #[test]
    fn in_tree_sources_are_decoded_beside_csi() {
        let volume: PersistentVolume = serde_json::from_value(json!({
            "spec": {"capacity": {"storage": "1Gi"}, "awsElasticBlockStore": {"volumeID": "vol-1"}}}))
        .unwrap();
        assert_eq!(
            volume.spec.aws_elastic_block_store.unwrap().volume_id,
            "vol-1"
        );
        assert_eq!(volume.spec.csi, None);
    }
}
