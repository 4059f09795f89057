//! What survives a restart, and how a server ends.
#![allow(clippy::unwrap_used)] // tests may fail by panicking

mod support;

use std::time::{Duration, Instant};

use fluyt_apiserver::testing;
use serde_json::json;
use support::{MAPS, Watch, config_map, get, post};

#[tokio::test]
async fn the_embedded_store_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let server = testing::start_in(directory.path()).await;
    let made = post(&server, MAPS, &config_map("a")).await.expect(201).body;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let ip = post(&server, services, &service).await.expect(201).body["spec"]["clusterIP"].clone();
    server.stop().await;

    let server = testing::start_in(directory.path()).await;
    let read = get(&server, &format!("{MAPS}/a")).await.expect(200).body;
    assert_eq!(read, made);
    let taken = json!({
        "metadata": {"name": "t"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]},
    });
    assert_eq!(post(&server, services, &taken).await.code, 422);
    server.stop().await;
}

#[tokio::test]
async fn open_watches_do_not_keep_a_server_alive() {
    let server = testing::start().await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(Watch::open(&server, &format!("{MAPS}?watch=true")).await);
    }
    let started = Instant::now();
    server.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    for mut watch in watches {
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let server = testing::start().await;
    let options = fluyt_apiserver::Options {
        insecure_port: server.address().port(),
        ..testing::options()
    };
    let error = fluyt_apiserver::start(options, tokio_util::sync::CancellationToken::new())
        .await
        .err()
        .expect("the port is taken");
    let text = format!("{error:#}");
    assert!(
        text.contains("--insecure-port") && text.contains("in use"),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test]
async fn events_are_forgotten_after_their_time() {
    let server = testing::serve(fluyt_apiserver::Options {
        event_ttl: Duration::from_millis(300),
        ..testing::options()
    })
    .await;
    let events = "/api/v1/namespaces/default/events";
    let event = json!({
        "metadata": {"name": "e"}, "reason": "Tested", "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
    });
    let mut watch = Watch::open(&server, &format!("{events}?watch=true")).await;
    post(&server, events, &event).await.expect(201);
    assert_eq!(watch.step().await, ("ADDED".into(), "e".into()));
    assert_eq!(watch.step().await, ("DELETED".into(), "e".into()));
    server.stop().await;
}
