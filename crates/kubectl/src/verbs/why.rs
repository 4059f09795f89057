//! `why`: asks the scheduler why a pod is where it is, or nowhere, and what a manifest would do.
//!
//! The scheduler says in an annotation of its lease where it can be asked; it is asked with the caller's own credentials. Nothing is
//! worked out here: what the scheduler answers is printed.

use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::{self, FileFlags, Manifest};
use crate::object::Object;
use crate::output;
use crate::rest::{Call, Rest};
use crate::text::{goquote::quote, yaml};
use serde_json::Value;

const ANNOTATION: &str = "scheduler.fluyt.dev/why";

/// Explain why a pod is pending or where it is, and what a manifest would do
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  # Why is this pod pending, and what would let it in?
  kubectl why mypod

  # Why did this pod go where it is? All details, for programs
  kubectl why mypod -n prod -o json

  # Where would this go, and how many of its replicas fit?
  kubectl why --what-if -f deployment.yaml")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Ask about manifests that are not applied: pods, or workloads with a pod template
    #[arg(long)]
    what_if: bool,
    #[command(flatten)]
    files: FileFlags,
    /// Output format: table, json or yaml
    #[arg(long, short = 'o', default_value = "table")]
    output: String,
    /// Ask the scheduler at this URL instead of looking it up
    #[arg(long, value_name = "URL")]
    scheduler: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if !matches!(arguments.output.as_str(), "table" | "json" | "yaml") {
        return Err(Failure::message(format!(
            "unable to match a printer suitable for the output format {}, allowed formats are: json,table,yaml",
            quote(&arguments.output)
        )));
    }
    match (arguments.what_if, arguments.words.as_slice()) {
        (true, []) => what_if(context, &arguments).await,
        (true, _) => Err(Failure::usage("why", "--what-if takes manifests (-f FILE), not pods")),
        (false, []) => Err(Failure::usage("why", "a pod is required: kubectl why POD")),
        (false, _) if !arguments.files.is_empty() => {
            Err(Failure::usage("why", "-f goes with --what-if"))
        }
        (false, words) => {
            for name in names(words)? {
                why(context, &arguments, name).await?;
            }
            Ok(())
        }
    }
}

/// `POD`, `pod/POD`, `pod POD`.
fn names(words: &[String]) -> Result<Vec<&str>, Failure> {
    const POD: [&str; 3] = ["pod", "pods", "po"];
    let words = match words {
        [kind, rest @ ..] if !rest.is_empty() && POD.contains(&kind.as_str()) => rest,
        all => all,
    };
    let name = |word: &'_ String| -> Result<String, Failure> {
        match word.split_once('/') {
            None => Ok(word.clone()),
            Some((kind, name)) if POD.contains(&kind) => Ok(name.to_owned()),
            Some((kind, _)) => Err(Failure::message(format!(
                "why answers about pods, not about {kind}; kubectl why --what-if -f FILE does about workloads"
            ))),
        }
    };
    for word in words {
        name(word)?;
    }
    Ok(words
        .iter()
        .map(|word| word.split_once('/').map_or(word.as_str(), |(_, name)| name))
        .collect())
}

async fn why(context: &Context, arguments: &Arguments, name: &str) -> Result<(), Failure> {
    let namespace = context.namespace()?;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    // A pod that is gone may still be remembered by the scheduler.
    let pod = match arguments.scheduler {
        Some(_) => Value::Null,
        None => match context.rest().await?.json(&Call::get(path)).await {
            Err(failure) if failure.is_not_found() => Value::Null,
            other => other?,
        },
    };
    let scheduler = find(context, arguments, pod.text("spec.schedulerName")).await?;
    let call = Call::get("/why").query("pod", format!("{namespace}/{name}"));
    answer(&scheduler, call, arguments).await
}

