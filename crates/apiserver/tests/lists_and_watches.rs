//! Lists, pages and watches over HTTP.
#![allow(clippy::unwrap_used)] // tests may fail by panicking

mod support;

use fluyt_apiserver::testing;
use serde_json::{Value, json};
use support::{MAPS, PODS, Watch, call, config_map, delete, get, patch, pod, post};

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_show_one_state_while_others_write() {
    let server = testing::start().await;
    for index in 0..10 {
        post(&server, MAPS, &config_map(&format!("m{index}")))
            .await
            .expect(201);
    }
    let mut all: Vec<String> = Vec::new();
    let mut path = format!("{MAPS}?limit=3");
    let mut version: Option<Value> = None;
    loop {
        let page = get(&server, &path).await.expect(200).body;
        let seen = version.get_or_insert(page["metadata"]["resourceVersion"].clone());
        assert_eq!(*seen, page["metadata"]["resourceVersion"]);
        all.extend(names(&page).into_iter().map(str::to_owned));
        // Writes between the pages are not seen.
        post(&server, MAPS, &config_map(&format!("z{}", all.len())))
            .await
            .expect(201);
        delete(&server, &format!("{MAPS}/m9")).await;
        let Some(token) = page["metadata"]["continue"].as_str() else {
            break;
        };
        assert_eq!(page["metadata"]["remainingItemCount"], 10 - all.len());
        path = format!("{MAPS}?limit=3&continue={token}");
    }
    let expected: Vec<String> = (0..10).map(|index| format!("m{index}")).collect();
    assert_eq!(all, expected);
    let bad = get(&server, &format!("{MAPS}?continue=nonsense"))
        .await
        .expect(400);
    assert!(
        bad.message().starts_with("continue key is not valid"),
        "{}",
        bad.message()
    );
    server.stop().await;
}

