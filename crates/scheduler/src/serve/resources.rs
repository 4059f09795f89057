//! /metrics/resources: what the pods of the cluster ask for and may use at most (kube_pod_resource_request, ..._limit).
//!
//! The scheduler's own picture of a pod has no limits, so this asks the API server, page by page, when somebody asks.

use std::collections::BTreeMap;
use std::fmt::Write;

use fluyt_api::quantity::Quantity;
use fluyt_client::kube::{self, Client};
use fluyt_client::rest;
use serde_json::Value;

const PAGE: usize = 500;

pub async fn text(client: &Client) -> Result<String, kube::Error> {
    let mut rows = BTreeMap::from([("request", Vec::new()), ("limit", Vec::new())]);
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/pods?limit={PAGE}&continue={next}");
        let page: Value = rest::get(client, &path).await?;
        for pod in page["items"].as_array().into_iter().flatten() {
            for (kind, rows) in &mut rows {
                rows.extend(lines(pod, kind));
            }
        }
        match page["metadata"]["continue"].as_str() {
            None | Some("") => break,
            Some(more) => more.clone_into(&mut next),
        }
    }
    let mut text = String::new();
    for (kind, rows) in rows {
        let name = format!("kube_pod_resource_{kind}");
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} [STABLE] What pods of the cluster have as {kind}\n# TYPE {name} gauge"
        );
        for row in rows {
            let _ = writeln!(text, "{name}{row}");
        }
    }
    Ok(text)
}

/// A line for every resource of a pod that has not finished.
fn lines(pod: &Value, kind: &str) -> Vec<String> {
    let phase = pod["status"]["phase"].as_str();
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = |resource: &str, unit: &str| {
        let priority = pod["spec"]["priority"].as_i64();
        format!(
            "{{namespace={:?},pod={:?},node={:?},scheduler={:?},priority=\"{}\",resource={resource:?},unit={unit:?}}}",
            text(&pod["metadata"]["namespace"]),
            text(&pod["metadata"]["name"]),
            text(&pod["spec"]["nodeName"]),
            text(&pod["spec"]["schedulerName"]),
            priority.map_or(String::new(), |priority| priority.to_string()),
        )
    };
    let sums = amounts(&pod["spec"], &format!("{kind}s"));
    let line = |(resource, milli): (String, i128)| {
        let unit = match resource.as_str() {
            "cpu" => "cores",
            "memory" | "storage" | "ephemeral-storage" => "bytes",
            name if name.starts_with("hugepages-") => "bytes",
            _ => "integer",
        };
        format!("{} {}", labels(&resource, unit), milli as f64 / 1000.0)
    };
    sums.into_iter().map(line).collect()
}

/// Thousandths by resource: containers together, or the greatest init container, and the overhead.
fn amounts(spec: &Value, kind: &str) -> BTreeMap<String, i128> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    let mut sidecars: BTreeMap<String, i128> = BTreeMap::new();
    let mut greatest: BTreeMap<String, i128> = BTreeMap::new();
    for container in spec["containers"].as_array().into_iter().flatten() {
        add(&mut sums, &container["resources"][kind]);
    }
    for container in spec["initContainers"].as_array().into_iter().flatten() {
        let own = &container["resources"][kind];
        if container["restartPolicy"] == "Always" {
            add(&mut sums, own);
            add(&mut sidecars, own);
            continue;
        }
        let mut together = sidecars.clone();
        add(&mut together, own);
        for (resource, amount) in together {
            let most = greatest.entry(resource).or_insert(0);
            *most = (*most).max(amount);
        }
    }
    for (resource, amount) in greatest {
        let sum = sums.entry(resource).or_insert(0);
        *sum = (*sum).max(amount);
    }
    if kind == "requests" || !sums.is_empty() {
        add(&mut sums, &spec["overhead"]);
    }
    sums
}

fn add(sums: &mut BTreeMap<String, i128>, amounts: &Value) {
    for (resource, amount) in amounts.as_object().into_iter().flatten() {
        let quantity = amount.as_str().and_then(|text| Quantity::parse(text).ok());
        if let Some(quantity) = quantity {
            *sums.entry(resource.clone()).or_insert(0) += i128::from(quantity.milli_value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_has_a_line_for_each_resource() {
        let pod = json!({"metadata": {"namespace": "a", "name": "b"}, "spec": {
            "nodeName": "n", "schedulerName": "default-scheduler", "priority": 7,
            "containers": [{"resources": {"requests": {"cpu": "250m", "memory": "1Ki"}}}, {"resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [{"resources": {"requests": {"cpu": "2"}}}],
        }});
        let prefix =
            "{namespace=\"a\",pod=\"b\",node=\"n\",scheduler=\"default-scheduler\",priority=\"7\"";
        assert_eq!(
            lines(&pod, "request"),
            [
                format!("{prefix},resource=\"cpu\",unit=\"cores\"}} 2"),
                format!("{prefix},resource=\"memory\",unit=\"bytes\"}} 1024"),
            ]
        );
        assert!(lines(&pod, "limit").is_empty());
    }
}
