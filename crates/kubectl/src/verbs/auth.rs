//! `auth`: what I may do, and who the server thinks I am.

use crate::context::Context;
use crate::describe::rule_lines;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::printers::PrintFlags;
use crate::printers::custom_columns::go_value;
use crate::rest::Call;
use crate::text::goquote::quote;
use crate::text::tabwriter::{Layout, align};
use serde_json::json;

/// Inspect authorization
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl auth can-i create pods --all-namespaces
  kubectl auth can-i get pods --subresource=log
  kubectl auth can-i --list
  kubectl auth whoami")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(clap::Subcommand, Debug)]
enum Question {
    CanI(CanI),
    Whoami(Whoami),
}

/// Check whether an action is allowed
#[derive(clap::Args, Debug)]
struct CanI {
    words: Vec<String>,
    /// If true, check the specified action in all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// If true, prints all allowed actions
    #[arg(long)]
    list: bool,
    /// If true, prints allowed actions without headers
    #[arg(long)]
    no_headers: bool,
    /// If true, suppress output and just return the exit code
    #[arg(long, short = 'q')]
    quiet: bool,
    /// SubResource such as pod/log or deployment/scale
    #[arg(long)]
    subresource: Option<String>,
}

/// Check self subject attributes
#[derive(clap::Args, Debug)]
struct Whoami {
    #[command(flatten)]
    print: PrintFlags,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.question {
        Question::CanI(question) if question.list => list(context, &question).await,
        Question::CanI(question) => can_i(context, &question).await,
        Question::Whoami(question) => whoami(context, &question).await,
    }
}

async fn can_i(context: &Context, question: &CanI) -> Result<(), Failure> {
    let (verb, target) = match question.words.as_slice() {
        [verb, target] => (verb, target),
        _ => {
            return Err(Failure::message(
                "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
            ));
        }
    };
    let spec = if target.starts_with('/') {
        json!({"nonResourceAttributes": {"verb": verb, "path": target}})
    } else {
        let (resource, name) = target.split_once('/').unwrap_or((target, ""));
        let namespace = if question.all_namespaces { String::new() } else { context.namespace()? };
        let (group, plural) = known_resource(context, resource).await?;
        json!({"resourceAttributes": {
            "namespace": namespace,
            "verb": verb,
            "group": group,
            "resource": plural,
            "subresource": question.subresource.as_deref().unwrap_or_default(),
            "name": name,
        }})
    };
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec});
    let path = context.mapper().well_known("selfsubjectaccessreviews").collection(None);
    let answer = context.rest().await?.json(&Call::post(path, &review)).await?;
    let status = &answer["status"];
    if status["allowed"] == true {
        if !question.quiet {
            output::line("yes");
        }
        return Ok(());
    }
    if !question.quiet {
        let mut text = "no".to_owned();
        for (part, label) in [("reason", " - "), ("evaluationError", " - ")] {
            if !status.text(part).is_empty() {
                text.push_str(&format!("{label}{}", status.text(part)));
            }
        }
        output::line(text);
    }
    Err(Failure::Exit(1))
}

/// A resource that the server does not have is asked about all the same, after a warning.
async fn known_resource(context: &Context, word: &str) -> Result<(String, String), Failure> {
    if word == "*" {
        return Ok(("*".to_owned(), "*".to_owned()));
    }
    match context.mapper().resource(context.rest().await?, word).await {
        Ok(mapping) => {
            if !mapping.namespaced {
                output::warning(format!(
                    "resource {} is not namespace scoped{}\n",
                    quote(&mapping.plural),
                    if mapping.group.is_empty() { String::new() } else { format!(" in group {}", quote(&mapping.group)) }
                ));
            }
            Ok((mapping.group, mapping.plural))
        }
        Err(failure @ Failure::Transport { .. }) => Err(failure),
        Err(_) => {
            let (plural, group) = word.split_once('.').unwrap_or((word, ""));
            let place = if group.is_empty() { String::new() } else { format!(" in group {}", quote(group)) };
            output::warning(format!("the server doesn't have a resource type {}{place}\n", quote(plural)));
            Ok((group.to_owned(), plural.to_owned()))
        }
    }
}

async fn list(context: &Context, question: &CanI) -> Result<(), Failure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": context.namespace()?},
    });
    let path = context.mapper().well_known("selfsubjectrulesreviews").collection(None);
    let answer = context.rest().await?.json(&Call::post(path, &review)).await?;
    let mut rules = answer.list("status.resourceRules").to_vec();
    rules.extend_from_slice(answer.list("status.nonResourceRules"));
    let mut text = String::new();
    if !question.no_headers {
        text.push_str("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    }
    for line in rule_lines(&rules) {
        text.push_str(&format!("{line}\n"));
    }
    output::print(&align(&text, Layout::TABLE));
    Ok(())
}

async fn whoami(context: &Context, question: &Whoami) -> Result<(), Failure> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = context.mapper().well_known("selfsubjectreviews").collection(None);
    let answer = context.rest().await?.json(&Call::post(path, &review)).await?;
    if !question.print.is_human() {
        return question.print.printer()?.print(&answer, "");
    }
    let user = answer.at("status.userInfo");
    let mut text = "ATTRIBUTE\tVALUE\n".to_owned();
    for (label, field) in [("Username", "username"), ("UID", "uid"), ("Groups", "groups")] {
        if !user[field].is_null() && user[field] != "" {
            text.push_str(&format!("{label}\t{}\n", go_value(&user[field])));
        }
    }
    for (key, value) in user["extra"].as_object().into_iter().flatten() {
        text.push_str(&format!("Extra: {key}\t{}\n", go_value(value)));
    }
    output::print(&align(&text, Layout::TABLE));
    Ok(())
}
