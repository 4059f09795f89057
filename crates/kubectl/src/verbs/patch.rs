//! `patch`: strategic, merge or JSON patches from the command line or a file.

use super::common::{DryRun, DryRunFlag};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::printers::PrintFlags;
use crate::rest::{Call, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use crate::selection::{Choice, SelectorFlags};
use crate::text::{goquote::quote, yaml};
use serde_json::Value;

/// Update fields of a resource
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl patch node k8s-node-1 -p '{\"spec\":{\"unschedulable\":true}}'
  kubectl patch -f node.json -p '{\"spec\":{\"unschedulable\":true}}'
  kubectl patch pod valid-pod --type=json -p='[{\"op\": \"replace\", \"path\": \"/spec/containers/0/image\", \"value\":\"new image\"}]'")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// The patch to be applied to the resource, JSON or YAML
    #[arg(long, short = 'p')]
    patch: Option<String>,
    /// A file containing a patch to be applied to the resource
    #[arg(long)]
    patch_file: Option<String>,
    /// The type of patch being provided; one of [json merge strategic]
    #[arg(long = "type", default_value = "strategic")]
    patch_type: String,
    /// Patch the subresource of the requested object
    #[arg(long)]
    subresource: Option<String>,
    /// Name of the manager used to track field ownership
    #[arg(long, default_value = "kubectl-patch", hide_default_value = true)]
    field_manager: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let patch = read(&arguments)?;
    let media = match arguments.patch_type.to_lowercase().as_str() {
        "strategic" => STRATEGIC_PATCH,
        "merge" => MERGE_PATCH,
        "json" => JSON_PATCH,
        other => {
            return Err(Failure::message(format!(
                "--type must be one of [json merge strategic], not {}",
                quote(other)
            )));
        }
    };
    let dry_run = arguments.dry_run.mode()?;
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        selectors: SelectorFlags::default(),
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, true).await?;
    if references.is_empty() && failures.is_empty() {
        return Err(Failure::message("no objects passed to patch"));
    }
    let mut printer = arguments.print.printer()?;
    let rest = context.rest().await?;
    for reference in references {
        let path = match &arguments.subresource {
            Some(subresource) => format!("{}/{subresource}", reference.path()),
            None => reference.path(),
        };
        // The server also works out what a dry run of the client would have given.
        let call = Call::patch(path, media, patch.to_string().into_bytes())
            .query("fieldManager", arguments.field_manager.clone())
            .dry_run(dry_run != DryRun::None);
        match rest.json(&call).await {
            Ok(patched) => {
                let unchanged = if patched == reference.value { " (no change)" } else { "" };
                printer.print(&patched, &format!("patched{}{unchanged}", dry_run.suffix()))?;
            }
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

fn read(arguments: &Arguments) -> Result<Value, Failure> {
    let text = match (&arguments.patch, &arguments.patch_file) {
        (Some(_), Some(_)) => {
            return Err(Failure::message("cannot specify --patch and --patch-file together"));
        }
        (Some(patch), None) => patch.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Failure::message(format!("unable to read patch file: open {file}: {error}")))?,
        (None, None) => {
            return Err(Failure::message(
                "must specify --patch or --patch-file containing the contents of the patch",
            ));
        }
    };
    yaml::parse(&text).map_err(|error| Failure::message(format!("unable to parse {}: {error}", quote(&text))))
}
