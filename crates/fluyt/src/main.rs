//! The binary: every component as a subcommand, or by the name it is called with (kube-apiserver, kube-scheduler,
//! kube-controller-manager, kubelet, kubectl). Nothing is decided here; each subcommand hands over to its crate.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod component;
mod image;
mod logging;
mod signals;
mod snapshot;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The names of stock components, and of our plugin of kubectl, and the subcommands that they stand for.
const ALIASES: &[(&str, &str)] = &[
    ("kube-apiserver", "apiserver"),
    ("kube-scheduler", "scheduler"),
    ("kube-controller-manager", "controller-manager"),
    ("kubelet", "kubelet"),
    ("kubectl", "kubectl"),
    ("kubectl-why", "kubectl why"),
];

fn main() -> ExitCode {
    let started = Instant::now();
    // Where the kernel gives huge pages to everybody, the heap of an idle process would be several times as large. A kernel
    // that does not know the wish has nothing to refuse.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let arguments = expand_alias(std::env::args_os().collect());
    // Two providers could be compiled in through dependencies; the choice is made once, here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(arguments, started)
}

/// `kube-apiserver --flag` becomes `fluyt apiserver --flag`, `kubectl-why POD` becomes `fluyt kubectl why POD`.
fn expand_alias(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let called = arguments
        .first()
        .map(std::path::Path::new)
        .and_then(|path| path.file_name())
        .and_then(|name| name.to_str())
        .unwrap_or("fluyt");
    if let Some((_, subcommand)) = ALIASES.iter().find(|(name, _)| *name == called) {
        let words = std::iter::once("fluyt").chain(subcommand.split(' '));
        arguments.splice(..1, words.map(OsString::from));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_names_are_subcommands() {
        let call = |words: &[&str]| expand_alias(words.iter().map(OsString::from).collect());
        assert_eq!(
            call(&["/usr/bin/kube-apiserver", "--insecure-port=8080"]),
            ["fluyt", "apiserver", "--insecure-port=8080"]
        );
        // As a plugin of the stock client.
        assert_eq!(
            call(&["kubectl-why", "web"]),
            ["fluyt", "kubectl", "why", "web"]
        );
        assert_eq!(call(&["./fluyt", "up"]), ["./fluyt", "up"]);
    }
}
