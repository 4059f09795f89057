//! The objects of resource.k8s.io/v1 as the scheduler reads them, and the allocation as it writes it.
//!
//! Invariant: an [`Allocation`] that was read is written back with everything in it that the scheduler knows of.

use std::collections::BTreeMap;

use fluyt_api::quantity::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{Meta, NodeSelector, Text};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceClaim {
    pub metadata: Meta,
    pub spec: ClaimSpec,
    pub status: ClaimStatus,
}

impl ResourceClaim {
    /// `namespace/name`.
    pub fn key(&self) -> Text {
        compact_str::format_compact!("{}/{}", self.metadata.namespace, self.metadata.name)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimSpec {
    pub devices: DeviceClaim,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceClaim {
    pub requests: Vec<DeviceRequest>,
    pub constraints: Vec<DeviceConstraint>,
    pub config: Vec<DeviceConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRequest {
    pub name: Text,
    pub exactly: Option<Ask>,
    pub first_available: Vec<Ask>,
}

/// What both an exact request and an alternative of a prioritized list say; only the latter has a name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ask {
    pub name: Text,
    pub device_class_name: Text,
    pub selectors: Vec<DeviceSelector>,
    pub allocation_mode: Text,
    pub count: i64,
    pub admin_access: Option<bool>,
    pub tolerations: Vec<DeviceToleration>,
    pub capacity: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceSelector {
    pub cel: Option<CelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CelSelector {
    pub expression: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceToleration {
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub key: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub operator: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub value: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub effect: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

impl DeviceToleration {
    pub fn tolerates(&self, taint: &DeviceTaint) -> bool {
        taint.is_matched_by(&self.key, &self.operator, &self.value, &self.effect)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceConstraint {
    pub requests: Vec<Text>,
    pub match_attribute: Option<Text>,
    pub distinct_attribute: Option<Text>,
}

/// Configuration in a claim, a class, or (with a source) an allocation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimStatus {
    pub allocation: Option<Allocation>,
    pub reserved_for: Vec<Consumer>,
    pub devices: Vec<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Consumer {
    pub api_group: Text,
    pub resource: Text,
    pub name: Text,
    pub uid: Text,
}

/// status.allocation: which devices a claim got, and where they can be used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Allocation {
    pub devices: AllocatedDevices,
    /// Nothing: everywhere.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_selector"
    )]
    pub node_selector: Option<NodeSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_timestamp: Option<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct AllocatedDevices {
    pub results: Vec<AllocatedDevice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<DeviceConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocatedDevice {
    /// `request`, or `request/alternative`.
    pub request: Text,
    pub driver: Text,
    pub pool: Text,
    pub device: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_access: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<DeviceToleration>,
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    pub share_id: Option<Text>,
}

fn write_selector<S: serde::Serializer>(
    selector: &Option<NodeSelector>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde_json::json;
    let operator = |operator: crate::labels::Operator| format!("{operator:?}");
    let requirements = |list: &[crate::labels::Requirement]| -> Vec<Value> {
        list.iter()
            .map(|one| match one.values.is_empty() {
                true => json!({"key": one.key, "operator": operator(one.operator)}),
                false => {
                    json!({"key": one.key, "operator": operator(one.operator), "values": one.values})
                }
            })
            .collect()
    };
    let terms = selector.iter().flat_map(|one| &one.node_selector_terms);
    let terms: Vec<Value> = terms
        .map(|term| {
            let mut value = serde_json::Map::new();
            for (name, list) in [
                ("matchExpressions", &term.match_expressions),
                ("matchFields", &term.match_fields),
            ] {
                if !list.is_empty() {
                    value.insert(name.to_owned(), requirements(list).into());
                }
            }
            Value::Object(value)
        })
        .collect();
    json!({"nodeSelectorTerms": terms}).serialize(serializer)
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceSlice {
    pub metadata: Meta,
    pub spec: SliceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceSpec {
    pub driver: Text,
    pub pool: PoolFacts,
    pub node_name: Option<Text>,
    pub node_selector: Option<NodeSelector>,
    pub all_nodes: Option<bool>,
    pub per_device_node_selection: Option<bool>,
    pub devices: Vec<Device>,
    pub shared_counters: Vec<CounterSet>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolFacts {
    pub name: Text,
    pub generation: i64,
    pub resource_slice_count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    pub name: Text,
    pub attributes: BTreeMap<Text, Attribute>,
    pub capacity: BTreeMap<Text, Amount>,
    pub consumes_counters: Vec<Consumption>,
    pub node_name: Option<Text>,
    pub node_selector: Option<NodeSelector>,
    pub all_nodes: Option<bool>,
    pub taints: Vec<DeviceTaint>,
    pub binds_to_node: Option<bool>,
    pub binding_conditions: Vec<Text>,
    pub allow_multiple_allocations: Option<bool>,
}

/// Exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Attribute {
    pub int: Option<i64>,
    pub bool: Option<bool>,
    pub string: Option<Text>,
    pub version: Option<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Amount {
    pub value: Quantity,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CounterSet {
    pub name: Text,
    pub counters: BTreeMap<Text, Amount>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Consumption {
    pub counter_set: Text,
    pub counters: BTreeMap<Text, Amount>,
}

/// The fields and effects of a node's; None, and what is unknown, keeps nobody away.
pub type DeviceTaint = crate::objects::Taint;

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceClass {
    pub metadata: Meta,
    pub spec: ClassSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClassSpec {
    pub selectors: Vec<DeviceSelector>,
    pub config: Vec<DeviceConfig>,
}

/// spec.resourceClaims of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodResourceClaim {
    pub name: Text,
    pub resource_claim_name: Option<Text>,
    pub resource_claim_template_name: Option<Text>,
}

/// status.resourceClaimStatuses of a pod: which claims were made for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodResourceClaimStatus {
    pub name: Text,
    pub resource_claim_name: Option<Text>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_allocation_is_written_as_it_was_read() {
        let written = json!({
            "devices": {
                "results": [{"request": "a/b", "driver": "d", "pool": "p", "device": "x", "adminAccess": true,
                             "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}]}],
                "config": [{"source": "FromClass", "requests": ["a"], "opaque": {"driver": "d", "parameters": {"x": 1}}}],
            },
            "nodeSelector": {"nodeSelectorTerms": [{
                "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}, {"key": "y", "operator": "Exists"}],
                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]},
        });
        let read: Allocation = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }
}
