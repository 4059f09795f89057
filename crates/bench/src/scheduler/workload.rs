//! A workload: which nodes there are, which pods come first, which are measured. All of them are files of
//! `crates/bench/workloads`, which are part of the binary; others can be read from disk.
//!
//! Invariant: a workload that parses names only shapes and namespaces that it defines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The namespace of pods that name none.
pub(crate) const NAMESPACE: &str = "fluyt-bench";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) about: String,
    /// Pods a second of Kubernetes 1.36.2 on a machine with two cores.
    pub(crate) reference: Option<f64>,
    /// Pods a second below which the reference's own CI (six cores) fails.
    pub(crate) floor: Option<f64>,
    /// Pods a second that we want.
    pub(crate) goal: Option<f64>,
    /// Milliseconds from creation to binding that 99 % of the pods should not exceed.
    pub(crate) latency_goal_ms: Option<f64>,
    pub(crate) nodes: Vec<Nodes>,
    #[serde(default)]
    pub(crate) namespaces: Vec<Namespaces>,
    /// Created before any pod.
    #[serde(default)]
    pub(crate) objects: Vec<Value>,
    /// Pods by name; each is merged over the plain pod (RFC 7396).
    #[serde(default)]
    pub(crate) shapes: BTreeMap<String, Value>,
    /// `spec` of the volume of each pod that has one; `VOLUME` stands for its own name.
    pub(crate) volume: Option<Value>,
    #[serde(default)]
    pub(crate) init: Vec<Step>,
    #[serde(default)]
    pub(crate) background: Vec<Background>,
    pub(crate) measure: Step,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nodes {
    pub(crate) count: usize,
    /// Of a single node; with several, what their names start with.
    pub(crate) name: Option<String>,
    /// Zones, in turn.
    #[serde(default)]
    pub(crate) zones: Vec<String>,
    /// Merged over the node.
    pub(crate) merge: Option<Value>,
    pub(crate) csi: Option<Csi>,
}

/// A CSI driver that runs on every node of the group.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Csi {
    pub(crate) driver: String,
    /// Volumes that it can attach.
    pub(crate) count: i64,
    /// In-tree plugin whose volumes it serves.
    pub(crate) migrated: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Namespaces {
    pub(crate) name: String,
    /// With several, their names are `NAME-0` and so on.
    pub(crate) count: Option<usize>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) count: usize,
    /// Default: the plain pod.
    pub(crate) shape: Option<String>,
    /// A namespace, or what several are called: pods are created in each of them in turn.
    pub(crate) namespace: Option<String>,
    /// Each pod has a claim, bound to a volume.
    #[serde(default)]
    pub(crate) volume: bool,
    #[serde(default)]
    pub(crate) until: Until,
    /// The next pod is created when the last one is bound: latency is what is measured.
    #[serde(default)]
    pub(crate) one_at_a_time: bool,
}

/// When a step is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Until {
    #[default]
    Bound,
    /// Every pod was tried in vain.
    Unschedulable,
    Created,
}

/// What goes on while pods are measured; exactly one of the first four is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Background {
    /// A pod of this shape, each time a new one.
    pub(crate) create: Option<String>,
    /// A pod of this shape, created and deleted in turn.
    pub(crate) recreate_pod: Option<String>,
    /// Objects, created and deleted in turn.
    pub(crate) recreate: Option<Vec<Value>>,
    /// A pod of this namespace is deleted each time.
    pub(crate) delete: Option<String>,
    pub(crate) every_ms: u64,
}

macro_rules! files {
    ($($file:literal),* $(,)?) => {
        &[$(include_str!(concat!("../../workloads/", $file, ".yaml"))),*]
    };
}

