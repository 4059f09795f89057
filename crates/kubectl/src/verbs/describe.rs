//! `describe`: everything that is worth knowing about an object, with its recent events.

use crate::context::Context;
use crate::describe;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::output;
use crate::selection::{Choice, Reference, SelectorFlags, Target, fetch_one, list_all};

/// Show details of a specific resource or group of resources
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl describe nodes node1
  kubectl describe pods/nginx
  kubectl describe -f pod.json
  kubectl describe pods -l name=myLabel")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    /// If true, display events related to the described object
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    show_events: bool,
    /// Return large lists in chunks rather than all at once
    #[arg(long, default_value_t = 500)]
    chunk_size: u64,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if arguments.words.is_empty() && arguments.files.is_empty() {
        return Err(Failure::Exact {
            text: "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.".to_owned(),
            code: 1,
        });
    }
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        selectors: arguments.selectors.clone(),
        type_alone: true,
        ..Choice::default()
    };
    let mut failures = Vec::new();
    let mut described = 0;
    let targets = choice.resolve(context).await?;
    let all_namespaced = !arguments.selectors.all_namespaces
        && targets.iter().all(|target| match target {
            Target::One(reference) => reference.mapping.namespaced,
            Target::List { mapping, .. } => mapping.namespaced,
        });
    for target in targets {
        let found = match &target {
            Target::One(reference) => one_or_prefix(context, reference).await,
            Target::List { mapping, namespace } => {
                let selectors = &arguments.selectors;
                list_all(context, mapping, namespace.as_deref(), selectors)
                    .await
                    .map_err(|failure| selectors.not_listed(mapping, failure))
            }
        };
        match found {
            Ok(references) => {
                for reference in references {
                    let text = describe::describe(context, &reference, arguments.show_events).await?;
                    if described > 0 {
                        output::print("\n\n");
                    }
                    output::print(&text);
                    described += 1;
                }
            }
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    if described == 0 && failures.is_empty() {
        output::error_line(if all_namespaced {
            format!("No resources found in {} namespace.", context.namespace()?)
        } else {
            "No resources found".to_owned()
        });
    }
    Failure::collect(failures)
}

/// A name that does not exist may still be the beginning of some that do.
async fn one_or_prefix(context: &Context, reference: &Reference) -> Result<Vec<Reference>, Failure> {
    match fetch_one(context, reference.clone()).await {
        Ok(reference) => Ok(vec![reference]),
        Err(failure) if failure.is_not_found() => {
            let all = list_all(
                context,
                &reference.mapping,
                reference.namespace.as_deref(),
                &SelectorFlags::default(),
            )
            .await?;
            let matching: Vec<Reference> =
                all.into_iter().filter(|other| other.name.starts_with(&reference.name)).collect();
            if matching.is_empty() { Err(failure) } else { Ok(matching) }
        }
        Err(failure) => Err(failure),
    }
}
