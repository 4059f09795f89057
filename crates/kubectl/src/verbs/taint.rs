//! `taint`: sets and removes the taints of nodes.

use super::common::{DryRun, DryRunFlag, patch};
use crate::context::Context;
use crate::describe::taint_text;
use crate::failure::Failure;
use crate::object::Object;
use crate::printers::PrintFlags;
use crate::rest::MERGE_PATCH;
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::goquote::quote;
use serde_json::{Value, json};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Update the taints on one or more nodes
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl taint nodes foo dedicated=special-user:NoSchedule
  kubectl taint nodes foo dedicated:NoSchedule-
  kubectl taint nodes foo dedicated-")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// Selector (label query) to filter on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Select all nodes in the cluster
    #[arg(long)]
    all: bool,
    /// If true, allow taints to be overwritten
    #[arg(long)]
    overwrite: bool,
}

/// One change of the command line.
#[derive(Debug, Clone, PartialEq)]
struct Spec {
    taint: Value,
    remove: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let is_change = |word: &&String| word.contains([':', '=']) || word.ends_with('-');
    let first = arguments.words.iter().position(|word| is_change(&word)).unwrap_or(arguments.words.len());
    let (words, changes) = arguments.words.split_at(first);
    if words.is_empty() {
        return Err(Failure::message("one or more resources must be specified as <resource> <name>"));
    }
    if changes.is_empty() {
        return Err(Failure::message("at least one taint update is required"));
    }
    let specs = changes
        .iter()
        .map(|word| Spec::parse(word).map_err(|text| Failure::usage("taint", text)))
        .collect::<Result<Vec<_>, _>>()?;
    let dry_run = arguments.dry_run.mode()?;
    let choice = Choice {
        words,
        selectors: SelectorFlags {
            selector: arguments.selector.clone(),
            ..SelectorFlags::default()
        },
        all: arguments.all,
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, true).await?;
    let mut printer = arguments.print.printer()?;
    for reference in references {
        if reference.mapping.plural != "nodes" {
            return Err(Failure::message(format!(
                "invalid resource type {}, only node types are supported",
                reference.mapping.plural
            )));
        }
        match taint(context, &arguments, &reference, &specs, dry_run).await {
            Ok((node, outcome)) => printer.print(&node, &format!("{outcome}{}", dry_run.suffix()))?,
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

async fn taint(
    context: &Context,
    arguments: &Arguments,
    node: &Reference,
    specs: &[Spec],
    dry_run: DryRun,
) -> Result<(Value, &'static str), Failure> {
    let before = node.value.list("spec.taints");
    let (after, outcome) = changed(before, specs, arguments.overwrite, &node.name)?;
    if dry_run == DryRun::Client {
        let mut object = node.value.clone();
        object["spec"]["taints"] = json!(after);
        return Ok((object, outcome));
    }
    let change = if after.is_empty() { Value::Null } else { json!(after) };
    let body = json!({"spec": {"taints": change}});
    let object = patch(context, node, MERGE_PATCH, &body, "kubectl-taint", dry_run).await?;
    Ok((object, outcome))
}

/// The taints after the changes, and what to call that.
fn changed(
    before: &[Value],
    specs: &[Spec],
    overwrite: bool,
    node: &str,
) -> Result<(Vec<Value>, &'static str), Failure> {
    let same = |a: &Value, b: &Value| a["key"] == b["key"] && a["effect"] == b["effect"];
    let mut after = before.to_vec();
    let (mut added, mut removed) = (false, false);
    let mut missing = Vec::new();
    for spec in specs {
        let any_effect = spec.taint["effect"] == "";
        if spec.remove {
            let length = after.len();
            after.retain(|taint| {
                !(taint["key"] == spec.taint["key"] && (any_effect || taint["effect"] == spec.taint["effect"]))
            });
            if after.len() == length {
                missing.push(Failure::message(format!(
                    "taint {} not found",
                    quote(&taint_text(&spec.taint))
                )));
            }
            removed = true;
            continue;
        }
        if before.iter().any(|taint| same(taint, &spec.taint)) && !overwrite {
            return Err(Failure::message(format!(
                "node {node} already has {} taint(s) with same effect(s) and --overwrite is false",
                spec.taint.text("key")
            )));
        }
        after.retain(|taint| !same(taint, &spec.taint));
        after.push(spec.taint.clone());
        added = true;
    }
    Failure::collect(missing)?;
    let outcome = match (added, removed) {
        (true, true) => "modified",
        (false, true) => "untainted",
        _ => "tainted",
    };
    Ok((after, outcome))
}

impl Spec {
    /// `key=value:Effect`, `key:Effect`, `key:Effect-`, `key-`.
    fn parse(word: &str) -> Result<Spec, String> {
        let (body, remove) = match word.strip_suffix('-') {
            Some(body) => (body, true),
            None => (word, false),
        };
        let invalid = || format!("invalid taint spec: {word}");
        let (head, effect) = match body.split_once(':') {
            Some((head, effect)) => (head, effect),
            None if remove => (body, ""),
            None => return Err(invalid()),
        };
        let (key, value) = head.split_once('=').unwrap_or((head, ""));
        if key.is_empty() || (!remove && effect.is_empty()) {
            return Err(invalid());
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            return Err(format!("invalid taint effect: {effect}, unsupported taint effect"));
        }
        let mut taint = json!({"key": key, "effect": effect});
        if !value.is_empty() {
            taint["value"] = json!(value);
        }
        Ok(Spec { taint, remove })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: Value, words: &[&str], expected: Result<(Value, &str), &str>) {
        let specs: Vec<Spec> = words.iter().map(|word| Spec::parse(word).unwrap()).collect();
        let found = changed(before.as_array().unwrap(), &specs, false, "n")
            .map(|(after, outcome)| (json!(after), outcome))
            .map_err(|failure| failure.render());
        assert_eq!(found, expected.map_err(|text| format!("error: {text}")), "{words:?}");
    }

    #[test]
    fn changes() {
        let a = json!({"key": "a", "value": "1", "effect": "NoSchedule"});
        check(json!([]), &["a=1:NoSchedule"], Ok((json!([a]), "tainted")));
        check(json!([a]), &["a-"], Ok((json!([]), "untainted")));
        check(json!([a]), &["a:NoSchedule-"], Ok((json!([]), "untainted")));
        check(json!([a]), &["a:NoExecute-"], Err("taint \"a:NoExecute\" not found"));
        check(
            json!([a]),
            &["a=2:NoSchedule"],
            Err("node n already has a taint(s) with same effect(s) and --overwrite is false"),
        );
        assert!(Spec::parse("a=1:Nonsense").is_err());
        assert!(Spec::parse("a=1").is_err());
    }
}
