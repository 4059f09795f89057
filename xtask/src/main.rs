//! `cargo xtask <command>`: the command line in front of the automation library.

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "The automation of this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate the API tables of crates/api from the Kubernetes API data beside the repository.
    Codegen {
        /// Only compare with the committed files, and fail when they differ.
        #[arg(long)]
        check: bool,
    },
    /// Compare the dependencies between our own crates with xtask/edges.txt.
    Edges {
        /// Rewrite the list from the manifests.
        #[arg(long)]
        update: bool,
    },
    /// Check the house rules that neither the compiler nor clippy checks.
    Tidy,
    /// Install the Debian packages that running a cluster needs.
    Setup {
        /// Also what the tests need.
        #[arg(long)]
        tests: bool,
    },
    /// Build the sample images into target/samples.
    Samples,
    /// Start the two-node sample cluster and show it: what `make up` runs after building.
    Up,
    /// Everything that CI checks: formatting, clippy, and all tests.
    Test,
    /// The scheduler's property tests over a million decisions.
    Nightly,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Codegen { check } => xtask::codegen::run(check),
        Command::Edges { update } => xtask::edges::run(&xtask::codegen::repository_root(), update),
        Command::Tidy => xtask::tidy::run(&xtask::codegen::repository_root()),
        Command::Setup { tests } => xtask::setup::run(tests),
        Command::Samples => xtask::samples::run().map(drop),
        Command::Up => xtask::demo::run_up(),
        Command::Test => xtask::test::run_all(),
        Command::Nightly => xtask::test::run_nightly(),
    }
}
