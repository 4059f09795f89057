//! How long an explanation takes, and how long the scheduler stands still for it at most.
//!
//! `cargo run --release -p fluyt-scheduler-core --example why`: one line for each size; the figures of `docs/why.md` come from here.

use std::time::{Duration, Instant};

use fluyt_scheduler_core::core::Core;
use fluyt_scheduler_core::explain::{Manifest, WhatIf, Why};
use fluyt_scheduler_core::objects::{Node, Pod};
use serde_json::{Value, json};

/// As the scheduler's shell does while it is busy.
const ROWS: usize = 512;

fn node(index: usize) -> Node {
    let name = format!("node-{index}");
    let taints = match index % 10 {
        0 => json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]),
        _ => json!([]),
    };
    let node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "disk": if index.is_multiple_of(2) { "ssd" } else { "hdd" },
                     "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
    });
    serde_json::from_value(node).expect("a node")
}

fn pod(name: &str, spec: Value) -> Pod {
    let pod = json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "a"}}, "spec": spec});
    serde_json::from_value(pod).expect("a pod")
}

/// Works a question off; the time of all slices, and of the longest.
fn slices(core: &mut Core, mut step: impl FnMut(&mut Core) -> bool) -> (Duration, Duration) {
    let (mut total, mut longest) = (Duration::ZERO, Duration::ZERO);
    loop {
        let started = Instant::now();
        let done = step(core);
        let took = started.elapsed();
        total += took;
        longest = longest.max(took);
        if done {
            return (total, longest);
        }
    }
}

fn main() {
    println!(
        "| question | nodes | all slices | the longest | the answer put together |\n|---|---|---|---|---|"
    );
    for nodes in [5_000, 100_000, 1_000_000] {
        let mut core = Core::default();
        let now = Duration::ZERO;
        for index in 0..nodes {
            core.apply_node(&node(index), now);
        }
        let spec = |cpu: &str| {
            json!({"schedulerName": "default-scheduler", "nodeSelector": {"disk": "ssd"},
                   "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]})
        };
        for (name, cpu) in [("pending", "4200m"), ("placed", "1")] {
            core.apply_pod(&pod(name, spec(cpu)), now);
            core.schedule_one(now);
            let mut why = Why::of_pod(&core, &format!("default/{name}")).expect("it is known");
            let (total, longest) = slices(&mut core, |core| why.step(core, ROWS));
            let started = Instant::now();
            why.finish(&mut core, now);
            print(
                &format!("why, {name}"),
                nodes,
                total,
                longest,
                started.elapsed(),
            );
        }
        let object = json!({"kind": "Deployment", "metadata": {"name": "d"},
                            "spec": {"replicas": 1_000, "template": {"spec": spec("1")}}});
        let manifest = Manifest::read(&object, "default").expect("a manifest");
        let mut what_if = WhatIf::new(&core, manifest);
        let (total, longest) = slices(&mut core, |core| what_if.step(core, ROWS));
        let started = Instant::now();
        what_if.finish(&mut core, now);
        print(
            "what if, 1,000 replicas",
            nodes,
            total,
            longest,
            started.elapsed(),
        );
    }
}

fn print(what: &str, nodes: usize, total: Duration, longest: Duration, rest: Duration) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {what} | {nodes} | {:.1} ms | {:.2} ms | {:.1} ms |",
        ms(total),
        ms(longest),
        ms(rest)
    );
}
