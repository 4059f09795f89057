//! What pods use, as the runtime measures it, and a few numbers about the kubelet.

use super::Server;
use fluyt_cri::{ContainerStats, ListContainerStatsRequest};
use fluyt_kubelet_core::model::State;
use fluyt_kubelet_core::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Numbers about the kubelet itself, in the text format that Prometheus reads.
pub(super) fn metrics(server: &Server) -> String {
    let handles = server.handles.read();
    let (mut sandboxes, mut running, mut exited) = (0, 0, 0);
    for handle in handles.values() {
        let observed = handle.observed.read();
        sandboxes += observed
            .sandboxes
            .iter()
            .filter(|sandbox| sandbox.ready)
            .count();
        running += observed
            .containers
            .iter()
            .filter(|container| container.state == State::Running)
            .count();
        exited += observed
            .containers
            .iter()
            .filter(|container| container.state == State::Exited)
            .count();
    }
    let node = &server.context.settings.node_name;
    let started = server.context.started_at.as_second();
    format!(
        "# TYPE kubelet_node_name gauge\nkubelet_node_name{{node=\"{node}\"}} 1\n\
         # TYPE kubelet_running_pods gauge\nkubelet_running_pods {sandboxes}\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"running\"}} {running}\n\
         kubelet_running_containers{{container_state=\"exited\"}} {exited}\n\
         # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}\n\
         # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n",
        resident_bytes()
    )
}

/// This process's resident memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

async fn containers(server: &Server) -> Vec<ContainerStats> {
    let answer = server
        .context
        .cri
        .list_container_stats(ListContainerStatsRequest::default())
        .await;
    answer.map(|answer| answer.stats).unwrap_or_default()
}

/// Where a container's numbers belong.
fn owner(stats: &ContainerStats) -> Option<(String, String, String, String)> {
    let labels = &stats.attributes.as_ref()?.labels;
    let label = |name: &str| labels.get(name).cloned();
    Some((
        label(names::POD_NAMESPACE)?,
        label(names::POD_NAME)?,
        label(names::POD_UID)?,
        label(names::CONTAINER_NAME)?,
    ))
}

fn cpu_nanoseconds(stats: &ContainerStats) -> u64 {
    let cpu = stats
        .cpu
        .as_ref()
        .and_then(|cpu| cpu.usage_core_nano_seconds.as_ref());
    cpu.map_or(0, |cpu| cpu.value)
}

fn working_set_bytes(stats: &ContainerStats) -> u64 {
    let memory = stats
        .memory
        .as_ref()
        .and_then(|memory| memory.working_set_bytes.as_ref());
    memory.map_or(0, |memory| memory.value)
}

/// Use of containers in the text format.
pub(super) async fn resource_metrics(server: &Server) -> String {
    let mut text = String::from("# TYPE container_cpu_usage_seconds_total counter\n");
    let all = containers(server).await;
    for stats in &all {
        if let Some((namespace, pod, _, container)) = owner(stats) {
            let seconds = cpu_nanoseconds(stats) as f64 / 1e9;
            let labels =
                format!("container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"");
            let _ = writeln!(
                text,
                "container_cpu_usage_seconds_total{{{labels}}} {seconds}"
            );
        }
    }
    text.push_str("# TYPE container_memory_working_set_bytes gauge\n");
    for stats in &all {
        if let Some((namespace, pod, _, container)) = owner(stats) {
            let labels =
                format!("container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"");
            let _ = writeln!(
                text,
                "container_memory_working_set_bytes{{{labels}}} {}",
                working_set_bytes(stats)
            );
        }
    }
    text
}

/// The summary that monitoring reads: the node and its pods.
pub(super) async fn summary(server: &Server) -> Value {
    let now = jiff::Timestamp::now().to_string();
    let mut pods: BTreeMap<(String, String, String), Vec<Value>> = BTreeMap::new();
    let (mut cpu, mut memory) = (0, 0);
    for stats in containers(server).await {
        let Some((namespace, pod, uid, container)) = owner(&stats) else {
            continue;
        };
        cpu += cpu_nanoseconds(&stats);
        memory += working_set_bytes(&stats);
        pods.entry((namespace, pod, uid)).or_default().push(json!({
            "name": container,
            "cpu": {"time": now, "usageCoreNanoSeconds": cpu_nanoseconds(&stats)},
            "memory": {"time": now, "workingSetBytes": working_set_bytes(&stats)},
        }));
    }
    let pods: Vec<Value> = pods
        .into_iter()
        .map(|((namespace, name, uid), containers)| {
            json!({"podRef": {"name": name, "namespace": namespace, "uid": uid}, "containers": containers})
        })
        .collect();
    json!({
        "node": {
            "nodeName": server.context.settings.node_name,
            "startTime": server.context.started_at.to_string(),
            "cpu": {"time": now, "usageCoreNanoSeconds": cpu},
            "memory": {"time": now, "workingSetBytes": memory},
        },
        "pods": pods,
    })
}
