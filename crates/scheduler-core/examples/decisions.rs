//! How many decisions the core takes in a second, how little that depends on the size of the cluster, and what it costs in memory.
//!
//! `cargo bench -p fluyt-scheduler-core` or `cargo run --release -p fluyt-scheduler-core --example decisions`, both with these words:
//! - nothing, or a part of workloads' names: one line for each workload;
//! - `--curve [FILE.svg]`: decisions from 1,000 to 1,000,000 nodes, and to 1,000,000 running pods, as a table (and a plot);
//! - `--memory [NODES] [PODS]`: what a million of each take.
//!
//! The last word may be `--unrecorded`: decisions leave no record behind (see `docs/why.md`). What a decision costs in instructions:
//! `valgrind --tool=callgrind .../examples/decisions WORKLOAD [--unrecorded]`, then the inclusive count of `Core::schedule_one`.

use std::time::{Duration, Instant};

use fluyt_scheduler_core::core::{Core, Outcome};
use fluyt_scheduler_core::objects::{Node, Pod};
use serde_json::{Value, json};

struct Workload {
    name: &'static str,
    nodes: usize,
    /// Pods that run already.
    warm: usize,
    pods: usize,
    spec: fn(usize) -> Value,
}

fn plain(_: usize) -> Value {
    json!({})
}

/// A hundred different pods in turn.
fn mixed(index: usize) -> Value {
    json!({"nodeSelector": {"group": format!("g{}", index % 100 % 4)}, "containers": [container(50 + index % 100)]})
}

fn affinity(kind: &str, required: bool, key: &str) -> Value {
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "a"}}});
    match required {
        true => {
            json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
        }
        false => json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution":
                        [{"weight": 1, "podAffinityTerm": term}]}}}),
    }
}

fn zone_affinity(_: usize) -> Value {
    affinity("podAffinity", true, "topology.kubernetes.io/zone")
}

fn host_anti_affinity(_: usize) -> Value {
    affinity("podAntiAffinity", true, "kubernetes.io/hostname")
}

fn preferred_affinity(_: usize) -> Value {
    affinity("podAffinity", false, "kubernetes.io/hostname")
}

fn preferred_anti_affinity(_: usize) -> Value {
    affinity("podAntiAffinity", false, "kubernetes.io/hostname")
}

fn spread(when: &str) -> Value {
    json!({"topologySpreadConstraints": [{"maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone",
           "whenUnsatisfiable": when, "labelSelector": {"matchLabels": {"app": "a"}}}]})
}

fn hard_spread(_: usize) -> Value {
    spread("DoNotSchedule")
}

fn soft_spread(_: usize) -> Value {
    spread("ScheduleAnyway")
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "plain",
        nodes: 1_000,
        warm: 0,
        pods: 30_000,
        spec: plain,
    },
    Workload {
        name: "plain",
        nodes: 5_000,
        warm: 0,
        pods: 100_000,
        spec: plain,
    },
    Workload {
        name: "plain, 100,000 running",
        nodes: 5_000,
        warm: 100_000,
        pods: 50_000,
        spec: plain,
    },
    Workload {
        name: "plain",
        nodes: 100_000,
        warm: 0,
        pods: 100_000,
        spec: plain,
    },
    Workload {
        name: "plain",
        nodes: 1_000_000,
        warm: 0,
        pods: 100_000,
        spec: plain,
    },
    Workload {
        name: "100 classes in turn",
        nodes: 5_000,
        warm: 10_000,
        pods: 50_000,
        spec: mixed,
    },
    Workload {
        name: "required affinity, zone",
        nodes: 5_000,
        warm: 5_000,
        pods: 20_000,
        spec: zone_affinity,
    },
    Workload {
        name: "required anti-affinity, host",
        nodes: 5_000,
        warm: 0,
        pods: 5_000,
        spec: host_anti_affinity,
    },
    Workload {
        name: "preferred affinity, host",
        nodes: 5_000,
        warm: 5_000,
        pods: 20_000,
        spec: preferred_affinity,
    },
    Workload {
        name: "preferred anti-affinity, host",
        nodes: 5_000,
        warm: 5_000,
        pods: 20_000,
        spec: preferred_anti_affinity,
    },
    Workload {
        name: "spreading, hard, zone",
        nodes: 5_000,
        warm: 5_000,
        pods: 20_000,
        spec: hard_spread,
    },
    Workload {
        name: "spreading, soft, zone",
        nodes: 5_000,
        warm: 5_000,
        pods: 20_000,
        spec: soft_spread,
    },
];

