//! What `cordon`, `uncordon` and `drain` have in common.

use super::common::{DryRun, DryRunFlag, patch};
use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::STRATEGIC_PATCH;
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::goquote::quote;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct NodeFlags {
    names: Vec<String>,
    /// Selector (label query) to filter on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    #[command(flatten)]
    dry_run: DryRunFlag,
}

impl NodeFlags {
    pub(crate) fn dry_run(&self) -> Result<DryRun, Failure> {
        self.dry_run.mode()
    }

    pub(crate) async fn nodes(
        &self,
        context: &Context,
        verb: &str,
    ) -> Result<Vec<Reference>, Failure> {
        if self.names.is_empty() && self.selector.is_none() {
            return Err(Failure::usage(verb, format!("USAGE: {verb} NODE [flags]")));
        }
        if !self.names.is_empty() && self.selector.is_some() {
            return Err(Failure::usage(
                verb,
                "error: cannot specify both a node name and a --selector option",
            ));
        }
        let words: Vec<String> = if self.selector.is_some() {
            vec!["nodes".to_owned()]
        } else {
            self.names
                .iter()
                .map(|name| {
                    if name.contains('/') {
                        name.clone()
                    } else {
                        format!("nodes/{name}")
                    }
                })
                .collect()
        };
        let choice = Choice {
            words: &words,
            selectors: SelectorFlags {
                selector: self.selector.clone(),
                ..SelectorFlags::default()
            },
            ..Choice::default()
        };
        let (nodes, failures) = choice.objects(context, true).await?;
        Failure::collect(failures)?;
        if let Some(other) = nodes.iter().find(|node| node.mapping.plural != "nodes") {
            return Err(Failure::message(format!(
                "error: expected resource of type node, got {}",
                quote(&other.mapping.group_resource())
            )));
        }
        Ok(nodes)
    }
}

/// Sets whether nodes take new pods, and says so.
pub(crate) async fn cordon(
    context: &Context,
    nodes: &[Reference],
    wanted: bool,
    dry_run: DryRun,
) -> Result<(), Failure> {
    let word = if wanted { "cordon" } else { "uncordon" };
    for node in nodes {
        let is_so = node.value.at("spec.unschedulable") == true;
        let outcome = if is_so == wanted {
            format!("already {word}ed")
        } else {
            if dry_run != DryRun::Client {
                let value = if wanted { json!(true) } else { Value::Null };
                let body = json!({"spec": {"unschedulable": value}});
                match patch(context, node, STRATEGIC_PATCH, &body, "kubectl", dry_run).await {
                    Ok(_) => {}
                    Err(failure @ Failure::Transport { .. }) => return Err(failure),
                    Err(failure) => {
                        output::error_line(format!(
                            "error: unable to {word} node {}: {}",
                            quote(&node.name),
                            failure.text()
                        ));
                        continue;
                    }
                }
            }
            format!("{word}ed")
        };
        output::line(format!("node/{} {outcome}{}", node.name, dry_run.suffix()));
    }
    Ok(())
}
