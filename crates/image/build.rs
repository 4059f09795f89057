//! Builds the pause program for the target with the same compiler, so that the image is inside the binary and nothing is fetched.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=pause/pause.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR")).join("pause");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition=2024", "--crate-name=pause", "--crate-type=bin"])
        .args(["--target", &variable("TARGET")])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Crelocation-model=static", "-Ctarget-feature=+crt-static"])
        .args([
            "-Clink-arg=-nostartfiles",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-static",
        ])
        .args(["-Clink-arg=-Wl,--build-id=none"])
        .arg("-o")
        .arg(&out)
        .arg("pause/pause.rs")
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("pause/pause.rs does not build: {other:?}"),
    }
}
