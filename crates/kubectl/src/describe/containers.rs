//! The containers of a pod or of a pod template.

use super::writer::Writer;
use crate::object::Object;
use crate::printers::custom_columns::go_value;
use crate::text::{goquote::quote, time};
use fluyt_api::quantity::Quantity;
use serde_json::Value;

/// Where a container list is shown: in a pod, with states, or in a template, a level further in.
pub(crate) struct Place<'a> {
    pub(crate) label: &'a str,
    pub(crate) statuses: &'a [Value],
    /// The pod whose fields environment variables may refer to.
    pub(crate) pod: Option<&'a Value>,
    /// Two spaces in a template.
    pub(crate) space: &'a str,
}

pub(crate) fn describe(w: &mut Writer, containers: &[Value], place: &Place<'_>) {
    let none = if containers.is_empty() { " <none>" } else { "" };
    w.line(0, format!("{}{}:{none}", place.space, place.label));
    for container in containers {
        let status = place
            .statuses
            .iter()
            .find(|status| status["name"] == container["name"]);
        basics(w, container, status, place.space);
        command(w, container);
        if let Some(status) = status {
            state(w, status);
        }
        resources(w, &container["resources"], 2);
        for (label, field) in [
            ("Liveness", "livenessProbe"),
            ("Readiness", "readinessProbe"),
            ("Startup", "startupProbe"),
        ] {
            if container[field].is_object() {
                w.field(2, label, probe(&container[field]));
            }
        }
        environment_sources(w, container);
        environment(w, container, place.pod);
        mounts(w, container);
    }
}

fn basics(w: &mut Writer, container: &Value, status: Option<&Value>, space: &str) {
    let indent = if space.is_empty() { "" } else { " " };
    w.line(1, format!("{indent}{}:", container.text("name")));
    if let Some(status) = status {
        w.field(2, "Container ID", status.text("containerID"));
    }
    w.field(2, "Image", container.text("image"));
    if let Some(status) = status {
        w.field(2, "Image ID", status.text("imageID"));
    }
    for (one, several, field) in [
        ("Port", "Ports", "containerPort"),
        ("Host Port", "Host Ports", "hostPort"),
    ] {
        let ports = ports(container.list("ports"), field);
        match ports.as_str() {
            "" => w.field(2, one, "<none>"),
            ports if ports.contains(',') => w.field(2, several, ports),
            ports => w.field(2, one, ports),
        }
    }
    let seccomp = container.at("securityContext.seccompProfile");
    if seccomp.is_object() {
        w.field(2, "SeccompProfile", seccomp.text("type"));
        if seccomp.text("type") == "Localhost" {
            w.field(3, "LocalhostProfile", seccomp.text("localhostProfile"));
        }
    }
}

fn ports(list: &[Value], field: &str) -> String {
    let texts: Vec<String> = list
        .iter()
        .map(|port| {
            let text = format!("{}/{}", port.number(field), port.text("protocol"));
            match port.text("name") {
                "" => text,
                name => format!("{text} ({name})"),
            }
        })
        .collect();
    texts.join(", ")
}

fn command(w: &mut Writer, container: &Value) {
    for (label, field) in [("Command", "command"), ("Args", "args")] {
        let words = container.list(field);
        if words.is_empty() {
            continue;
        }
        w.line(2, format!("{label}:"));
        for line in words
            .iter()
            .filter_map(Value::as_str)
            .flat_map(|word| word.split('\n'))
        {
            w.line(3, line);
        }
    }
}

pub(crate) fn resources(w: &mut Writer, resources: &Value, level: usize) {
    for (label, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let pairs = super::parts::map_pairs(&resources[field]);
        if pairs.is_empty() {
            continue;
        }
        w.line(level, format!("{label}:"));
        for (name, quantity) in pairs {
            w.field(level + 1, name, quantity);
        }
    }
}

