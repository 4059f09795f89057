//! What `label` and `annotate` have in common: `key=value` sets, `key-` removes.

use super::common::{DryRun, DryRunFlag, patch_difference};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::{Object, map_mut};
use crate::output;
use crate::printers::PrintFlags;
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::goquote::quote;
use serde_json::{Value, json};

/// The flags of both verbs.
#[derive(clap::Args, Debug)]
pub(crate) struct MarkFlags {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// If true, allow values to be overwritten, otherwise reject updates that overwrite existing ones
    #[arg(long)]
    overwrite: bool,
    /// Select all resources of the type in the namespace
    #[arg(long)]
    all: bool,
    /// If true, display what is there
    #[arg(long)]
    list: bool,
    /// If true, change the manifests' objects only, without asking the server
    #[arg(long)]
    local: bool,
    /// Only update the resource if this is its current resource version
    #[arg(long)]
    resource_version: Option<String>,
    /// Name of the manager used to track field ownership
    #[arg(long)]
    field_manager: Option<String>,
}

/// How the two verbs differ.
pub(crate) struct Manner {
    /// `labels` or `annotations`.
    pub(crate) field: &'static str,
    /// `label` or `annotation`.
    pub(crate) noun: &'static str,
    pub(crate) manager: &'static str,
}

/// What to set and what to remove.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

pub(crate) async fn run(
    context: &Context,
    flags: MarkFlags,
    manner: &Manner,
) -> Result<(), Failure> {
    let dry_run = flags.dry_run.mode()?;
    let (words, changes) = split(&flags.words, manner)?;
    if words.is_empty() && flags.files.is_empty() {
        return Err(Failure::message(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if changes == Changes::default() && !flags.list {
        return Err(Failure::message(format!(
            "at least one {} update is required",
            manner.noun
        )));
    }
    let choice = Choice {
        words: &words,
        files: flags.files.clone(),
        selectors: flags.selectors.clone(),
        all: flags.all,
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, !flags.local).await?;
    for reference in references {
        let done = if flags.list {
            list(&reference, manner);
            Ok(())
        } else {
            mark(context, &flags, manner, &changes, reference, dry_run).await
        };
        match done {
            Ok(()) => {}
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

/// Separates the objects from the changes.
fn split(words: &[String], manner: &Manner) -> Result<(Vec<String>, Changes), Failure> {
    let is_change =
        |word: &String| (word.contains('=') && !word.starts_with('=')) || word.ends_with('-');
    let first = words.iter().position(is_change).unwrap_or(words.len());
    let mut changes = Changes::default();
    for word in &words[first..] {
        if let Some((key, value)) = word.split_once('=') {
            let problems = if manner.field == "labels" {
                fluyt_api::names::label_value(value)
            } else {
                Vec::new()
            };
            if !problems.is_empty() {
                return Err(Failure::message(format!(
                    "invalid label value: {}: {}",
                    quote(word),
                    problems.join(";")
                )));
            }
            changes.set.push((key.to_owned(), value.to_owned()));
        } else if let Some(key) = word.strip_suffix('-') {
            changes.remove.push(key.to_owned());
        } else {
            return Err(Failure::message(format!(
                "all resources must be specified before {} changes: {word}",
                manner.noun
            )));
        }
    }
    if changes
        .set
        .iter()
        .any(|(key, _)| changes.remove.contains(key))
    {
        return Err(Failure::message(format!(
            "can not both modify and remove a {} in the same command",
            manner.noun
        )));
    }
    Ok((words[..first].to_vec(), changes))
}

async fn mark(
    context: &Context,
    flags: &MarkFlags,
    manner: &Manner,
    changes: &Changes,
    reference: Reference,
    dry_run: DryRun,
) -> Result<(), Failure> {
    let before = marks(&reference.value, manner);
    if !flags.overwrite {
        check_overwrites(&before, changes, manner)?;
    }
    let mut after = reference.value.clone();
    let (mut added, mut removed) = (false, false);
    let map = map_mut(&mut after, &["metadata", manner.field]);
    for (key, value) in &changes.set {
        added |= map.insert(key.clone(), json!(value)) != Some(json!(value));
    }
    for key in &changes.remove {
        let was_there = map.remove(key).is_some();
        removed |= was_there;
        if !was_there && manner.field == "labels" {
            output::line(format!("label {} not found.", quote(key)));
        }
    }
    if let Some(version) = &flags.resource_version {
        after["metadata"]["resourceVersion"] = json!(version);
    }
    let manager = flags.field_manager.as_deref().unwrap_or(manner.manager);
    let changed = if flags.local || dry_run == DryRun::Client || after == reference.value {
        after
    } else {
        patch_difference(context, &reference, &after, manager, dry_run).await?
    };
    let outcome = match (manner.field, added, removed) {
        ("annotations", ..) => "annotated",
        (_, true, true) => "modified",
        (_, true, false) => "labeled",
        (_, false, true) => "unlabeled",
        (_, false, false) => "not labeled",
    };
    flags
        .print
        .printer()?
        .print(&changed, &format!("{outcome}{}", dry_run.suffix()))
}

fn marks(object: &Value, manner: &Manner) -> Vec<(String, String)> {
    object
        .pairs(&format!("metadata.{}", manner.field))
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn check_overwrites(
    before: &[(String, String)],
    changes: &Changes,
    manner: &Manner,
) -> Result<(), Failure> {
    let clashing: Vec<(&str, &str)> = changes
        .set
        .iter()
        .filter_map(|(key, value)| {
            let (_, current) = before
                .iter()
                .find(|(known, current)| known == key && current != value)?;
            Some((key.as_str(), current.as_str()))
        })
        .collect();
    if clashing.is_empty() {
        return Ok(());
    }
    if manner.field == "annotations" {
        let pairs: Vec<String> = changes
            .set
            .iter()
            .filter(|(key, _)| clashing.iter().any(|(clash, _)| clash == key))
            .map(|(key, value)| format!("'{key}={value}'"))
            .collect();
        return Err(Failure::message(format!(
            "--overwrite is false but found the following declared annotation(s): {}",
            pairs.join("; ")
        )));
    }
    Failure::collect(
        clashing
            .into_iter()
            .map(|(key, current)| {
                Failure::message(format!(
                    "'{key}' already has a value ({current}), and --overwrite is false"
                ))
            })
            .collect(),
    )
}

fn list(reference: &Reference, manner: &Manner) {
    for (key, value) in marks(&reference.value, manner) {
        output::line(format!("{key}={value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_before_changes() {
        let words: Vec<String> = ["pods", "a", "x=1", "y-"].map(str::to_owned).to_vec();
        let (objects, changes) = split(&words, &super::super::label::MANNER).unwrap();
        assert_eq!(objects, ["pods", "a"]);
        assert_eq!(changes.set, [("x".to_owned(), "1".to_owned())]);
        assert_eq!(changes.remove, ["y"]);
    }
}
