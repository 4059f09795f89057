//! Many watches of the same objects: how fast each change reaches all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Outcome;
use super::objects::{
    NAMESPACE, config_maps, delete_all, label, own_config_maps, prepare, revision, run_prefix,
};
use crate::Context;
use crate::load;
use crate::report::Measured;

const WATCHES: usize = 100;
const WRITES: usize = 500;
const WRITE_CONNECTIONS: usize = 32;
const TIMEOUT: Duration = Duration::from_secs(120);

pub(super) async fn watch(context: &Context) -> Outcome {
    prepare(context).await?;
    let mut runs = Vec::new();
    for run in 0..context.options.runs() {
        let prefix = run_prefix(context, "watch", run, context.options.runs());
        let elapsed = one(context, &prefix).await?;
        runs.push((WATCHES * WRITES) as f64 / elapsed.as_secs_f64());
        delete_all(&context.target, &own_config_maps()).await?;
    }
    Ok(vec![Measured {
        name: "watch",
        runs,
    }])
}

fn config_map(name: &str) -> String {
    let data = json!({ "key": "a value of some length, as config maps have them" });
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": label() });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
        .to_string()
}

/// From the first write until every watch has seen every write.
async fn one(context: &Context, prefix: &str) -> anyhow::Result<Duration> {
    let target = &context.target;
    let since = revision(target, &config_maps()).await?;
    let path = format!(
        "{}?watch=true&resourceVersion={since}&timeoutSeconds=600",
        config_maps()
    );
    let request = target.get(&path);
    let (done, mut left) = watch::channel(WATCHES);
    let done = Arc::new(done);
    let mut connections = try_join_all((0..WATCHES).map(|_| target.connect())).await?;
    let mut heads = Vec::new();
    for connection in &mut connections {
        let head = connection.send(&request).await?;
        ensure!(
            head.status == 200,
            "a watch was answered with HTTP {}",
            head.status
        );
        heads.push(head);
    }
    let mut watchers = JoinSet::new();
    for (mut connection, head) in connections.into_iter().zip(heads) {
        let done = done.clone();
        watchers.spawn(async move {
            let seen = AtomicUsize::new(0);
            // Events are lines.
            let body = connection.body(head, |part| {
                let before = seen.load(Ordering::Relaxed);
                let now = before + memchr::memchr_iter(b'\n', part).count();
                seen.store(now, Ordering::Relaxed);
                if before < WRITES && now >= WRITES {
                    done.send_modify(|left| *left -= 1);
                }
            });
            body.await.map(|_| seen.load(Ordering::Relaxed))
        });
    }
    let requests: Vec<Arc<[u8]>> = (0..WRITES)
        .map(|number| config_map(&format!("{prefix}-{number}")))
        .map(|body| Arc::from(target.request("POST", &config_maps(), &body)))
        .collect();
    let started = Instant::now();
    load::run(target, WRITE_CONNECTIONS, WRITES, 201, move |number| {
        requests[number].clone()
    })
    .await?;
    let all = tokio::time::timeout(TIMEOUT, left.wait_for(|left| *left == 0)).await;
    let all = all.map(|seen| seen.map(drop));
    let elapsed = started.elapsed();
    if all.is_err() {
        let missing = *left.borrow();
        watchers.shutdown().await;
        anyhow::bail!(
            "{missing} of {WATCHES} watches did not see all events in {} s",
            TIMEOUT.as_secs()
        );
    }
    all.context("the watches ended")??;
    watchers.shutdown().await;
    Ok(elapsed)
}
