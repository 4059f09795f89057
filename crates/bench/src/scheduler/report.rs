//! What was measured, as a table and as JSON: the run with the median rate, beside the reference's figures.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::Run;
use super::samples::{Throughput, curve};
use super::workload::Workload;
use crate::report::{percentile, short};

#[derive(Serialize)]
pub(crate) struct Report {
    server: String,
    scheduler: String,
    barrier: String,
    cores: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) workloads: Vec<Line>,
}

#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    about: String,
    nodes: usize,
    init_pods: usize,
    pods: usize,
    /// Pods a second of every run, in order.
    runs: Vec<f64>,
    /// Of the run with the median rate.
    #[serde(flatten)]
    throughput: Throughput,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_ms: Option<f64>,
    /// CPU of the server and its scheduler for each measured pod, microseconds.
    cpu_us_per_pod: f64,
    /// Part of this machine's CPU that other processes used meanwhile, 0 to 1.
    others: f64,
    /// How often the server ended the watch.
    cuts: usize,
    reference: Option<f64>,
    floor: Option<f64>,
    goal: Option<f64>,
    latency_goal_ms: Option<f64>,
    /// The sizes are the workload's own: only then are reference, floor and goal comparable.
    own_sizes: bool,
    /// Milliseconds after the barrier, and how many pods were bound by then.
    pub(crate) curve: Vec<(f64, usize)>,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Line {
    pub(crate) fn new(workload: &Workload, own_sizes: bool, mut runs: Vec<Run>) -> Self {
        let rates = runs.iter().map(|run| run.throughput.overall).collect();
        runs.sort_by(|one, other| one.throughput.overall.total_cmp(&other.throughput.overall));
        let run = runs.swap_remove((runs.len() - 1) / 2);
        let at = |percent| percentile(&run.latencies_ms, percent);
        let latency = (!run.latencies_ms.is_empty()).then(|| Latency {
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            max: at(100.0),
        });
        let pods = workload.measure.count;
        Line {
            name: workload.name.clone(),
            about: workload.about.clone(),
            nodes: workload.node_count(),
            init_pods: workload.init_count(),
            pods,
            runs: rates,
            curve: curve(&run.bound_ms),
            throughput: run.throughput,
            latency_ms: latency,
            release_ms: run.release_ms,
            cpu_us_per_pod: run.cpu_seconds * 1e6 / pods as f64,
            others: run.others,
            cuts: run.cuts,
            reference: workload.reference,
            floor: workload.floor,
            goal: workload.goal,
            latency_goal_ms: workload.latency_goal_ms,
            own_sizes,
        }
    }

    /// What would make a comparison with another scheduler unfair.
    fn notes(&self, external: bool) -> Vec<String> {
        let (name, rate) = (&self.name, self.throughput.overall);
        let mut notes = Vec::new();
        if external && (40.0..=60.0).contains(&rate) && self.latency_ms.is_none() {
            notes.push(format!(
                "{name}: about 50 pods/s is what a stock client's rate limit allows (clientConnection qps 50, burst 100), \
                 not what the scheduler can do"
            ));
        }
        if let Some(release_ms) = self.release_ms
            && release_ms > 0.8 * self.throughput.total_ms
        {
            notes.push(format!(
                "{name}: removing the gates took {} ms of {}: the rate is that of the writing",
                short(release_ms),
                short(self.throughput.total_ms)
            ));
        }
        if self.others > 0.05 {
            notes.push(format!(
                "{name}: other processes used {:.0} % of this machine meanwhile: on a quiet one it would have been faster",
                self.others * 100.0
            ));
        }
        if self.cuts > 0 {
            notes.push(format!(
                "{name}: the server ended the watch {} times: pods that were bound meanwhile were seen late",
                self.cuts
            ));
        }
        if self.throughput.total_ms < 1000.0 && self.latency_ms.is_none() {
            notes.push(format!(
                "{name}: bound in {} ms, too short for steady samples",
                short(self.throughput.total_ms)
            ));
        }
        notes
    }

    fn cells(&self) -> [String; 11] {
        let one = &self.throughput;
        let ratio = |of: Option<f64>| match of.filter(|_| self.own_sizes) {
            Some(of) => format!("{}x", short(one.overall / of)),
            None => String::new(),
        };
        let (least, most) = (fold(&self.runs, f64::min), fold(&self.runs, f64::max));
        let verdict = |met: bool| if met { "met" } else { "missed" };
        let goal = match (self.goal, self.latency_goal_ms, &self.latency_ms) {
            _ if !self.own_sizes => String::new(),
            (_, Some(goal), Some(latency)) => {
                format!("p99 {} ms {}", short(goal), verdict(latency.p99 <= goal))
            }
            (Some(goal), _, _) => format!("{} {}", short(goal), verdict(one.overall >= goal)),
            _ => String::new(),
        };
        let (p50, p90, p99) = match &self.latency_ms {
            Some(latency) => (latency.p50, latency.p90, latency.p99),
            None => (one.p50, one.p90, one.p99),
        };
        let unit = if self.latency_ms.is_some() { " ms" } else { "" };
        let sample = |value: f64| format!("{}{unit}", short(value));
        [
            self.name.clone(),
            format!("{}/{}/{}", self.nodes, self.init_pods, self.pods),
            short(one.overall),
            match self.runs.len() {
                1 => String::new(),
                _ => format!("{}-{}", short(least), short(most)),
            },
            sample(p50),
            sample(p90),
            sample(p99),
            short(self.cpu_us_per_pod),
            ratio(self.reference),
            ratio(self.floor),
            goal,
        ]
    }
}