#[tokio::test]
async fn selectors_choose_and_bad_ones_are_refused() {
    let server = testing::start().await;
    for name in ["a", "b"] {
        post(&server, PODS, &pod(name)).await.expect(201);
    }
    for (query, expected) in [
        ("labelSelector=app%3Da", vec!["a"]),
        ("labelSelector=app%20notin%20(a)", vec!["b"]),
        ("labelSelector=!app", vec![]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=spec.nodeName%3D", vec!["a", "b"]),
        (
            "fieldSelector=status.phase!%3DRunning,metadata.name!%3Da",
            vec!["b"],
        ),
    ] {
        let list = get(&server, &format!("{PODS}?{query}"))
            .await
            .expect(200)
            .body;
        assert_eq!(names(&list), expected, "{query}");
    }
    for query in [
        "labelSelector=a%3D%3D%3Db",
        "fieldSelector=spec.bogus%3D1",
        "limit=x",
        "resourceVersion=x",
    ] {
        let answer = get(&server, &format!("{PODS}?{query}")).await;
        assert_eq!(answer.code, 400, "{query}: {}", answer.text);
        assert_eq!(answer.body["kind"], "Status", "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn exact_and_future_versions() {
    let server = testing::start().await;
    let first = post(&server, MAPS, &config_map("a")).await.expect(201).body;
    let version = first["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    post(&server, MAPS, &config_map("b")).await.expect(201);
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    let list = get(&server, &exact).await.expect(200).body;
    assert_eq!(names(&list), ["a"]);
    assert_eq!(list["metadata"]["resourceVersion"], version.as_str());
    let newer = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(
        names(&get(&server, &newer).await.expect(200).body),
        ["a", "b"]
    );
    let future = get(&server, &format!("{MAPS}?resourceVersion=999999"))
        .await
        .expect(504);
    assert!(
        future.message().contains("Too large resource version"),
        "{}",
        future.message()
    );
    assert_eq!(
        get(&server, &format!("{MAPS}?resourceVersionMatch=Exact"))
            .await
            .expect(422)
            .message(),
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    );
    server.stop().await;
}

#[tokio::test]
async fn watches_say_what_happens() {
    let server = testing::start().await;
    post(&server, MAPS, &config_map("old")).await.expect(201);
    let list = get(&server, MAPS).await.expect(200).body;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut from_now = Watch::open(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion={version}"),
    )
    .await;
    let mut from_all = Watch::open(&server, "/api/v1/watch/namespaces/default/configmaps").await;
    let mut elsewhere = Watch::open(
        &server,
        "/api/v1/namespaces/kube-system/configmaps?watch=1&resourceVersion=0",
    )
    .await;
    assert_eq!(from_all.step().await, ("ADDED".into(), "old".into()));
    post(&server, MAPS, &config_map("new")).await.expect(201);
    patch(
        &server,
        &format!("{MAPS}/new"),
        "merge-patch",
        &json!({"data": {"k": "2"}}),
    )
    .await
    .expect(200);
    delete(&server, &format!("{MAPS}/new")).await.expect(200);
    let system = "/api/v1/namespaces/kube-system/configmaps";
    post(&server, system, &config_map("there"))
        .await
        .expect(201);
    for watch in [&mut from_now, &mut from_all] {
        let mut last = 0;
        for expected in ["ADDED", "MODIFIED", "DELETED"] {
            let event = watch.next().await.unwrap();
            assert_eq!(event["type"], expected);
            assert_eq!(event["object"]["kind"], "ConfigMap");
            let version: u64 = event["object"]["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(version > last, "versions rise");
            last = version;
        }
    }
    assert_eq!(elsewhere.step().await, ("ADDED".into(), "there".into()));
    server.stop().await;
}

#[tokio::test]
async fn objects_enter_and_leave_a_selector() {
    let server = testing::start().await;
    let path = format!("{MAPS}?watch=true&labelSelector=on%3Dyes");
    let mut watch = Watch::open(&server, &path).await;
    post(&server, MAPS, &config_map("a")).await.expect(201);
    let set = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    let object = format!("{MAPS}/a");
    patch(&server, &object, "merge-patch", &set("yes".into()))
        .await
        .expect(200);
    patch(
        &server,
        &object,
        "merge-patch",
        &json!({"data": {"x": "y"}}),
    )
    .await
    .expect(200);
    patch(&server, &object, "merge-patch", &set("no".into()))
        .await
        .expect(200);
    delete(&server, &object).await.expect(200);
    post(&server, MAPS, &config_map("b")).await.expect(201);
    patch(
        &server,
        &format!("{MAPS}/b"),
        "merge-patch",
        &set("yes".into()),
    )
    .await
    .expect(200);
    for expected in [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
    ] {
        assert_eq!(
            watch.step().await,
            (expected.0.to_owned(), expected.1.to_owned())
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn pods_are_watched_by_node() {
    let server = testing::start().await;
    let mut watch = Watch::open(
        &server,
        "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1",
    )
    .await;
    post(&server, PODS, &pod("a")).await.expect(201);
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    post(&server, &format!("{PODS}/a/binding"), &binding)
        .await
        .expect(201);
    assert_eq!(watch.step().await, ("ADDED".into(), "a".into()));
    server.stop().await;
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let server = testing::start().await;
    post(&server, MAPS, &config_map("a")).await.expect(201);
    let path = format!(
        "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = Watch::open(&server, &path).await;
    assert_eq!(watch.step().await, ("ADDED".into(), "a".into()));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let version: u64 = bookmark["object"]["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(version > 0);
    post(&server, MAPS, &config_map("b")).await.expect(201);
    assert_eq!(watch.step().await, ("ADDED".into(), "b".into()));
    let wrong = get(
        &server,
        &format!("{MAPS}?watch=true&sendInitialEvents=true"),
    )
    .await;
    assert_eq!(wrong.code, 422);
    server.stop().await;
}

#[tokio::test]
async fn versions_that_are_forgotten_are_gone() {
    let server = testing::start().await;
    post(&server, MAPS, &config_map("a")).await.expect(201);
    let store = server.running.store();
    for index in 0..5 {
        let body = json!({"data": {"k": index.to_string()}});
        patch(&server, &format!("{MAPS}/a"), "merge-patch", &body)
            .await
            .expect(200);
    }
    let revision = store.revision().await.unwrap();
    store.compact(revision).await.unwrap();
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true&resourceVersion=1")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!(event["object"]["code"], 410);
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(
        event["object"]["message"]
            .as_str()
            .unwrap()
            .starts_with("too old resource version: 1 (")
    );
    assert!(watch.next().await.is_none());
    let old = get(
        &server,
        &format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact"),
    )
    .await;
    assert_eq!(old.code, 410);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let server = testing::start().await;
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true&timeoutSeconds=1")).await;
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "ADDED");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_hundred_watchers_see_every_event_in_order() {
    let server = testing::start().await;
    let mut watchers = Vec::new();
    for _ in 0..100 {
        watchers.push(Watch::open(&server, &format!("{MAPS}?watch=true")).await);
    }
    for index in 0..50 {
        post(&server, MAPS, &config_map(&format!("m{index:02}")))
            .await
            .expect(201);
    }
    for mut watch in watchers {
        for index in 0..50 {
            assert_eq!(
                watch.step().await,
                ("ADDED".to_owned(), format!("m{index:02}"))
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn tables_and_metadata_are_made_on_demand() {
    let server = testing::start().await;
    post(&server, PODS, &pod("a")).await.expect(201);
    let table = [(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    let answer = call(&server, "GET", PODS, &table, "")
        .await
        .expect(200)
        .body;
    assert_eq!(answer["kind"], "Table");
    assert_eq!(answer["columnDefinitions"][0]["name"], "Name");
    assert_eq!(answer["rows"][0]["cells"][0], "a");
    assert_eq!(answer["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )];
    let answer = call(&server, "GET", PODS, &partial, "")
        .await
        .expect(200)
        .body;
    assert_eq!(answer["kind"], "PartialObjectMetadataList");
    assert_eq!(answer["items"][0]["metadata"]["name"], "a");
    assert_eq!(answer["items"][0].get("spec"), None);
    let refused = call(&server, "GET", PODS, &[("accept", "image/png")], "").await;
    assert_eq!(refused.code, 406);
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_many_chunks_is_whole() {
    let server = testing::start().await;
    let text = "x".repeat(100_000);
    for index in 0..12 {
        let map = json!({"metadata": {"name": format!("m{index:02}")}, "data": {"t": text}});
        post(&server, MAPS, &map).await.expect(201);
    }
    let list = get(&server, MAPS).await.expect(200).body;
    assert_eq!(names(&list).len(), 12);
    assert_eq!(list["items"][11]["data"]["t"], text.as_str());
    server.stop().await;
}
