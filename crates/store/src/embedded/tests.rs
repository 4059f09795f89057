//! Crash images against a model: whatever the power cut leaves, an opened store holds every
//! acknowledged durable commit, whole commits only, in order, and never reuses a revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::simulated::SimulatedDisk;
use super::*;
use crate::types::{Durability, Precondition};

type Model = BTreeMap<String, Vec<u8>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn open(disk: &SimulatedDisk, options: &Options) -> Result<Embedded, StoreError> {
    Embedded::open(Arc::new(disk.clone()), options.clone(), None)
}

fn put(key: &str, value: &[u8], durability: Durability) -> Op {
    let value = Bytes::copy_from_slice(value);
    Op::Put {
        key: key.into(),
        value,
        precondition: Precondition::None,
        durability,
    }
}

fn durable(key: &str, value: &[u8]) -> Vec<Op> {
    vec![put(key, value, Durability::Durable)]
}

fn relaxed(key: &str, value: &[u8]) -> Vec<Op> {
    vec![put(key, value, Durability::Relaxed)]
}

fn contents(store: &Embedded) -> Model {
    let page = store.shared.range("", None, None, 0).unwrap();
    page.entries
        .iter()
        .map(|entry| (entry.key.to_string(), entry.value.to_vec()))
        .collect()
}

#[derive(Clone, Debug)]
struct Step {
    keys: Vec<u8>,
    delete: bool,
    relaxed: bool,
    size: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        prop::collection::btree_set(0u8..12, 1..4),
        any::<bool>(),
        any::<bool>(),
        0usize..300,
    );
    let step = step.prop_map(|(keys, delete, relaxed, size)| Step {
        keys: keys.into_iter().collect(),
        delete: delete && !relaxed,
        relaxed,
        size,
    });
    prop::collection::vec(step, 1..60)
}

fn ops_of(step: &Step, number: usize) -> Vec<Op> {
    let durability = if step.relaxed {
        Durability::Relaxed
    } else {
        Durability::Durable
    };
    let value = format!("{number}:{}", "x".repeat(step.size));
    let op = |key: &u8| match step.delete {
        true => Op::Delete {
            key: format!("/k/{key}"),
            precondition: Precondition::None,
        },
        false => put(&format!("/k/{key}"), value.as_bytes(), durability),
    };
    step.keys.iter().map(op).collect()
}

fn apply(model: &mut Model, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put { key, value, .. } => drop(model.insert(key.clone(), value.to_vec())),
            Op::Delete { key, .. } => drop(model.remove(key)),
        }
    }
}

