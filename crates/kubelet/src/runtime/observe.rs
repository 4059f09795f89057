//! What the runtime holds for a pod, as the core wants to see it.
//! Ended containers never change, so their states are asked for once.

use fluyt_cri::{
    Client, Container as Listed, ContainerFilter, ContainerState, ContainerStatus,
    ListContainersRequest, ListPodSandboxRequest, PodSandbox, PodSandboxFilter, PodSandboxState,
};
use fluyt_kubelet_core::model::{Container, Observed, Sandbox, State};
use fluyt_kubelet_core::names;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Looks at one pod's sandboxes and containers.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    ended: HashMap<String, Container>,
}

impl Observer {
    /// Everything that the runtime holds for the pod with that uid.
    pub async fn observe(&mut self, cri: &Client, uid: &str) -> fluyt_cri::Result<Observed> {
        let labels = BTreeMap::from([(names::POD_UID.to_owned(), uid.to_owned())]);
        let (sandboxes, containers) = tokio::try_join!(
            list_sandboxes(cri, labels.clone()),
            list_containers(cri, labels)
        )?;
        let sandboxes =
            futures::future::try_join_all(sandboxes.iter().map(|s| describe_sandbox(cri, s)));
        let statuses =
            futures::future::try_join_all(containers.iter().map(|c| self.describe(cri, c)));
        let (sandboxes, statuses) = tokio::try_join!(sandboxes, statuses)?;
        let observed = Observed::new(
            sandboxes.into_iter().flatten().collect(),
            statuses.into_iter().flatten().collect(),
        );
        self.ended = observed
            .containers
            .iter()
            .filter(|container| container.state == State::Exited)
            .map(|container| (container.id.clone(), container.clone()))
            .collect();
        Ok(observed)
    }

    async fn describe(
        &self,
        cri: &Client,
        listed: &Listed,
    ) -> fluyt_cri::Result<Option<Container>> {
        if let Some(known) = self.ended.get(&listed.id) {
            return Ok(Some(known.clone()));
        }
        match cri.inspect_container(&listed.id).await {
            Ok(status) => Ok(Some(convert(listed, status))),
            // It was removed between the two calls.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The sandboxes with these labels.
pub(crate) async fn list_sandboxes(
    cri: &Client,
    labels: BTreeMap<String, String>,
) -> fluyt_cri::Result<Vec<PodSandbox>> {
    let filter = PodSandboxFilter {
        label_selector: labels,
        ..PodSandboxFilter::default()
    };
    let answer = cri
        .list_pod_sandbox(ListPodSandboxRequest {
            filter: Some(filter),
        })
        .await?;
    Ok(answer.items)
}

/// The containers with these labels.
pub(crate) async fn list_containers(
    cri: &Client,
    labels: BTreeMap<String, String>,
) -> fluyt_cri::Result<Vec<Listed>> {
    let filter = ContainerFilter {
        label_selector: labels,
        ..ContainerFilter::default()
    };
    let answer = cri
        .list_containers(ListContainersRequest {
            filter: Some(filter),
        })
        .await?;
    Ok(answer.containers)
}

async fn describe_sandbox(cri: &Client, listed: &PodSandbox) -> fluyt_cri::Result<Option<Sandbox>> {
    let ready = listed.state == PodSandboxState::Ready as i32;
    let mut sandbox = Sandbox {
        id: listed.id.clone(),
        attempt: listed
            .metadata
            .as_ref()
            .map_or(0, |metadata| metadata.attempt),
        ready,
        created_at: time(listed.created_at).unwrap_or(Timestamp::UNIX_EPOCH),
        ips: Vec::new(),
    };
    if !ready {
        return Ok(Some(sandbox));
    }
    match cri.inspect_sandbox(&listed.id).await {
        Ok(status) => {
            sandbox.ready = status.state == PodSandboxState::Ready as i32;
            if let Some(network) = status.network {
                let all = std::iter::once(network.ip)
                    .chain(network.additional_ips.into_iter().map(|ip| ip.ip));
                sandbox.ips = all.filter(|ip| !ip.is_empty()).collect();
            }
            Ok(Some(sandbox))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn convert(listed: &Listed, status: ContainerStatus) -> Container {
    let annotation = |key: &str| {
        listed
            .annotations
            .get(key)
            .map(String::as_str)
            .unwrap_or_default()
    };
    let state = match ContainerState::try_from(status.state) {
        Ok(ContainerState::Created) => State::Created,
        Ok(ContainerState::Running) => State::Running,
        Ok(ContainerState::Exited) => State::Exited,
        _ => State::Unknown,
    };
    let metadata = status.metadata.unwrap_or_default();
    let mut message = status.message;
    if state == State::Exited {
        let path = annotation(names::MESSAGE_PATH);
        let mount = status
            .mounts
            .iter()
            .find(|mount| !path.is_empty() && mount.container_path == path);
        let from_file = mount.and_then(|mount| termination_message(Path::new(&mount.host_path)));
        let fall_back =
            annotation(names::MESSAGE_POLICY) == "FallbackToLogsOnError" && status.exit_code != 0;
        message = from_file
            .or_else(|| {
                fall_back
                    .then(|| tail(&PathBuf::from(&status.log_path)))
                    .flatten()
            })
            .unwrap_or(message);
    }
    Container {
        id: status.id,
        name: metadata.name,
        sandbox_id: listed.pod_sandbox_id.clone(),
        restart_count: annotation(names::RESTART_COUNT)
            .parse()
            .unwrap_or(metadata.attempt),
        state,
        created_at: time(status.created_at).unwrap_or(Timestamp::UNIX_EPOCH),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message,
        image: status.image.map(|image| image.image).unwrap_or_default(),
        image_id: status.image_ref,
        hash: annotation(names::CONTAINER_HASH).to_owned(),
    }
}

/// Nanoseconds since the epoch; 0 means never.
fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0)
        .then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok())
        .flatten()
}

/// At most 4 KiB of the file that the container left, if it left any.
fn termination_message(path: &Path) -> Option<String> {
    let mut bytes = std::fs::read(path).ok()?;
    bytes.truncate(4096);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (!text.is_empty()).then_some(text)
}

/// The last 80 lines of a log, at most 2 KiB of them.
fn tail(log: &Path) -> Option<String> {
    let text = crate::logs::last_lines(log, 80)?;
    let mut start = text.len().saturating_sub(2048);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    Some(text[start..].to_owned())
}
