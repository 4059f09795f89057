//! `scale`: sets the number of replicas through the scale subresource.

use super::common::{DryRun, DryRunFlag};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::printers::PrintFlags;
use crate::rest::{Call, MERGE_PATCH};
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::{duration, goquote::quote};
use serde_json::{Value, json};

/// Set a new size for a deployment, replica set, or replication controller
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl scale --replicas=3 rs/foo
  kubectl scale --replicas=3 -f foo.yaml
  kubectl scale --current-replicas=2 --replicas=3 deployment/mysql")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// The new desired number of replicas
    #[arg(long)]
    replicas: Option<i64>,
    /// Precondition for current size; -1 means any
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    current_replicas: i64,
    /// Precondition for resource version
    #[arg(long)]
    resource_version: Option<String>,
    /// Select all resources of the type in the namespace
    #[arg(long)]
    all: bool,
    /// The length of time to wait until the number is reached; zero means don't wait
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Some(replicas) = arguments.replicas.filter(|replicas| *replicas >= 0) else {
        return Err(Failure::message(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    };
    if arguments.current_replicas < -1 {
        return Err(Failure::message("The --current-replicas must specify an integer of -1 or greater"));
    }
    let dry_run = arguments.dry_run.mode()?;
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        selectors: arguments.selectors.clone(),
        all: arguments.all,
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, true).await?;
    if references.is_empty() {
        let why: Vec<String> = failures.iter().map(Failure::text).collect();
        let text = format!("no objects passed to scale {}", why.join(", "));
        return Err(Failure::message(text.trim_end()));
    }
    let mut printer = arguments.print.printer()?;
    for reference in references {
        let outcome = format!("scaled{}", dry_run.suffix());
        let done = match scale(context, &arguments, &reference, replicas, dry_run).await {
            Ok(scaled) => {
                let object = if arguments.print.is_human() || scaled.is_null() {
                    &reference.value
                } else {
                    &scaled
                };
                printer.print(object, &outcome)
            }
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => Err(failure),
        };
        failures.extend(done.err());
    }
    Failure::collect(failures)
}

async fn scale(
    context: &Context,
    arguments: &Arguments,
    reference: &Reference,
    replicas: i64,
    dry_run: DryRun,
) -> Result<Value, Failure> {
    if dry_run == DryRun::Client {
        return Ok(Value::Null);
    }
    let rest = context.rest().await?;
    let path = format!("{}/scale", reference.path());
    let has_precondition = arguments.current_replicas >= 0 || arguments.resource_version.is_some();
    let call = if has_precondition {
        let mut current = rest.json(&Call::get(&path)).await?;
        check(arguments, &current)?;
        current["spec"]["replicas"] = json!(replicas);
        Call::put(&path, &current)
    } else {
        let patch = json!({"spec": {"replicas": replicas}});
        Call::patch(&path, MERGE_PATCH, patch.to_string().into_bytes())
    };
    let call = call
        .query("fieldManager", "kubectl-scale")
        .dry_run(dry_run == DryRun::Server);
    let scaled = rest.json(&call).await.map_err(|failure| no_such_subresource(failure, reference))?;
    let timeout = duration::parse(&arguments.timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.timeout))))?;
    if !timeout.is_zero() {
        wait_until_scaled(context, reference, replicas, timeout).await?;
    }
    Ok(scaled)
}

fn check(arguments: &Arguments, current: &Value) -> Result<(), Failure> {
    let replicas = current.number("spec.replicas");
    if arguments.current_replicas >= 0 && arguments.current_replicas != replicas {
        return Err(Failure::message(format!(
            "Expected replicas to be {}, was {replicas}",
            arguments.current_replicas
        )));
    }
    let version = current.text("metadata.resourceVersion");
    match &arguments.resource_version {
        Some(expected) if expected != version => Err(Failure::message(format!(
            "Expected resource version to be {expected}, was {version}"
        ))),
        _ => Ok(()),
    }
}

fn no_such_subresource(failure: Failure, reference: &Reference) -> Failure {
    match failure {
        Failure::Api(error) if error.code == 404 && error.details.is_null() => {
            Failure::message(format!("could not find the scale of {}", reference.display()))
        }
        other => other,
    }
}

async fn wait_until_scaled(
    context: &Context,
    reference: &Reference,
    replicas: i64,
    timeout: std::time::Duration,
) -> Result<(), Failure> {
    let rest = context.rest().await?;
    let reached = async {
        loop {
            let object = rest.json(&Call::get(reference.path())).await?;
            let observed = object.number("status.observedGeneration") >= object.number("metadata.generation");
            if observed && object.number("status.replicas") == replicas {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(timeout, reached).await.unwrap_or_else(|_| {
        Err(Failure::message(format!(
            "timed out waiting for {} to be synced",
            quote(&reference.name)
        )))
    })
}
