//! Labels, annotations and paths by which a pod's parts are found again after a restart.
//! The names are upstream's, so that other tools find them too.

use crate::api::{Container, Pod};
use crate::model::{name, namespace, uid};
use std::path::{Path, PathBuf};

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const POD_GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Where a pod came from: "api" or "file".
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// A static pod's hash, its uid in the runtime.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// On a mirror pod: the hash of the static pod that it mirrors.
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// When the kubelet first saw the pod.
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";

/// A hash of what a change of which needs a new container: name and image.
pub fn container_hash(container: &Container) -> String {
    let text = serde_json::json!({
        "name": container.name,
        "image": container.image.as_deref().unwrap_or_default(),
    });
    format!("{:x}", fnv1a(text.to_string().as_bytes()))
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// True for a pod from a file; its mirror in the API is told apart by [`is_mirror`].
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, CONFIG_SOURCE).is_some_and(|source| source != "api")
}

/// True for an object of the API that only mirrors a static pod.
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, CONFIG_MIRROR).is_some()
}

/// An annotation of the pod.
pub fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// The directory of a pod's logs below `root`.
pub fn pod_log_directory(root: &Path, pod: &Pod) -> PathBuf {
    root.join(format!("{}_{}_{}", namespace(pod), name(pod), uid(pod)))
}

/// A container's log relative to the pod's log directory: "nginx/0.log".
pub fn container_log(container: &str, restart_count: u32) -> String {
    format!("{container}/{restart_count}.log")
}

/// The pod's own directory below the kubelet's root.
pub fn pod_directory(root: &Path, uid: &str) -> PathBuf {
    root.join("pods").join(uid)
}

/// Where a volume of a plugin lies in the pod's directory, as upstream lays it out.
pub fn volume_directory(root: &Path, uid: &str, plugin: &str, volume: &str) -> PathBuf {
    pod_directory(root, uid)
        .join("volumes")
        .join(format!("kubernetes.io~{plugin}"))
        .join(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_image_is_a_new_hash() {
        let mut container = Container {
            name: "a".into(),
            image: Some("x:1".into()),
            ..Default::default()
        };
        let before = container_hash(&container);
        container.args = Some(vec!["other".into()]);
        assert_eq!(container_hash(&container), before);
        container.image = Some("x:2".into());
        assert_ne!(container_hash(&container), before);
    }

    #[test]
    fn fnv_matches_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}