fn fold(values: &[f64], pick: fn(f64, f64) -> f64) -> f64 {
    values.iter().copied().reduce(pick).unwrap_or_default()
}

const HEADER: [&str; 11] = [
    "workload",
    "nodes/init/pods",
    "pods/s",
    "runs",
    "p50",
    "p90",
    "p99",
    "CPU us/pod",
    "reference",
    "CI floor",
    "goal",
];

impl Report {
    pub(crate) fn new(server: String, scheduler: String, barrier: String) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Report {
            server,
            scheduler,
            barrier,
            cores,
            notes: vec![format!(
                "server, scheduler and load generator share {cores} cores; the reference's CI floors are from six"
            )],
            workloads: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, line: Line, external: bool) {
        self.notes.extend(line.notes(external));
        self.workloads.push(line);
    }

    pub(crate) fn table(&self) -> String {
        let mut rows = vec![HEADER.map(str::to_owned)];
        rows.extend(self.workloads.iter().map(Line::cells));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
        let widths: Vec<usize> = (0..HEADER.len()).filter_map(width).collect();
        let mut out = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(at, (cell, &width))| match at {
                2 | 4..=7 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            let _ = writeln!(out, "{}", line.trim_end());
        }
        let (server, scheduler) = (&self.server, &self.scheduler);
        let _ = writeln!(out, "\n{server}; {scheduler}; barrier: {}", self.barrier);
        for note in &self.notes {
            let _ = writeln!(out, "note: {note}");
        }
        out
    }

    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

/// The workloads there are.
pub(crate) fn list(workloads: &[Workload]) -> String {
    let width = workloads.iter().map(|one| one.name.len()).max();
    let width = width.unwrap_or_default();
    let mut out = format!(
        "{:width$}  nodes/init/pods    CI floor  about\n",
        "workload"
    );
    for one in workloads {
        let sizes = format!(
            "{}/{}/{}",
            one.node_count(),
            one.init_count(),
            one.measure.count
        );
        let floor = one.floor.map(short).unwrap_or_default();
        let _ = writeln!(
            out,
            "{:width$}  {sizes:<17}  {floor:>8}  {}",
            one.name, one.about
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::samples::throughput;
    use crate::scheduler::workload::choose;

    fn run(step_ms: f64) -> Run {
        let bound_ms: Vec<f64> = (1..=10_000).map(|at| f64::from(at) * step_ms).collect();
        Run {
            throughput: throughput(&bound_ms),
            bound_ms,
            latencies_ms: Vec::new(),
            release_ms: None,
            cpu_seconds: 1.0,
            others: 0.0,
            cuts: 0,
        }
    }

    #[test]
    fn the_median_run_stands_beside_the_reference() {
        let workload = choose(&["SchedulingBasic".to_owned()]).unwrap().remove(0);
        let line = Line::new(&workload, true, vec![run(0.2), run(0.05), run(0.08)]);
        let cells = line.cells();
        assert_eq!(cells[1..4], ["5000/1000/10000", "12,500", "5,000-20,000"]);
        assert_eq!(cells[7..], ["100", "54.8x", "18.4x", "10,000 met"]);
    }

    #[test]
    fn other_sizes_are_not_compared() {
        let workload = choose(&["SchedulingBasic".to_owned()]).unwrap().remove(0);
        let line = Line::new(&workload, false, vec![run(0.1)]);
        assert_eq!(line.cells()[8..], ["", "", ""]);
    }

    #[test]
    fn a_clients_limit_is_noted() {
        let workload = choose(&["SchedulingBasic".to_owned()]).unwrap().remove(0);
        let line = Line::new(&workload, true, vec![run(20.0)]);
        assert!(line.notes(true)[0].contains("qps 50"));
        assert!(line.notes(false).is_empty());
    }
}
