//! `delete`: by name, selector or manifest; waits until the objects are gone unless told not to.

use super::common::{DryRun, DryRunFlag};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::duration;
use serde_json::{Value, json};
use std::time::Duration;

/// How long "forever" is.
const A_WEEK: Duration = Duration::from_secs(168 * 3600);

/// Delete resources by file names, stdin, resources and names, or by resources and label selector
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl delete -f ./pod.json
  kubectl delete pod,service baz foo
  kubectl delete pods,services -l name=myLabel
  kubectl delete pod foo --now
  kubectl delete pod foo --force
  kubectl delete pods --all")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// Delete all resources of the specified types, in the namespace
    #[arg(long)]
    all: bool,
    /// Must be "background", "orphan", or "foreground"
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "background", default_value = "background")]
    cascade: String,
    /// If true, immediately remove resources from the API and bypass graceful deletion
    #[arg(long)]
    force: bool,
    /// Period of time in seconds given to the resource to terminate gracefully; negative is ignored
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    grace_period: i64,
    /// If true, resources are signaled for immediate shutdown (same as --grace-period=1)
    #[arg(long)]
    now: bool,
    /// Treat "resource not found" as a successful delete
    #[arg(long)]
    ignore_not_found: bool,
    /// The length of time to wait before giving up on a delete; zero means no limit
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    /// If true, wait for resources to be gone before returning
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// Output mode. Use "-o name" for shorter output (resource/name)
    #[arg(long, short = 'o')]
    output: Option<String>,
    /// Raw URI to DELETE to the server
    #[arg(long)]
    raw: Option<String>,
    /// If true, delete resource only when user confirms
    #[arg(long, short = 'i')]
    interactive: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.raw {
        let bytes = context.rest().await?.bytes(&Call::delete(path.clone(), &json!({}))).await?;
        output::print_bytes(&bytes);
        return Ok(());
    }
    let plan = Plan::new(&arguments)?;
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        selectors: arguments.selectors.clone(),
        all: arguments.all,
        ..Choice::default()
    };
    if plan.grace_seconds == Some(0) && arguments.force {
        output::warning(
            "Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.",
        );
    }
    let (references, mut failures) = choice.objects(context, false).await?;
    if arguments.interactive && !confirmed(&references) {
        return Ok(());
    }
    if references.is_empty() && failures.is_empty() {
        output::line("No resources found");
        return Ok(());
    }
    let mut deleted = Vec::new();
    for reference in references {
        match plan.delete(context, &reference).await {
            Ok(uid) => deleted.push((reference, uid)),
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) if failure.is_not_found() && (arguments.ignore_not_found || arguments.all) => {}
            Err(failure) => failures.push(failure.with_source("deleting", reference.source.as_deref())),
        }
    }
    if plan.wait {
        for (reference, uid) in &deleted {
            if let Err(failure) = wait_gone(context, reference, uid, plan.timeout).await {
                failures.push(failure);
            }
        }
    }
    Failure::collect(failures)
}

struct Plan {
    grace_seconds: Option<i64>,
    propagation: &'static str,
    dry_run: DryRun,
    name_only: bool,
    wait: bool,
    timeout: Duration,
}

impl Plan {
    fn new(arguments: &Arguments) -> Result<Plan, Failure> {
        if let Some(format) = arguments.output.as_deref().filter(|format| !matches!(*format, "" | "name")) {
            return Err(Failure::message(format!(
                "unexpected -o output mode: {format}. We only support '-o name'"
            )));
        }
        if arguments.all && arguments.selectors.selector.is_some() {
            return Err(Failure::message("cannot set --all and --selector at the same time"));
        }
        if arguments.all && arguments.selectors.field_selector.is_some() {
            return Err(Failure::message("cannot set --all and --field-selector at the same time"));
        }
        let mut grace = arguments.grace_period;
        if arguments.now {
            if grace != -1 {
                return Err(Failure::message("--now and --grace-period cannot be specified together"));
            }
            grace = 1;
        }
        if arguments.force && grace > 0 {
            return Err(Failure::message(
                "--force and --grace-period greater than 0 cannot be specified together",
            ));
        }
        // A grace period of 0 could lose data, so it also needs --force.
        if grace == 0 && !arguments.force {
            grace = 1;
        }
        if arguments.force && grace < 0 {
            grace = 0;
        }
        let dry_run = arguments.dry_run.mode()?;
        let timeout = duration::parse_signed(&arguments.timeout)
            .ok_or_else(|| Failure::message(format!("time: invalid duration \"{}\"", arguments.timeout)))?;
        Ok(Plan {
            grace_seconds: (grace >= 0).then_some(grace),
            propagation: match arguments.cascade.as_str() {
                "background" | "true" => "Background",
                "foreground" => "Foreground",
                "orphan" | "false" => "Orphan",
                other => {
                    return Err(Failure::message(format!(
                        "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
                    )));
                }
            },
            name_only: arguments.output.as_deref() == Some("name"),
            wait: arguments.wait && dry_run == DryRun::None,
            dry_run,
            timeout: if timeout > 0.0 { Duration::from_secs_f64(timeout) } else { A_WEEK },
        })
    }

