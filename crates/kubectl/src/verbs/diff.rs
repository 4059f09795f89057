//! `diff`: what `apply` would change, as a difference of two directories that a program of the system compares. The merged
//! side is the server's own answer to a dry run, so defaults and admission are in it.

use super::apply::{MANAGER, patch_call, patch_for, warn_if_deleting};
use super::common::{DryRun, Sending, create, last_applied_text};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::without_managed_fields;
use crate::rest::Call;
use crate::selection::{Choice, Reference};
use crate::text::yaml;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Diff the live version against a would-be applied version
#[derive(clap::Parser, Debug)]
#[command(after_help = "The program that compares is `diff -u -N`, or what KUBECTL_EXTERNAL_DIFF names.
Exit status: 0 no differences, 1 differences, more than 1 an error.

Examples:
  kubectl diff -f pod.json
  cat service.yaml | kubectl diff -f -
  KUBECTL_EXTERNAL_DIFF=\"diff -y\" kubectl diff -R -f manifests")]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: FileFlags,
    /// Selector (label query) to filter the manifests on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// If true, keep the managedFields when comparing
    #[arg(long)]
    show_managed_fields: bool,
    /// Name of the manager used to track field ownership
    #[arg(long, default_value = MANAGER)]
    field_manager: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    // The exit code 1 means differences, so errors have one of their own.
    let failed = |failure: Failure| Failure::Exact {
        text: failure.render(),
        code: failure.exit_code() + 1,
    };
    if arguments.files.is_empty() {
        return Err(failed(Failure::usage("diff", "must specify one of -f and -k")));
    }
    match compare(context, arguments).await.map_err(failed)? {
        0 => Ok(()),
        code => Err(Failure::Exact {
            text: String::new(),
            code,
        }),
    }
}

/// Answers the exit code of the program that compares.
async fn compare(context: &Context, arguments: Arguments) -> Result<i32, Failure> {
    let choice = Choice {
        words: &[],
        files: arguments.files.clone(),
        ..Choice::default()
    };
    let selector = arguments.selector.as_deref();
    let selector = selector.map(crate::selection::parse_selector).transpose()?;
    let (references, failures) = choice.objects(context, false).await?;
    Failure::collect(failures)?;
    let live = tempfile::Builder::new().prefix("LIVE-").tempdir()?;
    let merged = tempfile::Builder::new().prefix("MERGED-").tempdir()?;
    for reference in references {
        if let Some(selector) = &selector
            && !crate::selection::matches(selector, &reference.value)
        {
            continue;
        }
        let (mut before, mut after) = both(context, &reference, &arguments).await?;
        if reference.mapping.kind == "Secret" && reference.mapping.group.is_empty() {
            mask(&mut before, &mut after);
        }
        let name = file_name(&reference);
        write(live.path(), &name, before, arguments.show_managed_fields)?;
        write(merged.path(), &name, Some(after), arguments.show_managed_fields)?;
    }
    run_program(live.path(), merged.path())
}

/// The object as it is, and as it would be.
async fn both(
    context: &Context,
    reference: &Reference,
    arguments: &Arguments,
) -> Result<(Option<Value>, Value), Failure> {
    let rest = context.rest().await?;
    let live = match rest.json(&Call::get(reference.path())).await {
        Ok(live) => live,
        Err(failure) if failure.is_not_found() => {
            let sending = Sending {
                dry_run: DryRun::Server,
                field_manager: &arguments.field_manager,
                field_validation: "Ignore",
            };
            return Ok((None, create(context, reference, sending).await?));
        }
        Err(failure) => return Err(failure),
    };
    // In the form of the annotation: that the annotation is the client's own must not make it one that was dropped.
    let wanted = serde_json::from_str(&last_applied_text(&reference.value))
        .map_err(|error| Failure::message(format!("{}: {error}", reference.display())))?;
    let patch = patch_for(reference, &wanted, &live);
    if patch.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok((Some(live.clone()), live));
    }
    let call = patch_call(reference, &patch, &arguments.field_manager).dry_run(true);
    let merged = rest.json(&call).await?;
    warn_if_deleting(&live);
    Ok((Some(live), merged))
}

/// Hides what a secret holds, but not whether it changes.
fn mask(before: &mut Option<Value>, after: &mut Value) {
    let old = before.as_ref().map(|secret| secret["data"].clone()).unwrap_or_default();
    let new = after["data"].clone();
    let hide = |data: &mut Value, other: &Value, changed: &str| {
        for (key, value) in data.as_object_mut().into_iter().flatten() {
            let differs = other.get(key).is_some_and(|other| other != value);
            *value = json!(if differs { changed } else { "***" });
        }
    };
    if let Some(before) = before {
        hide(&mut before["data"], &new, "*** (before)");
    }
    hide(&mut after["data"], &old, "*** (after)");
}

fn file_name(reference: &Reference) -> String {
    let mapping = &reference.mapping;
    let group = match mapping.group.as_str() {
        "" => String::new(),
        group => format!("{group}."),
    };
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    format!("{group}{}.{}.{namespace}.{}", mapping.version, mapping.kind, reference.name)
}

fn write(directory: &Path, name: &str, object: Option<Value>, managed: bool) -> Result<(), Failure> {
    let text = match object {
        None => String::new(),
        Some(object) if managed => yaml::to_string(&object),
        Some(object) => yaml::to_string(&without_managed_fields(object)),
    };
    std::fs::write(directory.join(name), text)?;
    Ok(())
}

fn run_program(live: &Path, merged: &Path) -> Result<i32, Failure> {
    let configured = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words = configured.split(' ').filter(|word| !word.is_empty());
    let (program, options): (&str, Vec<&str>) = match words.next() {
        None => ("diff", vec!["-u", "-N"]),
        Some(program) => (program, words.filter(|word| is_option(word)).collect()),
    };
    let failed = |why: String| Failure::message(format!("failed to run {program:?}: {why}"));
    let status = Command::new(program)
        .args(options)
        .args([live, merged])
        .status()
        .map_err(|error| failed(error.to_string()))?;
    match status.code() {
        Some(code @ (0 | 1)) => Ok(code),
        _ => Err(failed(status.to_string())),
    }
}

/// Words of the variable that reach the program: as upstream none that a shell would take for more than a word.
fn is_option(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_on_both_sides() {
        let secret = |a: &str, b: &str| json!({"data": {"a": a, "b": b}});
        let (mut before, mut after) = (Some(secret("1", "2")), secret("1", "3"));
        mask(&mut before, &mut after);
        assert_eq!(before, Some(secret("***", "*** (before)")));
        assert_eq!(after, secret("***", "*** (after)"));
        let (mut before, mut after) = (None, secret("1", "2"));
        mask(&mut before, &mut after);
        assert_eq!((before, after), (None, secret("***", "***")));
    }

    #[test]
    fn only_plain_words_reach_the_program() {
        assert!(is_option("--color=always") && is_option("-y"));
        assert!(!is_option("$(ls)") && !is_option("a;b"));
    }
}
