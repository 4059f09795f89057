//! The scenarios that need no scheduler, with small numbers, against a real API server: each
//! reports its figures, and the server is left as it was.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use fluyt_apiserver::testing;
use fluyt_client::{ClientOptions, rest};
use serde_json::{Value, json};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: fluyt_bench::Options,
}

fn options(words: &[&str]) -> fluyt_bench::Options {
    Flags::parse_from(std::iter::once("bench").chain(words.iter().copied())).options
}

fn medians(path: &Path) -> BTreeMap<String, f64> {
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let results = file["results"].as_array().unwrap();
    let line = |line: &Value| {
        (
            line["name"].as_str().unwrap().to_owned(),
            line["median"].as_f64().unwrap(),
        )
    };
    results.iter().map(line).collect()
}

/// What the controllers of a whole cluster do; without it, a wait for it.
async fn give_account(url: &str) {
    let options = ClientOptions {
        server: Some(url.to_owned()),
        ..ClientOptions::default()
    };
    let client = fluyt_client::connect(&options).await.unwrap();
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "fluyt-bench" } });
    rest::create::<Value>(&client, "/api/v1/namespaces", &namespace)
        .await
        .unwrap();
    let path = "/api/v1/namespaces/fluyt-bench/serviceaccounts";
    let account =
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
    rest::create::<Value>(&client, path, &account)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_reports_its_figures() {
    let server = testing::start().await;
    give_account(&server.url()).await;
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let (url, json_text) = (server.url(), json.display().to_string());
    let words = ["--server", &url, "--json", &json_text, "--runs", "2"];
    let small = ["--creates", "150", "--gets", "100", "--pods", "70"];
    let scenarios = ["creates", "gets", "list", "watch"];
    let words: Vec<&str> = words.into_iter().chain(small).chain(scenarios).collect();
    fluyt_bench::run(options(&words)).await.unwrap();

    let medians = medians(&json);
    let names: Vec<_> = medians.keys().map(String::as_str).collect();
    assert_eq!(names, ["creates", "gets", "list", "list-bytes", "watch"]);
    assert!(medians.values().all(|median| *median > 0.0), "{medians:?}");
    // 70 pods of a few hundred bytes each.
    assert!((0.01..1.0).contains(&medians["list-bytes"]), "{medians:?}");
    assert_eq!(
        server
            .running
            .store()
            .count("/registry/pods/")
            .await
            .unwrap(),
        0
    );
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let words = ["--server", "http://127.0.0.1:1", "gets"];
    let refused = fluyt_bench::run(options(&words)).await.unwrap_err();
    let text = format!("{refused:#}");
    assert!(
        text.starts_with("scenario gets: cannot connect to 127.0.0.1:1"),
        "{text}"
    );
}

#[tokio::test]
async fn an_unknown_scenario_is_named() {
    let refused = fluyt_bench::run(options(&["nothing"]))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("there is no scenario \"nothing\""),
        "{refused}"
    );
}
