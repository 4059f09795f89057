//! `completion`: scripts by which shells complete the command line.

use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::text::goquote::quote;
use clap_complete::Shell;

/// Output shell completion code for the specified shell (bash, zsh, fish, or powershell)
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:\n  source <(kubectl completion bash)")]
pub(crate) struct Arguments {
    shells: Vec<String>,
}

pub(crate) async fn run(_: &Context, arguments: Arguments) -> Result<(), Failure> {
    let shell = match arguments.shells.as_slice() {
        [] => {
            return Err(Failure::usage("completion", "Shell not specified."));
        }
        [shell] => shell,
        _ => {
            return Err(Failure::usage("completion", "Too many arguments. Expected only the shell type."));
        }
    };
    let shell: Shell = shell
        .parse()
        .map_err(|_| Failure::usage("completion", format!("Unsupported shell type {}.", quote(shell))))?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "kubectl", &mut script);
    output::print_bytes(&script);
    Ok(())
}
