//! Measures the embedded backend on the disk it is pointed at:
//! `cargo run --release -p fluyt-store --example commit_rate -- [DIRECTORY] [KEYS]`.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fluyt_store::{Durability, Op, Options, Precondition, Store, embedded};

const VALUE_BYTES: usize = 200;
const RUN: Duration = Duration::from_secs(3);

fn put(key: String, durability: Durability) -> Op {
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    Op::Put {
        key,
        value,
        precondition: Precondition::None,
        durability,
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

fn disk_mib(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum::<u64>()
        >> 20
}

async fn commits_per_second(store: &Arc<dyn Store>, writers: usize, durability: Durability) -> f64 {
    let started = Instant::now();
    let write = |writer: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut count = 0u64;
            while started.elapsed() < RUN {
                let key = format!("/rate/{writer}/{}", count % 100);
                store.commit(vec![put(key, durability)]).await.unwrap();
                count += 1;
            }
            count
        })
    };
    let tasks: Vec<_> = (0..writers).map(write).collect();
    let mut total = 0;
    for task in tasks {
        total += task.await.unwrap();
    }
    total as f64 / started.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().unwrap_or_else(|| ".".into());
    let keys: usize = arguments
        .next()
        .map_or(1_000_000, |keys| keys.parse().unwrap());
    let directory = tempfile::tempdir_in(parent).unwrap();
    let store = embedded(directory.path(), &Options::default())
        .await
        .unwrap();
    for writers in [1, 16, 64, 256] {
        let rate = commits_per_second(&store, writers, Durability::Durable).await;
        println!("durable commits/s, {writers:3} writers: {rate:.0}");
    }
    let rate = commits_per_second(&store, 64, Durability::Relaxed).await;
    println!("relaxed commits/s,  64 writers: {rate:.0}");
    let started = Instant::now();
    for _ in 0..1_000_000 / 200 {
        let ops = (0..200).map(|lease| put(format!("/lease/{lease}"), Durability::Relaxed));
        store.commit(ops.collect()).await.unwrap();
    }
    let elapsed = started.elapsed();
    println!(
        "1,000,000 lease updates in {elapsed:.1?}, {} MiB on disk",
        disk_mib(directory.path())
    );

    let before = resident_mib();
    for start in (0..keys).step_by(1000) {
        let ops =
            (start..start + 1000).map(|key| put(format!("/keys/{key:08}"), Durability::Durable));
        store.commit(ops.collect()).await.unwrap();
    }
    let bytes = (keys * (VALUE_BYTES + 14)) >> 20;
    let grown = resident_mib().saturating_sub(before);
    println!("{keys} keys of {bytes} MiB in all take {grown} MiB of memory");
    let started = Instant::now();
    store.range("/keys/", None, None, 0).await.unwrap();
    println!("listing them: {:.1?}", started.elapsed());
    store.close().await;
    drop(store);
    println!("on disk: {} MiB", disk_mib(directory.path()));
    let started = Instant::now();
    let store = embedded(directory.path(), &Options::default())
        .await
        .unwrap();
    println!("recovery: {:.1?}", started.elapsed());
    store.close().await;
}
