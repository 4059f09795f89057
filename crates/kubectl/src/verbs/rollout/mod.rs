//! `rollout`: how far workloads are with their newest template, and which templates they had.

mod history;
mod status;

use super::common::{DryRun, DryRunFlag, patch};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::output;
use crate::printers::PrintFlags;
use crate::rest::MERGE_PATCH;
use crate::selection::{Choice, Reference, SelectorFlags};
use serde_json::json;

const MANAGER: &str = "kubectl-rollout";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Manage the rollout of one or many resources
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl rollout undo deployment/abc
  kubectl rollout status daemonset/foo
  kubectl rollout restart deployment/abc")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// View rollout history
    History(history::Flags),
    /// Mark the provided resource as paused
    Pause(Plain),
    /// Restart a resource
    Restart(Plain),
    /// Resume a paused resource
    Resume(Plain),
    /// Show the status of the rollout
    Status(status::Flags),
    /// Undo a previous rollout
    Undo(history::UndoFlags),
}

/// The flags that all actions take.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Chosen {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    /// Selector (label query) to filter on
    #[arg(long, short = 'l')]
    selector: Option<String>,
}

#[derive(clap::Args, Debug, Clone)]
struct Plain {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// Name of the manager used to track field ownership
    #[arg(long, default_value = MANAGER, hide_default_value = true)]
    field_manager: String,
}

impl Chosen {
    /// The workloads, read from the server.
    async fn objects(&self, context: &Context) -> Result<(Vec<Reference>, Vec<Failure>), Failure> {
        if self.words.is_empty() && self.files.is_empty() {
            return Err(Failure::message("required resource not specified"));
        }
        let choice = Choice {
            words: &self.words,
            files: self.files.clone(),
            selectors: SelectorFlags {
                selector: self.selector.clone(),
                ..SelectorFlags::default()
            },
            type_alone: true,
            ..Choice::default()
        };
        let (references, failures) = choice.objects(context, true).await?;
        if references.is_empty() && failures.is_empty() {
            output::error_line(format!("No resources found in {} namespace.", context.namespace()?));
        }
        Ok((references, failures))
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::Restart(flags) => each(context, &flags, restart).await,
        Action::Pause(flags) => each(context, &flags, |object| paused(object, true)).await,
        Action::Resume(flags) => each(context, &flags, |object| paused(object, false)).await,
        Action::Status(flags) => status::run(context, flags).await,
        Action::History(flags) => history::run(context, flags).await,
        Action::Undo(flags) => history::undo(context, flags).await,
    }
}

/// The patch of an action and what to call it, or why it cannot be done.
type Change = Result<(serde_json::Value, &'static str), String>;

async fn each(
    context: &Context,
    flags: &Plain,
    change: impl Fn(&Reference) -> Change,
) -> Result<(), Failure> {
    let dry_run = flags.dry_run.mode()?;
    let (references, mut failures) = flags.chosen.objects(context).await?;
    let mut printer = flags.print.printer()?;
    for reference in references {
        let (body, outcome) = match change(&reference) {
            Ok(change) => change,
            Err(reason) => {
                failures.push(Failure::message(format!("error: {} {reason}", reference.quoted())));
                continue;
            }
        };
        let outcome = format!("{outcome}{}", dry_run.suffix());
        if dry_run == DryRun::Client {
            printer.print(&reference.value, &outcome)?;
            continue;
        }
        match patch(context, &reference, MERGE_PATCH, &body, &flags.field_manager, dry_run).await {
            Ok(object) => printer.print(&object, &outcome)?,
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(Failure::message(format!("failed to patch: {}", failure.text()))),
        }
    }
    Failure::collect(failures)
}

fn restart(reference: &Reference) -> Change {
    if !matches!(reference.mapping.kind.as_str(), "Deployment" | "DaemonSet" | "StatefulSet") {
        return Err("restarting is not supported".to_owned());
    }
    if reference.value.at("spec.paused") == true {
        return Err("can't restart paused deployment (run rollout resume first)".to_owned());
    }
    let now = crate::text::time::now_rfc3339();
    let annotations = json!({RESTARTED_AT: now});
    Ok((json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}), "restarted"))
}

fn paused(reference: &Reference, pause: bool) -> Change {
    if reference.mapping.kind != "Deployment" {
        let verb = if pause { "pausing" } else { "resuming" };
        return Err(format!("{verb} is not supported"));
    }
    let is_paused = reference.value.at("spec.paused") == true;
    match (pause, is_paused) {
        (true, true) => Err("is already paused".to_owned()),
        (false, false) => Err("is not paused".to_owned()),
        (true, false) => Ok((json!({"spec": {"paused": true}}), "paused")),
        (false, true) => Ok((json!({"spec": {"paused": null}}), "resumed")),
    }
}
