//! Where pods come from: the API server, and files (static pods).

use crate::changes::Changes;
use crate::settings::Settings;
use fluyt_client::informer::Slim;
use fluyt_kubelet_core::names;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A pod as the API server has it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct ApiPod(pub Pod);

impl Slim for ApiPod {
    fn resource_version(&self) -> &str {
        self.0
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
    }
}

/// Reads the manifests, then again whenever one of them changes; sends the whole set.
pub(crate) async fn follow_files(
    settings: Settings,
    path: PathBuf,
    send: mpsc::Sender<Vec<Pod>>,
    shutdown: CancellationToken,
) {
    let changes = Changes::new();
    let directory = if path.is_dir() {
        path.clone()
    } else {
        path.parent().unwrap_or(&path).to_owned()
    };
    let watched = changes
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|changes| {
            changes
                .watch_directory(&directory)
                .map_err(|error| error.to_string())
        });
    if let Err(error) = &watched {
        tracing::error!(path = %directory.display(), error, "changes of static pods will not be seen");
    }
    loop {
        let pods = read_all(&settings, &path);
        if send.send(pods).await.is_err() {
            return;
        }
        let Ok(changes) = &changes else { return };
        tokio::select! {
            changed = changes.next() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// The pods of a file, or of all files of a directory; bad ones are left out and named.
fn read_all(settings: &Settings, path: &Path) -> Vec<Pod> {
    let mut files = Vec::new();
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        files.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| wanted(path)),
        );
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let mut pods = Vec::new();
    for file in files {
        match read(settings, &file) {
            Ok(pod) => pods.push(pod),
            Err(error) => {
                tracing::error!(file = %file.display(), "static pod is left out: {error}")
            }
        }
    }
    pods
}

fn wanted(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    path.is_file() && !hidden
}

fn read(settings: &Settings, file: &Path) -> Result<Pod, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let pod: Pod = crate::yaml::read(&text).map_err(|error| format!("{error:#}"))?;
    complete(settings, file, pod)
}

/// Gives a static pod what the API server would: a uid, a namespace, the node's name.
fn complete(settings: &Settings, file: &Path, mut pod: Pod) -> Result<Pod, String> {
    let Some(name) = pod.metadata.name.clone().filter(|name| !name.is_empty()) else {
        return Err("metadata.name: Required value".to_owned());
    };
    if pod
        .spec
        .as_ref()
        .is_none_or(|spec| spec.containers.is_empty())
    {
        return Err("spec.containers: Required value".to_owned());
    }
    let meta = &mut pod.metadata;
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    meta.name = Some(format!("{name}-{}", settings.node_name));
    pod.status = None;
    let spec: &mut PodSpec = pod.spec.get_or_insert_default();
    spec.node_name = Some(settings.node_name.clone());
    // The uid changes with the content: a changed file is a new pod.
    let content = serde_json::to_vec(&pod).map_err(|error| error.to_string())?;
    let mut digest = Sha256::new();
    digest.update(settings.node_name.as_bytes());
    digest.update(file.as_os_str().as_encoded_bytes());
    digest.update(&content);
    let hash: String = digest
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let annotations: &mut BTreeMap<String, String> =
        pod.metadata.annotations.get_or_insert_default();
    annotations.insert(names::CONFIG_SOURCE.to_owned(), "file".to_owned());
    annotations.insert(names::CONFIG_HASH.to_owned(), hash.clone());
    pod.metadata.uid = Some(hash);
    Ok(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_becomes_a_pod_of_this_node() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        std::fs::write(&file, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    image: i\n").unwrap();
        std::fs::write(
            directory.path().join("bad.yaml"),
            "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
        )
        .unwrap();
        let settings = crate::settings::tests_support::settings();
        let pods = read_all(&settings, directory.path());
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0].metadata.name.as_deref(), Some("a-node1"));
        assert!(names::is_static(&pods[0]));
        let before = pods[0].metadata.uid.clone();
        std::fs::write(
            &file,
            std::fs::read_to_string(&file)
                .unwrap()
                .replace("image: i", "image: j"),
        )
        .unwrap();
        assert_ne!(
            read_all(&settings, directory.path())[0].metadata.uid,
            before
        );
    }
}
