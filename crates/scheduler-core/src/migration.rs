//! In-tree volumes that CSI drivers serve: what driver and handle such a volume has, and how its topology is translated.
//!
//! Only the plugins whose migration the scheduler's volume plugins switch on are here; Azure File and vSphere volumes are left as
//! they are, as upstream. Facts: csi-translation-lib 1.36.

use std::collections::BTreeSet;

use crate::labels::{Labels, Operator, Requirement};
use crate::objects::{NodeSelector, NodeSelectorTerm, Text};
use crate::storage::InTreeSource;

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";
/// Between the zones of a volume that is in several.
pub const ZONES_DELIMITER: &str = "__";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InTreePlugin {
    AwsEbs,
    AzureDisk,
    Cinder,
    GcePd,
    Portworx,
}

impl InTreePlugin {
    const ALL: [Self; 5] = [
        Self::AwsEbs,
        Self::AzureDisk,
        Self::Cinder,
        Self::GcePd,
        Self::Portworx,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AwsEbs => "kubernetes.io/aws-ebs",
            Self::AzureDisk => "kubernetes.io/azure-disk",
            Self::Cinder => "kubernetes.io/cinder",
            Self::GcePd => "kubernetes.io/gce-pd",
            Self::Portworx => "kubernetes.io/portworx-volume",
        }
    }

    pub fn driver(self) -> &'static str {
        match self {
            Self::AwsEbs => "ebs.csi.aws.com",
            Self::AzureDisk => "disk.csi.azure.com",
            Self::Cinder => "cinder.csi.openstack.org",
            Self::GcePd => "pd.csi.storage.gke.io",
            Self::Portworx => "pxd.portworx.com",
        }
    }

    fn topology_key(self) -> Option<&'static str> {
        match self {
            Self::AwsEbs => Some("topology.ebs.csi.aws.com/zone"),
            Self::Cinder => Some("topology.cinder.csi.openstack.org/zone"),
            Self::GcePd => Some("topology.gke.io/zone"),
            Self::AzureDisk | Self::Portworx => None,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plugin| plugin.name() == name)
    }
}

/// Provisioners that migrate elsewhere but not for the scheduler: their volumes are not counted.
pub fn is_uncounted_provisioner(name: &str) -> bool {
    matches!(
        name,
        "kubernetes.io/azure-file" | "kubernetes.io/vsphere-volume"
    )
}

/// The driver that counts the volumes of a provisioner; `None`: nobody does.
pub fn counting_driver(provisioner: &str) -> Option<Text> {
    if is_uncounted_provisioner(provisioner) {
        return None;
    }
    Some(match InTreePlugin::named(provisioner) {
        Some(plugin) => plugin.driver().into(),
        None => provisioner.into(),
    })
}

/// The plugin that an in-tree source belongs to.
pub fn plugin_of(source: &InTreeSource) -> Option<InTreePlugin> {
    if source.gce_persistent_disk.is_some() {
        Some(InTreePlugin::GcePd)
    } else if source.aws_elastic_block_store.is_some() {
        Some(InTreePlugin::AwsEbs)
    } else if source.cinder.is_some() {
        Some(InTreePlugin::Cinder)
    } else if source.azure_disk.is_some() {
        Some(InTreePlugin::AzureDisk)
    } else if source.portworx_volume.is_some() {
        Some(InTreePlugin::Portworx)
    } else {
        None
    }
}

/// The CSI handle of a source; `None`: there is none, or it does not translate. `labels` are the volume's, empty for an inline one.
pub fn handle_of(source: &InTreeSource, labels: &Labels) -> Option<Text> {
    if let Some(disk) = &source.gce_persistent_disk {
        return gce_handle(&disk.pd_name, labels);
    }
    if let Some(volume) = &source.aws_elastic_block_store {
        return aws_handle(&volume.volume_id);
    }
    if let Some(disk) = &source.azure_disk {
        let managed = disk.kind.as_ref();
        let managed = managed.is_none_or(|kind| kind.eq_ignore_ascii_case("managed"));
        return managed.then(|| disk.disk_uri.clone());
    }
    let plain = source.cinder.as_ref().or(source.portworx_volume.as_ref());
    plain.map(|volume| volume.volume_id.clone())
}

fn gce_handle(disk: &str, labels: &Labels) -> Option<Text> {
    let zones = [BETA_ZONE, ZONE]
        .into_iter()
        .filter_map(|key| labels.get(key))
        .find(|zones| !zones.is_empty());
    let zones: Vec<&str> = zones.map_or(Vec::new(), |zones| zones.split(ZONES_DELIMITER).collect());
    let place = match zones.as_slice() {
        [] => "zones/UNSPECIFIED".to_owned(),
        [zone] => format!("zones/{zone}"),
        zones => format!("regions/{}", gce_region(zones)?),
    };
    Some(compact_str::format_compact!(
        "projects/UNSPECIFIED/{place}/disks/{disk}"
    ))
}

/// The one region that zones of the form `locale-region-zone` are in.
fn gce_region(zones: &[&str]) -> Option<String> {
    let region = |zone: &&str| match zone.split('-').collect::<Vec<_>>().as_slice() {
        [locale, region, _] => Some(format!("{locale}-{region}")),
        _ => None,
    };
    let regions: Option<BTreeSet<String>> = zones.iter().map(region).collect();
    let mut regions = regions?.into_iter();
    let first = regions.next()?;
    regions.next().is_none().then_some(first)
}