/// In the order in which they are listed and run.
const FILES: &[&str] = files![
    "scheduling-basic",
    "scheduling-basic-50000",
    "topology-spreading",
    "preferred-topology-spreading",
    "pod-affinity",
    "pod-anti-affinity",
    "pod-matching-anti-affinity",
    "preferred-pod-affinity",
    "preferred-pod-anti-affinity",
    "node-affinity",
    "ns-selector-affinity",
    "ns-selector-anti-affinity",
    "ns-selector-preferred-affinity",
    "ns-selector-preferred-anti-affinity",
    "mixed-base-pod",
    "unschedulable",
    "unschedulable-20000",
    "while-gated",
    "gated-with-affinity",
    "preemption-basic",
    "preemption-async",
    "daemonset",
    "mixed-churn",
    "secrets",
    "in-tree-pvs",
    "migrated-in-tree-pvs",
    "csi-pvs",
    "default-spreading",
    "node-inclusion-policy",
    "latency",
    "scheduling-basic-100000-nodes",
];

/// Not part of `all`: takes minutes and gigabytes.
pub(crate) const LARGE: &str = "SchedulingBasic100000Nodes";

pub(crate) fn all() -> anyhow::Result<Vec<Workload>> {
    FILES.iter().map(|text| parse(text)).collect()
}

/// Those named, in their own order; `all` are all but the large one. A name with a dot or a slash is a file.
pub(crate) fn choose(names: &[String]) -> anyhow::Result<Vec<Workload>> {
    let known = all()?;
    let mut chosen = Vec::new();
    for name in names {
        if name == "all" {
            chosen.extend(known.iter().filter(|one| one.name != LARGE).cloned());
        } else if name.contains(['.', '/']) {
            chosen.push(read(Path::new(name))?);
        } else if let Some(one) = known.iter().find(|one| one.name.eq_ignore_ascii_case(name)) {
            chosen.push(one.clone());
        } else {
            bail!(
                "--workload: there is no {name:?} (--list shows all; a file's name has a dot or a slash)"
            );
        }
    }
    Ok(chosen)
}

