//! The client as a program of its own, for the transcripts of the tests and for comparing it with others.

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing that can be missing");
    let code = runtime.block_on(fluyt_kubectl::run(std::env::args_os().collect()));
    std::process::exit(code);
}
