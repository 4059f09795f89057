//! The actions of a plan, carried out. Each is a task of its own, may be repeated, and
//! leaves whatever it made where the next look at the runtime finds it.

use super::{config, hooks};
use crate::context::Context;
use crate::images;
use crate::objects::{Key, Kind};
use crate::volumes::{Mounted, blocking};
use fluyt_cri::{
    CreateContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest,
    StopPodSandboxRequest,
};
use fluyt_kubelet_core::model::{self, Observed, Sandbox};
use fluyt_kubelet_core::plan::Start;
use fluyt_kubelet_core::{env, files, names, termination};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Why a container did not start: as its status shows it, and when to try again
/// (`None`: after the usual delay).
#[derive(Clone, Debug)]
pub(crate) struct StartError {
    pub reason: &'static str,
    pub message: String,
    pub retry_at: Option<Timestamp>,
}

impl StartError {
    /// The container was created: its failure is a restart like any other end of it.
    pub fn left_container(&self) -> bool {
        matches!(self.reason, "RunContainerError" | "PostStartHookError")
    }
}

/// Stops what is left of older sandboxes and creates a new one.
pub(crate) async fn create_sandbox(
    context: Arc<Context>,
    pod: Arc<Pod>,
    attempt: u32,
    older: Vec<String>,
) -> Result<(), String> {
    for id in older {
        stop_sandbox(&context, &id).await?;
    }
    let logs = names::pod_log_directory(&context.settings.logs, &pod);
    let directory = context.pod_directory(model::uid(&pod));
    let values = fluyt_kubelet_core::resources::of_pod(&pod);
    let cgroup = fluyt_kubelet_core::resources::cgroup_path(&context.settings.cgroup_root, &pod);
    blocking(move || {
        for path in [&logs, &directory] {
            std::fs::create_dir_all(path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        crate::cgroups::create_pod(&cgroup, &values);
        Ok(())
    })
    .await?;
    let request = RunPodSandboxRequest {
        config: Some(config::sandbox(&context, &pod, attempt)),
        runtime_handler: String::new(),
    };
    context
        .cri
        .run_pod_sandbox(request)
        .await
        .map(drop)
        .map_err(|error| {
            let message = format!("Failed to create pod sandbox: {error}");
            context.event(&pod, None, true, "FailedCreatePodSandBox", message.clone());
            message
        })
}

pub(crate) async fn stop_sandbox(context: &Context, id: &str) -> Result<(), String> {
    let request = StopPodSandboxRequest {
        pod_sandbox_id: id.to_owned(),
    };
    match context.cri.stop_pod_sandbox(request).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Removes a sandbox and the containers in it.
pub(crate) async fn remove_sandbox(context: &Context, id: &str) -> Result<(), String> {
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: id.to_owned(),
    };
    match context.cri.remove_pod_sandbox(request).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Everything that starting a container needs.
pub(crate) struct StartInput {
    pub context: Arc<Context>,
    pub pod: Arc<Pod>,
    pub start: Start,
    pub sandbox: Sandbox,
    pub mounted: Mounted,
    /// The container that an ephemeral one looks into.
    pub target: Option<String>,
    /// Notified when a config map or secret changes.
    pub objects_changed: Arc<Notify>,
}

/// Image, environment, create, start, hook.
pub(crate) async fn start_container(input: StartInput) -> Result<(), StartError> {
    let (context, pod, spec) = (&input.context, &input.pod, &input.start.spec);
    let image = images::ensure(context, pod, spec, &input.objects_changed)
        .await
        .map_err(|unready| StartError {
            reason: unready.reason,
            message: unready.message,
            retry_at: Some(unready.retry_at),
        })?;
    let fail = |reason: &'static str, message: String| {
        context.event(
            pod,
            Some(&spec.name),
            true,
            "Failed",
            format!("Error: {message}"),
        );
        StartError {
            reason,
            message,
            retry_at: None,
        }
    };
    let config = describe(&input, &image)
        .await
        .map_err(|message| fail("CreateContainerConfigError", message))?;
    let request = CreateContainerRequest {
        pod_sandbox_id: input.sandbox.id.clone(),
        config: Some(config),
        sandbox_config: Some(config::sandbox(context, pod, input.sandbox.attempt)),
    };
    let created = context.cri.create_container(request).await;
    let id = created
        .map_err(|error| fail("CreateContainerError", error.message()))?
        .container_id;
    context.event(
        pod,
        Some(&spec.name),
        false,
        "Created",
        "Container created".to_owned(),
    );
    let request = StartContainerRequest {
        container_id: id.clone(),
    };
    if let Err(error) = context.cri.start_container(request).await {
        return Err(fail("RunContainerError", error.message()));
    }
    context.event(
        pod,
        Some(&spec.name),
        false,
        "Started",
        "Container started".to_owned(),
    );
    after_start(&input, &id).await
}

/// The postStart hook; a container whose hook fails is stopped.
async fn after_start(input: &StartInput, id: &str) -> Result<(), StartError> {
    let (context, pod, spec) = (&input.context, &input.pod, &input.start.spec);
    let Some(hook) = spec
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.post_start.as_ref())
    else {
        return Ok(());
    };
    let address = input.sandbox.ips.first().cloned();
    if let Err(error) = hooks::run(context, spec, id, address.as_deref(), hook).await {
        tracing::debug!(container = spec.name, error, "the postStart hook failed");
        context.event(
            pod,
            Some(&spec.name),
            true,
            "FailedPostStartHook",
            "PostStartHook failed".to_owned(),
        );
        stop_container(context, pod, id, &spec.name, "FailedPostStartHook", Some(0)).await;
        return Err(StartError {
            reason: "PostStartHookError",
            message: error,
            retry_at: None,
        });
    }
    Ok(())
}

/// The container as the runtime wants it; makes the files that it mounts.
async fn describe(
    input: &StartInput,
    image: &images::Ready,
) -> Result<fluyt_cri::ContainerConfig, String> {
    let (context, pod, spec) = (&input.context, &input.pod, &input.start.spec);
    let pod_ips = if model::host_network(pod) {
        context.host_ips.clone()
    } else {
        input.sandbox.ips.clone()
    };
    let references = references(input).await?;
    let links = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let services = context
        .services
        .variables(model::namespace(pod), links, !names::is_static(pod))
        .await?;
    let environment = env::build(pod, spec, &references, &context.facts(&pod_ips), &services)
        .map_err(|error| error.to_string())?;
    let directory = context.pod_directory(model::uid(pod));
    let message_file = directory
        .join("containers")
        .join(&spec.name)
        .join(input.start.restart_count.to_string());
    let hosts_file = directory.join("etc-hosts");
    let hosts = hosts_text(context, pod, &pod_ips);
    let logs = names::pod_log_directory(&context.settings.logs, pod).join(&spec.name);
    let (message, hosts_path) = (message_file.clone(), hosts_file.clone());
    blocking(move || make_files(&message, &hosts_path, &hosts, &logs)).await?;
    config::container(
        context,
        pod,
        &input.start,
        &config::Parts {
            image,
            environment: &environment,
            mounted: &input.mounted,
            hosts: Some(&hosts_file),
            message_file: &message_file,
            target: input.target.as_deref(),
        },
    )
}

fn make_files(
    message: &PathBuf,
    hosts: &PathBuf,
    text: &str,
    logs: &PathBuf,
) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let error = |path: &PathBuf, error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(logs).map_err(|e| error(logs, e))?;
    if let Some(parent) = message.parent() {
        std::fs::create_dir_all(parent).map_err(|e| error(message, e))?;
    }
    std::fs::write(message, "").map_err(|e| error(message, e))?;
    // The container may run as anyone.
    std::fs::set_permissions(message, std::fs::Permissions::from_mode(0o666))
        .map_err(|e| error(message, e))?;
    if std::fs::read_to_string(hosts).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(hosts, text).map_err(|e| error(hosts, e))
}

