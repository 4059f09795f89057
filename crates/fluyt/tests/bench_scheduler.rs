//! `fluyt bench scheduler` with a server of its own, whose scheduler pauses while the measured pods are created: a pod that
//! is bound before all are there would be an error.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(words: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_fluyt");
    let command = ["bench", "scheduler"].iter().chain(words);
    Command::new(binary).args(command).output().unwrap()
}

#[test]
fn a_server_of_its_own_is_measured() {
    let sizes = ["--nodes", "10", "--init-pods", "10", "--pods", "200"];
    let output = bench(&[sizes.as_slice(), &["--runs", "2", "--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = &report["workloads"][0];
    assert_eq!(line["name"], "SchedulingBasic");
    assert_eq!(line["pods"], 200);
    assert_eq!(line["runs"].as_array().unwrap().len(), 2);
    assert!(line["overall"].as_f64().unwrap() > 0.0);
    let last = line["curve"].as_array().unwrap().last().unwrap();
    assert_eq!(last[1], 200);
}

#[test]
fn workloads_are_listed() {
    let output = bench(&["--list"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("SchedulingDaemonset"), "{text}");
}
