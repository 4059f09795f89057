//! What every backend must do, by example.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fluyt_store::{
    Batch, Committed, Durability, Entry, EventKind, Op, Precondition, Revision, Store, StoreError,
    WatchStream, memory, restore_from_file, snapshot_to_file,
};
use futures::TryStreamExt;

use crate::backends::{options, splice};

pub(crate) fn put_op(key: &str, value: &str, precondition: Precondition) -> Op {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Op::Put {
        key: key.into(),
        value,
        precondition,
        durability: Durability::Durable,
    }
}

pub(crate) fn delete_op(key: &str, precondition: Precondition) -> Op {
    Op::Delete {
        key: key.into(),
        precondition,
    }
}

pub(crate) async fn put(store: &dyn Store, key: &str, value: &str) -> Entry {
    let committed = store
        .commit(vec![put_op(key, value, Precondition::None)])
        .await
        .unwrap();
    committed.entries[0].clone().unwrap()
}

/// Tries until the backend can be reached again.
pub(crate) async fn put_when_back(store: &dyn Store, key: &str, value: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = store
        .commit(vec![put_op(key, value, Precondition::None)])
        .await
    {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn delete(store: &dyn Store, key: &str) -> Committed {
    store
        .commit(vec![delete_op(key, Precondition::None)])
        .await
        .unwrap()
}

async fn keys(store: &dyn Store, prefix: &str, at: Option<Revision>) -> Vec<String> {
    let page = store.range(prefix, None, at, 0).await.unwrap();
    page.entries
        .iter()
        .map(|entry| entry.key.to_string())
        .collect()
}

async fn next(watch: &mut WatchStream) -> Batch {
    let next = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
    next.expect("no event came")
        .expect("the watch ended")
        .unwrap()
}

/// The next `count` events, however they are batched.
pub(crate) async fn events(watch: &mut WatchStream, count: usize) -> Vec<fluyt_store::Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(next(watch).await.events);
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}

fn failed(outcome: Result<Committed, StoreError>) -> (usize, Option<Entry>) {
    match outcome {
        Err(StoreError::PreconditionFailed { index, current }) => (index, current),
        other => panic!("expected a failed precondition, got {other:?}"),
    }
}

pub(crate) async fn a_commit_is_all_or_nothing(store: Arc<dyn Store>) {
    put(&*store, "/a", "1").await;
    let before = store.revision().await.unwrap();
    let ops = vec![
        put_op("/b", "1", Precondition::Absent),
        put_op("/a", "2", Precondition::Absent),
        delete_op("/c", Precondition::Exists),
    ];
    let (index, current) = failed(store.commit(ops).await);
    assert_eq!((index, &current.unwrap().value[..]), (1, &b"1"[..]));
    assert_eq!(store.revision().await.unwrap(), before);
    assert_eq!(keys(&*store, "/", None).await, ["/a"]);

    let ops = vec![
        put_op("/b", "1", Precondition::Absent),
        delete_op("/a", Precondition::Exists),
        put_op("/c", "1", Precondition::None),
    ];
    let committed = store.commit(ops).await.unwrap();
    assert_eq!(committed.revision, before + 1);
    let [b, a, c] = &committed.entries[..] else {
        panic!("{committed:?}")
    };
    assert_eq!(b.as_ref().unwrap().mod_revision, before + 1);
    assert_eq!(a.as_ref().unwrap().value, "1");
    assert_eq!(c.as_ref().unwrap().create_revision, before + 1);
    assert_eq!(keys(&*store, "/", None).await, ["/b", "/c"]);
}

pub(crate) async fn preconditions_are_checked(store: Arc<dyn Store>) {
    let first = put(&*store, "/a", "1").await;
    let second = put(&*store, "/a", "2").await;
    let cases = [
        ("/a", Precondition::Absent, false),
        ("/a", Precondition::ModRevision(first.mod_revision), false),
        ("/a", Precondition::ModRevision(second.mod_revision), true),
        ("/a", Precondition::Exists, true),
        ("/b", Precondition::Exists, false),
        ("/b", Precondition::ModRevision(second.mod_revision), false),
        ("/b", Precondition::Absent, true),
        ("/c", Precondition::None, true),
    ];
    for (key, precondition, holds) in cases {
        let outcome = store.commit(vec![put_op(key, "x", precondition)]).await;
        assert_eq!(
            outcome.is_ok(),
            holds,
            "{key} {precondition:?}: {outcome:?}"
        );
        if !holds {
            let (_, current) = failed(outcome);
            assert_eq!(current, store.get(key).await.unwrap().0);
        }
    }
    let outcome = store
        .commit(vec![delete_op("/b", Precondition::ModRevision(1))])
        .await;
    assert_eq!(failed(outcome).1.unwrap().value, "x");
}

pub(crate) async fn one_key_twice_is_refused(store: Arc<dyn Store>) {
    let ops = vec![
        put_op("/a", "1", Precondition::None),
        put_op("/a", "2", Precondition::None),
    ];
    assert!(matches!(
        store.commit(ops).await,
        Err(StoreError::Invalid(_))
    ));
    assert!(keys(&*store, "/", None).await.is_empty());
}

pub(crate) async fn values_carry_their_revision(store: Arc<dyn Store>) {
    let value = r#"{"metadata":{"name":"a"}}"#;
    let entry = put(&*store, "/a", value).await;
    let expected = format!(
        r#"{{"metadata":{{"resourceVersion":"{}","name":"a"}}}}"#,
        entry.mod_revision
    );
    assert_eq!(entry.value, expected.as_bytes());
    assert_eq!(store.get("/a").await.unwrap().0.unwrap(), entry);
    let page = store.range("/", None, None, 0).await.unwrap();
    assert_eq!(page.entries, std::slice::from_ref(&entry));
    let raw = fluyt_store::splice_out(splice, &entry.value, entry.mod_revision);
    assert_eq!(raw, value.as_bytes());
    assert_eq!(
        delete(&*store, "/a").await.entries[0].as_ref(),
        Some(&entry)
    );
}

pub(crate) async fn create_revision_outlives_updates(store: Arc<dyn Store>) {
    let first = put(&*store, "/a", "1").await;
    let second = put(&*store, "/a", "2").await;
    assert_eq!(first.create_revision, first.mod_revision);
    assert_eq!(second.create_revision, first.mod_revision);
    assert_eq!(second.mod_revision, first.mod_revision + 1);
    delete(&*store, "/a").await;
    let third = put(&*store, "/a", "3").await;
    assert_eq!(third.create_revision, third.mod_revision);
}

pub(crate) async fn a_delete_of_nothing_changes_nothing(store: Arc<dyn Store>) {
    put(&*store, "/a", "1").await;
    let before = store.revision().await.unwrap();
    let committed = delete(&*store, "/b").await;
    assert_eq!(committed.revision, before);
    assert_eq!(committed.entries, [None]);
    assert_eq!(store.commit(Vec::new()).await.unwrap().revision, before);
    assert_eq!(store.revision().await.unwrap(), before);
}

pub(crate) async fn ranges_are_paged_at_one_revision(store: Arc<dyn Store>) {
    for number in 0..10 {
        put(&*store, &format!("/k/{number}"), "old").await;
    }
    let mut page = store.range("/k/", None, None, 3).await.unwrap();
    assert_eq!((page.more, page.remaining), (true, Some(7)));
    let revision = page.revision;
    // What happens in between must not show.
    put(&*store, "/k/5", "new").await;
    put(&*store, "/k/55", "new").await;
    delete(&*store, "/k/8").await;
    delete(&*store, "/k/0").await;
    let mut found = page.entries;
    while page.more {
        let last = found.last().unwrap().key.clone();
        page = store
            .range("/k/", Some(&last), Some(revision), 3)
            .await
            .unwrap();
        assert_eq!(page.revision, revision);
        found.extend(page.entries);
    }
    assert_eq!(page.remaining, Some(0));
    let names: Vec<_> = found.iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(
        names,
        (0..10)
            .map(|number| format!("/k/{number}"))
            .collect::<Vec<_>>()
    );
    assert!(found.iter().all(|entry| entry.value == "old"));
    // A revision that nobody paged through is readable too.
    assert_eq!(keys(&*store, "/k/", Some(revision + 2)).await.len(), 11);
    assert_eq!(keys(&*store, "/k/", Some(revision + 3)).await.len(), 10);
    assert_eq!(keys(&*store, "/k/", None).await.len(), 9);
}

pub(crate) async fn ranges_respect_the_prefix(store: Arc<dyn Store>) {
    for key in ["/a", "/a/", "/a/1", "/a/2/x", "/a0", "/b/1"] {
        put(&*store, key, "v").await;
    }
    assert_eq!(keys(&*store, "/a/", None).await, ["/a/", "/a/1", "/a/2/x"]);
    assert_eq!(
        keys(&*store, "/a", None).await,
        ["/a", "/a/", "/a/1", "/a/2/x", "/a0"]
    );
    assert_eq!(keys(&*store, "", None).await.len(), 6);
    assert!(keys(&*store, "/c", None).await.is_empty());
    for (after, expected) in [
        ("/a/1", 1),
        ("/a/2/x", 0),
        ("/Z", 3),
        ("/b", 0),
        ("/a/10", 1),
    ] {
        let page = store.range("/a/", Some(after), None, 0).await.unwrap();
        assert_eq!(page.entries.len(), expected, "after {after}");
    }
}

pub(crate) async fn counts_follow(store: Arc<dyn Store>) {
    for key in ["/a/x/1", "/a/x/2", "/a/y/1", "/b/x/1"] {
        put(&*store, key, "v").await;
    }
    put(&*store, "/a/x/1", "again").await;
    delete(&*store, "/a/x/2").await;
    let cases = [
        ("/a/", 2),
        ("/a/x/", 1),
        ("/a/x/2", 0),
        ("/a", 2),
        ("/", 3),
        ("", 3),
        ("/c/", 0),
    ];
    for (prefix, expected) in cases {
        assert_eq!(store.count(prefix).await.unwrap(), expected, "{prefix}");
        if let Some(count) = store.try_count(prefix) {
            assert_eq!(count.unwrap(), expected, "{prefix}");
        }
    }
}

pub(crate) async fn the_future_is_refused(store: Arc<dyn Store>) {
    let now = put(&*store, "/a", "1").await.mod_revision;
    let refused = store.range("/", None, Some(now + 1), 0).await;
    assert!(
        matches!(refused, Err(StoreError::FutureRevision { .. })),
        "{refused:?}"
    );
    let refused = store.watch("/", now + 1).await.err();
    assert!(
        matches!(refused, Some(StoreError::FutureRevision { .. })),
        "{refused:?}"
    );
}

pub(crate) async fn a_watch_replays_then_follows(store: Arc<dyn Store>) {
    let start = put(&*store, "/a/0", "v").await.mod_revision;
    for number in 1..=5 {
        put(&*store, &format!("/a/{number}"), "v").await;
    }
    let mut watch = store.watch("/a/", start).await.unwrap();
    let replayed = events(&mut watch, 5).await;
    for number in 6..=10 {
        put(&*store, &format!("/a/{number}"), "v").await;
    }
    let live = events(&mut watch, 5).await;
    let seen: Vec<_> = replayed
        .iter()
        .chain(&live)
        .map(|event| event.revision)
        .collect();
    assert_eq!(seen, (start + 1..=start + 10).collect::<Vec<_>>());
    // From the present: nothing old.
    let mut watch = store.watch("/a/", start + 10).await.unwrap();
    put(&*store, "/a/11", "v").await;
    assert_eq!(&**events(&mut watch, 1).await[0].key(), "/a/11");
}

pub(crate) async fn a_watch_sees_only_its_prefix(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let mut directory = store.watch("/a/", start).await.unwrap();
    let mut key = store.watch("/a/1", start).await.unwrap();
    let mut everything = store.watch("", start).await.unwrap();
    for name in ["/b/1", "/a/1", "/a", "/a/2", "/a/11"] {
        put(&*store, name, "v").await;
    }
    let names = |events: Vec<fluyt_store::Event>| -> Vec<String> {
        events.iter().map(|event| event.key().to_string()).collect()
    };
    assert_eq!(
        names(events(&mut directory, 3).await),
        ["/a/1", "/a/2", "/a/11"]
    );
    assert_eq!(names(events(&mut key, 2).await), ["/a/1", "/a/11"]);
    assert_eq!(
        names(events(&mut everything, 5).await),
        ["/b/1", "/a/1", "/a", "/a/2", "/a/11"]
    );
}

pub(crate) async fn a_watch_shows_what_was_there_before(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let value = r#"{"metadata":{"name":"a"}}"#;
    let first = put(&*store, "/a", value).await;
    let second = put(&*store, "/a", value).await;
    delete(&*store, "/a").await;
    let mut watch = store.watch("/a", start).await.unwrap();
    let seen: Vec<_> = events(&mut watch, 3)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    let expected = [
        EventKind::Put {
            entry: first.clone(),
            prev: None,
        },
        EventKind::Put {
            entry: second.clone(),
            prev: Some(first),
        },
        EventKind::Delete {
            key: "/a".into(),
            prev: second,
        },
    ];
    assert_eq!(seen, expected);
}

pub(crate) async fn a_watch_keeps_commits_whole(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    for round in 0..50 {
        let ops = (0..40).map(|number| {
            put_op(
                &format!("/k/{number:02}"),
                &round.to_string(),
                Precondition::None,
            )
        });
        store.commit(ops.collect()).await.unwrap();
    }
    let mut watch = store.watch("/k/", start).await.unwrap();
    let (mut seen, mut last) = (0, start);
    while seen < 2000 {
        let batch = next(&mut watch).await;
        for commit in batch.events.chunk_by(|a, b| a.revision == b.revision) {
            assert_eq!(commit.len(), 40);
            assert_eq!(commit[0].revision, last + 1);
            last += 1;
        }
        assert!(batch.revision >= last);
        seen += batch.events.len();
    }
}

pub(crate) async fn many_watches_see_the_same(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let mut watchers = Vec::new();
    for number in 0..50 {
        let mut watch = store
            .watch(&format!("/{}/", number % 5), start)
            .await
            .unwrap();
        watchers.push(tokio::spawn(
            async move { events(&mut watch, 20).await.len() },
        ));
    }
    for number in 0..100 {
        put(&*store, &format!("/{}/{number}", number % 5), "v").await;
    }
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), 20);
    }
}

