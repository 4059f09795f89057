//! What every request may use: the one shared state of a server. Everything in it is bounded or proportional to
//! configuration; objects live in the store alone.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use fluyt_store::Store;
use tokio_util::sync::CancellationToken;

use crate::admission::Chain;
use crate::alloc::Allocators;
use crate::authn::Authenticator;
use crate::authz::Authorizer;
use crate::bootstrap::Health;
use crate::kubelet::KubeletClient;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::views::Views;
use crate::watch::hub::Hubs;

/// The state of one server.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hubs: Hubs,
    pub(crate) views: Views,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) admission: Chain,
    pub(crate) allocators: Allocators,
    pub(crate) kubelet: KubeletClient,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) options: Options,
    pub(crate) reading: AtomicUsize,
    pub(crate) writing: AtomicUsize,
    /// Cancelled when the server begins to shut down; ends watches.
    pub(crate) shutdown: CancellationToken,
}
