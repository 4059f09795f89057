//! The command line: which subcommand runs what, and how errors look (one line that names the flag; exit code 2 for usage).

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use crate::{component, image, snapshot, up};

/// Kubernetes in one small binary.
#[derive(Parser)]
#[command(name = "fluyt", version = VERSION, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (Kubernetes v1.36)");

const EXAMPLES: &str = "Examples:
  # A cluster with one node in the foreground; Ctrl-C stops it
  fluyt up

  # Two nodes in the background, each in a network namespace of its own
  fluyt up --nodes 2 --detach
  fluyt kubectl --kubeconfig /var/lib/fluyt/admin.kubeconfig get nodes
  fluyt down

  # A test API server with a real scheduler and controllers, and no node
  fluyt up --nodes 0 --data-dir /tmp/test --secure-port 0

Called as kube-apiserver, kube-scheduler, kube-controller-manager, kubelet or kubectl it is that component.";

#[derive(Subcommand)]
enum Command {
    /// Start a cluster on this machine
    Up(up::Options),
    /// Stop a cluster and remove every trace of it
    Down(up::down::Options),
    /// Say how a cluster on this machine is doing
    Status(up::status::Options),
    /// Run the API server
    Apiserver(Box<fluyt_apiserver::Options>),
    /// Run the scheduler
    Scheduler(Box<fluyt_scheduler::Options>),
    /// Run the controllers
    ControllerManager(Box<fluyt_controllers::Options>),
    /// Run the node agent
    Kubelet(Box<fluyt_kubelet::Options>),
    /// The Kubernetes command-line client
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure an API server: ours, or any other
    Bench(Box<fluyt_bench::Options>),
    /// Simulate nodes
    Sim(Box<fluyt_sim::Options>),
    /// Build and import container images
    Image(image::Options),
    /// Write all objects of a store to a file
    Snapshot(snapshot::SnapshotOptions),
    /// Fill an empty store from a snapshot file
    Restore(snapshot::RestoreOptions),
    /// Print the version
    Version,
}

/// Parses and runs; the exit code is the process's.
pub fn run(arguments: Vec<OsString>, started: Instant) -> ExitCode {
    // kubectl parses its own words, so that its errors and its exit codes are kubectl's.
    if arguments.get(1).is_some_and(|word| word == "kubectl") {
        return component::kubectl(arguments[1..].to_vec());
    }
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => return usage(&error),
    };
    match dispatch(command, started) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each said once: libraries repeat a source in their own text, and show files over several lines.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let line = cause.lines().next().unwrap_or_default().trim();
        if text.contains(line) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(line);
    }
    text
}

fn dispatch(command: Command, started: Instant) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(options) => up::run(options, started),
        Command::Down(options) => up::down::run(&options),
        Command::Status(options) => up::status::run(&options),
        Command::Apiserver(options) => component::apiserver(*options),
        Command::Scheduler(options) => component::scheduler(*options),
        Command::ControllerManager(options) => component::controllers(*options),
        Command::Kubelet(options) => component::kubelet(*options),
        Command::Kubectl { arguments } => {
            let program = std::iter::once(OsString::from("kubectl"));
            Ok(component::kubectl(program.chain(arguments).collect()))
        }
        Command::Bench(options) => component::bench(*options),
        Command::Sim(options) => component::sim(*options),
        Command::Image(options) => image::run(options),
        Command::Snapshot(options) => snapshot::snapshot(options),
        Command::Restore(options) => snapshot::restore(options),
        Command::Version => {
            println!("fluyt {VERSION}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Help and version go to standard output; a mistake is one line on standard error, with exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.to_string();
            let paragraph = text.split("\n\n").next().unwrap_or(&text);
            let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            eprintln!("{line} (see --help)");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_each_cause_once_and_in_one_line() {
        let line = |texts: &[&'static str]| {
            let mut causes = texts.iter().rev();
            let first = anyhow::Error::msg(*causes.next().unwrap());
            one_line(&causes.fold(first, |error, text| error.context(*text)))
        };
        let repeated = [
            "kubeconfig /nope",
            "failed to read /nope: not there",
            "failed to read /nope: not there",
            "not there",
        ];
        assert_eq!(
            line(&repeated),
            "kubeconfig /nope: failed to read /nope: not there"
        );
        assert_eq!(
            line(&["file", "line 1: wrong\n | hello\n | ^"]),
            "file: line 1: wrong"
        );
        assert_eq!(line(&["all of it"]), "all of it");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
