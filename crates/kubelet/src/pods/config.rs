//! Sandboxes and containers as the runtime wants them described.

use crate::context::Context;
use crate::images;
use crate::volumes::{self, Mounted};
use fluyt_cri as cri;
use fluyt_kubelet_core::plan::Start;
use fluyt_kubelet_core::security::{self, Effective, Seccomp};
use fluyt_kubelet_core::{env, files, model, names, qos, resources};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A pod's sandbox.
pub(crate) fn sandbox(context: &Context, pod: &Pod, attempt: u32) -> cri::PodSandboxConfig {
    let dns = files::dns(pod, &context.settings.dns, &context.host_dns);
    let (hostname, _) = files::hostname(pod, &context.settings.dns.domain);
    // With the network of the node comes its host name, which a pod cannot set.
    let hostname = if model::host_network(pod) {
        String::new()
    } else {
        hostname
    };
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: model::name(pod).to_owned(),
            uid: model::uid(pod).to_owned(),
            namespace: model::namespace(pod).to_owned(),
            attempt,
        }),
        hostname,
        log_directory: names::pod_log_directory(&context.settings.logs, pod)
            .to_string_lossy()
            .into_owned(),
        dns_config: Some(cri::DNSConfig {
            servers: dns.servers,
            searches: dns.searches,
            options: dns.options,
        }),
        port_mappings: port_mappings(pod),
        labels: pod_labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        linux: Some(linux_sandbox(context, pod)),
    }
}

fn linux_sandbox(context: &Context, pod: &Pod) -> cri::LinuxPodSandboxConfig {
    let spec = pod.spec.as_ref();
    let security = spec.and_then(|spec| spec.security_context.as_ref());
    let user = |id: Option<i64>| id.map(|value| cri::Int64Value { value });
    let privileged = model::containers(pod)
        .iter()
        .chain(model::init_containers(pod))
        .any(|container| security::effective(pod, container).privileged);
    let sysctls = security
        .and_then(|security| security.sysctls.as_ref())
        .into_iter()
        .flatten();
    cri::LinuxPodSandboxConfig {
        cgroup_parent: resources::cgroup_path(&context.settings.cgroup_root, pod),
        security_context: Some(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces(pod, cri::NamespaceMode::Pod)),
            run_as_user: user(security.and_then(|security| security.run_as_user)),
            run_as_group: user(security.and_then(|security| security.run_as_group)),
            supplemental_groups: security::supplemental_groups(pod),
            privileged,
            seccomp: Some(profile(context, &Seccomp::RuntimeDefault)),
            ..cri::LinuxSandboxSecurityContext::default()
        }),
        sysctls: sysctls
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
        ..cri::LinuxPodSandboxConfig::default()
    }
}

fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.insert(names::POD_NAME.to_owned(), model::name(pod).to_owned());
    labels.insert(
        names::POD_NAMESPACE.to_owned(),
        model::namespace(pod).to_owned(),
    );
    labels.insert(names::POD_UID.to_owned(), model::uid(pod).to_owned());
    labels
}

fn port_mappings(pod: &Pod) -> Vec<cri::PortMapping> {
    let all = model::containers(pod).iter().chain(
        model::init_containers(pod)
            .iter()
            .filter(|c| model::is_sidecar(c)),
    );
    let ports = all.flat_map(|container| container.ports.iter().flatten());
    // With the node's network there is nothing to forward.
    let ports = ports
        .filter(|port| port.host_port.is_some_and(|port| port > 0) && !model::host_network(pod));
    ports
        .map(|port| cri::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => cri::Protocol::Udp as i32,
                Some("SCTP") => cri::Protocol::Sctp as i32,
                _ => cri::Protocol::Tcp as i32,
            },
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

/// Which namespaces are the node's, the pod's, the container's own.
fn namespaces(pod: &Pod, own_pid: cri::NamespaceMode) -> cri::NamespaceOption {
    let spec = pod.spec.as_ref();
    let is = |flag: Option<bool>| flag == Some(true);
    let node = cri::NamespaceMode::Node as i32;
    let shared = cri::NamespaceMode::Pod as i32;
    let pid = if spec.is_some_and(|spec| is(spec.host_pid)) {
        node
    } else if spec.is_some_and(|spec| is(spec.share_process_namespace)) {
        shared
    } else {
        own_pid as i32
    };
    cri::NamespaceOption {
        network: if model::host_network(pod) {
            node
        } else {
            shared
        },
        pid,
        ipc: if spec.is_some_and(|spec| is(spec.host_ipc)) {
            node
        } else {
            shared
        },
        ..cri::NamespaceOption::default()
    }
}

/// What a container's description needs besides its specification.
pub(crate) struct Parts<'a> {
    pub image: &'a images::Ready,
    pub environment: &'a [(String, String)],
    pub mounted: &'a Mounted,
    /// The pod's /etc/hosts, if it has one.
    pub hosts: Option<&'a Path>,
    /// Where the container leaves its last words.
    pub message_file: &'a Path,
    /// The container whose processes an ephemeral one sees.
    pub target: Option<&'a str>,
}

