//! The kubelet's server: logs that are read and followed, commands, who is let in.
#![allow(clippy::unwrap_used)]

mod support;

use fluyt_client::rest;
use futures::{AsyncBufReadExt, SinkExt, StreamExt, TryStreamExt};
use std::time::Duration;
use support::{BUSYBOX, Node, eventually, in_namespace, nowhere};
use tokio_tungstenite::tungstenite::Message;

fn kubelet() -> kube::Client {
    let mut config = kube::Config::new("https://127.0.0.1:10250".parse().unwrap());
    config.accept_invalid_certs = true;
    config.disable_compression = true;
    kube::Client::try_from(config).unwrap()
}

async fn get(client: &kube::Client, path: &str) -> Result<String, kube::Error> {
    let request = rest::request(http::Method::GET, path, "", Vec::new())?;
    rest::send(client, request)
        .await
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

const COUNTER: &str = "for i in 1 2 3; do echo line $i; done; echo to stderr >&2; \
    while [ ! -e /tmp/go ]; do sleep 0.05; done; echo line 4; while [ ! -e /tmp/end ]; do sleep 0.05; done; echo line 5";

fn manifest() -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: talker}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: c\n    image: {BUSYBOX}\n    command: [sh, -c, '{COUNTER}']\n"
    )
}

