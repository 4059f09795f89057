//! `rollout history` and `rollout undo`: the templates that a workload had, from its replica sets or
//! controller revisions.

use super::{Chosen, MANAGER};
use crate::context::Context;
use crate::describe::{newest_replica_set, owned, template_text};
use crate::failure::Failure;
use crate::object::{LAST_APPLIED, Object};
use crate::output;
use crate::printers::PrintFlags;
use crate::rest::{Call, JSON_PATCH, STRATEGIC_PATCH};
use crate::selection::Reference;
use crate::text::tabwriter::{Layout, align};
use crate::verbs::common::{DryRun, DryRunFlag};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// What the deployment keeps when it goes back; all else comes from the replica set.
const KEPT: [&str; 5] = [
    LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
];

#[derive(clap::Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    print: PrintFlags,
    /// See the details, including podTemplate of the revision specified
    #[arg(long, default_value_t = 0)]
    revision: i64,
}

#[derive(clap::Args, Debug)]
pub(super) struct UndoFlags {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// The revision to rollback to; 0 means the last one
    #[arg(long, default_value_t = 0)]
    to_revision: i64,
}

/// One thing a workload has been: the pod template and who holds it.
struct Revision {
    template: Value,
    holder: Value,
    cause: String,
}

pub(super) async fn run(context: &Context, flags: Flags) -> Result<(), Failure> {
    if flags.revision < 0 {
        return Err(Failure::message(format!("revision must be a positive integer: {}", flags.revision)));
    }
    let (references, mut failures) = flags.chosen.objects(context).await?;
    for reference in references {
        let revisions = match revisions(context, &reference).await {
            Ok(revisions) => revisions,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        if !flags.print.is_human() {
            let chosen = revisions
                .get(&flags.revision)
                .or_else(|| revisions.values().next_back())
                .ok_or_else(|| Failure::message("unable to find the specified revision"))?;
            flags.print.printer()?.print(&chosen.holder, "")?;
            continue;
        }
        let (with, text) = if flags.revision > 0 {
            let chosen = revisions
                .get(&flags.revision)
                .ok_or_else(|| Failure::message("unable to find the specified revision"))?;
            let text = template_text(&with_cause(chosen));
            (format!("with revision #{}", flags.revision), text)
        } else {
            (String::new(), table(&revisions))
        };
        output::line(format!("{} {with}\n{text}", reference.display()));
    }
    Failure::collect(failures)
}

fn with_cause(revision: &Revision) -> Value {
    let mut template = revision.template.clone();
    if !revision.cause.is_empty() {
        template["metadata"]["annotations"][CHANGE_CAUSE] = json!(revision.cause);
    }
    template
}

fn table(revisions: &BTreeMap<i64, Revision>) -> String {
    if revisions.is_empty() {
        return "No rollout history found.".to_owned();
    }
    let mut text = "REVISION\tCHANGE-CAUSE\n".to_owned();
    for (number, revision) in revisions {
        let cause = if revision.cause.is_empty() { "<none>" } else { &revision.cause };
        text.push_str(&format!("{number}\t{cause}\n"));
    }
    align(&text, Layout::DESCRIPTION)
}

async fn revisions(context: &Context, reference: &Reference) -> Result<BTreeMap<i64, Revision>, Failure> {
    let object = &reference.value;
    let mut found = BTreeMap::new();
    match reference.mapping.kind.as_str() {
        "Deployment" => {
            for set in owned(context, "replicasets", object).await.unwrap_or_default() {
                let Some(number) = set.annotation(REVISION).and_then(|text| text.parse().ok()) else {
                    continue;
                };
                found.insert(
                    number,
                    Revision {
                        template: set.at("spec.template").clone(),
                        cause: set.annotation(CHANGE_CAUSE).unwrap_or_default().to_owned(),
                        holder: set,
                    },
                );
            }
        }
        "DaemonSet" | "StatefulSet" => {
            for revision in owned(context, "controllerrevisions", object).await.unwrap_or_default() {
                found.insert(
                    revision.number("revision"),
                    Revision {
                        template: revision.at("data.spec.template").clone(),
                        cause: revision.annotation(CHANGE_CAUSE).unwrap_or_default().to_owned(),
                        holder: revision,
                    },
                );
            }
        }
        kind => {
            return Err(Failure::message(format!(
                "no history viewer has been implemented for \"{kind}.{}\"",
                reference.mapping.group
            )));
        }
    }
    Ok(found)
}

pub(super) async fn undo(context: &Context, flags: UndoFlags) -> Result<(), Failure> {
    let dry_run = flags.dry_run.mode()?;
    let (references, mut failures) = flags.chosen.objects(context).await?;
    for reference in references {
        match undo_one(context, &flags, &reference, dry_run).await {
            Ok(outcome) => {
                flags.print.printer()?.print(&reference.value, &format!("{outcome}{}", dry_run.suffix()))?;
            }
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

async fn undo_one(
    context: &Context,
    flags: &UndoFlags,
    reference: &Reference,
    dry_run: DryRun,
) -> Result<String, Failure> {
    let object = &reference.value;
    if object.annotation(LAST_APPLIED).is_some() {
        output::warning(format!(
            "resource {} is missing or has an outdated {LAST_APPLIED} annotation after this rollback; apply the manifest of the wanted state to keep both alike.",
            reference.display_plural()
        ));
    }
    let mut revisions = revisions(context, reference).await?;
    if flags.to_revision < 0 || (flags.to_revision > 0 && !revisions.contains_key(&flags.to_revision)) {
        return Err(Failure::message(format!(
            "unable to find specified revision {} in history",
            flags.to_revision
        )));
    }
    let target = if flags.to_revision > 0 {
        flags.to_revision
    } else {
        let numbers: Vec<i64> = revisions.keys().copied().collect();
        match numbers.as_slice() {
            [.., before, _] => *before,
            _ => {
                return Err(Failure::message(match reference.mapping.kind.as_str() {
                    "Deployment" => format!(
                        "no rollout history found for deployment {}",
                        crate::text::goquote::quote(object.name())
                    ),
                    _ => "no last revision to roll back to".to_owned(),
                }));
            }
        }
    };
    let Some(revision) = revisions.remove(&target) else {
        return Err(Failure::message(format!("unable to find specified revision {target} in history")));
    };
    if reference.mapping.kind != "Deployment" {
        return restore_revision(context, reference, &revision, target, dry_run).await;
    }
    if dry_run == DryRun::Client {
        return Ok(template_text(&revision.template));
    }
    if object.at("spec.paused") == true {
        return Err(Failure::message(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        ));
    }
    if newest_replica_set(object, std::slice::from_ref(&revision.holder)).is_some()
        && revision.holder.annotation(REVISION) == object.annotation(REVISION)
    {
        return Ok(format!(
            "skipped rollback (current template already matches revision {})",
            flags.to_revision
        ));
    }
    restore_deployment(context, reference, revision, target, dry_run).await
}

async fn restore_deployment(
    context: &Context,
    reference: &Reference,
    revision: Revision,
    target: i64,
    dry_run: DryRun,
) -> Result<String, Failure> {
    let mut template = revision.template;
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    let mut annotations = Map::new();
    for (key, value) in reference.value.pairs("metadata.annotations") {
        if KEPT.contains(&key) {
            annotations.insert(key.to_owned(), json!(value));
        }
    }
    for (key, value) in revision.holder.pairs("metadata.annotations") {
        if !KEPT.contains(&key) {
            annotations.insert(key.to_owned(), json!(value));
        }
    }
    let patch = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations},
    ]);
    send(context, reference, JSON_PATCH, &patch, target, dry_run).await
}

/// Controller revisions hold the patch itself.
async fn restore_revision(
    context: &Context,
    reference: &Reference,
    revision: &Revision,
    target: i64,
    dry_run: DryRun,
) -> Result<String, Failure> {
    if dry_run == DryRun::Client {
        return Ok(format!("will roll back to {}", template_text(&revision.template)));
    }
    send(context, reference, STRATEGIC_PATCH, &revision.holder["data"], target, dry_run).await
}

async fn send(
    context: &Context,
    reference: &Reference,
    media: &'static str,
    patch: &Value,
    target: i64,
    dry_run: DryRun,
) -> Result<String, Failure> {
    let call = Call::patch(reference.path(), media, patch.to_string().into_bytes())
        .query("fieldManager", MANAGER)
        .dry_run(dry_run == DryRun::Server);
    match context.rest().await?.json(&call).await {
        Ok(_) => Ok("rolled back".to_owned()),
        Err(Failure::Api(error)) => Err(Failure::message(format!(
            "failed restoring revision {target}: {}",
            error.message
        ))),
        Err(other) => Err(other),
    }
}
