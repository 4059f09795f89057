//! The calls. One channel is shared by everything; every call has a deadline, so that a
//! hung runtime cannot hang its caller.

use crate::messages::*;
use http::uri::PathAndQuery;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};

/// What most calls may take: creating a sandbox includes its network.
const CALL_TIMEOUT: Duration = Duration::from_secs(240);
/// Pulling may take as long as the registry does.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime answered with an error; the text is the runtime's.
    #[error("rpc error: code = {code:?} desc = {message}")]
    Status { code: tonic::Code, message: String },
    /// The socket could not be reached.
    #[error("container runtime at {endpoint}: {source}")]
    Connect {
        endpoint: String,
        source: tonic::transport::Error,
    },
    /// The runtime did not answer in time.
    #[error("rpc error: code = DeadlineExceeded desc = context deadline exceeded")]
    Timeout,
    /// The answer lacked a part that the protocol requires.
    #[error("the runtime's answer has no {0}")]
    Incomplete(&'static str),
}

impl Error {
    /// True when the runtime says that the named thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Error::Status {
                code: tonic::Code::NotFound,
                ..
            }
        ) || matches!(self, Error::Status { message, .. } if message.contains("not found"))
    }

    /// True when the runtime could not be reached at all.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Connect { .. } => true,
            Error::Status { code, .. } => *code == tonic::Code::Unavailable,
            Error::Timeout | Error::Incomplete(_) => false,
        }
    }

    /// The runtime's own words, without the wrapping.
    pub fn message(&self) -> String {
        match self {
            Error::Status { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Error::Status {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// A connection to a container runtime; cheap to clone, connects by itself again.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    socket: PathBuf,
}

impl Client {
    /// A client of the runtime behind a unix socket. Connects on first use.
    ///
    /// `endpoint` is a path or `unix:///path`.
    pub fn new(endpoint: &str) -> Self {
        let path = PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint));
        Self {
            channel: unix_channel(&path),
            socket: path,
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    async fn call<Q, R>(&self, path: &'static str, request: Q, limit: Duration) -> Result<R>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let work = async {
            let mut grpc = tonic::client::Grpc::new(self.channel.clone())
                .max_decoding_message_size(64 * 1024 * 1024);
            grpc.ready().await.map_err(|source| Error::Connect {
                endpoint: self.socket.display().to_string(),
                source,
            })?;
            let codec = tonic_prost::ProstCodec::<Q, R>::default();
            let answer = grpc
                .unary(
                    tonic::Request::new(request),
                    PathAndQuery::from_static(path),
                    codec,
                )
                .await?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or(Err(Error::Timeout))
    }
}

/// A channel over a unix socket that is dialled when first used and again after it broke.
pub(crate) fn unix_channel(path: &Path) -> Channel {
    let path = path.to_owned();
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(
        move |_: Uri| {
            let path = path.clone();
            async move {
                tokio::net::UnixStream::connect(path)
                    .await
                    .map(hyper_util::rt::TokioIo::new)
            }
        },
    ))
}

/// Declares one method per call: name, service, method, request, answer.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($service:literal, $request:ty) -> $answer:ty;)*) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $name(&self, request: $request) -> Result<$answer> {
                self.call(concat!("/runtime.v1.", $service), request, CALL_TIMEOUT).await
            })*
        }
    };
}

