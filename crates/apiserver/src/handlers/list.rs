//! LIST: ranges of stored bytes, strung together as the connection takes them. Objects are decoded only when a
//! selector, a Table or another version needs it.

use bytes::{BufMut, Bytes, BytesMut};
use fluyt_api::catalogue::Resource;
use fluyt_api::status::{Details, Status};
use fluyt_store::{Entry, Page, Revision, Store, StoreError};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::continuation::{EXPIRED, Token};
use super::options;
use crate::dispatch::{Answer, Request};
use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::{accept, respond};
use crate::present::Presenter;
use crate::stored;
use crate::watch::filter::Filter;

const CHUNK_BYTES: usize = 128 * 1024;
/// How long a list waits for a revision that the store has not reached yet.
const FUTURE_WAIT: std::time::Duration = std::time::Duration::from_secs(3);

/// What the query says about the state to show, and how much of it.
pub(crate) struct Window {
    pub(crate) limit: usize,
    token: Option<Token>,
    /// Show exactly this state.
    exact: Option<Revision>,
    /// Show a state at least as new.
    at_least: Option<Revision>,
}

pub(crate) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let filter = Filter::parse(resource, &request.query)?;
    let window = Window::parse(&request.query)?;
    let prefix = stored::prefix(resource, &request.info.namespace);
    let listed = select(&request, resource, &prefix, &filter, &window).await?;
    let metadata = listed.metadata(&prefix);
    let mut head = BytesMut::with_capacity(256);
    presenter.open_list(&mut head, &metadata);
    let chunks = Chunks {
        presenter,
        entries: listed.entries.into_iter(),
        head: Some(head),
        first: true,
        now: jiff::Timestamp::now(),
    };
    Ok(chunks.into_response(accepted, &request.query))
}

/// The outcome of a selection.
pub(crate) struct Listed {
    pub(crate) entries: Vec<Entry>,
    pub(crate) revision: Revision,
    more: bool,
    remaining: Option<u64>,
}

