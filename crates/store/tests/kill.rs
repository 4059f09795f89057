//! kill -9 of a process in the middle of writing: every write that it said was acknowledged is
//! there afterwards, and no revision is given out twice.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use fluyt_store::{Durability, Op, Options, Precondition, Store, embedded};

const DIRECTORY: &str = "FLUYT_STORE_KILL_TEST";
const WRITERS: usize = 16;

fn options() -> Options {
    // Small, so that kills also hit checkpoints.
    Options {
        log_bytes: 64 << 10,
        ..Options::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn write_for_ever(store: Arc<dyn Store>, writer: usize) {
    for number in 0.. {
        let key = format!("/{writer}/{}", number % 20);
        let value = format!("{number} {}", "x".repeat(number % 300));
        let op = Op::Put {
            key: key.clone(),
            value: Bytes::from(value),
            precondition: Precondition::None,
            durability: if writer == 0 {
                Durability::Relaxed
            } else {
                Durability::Durable
            },
        };
        let revision = store.commit(vec![op]).await.unwrap().revision;
        // One write call per line: a line is printed whole or not at all.
        let line = format!("{key} {number} {revision}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
}

#[test]
#[ignore = "the process that a_killed_process_loses_nothing kills"]
fn child() {
    let directory = std::env::var(DIRECTORY).expect("started by the test below");
    runtime().block_on(async {
        let store = embedded(directory.as_ref(), &options()).await.unwrap();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_for_ever(store.clone(), writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// Runs the child until it has acknowledged `enough` writes; what it said, by key.
fn run_and_kill(directory: &std::path::Path, enough: usize) -> BTreeMap<String, (u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut lines = 0;
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        // The test harness prints before the first line, without ending its own.
        let Some(at) = line.find('/') else { continue };
        let mut words = line[at..].split(' ');
        let (Some(key), Some(number), Some(revision), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        acknowledged.insert(
            key.to_owned(),
            (number.parse().unwrap(), revision.parse().unwrap()),
        );
        lines += 1;
        if lines == enough {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(
        lines >= enough,
        "the writer ended by itself after {lines} writes"
    );
    acknowledged
}

#[test]
fn a_killed_process_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut last_revision = 0;
    for round in 0..6 {
        let acknowledged = run_and_kill(directory.path(), 300 + round * 777);
        runtime().block_on(async {
            let store = embedded(directory.path(), &options()).await.unwrap();
            for (key, (number, revision)) in &acknowledged {
                assert!(
                    *revision > last_revision,
                    "{key}: revision {revision} came twice"
                );
                let entry = store
                    .get(key)
                    .await
                    .unwrap()
                    .0
                    .unwrap_or_else(|| panic!("{key} is lost"));
                let value = String::from_utf8(entry.value.to_vec()).unwrap();
                let found: u64 = value.split(' ').next().unwrap().parse().unwrap();
                // A write whose answer was not printed any more may be there too.
                assert!(
                    found >= *number,
                    "{key}: found {found}, {number} was acknowledged"
                );
            }
            last_revision = store.revision().await.unwrap();
            let newest = acknowledged
                .values()
                .map(|(_, revision)| *revision)
                .max()
                .unwrap();
            assert!(last_revision >= newest);
            store.close().await;
        });
    }
}
