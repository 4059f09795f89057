//! The loop that all controllers share: take a key, reconcile it, and come back to it when it failed or asked for it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fluyt_client::availability;
use fluyt_client::queue::WorkQueue;
use futures::FutureExt;

use crate::api::Result;
use crate::context::Context;

/// `namespace/name`, or `name`.
pub type Key = Arc<str>;

/// What follows a successful reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing until something changes.
    Done,
    /// Look again after this time: a deadline is due then.
    After(Duration),
}

/// One controller's work on one key. It reads caches and the server, never the event that woke it.
pub trait Reconcile: Send + Sync + 'static {
    fn reconcile(&self, key: &str) -> impl Future<Output = Result<Outcome>> + Send;
}

/// Works on a queue with `workers` tasks until shutdown.
pub async fn work<R: Reconcile>(
    context: &Context,
    queue: &WorkQueue<Key>,
    workers: usize,
    reconciler: Arc<R>,
) {
    let one = || {
        let (queue, reconciler) = (queue.clone(), reconciler.clone());
        let (name, shutdown) = (context.name, context.shutdown.clone());
        tokio::spawn(async move {
            while let Some(Some(key)) = shutdown.run_until_cancelled(queue.next()).await {
                let work = one_key(name, &queue, &key, &*reconciler);
                let finished = shutdown.run_until_cancelled(work).await;
                queue.done(&key);
                if finished.is_none() {
                    return;
                }
            }
        })
    };
    let tasks: Vec<_> = (0..workers.max(1)).map(|_| one()).collect();
    futures::future::join_all(tasks).await;
}

async fn one_key<R: Reconcile>(name: &str, queue: &WorkQueue<Key>, key: &Key, reconciler: &R) {
    // A reconcile that panics over an odd object must not take the other objects' worker with it.
    let outcome = AssertUnwindSafe(reconciler.reconcile(key))
        .catch_unwind()
        .await;
    match outcome {
        Ok(Ok(outcome)) => {
            queue.forget(key);
            if let Outcome::After(delay) = outcome {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(error)) => {
            if error.is_transport() {
                availability::away(&error);
            } else if error.is_conflict() || queue.failures(key) > 0 {
                tracing::debug!("{name}: {key}: {error}; trying again");
            } else {
                tracing::warn!("{name}: {key}: {error}; trying again");
            }
            queue.retry(key.clone());
        }
        Err(_) => {
            tracing::error!("{name}: {key}: the reconcile panicked; trying again later");
            queue.retry(key.clone());
        }
    }
}
