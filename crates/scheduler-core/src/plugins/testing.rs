//! A small cluster for the tests of plugins: objects as JSON in, the node or the message out.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::core::{Core, Outcome};
use crate::profile::Profile;
use crate::queue::Backoff;

pub struct Bed {
    pub core: Core,
    pods: usize,
}

pub const NOW: Duration = Duration::ZERO;

pub fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Bed {
    /// Nodes by name, each with its own labels beside the host name. Nobody is evicted.
    pub fn new(nodes: &[(&str, Value)]) -> Self {
        let mut profile = Profile::default();
        // Neither has anything to say about single plugins.
        profile.set_filter("DefaultPreemption", false);
        profile.set_filter("DynamicResources", false);
        let mut bed = Self {
            core: Core::new(vec![profile], Backoff::default()),
            pods: 0,
        };
        for (name, labels) in nodes {
            let mut labels = labels.clone();
            labels["kubernetes.io/hostname"] = json!(name);
            let node = json!({"metadata": {"name": name, "labels": labels},
                              "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}});
            bed.core.apply_node(&read(node), NOW);
        }
        for (name, provisioner) in [
            ("wait", "csi.example.com"),
            ("local", "kubernetes.io/no-provisioner"),
        ] {
            let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
                               "volumeBindingMode": "WaitForFirstConsumer"});
            bed.core.apply_storage_class(&read(class), NOW);
        }
        bed
    }

    pub fn claim(&mut self, name: &str, spec: Value) {
        let bound = spec["volumeName"].is_string();
        let mut claim =
            json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec});
        if bound {
            claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
        }
        self.core.apply_claim(&read(claim), NOW);
    }

    pub fn volume(&mut self, name: &str, labels: Value, spec: Value) {
        let mut spec = spec;
        spec["capacity"] = json!({"storage": "1Gi"});
        spec["accessModes"] = json!(["ReadWriteOnce"]);
        let volume = json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}});
        self.core.apply_volume(&read(volume), NOW);
    }

    /// A pod that runs on a node.
    pub fn placed(&mut self, node: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!(node);
        self.pod(spec);
    }

    fn pod(&mut self, mut spec: Value) {
        self.pods += 1;
        spec["schedulerName"] = json!("default-scheduler");
        let name = format!("p{}", self.pods);
        let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec});
        self.core.apply_pod(&read(pod), NOW);
    }

    /// Where a pod goes, or why it does not, without the count of nodes.
    pub fn decide(&mut self, spec: Value) -> String {
        self.pod(spec);
        match self.core.schedule_one(NOW) {
            Some(Outcome::Placed(decision)) => decision.node.to_string(),
            Some(Outcome::Unschedulable { message, .. }) => {
                let (_, why) = message.split_once(": ").unwrap();
                why.to_owned()
            }
            None => "nothing".to_owned(),
        }
    }
}

/// The spec of a pod with these claims.
pub fn with_claims(claims: &[&str]) -> Value {
    let volume = |(index, claim): (usize, &&str)| json!({"name": index.to_string(), "persistentVolumeClaim": {"claimName": claim}});
    let volumes: Vec<Value> = claims.iter().enumerate().map(volume).collect();
    json!({"volumes": volumes})
}
