//! `config`: shows and changes kubeconfig files; never asks a server.

mod change;
mod view;

use crate::context::Context;
use crate::failure::Failure;
use crate::kubeconfig::Kubeconfig;
use crate::output;
use crate::text::goquote::quote;
use crate::text::tabwriter::{Layout, align};
use serde_json::Value;

/// Modify kubeconfig files
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl config view --minify
  kubectl config get-contexts
  kubectl config use-context minikube
  kubectl config set-context --current --namespace=dev")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    View(view::Flags),
    /// Display the current-context
    CurrentContext,
    /// Describe one or many contexts
    GetContexts {
        names: Vec<String>,
        /// Output format: name
        #[arg(long, short = 'o', default_value = "", hide_default_value = true)]
        output: String,
        /// Don't print headers
        #[arg(long)]
        no_headers: bool,
    },
    /// Display clusters defined in the kubeconfig
    GetClusters,
    /// Display users defined in the kubeconfig
    GetUsers,
    /// Set the current-context in a kubeconfig file
    #[command(alias = "use")]
    UseContext { names: Vec<String> },
    SetContext(change::SetContext),
    SetCluster(change::SetCluster),
    SetCredentials(change::SetCredentials),
    /// Delete the specified context from the kubeconfig
    DeleteContext { names: Vec<String> },
    /// Delete the specified cluster from the kubeconfig
    DeleteCluster { names: Vec<String> },
    /// Delete the specified user from the kubeconfig
    DeleteUser { names: Vec<String> },
    /// Rename a context from the kubeconfig file
    RenameContext { names: Vec<String> },
    /// Set an individual value in a kubeconfig file
    Set { words: Vec<String> },
    /// Unset an individual value in a kubeconfig file
    Unset { words: Vec<String> },
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::View(flags) => view::run(context, &flags),
        Action::CurrentContext => current_context(context.kubeconfig()?),
        Action::GetContexts {
            names,
            output,
            no_headers,
        } => get_contexts(context.kubeconfig()?, &names, &output, no_headers),
        Action::GetClusters => names_of(context.kubeconfig()?, "clusters"),
        Action::GetUsers => names_of(context.kubeconfig()?, "users"),
        Action::UseContext { names } => change::use_context(&load(context)?, &names),
        Action::SetContext(flags) => change::set_context(context, &load(context)?, &flags),
        Action::SetCluster(flags) => change::set_cluster(context, &load(context)?, &flags),
        Action::SetCredentials(flags) => change::set_credentials(context, &load(context)?, &flags),
        Action::DeleteContext { names } => change::delete(&load(context)?, "contexts", &names),
        Action::DeleteCluster { names } => change::delete(&load(context)?, "clusters", &names),
        Action::DeleteUser { names } => change::delete(&load(context)?, "users", &names),
        Action::RenameContext { names } => change::rename_context(&load(context)?, &names),
        Action::Set { words } => change::set(&load(context)?, &words),
        Action::Unset { words } => change::unset(&load(context)?, &words),
    }
}

fn load(context: &Context) -> Result<Kubeconfig, Failure> {
    Kubeconfig::load_for_writing(context.globals.kubeconfig.as_deref())
}

fn current_context(config: &Kubeconfig) -> Result<(), Failure> {
    if config.current_context().is_empty() {
        return Err(Failure::message("current-context is not set"));
    }
    output::line(config.current_context());
    Ok(())
}

fn names_of(config: &Kubeconfig, list: &str) -> Result<(), Failure> {
    output::line("NAME");
    for name in config.names(list) {
        output::line(name);
    }
    Ok(())
}

fn get_contexts(config: &Kubeconfig, names: &[String], format: &str, no_headers: bool) -> Result<(), Failure> {
    if !matches!(format, "" | "name") {
        return Err(Failure::message(format!(
            "--output {format} is not available in kubectl config get-contexts; resetting to default output format"
        )));
    }
    let mut failures = Vec::new();
    let mut shown = Vec::new();
    for name in if names.is_empty() { config.names("contexts") } else { names.to_vec() } {
        if config.entry("contexts", &name).is_some() {
            shown.push(name);
        } else {
            failures.push(Failure::message(format!("context {name} not found")));
        }
    }
    shown.sort();
    let mut text = String::new();
    if !no_headers && format.is_empty() {
        text.push_str("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for name in shown {
        if format == "name" {
            text.push_str(&format!("{name}\n"));
            continue;
        }
        let entry = config.entry("contexts", &name).unwrap_or(&Value::Null);
        let field = |field: &str| entry[field].as_str().unwrap_or_default();
        let mark = if config.current_context() == name { "*" } else { " " };
        text.push_str(&format!(
            "{mark}\t{name}\t{}\t{}\t{}\n",
            field("cluster"),
            field("user"),
            field("namespace")
        ));
    }
    output::print(&align(&text, Layout::TABLE));
    Failure::collect(failures)
}

/// The one name of an action.
fn one<'a>(names: &'a [String], usage: &str) -> Result<&'a str, Failure> {
    match names {
        [name] if !name.is_empty() => Ok(name),
        [] => Err(Failure::message(format!("you must specify {usage}"))),
        _ => Err(Failure::message(format!("Unexpected args: [{}]", names.join(" ")))),
    }
}

fn no_such(kind: &str, name: &str) -> Failure {
    Failure::message(format!("no {kind} exists with the name: {}", quote(name)))
}