/// Runs the steps, cuts the power, opens what is left, and looks for it among the states that
/// the store went through: none older than the last durable answer is acceptable.
fn crash_once(
    steps: &[Step],
    image: &SimulatedDisk,
    seed: u64,
    log_bytes: u64,
) -> (SimulatedDisk, u64) {
    let options = Options {
        log_bytes,
        ..Options::default()
    };
    let store = open(image, &options).unwrap();
    let (mut states, mut last_durable) = (vec![contents(&store)], 0);
    let mut seen = store.shared.revision().unwrap();
    runtime().block_on(async {
        for (number, step) in steps.iter().enumerate() {
            let ops = ops_of(step, number);
            let mut model = states.last().unwrap().clone();
            apply(&mut model, &ops);
            let changed = !step.delete || model.len() != states.last().unwrap().len();
            seen = store.commit(ops).await.unwrap().revision;
            states.push(model);
            if !step.relaxed && changed {
                last_durable = states.len() - 1;
            }
        }
    });
    let mut state = seed | 1;
    let crashed = image.crash(|bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    });
    // The old store goes away only now; its orderly close must not reach the image.
    drop(store);
    let store = open(&crashed, &options).unwrap();
    let found = contents(&store);
    assert!(
        states[last_durable..].contains(&found),
        "lost an acknowledged commit: {found:?}"
    );
    let next = runtime()
        .block_on(store.commit(durable("/next", b"1")))
        .unwrap()
        .revision;
    assert!(
        next > seen,
        "revision {next} was given out before (last seen: {seen})"
    );
    (crashed.crash(|_| 0), next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_loses_nothing_durable(
        first in steps(), second in steps(), seed in any::<u64>(), log_bytes in 500u64..20_000,
    ) {
        let (image, _) = crash_once(&first, &SimulatedDisk::default(), seed, log_bytes);
        crash_once(&second, &image, seed.rotate_left(17), log_bytes);
    }

    #[test]
    fn damage_before_a_synced_write_is_refused_or_harmless(offset in 0usize..3_000) {
        let disk = SimulatedDisk::default();
        let store = open(&disk, &Options::default()).unwrap();
        runtime().block_on(async {
            for number in 0..40 {
                store.commit(durable(&format!("/k/{number}"), &[b'v'; 40])).await.unwrap();
            }
        });
        drop(store);
        let name = recovery::segment_name(1);
        let offset = offset % disk.length(&name);
        // The closing record is the last synced one: nothing vouches for it.
        let last = disk.length(&name) - 30;
        disk.damage(&name, offset);
        match open(&disk, &Options::default()) {
            Ok(store) => {
                prop_assert!(offset >= last, "damage at {} went unnoticed", offset);
                prop_assert_eq!(contents(&store).len(), 40);
            }
            Err(StoreError::Corrupt(text)) => {
                prop_assert!(text.contains("0000000001.log is damaged at byte"), "{}", text);
                prop_assert!(text.contains("fluyt restore"), "{}", text);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = SimulatedDisk::default();
    let store = open(&disk, &Options::default()).unwrap();
    runtime().block_on(async {
        store.commit(durable("/a", b"1")).await.unwrap();
        for room in [0, 10, 100] {
            disk.set_room(Some(room));
            let refused = store.commit(durable("/b", &[0; 500])).await;
            assert!(matches!(refused, Err(StoreError::DiskFull)), "{refused:?}");
            assert_eq!(store.get("/a").await.unwrap().0.unwrap().value, "1");
            assert!(store.get("/b").await.unwrap().0.is_none());
        }
        disk.set_room(None);
        let written = store.commit(durable("/b", b"2")).await.unwrap();
        assert_eq!(written.revision, 2);
    });
    drop(store);
    let store = open(&disk, &Options::default()).unwrap();
    assert_eq!(contents(&store).len(), 2);
}

#[test]
fn a_failed_sync_stops_writes_until_a_restart() {
    let disk = SimulatedDisk::default();
    let store = open(&disk, &Options::default()).unwrap();
    runtime().block_on(async {
        store.commit(durable("/a", b"1")).await.unwrap();
        store.commit(relaxed("/r", b"1")).await.unwrap();
        disk.fail_syncs(true);
        assert!(matches!(
            store.commit(durable("/b", b"1")).await,
            Err(StoreError::Unavailable(_))
        ));
        disk.fail_syncs(false);
        let refused = store.commit(durable("/b", b"1")).await;
        assert!(matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains("restart")));
        assert!(store.get("/a").await.unwrap().0.is_some());
    });
    drop(store);
    let store = open(&disk, &Options::default()).unwrap();
    runtime()
        .block_on(store.commit(durable("/b", b"1")))
        .unwrap();
}

#[test]
fn relaxed_writes_do_not_wait_for_the_disk_unless_told_to() {
    for (allowed, expected) in [(true, 0), (false, 50)] {
        let disk = SimulatedDisk::default();
        let options = Options {
            relaxed: allowed,
            ..Options::default()
        };
        let store = open(&disk, &options).unwrap();
        runtime().block_on(async {
            store.commit(durable("/a", b"1")).await.unwrap();
            let before = disk.syncs();
            for _ in 0..50 {
                store.commit(relaxed("/lease", b"1")).await.unwrap();
            }
            assert_eq!(disk.syncs() - before, expected);
        });
    }
}

#[test]
fn churn_leaves_a_small_log() {
    let disk = SimulatedDisk::default();
    let options = Options {
        log_bytes: 64 << 10,
        ..Options::default()
    };
    let store = open(&disk, &options).unwrap();
    runtime().block_on(async {
        for number in 0..20_000 {
            let value = format!("{number:0200}");
            store
                .commit(relaxed("/lease", value.as_bytes()))
                .await
                .unwrap();
        }
        // Checkpoints are written beside the writer; on a busy machine the last one may still be on its way.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while disk.size() >= 400 << 10 && std::time::Instant::now() < deadline {
            let value = format!("{:0200}", 19_999);
            store
                .commit(relaxed("/lease", value.as_bytes()))
                .await
                .unwrap();
        }
        store.close().await;
    });
    assert!(disk.size() < 400 << 10, "{} bytes for one key", disk.size());
    drop(store);
    let store = open(&disk, &options).unwrap();
    assert_eq!(
        contents(&store)["/lease"],
        format!("{:0200}", 19_999).as_bytes()
    );
}

#[test]
fn an_orderly_restart_keeps_revision_and_history() {
    let disk = SimulatedDisk::default();
    let store = open(&disk, &Options::default()).unwrap();
    let wanted = runtime().block_on(async {
        for number in 0..10 {
            store
                .commit(durable("/a", format!("{number}").as_bytes()))
                .await
                .unwrap();
        }
        store.close().await;
        assert!(matches!(
            store.commit(durable("/a", b"x")).await,
            Err(StoreError::Closed)
        ));
        10
    });
    drop(store);
    let store = open(&disk, &Options::default()).unwrap();
    assert_eq!(store.shared.revision().unwrap(), wanted);
    runtime().block_on(async {
        let mut watch = store.watch("/a", 4).await.unwrap();
        let batch = watch.next().await.unwrap().unwrap();
        let revisions: Vec<_> = batch.events.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, [5, 6, 7, 8, 9, 10]);
        assert_eq!(
            store.range("/", None, Some(7), 0).await.unwrap().entries[0].value,
            "6"
        );
    });
}

#[test]
fn two_processes_cannot_open_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = embedded(directory.path(), &Options::default())
            .await
            .unwrap();
        let refused = embedded(directory.path(), &Options::default())
            .await
            .err()
            .unwrap();
        let text = refused.to_string();
        assert!(text.contains("is in use by another process"), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        store.close().await;
        embedded(directory.path(), &Options::default())
            .await
            .unwrap();
    });
}
