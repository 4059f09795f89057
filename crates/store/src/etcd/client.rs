//! Calls to whichever endpoint answers, with a deadline. A call that may have had an effect is
//! never sent twice; everything else moves on to the next endpoint, with back-off.

use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::types::StoreError;

pub(super) const DEADLINE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// PEM blocks for https endpoints.
#[derive(Clone, Debug, Default)]
pub struct EtcdTls {
    /// Whom to trust.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Whether a call can be repeated although it may have arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Safe,
    OnlyIfNotSent,
}

pub(super) struct Client {
    channels: Vec<Channel>,
    /// The endpoint that answered last.
    current: AtomicUsize,
}

impl Client {
    /// Connects on first use. `Invalid` names an endpoint that is no URL.
    pub(super) fn new(endpoints: &[String], tls: Option<&EtcdTls>) -> Result<Self, StoreError> {
        if endpoints.is_empty() {
            return Err(StoreError::Invalid("no etcd endpoint given".into()));
        }
        let channels = endpoints.iter().map(|endpoint| channel(endpoint, tls));
        Ok(Client {
            channels: channels.collect::<Result<_, _>>()?,
            current: AtomicUsize::new(0),
        })
    }

    pub(super) fn channel(&self) -> Channel {
        self.channels[self.current.load(Ordering::Relaxed) % self.channels.len()].clone()
    }

    /// After a failure of the current endpoint.
    pub(super) fn move_on(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn call<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        repeat: Repeat,
    ) -> Result<A, StoreError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let deadline = Instant::now() + DEADLINE;
        let mut pause = FIRST_PAUSE;
        loop {
            let once = self.call_once(path, request.clone());
            let status = match tokio::time::timeout_at(deadline, once).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => {
                    self.move_on();
                    let text = format!("etcd did not answer within {} s", DEADLINE.as_secs());
                    return Err(StoreError::Unavailable(text));
                }
            };
            let repeatable = repeat == Repeat::Safe || never_sent(&status);
            let away = status.code() == Code::Unavailable;
            if !away || !repeatable || Instant::now() + pause >= deadline {
                if away {
                    self.move_on();
                }
                return Err(store_error(&status));
            }
            self.move_on();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn call_once<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = grpc(self.channel());
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(Box::new(error)))?;
        let path = PathAndQuery::from_static(path);
        let answer = grpc
            .unary(Request::new(request), path, ProstCodec::default())
            .await?;
        Ok(answer.into_inner())
    }
}

pub(super) fn grpc(channel: Channel) -> tonic::client::Grpc<Channel> {
    // A list of everything is one message; etcd itself bounds what it stores.
    tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX)
}

fn channel(endpoint: &str, tls: Option<&EtcdTls>) -> Result<Channel, StoreError> {
    let invalid = |error: &dyn std::fmt::Display| {
        StoreError::Invalid(format!("etcd endpoint {endpoint}: {error}"))
    };
    let url = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    };
    let secure = url.starts_with("https://");
    let mut builder = Endpoint::from_shared(url)
        .map_err(|error| invalid(&error))?
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        // Notices a dead peer under a quiet watch.
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    if secure {
        let mut config = ClientTlsConfig::new();
        if let Some(ca) = tls.and_then(|tls| tls.ca.as_ref()) {
            config = config.ca_certificate(Certificate::from_pem(ca));
        }
        if let Some((certificate, key)) = tls.and_then(|tls| tls.identity.as_ref()) {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        builder = builder
            .tls_config(config)
            .map_err(|error| invalid(&error))?;
    }
    Ok(builder.connect_lazy())
}

/// Whether the connection could not even be made.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        source = error.source();
    }
    false
}

pub(super) fn store_error(status: &Status) -> StoreError {
    let message = status.message();
    match status.code() {
        Code::OutOfRange if message.contains("compacted") => StoreError::Compacted { oldest: 0 },
        Code::OutOfRange if message.contains("future") => StoreError::FutureRevision { current: 0 },
        Code::ResourceExhausted if message.contains("space exceeded") => StoreError::DiskFull,
        Code::InvalidArgument => StoreError::Invalid(message.to_owned()),
        _ => {
            let mut text = format!("etcd: {message}");
            let mut source = status.source();
            while let Some(error) = source {
                let cause = error.to_string();
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
                source = error.source();
            }
            StoreError::Unavailable(text)
        }
    }
}
