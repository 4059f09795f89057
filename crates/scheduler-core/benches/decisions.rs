//! The example of the same name as `cargo bench -p fluyt-scheduler-core`, with the same words behind `--`.

#[path = "../examples/decisions.rs"]
mod decisions;

fn main() {
    decisions::main();
}