    /// Deletes and says so; answers the uid that the object had, if the server tells.
    async fn delete(&self, context: &Context, reference: &Reference) -> Result<String, Failure> {
        let mut uid = String::new();
        if self.dry_run != DryRun::Client {
            let mut options = json!({"propagationPolicy": self.propagation});
            if let Some(seconds) = self.grace_seconds {
                options["gracePeriodSeconds"] = json!(seconds);
            }
            if self.dry_run == DryRun::Server {
                options["dryRun"] = json!(["All"]);
            }
            let answer = context.rest().await?.json(&Call::delete(reference.path(), &options)).await?;
            uid = uid_of(&answer);
        }
        self.print(reference);
        Ok(uid)
    }

    fn print(&self, reference: &Reference) {
        if self.name_only {
            return output::line(reference.display());
        }
        let mut outcome = if self.grace_seconds == Some(0) { "force deleted" } else { "deleted" }.to_owned();
        if let Some(namespace) = &reference.namespace {
            outcome = format!("{outcome} from {namespace} namespace");
        }
        output::line(format!(
            "{} \"{}\" {outcome}{}",
            reference.mapping.kind_prefix(),
            reference.name,
            self.dry_run.suffix()
        ));
    }
}

fn uid_of(answer: &Value) -> String {
    let path = if answer.kind() == "Status" { "details.uid" } else { "metadata.uid" };
    answer.text(path).to_owned()
}

fn confirmed(references: &[Reference]) -> bool {
    output::line(format!(
        "You are about to delete the following {} resource(s):",
        references.len()
    ));
    for reference in references {
        output::line(reference.display());
    }
    output::print("Do you want to continue? (y/N): ");
    let mut answer = String::new();
    let yes = std::io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !yes {
        output::line("deletion is cancelled");
    }
    yes
}

/// Deletes without a word and waits until the object is gone.
pub(crate) async fn delete_and_wait(context: &Context, reference: &Reference) -> Result<(), Failure> {
    let options = json!({"propagationPolicy": "Background", "gracePeriodSeconds": 0});
    let answer = context.rest().await?.json(&Call::delete(reference.path(), &options)).await?;
    wait_gone(context, reference, &uid_of(&answer), A_WEEK).await
}

/// Returns when the object with this uid no longer exists.
pub(crate) async fn wait_gone(
    context: &Context,
    reference: &Reference,
    uid: &str,
    timeout: Duration,
) -> Result<(), Failure> {
    tokio::time::timeout(timeout, gone(context, reference, uid))
        .await
        .map_err(|_| {
            Failure::message(format!(
                "timed out waiting for the condition on {}",
                reference.display_plural()
            ))
        })?
}

async fn gone(context: &Context, reference: &Reference, uid: &str) -> Result<(), Failure> {
    let rest = context.rest().await?;
    let collection = reference.mapping.collection(reference.namespace.as_deref());
    loop {
        let list = Call::get(&collection).query("fieldSelector", format!("metadata.name={}", reference.name));
        let list = match rest.json(&list).await {
            Ok(list) => list,
            Err(failure) if failure.is_not_found() => return Ok(()),
            // Whoever may delete an object need not be allowed to list them.
            Err(failure) if failure.reason() == "Forbidden" => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let still_there = list
            .list("items")
            .iter()
            .any(|item| item.name() == reference.name && (uid.is_empty() || item.text("metadata.uid") == uid));
        if !still_there {
            return Ok(());
        }
        let watch = Call::get(&collection)
            .query("fieldSelector", format!("metadata.name={}", reference.name))
            .query("resourceVersion", list.text("metadata.resourceVersion"))
            .query("watch", "true");
        let mut events = rest.lines(&watch).await?;
        while let Some(event) = events.next_json().await {
            match event.text("type") {
                "DELETED" => return Ok(()),
                "ERROR" => break,
                _ => {}
            }
        }
    }
}
