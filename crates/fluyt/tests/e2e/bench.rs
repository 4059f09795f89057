//! `fluyt bench` with a server, simulated nodes and a node of its own: figures come out, and nothing is left behind.

use serde_json::Value;

use crate::support::Lab;

#[test]
fn every_figure_of_a_cluster_of_its_own() {
    let lab = Lab::new(0);
    let json = lab.directory.path().join("figures.json");
    let file = json.display().to_string();
    let small = ["--runs=1", "--idle-seconds=1", "--nodes=5", "--pods=20"];
    let load = ["--creates=50", "--gets=50"];
    let scratch = lab.directory.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let temporary = format!("TMPDIR={}", scratch.display());
    let words: Vec<&str> = ["env", &temporary, "fluyt", "bench", "--json", &file]
        .into_iter()
        .chain(small)
        .chain(load)
        .collect();
    let table = lab.master.call(&words);
    let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let median = |name: &str| {
        let all = figures["results"].as_array().unwrap();
        let one = all.iter().find(|figure| figure["name"] == name);
        one.and_then(|figure| figure["median"].as_f64())
            .unwrap_or_else(|| panic!("no figure {name}: {table}"))
    };
    for name in [
        "ready",
        "size",
        "memory-idle",
        "creates",
        "gets",
        "list",
        "watch",
        "bind",
        "memory-cluster",
        "memory-node",
        "pod-start",
    ] {
        assert!(median(name) > 0.0, "{name}: {table}");
    }
    assert!(median("cpu-node") >= 0.0);
    assert!(
        table.contains("pod created to container started"),
        "{table}"
    );
    assert!(
        lab.master.processes().is_empty(),
        "processes are left behind"
    );
    let left: Vec<_> = std::fs::read_dir(&scratch).unwrap().flatten().collect();
    assert!(left.is_empty(), "files are left behind: {left:?}");
}
