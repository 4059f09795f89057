//! containerd's event stream (`containerd.services.events.v1.Events/Subscribe`): containerd
//! 1.6 has no CRI events, and polling would break "an idle node uses no CPU".
//! An event only says that something happened to a container: the reader looks again.

use crate::client::{Client, Error, Result};
use futures::{Stream, StreamExt};
use http::uri::PathAndQuery;
use prost::Message;

/// The containerd namespace that the CRI plugin works in.
const NAMESPACE: &str = "k8s.io";

/// Something happened to a task; `container_id` is a container's or a sandbox's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEvent {
    Started {
        container_id: String,
    },
    Exited {
        container_id: String,
        exit_status: u32,
    },
    OutOfMemory {
        container_id: String,
    },
}

impl TaskEvent {
    /// The container or sandbox that it happened to.
    pub fn container_id(&self) -> &str {
        match self {
            TaskEvent::Started { container_id }
            | TaskEvent::Exited { container_id, .. }
            | TaskEvent::OutOfMemory { container_id } => container_id,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TaskExit {
    #[prost(string, tag = "1")]
    container_id: String,
    /// The process: the container's own id, or that of an exec.
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "4")]
    exit_status: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TaskNamed {
    #[prost(string, tag = "1")]
    container_id: String,
}

/// Subscribes to the tasks' starts, exits and out-of-memory kills. The stream ends with
/// the connection; the caller subscribes again and looks at everything once.
pub async fn subscribe(client: &Client) -> Result<impl Stream<Item = Result<TaskEvent>> + use<>> {
    let mut grpc = tonic::client::Grpc::new(client.channel());
    grpc.ready().await.map_err(|source| Error::Connect {
        endpoint: client.socket().display().to_string(),
        source,
    })?;
    let filters = ["/tasks/exit", "/tasks/start", "/tasks/oom"]
        .map(|topic| format!("namespace=={NAMESPACE},topic=={topic:?}"));
    let mut request = tonic::Request::new(SubscribeRequest {
        filters: filters.to_vec(),
    });
    request.metadata_mut().insert(
        "containerd-namespace",
        tonic::metadata::MetadataValue::from_static(NAMESPACE),
    );
    let codec = tonic_prost::ProstCodec::<SubscribeRequest, Envelope>::default();
    let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
    let stream = grpc
        .server_streaming(request, path, codec)
        .await?
        .into_inner();
    Ok(stream.filter_map(|item| {
        let mapped = match item {
            Ok(envelope) => decode(&envelope).map(Ok),
            Err(status) => Some(Err(status.into())),
        };
        std::future::ready(mapped)
    }))
}

/// What an envelope says; `None` for what does not concern whole containers.
fn decode(envelope: &Envelope) -> Option<TaskEvent> {
    let value = envelope.event.as_ref()?.value.as_slice();
    match envelope.topic.as_str() {
        "/tasks/exit" => {
            let exit = TaskExit::decode(value).ok()?;
            // An exec that ended is not the container's end.
            (exit.id == exit.container_id).then_some(TaskEvent::Exited {
                container_id: exit.container_id,
                exit_status: exit.exit_status,
            })
        }
        "/tasks/start" => Some(TaskEvent::Started {
            container_id: TaskNamed::decode(value).ok()?.container_id,
        }),
        "/tasks/oom" => Some(TaskEvent::OutOfMemory {
            container_id: TaskNamed::decode(value).ok()?.container_id,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, message: &impl Message) -> Envelope {
        Envelope {
            namespace: NAMESPACE.into(),
            topic: topic.into(),
            event: Some(Any {
                type_url: String::new(),
                value: message.encode_to_vec(),
            }),
        }
    }

    #[test]
    fn an_exit_of_the_container_is_told() {
        let exit = TaskExit {
            container_id: "a".into(),
            id: "a".into(),
            exit_status: 3,
        };
        assert_eq!(
            decode(&envelope("/tasks/exit", &exit)),
            Some(TaskEvent::Exited {
                container_id: "a".into(),
                exit_status: 3
            })
        );
    }

    #[test]
    fn an_exit_of_an_exec_is_not_the_containers() {
        let exit = TaskExit {
            container_id: "a".into(),
            id: "exec-1".into(),
            exit_status: 0,
        };
        assert_eq!(decode(&envelope("/tasks/exit", &exit)), None);
    }
}
