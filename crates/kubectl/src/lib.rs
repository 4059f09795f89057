//! kubectl: the command line of the cluster, one module per verb, on raw JSON over the REST API.
//!
//! Output, wording and exit codes are those of the reference client, since scripts parse them. Must not
//! know: how the server stores or decides anything; it works against any API server of the version.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod context;
mod describe;
mod failure;
mod kubeconfig;
mod manifests;
mod mapper;
mod object;
mod output;
mod pods;
mod printers;
mod rest;
mod selection;
mod strategic;
mod streams;
mod text;
mod verbs;

pub use cli::Globals as Options;

use clap::FromArgMatches;
use std::ffi::OsString;

/// Runs one command line; the first word is the program's name. Answers the exit code.
pub async fn run(args: Vec<OsString>) -> i32 {
    let words: Vec<String> = args
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words = if words.is_empty() {
        vec!["kubectl".to_owned()]
    } else {
        words
    };
    let words = cli::normalise(words);
    match dispatch(&words).await {
        Ok(()) => 0,
        Err(failure) => {
            let text = failure.render();
            if !text.is_empty() {
                output::error_line(text);
            }
            failure.exit_code()
        }
    }
}

async fn dispatch(words: &[String]) -> Result<(), failure::Failure> {
    let matches = match cli::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return cli::explain(&error, words).map_or(Ok(()), Err),
    };
    let globals = cli::Globals::from_arg_matches(&matches)
        .map_err(|error| failure::Failure::message(error.to_string()))?;
    let Some((name, inner)) = matches.subcommand() else {
        let _ = cli::command().print_help();
        return Ok(());
    };
    let verb = verbs::REGISTRY
        .iter()
        .find(|verb| verb.name == name)
        .expect("clap only accepts the verbs of the registry");
    let context = context::Context::new(globals);
    (verb.run)(&context, inner).await
}
