//! `apply`: makes the server's objects what the manifests say. The last applied configuration is kept in
//! an annotation, so that what vanishes from a manifest vanishes from the object; `--server-side` leaves
//! the merging to the server.

use super::common::{
    DryRun, DryRunFlag, Sending, ValidateFlag, annotate_last_applied, create,
};
use super::delete::delete_and_wait;
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::{LAST_APPLIED, Object};
use crate::output;
use crate::printers::{PrintFlags, Printer};
use crate::rest::{APPLY_PATCH, Call, MERGE_PATCH, STRATEGIC_PATCH};
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::strategic;
use crate::text::{gojson, goquote::quote, yaml};
use serde_json::{Value, json};

pub(super) const MANAGER: &str = "kubectl-client-side-apply";
const SERVER_SIDE_MANAGER: &str = "kubectl";
/// Tries after a conflict with another writer.
const RETRIES: usize = 5;

/// Apply a configuration to a resource by file name or stdin
#[derive(clap::Parser, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = "Examples:
  kubectl apply -f ./pod.json
  cat pod.json | kubectl apply -f -
  kubectl apply -f ./directory -R --server-side")]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    #[command(flatten)]
    validate: ValidateFlag,
    /// Selector (label query) to filter the manifests on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// If true, apply runs in the server instead of the client
    #[arg(long)]
    server_side: bool,
    /// If true, server-side apply will force the changes against conflicts
    #[arg(long)]
    force_conflicts: bool,
    /// Name of the manager used to track field ownership
    #[arg(long)]
    field_manager: Option<String>,
    /// If true, delete and re-create what cannot be changed in place
    #[arg(long)]
    force: bool,
    /// Automatically resolve conflicts between the modified and live configuration (accepted; always so)
    #[arg(long, hide = true, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    overwrite: bool,
    #[command(subcommand)]
    last_applied: Option<LastApplied>,
}

#[derive(clap::Subcommand, Debug)]
enum LastApplied {
    /// View the latest last-applied-configuration annotations of a resource/object
    ViewLastApplied {
        words: Vec<String>,
        #[command(flatten)]
        files: FileFlags,
        #[command(flatten)]
        selectors: SelectorFlags,
        /// Select all resources of the type in the namespace
        #[arg(long)]
        all: bool,
        /// Output format: json or yaml
        #[arg(long, short = 'o', default_value = "yaml")]
        output: String,
    },
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if let Some(LastApplied::ViewLastApplied {
        words,
        files,
        selectors,
        all,
        output,
    }) = &arguments.last_applied
    {
        let choice = Choice {
            words,
            files: files.clone(),
            selectors: selectors.clone(),
            all: *all,
            ..Choice::default()
        };
        return view_last_applied(context, choice, output).await;
    }
    if arguments.files.is_empty() {
        return Err(Failure::usage("apply", "must specify one of -f and -k"));
    }
    let dry_run = arguments.dry_run.mode()?;
    if arguments.server_side && dry_run == DryRun::Client {
        return Err(Failure::message(
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        ));
    }
    if arguments.force_conflicts && !arguments.server_side {
        return Err(Failure::message("--force-conflicts only works with --server-side"));
    }
    let choice = Choice {
        files: arguments.files.clone(),
        ..Choice::default()
    };
    let mut apply = Apply {
        context,
        dry_run,
        field_validation: arguments.validate.field_validation()?,
        printer: arguments.print.printer()?,
        collect: !arguments.print.is_human() && arguments.print.output.as_deref() != Some("name"),
        applied: Vec::new(),
        arguments,
    };
    let (references, mut failures) = choice.objects(context, false).await?;
    if references.is_empty() && failures.is_empty() {
        return Err(Failure::message("no objects passed to apply"));
    }
    for reference in references {
        if !apply.selected(&reference)? {
            continue;
        }
        match apply.one(reference).await {
            Ok(()) => {}
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    apply.print_collected()?;
    Failure::collect(failures)
}

struct Apply<'a> {
    context: &'a Context,
    arguments: Arguments,
    dry_run: DryRun,
    field_validation: &'static str,
    printer: Printer,
    /// With `-o yaml` and the like everything is printed at the end, as one list.
    collect: bool,
    applied: Vec<Value>,
}

impl Apply<'_> {
    fn selected(&self, reference: &Reference) -> Result<bool, Failure> {
        let Some(selector) = &self.arguments.selector else {
            return Ok(true);
        };
        let selector = crate::selection::parse_selector(selector)?;
        Ok(crate::selection::matches(&selector, &reference.value))
    }