fn read(path: &Path) -> anyhow::Result<Workload> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("--workload {}", path.display()))?;
    parse(&text).with_context(|| format!("--workload {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Workload> {
    let workload: Workload = serde_saphyr::from_str(text)?;
    workload.check()?;
    Ok(workload)
}

impl Workload {
    fn check(&self) -> anyhow::Result<()> {
        let steps = self.init.iter().chain([&self.measure]);
        for step in steps {
            ensure!(step.count > 0, "{}: a step without pods", self.name);
            ensure!(
                !step.volume || self.volume.is_some(),
                "{}: pods with volumes, but `volume` is missing",
                self.name
            );
            self.check_shape(step.shape.as_deref())?;
            self.check_namespace(step.namespace.as_deref())?;
        }
        ensure!(
            self.measure.until == Until::Bound,
            "{}: the measured pods are those that are bound",
            self.name
        );
        for one in &self.background {
            self.check_shape(one.create.as_deref().or(one.recreate_pod.as_deref()))?;
            self.check_namespace(one.delete.as_deref())?;
            ensure!(one.every_ms > 0, "{}: every_ms is 0", self.name);
            let given = [
                one.create.is_some(),
                one.recreate_pod.is_some(),
                one.recreate.is_some(),
                one.delete.is_some(),
            ];
            let given = given.iter().filter(|given| **given).count();
            ensure!(given == 1, "{}: background: one thing an entry", self.name);
        }
        ensure!(
            self.nodes.iter().any(|nodes| nodes.count > 0),
            "{}: no nodes",
            self.name
        );
        Ok(())
    }

    fn check_shape(&self, shape: Option<&str>) -> anyhow::Result<()> {
        match shape {
            Some(shape) if !self.shapes.contains_key(shape) => {
                bail!("{}: there is no shape {shape:?}", self.name)
            }
            _ => Ok(()),
        }
    }

    fn check_namespace(&self, namespace: Option<&str>) -> anyhow::Result<()> {
        match namespace {
            Some(name) if self.namespaces_of(Some(name)).is_empty() => {
                bail!("{}: there is no namespace {name:?}", self.name)
            }
            _ => Ok(()),
        }
    }

    /// The namespaces that a step's pods go to.
    pub(crate) fn namespaces_of(&self, name: Option<&str>) -> Vec<String> {
        let Some(name) = name else {
            return vec![NAMESPACE.to_owned()];
        };
        let entry = |entry: &Namespaces| match (entry.name == name, entry.count) {
            (true, _) => entry.names(),
            (false, Some(_)) => entry
                .names()
                .into_iter()
                .filter(|one| one == name)
                .collect(),
            (false, None) => Vec::new(),
        };
        self.namespaces.iter().flat_map(entry).collect()
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.iter().map(|nodes| nodes.count).sum()
    }

    pub(crate) fn init_count(&self) -> usize {
        self.init.iter().map(|step| step.count).sum()
    }

    /// Other sizes: groups and steps keep their shares, and none becomes empty.
    pub(crate) fn resize(
        &mut self,
        nodes: Option<usize>,
        init: Option<usize>,
        measured: Option<usize>,
    ) {
        if let Some(wanted) = nodes {
            let total = self.node_count();
            let scale = |count: usize| share(count, total, wanted);
            self.nodes
                .iter_mut()
                .filter(|nodes| nodes.count > 1)
                .for_each(|nodes| nodes.count = scale(nodes.count));
        }
        if let Some(wanted) = init {
            let total = self.init_count();
            for step in &mut self.init {
                step.count = share(step.count, total, wanted);
            }
        }
        if let Some(wanted) = measured {
            self.measure.count = wanted.max(1);
        }
    }
}

fn share(part: usize, total: usize, wanted: usize) -> usize {
    let share = part as f64 / total as f64 * wanted as f64;
    (share.round() as usize).max(1)
}

impl Namespaces {
    pub(crate) fn names(&self) -> Vec<String> {
        match self.count {
            None => vec![self.name.clone()],
            Some(count) => (0..count)
                .map(|number| format!("{}-{number}", self.name))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_and_names_are_unique() {
        let all = all().unwrap();
        let names: std::collections::BTreeSet<_> = all.iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), FILES.len());
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), FILES.len());
    }

    #[test]
    fn the_issues_sizes() {
        let size = |name: &str| {
            let one = &choose(&[name.to_owned()]).unwrap()[0];
            (one.node_count(), one.init_count(), one.measure.count)
        };
        assert_eq!(size("SchedulingBasic"), (5000, 1000, 10_000));
        assert_eq!(size("MixedSchedulingBasePod"), (5000, 10_000, 5000));
        assert_eq!(size("schedulingdaemonset"), (15_001, 0, 30_000));
    }

    #[test]
    fn sizes_can_be_changed() {
        let mut mixed = choose(&["MixedSchedulingBasePod".to_owned()])
            .unwrap()
            .remove(0);
        mixed.resize(Some(10), Some(20), Some(7));
        assert_eq!(
            (mixed.node_count(), mixed.init_count(), mixed.measure.count),
            (10, 20, 7)
        );
        let mut daemons = choose(&["SchedulingDaemonset".to_owned()])
            .unwrap()
            .remove(0);
        daemons.resize(Some(10), None, None);
        assert_eq!((daemons.nodes[0].count, daemons.nodes[1].count), (1, 10));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        let workload = |rest: &str| format!("name: W\nabout: a\nnodes: [{{count: 1}}]\n{rest}");
        let error = refused(&workload("measure: {count: 1, shape: round}"));
        assert_eq!(error, "W: there is no shape \"round\"");
        let error = refused(&workload("measure: {count: 1, namespace: n}"));
        assert_eq!(error, "W: there is no namespace \"n\"");
        let error = refused(&workload("measure: {count: 1, number: 5}"));
        assert!(error.contains("number"), "{error}");
        let error = choose(&["Nothing".to_owned()]).unwrap_err().to_string();
        assert!(
            error.starts_with("--workload: there is no \"Nothing\""),
            "{error}"
        );
    }
}
