//! The objects of a workload as JSON, and where each kind is created.
//!
//! Nodes are objects only: nobody runs their pods. What this makes carries a label, so that a server that is not ours
//! can be left as it was.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::workload::{Csi, Nodes, Step, Workload};

pub(crate) const LABEL: &str = "fluyt-bench";
/// Holds measured pods back where the scheduler cannot be paused.
pub(crate) const GATE: &str = "fluyt.io/bench-barrier";

/// What all pods of a step have in common: made once, named many times.
pub(crate) struct Pods {
    template: Value,
    prefix: String,
    pub(crate) namespaces: Vec<String>,
    volume: Option<Value>,
    pub(crate) count: usize,
}

impl Pods {
    pub(crate) fn new(
        workload: &Workload,
        step: &Step,
        prefix: &str,
        scheduler: &str,
        gated: bool,
    ) -> Self {
        let mut template = shape(workload, step.shape.as_deref());
        template["spec"]["schedulerName"] = json!(scheduler);
        if gated {
            template["spec"]["schedulingGates"] = json!([{ "name": GATE }]);
        }
        Pods {
            template,
            prefix: prefix.to_owned(),
            namespaces: workload.namespaces_of(step.namespace.as_deref()),
            volume: workload.volume.clone().filter(|_| step.volume),
            count: step.count,
        }
    }

    pub(crate) fn has_volumes(&self) -> bool {
        self.volume.is_some()
    }

    pub(crate) fn name(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn namespace(&self, number: usize) -> &str {
        &self.namespaces[number % self.namespaces.len()]
    }

    /// Where it is created.
    pub(crate) fn path(&self, number: usize) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace(number))
    }

    pub(crate) fn body(&self, number: usize) -> String {
        let mut pod = self.template.clone();
        pod["metadata"]["name"] = json!(self.name(number));
        pod["metadata"]["namespace"] = json!(self.namespace(number));
        if self.has_volumes() {
            let volume =
                json!({"name": "data", "persistentVolumeClaim": {"claimName": self.name(number)}});
            pod["spec"]["volumes"] = json!([volume]);
        }
        pod.to_string()
    }

    /// The claim of a pod, bound already.
    pub(crate) fn claim(&self, number: usize) -> (String, String) {
        let (name, namespace) = (self.name(number), self.namespace(number));
        let access = self.volume.as_ref().map(|volume| &volume["accessModes"]);
        let body = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": { LABEL: "true" },
                "annotations": { "pv.kubernetes.io/bind-completed": "true" },
            },
            "spec": {
                "accessModes": access,
                "volumeName": volume_name(namespace, &name),
                "storageClassName": "",
                "resources": { "requests": { "storage": "1Gi" } },
            },
        });
        let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
        (path, body.to_string())
    }

    /// The volume of a pod's claim.
    pub(crate) fn volume(&self, number: usize) -> (String, String) {
        let (claim, namespace) = (self.name(number), self.namespace(number));
        let name = volume_name(namespace, &claim);
        let mut spec = self.volume.clone().unwrap_or_default();
        replace(&mut spec, &name);
        spec["claimRef"] = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim});
        let body = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": name, "labels": { LABEL: "true" } },
            "spec": spec,
        });
        ("/api/v1/persistentvolumes".to_owned(), body.to_string())
    }
}

fn volume_name(namespace: &str, claim: &str) -> String {
    format!("{namespace}-{claim}")
}

/// `VOLUME` anywhere in a volume's specification is its own name.
fn replace(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if text == "VOLUME" => name.clone_into(text),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace(value, name)),
        Value::Array(items) => items.iter_mut().for_each(|value| replace(value, name)),
        _ => {}
    }
}

/// The plain pod with a shape merged over it.
pub(crate) fn shape(workload: &Workload, name: Option<&str>) -> Value {
    let amounts = json!({ "cpu": "100m", "memory": "500Mi" });
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "labels": { LABEL: "true" } },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "pause",
                "image": "registry.k8s.io/pause:3.10.1",
                "ports": [{ "containerPort": 80 }],
                "resources": { "requests": amounts, "limits": amounts },
            }],
        },
    });
    if let Some(shape) = name.and_then(|name| workload.shapes.get(name)) {
        json_patch::merge(&mut pod, shape);
    }
    pod
}

