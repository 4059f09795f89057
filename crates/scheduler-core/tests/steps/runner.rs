//! Runs a property until so many decisions were compared, and writes a failing case, shrunk, into a file that can be run again.
//!
//! `FLUYT_PROPERTY_DECISIONS` how many (on all processors), `FLUYT_PROPERTY_SEED` where to start, `FLUYT_PROPERTY_REPLAY` a file.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the largest property compares when nothing else is asked for.
const USUAL: u64 = 20_000;
/// Cases that share a seed.
const BATCH: u32 = 16;

/// `check` returns how many decisions it compared.
pub fn run<S>(
    name: &str,
    strategy: impl Fn() -> S + Sync,
    usually: u64,
    check: impl Fn(&S::Value) -> Result<u64, TestCaseError> + Sync,
) where
    S: Strategy,
    S::Value: Serialize + DeserializeOwned + Clone + Debug,
{
    if let Ok(file) = std::env::var("FLUYT_PROPERTY_REPLAY") {
        let own = std::path::Path::new(&file).file_name();
        if !own.is_some_and(|own| own.to_string_lossy().starts_with(name)) {
            return;
        }
        let text = std::fs::read(&file).unwrap();
        let case: S::Value = serde_json::from_slice(&text).unwrap();
        let compared = check(&case).unwrap_or_else(|why| panic!("{file}: {why}"));
        println!("{file}: {compared} decisions compared, all equal");
        return;
    }
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let wanted = number("FLUYT_PROPERTY_DECISIONS");
    let seed = number("FLUYT_PROPERTY_SEED").unwrap_or_else(|| u64::from(rand_seed()));
    let threads = match wanted {
        Some(_) => std::thread::available_parallelism().map_or(1, usize::from),
        None => 1,
    };
    let (wanted, compared, batch) = (
        wanted.map_or(usually, |wanted| {
            wanted.min(usually * (wanted / USUAL).max(1))
        }),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while compared.load(Ordering::Relaxed) < wanted {
                    let seed = seed + batch.fetch_add(1, Ordering::Relaxed);
                    run_batch(name, seed, &strategy(), &compared, &check);
                }
            });
        }
    });
    let compared = compared.into_inner();
    assert!(compared >= wanted);
    println!(
        "{name}: {compared} decisions compared in {:?}, from seed {seed}",
        started.elapsed()
    );
}

fn run_batch<S>(
    name: &str,
    seed: u64,
    strategy: &S,
    compared: &AtomicU64,
    check: &(impl Fn(&S::Value) -> Result<u64, TestCaseError> + Sync),
) where
    S: Strategy,
    S::Value: Serialize + Clone + Debug,
{
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: BATCH,
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(strategy, |case| {
        let count = check(&case)?;
        compared.fetch_add(count, Ordering::Relaxed);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            let file = format!("{}/{name}-{seed}.json", env!("CARGO_TARGET_TMPDIR"));
            let text = serde_json::to_vec(&case).unwrap();
            std::fs::write(&file, text).unwrap();
            panic!(
                "seed {seed}: {why}\nthe shortest such case: {case:?}\n\
                 once more: FLUYT_PROPERTY_REPLAY={file} cargo test --package fluyt-scheduler-core --tests -- --nocapture\n\
                 or all of it: FLUYT_PROPERTY_SEED={seed}"
            );
        }
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}

/// Another one for every run.
fn rand_seed() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as u32
}
