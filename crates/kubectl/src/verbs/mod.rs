//! One module per verb, and the one list that names them all.

use crate::context::Context;
use crate::failure::Failure;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use std::future::Future;
use std::pin::Pin;

pub(crate) mod common;
mod marks;
mod nodes;

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// A verb: how its command line looks, and what it does.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) command: fn() -> Command,
    pub(crate) run: for<'a> fn(&'a Context, &'a ArgMatches) -> Answer<'a>,
}

macro_rules! verbs {
    ($($module:ident = $name:literal),* $(,)?) => {
        $(mod $module;)*

        /// All verbs, in the order in which help lists them.
        pub(crate) const REGISTRY: &[Verb] = &[$(Verb {
            name: $name,
            command: $module::Arguments::command,
            run: |context, matches| Box::pin(async move {
                $module::run(context, parse::<$module::Arguments>(matches)?).await
            }),
        }),*];
    };
}

verbs! {
    create = "create",
    expose = "expose",
    run = "run",
    set = "set",
    explain = "explain",
    get = "get",
    edit = "edit",
    delete = "delete",
    diff = "diff",
    rollout = "rollout",
    scale = "scale",
    cluster_info = "cluster-info",
    cordon = "cordon",
    uncordon = "uncordon",
    drain = "drain",
    events = "events",
    taint = "taint",
    top = "top",
    describe = "describe",
    logs = "logs",
    attach = "attach",
    exec = "exec",
    port_forward = "port-forward",
    cp = "cp",
    auth = "auth",
    apply = "apply",
    patch = "patch",
    replace = "replace",
    wait = "wait",
    why = "why",
    label = "label",
    annotate = "annotate",
    completion = "completion",
    api_resources = "api-resources",
    api_versions = "api-versions",
    config = "config",
    options = "options",
    version = "version",
}

fn parse<T: FromArgMatches>(matches: &ArgMatches) -> Result<T, Failure> {
    T::from_arg_matches(matches).map_err(|error| Failure::message(error.to_string()))
}