fn container(millicores: usize) -> Value {
    json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": format!("{millicores}m"), "memory": "50Mi"}}})
}

fn node(index: usize) -> Node {
    let name = format!("node-{index}");
    let node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "group": format!("g{}", index % 4),
                     "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "500"}},
    });
    serde_json::from_value(node).expect("a node")
}

fn pod(index: usize, spec: fn(usize) -> Value) -> Pod {
    let mut spec = spec(index);
    if spec["containers"].is_null() {
        spec["containers"] = json!([container(100)]);
    }
    spec["schedulerName"] = json!("default-scheduler");
    let pod = json!({"metadata": {"name": format!("pod-{index}"), "namespace": "default", "uid": index.to_string(),
                     "labels": {"app": "a"}}, "spec": spec});
    serde_json::from_value(pod).expect("a pod")
}

/// Decisions leave no record behind.
const UNRECORDED: &str = "--unrecorded";

/// A core with nodes and pods that run on them.
fn build(nodes: usize, running: usize) -> Core {
    let mut core = Core::default();
    if std::env::args().any(|word| word == UNRECORDED) {
        core.remember_decisions(0);
    }
    let now = Duration::ZERO;
    for index in 0..nodes {
        core.apply_node(&node(index), now);
    }
    for index in 0..running {
        let mut pod = pod(1_000_000_000 + index, plain);
        pod.spec.node_name = format!("node-{}", index % nodes).into();
        core.apply_pod(&pod, now);
    }
    core
}

/// The first decision, and the time of all the others.
fn measure(workload: &Workload) -> (Duration, Duration) {
    let mut core = build(workload.nodes, workload.warm);
    for index in 0..workload.pods {
        core.apply_pod(&pod(index, workload.spec), Duration::ZERO);
    }
    let started = Instant::now();
    decide(&mut core);
    let first = started.elapsed();
    let started = Instant::now();
    for _ in 1..workload.pods {
        decide(&mut core);
    }
    (first, started.elapsed())
}

// Kept apart for profilers.
#[inline(never)]
fn decide(core: &mut Core) {
    match core.schedule_one(Duration::ZERO) {
        Some(Outcome::Placed(_)) => {}
        other => panic!("every pod of these workloads fits: {other:?}"),
    }
}

fn table(filter: &str) {
    println!("| workload | nodes | decisions/s | first decision |\n|---|---|---|---|");
    for workload in WORKLOADS.iter().filter(|one| one.name.contains(filter)) {
        let (first, rest) = measure(workload);
        let rate = (workload.pods - 1) as f64 / rest.as_secs_f64();
        println!(
            "| {} | {} | {rate:.0} | {:.1} ms |",
            workload.name,
            workload.nodes,
            first.as_secs_f64() * 1e3
        );
    }
}

// ----- curves -----

