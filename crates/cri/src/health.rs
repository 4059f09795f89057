//! The gRPC health check (grpc.health.v1.Health/Check), which probes of kind grpc use.
//! It lives here because this is the crate that speaks gRPC.

use http::uri::PathAndQuery;
use tonic::transport::Endpoint;

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The protocol's SERVING.
const SERVING: i32 = 1;
const STATUS_NAMES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Asks a server, given as "host:port", whether a service is healthy.
pub async fn check(authority: &str, service: &str) -> Result<(), String> {
    let unreachable = |error: tonic::transport::Error| {
        let cause = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("timeout: failed to connect service {authority:?} within 1s: {cause}")
    };
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(unreachable)?;
    let request = tonic::Request::new(Request {
        service: service.to_owned(),
    });
    let codec = tonic_prost::ProstCodec::<Request, Response>::default();
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    match grpc.unary(request, path, codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Ok(()),
        Ok(answer) => {
            let status = usize::try_from(answer.get_ref().status).unwrap_or(0);
            let name = STATUS_NAMES.get(status).unwrap_or(&"UNKNOWN");
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        Err(status) => Err(format!("error: health rpc failed: {status}")),
    }
}
