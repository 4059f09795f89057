//! Makes sure that a container's image is there: pull policies, credentials, back-off,
//! and the events that go with them.

use crate::context::Context;
use crate::objects::{Key, Kind};
use base64::Engine;
use fluyt_cri::{AuthConfig, ImageSpec, PullImageRequest};
use fluyt_kubelet_core::model;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// An image that is there.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// What the runtime knows it by.
    pub reference: String,
    /// The user that the image asks for: a number, or a name.
    pub user: Option<i64>,
    pub user_name: String,
}

/// Why it is not there; reason and message as the container's status shows them.
#[derive(Clone, Debug)]
pub(crate) struct Unready {
    pub reason: &'static str,
    pub message: String,
    /// When to try again.
    pub retry_at: Timestamp,
}

/// After a failed pull the back-off is announced, once, after this.
const ANNOUNCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// The container's policy; without one, "latest" is pulled always.
fn policy(container: &Container) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some("IfNotPresent") => Policy::IfNotPresent,
        _ if tag(container.image.as_deref().unwrap_or_default()) == "latest" => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

/// The tag of an image's name; a digest counts as a tag that is not "latest".
fn tag(image: &str) -> &str {
    if image.contains('@') {
        return "";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

/// Makes sure of the image of a container.
pub(crate) async fn ensure(
    context: &Arc<Context>,
    pod: &Arc<Pod>,
    container: &Container,
    wake: &Arc<Notify>,
) -> Result<Ready, Unready> {
    let image = container.image.clone().unwrap_or_default();
    let name = container.name.as_str();
    let later = || Timestamp::now() + jiff::SignedDuration::from_secs(10);
    let present = context.cri.find_image(&image).await.map_err(|error| {
        let message = format!("Failed to inspect image {image:?}: {error}");
        context.event(pod, Some(name), true, "InspectFailed", message.clone());
        let invalid = message.contains("invalid reference format");
        let reason = if invalid {
            "InvalidImageName"
        } else {
            "ImageInspectError"
        };
        Unready {
            reason,
            message,
            retry_at: later(),
        }
    })?;
    let policy = policy(container);
    if let Some(found) = present.filter(|_| policy != Policy::Always) {
        let message = format!("Container image {image:?} already present on machine");
        context.event(pod, Some(name), false, "Pulled", message);
        return Ok(ready(found));
    }
    if policy == Policy::Never {
        let message = format!("Container image {image:?} is not present with pull policy of Never");
        context.event(pod, Some(name), true, "ErrImageNeverPull", message.clone());
        return Err(Unready {
            reason: "ErrImageNeverPull",
            message,
            retry_at: later(),
        });
    }
    pull(context, pod, name, &image, wake).await
}

fn ready(image: fluyt_cri::Image) -> Ready {
    Ready {
        reference: image.id,
        user: image.uid.map(|uid| uid.value),
        user_name: image.username,
    }
}

async fn pull(
    context: &Arc<Context>,
    pod: &Arc<Pod>,
    name: &str,
    image: &str,
    wake: &Arc<Notify>,
) -> Result<Ready, Unready> {
    let key = format!("{}/{image}", model::uid(pod));
    let due = context
        .pull_backoff
        .lock()
        .due_since_update(&key, Timestamp::now());
    if let Some(retry_at) = due {
        let message = format!("Back-off pulling image {image:?}");
        context.event(pod, Some(name), false, "BackOff", message.clone());
        context.event(
            pod,
            Some(name),
            true,
            "Failed",
            "Error: ImagePullBackOff".to_owned(),
        );
        return Err(Unready {
            reason: "ImagePullBackOff",
            message,
            retry_at,
        });
    }
    let began = Instant::now();
    let _turn = context.pulls.acquire().await;
    context.event(
        pod,
        Some(name),
        false,
        "Pulling",
        format!("Pulling image {image:?}"),
    );
    let pulling = Instant::now();
    match pull_now(context, pod, image, wake).await {
        Ok(found) => {
            context.pull_backoff.lock().reset(&key);
            let message = format!(
                "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {} bytes.",
                display(pulling.elapsed()),
                display(began.elapsed()),
                found.size
            );
            context.event(pod, Some(name), false, "Pulled", message);
            Ok(ready(found))
        }
        Err(error) => {
            let now = Timestamp::now();
            context.pull_backoff.lock().next(&key, now, now);
            context.event(
                pod,
                Some(name),
                true,
                "Failed",
                format!("Failed to pull image {image:?}: {error}"),
            );
            context.event(
                pod,
                Some(name),
                true,
                "Failed",
                "Error: ErrImagePull".to_owned(),
            );
            Err(Unready {
                reason: "ErrImagePull",
                message: error,
                retry_at: now + ANNOUNCE,
            })
        }
    }
}

/// Tries each credential that fits, then none.
async fn pull_now(
    context: &Arc<Context>,
    pod: &Arc<Pod>,
    image: &str,
    wake: &Arc<Notify>,
) -> Result<fluyt_cri::Image, String> {
    let mut attempts: Vec<Option<AuthConfig>> = credentials(context, pod, image, wake)
        .await
        .into_iter()
        .map(Some)
        .collect();
    if attempts.is_empty() {
        attempts.push(None);
    }
    let mut last = String::new();
    for auth in attempts {
        let request = PullImageRequest {
            image: Some(ImageSpec {
                image: image.to_owned(),
                ..ImageSpec::default()
            }),
            auth,
            sandbox_config: None,
        };
        match context.cri.pull_image(request).await {
            Ok(answer) => {
                let found = context
                    .cri
                    .find_image(&answer.image_ref)
                    .await
                    .map_err(|e| e.to_string())?;
                return found
                    .ok_or_else(|| format!("image {image:?} vanished after it was pulled"));
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
}

/// The credentials of the pod's pull secrets that fit the image's registry.
async fn credentials(
    context: &Arc<Context>,
    pod: &Arc<Pod>,
    image: &str,
    wake: &Arc<Notify>,
) -> Vec<AuthConfig> {
    let secrets = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.image_pull_secrets.as_deref())
        .unwrap_or(&[]);
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for secret in secrets {
        let key = Key {
            kind: Kind::Secret,
            namespace: model::namespace(pod).to_owned(),
            name: secret.name.clone(),
        };
        match context.objects.get(&key, model::uid(pod), wake).await {
            Ok(Some(content)) => found.extend(fitting(&content, image)),
            _ => missing.push(secret.name.clone()),
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        context.event(pod, None, true, "FailedToRetrieveImagePullSecret", message);
    }
    found
}

fn fitting(content: &BTreeMap<String, Vec<u8>>, image: &str) -> Vec<AuthConfig> {
    let auths = if let Some(bytes) = content.get(".dockerconfigjson") {
        serde_json::from_slice::<DockerConfig>(bytes)
            .map(|config| config.auths)
            .unwrap_or_default()
    } else if let Some(bytes) = content.get(".dockercfg") {
        serde_json::from_slice(bytes).unwrap_or_default()
    } else {
        BTreeMap::new()
    };
    let registry = registry(image);
    let fits = |server: &str| {
        let bare = server
            .trim_start_matches("https://")
            .trim_start_matches("http://");
        let host = bare.split('/').next().unwrap_or(bare);
        host == registry || (registry == "docker.io" && host == "index.docker.io")
    };
    auths
        .into_iter()
        .filter(|(server, _)| fits(server))
        .map(|(_, auth)| convert(auth))
        .collect()
}

fn convert(auth: DockerAuth) -> AuthConfig {
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(&auth.auth)
        .unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    let (user, password) = decoded.split_once(':').unwrap_or(("", ""));
    let or = |own: String, other: &str| {
        if own.is_empty() {
            other.to_owned()
        } else {
            own
        }
    };
    AuthConfig {
        username: or(auth.username, user),
        password: or(auth.password, password),
        identity_token: auth.identitytoken,
        ..AuthConfig::default()
    }
}

/// The registry of an image's name: its first part, if that looks like a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// A duration as upstream prints it: "1.234s", "56ms".
fn display(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = duration.as_secs();
    let fraction = format!("{:03}", millis % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    match seconds / 60 {
        0 => format!("{seconds}{dot}{fraction}s"),
        minutes => format!("{minutes}m{}{dot}{fraction}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_registries() {
        for (image, expected_tag, expected_registry) in [
            ("nginx", "latest", "docker.io"),
            ("nginx:1", "1", "docker.io"),
            ("localhost:5000/a/b", "latest", "localhost:5000"),
            ("localhost:5000/a/b:v2", "v2", "localhost:5000"),
            ("ghcr.io/x@sha256:0", "", "ghcr.io"),
        ] {
            assert_eq!(
                (tag(image), registry(image)),
                (expected_tag, expected_registry),
                "{image}"
            );
        }
    }

    #[test]
    fn durations_read_as_upstream_prints_them() {
        for (millis, expected) in [
            (56, "56ms"),
            (1234, "1.234s"),
            (2000, "2s"),
            (61_500, "1m1.5s"),
        ] {
            assert_eq!(display(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn credentials_fit_their_registry() {
        let auth = base64::engine::general_purpose::STANDARD.encode("me:secret");
        let config = format!(
            r#"{{"auths":{{"https://localhost:5000/v1/":{{"auth":"{auth}"}},"other.org":{{}}}}}}"#
        );
        let content = BTreeMap::from([(".dockerconfigjson".to_owned(), config.into_bytes())]);
        let found = fitting(&content, "localhost:5000/a:1");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].username.as_str(), found[0].password.as_str()),
            ("me", "secret")
        );
    }
}