/// A container of a pod.
pub(crate) fn container(
    context: &Context,
    pod: &Pod,
    start: &Start,
    parts: &Parts<'_>,
) -> Result<cri::ContainerConfig, String> {
    let spec = &start.spec;
    let effective = security::effective(pod, spec);
    security::check_non_root(
        &effective,
        &model::describe(pod),
        &spec.name,
        parts.image.user,
        &parts.image.user_name,
    )?;
    let key_value = |(key, value): &(String, String)| cri::KeyValue {
        key: key.clone(),
        value: value.clone().into_bytes(),
    };
    Ok(cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: spec.name.clone(),
            attempt: start.restart_count,
        }),
        image: Some(cri::ImageSpec {
            image: parts.image.reference.clone(),
            user_specified_image: spec.image.clone().unwrap_or_default(),
            ..cri::ImageSpec::default()
        }),
        command: env::expand_all(spec.command.as_ref(), parts.environment),
        args: env::expand_all(spec.args.as_ref(), parts.environment),
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        envs: parts.environment.iter().map(key_value).collect(),
        mounts: mounts(spec, parts)?,
        labels: container_labels(pod, spec),
        annotations: annotations(pod, start),
        log_path: names::container_log(&spec.name, start.restart_count),
        stdin: spec.stdin.unwrap_or(false),
        stdin_once: spec.stdin_once.unwrap_or(false),
        tty: spec.tty.unwrap_or(false),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(linux_resources(context, pod, spec)),
            security_context: Some(security_context(context, pod, &effective, parts.target)),
        }),
        ..cri::ContainerConfig::default()
    })
}

