//! Events are forgotten after a while. One task knows which event is due next, from the store's watch, and sleeps
//! until then; an event that was written again meanwhile has a later place in the queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fluyt_api::catalogue::Resource;
use fluyt_store::{EventKind, Op, Precondition, Revision, WatchStream};
use serde::Deserialize;
use tokio::time::Instant;

use crate::core::Core;
use crate::stored;

const EVENTS: (&str, &str, &str) = ("", "v1", "events");
/// Deletions in one commit.
const BATCH: usize = 100;

/// A written event and when it is to go.
struct Due {
    at: Instant,
    key: Arc<str>,
    revision: Revision,
}

#[derive(Deserialize)]
struct Dated {
    metadata: DatedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatedMeta {
    creation_timestamp: Option<jiff::Timestamp>,
}

/// Deletes events that are older than --event-ttl, until shutdown.
pub(crate) async fn run(core: Arc<Core>) {
    let resource = stored::builtin(EVENTS);
    let mut pause = Duration::from_millis(200);
    loop {
        let mut queue = VecDeque::new();
        if let Some(mut stream) = open(&core, resource, &mut queue).await {
            follow(&core, &mut stream, &mut queue).await;
        }
        // The store ended the watch: start over.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

/// Queues what is stored, and watches from there.
async fn open(core: &Core, resource: &Resource, queue: &mut VecDeque<Due>) -> Option<WatchStream> {
    let prefix = stored::prefix(resource, "");
    let page = stored::range(&*core.store, &prefix, None, None, 0)
        .await
        .ok()?;
    let ttl = core.options.event_ttl;
    let now = jiff::Timestamp::now();
    let mut found: Vec<Due> = page
        .entries
        .iter()
        .map(|entry| {
            let created = serde_json::from_slice::<Dated>(&entry.value)
                .ok()
                .and_then(|event| event.metadata.creation_timestamp);
            let age = created.map_or(0, |created| (now.as_second() - created.as_second()).max(0));
            let left = ttl.saturating_sub(Duration::from_secs(age as u64));
            Due {
                at: Instant::now() + left,
                key: entry.key.clone(),
                revision: entry.mod_revision,
            }
        })
        .collect();
    found.sort_by_key(|due| due.at);
    queue.extend(found);
    core.store.watch(&prefix, page.revision).await.ok()
}

async fn follow(core: &Core, stream: &mut WatchStream, queue: &mut VecDeque<Due>) {
    let ttl = core.options.event_ttl;
    loop {
        let next = queue.front().map(|due| due.at);
        tokio::select! {
            batch = stream.next() => {
                let Some(Ok(batch)) = batch else { return };
                for event in batch.events {
                    if let EventKind::Put { entry, .. } = event.kind {
                        queue.push_back(Due {
                            at: Instant::now() + ttl,
                            key: entry.key,
                            revision: entry.mod_revision,
                        });
                    }
                }
            }
            () = sleep_until(next), if next.is_some() => expire(core, queue).await,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

/// Deletes what is due. Events that have been written again, or are gone, are left alone.
async fn expire(core: &Core, queue: &mut VecDeque<Due>) {
    let now = Instant::now();
    let mut ops = Vec::new();
    while ops.len() < BATCH
        && let Some(due) = queue.front()
        && due.at <= now
    {
        let current = stored::get(&*core.store, &due.key).await;
        if matches!(&current, Ok((Some(entry), _)) if entry.mod_revision == due.revision) {
            ops.push(Op::Delete {
                key: due.key.to_string(),
                precondition: Precondition::ModRevision(due.revision),
            });
        }
        queue.pop_front();
    }
    if ops.is_empty() {
        return;
    }
    // Lost races and a store that is away leave events behind until the next start: they are only events.
    if let Err(error) = core.store.commit(ops).await {
        tracing::debug!(%error, "expiring events failed");
    }
}
