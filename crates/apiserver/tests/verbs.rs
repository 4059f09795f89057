//! The life of objects over HTTP: every verb, and what bad input gets.
#![allow(clippy::unwrap_used)] // tests may fail by panicking

mod support;

use fluyt_apiserver::testing;
use serde_json::{Value, json};
use support::{MAPS, PODS, call, config_map, delete, get, patch, pod, post, put};

#[tokio::test]
async fn an_object_lives_through_all_verbs() {
    let server = testing::start().await;
    let made = post(&server, MAPS, &config_map("a")).await.expect(201);
    assert_eq!(made.body["kind"], "ConfigMap");
    let version = made.body["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = get(&server, &format!("{MAPS}/a")).await.expect(200);
    assert_eq!(read.body, made.body);
    let again = post(&server, MAPS, &config_map("a")).await.expect(409);
    assert_eq!(again.message(), "configmaps \"a\" already exists");

    let mut changed = read.body.clone();
    changed["data"]["k"] = "w".into();
    let updated = put(&server, &format!("{MAPS}/a"), &changed)
        .await
        .expect(200);
    assert_ne!(
        updated.body["metadata"]["resourceVersion"],
        version.as_str()
    );
    let stale = put(&server, &format!("{MAPS}/a"), &changed)
        .await
        .expect(409);
    assert_eq!(
        stale.message(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let same = put(&server, &format!("{MAPS}/a"), &updated.body)
        .await
        .expect(200);
    assert_eq!(
        same.body, updated.body,
        "an update without a change writes nothing"
    );

    for (kind, body) in [
        ("merge-patch", json!({"data": {"k": null, "m": "1"}})),
        ("strategic-merge-patch", json!({"data": {"s": "2"}})),
        (
            "json-patch",
            json!([{"op": "add", "path": "/data/j", "value": "3"}]),
        ),
    ] {
        patch(&server, &format!("{MAPS}/a"), kind, &body)
            .await
            .expect(200);
    }
    let read = get(&server, &format!("{MAPS}/a")).await.expect(200);
    assert_eq!(read.body["data"], json!({"m": "1", "s": "2", "j": "3"}));

    let list = get(&server, MAPS).await.expect(200);
    assert_eq!(list.body["kind"], "ConfigMapList");
    let gone = delete(&server, &format!("{MAPS}/a")).await.expect(200);
    assert_eq!(gone.body["status"], "Success");
    assert_eq!(gone.body["details"]["uid"], read.body["metadata"]["uid"]);
    let missing = get(&server, &format!("{MAPS}/a")).await.expect(404);
    assert_eq!(missing.message(), "configmaps \"a\" not found");
    server.stop().await;
}

#[tokio::test]
async fn bad_bodies_get_a_status() {
    let server = testing::start().await;
    let json = [("content-type", "application/json")];
    let yaml = [("content-type", "application/yaml")];
    for (headers, body, code) in [
        (&json, "{", 400),
        (&json, "", 400),
        (&json, "[]", 400),
        (&json, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", 400),
        (&json, "{\"metadata\":{\"name\":7}}", 400),
        (&json, "{\"metadata\":{\"name\":\"Not A Name\"}}", 422),
        (&json, "{\"metadata\":{}}", 422),
        (
            &json,
            "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}",
            400,
        ),
        (&yaml, "a: [", 400),
        (&yaml, "metadata: {name: [1]}", 400),
    ] {
        let answer = call(&server, "POST", MAPS, headers, body.to_owned()).await;
        assert_eq!(answer.code, code, "{body}: {}", answer.text);
        assert_eq!(answer.body["kind"], "Status", "{body}");
        assert!(!answer.message().is_empty(), "{body}");
    }
    let odd = call(&server, "POST", MAPS, &[("content-type", "text/html")], "x").await;
    assert_eq!(odd.code, 415);
    let huge = vec![b' '; 3 * 1024 * 1024 + 1];
    let answer = call(&server, "POST", MAPS, &json, huge).await.expect(413);
    assert_eq!(answer.body["reason"], "RequestEntityTooLarge");
    server.stop().await;
}

#[tokio::test]
async fn unknown_fields_follow_field_validation() {
    let server = testing::start().await;
    let mut odd = config_map("a");
    odd["bogus"] = 1.into();
    let strict = post(&server, &format!("{MAPS}?fieldValidation=Strict"), &odd)
        .await
        .expect(400);
    assert!(
        strict.message().contains("unknown field \"bogus\""),
        "{}",
        strict.message()
    );
    let warned = post(&server, &format!("{MAPS}?dryRun=All"), &odd)
        .await
        .expect(201);
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"bogus\\\"\""]);
    let quiet = post(&server, &format!("{MAPS}?fieldValidation=Ignore"), &odd)
        .await
        .expect(201);
    assert!(quiet.warnings().is_empty());
    assert_eq!(quiet.body.get("bogus"), None);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = testing::start().await;
    for path in [
        "/nowhere",
        "/api/v2/pods",
        "/apis/none.example/v1/things",
        "/api/v1/bananas",
    ] {
        let answer = get(&server, path).await.expect(404);
        assert_eq!(
            answer.message(),
            "the server could not find the requested resource",
            "{path}"
        );
    }
    let answer = call(&server, "PUT", MAPS, &[], "").await.expect(405);
    assert_eq!(
        answer.message(),
        "the server does not allow this method on the requested resource"
    );
    let nowhere = post(
        &server,
        "/api/v1/namespaces/none/configmaps",
        &config_map("a"),
    )
    .await;
    assert_eq!(
        nowhere.expect(404).message(),
        "namespaces \"none\" not found"
    );
    server.stop().await;
}

#[tokio::test]
async fn dry_run_changes_nothing() {
    let server = testing::start().await;
    post(&server, MAPS, &config_map("kept")).await.expect(201);
    post(&server, &format!("{MAPS}?dryRun=All"), &config_map("a"))
        .await
        .expect(201);
    get(&server, &format!("{MAPS}/a")).await.expect(404);
    delete(&server, &format!("{MAPS}/kept?dryRun=All"))
        .await
        .expect(200);
    let change = json!({"data": {"k": "other"}});
    let path = format!("{MAPS}/kept?dryRun=All");
    let answer = patch(&server, &path, "merge-patch", &change)
        .await
        .expect(200);
    assert_eq!(answer.body["data"]["k"], "other");
    let kept = get(&server, &format!("{MAPS}/kept")).await.expect(200);
    assert_eq!(kept.body["data"]["k"], "v");
    server.stop().await;
}

#[tokio::test]
async fn options_that_nobody_knows_are_an_invalid_object_of_their_own_kind() {
    let server = testing::start().await;
    let check = |answer: support::Answer, expected: &str| {
        let answer = answer.expect(422);
        assert_eq!(answer.message(), expected);
        assert_eq!(answer.body["reason"], "Invalid");
        assert_eq!(answer.body["details"]["group"], "meta.k8s.io");
        assert!(answer.body["details"]["causes"][0]["field"].is_string());
    };
    let path = format!("{MAPS}?dryRun=Some&fieldValidation=Odd");
    check(
        post(&server, &path, &config_map("a")).await,
        "CreateOptions.meta.k8s.io \"\" is invalid: [dryRun: Unsupported value: [\"Some\"]: supported values: \"All\", fieldValidation: Unsupported value: \"Odd\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"]",
    );
    post(&server, MAPS, &config_map("a")).await.expect(201);
    check(
        patch(
            &server,
            &format!("{MAPS}/a?force=true"),
            "merge-patch",
            &json!({}),
        )
        .await,
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
    );
    check(
        delete(&server, &format!("{MAPS}/a?propagationPolicy=Sideways")).await,
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
    );
    let failed = json!([{"op": "test", "path": "/metadata/name", "value": "b"}]);
    let answer = patch(&server, &format!("{MAPS}/a"), "json-patch", &failed)
        .await
        .expect(422);
    assert_eq!(
        answer.message(),
        "the server rejected our request due to an error in our request"
    );
    assert_eq!(answer.body["details"], json!({}));
    server.stop().await;
}

#[tokio::test]
async fn component_statuses_say_how_the_parts_are() {
    let server = testing::serve(fluyt_apiserver::Options {
        companions: vec!["scheduler"],
        ..testing::options()
    })
    .await;
    let all = get(&server, "/api/v1/componentstatuses")
        .await
        .expect(200)
        .body;
    assert_eq!(all["kind"], "ComponentStatusList");
    let one = |name: &str| {
        let items = all["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["metadata"]["name"] == name);
        found.unwrap()["conditions"][0].clone()
    };
    let healthy = json!({"type": "Healthy", "status": "True", "message": "ok"});
    assert_eq!(one("etcd-0"), healthy);
    assert_eq!(one("scheduler"), healthy);
    assert_eq!(one("controller-manager")["type"], "Healthy");
    let etcd = get(&server, "/api/v1/componentstatuses/etcd-0")
        .await
        .expect(200)
        .body;
    assert_eq!(etcd["conditions"], json!([healthy]));
    let none = get(&server, "/api/v1/componentstatuses/nope")
        .await
        .expect(404);
    assert_eq!(none.message(), "componentstatus \"nope\" not found");
    let chosen = get(&server, "/api/v1/componentstatuses?labelSelector=a%3Db")
        .await
        .expect(200);
    assert_eq!(chosen.body["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let server = testing::start().await;
    let mut map = config_map("a");
    map["metadata"]["finalizers"] = json!(["example.com/wait"]);
    post(&server, MAPS, &map).await.expect(201);
    let marked = delete(&server, &format!("{MAPS}/a")).await.expect(200);
    assert!(
        marked.body["metadata"]["deletionTimestamp"].is_string(),
        "{}",
        marked.text
    );
    get(&server, &format!("{MAPS}/a")).await.expect(200);
    let release = json!({"metadata": {"finalizers": null}});
    patch(&server, &format!("{MAPS}/a"), "merge-patch", &release)
        .await
        .expect(200);
    get(&server, &format!("{MAPS}/a")).await.expect(404);
    server.stop().await;
}

#[tokio::test]
async fn preconditions_and_propagation_are_honoured() {
    let server = testing::start().await;
    post(&server, MAPS, &config_map("a")).await.expect(201);
    let path = format!("{MAPS}/a");
    let json = [("content-type", "application/json")];
    let wrong = json!({"preconditions": {"uid": "other"}}).to_string();
    let answer = call(&server, "DELETE", &path, &json, wrong)
        .await
        .expect(409);
    assert!(
        answer
            .message()
            .contains("the UID in the precondition (other)"),
        "{}",
        answer.message()
    );
    let bad = json!({"propagationPolicy": "Sideways"}).to_string();
    assert_eq!(call(&server, "DELETE", &path, &json, bad).await.code, 422);
    let foreground = json!({
        "kind": "DeleteOptions", "apiVersion": "apps/v1", "propagationPolicy": "Foreground",
    });
    let answer = call(&server, "DELETE", &path, &json, foreground.to_string())
        .await
        .expect(200);
    assert_eq!(
        answer.body["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    server.stop().await;
}

#[tokio::test]
async fn generated_names_are_unique() {
    let server = testing::start().await;
    let map = json!({"metadata": {"generateName": "gen-"}});
    let mut names = std::collections::HashSet::new();
    for _ in 0..20 {
        let made = post(&server, MAPS, &map).await.expect(201);
        let name = made.body["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
        assert!(names.insert(name));
    }
    server.stop().await;
}

#[tokio::test]
async fn pods_are_bound_once_and_deleted_gracefully() {
    let server = testing::start().await;
    post(&server, PODS, &pod("a")).await.expect(201);
    let binding = json!({
        "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node1"},
    });
    let path = format!("{PODS}/a/binding");
    post(&server, &path, &binding).await.expect(201);
    let bound = get(&server, &format!("{PODS}/a")).await.expect(200).body;
    assert_eq!(bound["spec"]["nodeName"], "node1");
    let conditions = &bound["status"]["conditions"];
    assert!(
        conditions
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["status"] == "True"),
        "{conditions}"
    );
    let again = post(&server, &path, &binding).await.expect(409);
    assert_eq!(
        again.message(),
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"node1\""
    );
    let going = delete(&server, &format!("{PODS}/a")).await.expect(200);
    assert_eq!(going.body["metadata"]["deletionGracePeriodSeconds"], 30);
    get(&server, &format!("{PODS}/a")).await.expect(200);
    delete(&server, &format!("{PODS}/a?gracePeriodSeconds=0"))
        .await
        .expect(200);
    get(&server, &format!("{PODS}/a")).await.expect(404);
    server.stop().await;
}

#[tokio::test]
async fn status_and_scale_change_their_part_alone() {
    let server = testing::start().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    });
    let made = post(&server, deployments, &deployment)
        .await
        .expect(201)
        .body;
    let mut status = made.clone();
    status["spec"]["replicas"] = 9.into();
    status["status"]["replicas"] = 1.into();
    let path = format!("{deployments}/d/status");
    let answer = put(&server, &path, &status).await.expect(200).body;
    assert_eq!(answer["spec"]["replicas"], 1);
    assert_eq!(answer["status"]["replicas"], 1);
    assert_eq!(answer["metadata"]["generation"], 1);
    let path = format!("{deployments}/d/scale");
    let scale = get(&server, &path).await.expect(200).body;
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"]["selector"], "app=d");
    let change = json!({"spec": {"replicas": 3}});
    let answer = patch(&server, &path, "merge-patch", &change)
        .await
        .expect(200)
        .body;
    assert_eq!(answer["spec"]["replicas"], 3);
    let after = get(&server, &format!("{deployments}/d"))
        .await
        .expect(200)
        .body;
    assert_eq!(after["spec"]["replicas"], 3);
    assert_eq!(after["metadata"]["generation"], 2);
    let change = json!({"spec": {"replicas": -1}});
    assert_eq!(
        patch(&server, &path, "merge-patch", &change).await.code,
        422
    );
    server.stop().await;
}

#[tokio::test]
async fn services_get_addresses_and_ports_and_give_them_back() {
    let server = testing::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| {
        let mut object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        object
    };
    let a = post(
        &server,
        services,
        &service("a", json!({"type": "NodePort"})),
    )
    .await
    .expect(201);
    let ip = a.body["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("10.0."), "{ip}");
    let port = a.body["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30000..=32767).contains(&port));
    let taken = post(&server, services, &service("b", json!({"clusterIP": ip})))
        .await
        .expect(422);
    assert!(
        taken.message().contains("provided IP is already allocated"),
        "{}",
        taken.message()
    );
    let outside = service("b", json!({"clusterIP": "10.9.0.1"}));
    assert_eq!(post(&server, services, &outside).await.code, 422);
    let headless = service("h", json!({"clusterIP": "None"}));
    let headless = post(&server, services, &headless).await.expect(201);
    assert_eq!(headless.body["spec"]["clusterIPs"], json!(["None"]));
    delete(&server, &format!("{services}/a")).await.expect(200);
    post(&server, services, &service("b", json!({"clusterIP": ip})))
        .await
        .expect(201);
    server.stop().await;
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let server = testing::start().await;
    for name in ["a", "b", "c"] {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"name": name});
        post(&server, MAPS, &map).await.expect(201);
    }
    let path = format!("{MAPS}?labelSelector=name%20in%20(a,b)");
    let answer = delete(&server, &path).await.expect(200);
    assert_eq!(answer.body["items"].as_array().unwrap().len(), 2);
    let left = get(&server, MAPS).await.expect(200);
    assert_eq!(left.body["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn immortal_namespaces_stay_and_others_terminate() {
    let server = testing::start().await;
    let answer = delete(&server, "/api/v1/namespaces/default")
        .await
        .expect(403);
    assert_eq!(
        answer.message(),
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
    let namespace = json!({"metadata": {"name": "n"}});
    post(&server, "/api/v1/namespaces", &namespace)
        .await
        .expect(201);
    let going = delete(&server, "/api/v1/namespaces/n").await.expect(200);
    assert_eq!(going.body["status"]["phase"], "Terminating");
    let refused = post(&server, "/api/v1/namespaces/n/configmaps", &config_map("a")).await;
    let refused = refused.expect(403);
    assert_eq!(
        refused.message(),
        "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    let mut object = get(&server, "/api/v1/namespaces/n").await.expect(200).body;
    object["spec"] = json!({});
    put(&server, "/api/v1/namespaces/n/finalize", &object)
        .await
        .expect(200);
    get(&server, "/api/v1/namespaces/n").await.expect(404);
    server.stop().await;
}

/// curl, as people use it: over HTTP/2 an answer is lost when the stream is reset before the body was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_body_gets_its_answer_over_http2() {
    let server = testing::start().await;
    let url = format!("{}{MAPS}", server.url());
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), vec![b' '; 7 << 19]).unwrap();
    let data = format!("@{}", body.path().display());
    let curl = tokio::task::spawn_blocking(move || {
        std::process::Command::new("curl")
            .args([
                "-sS",
                "--noproxy",
                "*",
                "--http2-prior-knowledge",
                "--max-time",
                "20",
            ])
            .args([
                "-H",
                "content-type: application/json",
                "--data-binary",
                &data,
                &url,
            ])
            .output()
            .unwrap()
    });
    let done = curl.await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    server.stop().await;
}