pub(crate) async fn compaction_ends_old_reads_and_watches(store: Arc<dyn Store>) {
    let start = put(&*store, "/a/0", "v").await.mod_revision;
    for number in 1..=10 {
        put(&*store, &format!("/a/{number}"), "v").await;
    }
    let first_page = store.range("/a/", None, Some(start + 2), 1).await.unwrap();
    assert!(first_page.more);
    store.compact(start + 5).await.unwrap();
    store.compact(start + 5).await.unwrap();
    let last = first_page.entries[0].key.clone();
    let refused = store.range("/a/", Some(&last), Some(start + 2), 1).await;
    assert!(
        matches!(refused, Err(StoreError::Compacted { .. })),
        "{refused:?}"
    );
    assert_eq!(keys(&*store, "/a/", Some(start + 5)).await.len(), 6);
    assert_eq!(keys(&*store, "/a/", None).await.len(), 11);
    // Refused at once, or as the first thing the stream says.
    let error = match store.watch("/a/", start + 1).await {
        Err(error) => error,
        Ok(mut watch) => watch.next().await.unwrap().unwrap_err(),
    };
    assert!(matches!(error, StoreError::Compacted { .. }), "{error:?}");
    let mut watch = store.watch("/a/", start + 5).await.unwrap();
    assert_eq!(events(&mut watch, 5).await[0].revision, start + 6);
    let refused = store.compact(start + 1000).await;
    assert!(
        matches!(refused, Err(StoreError::FutureRevision { .. })),
        "{refused:?}"
    );
}

