//! WATCH: sets up a watcher and streams what it says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_store::{Entry, Revision, StoreError};
use http::StatusCode;
use http::header::HeaderValue;
use rand::Rng;
use tokio::time::Instant;

use super::list;
use crate::dispatch::{Answer, Request};
use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::{accept, respond};
use crate::present::Presenter;
use crate::stored;
use crate::watch::filter::Filter;
use crate::watch::watcher::{Source, Watcher, write_error};

/// Without timeoutSeconds a watch lasts between this and twice this, as upstream.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);

/// Where a watch starts.
struct Start {
    after: Revision,
    initial: Vec<Entry>,
    mark_end: bool,
}

pub(crate) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let filter = Filter::parse(resource, &request.query)?;
    let deadline = Instant::now() + timeout(&request.query)?;
    let scope: Arc<str> = stored::prefix(resource, &request.info.namespace).into();
    let start = match start(&request, &scope, &filter).await? {
        Ok(start) => start,
        Err(status) => return Ok(refusal(&status)),
    };
    let source = match open(&request, resource, &scope, start.after).await {
        Ok(source) => source,
        Err(status) => return Ok(refusal(&status)),
    };
    let watcher = Watcher {
        source,
        presenter,
        filter,
        scope,
        initial: VecDeque::from(start.initial),
        mark_initial_end: start.mark_end,
        bookmarks: request.query.flag("allowWatchBookmarks"),
        after: start.after,
        deadline,
        shutdown: request.core.shutdown.clone(),
        next_bookmark: Watcher::first_bookmark(),
        columns_sent: false,
        ended: false,
    };
    let gauge = request.core.metrics.watch_started(resource);
    let stream = futures::stream::unfold((watcher, gauge), |(mut watcher, gauge)| async move {
        let chunk = watcher.next().await?;
        Some((Ok(chunk), (watcher, gauge)))
    });
    Ok(respond::with_type(
        StatusCode::OK,
        WATCH_JSON,
        Body::stream(stream),
    ))
}

const WATCH_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An error that is said as the watch's only event, as clients expect of expired versions.
fn refusal(status: &Status) -> http::Response<Body> {
    let mut out = BytesMut::new();
    write_error(&mut out, status);
    respond::with_type(StatusCode::OK, WATCH_JSON, Body::Full(out.freeze()))
}

fn timeout(query: &Query) -> Result<Duration, Status> {
    let seconds = match query.non_empty("timeoutSeconds") {
        None => 0,
        Some(text) => text.parse::<u64>().map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })?,
    };
    if seconds > 0 {
        return Ok(Duration::from_secs(seconds.min(86_400 * 365)));
    }
    Ok(MIN_TIMEOUT.mul_f64(1.0 + rand::rng().random::<f64>()))
}

/// Works out the first event. The inner error is said in the stream.
async fn start(
    request: &Request,
    scope: &str,
    filter: &Filter,
) -> Result<Result<Start, Status>, Status> {
    let query = &request.query;
    let version = list::revision(query)?;
    let send_initial = query
        .non_empty("sendInitialEvents")
        .map(|_| query.flag("sendInitialEvents"));
    super::options::check_watch(query, send_initial)?;
    let store = &*request.core.store;
    let wants_list = send_initial.unwrap_or(matches!(version, None | Some(0)));
    if let Some(version) = version.filter(|version| *version > 0) {
        if let Err(status) = list::wait_for(store, version).await {
            return Ok(Err(status));
        }
        if !wants_list {
            return Ok(Ok(Start {
                after: version,
                initial: Vec::new(),
                mark_end: false,
            }));
        }
    }
    if !wants_list {
        let after = stored::revision(store)
            .await
            .map_err(|error| stored::failure(&error))?;
        return Ok(Ok(Start {
            after,
            initial: Vec::new(),
            mark_end: false,
        }));
    }
    let page = stored::range(store, scope, None, None, 0)
        .await
        .map_err(|error| stored::failure(&error))?;
    let mut initial = page.entries;
    if !filter.is_everything() {
        initial.retain(|entry| filter.matches(&filter.read(&entry.value)));
    }
    Ok(Ok(Start {
        after: page.revision,
        initial,
        mark_end: send_initial == Some(true) && query.flag("allowWatchBookmarks"),
    }))
}

/// Joins the resource's hub, or, for events older than its window, watches the store directly.
async fn open(
    request: &Request,
    resource: &'static Resource,
    scope: &str,
    after: Revision,
) -> Result<Source, Status> {
    let core = &request.core;
    let expired = |error: StoreError| match error {
        StoreError::Compacted { oldest } => {
            Status::expired(format!("too old resource version: {after} ({oldest})"))
        }
        error => stored::failure(&error),
    };
    let hub = core
        .hubs
        .get(resource.storage_prefix, after)
        .await
        .map_err(expired)?;
    let changed = hub.subscribe();
    let position = hub.ring.lock().position(after);
    match position {
        Some(position) => Ok(Source::Hub {
            hub,
            changed,
            position,
        }),
        None => {
            let stream = core.store.watch(scope, after).await.map_err(expired)?;
            Ok(Source::Own(stream))
        }
    }
}
