//! One suite for every backend: the contract of `Store`, as examples (`suite`) and as a state
//! machine compared with a `BTreeMap` (`model`). `backends` says how each is started.

#![allow(clippy::unwrap_used)]

mod backends;
mod model;
mod suite;

/// Instantiates every test of the suite for one backend.
macro_rules! conformance {
    ($backend:ident, $factory:expr, [$($test:ident),* $(,)?]) => {
        mod $backend {
            $(
                #[test]
                fn $test() {
                    crate::backends::run($factory, |store| Box::pin(crate::suite::$test(store)));
                }
            )*

            #[test]
            fn agrees_with_a_model() {
                crate::model::agrees($factory);
            }
        }
    };
}

macro_rules! for_all_backends {
    ($tests:tt) => {
        conformance!(memory, crate::backends::Memory, $tests);
        conformance!(embedded, crate::backends::Embedded::new(), $tests);
        conformance!(etcd, crate::backends::Etcd::start(), $tests);
    };
}

for_all_backends!([
    a_commit_is_all_or_nothing,
    preconditions_are_checked,
    one_key_twice_is_refused,
    values_carry_their_revision,
    create_revision_outlives_updates,
    a_delete_of_nothing_changes_nothing,
    ranges_are_paged_at_one_revision,
    ranges_respect_the_prefix,
    counts_follow,
    the_future_is_refused,
    a_watch_replays_then_follows,
    a_watch_sees_only_its_prefix,
    a_watch_shows_what_was_there_before,
    a_watch_keeps_commits_whole,
    many_watches_see_the_same,
    compaction_ends_old_reads_and_watches,
    concurrent_writers_are_serialised,
    a_snapshot_is_one_revision,
    a_restored_store_goes_on_above,
    only_an_empty_store_is_restored,
    a_snapshot_file_moves_everything,
    a_closed_store_says_so,
]);