/// A counter that every writer raises by compare-and-swap ends at the number of raises.
pub(crate) async fn concurrent_writers_are_serialised(store: Arc<dyn Store>) {
    put(&*store, "/counter", "0").await;
    let raise = |store: Arc<dyn Store>| async move {
        for _ in 0..10 {
            loop {
                let entry = store.get("/counter").await.unwrap().0.unwrap();
                let value: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let condition = Precondition::ModRevision(entry.mod_revision);
                let op = put_op("/counter", &(value + 1).to_string(), condition);
                match store.commit(vec![op]).await {
                    Ok(_) => break,
                    Err(StoreError::PreconditionFailed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let writers: Vec<_> = (0..8).map(|_| tokio::spawn(raise(store.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.get("/counter").await.unwrap().0.unwrap().value, "80");
}

pub(crate) async fn a_snapshot_is_one_revision(store: Arc<dyn Store>) {
    for number in 0..2500 {
        let ops = vec![put_op(
            &format!("/k/{number:04}"),
            "old",
            Precondition::None,
        )];
        store.commit(ops).await.unwrap();
    }
    let (revision, entries) = store.snapshot().await.unwrap();
    put(&*store, "/k/2000", "new").await;
    delete(&*store, "/k/2400").await;
    let entries: Vec<Entry> = entries.try_collect().await.unwrap();
    assert_eq!(revision, store.revision().await.unwrap() - 2);
    assert_eq!(entries.len(), 2500);
    assert!(entries.iter().all(|entry| entry.value == "old"));
    assert!(entries.is_sorted_by(|a, b| a.key < b.key));
}

async fn sample() -> Arc<dyn Store> {
    let source = memory(options());
    for number in 0..300 {
        let value = format!(r#"{{"metadata":{{"name":"{number}"}}}}"#);
        put(&*source, &format!("/k/{number:03}"), &value).await;
    }
    for number in 0..100 {
        delete(&*source, &format!("/k/{:03}", number * 2)).await;
    }
    source
}

/// Keys and values as they were written, without the revisions in them.
async fn raw(store: &dyn Store) -> Vec<(String, Bytes)> {
    let page = store.range("", None, None, 0).await.unwrap();
    let raw = |entry: &Entry| fluyt_store::splice_out(splice, &entry.value, entry.mod_revision);
    page.entries
        .iter()
        .map(|entry| (entry.key.to_string(), raw(entry)))
        .collect()
}

pub(crate) async fn a_restored_store_goes_on_above(store: Arc<dyn Store>) {
    let source = sample().await;
    let (revision, entries) = source.snapshot().await.unwrap();
    store.restore(entries, revision).await.unwrap();
    assert!(store.revision().await.unwrap() >= revision);
    assert_eq!(raw(&*store).await, raw(&*source).await);
    assert_eq!(store.count("/k/").await.unwrap(), 200);
    assert!(put(&*store, "/k/new", "v").await.mod_revision > revision);
    let page = store.range("/", None, None, 0).await.unwrap();
    for entry in page
        .entries
        .iter()
        .filter(|entry| entry.value.starts_with(b"{"))
    {
        let carried = format!("\"resourceVersion\":\"{}\"", entry.mod_revision);
        assert!(
            String::from_utf8_lossy(&entry.value).contains(&carried),
            "{entry:?}"
        );
    }
}

pub(crate) async fn only_an_empty_store_is_restored(store: Arc<dyn Store>) {
    put(&*store, "/a", "1").await;
    let (revision, entries) = sample().await.snapshot().await.unwrap();
    let refused = store.restore(entries, revision).await;
    assert!(
        matches!(refused, Err(StoreError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(keys(&*store, "/", None).await, ["/a"]);
}

pub(crate) async fn a_snapshot_file_moves_everything(store: Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (
        directory.path().join("first"),
        directory.path().join("second"),
    );
    let source = sample().await;
    let summary = snapshot_to_file(&*source, &first).await.unwrap();
    assert_eq!((summary.entries, summary.revision), (200, 400));
    restore_from_file(&*store, &first).await.unwrap();
    assert_eq!(raw(&*store).await, raw(&*source).await);
    snapshot_to_file(&*store, &second).await.unwrap();
    let back = memory(options());
    restore_from_file(&*back, &second).await.unwrap();
    assert_eq!(raw(&*back).await, raw(&*source).await);
    assert!(back.revision().await.unwrap() >= 400);
}

pub(crate) async fn a_closed_store_says_so(store: Arc<dyn Store>) {
    put(&*store, "/a", "1").await;
    let mut watch = store
        .watch("/", store.revision().await.unwrap())
        .await
        .unwrap();
    store.close().await;
    let commit = store
        .commit(vec![put_op("/a", "2", Precondition::None)])
        .await;
    assert!(matches!(commit, Err(StoreError::Closed)), "{commit:?}");
    assert!(matches!(store.get("/a").await, Err(StoreError::Closed)));
    assert!(matches!(
        store.range("/", None, None, 0).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(
        store.watch("/", 0).await.err(),
        Some(StoreError::Closed)
    ));
    assert!(watch.next().await.is_none());
    store.close().await;
}