#[test]
fn logs_are_read_and_followed() {
    in_namespace(|| async {
        let node = Node::start("node1", nowhere(), &[]).await;
        node.manifest("talker.yaml", &manifest());
        let id = node.running("c").await;
        let client = kubelet();
        let logs = "/containerLogs/default/talker-node1/c";
        eventually("the log has its lines", async || {
            get(&client, logs)
                .await
                .is_ok_and(|text| text.lines().count() == 4)
        })
        .await;
        assert_eq!(
            get(&client, &format!("{logs}?tailLines=2"))
                .await
                .unwrap()
                .lines()
                .count(),
            2
        );
        assert_eq!(
            get(&client, &format!("{logs}?stream=Stderr"))
                .await
                .unwrap(),
            "to stderr\n"
        );
        assert_eq!(
            get(&client, &format!("{logs}?limitBytes=4"))
                .await
                .unwrap()
                .len(),
            4,
            "whichever of the two streams came first"
        );
        let stamped = get(&client, &format!("{logs}?timestamps=true"))
            .await
            .unwrap();
        let (time, _) = stamped.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(
            get(&client, &format!("{logs}?sinceTime=2100-01-01T00:00:00Z"))
                .await
                .unwrap(),
            ""
        );

        let request = http::Request::get(format!("{logs}?follow=true&stream=Stdout"))
            .body(Vec::new())
            .unwrap();
        let mut lines = client.request_stream(request).await.unwrap().lines();
        for expected in ["line 1", "line 2", "line 3"] {
            assert_eq!(lines.try_next().await.unwrap().unwrap(), expected);
        }
        node.exec(&id, "touch /tmp/go").await;
        assert_eq!(lines.try_next().await.unwrap().unwrap(), "line 4");
        node.exec(&id, "touch /tmp/end").await;
        assert_eq!(lines.try_next().await.unwrap().unwrap(), "line 5");
        assert!(
            lines.next().await.is_none(),
            "the stream ends with the container"
        );

        for (path, code) in [
            ("/containerLogs/default/nobody/c", 404),
            ("/containerLogs/default/talker-node1/nobody", 404),
            ("/containerLogs/default/talker-node1/c?previous=true", 400),
            ("/nothing", 404),
        ] {
            match get(&client, path).await {
                Err(kube::Error::Api(status)) => assert_eq!(status.code, code, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        node.destroy().await;
    });
}

#[test]
fn commands_run_and_streams_are_spliced() {
    in_namespace(|| async {
        let node = Node::start("node1", nowhere(), &[]).await;
        node.manifest("talker.yaml", &manifest());
        node.running("c").await;
        let client = kubelet();
        let request = rest::request(
            http::Method::POST,
            "/run/default/talker-node1/c?command=echo&command=hello",
            "",
            Vec::new(),
        );
        assert_eq!(
            rest::send(&client, request.unwrap()).await.unwrap(),
            "hello\n"
        );
        assert!(
            get(&client, "/pods")
                .await
                .unwrap()
                .contains("talker-node1")
        );
        assert!(
            get(&client, "/metrics")
                .await
                .unwrap()
                .contains("kubelet_running_pods 1")
        );
        assert!(
            get(&client, "/stats/summary")
                .await
                .unwrap()
                .contains("talker-node1")
        );

        let path = "/exec/default/talker-node1/c?command=sh&command=-c&command=echo+out;echo+err+%3E%262&output=1&error=1";
        let (mut channels, _) =
            support::websocket("127.0.0.1:10250", path, "v4.channel.k8s.io").await;
        let (mut out, mut err) = (String::new(), String::new());
        while let Some(Ok(message)) = channels.next().await {
            let data = message.into_data();
            match data.first() {
                Some(1) => out.push_str(std::str::from_utf8(&data[1..]).unwrap()),
                Some(2) => err.push_str(std::str::from_utf8(&data[1..]).unwrap()),
                _ => {}
            }
        }
        assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
        node.destroy().await;
    });
}

/// What came of a session: standard output, standard error, the status.
#[derive(Default)]
struct Session {
    out: Vec<u8>,
    err: Vec<u8>,
    status: serde_json::Value,
}

/// Sends these messages over version 5 and reads to the end.
async fn session(path: &str, messages: Vec<Vec<u8>>) -> Session {
    let offered = "v5.channel.k8s.io, v4.channel.k8s.io";
    let (socket, agreed) = support::websocket("127.0.0.1:10250", path, offered).await;
    assert_eq!(agreed, "v5.channel.k8s.io");
    let (mut sender, mut receiver) = socket.split();
    let sending = tokio::spawn(async move {
        for message in messages {
            // A session that is over takes no more.
            if sender.send(Message::Binary(message.into())).await.is_err() {
                break;
            }
        }
        sender
    });
    let mut session = Session::default();
    let mut closed = false;
    let reading = async {
        while let Some(message) = receiver.next().await {
            let message = message.unwrap();
            closed |= matches!(message, Message::Close(Some(_)));
            let data = match message {
                Message::Binary(data) => data,
                _ => continue,
            };
            match data[0] {
                1 => session.out.extend_from_slice(&data[1..]),
                2 => session.err.extend_from_slice(&data[1..]),
                3 if data.len() > 1 => session.status = serde_json::from_slice(&data[1..]).unwrap(),
                _ => {}
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(120), reading).await;
    assert!(ended.is_ok(), "the session does not end: {path}");
    assert!(closed, "the WebSocket is closed in order");
    drop(sending.await);
    session
}

/// Waits until the kubelet, too, knows that a container runs.
async fn reachable(pod: &str, container: &str) {
    let client = kubelet();
    let path = format!("/run/default/{pod}/{container}?command=true");
    eventually("commands run", async || {
        let request = rest::request(http::Method::POST, &path, "", Vec::new());
        rest::send(&client, request.unwrap()).await.is_ok()
    })
    .await;
}

const CLOSE_INPUT: [u8; 2] = [255, 0];

fn input(data: &[u8]) -> Vec<u8> {
    [b"\0".as_slice(), data].concat()
}

#[test]
fn input_ends_over_version_5() {
    in_namespace(|| async {
        let node = Node::start("node1", nowhere(), &[]).await;
        node.manifest("talker.yaml", &manifest());
        node.manifest(
            "listener.yaml",
            &format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: listener}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: l\n    image: {BUSYBOX}\n    command: [cat]\n    stdin: true\n    stdinOnce: true\n"
            ),
        );
        reachable("talker-node1", "c").await;
        reachable("listener-node1", "l").await;
        let exec = "/exec/default/talker-node1/c?input=1&output=1&error=1";

        // More than the buffers between the two ends hold, and an odd size.
        let bytes: Vec<u8> = (0..(1 << 20) + 7_u32).map(|i| (i % 251) as u8).collect();
        let mut messages: Vec<Vec<u8>> = bytes.chunks(50_000).map(input).collect();
        messages.push(CLOSE_INPUT.to_vec());
        let cat = session(&format!("{exec}&command=cat"), messages).await;
        assert!(cat.out == bytes, "{} bytes came back", cat.out.len());
        assert_eq!(cat.err, b"");
        assert_eq!(cat.status["status"], "Success");

        let script = "echo+read+$(wc+-c)+%3E%262;exit+3";
        let messages = vec![input(&bytes), CLOSE_INPUT.to_vec()];
        let failed = session(
            &format!("{exec}&command=sh&command=-c&command={script}"),
            messages,
        )
        .await;
        assert_eq!(String::from_utf8(failed.err).unwrap(), "read 1048583\n");
        assert_eq!(failed.status["reason"], "NonZeroExitCode");
        assert_eq!(failed.status["details"]["causes"][0]["message"], "3");

        // A command that leaves its input alone ends all the same. Not more than a pipe holds: containerd 1.6 waits for ever for
        // room in it, because its shim keeps the end that the command would have read from.
        let messages = vec![input(&bytes[..20_000]); 3];
        let deaf = session(&format!("{exec}&command=echo&command=done"), messages).await;
        assert_eq!(deaf.out, b"done\n");

        let attach = "/attach/default/listener-node1/l?input=1&output=1&error=1";
        let messages = vec![input(b"to the container\n"), CLOSE_INPUT.to_vec()];
        let attached = session(attach, messages).await;
        assert_eq!(attached.out, b"to the container\n");
        assert_eq!(attached.status["status"], "Success");
        node.destroy().await;
    });
}

#[test]
fn terminals_are_resized_over_version_5() {
    in_namespace(|| async {
        let node = Node::start("node1", nowhere(), &[]).await;
        node.manifest("talker.yaml", &manifest());
        reachable("talker-node1", "c").await;
        let script = "until+[+%22$(busybox+stty+size)%22+=+%2240+120%22+];do+:;done;read+line;echo+got+$line";
        let path = format!(
            "/exec/default/talker-node1/c?input=1&output=1&tty=1&command=sh&command=-c&command={script}"
        );
        let messages = vec![
            [b"\x04".as_slice(), br#"{"Width":120,"Height":40}"#].concat(),
            input(b"it\r"),
        ];
        let resized = session(&path, messages).await;
        let out = String::from_utf8(resized.out).unwrap();
        assert!(out.ends_with("got it\r\n"), "{out:?}");
        assert_eq!(resized.status["status"], "Success");
        node.destroy().await;
    });
}

#[test]
fn strangers_are_refused() {
    in_namespace(|| async {
        let node = Node::start("node1", nowhere(), &["--anonymous-auth=false"]).await;
        let client = kubelet();
        let mut refused = None;
        eventually("the server answers", async || {
            refused = get(&client, "/pods").await.err();
            matches!(refused, Some(kube::Error::Api(_)))
        })
        .await;
        assert!(matches!(refused, Some(kube::Error::Api(status)) if status.code == 401));
        node.destroy().await;
    });
}