fn hosts_text(context: &Context, pod: &Pod, ips: &[String]) -> String {
    let aliases = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.host_aliases.clone())
        .unwrap_or_default();
    if model::host_network(pod) {
        let node = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        return files::host_network_hosts(&node, &aliases);
    }
    let (host, domain) = files::hostname(pod, &context.settings.dns.domain);
    files::hosts(ips, &host, domain.as_deref(), &aliases)
}

/// The config maps and secrets that the environment refers to.
async fn references(input: &StartInput) -> Result<env::References, String> {
    let (context, pod) = (&input.context, &input.pod);
    let mut found = env::References::default();
    for (kind, name) in referenced(&input.start.spec) {
        let key = Key {
            kind,
            namespace: model::namespace(pod).to_owned(),
            name: name.clone(),
        };
        let content = context
            .objects
            .get(&key, model::uid(pod), &input.objects_changed)
            .await?;
        let text = content.map(|content| {
            let entries = content.iter();
            entries
                .map(|(key, bytes)| (key.clone(), String::from_utf8_lossy(bytes).into_owned()))
                .collect()
        });
        match kind {
            Kind::ConfigMap => found.config_maps.insert(name, text),
            Kind::Secret => found.secrets.insert(name, text),
        };
    }
    Ok(found)
}

