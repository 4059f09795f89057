//! The registry of admission plugins, in the order in which they run.

mod limits;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod rbac_escalation;
mod service_account;
mod simple;

use super::Plugin;
use crate::options::Options;

/// When a plugin is on without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    Always,
    /// Where service account tokens are signed: what it does needs controllers, which an API server alone, tried
    /// without authentication, does not have beside it.
    WithControllers,
    /// Where the Node authorizer is on.
    WithNodeAuthorizer,
}

impl Default {
    pub(crate) fn holds(self, options: &Options) -> bool {
        match self {
            Default::Always => true,
            Default::WithControllers => options.service_account_signing_key_file.is_some(),
            Default::WithNodeAuthorizer => {
                options.authorization_mode.iter().any(|mode| mode == "Node")
            }
        }
    }
}

pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) by_default: Default,
    pub(crate) make: fn() -> Box<dyn Plugin>,
}

const fn entry(name: &'static str, by_default: Default, make: fn() -> Box<dyn Plugin>) -> Entry {
    Entry {
        name,
        by_default,
        make,
    }
}

/// All plugins, in order.
pub(crate) static REGISTRY: &[Entry] = &[
    entry("NamespaceLifecycle", Default::Always, || {
        Box::new(namespace_lifecycle::NamespaceLifecycle)
    }),
    entry("LimitRanger", Default::Always, || {
        Box::new(limits::LimitRanger)
    }),
    entry("ServiceAccount", Default::WithControllers, || {
        Box::new(service_account::ServiceAccount)
    }),
    entry("NodeRestriction", Default::WithNodeAuthorizer, || {
        Box::new(node_restriction::NodeRestriction)
    }),
    entry("TaintNodesByCondition", Default::WithControllers, || {
        Box::new(simple::TaintNodesByCondition)
    }),
    entry("Priority", Default::Always, || Box::new(priority::Priority)),
    entry("DefaultTolerationSeconds", Default::Always, || {
        Box::new(simple::DefaultTolerationSeconds)
    }),
    entry("DefaultStorageClass", Default::Always, || {
        Box::new(limits::DefaultStorageClass)
    }),
    entry(
        "StorageObjectInUseProtection",
        Default::WithControllers,
        || Box::new(simple::StorageObjectInUseProtection),
    ),
    entry("DefaultIngressClass", Default::Always, || {
        Box::new(limits::DefaultIngressClass)
    }),
    entry("RBACEscalation", Default::Always, || {
        Box::new(rbac_escalation::RbacEscalation)
    }),
    entry("ResourceQuota", Default::Always, || {
        Box::new(limits::ResourceQuota)
    }),
];

/// Upstream's plugins that may be named in flags although nothing of them exists here yet.
pub(crate) static WITHOUT_EFFECT: &[&str] = &[
    "AlwaysAdmit",
    "AlwaysPullImages",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "PersistentVolumeClaimResize",
    "PodSecurity",
    "RuntimeClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];
