//! `replace`: puts whole objects in the place of the server's, or with `--force` deletes and creates them.

use super::common::{DryRun, DryRunFlag, Sending, ValidateFlag, annotate_last_applied, create};
use super::delete::delete_and_wait;
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::{LAST_APPLIED, Object};
use crate::printers::PrintFlags;
use crate::rest::Call;
use crate::selection::{Choice, Reference};
use serde_json::{Value, json};

const MANAGER: &str = "kubectl-replace";

/// Replace a resource by file name or stdin
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl replace -f ./pod.json
  cat pod.json | kubectl replace -f -
  kubectl replace --force -f ./pod.json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    #[command(flatten)]
    validate: ValidateFlag,
    /// If true, delete and create the objects anew
    #[arg(long)]
    force: bool,
    /// Save the configuration of the object in its annotation
    #[arg(long)]
    save_config: bool,
    /// Replace the subresource of the requested object
    #[arg(long)]
    subresource: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if arguments.files.is_empty() {
        return Err(Failure::usage("replace", "must specify --filename to replace"));
    }
    let sending = Sending {
        dry_run: arguments.dry_run.mode()?,
        field_manager: MANAGER,
        field_validation: arguments.validate.field_validation()?,
    };
    let choice = Choice {
        files: arguments.files.clone(),
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, false).await?;
    let mut printer = arguments.print.printer()?;
    for mut reference in references {
        if arguments.save_config || reference.value.annotation(LAST_APPLIED).is_some() {
            annotate_last_applied(&mut reference.value);
        }
        let outcome = format!("replaced{}", sending.dry_run.suffix());
        match replace(context, &arguments, &reference, sending).await {
            Ok(object) => printer.print(&object, &outcome)?,
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure.with_source("replacing", reference.source.as_deref())),
        }
    }
    Failure::collect(failures)
}

async fn replace(
    context: &Context,
    arguments: &Arguments,
    reference: &Reference,
    sending: Sending<'_>,
) -> Result<Value, Failure> {
    if sending.dry_run == DryRun::Client {
        return Ok(reference.value.clone());
    }
    if arguments.force {
        match delete_and_wait(context, reference).await {
            Err(failure) if !failure.is_not_found() => return Err(failure),
            _ => return create(context, reference, sending).await,
        }
    }
    let rest = context.rest().await?;
    let path = match &arguments.subresource {
        Some(subresource) => format!("{}/{subresource}", reference.path()),
        None => reference.path(),
    };
    let put = |object: &Value| {
        Call::put(path.clone(), object)
            .query("fieldManager", MANAGER)
            .query("fieldValidation", sending.field_validation)
            .dry_run(sending.dry_run == DryRun::Server)
    };
    let mut object = reference.value.clone();
    match rest.json(&put(&object)).await {
        // A manifest names no version: whatever is there now is what is replaced.
        Err(Failure::Api(error)) if error.reason == "Invalid" && object.text("metadata.resourceVersion").is_empty() => {
            let live = rest.json(&Call::get(reference.path())).await?;
            object["metadata"]["resourceVersion"] = json!(live.text("metadata.resourceVersion"));
            rest.json(&put(&object)).await
        }
        other => other,
    }
}