async fn what_if(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.files.is_empty() {
        return Err(Failure::usage("why", "must specify -f with --what-if"));
    }
    let namespace = context.namespace()?;
    for Manifest { value, source } in manifests::read(&arguments.files)? {
        let name = match value.text("spec.template.spec.schedulerName") {
            "" => value.text("spec.schedulerName"),
            name => name,
        };
        let scheduler = find(context, arguments, name).await?;
        let call = Call::post("/why/what-if", &value).query("namespace", namespace.clone());
        let told = answer(&scheduler, call, arguments).await;
        told.map_err(|failure| failure.with_source("asking about", Some(&source)))?;
    }
    Ok(())
}

async fn answer(scheduler: &Rest, call: Call, arguments: &Arguments) -> Result<(), Failure> {
    let explain = |failure| unreachable(failure, scheduler.url());
    if arguments.output == "table" {
        let text = scheduler.bytes(&call.query("format", "table")).await.map_err(explain)?;
        output::print(&String::from_utf8_lossy(&text));
        return Ok(());
    }
    let value = scheduler.json(&call).await.map_err(explain)?;
    match arguments.output.as_str() {
        "yaml" => output::print(&yaml::to_string(&value)),
        _ => output::line(serde_json::to_string_pretty(&value).unwrap_or_default()),
    }
    Ok(())
}

/// Says what to do when the scheduler cannot be asked.
fn unreachable(failure: Failure, url: &str) -> Failure {
    match failure {
        Failure::Transport { text, .. } => Failure::message(format!(
            "the scheduler cannot be reached at {url}: {text}\n\
             If it listens on another machine's loopback address, start it with --bind-address and --advertise-address\n\
             that this machine can reach; or forward its port and name it: kubectl why --scheduler https://localhost:10259 ..."
        )),
        Failure::Api(error) if error.code == 403 => Failure::message(format!(
            "the scheduler at {url} does not let you ask. An administrator can allow it:\n\
             kubectl create clusterrole ask-why --verb=get,post --non-resource-url=/why --non-resource-url=/why/what-if\n\
             kubectl create clusterrolebinding ask-why --clusterrole=ask-why --user=YOU"
        )),
        other => other,
    }
}

/// The scheduler of this name (empty: whichever there is).
async fn find(context: &Context, arguments: &Arguments, name: &str) -> Result<Rest, Failure> {
    if let Some(url) = &arguments.scheduler {
        return context.connect_to(url, None).await;
    }
    let rest = context.rest().await?;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let found: Vec<Value> = match rest.json(&Call::get(leases)).await {
        Ok(list) => list.list("items").iter().filter_map(annotation).collect(),
        // Who may not list may still read the usual one.
        Err(failure) if failure.reason() == "Forbidden" => {
            let lease = rest.json(&Call::get(format!("{leases}/kube-scheduler"))).await?;
            annotation(&lease).into_iter().collect()
        }
        Err(failure) => return Err(failure),
    };
    let schedules = |one: &&Value| one.list("schedulerNames").iter().any(|own| own == name);
    let Some(scheduler) = found.iter().find(schedules).or_else(|| found.first()) else {
        return Err(Failure::message(
            "no scheduler says where it can be asked: no lease in the namespace kube-system has the annotation\n\
             scheduler.fluyt.dev/why. kubectl why needs Fluyt's scheduler (fluyt scheduler, also beside a stock API server)\n\
             with its secure port on; if it is there, name it: kubectl why --scheduler https://HOST:10259 ...",
        ));
    };
    if !name.is_empty() && !schedules(&scheduler) {
        return Err(Failure::message(format!(
            "no scheduler that can be asked is responsible for schedulerName {}",
            quote(name)
        )));
    }
    let authority = Some(scheduler.text("certificateAuthority")).filter(|text| !text.is_empty());
    context.connect_to(scheduler.text("url"), authority).await
}

fn annotation(lease: &Value) -> Option<Value> {
    let text = lease["metadata"]["annotations"][ANNOTATION].as_str()?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: Option<&[&str]>) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(names(&words).ok().as_deref(), expected, "{words:?}");
    }

    #[test]
    fn pods_are_named_as_in_other_verbs() {
        check(&["web"], Some(&["web"]));
        check(&["pod/web", "db"], Some(&["web", "db"]));
        check(&["po", "web"], Some(&["web"]));
        check(&["pod"], Some(&["pod"]));
        check(&["deployment/web"], None);
    }
}
