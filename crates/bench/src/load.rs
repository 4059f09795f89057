//! Many requests over a few connections, as fast as they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::task::JoinSet;

use crate::target::Target;

/// Sends requests 0 to `total` over `connections` connections, which are opened before the
/// clock starts. Each must be answered with `status`.
pub(crate) async fn run(
    target: &Arc<Target>,
    connections: usize,
    total: usize,
    status: u16,
    request: impl Fn(usize) -> Arc<[u8]> + Send + Sync + 'static,
) -> anyhow::Result<Duration> {
    let open = try_join_all((0..connections).map(|_| target.connect())).await?;
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let (next, request) = (next.clone(), request.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return anyhow::Ok(());
                }
                connection.expect(&request(number), status).await?;
            }
        });
    }
    while let Some(finished) = tasks.join_next().await {
        finished??;
    }
    Ok(started.elapsed())
}