fn state(w: &mut Writer, status: &Value) {
    one_state(w, "State", &status["state"]);
    if status.at("lastState.terminated").is_object() {
        one_state(w, "Last State", &status["lastState"]);
    }
    w.field(
        2,
        "Ready",
        if status["ready"] == true {
            "True"
        } else {
            "False"
        },
    );
    w.field(2, "Restart Count", status.number("restartCount"));
}

fn one_state(w: &mut Writer, label: &str, state: &Value) {
    if state["running"].is_object() {
        w.field(2, label, "Running");
        w.field(3, "Started", time::rfc1123z(state.at("running.startedAt")));
    } else if state["terminated"].is_object() {
        let terminated = &state["terminated"];
        w.field(2, label, "Terminated");
        w.field_if(3, "Reason", terminated.text("reason"));
        w.field_if(3, "Message", terminated.text("message"));
        w.field(3, "Exit Code", terminated.number("exitCode"));
        if terminated.number("signal") > 0 {
            w.field(3, "Signal", terminated.number("signal"));
        }
        w.field(3, "Started", time::rfc1123z(&terminated["startedAt"]));
        w.field(3, "Finished", time::rfc1123z(&terminated["finishedAt"]));
    } else {
        w.field(2, label, "Waiting");
        w.field_if(3, "Reason", state.text("waiting.reason"));
    }
}

fn probe(probe: &Value) -> String {
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        probe.number("initialDelaySeconds"),
        probe.number("timeoutSeconds"),
        probe.number("periodSeconds"),
        probe.number("successThreshold"),
        probe.number("failureThreshold")
    );
    let port = |action: &str| match &probe[action]["port"] {
        Value::String(name) => name.clone(),
        number => number.to_string(),
    };
    if probe["exec"].is_object() {
        format!("exec {} {attributes}", go_value(probe.at("exec.command")))
    } else if probe["httpGet"].is_object() {
        let get = &probe["httpGet"];
        let path = get.text("path");
        let slash = if path.is_empty() || path.starts_with('/') {
            ""
        } else {
            "/"
        };
        format!(
            "http-get {}://{}:{}{slash}{path} {attributes}",
            get.text("scheme").to_lowercase(),
            get.text("host"),
            port("httpGet")
        )
    } else if probe["tcpSocket"].is_object() {
        format!(
            "tcp-socket {}:{} {attributes}",
            probe.text("tcpSocket.host"),
            port("tcpSocket")
        )
    } else if probe["grpc"].is_object() {
        format!(
            "grpc <pod>:{} {} {attributes}",
            port("grpc"),
            probe.text("grpc.service")
        )
    } else {
        format!("unknown {attributes}")
    }
}

fn environment_sources(w: &mut Writer, container: &Value) {
    let sources = container.list("envFrom");
    if sources.is_empty() {
        return;
    }
    w.line(2, "Environment Variables from:");
    for source in sources {
        let (kind, reference) = if source["configMapRef"].is_object() {
            ("ConfigMap", &source["configMapRef"])
        } else {
            ("Secret", &source["secretRef"])
        };
        let optional = reference["optional"] == true;
        let name = reference.text("name");
        match source.text("prefix") {
            "" => w.line(3, format!("{name}\t{kind}\tOptional: {optional}")),
            prefix => w.line(
                3,
                format!("{name}\t{kind} with prefix '{prefix}'\tOptional: {optional}"),
            ),
        }
    }
}

