//! Objects of storage come and go: into the picture of the cluster, and to the pods that they may help.

use std::time::Duration;

use crate::cluster::volumes::{ClassChange, Progress, VolumeBindings};
use crate::core::{Core, PodRef};
use crate::events::Event;
use crate::objects::Text;
use crate::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumeAttachment,
};

impl Core {
    pub fn apply_claim(&mut self, claim: &PersistentVolumeClaim, now: Duration) {
        if let Some(added) = self.cluster.set_claim(claim) {
            let event = Event::ClaimChanged {
                namespace: &claim.metadata.namespace,
                name: &claim.metadata.name,
                added,
            };
            self.tell(&event, now);
        }
    }

    /// `key`: namespace/name.
    pub fn delete_claim(&mut self, key: &str) {
        self.cluster.remove_claim(key);
    }

    pub fn apply_volume(&mut self, volume: &PersistentVolume, now: Duration) {
        if let Some(change) = self.cluster.set_volume(volume) {
            self.tell(&Event::VolumeChanged { change }, now);
        }
    }

    pub fn delete_volume(&mut self, name: &Text) {
        self.cluster.remove_volume(name);
    }

    pub fn apply_storage_class(&mut self, class: &StorageClass, now: Duration) {
        if let Some(change) = self.cluster.set_storage_class(class) {
            let ClassChange {
                added,
                waits,
                topologies,
            } = change;
            let event = Event::StorageClassChanged {
                added,
                waits,
                topologies,
            };
            self.tell(&event, now);
        }
    }

    pub fn delete_storage_class(&mut self, name: &Text) {
        self.cluster.remove_storage_class(name);
    }

    pub fn apply_csi_node(&mut self, node: &CsiNode, now: Duration) {
        if let Some(change) = self.cluster.set_csi_node(node) {
            self.tell(&Event::CsiNodeChanged { change }, now);
        }
    }

    pub fn delete_csi_node(&mut self, name: &Text) {
        self.cluster.remove_csi_node(name);
    }

    pub fn apply_csi_driver(&mut self, driver: &CsiDriver, now: Duration) {
        if self.cluster.set_csi_driver(driver) {
            let driver = &driver.metadata.name;
            self.tell(&Event::CsiDriverCapacityOff { driver }, now);
        }
    }

    pub fn delete_csi_driver(&mut self, name: &Text) {
        self.cluster.remove_csi_driver(name);
    }

    pub fn apply_storage_capacity(&mut self, capacity: &CsiStorageCapacity, now: Duration) {
        if let Some(change) = self.cluster.set_storage_capacity(capacity) {
            self.tell(&Event::StorageCapacityChanged { change }, now);
        }
    }

    /// `key`: namespace/name.
    pub fn delete_storage_capacity(&mut self, key: &str) {
        self.cluster.remove_storage_capacity(key);
    }

    pub fn apply_volume_attachment(&mut self, attachment: &VolumeAttachment) {
        self.cluster.set_volume_attachment(attachment);
    }

    pub fn delete_volume_attachment(&mut self, name: &str, now: Duration) {
        if let Some(driver) = self.cluster.remove_volume_attachment(name) {
            self.tell(&Event::VolumeDetached { driver: &driver }, now);
        }
    }

    /// How long a pod waits for its volumes to be bound.
    pub fn volume_bind_timeout(&self, pod: &PodRef) -> Duration {
        let id = self.cluster.pod_id(&pod.key());
        let name = id.map(|id| self.cluster.pod_spec(id).scheduler_name.clone());
        let profile = name.and_then(|name| self.profile_of(&name)).unwrap_or(0);
        self.profiles[profile].volume_bind_timeout
    }

    /// How far the volumes are that a pod on its way to this node needs; `bindings` as written.
    pub fn volume_progress(&self, bindings: &VolumeBindings, node: &str) -> Progress {
        self.cluster.volume_progress(bindings, node)
    }
}