    async fn one(&mut self, reference: Reference) -> Result<(), Failure> {
        if reference.value.name().is_empty() {
            let generated = reference.value.text("metadata.generateName");
            if !generated.is_empty() {
                return Err(Failure::message(format!(
                    "from {generated}-: cannot use generate name with apply"
                )));
            }
        }
        if self.arguments.server_side {
            return self.server_side(reference).await;
        }
        let source = reference.source.clone();
        let mut wanted = reference.value.clone();
        annotate_last_applied(&mut wanted);
        let rest = self.context.rest().await?;
        let live = match rest.json(&Call::get(reference.path())).await {
            Ok(live) => live,
            Err(failure) if failure.is_not_found() => {
                let sending = self.sending();
                let created = create(self.context, &reference.with_value(wanted), sending)
                    .await
                    .map_err(|failure| failure.with_source("creating", source.as_deref()))?;
                return self.done(created, "created");
            }
            Err(failure) => {
                return Err(with_retrieving(failure, &reference));
            }
        };
        if live.annotation(LAST_APPLIED).is_none() {
            output::warning(format!(
                "resource {} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.",
                reference.display_plural()
            ));
        }
        self.update(reference, &wanted, live).await
    }

    fn sending(&self) -> Sending<'static> {
        Sending {
            dry_run: self.dry_run,
            field_manager: MANAGER,
            field_validation: self.field_validation,
        }
    }

    async fn update(&mut self, reference: Reference, wanted: &Value, live: Value) -> Result<(), Failure> {
        let mut live = live;
        for attempt in 0.. {
            let patch = patch_for(&reference, wanted, &live);
            if patch.as_object().is_some_and(serde_json::Map::is_empty) {
                warn_if_deleting(&live);
                return self.done(live, "unchanged");
            }
            if self.dry_run == DryRun::Client {
                return self.done(wanted.clone(), "configured");
            }
            match self.send(&reference, &patch).await {
                Ok(patched) => {
                    warn_if_deleting(&patched);
                    return self.done(patched, "configured");
                }
                Err(failure) if failure.is_conflict() && attempt < RETRIES => {
                    live = self.context.rest().await?.json(&Call::get(reference.path())).await?;
                }
                Err(failure) if self.arguments.force && can_be_forced(&failure) => {
                    return self.replace(reference, wanted).await;
                }
                Err(failure) => return Err(with_patch(failure, &reference, &patch)),
            }
        }
        unreachable!("the loop only ends by returning")
    }

    async fn send(&self, reference: &Reference, patch: &Value) -> Result<Value, Failure> {
        let manager = self.arguments.field_manager.as_deref().unwrap_or(MANAGER);
        let call = patch_call(reference, patch, manager)
            .query("fieldValidation", self.field_validation)
            .dry_run(self.dry_run == DryRun::Server);
        self.context.rest().await?.json(&call).await
    }

    async fn replace(&mut self, reference: Reference, wanted: &Value) -> Result<(), Failure> {
        delete_and_wait(self.context, &reference).await?;
        let created = create(self.context, &reference.with_value(wanted.clone()), self.sending()).await?;
        self.done(created, "configured")
    }

    async fn server_side(&mut self, reference: Reference) -> Result<(), Failure> {
        let manager = self.arguments.field_manager.as_deref().unwrap_or(SERVER_SIDE_MANAGER);
        let mut call = Call::patch(
            reference.path(),
            APPLY_PATCH,
            gojson::compact(&reference.value).into_bytes(),
        )
        .query("fieldManager", manager)
        .query("fieldValidation", self.field_validation)
        .dry_run(self.dry_run == DryRun::Server);
        if self.arguments.force_conflicts {
            call = call.query("force", "true");
        }
        match self.context.rest().await?.json(&call).await {
            Ok(applied) => self.done(applied, "serverside-applied"),
            Err(failure) if failure.is_conflict() => Err(Failure::message(format!(
                "{}\nPlease review the fields above--they currently have other managers. Here\nare the ways you can resolve this warning:\n* If you intend to manage all of these fields, please re-run the apply\n  command with the `--force-conflicts` flag.\n* If you do not intend to manage all of the fields, please edit your\n  manifest to remove references to the fields that should keep their\n  current managers.\n* You may co-own fields by updating your manifest to match the existing\n  value; in this case, you'll become the manager if the other manager(s)\n  stop managing the field (remove it from their configuration).\nSee https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts",
                failure.text()
            ))),
            Err(failure) => Err(failure.with_source("serverside-apply", reference.source.as_deref())),
        }
    }

    fn done(&mut self, object: Value, outcome: &str) -> Result<(), Failure> {
        if self.collect {
            self.applied.push(object);
            return Ok(());
        }
        let outcome = format!("{outcome}{}", self.dry_run.suffix());
        self.printer.print(&object, &outcome)
    }

    fn print_collected(&mut self) -> Result<(), Failure> {
        match std::mem::take(&mut self.applied) {
            applied if applied.is_empty() => Ok(()),
            mut applied if applied.len() == 1 => self.printer.print(&applied.remove(0), ""),
            applied => {
                let list = json!({"apiVersion": "v1", "kind": "List", "items": applied, "metadata": {"resourceVersion": ""}});
                self.printer.print(&list, "")
            }
        }
    }
}

