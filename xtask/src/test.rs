//! `make test`: set up what the tests need, then formatting, lints and all tests, each as CI runs it.

use crate::process::{find, run};
use crate::{samples, setup};

pub fn run_all() -> anyhow::Result<()> {
    setup::run(true)?;
    run("cargo", &["fmt", "--all", "--check"])?;
    run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ],
    )?;
    // The binary first: the end-to-end tests run it, and it builds the sample images they run.
    run("cargo", &["build", "--package", "fluyt"])?;
    samples::run()?;
    let nextest = find("cargo-nextest").is_some();
    match nextest {
        true => run(
            "cargo",
            &["nextest", "run", "--workspace", "--no-fail-fast"],
        ),
        false => run("cargo", &["test", "--workspace", "--no-fail-fast"]),
    }
}

/// The property tests of the scheduler over a million decisions, optimised, on all processors.
pub fn run_nightly() -> anyhow::Result<()> {
    run(
        "env",
        &[
            "FLUYT_PROPERTY_DECISIONS=1000000",
            "cargo",
            "test",
            "--release",
            "--package",
            "fluyt-scheduler-core",
            "--tests",
            "--",
            "--nocapture",
        ],
    )
}