calls! {
    /// The runtime's name and version.
    version("RuntimeService/Version", VersionRequest) -> VersionResponse;
    /// The runtime's conditions: RuntimeReady, NetworkReady.
    status("RuntimeService/Status", StatusRequest) -> StatusResponse;
    /// Creates and starts a sandbox, its network included.
    run_pod_sandbox("RuntimeService/RunPodSandbox", RunPodSandboxRequest) -> RunPodSandboxResponse;
    /// Stops a sandbox and everything in it; idempotent.
    stop_pod_sandbox("RuntimeService/StopPodSandbox", StopPodSandboxRequest) -> StopPodSandboxResponse;
    /// Removes a sandbox and its containers; idempotent.
    remove_pod_sandbox("RuntimeService/RemovePodSandbox", RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    /// A sandbox's state and addresses.
    pod_sandbox_status("RuntimeService/PodSandboxStatus", PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    /// The sandboxes that a filter admits.
    list_pod_sandbox("RuntimeService/ListPodSandbox", ListPodSandboxRequest) -> ListPodSandboxResponse;
    /// Creates a container in a sandbox.
    create_container("RuntimeService/CreateContainer", CreateContainerRequest) -> CreateContainerResponse;
    /// Starts a created container.
    start_container("RuntimeService/StartContainer", StartContainerRequest) -> StartContainerResponse;
    /// Removes a container, killing it if need be; idempotent.
    remove_container("RuntimeService/RemoveContainer", RemoveContainerRequest) -> RemoveContainerResponse;
    /// The containers that a filter admits.
    list_containers("RuntimeService/ListContainers", ListContainersRequest) -> ListContainersResponse;
    /// A container's state in full.
    container_status("RuntimeService/ContainerStatus", ContainerStatusRequest) -> ContainerStatusResponse;
    /// Changes a running container's cgroup values.
    update_container_resources("RuntimeService/UpdateContainerResources", UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
    /// Tells the runtime that a log was moved away.
    reopen_container_log("RuntimeService/ReopenContainerLog", ReopenContainerLogRequest) -> ReopenContainerLogResponse;
    /// Prepares an exec and says where to stream.
    exec("RuntimeService/Exec", ExecRequest) -> ExecResponse;
    /// Prepares an attach and says where to stream.
    attach("RuntimeService/Attach", AttachRequest) -> AttachResponse;
    /// Prepares a port-forward and says where to stream.
    port_forward("RuntimeService/PortForward", PortForwardRequest) -> PortForwardResponse;
    /// What one container uses.
    container_stats("RuntimeService/ContainerStats", ContainerStatsRequest) -> ContainerStatsResponse;
    /// What the containers that a filter admits use.
    list_container_stats("RuntimeService/ListContainerStats", ListContainerStatsRequest) -> ListContainerStatsResponse;
    /// Tells the runtime the pod CIDR.
    update_runtime_config("RuntimeService/UpdateRuntimeConfig", UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
    /// The images that are present.
    list_images("ImageService/ListImages", ListImagesRequest) -> ListImagesResponse;
    /// One image, if present.
    image_status("ImageService/ImageStatus", ImageStatusRequest) -> ImageStatusResponse;
    /// Removes an image; idempotent.
    remove_image("ImageService/RemoveImage", RemoveImageRequest) -> RemoveImageResponse;
    /// What the images use on disk.
    image_fs_info("ImageService/ImageFsInfo", ImageFsInfoRequest) -> ImageFsInfoResponse;
}

impl Client {
    /// Pulls an image; the answer names it by digest.
    pub async fn pull_image(&self, request: PullImageRequest) -> Result<PullImageResponse> {
        self.call("/runtime.v1.ImageService/PullImage", request, PULL_TIMEOUT)
            .await
    }

    /// Stops a container: SIGTERM, then SIGKILL after `timeout_seconds`; idempotent.
    pub async fn stop_container(&self, id: &str, timeout_seconds: i64) -> Result<()> {
        let request = StopContainerRequest {
            container_id: id.to_owned(),
            timeout: timeout_seconds,
        };
        let limit = Duration::from_secs(timeout_seconds.max(0) as u64) + CALL_TIMEOUT;
        self.call::<_, StopContainerResponse>(
            "/runtime.v1.RuntimeService/StopContainer",
            request,
            limit,
        )
        .await
        .map(drop)
    }

    /// Runs a command in a container and waits for its end.
    ///
    /// `timeout_seconds` 0 means no limit of the runtime's (the call's own limit holds).
    pub async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout_seconds: i64,
    ) -> Result<ExecSyncResponse> {
        let request = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command,
            timeout: timeout_seconds,
        };
        self.call("/runtime.v1.RuntimeService/ExecSync", request, CALL_TIMEOUT)
            .await
    }

    /// True when the runtime has the image; by name or digest.
    pub async fn find_image(&self, image: &str) -> Result<Option<Image>> {
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: image.to_owned(),
                ..Default::default()
            }),
            verbose: false,
        };
        Ok(self.image_status(request).await?.image)
    }

    /// A container's state.
    pub async fn inspect_container(&self, id: &str) -> Result<ContainerStatus> {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let answer = self.container_status(request).await?;
        answer.status.ok_or(Error::Incomplete("container status"))
    }

    /// A sandbox's state.
    pub async fn inspect_sandbox(&self, id: &str) -> Result<PodSandboxStatus> {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        };
        let answer = self.pod_sandbox_status(request).await?;
        answer.status.ok_or(Error::Incomplete("sandbox status"))
    }
}
