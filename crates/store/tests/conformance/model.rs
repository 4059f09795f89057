//! Random histories against the plainest possible store: a list of `BTreeMap`s, one per
//! revision. Every read of every revision and the whole watch must agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluyt_store::{EventKind, Op, Precondition, Revision, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::backends::{Backend, runtime};
use crate::suite::{delete_op, events, put_op};

#[derive(Clone, Debug, PartialEq)]
struct Item {
    value: String,
    created: Revision,
    modified: Revision,
}

type State = BTreeMap<String, Item>;

/// The state after each commit that changed something.
struct Model {
    base: Revision,
    states: Vec<State>,
    /// Per commit: key, and the value of a put.
    changes: Vec<Vec<(String, Option<String>)>>,
}

impl Model {
    fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn revision(&self) -> Revision {
        self.base + self.changes.len() as u64
    }

    /// `Err`: the index of the precondition that fails.
    fn commit(&mut self, ops: &[Op]) -> Result<(), usize> {
        let mut state = self.newest().clone();
        let revision = self.revision() + 1;
        for (index, op) in ops.iter().enumerate() {
            let there = state.get(op.key());
            let holds = match op.precondition() {
                Precondition::None => true,
                Precondition::Absent => there.is_none(),
                Precondition::Exists => there.is_some(),
                Precondition::ModRevision(wanted) => {
                    there.is_some_and(|item| item.modified == wanted)
                }
            };
            if !holds {
                return Err(index);
            }
        }
        let mut changes = Vec::new();
        for op in ops {
            match op {
                Op::Put { key, value, .. } => {
                    let value = String::from_utf8(value.to_vec()).unwrap();
                    let created = state.get(key).map_or(revision, |item| item.created);
                    changes.push((key.clone(), Some(value.clone())));
                    state.insert(
                        key.clone(),
                        Item {
                            value,
                            created,
                            modified: revision,
                        },
                    );
                }
                Op::Delete { key, .. } => {
                    if state.remove(key).is_some() {
                        changes.push((key.clone(), None));
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.states.push(state);
            self.changes.push(changes);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Step {
    key: u8,
    delete: bool,
    condition: u8,
    /// For `ModRevision`: how far from the key's own revision.
    off: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (0u8..8, prop::bool::weighted(0.3), 0u8..6, 0u8..3).prop_map(|(key, delete, condition, off)| {
        Step {
            key,
            delete,
            condition,
            off,
        }
    })
}

fn history() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop::collection::vec(prop::collection::vec(step(), 1..4), 1..40)
}

fn ops_of(steps: &[Step], model: &Model, number: usize) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for step in steps {
        let key = format!("/{}/{}", step.key % 2, step.key);
        if ops.iter().any(|op| op.key() == key) {
            continue;
        }
        let own = model
            .newest()
            .get(&key)
            .map_or(model.revision(), |item| item.modified);
        let condition = match step.condition {
            0 => Precondition::Absent,
            1 => Precondition::Exists,
            2 => Precondition::ModRevision(own.saturating_sub(u64::from(step.off)).max(1)),
            _ => Precondition::None,
        };
        ops.push(match step.delete {
            true => delete_op(&key, condition),
            false => put_op(&key, &format!("value {number}"), condition),
        });
    }
    ops
}

pub(crate) fn agrees(backend: impl Backend + Sync) {
    let config = ProptestConfig {
        cases: backend.cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = runtime();
    TestRunner::new(config)
        .run(&(history(), 1usize..4), |(history, limit)| {
            runtime.block_on(async {
                let store = backend.store().await;
                check(&store, &history, limit).await;
                store.close().await;
            });
            Ok(())
        })
        .unwrap();
}

async fn check(store: &Arc<dyn Store>, history: &[Vec<Step>], limit: usize) {
    let base = store.revision().await.unwrap();
    let mut model = Model {
        base,
        states: vec![State::new()],
        changes: Vec::new(),
    };
    let mut live = store.watch("/0/", base).await.unwrap();
    for (number, steps) in history.iter().enumerate() {
        let ops = ops_of(steps, &model, number);
        let expected = model.commit(&ops);
        match (store.commit(ops).await, expected) {
            (Ok(committed), Ok(())) => assert_eq!(committed.revision, model.revision()),
            (Err(StoreError::PreconditionFailed { index, .. }), Err(wanted)) => {
                assert_eq!(index, wanted)
            }
            (found, wanted) => panic!("{found:?}, the model says {wanted:?}"),
        }
    }
    for (back, state) in model.states.iter().enumerate() {
        for prefix in ["/", "/0/", "/1/3"] {
            check_range(&**store, prefix, base + back as u64, state, limit).await;
        }
    }
    for (key, item) in model.newest() {
        let entry = store.get(key).await.unwrap().0.unwrap();
        assert_eq!(entry.value, item.value.as_bytes());
    }
    check_watch(&model, &mut live, base).await;
    let middle = base + (model.revision() - base) / 2;
    let mut replayed = store.watch("/0/", middle).await.unwrap();
    check_watch(&model, &mut replayed, middle).await;
}

async fn check_range(
    store: &dyn Store,
    prefix: &str,
    revision: Revision,
    state: &State,
    limit: usize,
) {
    let expected: Vec<_> = state
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .collect();
    let mut found = Vec::new();
    loop {
        let last = found
            .last()
            .map(|entry: &fluyt_store::Entry| entry.key.clone());
        let page = store
            .range(prefix, last.as_deref(), Some(revision), limit)
            .await
            .unwrap();
        found.extend(page.entries);
        assert_eq!(page.remaining, Some((expected.len() - found.len()) as u64));
        assert_eq!(page.more, found.len() < expected.len());
        if !page.more {
            break;
        }
    }
    assert_eq!(found.len(), expected.len(), "{prefix} at {revision}");
    for (entry, (key, item)) in found.iter().zip(expected) {
        assert_eq!(*entry.key, **key);
        assert_eq!(entry.value, item.value.as_bytes());
        assert_eq!(
            (entry.create_revision, entry.mod_revision),
            (item.created, item.modified)
        );
    }
}

async fn check_watch(model: &Model, watch: &mut fluyt_store::WatchStream, after: Revision) {
    let mut expected = Vec::new();
    for (number, changes) in model.changes.iter().enumerate() {
        let revision = model.base + 1 + number as u64;
        let wanted = changes
            .iter()
            .filter(|(key, _)| key.starts_with("/0/") && revision > after);
        expected.extend(wanted.map(|(key, value)| (revision, key.clone(), value.clone())));
    }
    // Events of one commit come in any order.
    expected.sort();
    let found = events(watch, expected.len()).await;
    let mut found: Vec<_> = found
        .into_iter()
        .map(|event| match event.kind {
            EventKind::Put { entry, .. } => {
                let value = String::from_utf8(entry.value.to_vec()).unwrap();
                (event.revision, entry.key.to_string(), Some(value))
            }
            EventKind::Delete { key, .. } => (event.revision, key.to_string(), None),
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
}