const SIZES: [usize; 7] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];
type Kind = (&'static str, fn(usize) -> Value);

const KINDS: [Kind; 4] = [
    ("plain", plain),
    ("required affinity, zone", zone_affinity),
    ("spreading, hard, zone", hard_spread),
    ("preferred anti-affinity, host", preferred_anti_affinity),
];

/// Decisions a second.
fn rate(nodes: usize, warm: usize, spec: fn(usize) -> Value) -> f64 {
    let (_, rest) = measure(&Workload {
        name: "",
        nodes,
        warm,
        pods: 20_000,
        spec,
    });
    19_999.0 / rest.as_secs_f64()
}

fn curves(file: Option<&str>) {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    println!(
        "| decisions/s, nodes | {} |",
        SIZES.map(|size| size.to_string()).join(" | ")
    );
    println!("|---|{}", "---|".repeat(SIZES.len()));
    for (name, spec) in KINDS {
        let points = SIZES.map(|nodes| (nodes as f64, rate(nodes, 1_000, spec)));
        let cells = points.map(|(_, rate)| format!("{rate:.0}"));
        println!("| {name} | {} |", cells.join(" | "));
        lines.push((format!("{name}, by nodes"), points.to_vec()));
    }
    println!(
        "\n| decisions/s at 5,000 nodes, running pods | {} |",
        SIZES.map(|size| size.to_string()).join(" | ")
    );
    println!("|---|{}", "---|".repeat(SIZES.len()));
    for (name, spec) in [KINDS[0], KINDS[2]] {
        let points = SIZES.map(|running| (running as f64, rate(5_000, running, spec)));
        let cells = points.map(|(_, rate)| format!("{rate:.0}"));
        println!("| {name} | {} |", cells.join(" | "));
        lines.push((format!("{name}, by running pods"), points.to_vec()));
    }
    if let Some(file) = file {
        std::fs::write(file, svg(&lines)).expect("the plot can be written");
    }
}

/// Both axes logarithmic: 1,000 to 1,000,000 of something, 10,000 to 1,000,000 decisions a second.
fn svg(lines: &[(String, Vec<(f64, f64)>)]) -> String {
    const COLOURS: [&str; 6] = [
        "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000",
    ];
    let x = |value: f64| 80.0 + (value.log10() - 3.0) / 3.0 * 480.0;
    let y = |value: f64| 340.0 - (value.log10() - 4.0) / 2.0 * 320.0;
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 400\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
    );
    for (value, label) in [
        (1e3, "1,000"),
        (1e4, "10,000"),
        (1e5, "100,000"),
        (1e6, "1,000,000"),
    ] {
        let place = x(value);
        out += &format!(
            "<path d=\"M{place} 20V340\" stroke=\"#ddd\"/><text x=\"{place}\" y=\"358\" text-anchor=\"middle\">{label}</text>\n"
        );
        if value >= 1e4 {
            let place = y(value);
            out += &format!(
                "<path d=\"M80 {place}H560\" stroke=\"#ddd\"/><text x=\"72\" y=\"{}\" text-anchor=\"end\">{label}</text>\n",
                place + 4.0
            );
        }
    }
    out += "<path d=\"M80 20V340H560\" fill=\"none\" stroke=\"black\"/>\n\
            <text x=\"320\" y=\"384\" text-anchor=\"middle\">nodes, or running pods at 5,000 nodes</text>\n\
            <text transform=\"translate(14 180) rotate(-90)\" text-anchor=\"middle\">decisions a second</text>\n";
    for (number, (name, points)) in lines.iter().enumerate() {
        let (colour, line) = (COLOURS[number % COLOURS.len()], 30.0 + 18.0 * number as f64);
        let points: Vec<String> = points
            .iter()
            .map(|(size, rate)| format!("{:.1},{:.1}", x(*size), y(rate.clamp(1e4, 1e6))))
            .collect();
        out += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <path d=\"M575 {line}h18\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"598\" y=\"{}\" font-size=\"11\">{name}</text>\n",
            points.join(" "),
            line + 4.0
        );
    }
    out + "</svg>\n"
}

// ----- memory -----

/// Resident, now and at most, in MB (10^6 bytes).
fn resident_mb() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.unwrap_or_default() * 1024.0 / 1e6
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn memory(nodes: usize, pods: usize) {
    let mut core = build(nodes, 0);
    println!("{nodes} nodes: {:.0} MB", resident_mb().0);
    for index in 0..pods {
        core.apply_pod(&pod(index, plain), Duration::ZERO);
    }
    println!("and {pods} waiting pods: {:.0} MB", resident_mb().0);
    let started = Instant::now();
    for _ in 0..pods {
        decide(&mut core);
    }
    let took = started.elapsed();
    let (now, most) = resident_mb();
    println!(
        "all placed in {took:.2?}, {:.0} decisions/s: {now:.0} MB, at most {most:.0} MB",
        pods as f64 / took.as_secs_f64()
    );
}

pub fn main() {
    // `cargo bench` adds a word of its own.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    let number = |at: usize| {
        word(at)
            .and_then(|word| word.parse().ok())
            .unwrap_or(1_000_000)
    };
    match word(0) {
        Some("--curve") => curves(word(1)),
        Some("--memory") => memory(number(1), number(2)),
        filter => table(filter.unwrap_or_default()),
    }
}
