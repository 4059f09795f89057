//! The pod's volumes as directories of the node. Preparing is idempotent: it is repeated
//! when a config map or secret changes and when a token is due, and changes only what
//! differs. Everything lies in the pod's directory, so cleaning up needs no memory.

mod atomic;
mod cleanup;
mod payload;
mod plain;
mod token;

pub(crate) use cleanup::remove_pod_directory;
pub(crate) use plain::within;

use crate::context::Context;
use fluyt_kubelet_core::names::volume_directory;
use fluyt_kubelet_core::{model, security};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// The volumes of a pod, ready to be mounted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounted {
    /// By volume name: the directory or file on the node.
    pub paths: BTreeMap<String, PathBuf>,
    /// When a token in one of them must be renewed.
    pub refresh_at: Option<Timestamp>,
}

/// Prepares all volumes of a pod. An error names the volume.
pub(crate) async fn prepare(
    context: &Arc<Context>,
    pod: &Arc<Pod>,
    pod_ips: &[String],
    wake: &Arc<Notify>,
) -> Result<Mounted, String> {
    let volumes = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.volumes.as_deref())
        .unwrap_or(&[]);
    let work = volumes.iter().map(|volume| async move {
        let prepared = prepare_one(context, pod, volume, pod_ips, wake).await;
        prepared.map_err(|error| {
            format!(
                "MountVolume.SetUp failed for volume {:?} : {error}",
                volume.name
            )
        })
    });
    let mut mounted = Mounted::default();
    for (volume, prepared) in volumes
        .iter()
        .zip(futures::future::try_join_all(work).await?)
    {
        mounted.paths.insert(volume.name.clone(), prepared.path);
        mounted.refresh_at = [mounted.refresh_at, prepared.refresh_at]
            .into_iter()
            .flatten()
            .min();
    }
    Ok(mounted)
}

struct Prepared {
    path: PathBuf,
    refresh_at: Option<Timestamp>,
}

async fn prepare_one(
    context: &Arc<Context>,
    pod: &Arc<Pod>,
    volume: &Volume,
    pod_ips: &[String],
    wake: &Arc<Notify>,
) -> Result<Prepared, String> {
    let directory = |plugin: &str| {
        volume_directory(
            &context.settings.root,
            model::uid(pod),
            plugin,
            &volume.name,
        )
    };
    let group = fs_group(pod);
    let done = |path: PathBuf| Prepared {
        path,
        refresh_at: None,
    };
    if let Some(source) = &volume.empty_dir {
        let (source, path) = (source.clone(), directory("empty-dir"));
        let made = path.clone();
        blocking(move || plain::empty_dir(&made, &source, group)).await?;
        return Ok(done(path));
    }
    if let Some(source) = &volume.host_path {
        let source = source.clone();
        return blocking(move || plain::host_path(&source)).await.map(done);
    }
    let gather = payload::Gather {
        context,
        pod,
        pod_ips,
        wake,
    };
    let (plugin, payload) = if let Some(source) = &volume.config_map {
        ("configmap", gather.config_map(source).await?)
    } else if let Some(source) = &volume.secret {
        ("secret", gather.secret(source).await?)
    } else if let Some(source) = &volume.downward_api {
        ("downward-api", gather.downward_api(source)?)
    } else if let Some(source) = &volume.projected {
        ("projected", gather.projected(source).await?)
    } else {
        return Err("this type of volume is not supported by this kubelet".to_owned());
    };
    let path = directory(plugin);
    let (made, in_memory, refresh_at) = (path.clone(), payload.secret, payload.refresh_at);
    blocking(move || {
        if in_memory {
            plain::tmpfs(&made, None)?;
        }
        atomic::write(&made, &payload.files, group)
    })
    .await?;
    Ok(Prepared { path, refresh_at })
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

/// The user that all containers of a pod run as, if they agree: tokens belong to it.
fn common_user(pod: &Pod) -> Option<u32> {
    let all = model::containers(pod)
        .iter()
        .chain(model::init_containers(pod));
    let mut users = all.map(|container| security::effective(pod, container).run_as_user);
    let first = users.next()??;
    users
        .all(|user| user == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}

/// File work off the threads that serve everything else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(error.to_string()),
    }
}

/// Names the path in an error.
fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}
