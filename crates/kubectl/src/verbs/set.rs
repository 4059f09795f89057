//! `set`: single features of workloads: their images, their environment.

use super::common::{DryRun, DryRunFlag, patch_difference};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::output;
use crate::printers::PrintFlags;
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::goquote::quote;
use serde_json::{Value, json};

const MANAGER: &str = "kubectl-set";

/// Set specific features on objects
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl set image deployment/nginx busybox=busybox nginx=nginx:1.9.1
  kubectl set image deployments,rc nginx=nginx:1.9.1 --all
  kubectl set env deployment/registry STORAGE_DIR=/local")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    feature: Feature,
}

#[derive(clap::Subcommand, Debug)]
enum Feature {
    /// Update the image of a pod template
    Image(Flags),
    /// Update environment variables on a pod template
    Env(EnvironmentFlags),
}

#[derive(clap::Args, Debug)]
struct Flags {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// Selector (label query) to filter on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Select all resources of the types in the namespace
    #[arg(long)]
    all: bool,
    /// If true, change the manifests' objects only, without asking the server
    #[arg(long)]
    local: bool,
}

#[derive(clap::Args, Debug)]
struct EnvironmentFlags {
    #[command(flatten)]
    common: Flags,
    /// The names of containers in the selected pod templates to change; may use *
    #[arg(long, short = 'c', default_value = "*")]
    containers: String,
    /// If true, display the environment
    #[arg(long)]
    list: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.feature {
        Feature::Image(flags) => image(context, flags).await,
        Feature::Env(flags) => environment(context, flags).await,
    }
}

/// Separates objects from `key=value` and `key-` words.
fn split(words: &[String]) -> (Vec<String>, Vec<String>) {
    let is_change = |word: &String| word.contains('=') || word.ends_with('-');
    let (changes, objects) = words.iter().cloned().partition(is_change);
    (objects, changes)
}

async fn each(
    context: &Context,
    flags: &Flags,
    objects: &[String],
    outcome: &str,
    change: impl Fn(&mut Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let dry_run = flags.dry_run.mode()?;
    let choice = Choice {
        words: objects,
        files: flags.files.clone(),
        selectors: SelectorFlags {
            selector: flags.selector.clone(),
            ..SelectorFlags::default()
        },
        all: flags.all,
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, !flags.local).await?;
    let mut printer = flags.print.printer()?;
    for reference in references {
        match change_one(context, flags, &reference, dry_run, &change).await {
            Ok(Some(object)) => printer.print(&object, &format!("{outcome}{}", dry_run.suffix()))?,
            Ok(None) => {}
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

async fn change_one(
    context: &Context,
    flags: &Flags,
    reference: &Reference,
    dry_run: DryRun,
    change: impl Fn(&mut Value) -> Result<(), Failure>,
) -> Result<Option<Value>, Failure> {
    let mut after = reference.value.clone();
    let Some(spec) = pod_spec_mut(&mut after) else {
        return Err(Failure::message(format!(
            "{}: the object is not a pod or does not have a pod template",
            reference.display()
        )));
    };
    change(spec)?;
    if after == reference.value {
        return Ok(None);
    }
    if flags.local || dry_run == DryRun::Client {
        return Ok(Some(after));
    }
    patch_difference(context, reference, &after, MANAGER, dry_run).await.map(Some)
}

fn pod_spec_mut(object: &mut Value) -> Option<&mut Value> {
    let path: &[&str] = match object.kind() {
        "Pod" => &["spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    };
    path.iter().try_fold(object, |value, field| value.get_mut(*field)).filter(|value| value.is_object())
}

async fn image(context: &Context, flags: Flags) -> Result<(), Failure> {
    let (objects, changes) = split(&flags.words);
    if objects.is_empty() && flags.files.is_empty() {
        return Err(Failure::message(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if changes.is_empty() {
        return Err(Failure::message("at least one image update is required"));
    }
    each(context, &flags, &objects, "image updated", |spec| {
        for change in &changes {
            let Some((name, image)) = change.split_once('=') else {
                return Err(Failure::message(format!("invalid image spec: {change}, expected CONTAINER=IMAGE")));
            };
            let mut found = name == "*";
            for list in ["containers", "initContainers"] {
                for container in spec[list].as_array_mut().into_iter().flatten() {
                    if name == "*" || container["name"] == name {
                        container["image"] = json!(image);
                        found = true;
                    }
                }
            }
            if !found {
                return Err(Failure::message(format!("unable to find container named {}", quote(name))));
            }
        }
        Ok(())
    })
    .await
}

async fn environment(context: &Context, flags: EnvironmentFlags) -> Result<(), Failure> {
    let (objects, changes) = split(&flags.common.words);
    if objects.is_empty() && flags.common.files.is_empty() {
        return Err(Failure::message(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if changes.is_empty() && !flags.list {
        return Err(Failure::message("at least one environment variable must be provided"));
    }
    let chosen = |container: &Value| match flags.containers.strip_suffix('*') {
        Some(prefix) => container.text("name").starts_with(prefix),
        None => container["name"] == flags.containers.as_str(),
    };
    each(context, &flags.common, &objects, "env updated", |spec| {
        for container in spec["containers"].as_array_mut().into_iter().flatten().filter(|c| chosen(c)) {
            if flags.list {
                output::line(format!("# container {}", container.text("name")));
                for variable in container.list("env") {
                    output::line(format!("{}={}", variable.text("name"), variable.text("value")));
                }
                continue;
            }
            set_variables(container, &changes);
        }
        Ok(())
    })
    .await
}

fn set_variables(container: &mut Value, changes: &[String]) {
    let mut variables = container["env"].as_array().cloned().unwrap_or_default();
    for change in changes {
        match change.split_once('=') {
            Some((name, value)) => {
                let variable = json!({"name": name, "value": value});
                match variables.iter_mut().find(|known| known["name"] == name) {
                    Some(known) => *known = variable,
                    None => variables.push(variable),
                }
            }
            None => {
                let name = change.trim_end_matches('-');
                variables.retain(|known| known["name"] != name);
            }
        }
    }
    container["env"] = json!(variables);
}
