//! Wakes the pods' workers when the runtime tells that a container started, ended or was
//! killed for memory. A broken stream is renewed, and every worker looks once, because
//! nobody knows what was missed.

use super::containerd;
use crate::context::Context;
use fluyt_cri::TaskEvent;
use futures::StreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// What to tell the workers.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Something happened to this container or sandbox; whether it ended.
    One { id: String, ended: bool },
    /// Anything may have happened.
    All,
}

/// Follows the runtime's events until shutdown; starts our own runtime again if it died.
pub(crate) async fn follow(
    context: Arc<Context>,
    wake: mpsc::Sender<Wake>,
    shutdown: CancellationToken,
) {
    let mut pause = SHORTEST;
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let followed = tokio::select! {
            followed = follow_once(&context, &wake) => followed,
            () = shutdown.cancelled() => return,
        };
        if let Err(error) = followed {
            tracing::warn!(%error, "the container runtime's events broke off");
        }
        if context.settings.endpoint.is_none() {
            let revived =
                containerd::ensure(&context.settings, &context.settings.sandbox_image()).await;
            if let Err(error) = revived {
                tracing::error!("cannot start containerd again: {error:#}");
            }
        }
        pause = if began.elapsed() > LONGEST {
            SHORTEST
        } else {
            (pause * 2).min(LONGEST)
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        let _ = wake.send(Wake::All).await;
    }
}

/// Until the stream ends. The runtime answers a subscription with its first event, so
/// there is no moment at which it is known to stand.
async fn follow_once(context: &Context, wake: &mpsc::Sender<Wake>) -> fluyt_cri::Result<()> {
    let mut stream = std::pin::pin!(fluyt_cri::subscribe(&context.cri).await?);
    while let Some(event) = stream.next().await {
        let _ = wake.send(one(&event?)).await;
    }
    Ok(())
}

fn one(event: &TaskEvent) -> Wake {
    Wake::One {
        id: event.container_id().to_owned(),
        ended: matches!(event, TaskEvent::Exited { .. }),
    }
}
