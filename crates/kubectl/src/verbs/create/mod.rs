//! `create`: from manifests, or from flags by one of the generators.

mod config;
mod rbac;
mod services;
mod token;
mod workloads;

use super::common::{DryRun, DryRunFlag, Sending, ValidateFlag, annotate_last_applied, create};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::printers::PrintFlags;
use crate::rest::Call;
use crate::selection::{Choice, of_manifest};
use serde_json::{Value, json};

const MANAGER: &str = "kubectl-create";

/// Create a resource from a file or from stdin
#[derive(clap::Parser, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = "Examples:
  kubectl create -f ./pod.json
  cat pod.json | kubectl create -f -
  kubectl create deployment web --image=nginx --replicas=2
  kubectl create configmap settings --from-literal=mode=fast")]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    flags: CreateFlags,
    /// Selector (label query) to filter the manifests on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Raw URI to POST the manifest to
    #[arg(long)]
    raw: Option<String>,
    #[command(subcommand)]
    generator: Option<Generator>,
}

/// The flags that `create` and all its generators take.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct CreateFlags {
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    #[command(flatten)]
    validate: ValidateFlag,
    /// Save the configuration of the object in its annotation, for a later kubectl apply
    #[arg(long)]
    save_config: bool,
    /// Name of the manager used to track field ownership
    #[arg(long, default_value = MANAGER, hide_default_value = true)]
    field_manager: String,
}

#[derive(clap::Subcommand, Debug)]
enum Generator {
    #[command(visible_alias = "ns")]
    Namespace(config::Namespace),
    #[command(visible_alias = "cm")]
    Configmap(config::ConfigMap),
    Secret(config::Secret),
    #[command(visible_alias = "sa")]
    Serviceaccount(config::ServiceAccount),
    #[command(visible_alias = "resourcequota")]
    Quota(config::Quota),
    #[command(visible_alias = "pc")]
    Priorityclass(config::PriorityClass),
    #[command(visible_alias = "deploy")]
    Deployment(workloads::Deployment),
    Job(workloads::Job),
    #[command(visible_alias = "cj")]
    Cronjob(workloads::CronJob),
    #[command(visible_alias = "pdb")]
    Poddisruptionbudget(workloads::DisruptionBudget),
    #[command(visible_alias = "svc")]
    Service(services::Service),
    Role(rbac::Role),
    Clusterrole(rbac::ClusterRole),
    Rolebinding(rbac::RoleBinding),
    Clusterrolebinding(rbac::ClusterRoleBinding),
    Token(token::Token),
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.raw {
        return raw(context, path, &arguments.files).await;
    }
    let Some(generator) = arguments.generator else {
        return from_files(context, arguments).await;
    };
    let (object, flags) = match generator {
        Generator::Namespace(generator) => (generator.object()?, generator.flags),
        Generator::Configmap(generator) => (generator.object()?, generator.flags),
        Generator::Secret(generator) => generator.object()?,
        Generator::Serviceaccount(generator) => (generator.object()?, generator.flags),
        Generator::Quota(generator) => (generator.object()?, generator.flags),
        Generator::Priorityclass(generator) => (generator.object()?, generator.flags),
        Generator::Deployment(generator) => (generator.object()?, generator.flags),
        Generator::Job(generator) => (generator.object(context).await?, generator.flags),
        Generator::Cronjob(generator) => (generator.object()?, generator.flags),
        Generator::Poddisruptionbudget(generator) => (generator.object()?, generator.flags),
        Generator::Service(generator) => generator.object()?,
        Generator::Role(generator) => (generator.object(context).await?, generator.flags),
        Generator::Clusterrole(generator) => (generator.object(context).await?, generator.flags),
        Generator::Rolebinding(generator) => (generator.object()?, generator.flags),
        Generator::Clusterrolebinding(generator) => (generator.object()?, generator.flags),
        Generator::Token(generator) => return generator.run(context).await,
    };
    generated(context, object, &flags).await
}