fn container_labels(pod: &Pod, spec: &Container) -> BTreeMap<String, String> {
    [
        (names::CONTAINER_NAME, spec.name.as_str()),
        (names::POD_NAME, model::name(pod)),
        (names::POD_NAMESPACE, model::namespace(pod)),
        (names::POD_UID, model::uid(pod)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

fn annotations(pod: &Pod, start: &Start) -> BTreeMap<String, String> {
    let spec = &start.spec;
    let grace = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds)
        .unwrap_or(30);
    [
        (names::CONTAINER_HASH, names::container_hash(spec)),
        (names::RESTART_COUNT, start.restart_count.to_string()),
        (names::MESSAGE_PATH, message_path(spec).to_owned()),
        (
            names::MESSAGE_POLICY,
            spec.termination_message_policy
                .clone()
                .unwrap_or_else(|| "File".to_owned()),
        ),
        (names::POD_GRACE_PERIOD, grace.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn message_path(spec: &Container) -> &str {
    spec.termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/dev/termination-log")
}

fn mounts(spec: &Container, parts: &Parts<'_>) -> Result<Vec<cri::Mount>, String> {
    let mut mounts = Vec::new();
    for mount in spec.volume_mounts.iter().flatten() {
        let Some(volume) = parts.mounted.paths.get(&mount.name) else {
            return Err(format!(
                "cannot find volume {:?} to mount into container {:?}",
                mount.name, spec.name
            ));
        };
        mounts.push(cri::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: source(volume, mount, parts)?.to_string_lossy().into_owned(),
            readonly: mount.read_only.unwrap_or(false),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => cri::MountPropagation::HostToContainer as i32,
                Some("Bidirectional") => cri::MountPropagation::Bidirectional as i32,
                _ => cri::MountPropagation::Private as i32,
            },
            ..cri::Mount::default()
        });
    }
    let extra = [
        (parts.hosts, "/etc/hosts"),
        (Some(parts.message_file), message_path(spec)),
    ];
    for (host_path, container_path) in extra {
        let Some(host_path) = host_path else { continue };
        // What the pod mounts there itself comes first.
        if mounts
            .iter()
            .all(|mount| mount.container_path != container_path)
        {
            mounts.push(cri::Mount {
                container_path: container_path.to_owned(),
                host_path: host_path.to_string_lossy().into_owned(),
                ..cri::Mount::default()
            });
        }
    }
    Ok(mounts)
}

fn source(
    volume: &Path,
    mount: &k8s_openapi::api::core::v1::VolumeMount,
    parts: &Parts<'_>,
) -> Result<PathBuf, String> {
    let lookup = |name: &str| {
        parts
            .environment
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let sub_path = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => env::expand(expression, lookup),
        (_, Some(path)) if !path.is_empty() => path.clone(),
        _ => return Ok(volume.to_owned()),
    };
    volumes::within(volume, &sub_path)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn linux_resources(context: &Context, pod: &Pod, spec: &Container) -> cri::LinuxContainerResources {
    let values = resources::of_container(spec);
    cri::LinuxContainerResources {
        cpu_period: values.cpu_period_us,
        cpu_quota: values.cpu_quota_us,
        cpu_shares: values.cpu_shares,
        memory_limit_in_bytes: values.memory_limit_bytes,
        oom_score_adj: qos::oom_score_adj(pod, spec, context.memory_bytes),
        ..cri::LinuxContainerResources::default()
    }
}

fn security_context(
    context: &Context,
    pod: &Pod,
    effective: &Effective,
    target: Option<&str>,
) -> cri::LinuxContainerSecurityContext {
    let id = |value: Option<i64>| value.map(|value| cri::Int64Value { value });
    let hidden = |paths: &[&str]| -> Vec<String> {
        let open = effective.privileged || effective.unmasked_proc;
        if open {
            Vec::new()
        } else {
            paths.iter().map(|path| (*path).to_owned()).collect()
        }
    };
    let mut options = namespaces(pod, cri::NamespaceMode::Container);
    if let Some(target) = target {
        options.pid = cri::NamespaceMode::Target as i32;
        options.target_id = target.to_owned();
    }
    cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: effective.add_capabilities.clone(),
            drop_capabilities: effective.drop_capabilities.clone(),
            ..cri::Capability::default()
        }),
        privileged: effective.privileged,
        namespace_options: Some(options),
        run_as_user: id(effective.run_as_user),
        run_as_group: id(effective.run_as_group),
        readonly_rootfs: effective.read_only_root,
        supplemental_groups: effective.supplemental_groups.clone(),
        no_new_privs: effective.no_new_privileges,
        masked_paths: hidden(&security::MASKED_PATHS),
        readonly_paths: hidden(&security::READ_ONLY_PATHS),
        seccomp: Some(profile(context, &effective.seccomp)),
        ..cri::LinuxContainerSecurityContext::default()
    }
}

fn profile(context: &Context, seccomp: &Seccomp) -> cri::SecurityProfile {
    let (kind, path) = match seccomp {
        Seccomp::Unconfined => (cri::ProfileType::Unconfined, String::new()),
        Seccomp::RuntimeDefault => (cri::ProfileType::RuntimeDefault, String::new()),
        Seccomp::Localhost(path) => {
            let path = context.settings.root.join("seccomp").join(path);
            (
                cri::ProfileType::Localhost,
                path.to_string_lossy().into_owned(),
            )
        }
    };
    cri::SecurityProfile {
        profile_type: kind as i32,
        localhost_ref: path,
    }
}
