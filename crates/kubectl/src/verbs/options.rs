//! `options`: the flags that every verb takes.

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Print the list of flags inherited by all commands
#[derive(clap::Parser, Debug)]
pub(crate) struct Arguments {}

pub(crate) async fn run(_: &Context, _: Arguments) -> Result<(), Failure> {
    output::line("The following options can be passed to any command:\n");
    let command = crate::cli::command();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let Some(long) = argument.get_long() else {
            continue;
        };
        let short = argument.get_short().map_or(String::new(), |short| format!("-{short}, "));
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        output::line(format!("    {short}--{long}:\n\t{help}\n"));
    }
    Ok(())
}
