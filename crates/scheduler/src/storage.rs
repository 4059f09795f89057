//! Watches claims, volumes and what CSI drivers say, and takes their changes into the core; only when a volume plugin is on.

use std::time::Duration;

use fluyt_client::informer::{Event, Source};
use fluyt_scheduler_core::core::Core;
use fluyt_scheduler_core::profile::Profile;
use fluyt_scheduler_core::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumeAttachment,
};

use crate::informers::{Input, Seen, Spawn, has_meta};
use crate::intake::{Change, Known};

has_meta!(
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    CsiNode,
    CsiDriver,
    CsiStorageCapacity,
    VolumeAttachment
);

type Batch<T> = Vec<Event<Seen<T>>>;

#[derive(Debug, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StorageInput {
    Claims(Batch<PersistentVolumeClaim>),
    Volumes(Batch<PersistentVolume>),
    Classes(Batch<StorageClass>),
    CsiNodes(Batch<CsiNode>),
    CsiDrivers(Batch<CsiDriver>),
    Capacities(Batch<CsiStorageCapacity>),
    Attachments(Batch<VolumeAttachment>),
}

/// How many kinds there are.
pub const KINDS: usize = 7;

/// Some profile has a plugin that reads these objects.
pub fn is_needed(profiles: &[Profile]) -> bool {
    let plugins = [
        "VolumeRestrictions",
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeZone",
    ];
    let needs = |profile: &Profile| plugins.iter().any(|name| profile.filters(name));
    profiles.iter().any(needs)
}

pub fn watch(spawn: &mut Spawn<'_>) {
    let core = |plural| Source::new("", "v1", plural);
    let storage = |plural| Source::new("storage.k8s.io", "v1", plural);
    spawn.watch(core("persistentvolumeclaims"), |batch| {
        Input::Storage(StorageInput::Claims(batch))
    });
    spawn.watch(core("persistentvolumes"), |batch| {
        Input::Storage(StorageInput::Volumes(batch))
    });
    spawn.watch(storage("storageclasses"), |batch| {
        Input::Storage(StorageInput::Classes(batch))
    });
    spawn.watch(storage("csinodes"), |batch| {
        Input::Storage(StorageInput::CsiNodes(batch))
    });
    spawn.watch(storage("csidrivers"), |batch| {
        Input::Storage(StorageInput::CsiDrivers(batch))
    });
    spawn.watch(storage("csistoragecapacities"), |batch| {
        Input::Storage(StorageInput::Capacities(batch))
    });
    spawn.watch(storage("volumeattachments"), |batch| {
        Input::Storage(StorageInput::Attachments(batch))
    });
}

#[derive(Default)]
pub struct StorageIntake {
    claims: Known,
    volumes: Known,
    classes: Known,
    csi_nodes: Known,
    csi_drivers: Known,
    capacities: Known,
    attachments: Known,
}

impl StorageIntake {
    /// Takes changes in; the number of the kind, from 0.
    pub fn take(&mut self, core: &mut Core, input: StorageInput, now: Duration) -> usize {
        match input {
            StorageInput::Claims(batch) => {
                for change in self.claims.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_claim(&one, now),
                        Change::Gone(namespace, name) => {
                            core.delete_claim(&format!("{namespace}/{name}"));
                        }
                    }
                }
                0
            }
            StorageInput::Volumes(batch) => {
                for change in self.volumes.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_volume(&one, now),
                        Change::Gone(_, name) => core.delete_volume(&name),
                    }
                }
                1
            }
            StorageInput::Classes(batch) => {
                for change in self.classes.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_storage_class(&one, now),
                        Change::Gone(_, name) => core.delete_storage_class(&name),
                    }
                }
                2
            }
            StorageInput::CsiNodes(batch) => {
                for change in self.csi_nodes.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_csi_node(&one, now),
                        Change::Gone(_, name) => core.delete_csi_node(&name),
                    }
                }
                3
            }
            StorageInput::CsiDrivers(batch) => {
                for change in self.csi_drivers.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_csi_driver(&one, now),
                        Change::Gone(_, name) => core.delete_csi_driver(&name),
                    }
                }
                4
            }
            StorageInput::Capacities(batch) => {
                for change in self.capacities.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_storage_capacity(&one, now),
                        Change::Gone(namespace, name) => {
                            core.delete_storage_capacity(&format!("{namespace}/{name}"));
                        }
                    }
                }
                5
            }
            StorageInput::Attachments(batch) => {
                for change in self.attachments.changes(batch) {
                    match change {
                        Change::Set(one) => core.apply_volume_attachment(&one),
                        Change::Gone(_, name) => core.delete_volume_attachment(&name, now),
                    }
                }
                6
            }
        }
    }
}