fn referenced(container: &Container) -> BTreeSet<(Kind, String)> {
    let mut found = BTreeSet::new();
    for source in container.env_from.iter().flatten() {
        found.extend(
            source
                .config_map_ref
                .iter()
                .map(|r| (Kind::ConfigMap, r.name.clone())),
        );
        found.extend(
            source
                .secret_ref
                .iter()
                .map(|r| (Kind::Secret, r.name.clone())),
        );
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        found.extend(
            source
                .config_map_key_ref
                .iter()
                .map(|r| (Kind::ConfigMap, r.name.clone())),
        );
        found.extend(
            source
                .secret_key_ref
                .iter()
                .map(|r| (Kind::Secret, r.name.clone())),
        );
    }
    found
}

/// Stops a container: its preStop hook, SIGTERM, SIGKILL when the grace period is over.
pub(crate) async fn stop_container(
    context: &Context,
    pod: &Pod,
    id: &str,
    name: &str,
    message: &str,
    grace_seconds: Option<i64>,
) {
    context.event(pod, Some(name), false, "Killing", message.to_owned());
    let grace = grace_seconds.unwrap_or_else(|| termination::grace_seconds(pod));
    let began = Instant::now();
    if grace > 0
        && let Some((_, spec)) = model::find_container(pod, name)
        && let Some(hook) = spec
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref())
    {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let limit = std::time::Duration::from_secs(grace.unsigned_abs());
        let ran = tokio::time::timeout(
            limit,
            hooks::run(context, &spec, id, address.as_deref(), hook),
        )
        .await;
        if let Ok(Err(error)) = ran {
            tracing::debug!(container = name, error, "the preStop hook failed");
            context.event(
                pod,
                Some(name),
                true,
                "FailedPreStopHook",
                "PreStopHook failed".to_owned(),
            );
        }
    }
    let spent = i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
    let left = termination::remaining_seconds(grace, spent);
    if let Err(error) = context.cri.stop_container(id, left).await
        && !error.is_not_found()
    {
        tracing::warn!(container = name, pod = %model::describe(pod), %error, "cannot stop the container");
    }
}

/// Stops everything of a pod, in order.
pub(crate) async fn terminate(
    context: Arc<Context>,
    pod: Arc<Pod>,
    observed: Observed,
    grace_seconds: i64,
) -> Result<(), String> {
    let deadline = Timestamp::now() + SignedDuration::from_secs(grace_seconds);
    for stage in termination::stages(&pod, &observed) {
        let left = deadline.duration_since(Timestamp::now()).as_secs();
        let left = if grace_seconds == 0 {
            0
        } else {
            left.max(termination::LEAST_GRACE_SECONDS)
        };
        let stops = stage.iter().map(|id| {
            let name = observed
                .containers
                .iter()
                .find(|c| c.id == *id)
                .map(|c| c.name.clone())
                .unwrap_or_default();
            let (context, pod) = (&context, &pod);
            async move {
                let message = format!("Stopping container {name}");
                stop_container(context, pod, id, &name, &message, Some(left)).await;
            }
        });
        futures::future::join_all(stops).await;
    }
    for sandbox in observed.sandboxes.iter().filter(|sandbox| sandbox.ready) {
        stop_sandbox(&context, &sandbox.id).await?;
    }
    Ok(())
}

/// Removes every trace of a pod from the node: containers, logs, volumes, cgroups.
pub(crate) async fn remove_traces(
    context: &Arc<Context>,
    pod: &Pod,
    observed: &Observed,
) -> Result<(), String> {
    for sandbox in &observed.sandboxes {
        remove_sandbox(context, &sandbox.id).await?;
    }
    let uid = model::uid(pod).to_owned();
    context.objects.release(&uid);
    let directory = context.pod_directory(&uid);
    let logs = names::pod_log_directory(&context.settings.logs, pod);
    let cgroup = fluyt_kubelet_core::resources::cgroup_path(&context.settings.cgroup_root, pod);
    blocking(move || {
        let _ = std::fs::remove_dir_all(&logs);
        crate::cgroups::remove(&cgroup);
        crate::volumes::remove_pod_directory(&directory, &uid)
    })
    .await
}