pub(crate) fn node_name(nodes: &Nodes, group: usize, number: usize) -> String {
    match (&nodes.name, nodes.count) {
        (Some(name), 1) => name.clone(),
        (Some(name), _) => format!("{name}-{number:06}"),
        (None, _) => format!("bench-{group}-{number:06}"),
    }
}

pub(crate) fn node(nodes: &Nodes, name: &str, number: usize) -> String {
    let resources = json!({ "cpu": "4", "memory": "32Gi", "pods": "110" });
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": { LABEL: "true", "kubernetes.io/hostname": name },
        },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
        },
    });
    if !nodes.zones.is_empty() {
        let zone = &nodes.zones[number % nodes.zones.len()];
        node["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!(zone);
    }
    if let Some(csi) = &nodes.csi {
        let key = format!("attachable-volumes-csi-{}", csi.driver);
        node["status"]["capacity"][&key] = json!(csi.count.to_string());
        node["status"]["allocatable"][&key] = json!(csi.count.to_string());
    }
    if let Some(merge) = &nodes.merge {
        json_patch::merge(&mut node, merge);
    }
    node.to_string()
}

pub(crate) fn csi_node(csi: &Csi, name: &str) -> String {
    let mut node = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": { "name": name, "labels": { LABEL: "true" } },
        "spec": { "drivers": [{
            "name": csi.driver,
            "nodeID": name,
            "topologyKeys": [],
            "allocatable": { "count": csi.count },
        }] },
    });
    if let Some(plugin) = &csi.migrated {
        node["metadata"]["annotations"] =
            json!({ "storage.alpha.kubernetes.io/migrated-plugins": plugin });
    }
    node.to_string()
}

/// Where an object of a workload file is created.
pub(crate) fn collection(object: &Value) -> anyhow::Result<String> {
    let kind = object["kind"]
        .as_str()
        .context("an object without a kind")?;
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or(super::workload::NAMESPACE);
    Ok(match kind {
        "Node" => "/api/v1/nodes".to_owned(),
        "PriorityClass" => "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned(),
        "StorageClass" => "/apis/storage.k8s.io/v1/storageclasses".to_owned(),
        "Service" => format!("/api/v1/namespaces/{namespace}/services"),
        "ConfigMap" => format!("/api/v1/namespaces/{namespace}/configmaps"),
        _ => bail!("workloads cannot have objects of kind {kind}"),
    })
}

/// The object with our label.
pub(crate) fn labelled(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["labels"][LABEL] = json!("true");
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::workload::choose;

    #[test]
    fn pods_have_their_shape_and_their_volume() {
        let workload = choose(&["SchedulingCSIPVs".to_owned()]).unwrap().remove(0);
        let pods = Pods::new(&workload, &workload.measure, "m", "s", true);
        let pod: Value = serde_json::from_str(&pods.body(7)).unwrap();
        assert_eq!(pod["metadata"]["name"], "m-7");
        assert_eq!(pod["spec"]["schedulingGates"][0]["name"], GATE);
        assert_eq!(
            pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
            "m-7"
        );
        let volume: Value = serde_json::from_str(&pods.volume(7).1).unwrap();
        assert_eq!(volume["spec"]["csi"]["volumeHandle"], "fluyt-bench-m-7");
        assert_eq!(volume["spec"]["claimRef"]["name"], "m-7");
    }

    #[test]
    fn pods_go_to_their_namespaces_in_turn() {
        let name = "SchedulingRequiredPodAffinityWithNSSelector".to_owned();
        let workload = choose(&[name]).unwrap().remove(0);
        let pods = Pods::new(&workload, &workload.init[0], "i", "s", false);
        assert_eq!(pods.namespaces.len(), 100);
        assert_eq!(pods.path(101), "/api/v1/namespaces/init-ns-1/pods");
    }
}
