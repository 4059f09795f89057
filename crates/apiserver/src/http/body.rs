//! Bodies of both directions. A request body is read whole, up to a bound; a response body is bytes, a stream of
//! chunks that is produced as the connection takes it, or what another server sends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use fluyt_api::status::Status;
use futures::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Largest request body, upstream's limit.
pub(crate) const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// The body of a response.
pub enum Body {
    Empty,
    Full(Bytes),
    Chunks(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
    Incoming(hyper::body::Incoming),
}

impl Body {
    pub(crate) fn stream(
        stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    ) -> Self {
        Body::Chunks(Box::pin(stream))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(_) => {
                let Body::Full(bytes) = std::mem::replace(&mut *self, Body::Empty) else {
                    return Poll::Ready(None);
                };
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Body::Chunks(stream) => stream
                .as_mut()
                .poll_next(context)
                .map(|item| item.map(|chunk| chunk.map(Frame::data))),
            Body::Incoming(incoming) => Pin::new(incoming)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Chunks(_) => false,
            Body::Incoming(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Chunks(_) => SizeHint::default(),
            Body::Incoming(incoming) => incoming.size_hint(),
        }
    }
}

/// The body of a request: from a connection, or from a caller in this process.
pub(crate) enum RequestBody {
    Incoming(hyper::body::Incoming),
    /// Behind a lock that is never contended, so that requests can be shared between threads.
    InProcess(parking_lot::Mutex<UnsyncBoxBody<Bytes, BoxError>>),
}

impl RequestBody {
    pub(crate) fn empty() -> Self {
        let nothing = http_body_util::Empty::new().map_err(|never| match never {});
        RequestBody::InProcess(parking_lot::Mutex::new(UnsyncBoxBody::new(nothing)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            RequestBody::Incoming(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            RequestBody::InProcess(body) => Pin::new(body.get_mut()).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Incoming(body) => body.size_hint(),
            RequestBody::InProcess(body) => body.lock().size_hint(),
        }
    }
}

/// So much of a body that is refused is read and thrown away: an HTTP/2 stream that is reset while its client still sends loses
/// the answer that says why.
const MAX_DRAINED_BYTES: usize = 16 << 20;

async fn drain(mut body: RequestBody) {
    let mut left = MAX_DRAINED_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Reads the whole body; more than [`MAX_BODY_BYTES`] is refused.
pub(crate) async fn read(mut body: RequestBody) -> Result<Bytes, Status> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        drain(body).await;
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Status::bad_request(format!("reading the request body: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + gathered.len() + data.len() > MAX_BODY_BYTES {
            drain(body).await;
            return Err(too_large());
        }
        if first.is_empty() && gathered.is_empty() {
            first = data;
        } else {
            if gathered.is_empty() {
                gathered.extend_from_slice(&std::mem::take(&mut first));
            }
            gathered.extend_from_slice(&data);
        }
    }
    if gathered.is_empty() {
        Ok(first)
    } else {
        Ok(gathered.freeze())
    }
}

fn too_large() -> Status {
    Status::too_large(format!("limit is {MAX_BODY_BYTES}"))
}
