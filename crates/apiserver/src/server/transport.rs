//! Requests from within the process: the same requests, handled by the same code, without a socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::core::Core;
use crate::dispatch::{self, Peer};
use crate::http::body::{Body, BoxError, RequestBody};

/// A service that acts as one user. `kube::Client::new` takes it.
#[derive(Clone)]
pub struct Transport {
    pub(crate) core: Arc<Core>,
    pub(crate) peer: Arc<Peer>,
}

impl<B> tower::Service<http::Request<B>> for Transport
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let request = request.map(|body| {
            let body = body.map_err(Into::into).boxed_unsync();
            RequestBody::InProcess(parking_lot::Mutex::new(body))
        });
        let answer = dispatch::serve(self.core.clone(), self.peer.clone(), request);
        Box::pin(async move { Ok(answer.await) })
    }
}
