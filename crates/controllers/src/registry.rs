//! Every controller, in the order in which they start. The names are upstream's and what --controllers takes.

use futures::future::BoxFuture;

use crate::context::Context;
use crate::{
    deployment, endpoints, endpointslice, garbage_collector, namespace, node_ipam, node_lifecycle,
    pod_gc, replicaset, root_ca_publisher, service_account, service_account_token, taint_eviction,
};

/// One controller: its name, the name its events carry, and the loop that runs until shutdown.
pub struct Controller {
    pub name: &'static str,
    /// event.source.component.
    pub component: &'static str,
    /// The service account of kube-system that it may run as; the bootstrap policy has a role for each. Empty: the component's own
    /// identity.
    pub service_account: &'static str,
    pub run: fn(Context) -> BoxFuture<'static, ()>,
}

macro_rules! controller {
    ($name:literal, $component:literal, $account:literal, $module:ident) => {
        Controller {
            name: $name,
            component: $component,
            service_account: $account,
            run: |context| Box::pin($module::run(context)),
        }
    };
}

/// The list. Tokens come first: everything that runs as a service account waits for them.
pub const CONTROLLERS: [Controller; 13] = [
    controller!(
        "serviceaccount-token-controller",
        "serviceaccount-token-controller",
        "",
        service_account_token
    ),
    controller!(
        "serviceaccount-controller",
        "serviceaccount-controller",
        "service-account-controller",
        service_account
    ),
    controller!(
        "root-ca-certificate-publisher-controller",
        "root-ca-cert-publisher",
        "root-ca-cert-publisher",
        root_ca_publisher
    ),
    controller!(
        "namespace-controller",
        "namespace-controller",
        "namespace-controller",
        namespace
    ),
    controller!(
        "node-ipam-controller",
        "cidrAllocator",
        "node-controller",
        node_ipam
    ),
    controller!(
        "node-lifecycle-controller",
        "node-controller",
        "node-controller",
        node_lifecycle
    ),
    controller!(
        "taint-eviction-controller",
        "taint-eviction-controller",
        "node-controller",
        taint_eviction
    ),
    controller!(
        "replicaset-controller",
        "replicaset-controller",
        "replicaset-controller",
        replicaset
    ),
    controller!(
        "deployment-controller",
        "deployment-controller",
        "deployment-controller",
        deployment
    ),
    controller!(
        "endpoints-controller",
        "endpoint-controller",
        "endpoint-controller",
        endpoints
    ),
    controller!(
        "endpointslice-controller",
        "endpoint-slice-controller",
        "endpointslice-controller",
        endpointslice
    ),
    controller!(
        "pod-garbage-collector-controller",
        "pod-garbage-collector-controller",
        "pod-garbage-collector",
        pod_gc
    ),
    controller!(
        "garbage-collector-controller",
        "garbage-collector-controller",
        "generic-garbage-collector",
        garbage_collector
    ),
];

#[cfg(test)]
mod tests {
    use super::CONTROLLERS;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CONTROLLERS
            .iter()
            .map(|controller| controller.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CONTROLLERS.len());
    }
}