impl Listed {
    fn metadata(&self, prefix: &str) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if self.more
            && let Some(last) = self.entries.last()
        {
            let last = last.key.strip_prefix(prefix).unwrap_or(&last.key);
            metadata["continue"] = Token::new(self.revision as i64, last).encode().into();
            if let Some(remaining) = self.remaining {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        metadata
    }
}

impl Window {
    pub(crate) fn parse(query: &Query) -> Result<Self, Status> {
        let limit = match query.non_empty("limit") {
            None => 0,
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| {
                    Status::bad_request(format!(
                        "strconv.ParseInt: parsing {text:?}: invalid syntax"
                    ))
                })?
                .max(0) as usize,
        };
        options::check_list(query)?;
        let version = revision(query)?;
        let matching = query.non_empty("resourceVersionMatch");
        if let Some(text) = query.non_empty("continue") {
            if version.is_some_and(|version| version != 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            return Ok(Window {
                limit,
                token: Some(Token::decode(text)?),
                exact: None,
                at_least: None,
            });
        }
        let (exact, at_least) = match (matching, version) {
            (Some("Exact"), version) => (version, None),
            (Some(_), version) => (None, version),
            // Without a match rule a limited list of a given version shows exactly that version.
            (None, Some(version)) if limit > 0 && version > 0 => (Some(version), None),
            (None, version) => (None, version),
        };
        Ok(Window {
            limit,
            token: None,
            exact,
            at_least: at_least.filter(|version| *version > 0),
        })
    }
}

/// The `resourceVersion` parameter; absent and empty are the same.
pub(crate) fn revision(query: &Query) -> Result<Option<Revision>, Status> {
    match query.non_empty("resourceVersion") {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

/// The entries that a list shows.
pub(crate) async fn select(
    request: &Request,
    resource: &Resource,
    prefix: &str,
    filter: &Filter,
    window: &Window,
) -> Result<Listed, Status> {
    let store = &*request.core.store;
    if let Some(at_least) = window.at_least {
        wait_for(store, at_least).await?;
    }
    if let Some(single) = single(request, resource, filter, window).await? {
        return Ok(single);
    }
    let start = window
        .token
        .as_ref()
        .map(|token| format!("{prefix}{}", token.last()));
    let mut at = match &window.token {
        Some(token) if token.rv > 0 => Some(token.rv as Revision),
        Some(_) => None,
        None => window.exact,
    };
    let mut listed = Listed {
        entries: Vec::new(),
        revision: 0,
        more: false,
        remaining: None,
    };
    let mut after = start;
    loop {
        let page = read_page(store, prefix, after.as_deref(), at, window).await?;
        listed.revision = page.revision;
        at = Some(page.revision);
        listed.more = page.more;
        after = page.entries.last().map(|entry| entry.key.to_string());
        if filter.is_everything() {
            listed.remaining = page.remaining.filter(|_| page.more);
            listed.entries = page.entries;
            return Ok(listed);
        }
        for entry in page.entries {
            if filter.matches(&filter.read(&entry.value)) {
                if window.limit > 0 && listed.entries.len() == window.limit {
                    listed.more = true;
                    return Ok(listed);
                }
                listed.entries.push(entry);
            }
        }
        let full = window.limit > 0 && listed.entries.len() >= window.limit;
        if !listed.more || full {
            return Ok(listed);
        }
    }
}

/// A list by `metadata.name` is a look-up.
async fn single(
    request: &Request,
    resource: &Resource,
    filter: &Filter,
    window: &Window,
) -> Result<Option<Listed>, Status> {
    let info = &request.info;
    let scoped = !resource.namespaced || !info.namespace.is_empty();
    if info.name.is_empty() || !scoped || window.exact.is_some() || window.token.is_some() {
        return Ok(None);
    }
    let key = stored::key(resource, &info.namespace, &info.name);
    let (entry, revision) = stored::get(&*request.core.store, &key)
        .await
        .map_err(|error| stored::failure(&error))?;
    let entries = entry
        .into_iter()
        .filter(|entry| filter.matches(&filter.read(&entry.value)))
        .collect();
    Ok(Some(Listed {
        entries,
        revision,
        more: false,
        remaining: None,
    }))
}

async fn read_page(
    store: &dyn Store,
    prefix: &str,
    after: Option<&str>,
    at: Option<Revision>,
    window: &Window,
) -> Result<Page, Status> {
    match stored::range(store, prefix, after, at, window.limit).await {
        Ok(page) => Ok(page),
        Err(StoreError::Compacted { .. }) => Err(match &window.token {
            None => Status::expired("The resourceVersion for the provided list is too old."),
            Some(_) => Status::expired(EXPIRED),
        }),
        Err(StoreError::FutureRevision { current }) => Err(too_large(at.unwrap_or(0), current)),
        Err(error) => Err(stored::failure(&error)),
    }
}

/// Waits until the store has reached `revision`.
pub(crate) async fn wait_for(store: &dyn Store, revision: Revision) -> Result<(), Status> {
    let deadline = tokio::time::Instant::now() + FUTURE_WAIT;
    loop {
        let current = stored::revision(store)
            .await
            .map_err(|error| stored::failure(&error))?;
        if current >= revision {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(too_large(revision, current));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn too_large(asked: Revision, current: Revision) -> Status {
    let mut status = Status::timeout(format!(
        "Too large resource version: {asked}, current: {current}"
    ));
    let details = status.details.get_or_insert_with(Details::default);
    details.retry_after_seconds = 1;
    details.causes.push(fluyt_api::status::Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    });
    status
}

/// Produces the list's text chunk by chunk.
struct Chunks {
    presenter: Presenter,
    entries: std::vec::IntoIter<Entry>,
    head: Option<BytesMut>,
    first: bool,
    now: jiff::Timestamp,
}

impl Chunks {
    fn into_response(mut self, accepted: accept::Accepted, query: &Query) -> Response<Body> {
        let whole = accepted.yaml || query.flag("pretty");
        let mut gathered: Option<BytesMut> = None;
        let Some(first) = self.next() else {
            return respond::json(StatusCode::OK, Bytes::new());
        };
        if self.head.is_none() && self.entries.len() == 0 && self.finished() {
            return respond::object(StatusCode::OK, first, accepted, query);
        }
        if whole {
            let out = gathered.insert(BytesMut::from(&first[..]));
            for chunk in self {
                out.put_slice(&chunk);
            }
            let bytes = gathered.unwrap_or_default().freeze();
            return respond::object(StatusCode::OK, bytes, accepted, query);
        }
        let rest = std::iter::once(first).chain(self).map(Ok);
        respond::with_type(
            StatusCode::OK,
            respond::JSON,
            Body::stream(futures::stream::iter(rest)),
        )
    }

    fn finished(&self) -> bool {
        !self.first && self.entries.len() == 0 && self.head.is_none()
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.finished() {
            return None;
        }
        let mut out = BytesMut::with_capacity(CHUNK_BYTES + 16 * 1024);
        if let Some(head) = self.head.take() {
            out.put_slice(&head);
        }
        let mut first = self.first;
        for entry in self.entries.by_ref() {
            if !first {
                out.put_slice(b",");
            }
            let before = out.len();
            self.presenter.item(&mut out, &entry.value, self.now);
            if out.len() == before {
                // An unreadable object was left out: so is its comma.
                if !first {
                    out.truncate(before - 1);
                }
                continue;
            }
            first = false;
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
        self.first = first;
        if self.entries.len() == 0 {
            out.put_slice(b"]}");
            self.first = false;
        }
        Some(out.freeze())
    }
}