/// The request that sends such a patch.
pub(super) fn patch_call(reference: &Reference, patch: &Value, manager: &str) -> Call {
    let media = match reference.mapping.catalogued() {
        Some(_) => STRATEGIC_PATCH,
        None => MERGE_PATCH,
    };
    Call::patch(reference.path(), media, patch.to_string().into_bytes()).query("fieldManager", manager)
}

/// The patch that makes the live object what is wanted, and drops what the last applied configuration had beyond it.
pub(super) fn patch_for(reference: &Reference, wanted: &Value, live: &Value) -> Value {
    let mut original = live
        .annotation(LAST_APPLIED)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .unwrap_or_default();
    let kind = reference.mapping.catalogued().map(|resource| resource.type_id);
    // The annotation does not list itself, but it must not be taken for one that was dropped.
    if let Some(metadata) = original.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    strategic::three_way(kind, &original, wanted, live)
}

async fn view_last_applied(context: &Context, choice: Choice<'_>, format: &str) -> Result<(), Failure> {
    let (references, failures) = choice.objects(context, true).await?;
    for reference in references {
        let Some(text) = reference.value.annotation(LAST_APPLIED) else {
            return Err(Failure::message(format!(
                "no last-applied-configuration annotation found on resource: {}\n",
                reference.name
            )));
        };
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Failure::message(format!("{}: {LAST_APPLIED}: {error}", reference.display())))?;
        match format {
            "json" => output::line(gojson::pretty(&value, 2)),
            "yaml" | "" => output::print(&yaml::to_string(&value)),
            other => {
                return Err(Failure::usage(
                    "apply view-last-applied",
                    format!("Unexpected -o output mode: {other}, the flag 'output' must be one of yaml|json"),
                ));
            }
        }
    }
    Failure::collect(failures)
}

pub(super) fn warn_if_deleting(object: &Value) {
    if !object.at("metadata.deletionTimestamp").is_null() {
        output::warning(format!(
            "Detected changes to resource {} which is currently being deleted.",
            object.name()
        ));
    }
}

fn can_be_forced(failure: &Failure) -> bool {
    matches!(failure.reason(), "Invalid" | "Conflict")
}

fn describe(reference: &Reference) -> String {
    let mapping = &reference.mapping;
    let group_version = format!("{}/{}", mapping.group, mapping.version);
    format!(
        "Resource: \"{group_version}, Resource={}\", GroupVersionKind: \"{group_version}, Kind={}\"\nName: {}, Namespace: {}",
        mapping.plural,
        mapping.kind,
        quote(&reference.name),
        quote(reference.namespace.as_deref().unwrap_or_default())
    )
}

fn with_patch(failure: Failure, reference: &Reference, patch: &Value) -> Failure {
    let doing = format!(
        "applying patch:\n{}\nto:\n{}\nfor:",
        gojson::compact(patch),
        describe(reference)
    );
    failure.with_source(&doing, reference.source.as_deref())
}

fn with_retrieving(failure: Failure, reference: &Reference) -> Failure {
    let doing = format!("retrieving current configuration of:\n{}\nfrom server for:", describe(reference));
    failure.with_source(&doing, reference.source.as_deref())
}
