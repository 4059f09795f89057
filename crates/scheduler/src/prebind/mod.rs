//! What must be written before a pod is bound, step by step; the first step that fails ends the attempt.
//!
//! Invariant: whatever was written is reported, also when a later step failed, so that the core decides on what is true.

mod claims;

use fluyt_client::kube::Client;
use fluyt_scheduler_core::claims::Deallocation;
use fluyt_scheduler_core::cluster::devices::objects::ResourceClaim;
use fluyt_scheduler_core::core::{Decision, PodRef};

/// Objects as the server has them now.
#[derive(Debug, Default)]
pub struct Written {
    pub claims: Vec<ResourceClaim>,
}

/// A step that failed: the plugin it belongs to, and what it says.
#[derive(Debug)]
pub struct Stopped {
    pub plugin: &'static str,
    pub why: String,
}

/// Runs the steps in order.
pub async fn run(
    client: &Client,
    decision: &Decision,
    written: &mut Written,
) -> Result<(), Stopped> {
    let stopped = |why| Stopped {
        plugin: claims::PLUGIN,
        why,
    };
    claims::write(client, &decision.pod, &decision.claims, &mut written.claims)
        .await
        .map_err(stopped)
}

/// Takes back what can be taken back, because the pod is not bound after all.
pub async fn undo(client: &Client, pod: &PodRef, written: &Written) {
    claims::leave(client, pod, &written.claims).await;
}

/// Claims whose devices the core wants back. They tell by their watch when it is done.
pub fn deallocate(client: &Client, claims: Vec<Deallocation>) {
    for one in claims {
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(why) = claims::deallocate(&client, &one).await {
                tracing::warn!(
                    "resource claim {} was not deallocated: {why}",
                    one.claim.key()
                );
            }
        });
    }
}