fn environment(w: &mut Writer, container: &Value, pod: Option<&Value>) {
    let variables = container.list("env");
    let none = if variables.is_empty() { "\t<none>" } else { "" };
    w.line(2, format!("Environment:{none}"));
    for variable in variables {
        let name = variable.text("name");
        let from = &variable["valueFrom"];
        if from["fieldRef"].is_object() {
            let path = from.text("fieldRef.fieldPath");
            let value = pod.map(|pod| pod_field(pod, path)).unwrap_or_default();
            let version = from.text("fieldRef.apiVersion");
            w.line(3, format!("{name}:\t{value} ({version}:{path})"));
        } else if from["resourceFieldRef"].is_object() {
            let resource = from.text("resourceFieldRef.resource");
            w.line(
                3,
                format!(
                    "{name}:\t{} ({resource})",
                    resource_field(container, &from["resourceFieldRef"])
                ),
            );
        } else if from["secretKeyRef"].is_object() {
            let reference = &from["secretKeyRef"];
            w.line(
                3,
                format!(
                    "{name}:\t<set to the key '{}' in secret '{}'>\tOptional: {}",
                    reference.text("key"),
                    reference.text("name"),
                    reference["optional"] == true
                ),
            );
        } else if from["configMapKeyRef"].is_object() {
            let reference = &from["configMapKeyRef"];
            w.line(
                3,
                format!(
                    "{name}:\t<set to the key '{}' of config map '{}'>\tOptional: {}",
                    reference.text("key"),
                    reference.text("name"),
                    reference["optional"] == true
                ),
            );
        } else if from.is_null() {
            for (index, line) in variable.text("value").split('\n').enumerate() {
                let label = if index == 0 {
                    format!("{name}:")
                } else {
                    String::new()
                };
                w.line(3, format!("{label}\t{line}"));
            }
        }
    }
}

/// What the downward API would give for a path.
fn pod_field(pod: &Value, path: &str) -> String {
    if let Some((map, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        return pod.at(map)[key].as_str().unwrap_or_default().to_owned();
    }
    match path {
        "status.podIPs" | "status.hostIPs" => {
            let ips: Vec<&str> = pod.list(path).iter().map(|ip| ip.text("ip")).collect();
            ips.join(",")
        }
        "metadata.labels" | "metadata.annotations" => super::parts::map_pairs(pod.at(path))
            .iter()
            .map(|(key, value)| format!("{key}={}", quote(value)))
            .collect::<Vec<_>>()
            .join("\n"),
        path => pod.text(path).to_owned(),
    }
}

fn resource_field(container: &Value, reference: &Value) -> String {
    let resource = reference.text("resource");
    let (kind, name) = resource.split_once('.').unwrap_or((resource, ""));
    let quantity = |text: &str| Quantity::parse(text).ok();
    let amount = quantity(container["resources"][kind][name].as_str().unwrap_or("0"));
    let divisor = match reference.text("divisor") {
        "" | "0" => quantity("1"),
        divisor => quantity(divisor),
    };
    let (Some(amount), Some(divisor)) = (amount, divisor) else {
        return String::new();
    };
    let value = if name == "cpu" {
        ceil_div(amount.milli_value(), divisor.milli_value())
    } else {
        ceil_div(amount.value(), divisor.value())
    };
    if value == 0 && matches!(resource, "limits.cpu" | "limits.memory") {
        return "node allocatable".to_owned();
    }
    value.to_string()
}

fn ceil_div(amount: i64, divisor: i64) -> i64 {
    if divisor <= 0 {
        0
    } else {
        amount.div_euclid(divisor) + i64::from(amount.rem_euclid(divisor) != 0)
    }
}

fn mounts(w: &mut Writer, container: &Value) {
    let mut mounts: Vec<&Value> = container.list("volumeMounts").iter().collect();
    mounts.sort_by_key(|mount| mount.text("mountPath").to_owned());
    let none = if mounts.is_empty() { "\t<none>" } else { "" };
    w.line(2, format!("Mounts:{none}"));
    for mount in mounts {
        let mut flags = if mount["readOnly"] == true {
            "ro"
        } else {
            "rw"
        }
        .to_owned();
        if !mount.text("subPath").is_empty() {
            flags = format!("{flags},path={}", quote(mount.text("subPath")));
        }
        w.line(
            3,
            format!(
                "{} from {} ({flags})",
                mount.text("mountPath"),
                mount.text("name")
            ),
        );
    }
    let devices = container.list("volumeDevices");
    if !devices.is_empty() {
        w.line(2, format!("Devices:{none}"));
        let mut devices: Vec<&Value> = devices.iter().collect();
        devices.sort_by_key(|device| device.text("devicePath").to_owned());
        for device in devices {
            w.line(
                3,
                format!("{} from {}", device.text("devicePath"), device.text("name")),
            );
        }
    }
}