async fn from_files(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if arguments.files.is_empty() {
        return Err(Failure::usage("create", "must specify one of -f and -k"));
    }
    let flags = &arguments.flags;
    let dry_run = flags.dry_run.mode()?;
    let sending = Sending {
        dry_run,
        field_manager: &flags.field_manager,
        field_validation: flags.validate.field_validation()?,
    };
    let choice = Choice {
        files: arguments.files.clone(),
        ..Choice::default()
    };
    let selector = arguments.selector.as_deref().map(crate::selection::parse_selector).transpose()?;
    let mut printer = flags.print.printer()?;
    let (references, mut failures) = choice.objects(context, false).await?;
    let mut created_any = false;
    for mut reference in references {
        if selector.as_ref().is_some_and(|selector| !crate::selection::matches(selector, &reference.value)) {
            continue;
        }
        if flags.save_config {
            annotate_last_applied(&mut reference.value);
        }
        created_any = true;
        match create(context, &reference, sending).await {
            Ok(created) => printer.print(&created, &format!("created{}", dry_run.suffix()))?,
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure.with_source("creating", reference.source.as_deref())),
        }
    }
    if !created_any && failures.is_empty() {
        return Err(Failure::message("no objects passed to create"));
    }
    Failure::collect(failures)
}

/// Creates what a generator made, and prints it.
async fn generated(context: &Context, mut object: Value, flags: &CreateFlags) -> Result<(), Failure> {
    let dry_run = flags.dry_run.mode()?;
    let mut printer = flags.print.printer()?;
    let outcome = format!("created{}", dry_run.suffix());
    if dry_run == DryRun::Client {
        if let Some(namespace) = context.explicit_namespace()
            && is_namespaced(context, &object)
        {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if flags.save_config {
            annotate_last_applied(&mut object);
        }
        return printer.print(&object, &outcome);
    }
    let mut reference = of_manifest(context, object, None).await?;
    if flags.save_config {
        annotate_last_applied(&mut reference.value);
    }
    let sending = Sending {
        dry_run,
        field_manager: &flags.field_manager,
        field_validation: flags.validate.field_validation()?,
    };
    let created = create(context, &reference, sending)
        .await
        .map_err(|failure| failed_to_create(failure, &reference.value))?;
    printer.print(&created, &outcome)
}

/// Generators word a refusal like this: `error: failed to create deployment: deployments.apps "x" already exists`.
fn failed_to_create(failure: Failure, object: &Value) -> Failure {
    let wordy = [
        "Deployment", "ConfigMap", "Secret", "Job", "CronJob", "RoleBinding", "ClusterRoleBinding",
        "PriorityClass", "ResourceQuota", "ServiceAccount", "PodDisruptionBudget", "Service",
    ];
    match failure {
        Failure::Api(error) if wordy.contains(&object.kind()) => {
            let noun = match object.kind() {
                "ResourceQuota" => "quota".to_owned(),
                "Service" => format!("{} service", object.text("spec.type")),
                kind => kind.to_lowercase(),
            };
            Failure::Message(format!("failed to create {noun}: {}", error.message))
        }
        other => other,
    }
}

fn is_namespaced(context: &Context, object: &Value) -> bool {
    context.mapper().well_known(object.kind()).namespaced
}

async fn raw(context: &Context, path: &str, files: &FileFlags) -> Result<(), Failure> {
    let manifests = crate::manifests::read(files)?;
    let [manifest] = manifests.as_slice() else {
        return Err(Failure::usage("create", "--raw can only use a single local file or stdin"));
    };
    let bytes = context.rest().await?.bytes(&Call::post(path, &manifest.value)).await?;
    crate::output::print_bytes(&bytes);
    Ok(())
}

/// `key=value`.
fn pair<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
        Failure::message(format!("invalid {flag} source {text}, expected key=value"))
    })
}

/// The one name that a generator takes.
fn one_name<'a>(names: &'a [String], generator: &str) -> Result<&'a str, Failure> {
    match names {
        [name] => Ok(name),
        _ => Err(Failure::usage(
            &format!("create {generator}"),
            format!("exactly one NAME is required, got {}", names.len()),
        )),
    }
}
