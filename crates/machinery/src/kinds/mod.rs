//! The kinds with behaviour of their own, one file or folder each, named in one place.
//!
//! Invariant: a kind's file says everything about it: what a create resets, what is checked, what
//! can be selected; `extend` is the only list of them.

mod batch;
mod config;
mod coordination;
mod endpoints;
mod event;
mod namespace;
mod networking;
mod node;
pub(crate) mod pod;
mod policy;
mod rbac;
mod resources;
mod scheduling;
mod selector;
mod service;
mod storage;
mod workloads;

use fluyt_api::catalogue::Resource;

use crate::strategy::Rules;
pub(crate) use selector::{check_selector, check_selector_required};

/// Adds a kind's own behaviour to the generic rules.
pub(crate) fn extend(resource: &Resource, rules: &mut Rules) {
    match (resource.group, resource.kind) {
        ("", "Pod") => pod::extend(rules),
        ("", "Namespace") => namespace::extend(rules),
        ("", "Node") => node::extend(rules),
        ("", "Service") => service::extend(rules),
        ("", "Endpoints") => endpoints::extend_endpoints(rules),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::extend_slice(rules),
        ("", "ConfigMap") => config::extend_config_map(rules),
        ("", "Secret") => config::extend_secret(rules),
        ("" | "events.k8s.io", "Event") => event::extend(rules, resource.group),
        ("", "LimitRange") => resources::extend_limit_range(rules),
        ("", "ResourceQuota") => resources::extend_quota(rules),
        ("", "ReplicationController") => workloads::extend_controller(rules),
        ("", "PodTemplate") => workloads::extend_template(rules),
        ("", "PersistentVolume") => storage::extend_volume(rules),
        ("", "PersistentVolumeClaim") => storage::extend_claim(rules),
        ("storage.k8s.io", "StorageClass") => storage::extend_class(rules),
        ("apps", "Deployment") => workloads::extend_deployment(rules),
        ("apps", "ReplicaSet") => workloads::extend_replica_set(rules),
        ("apps", "DaemonSet") => workloads::extend_daemon_set(rules),
        ("apps", "StatefulSet") => workloads::extend_stateful_set(rules),
        ("batch", "Job") => batch::extend_job(rules),
        ("batch", "CronJob") => batch::extend_cron_job(rules),
        ("policy", "PodDisruptionBudget") => policy::extend(rules),
        ("coordination.k8s.io", "Lease") => coordination::extend(rules),
        ("rbac.authorization.k8s.io", "Role") => rbac::extend_role(rules),
        ("rbac.authorization.k8s.io", "ClusterRole") => rbac::extend_cluster_role(rules),
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::extend_binding(rules),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => rbac::extend_cluster_binding(rules),
        ("scheduling.k8s.io", "PriorityClass") => scheduling::extend(rules),
        ("networking.k8s.io", "NetworkPolicy") => networking::extend_policy(rules),
        ("networking.k8s.io", "Ingress") => networking::extend_ingress(rules),
        ("certificates.k8s.io", "CertificateSigningRequest" | "ClusterTrustBundle") => {
            rules.select = |object| {
                let signer = crate::get::Get::at(object, "spec");
                vec![(
                    "spec.signerName",
                    crate::get::Get::text(signer, "signerName").into(),
                )]
            };
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
