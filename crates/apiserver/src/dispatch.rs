//! One request from its head to its answer: identify, authorize, route, count. Errors become Status objects here
//! and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fluyt_api::status::Status;
use http::{HeaderMap, Method, Response};
use hyper::upgrade::OnUpgrade;

use crate::authn::User;
use crate::authn::impersonation;
use crate::core::Core;
use crate::http::body::{Body, RequestBody};
use crate::http::info::RequestInfo;
use crate::http::query::Query;
use crate::http::respond;
use crate::{endpoints, handlers};

/// What a connection says about its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// From a client certificate, or from the caller in this process.
    pub(crate) user: Option<Arc<User>>,
    /// The insecure port: nothing is authorized.
    pub(crate) unchecked: bool,
}

/// A request as handlers get it.
pub(crate) struct Request {
    pub(crate) core: Arc<Core>,
    pub(crate) user: Arc<User>,
    pub(crate) unchecked: bool,
    pub(crate) method: Method,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) raw_query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<RequestBody>,
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Sent along as Warning headers.
    pub(crate) warnings: Vec<String>,
}

/// The outcome of a handler.
pub(crate) type Answer = Result<Response<Body>, Status>;

/// Answers one request.
pub(crate) async fn serve(
    core: Arc<Core>,
    peer: Arc<Peer>,
    request: http::Request<RequestBody>,
) -> Response<Body> {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let raw_query = parts.uri.query().map(str::to_owned);
    let query = Query::parse(raw_query.as_deref());
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let label = core.metrics.label(&info);
    let head_only = parts.method == Method::HEAD;
    let Some(slot) = Slot::take(&core, &info) else {
        let status = Status::too_many_requests("Too many requests, please try again later.", 1);
        return respond::error(&status);
    };
    let request = Request {
        user: User::anonymous_shared(),
        unchecked: peer.unchecked,
        method: parts.method,
        info,
        query,
        raw_query,
        headers: parts.headers,
        body: Some(body),
        upgrade: parts.extensions.remove::<OnUpgrade>(),
        warnings: Vec::new(),
        core: core.clone(),
    };
    let mut response = match answer(request, &peer).await {
        Ok(response) => response,
        Err(status) => respond::error(&status),
    };
    drop(slot);
    if head_only {
        *response.body_mut() = Body::Empty;
    }
    core.metrics
        .observe(label, response.status().as_u16(), started.elapsed());
    response
}

async fn answer(mut request: Request, peer: &Peer) -> Answer {
    request.user = match &peer.user {
        Some(user) => user.clone(),
        None => {
            request
                .core
                .authenticator
                .authenticate(&request.core, &request.headers)
                .await?
        }
    };
    if let Some(user) = impersonation::apply(&request).await? {
        request.user = user;
    }
    if !request.unchecked {
        request
            .core
            .authorizer
            .require(&request.core, &request.user, &request.info)
            .await?;
    }
    if request.info.is_resource {
        handlers::route(request).await
    } else {
        endpoints::route(request).await
    }
}

/// A place among the requests in flight.
struct Slot<'a>(Option<&'a AtomicUsize>);

impl<'a> Slot<'a> {
    fn take(core: &'a Core, info: &RequestInfo) -> Option<Self> {
        let (counter, limit) = if info.is_mutating() {
            (&core.writing, core.options.max_mutating_requests_inflight)
        } else {
            (&core.reading, core.options.max_requests_inflight)
        };
        if limit == 0 || info.is_long_running() || !info.is_resource {
            return Some(Slot(None));
        }
        let slot = Slot(Some(counter));
        (counter.fetch_add(1, Ordering::Relaxed) < limit).then_some(slot)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Request {
    /// Reads the body; the second call finds it empty.
    pub(crate) async fn read_body(&mut self) -> Result<bytes::Bytes, Status> {
        match self.body.take() {
            Some(body) => crate::http::body::read(body).await,
            None => Ok(bytes::Bytes::new()),
        }
    }
}