/// `aws://zone/vol-1` is `vol-1`.
fn aws_handle(id: &str) -> Option<Text> {
    let Some(rest) = id.strip_prefix("aws://") else {
        return Some(id.into());
    };
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let name = path.trim_matches('/');
    (name.starts_with("vol-") && !name.contains('/')).then(|| name.into())
}

/// The node affinity of a volume as the CSI driver of its plugin would state it: zones by the driver's own topology key.
pub fn translated_affinity(
    plugin: InTreePlugin,
    labels: &Labels,
    affinity: Option<&NodeSelector>,
) -> Option<NodeSelector> {
    let mut selector = affinity.cloned();
    let Some(key) = plugin.topology_key() else {
        return selector;
    };
    let (zone, region) = topology_labels(labels, selector.as_ref());
    if has_values(selector.as_ref(), zone) {
        rename(selector.as_mut(), zone, key);
    } else if let Some(zones) = labels.get(zone) {
        let zones: BTreeSet<&str> = zones
            .split(ZONES_DELIMITER)
            .map(str::trim)
            .filter(|zone| !zone.is_empty())
            .collect();
        if !zones.is_empty() {
            let values: Vec<&str> = zones.into_iter().collect();
            require(&mut selector, Requirement::new(key, Operator::In, &values));
        }
    }
    if region == BETA_REGION && has_values(selector.as_ref(), region) {
        rename(selector.as_mut(), region, REGION);
    }
    selector
}

fn topology_labels(
    labels: &Labels,
    selector: Option<&NodeSelector>,
) -> (&'static str, &'static str) {
    let current = (ZONE, REGION);
    let beta = (BETA_ZONE, BETA_REGION);
    let in_selector = |key: &str| requirements(selector).any(|one| one.key == key);
    if in_selector(ZONE) {
        current
    } else if in_selector(BETA_ZONE) {
        beta
    } else if labels.contains(ZONE) {
        current
    } else if labels.contains(BETA_ZONE) {
        beta
    } else {
        current
    }
}

fn requirements(selector: Option<&NodeSelector>) -> impl Iterator<Item = &Requirement> {
    selector
        .into_iter()
        .flat_map(|selector| &selector.node_selector_terms)
        .flat_map(|term| &term.match_expressions)
}

fn has_values(selector: Option<&NodeSelector>, key: &str) -> bool {
    requirements(selector).any(|one| one.key == key && !one.values.is_empty())
}

fn rename(selector: Option<&mut NodeSelector>, old: &str, new: &str) {
    let terms = selector
        .into_iter()
        .flat_map(|selector| &mut selector.node_selector_terms);
    for requirement in terms.flat_map(|term| &mut term.match_expressions) {
        if requirement.key == old {
            requirement.key = new.into();
        }
    }
}

/// Adds a requirement to every term.
fn require(selector: &mut Option<NodeSelector>, requirement: Requirement) {
    let terms = &mut selector
        .get_or_insert_with(NodeSelector::default)
        .node_selector_terms;
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in terms {
        term.match_expressions.push(requirement.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{GceDisk, VolumeById};

    #[test]
    fn handles_follow_the_drivers() {
        let aws = |id: &str| {
            let volume_id = Text::from(id);
            let source = InTreeSource {
                aws_elastic_block_store: Some(VolumeById { volume_id }),
                ..InTreeSource::default()
            };
            handle_of(&source, &Labels::default())
        };
        assert_eq!(aws("vol-1").unwrap(), "vol-1");
        assert_eq!(aws("aws://us-east-1a/vol-1").unwrap(), "vol-1");
        assert_eq!(aws("aws://us-east-1a/disk"), None);
        let gce = |zones: &str| {
            let source = InTreeSource {
                gce_persistent_disk: Some(GceDisk {
                    pd_name: "d".into(),
                    read_only: false,
                }),
                ..InTreeSource::default()
            };
            handle_of(&source, &[(ZONE, zones)].into_iter().collect())
        };
        for (zones, expected) in [
            ("", Some("projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d")),
            (
                "us-c1-a",
                Some("projects/UNSPECIFIED/zones/us-c1-a/disks/d"),
            ),
            (
                "us-c1-a__us-c1-b",
                Some("projects/UNSPECIFIED/regions/us-c1/disks/d"),
            ),
            ("us-c1-a__us-c2-b", None),
        ] {
            assert_eq!(gce(zones).as_deref(), expected, "{zones}");
        }
    }

    #[test]
    fn zones_are_translated_to_the_drivers_key() {
        let labels: Labels = [(BETA_ZONE, "a__b")].into_iter().collect();
        let selector = translated_affinity(InTreePlugin::AwsEbs, &labels, None).unwrap();
        let requirement = &selector.node_selector_terms[0].match_expressions[0];
        assert_eq!(requirement.key, "topology.ebs.csi.aws.com/zone");
        assert_eq!(requirement.values, ["a", "b"]);
        let own = NodeSelector {
            node_selector_terms: vec![NodeSelectorTerm {
                match_expressions: vec![
                    Requirement::new(BETA_ZONE, Operator::In, &["c"]),
                    Requirement::new(BETA_REGION, Operator::In, &["r"]),
                ],
                ..NodeSelectorTerm::default()
            }],
        };
        let selector = translated_affinity(InTreePlugin::GcePd, &labels, Some(&own)).unwrap();
        let keys: Vec<&str> = requirements(Some(&selector))
            .map(|one| one.key.as_str())
            .collect();
        assert_eq!(keys, ["topology.gke.io/zone", REGION]);
        assert_eq!(
            translated_affinity(InTreePlugin::AzureDisk, &labels, None),
            None
        );
    }
}
