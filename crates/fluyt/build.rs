//! How the release binary is linked: small, and with few pages that belong to one process alone.
//!
//! Only what the linker surely understands is asked of it: the toolchain's own lld, on the platform where rustc links with it.
//! Any other linker gives the same binary, a tenth larger.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let release = variable("PROFILE") == "release";
    // A linker of the user's own choice would be named in here.
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let chosen = flags.contains("linker") || flags.contains("link-arg");
    if !release || chosen || !links_with_lld(&variable("TARGET"), Path::new(&variable("RUSTC"))) {
        return;
    }
    // Relative relocations as a bitmap (understood since glibc 2.36) instead of 24 bytes each, which the loader has to read.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Functions of equal code are one.
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
}

fn links_with_lld(target: &str, rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let lld = sysroot
        .join("lib/rustlib")
        .join(target)
        .join("bin/gcc-ld/ld.lld");
    target == "x86_64-unknown-linux-gnu" && lld.exists()
}
