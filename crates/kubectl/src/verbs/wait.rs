//! `wait`: until a condition holds, a value is reached, or objects exist or are gone.

use super::delete::wait_gone;
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::printers::PrintFlags;
use crate::printers::custom_columns::go_value;
use crate::printers::jsonpath::Template;
use crate::rest::Call;
use crate::selection::{Choice, Reference, SelectorFlags, Target, list_all};
use crate::text::{duration, goquote::quote};
use serde_json::Value;
use std::time::{Duration, Instant};

const A_WEEK: Duration = Duration::from_secs(168 * 3600);

/// Wait for a specific condition on one or many resources
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl wait --for=condition=Ready pod/busybox1
  kubectl wait --for=jsonpath='{.status.phase}'=Running pod/busybox1
  kubectl wait --for=delete pod/busybox1 --timeout=60s")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    #[command(flatten)]
    print: PrintFlags,
    /// The condition to wait on: create|delete|condition=NAME[=VALUE]|jsonpath='{EXPRESSION}'[=VALUE]
    #[arg(long = "for")]
    condition: Vec<String>,
    /// The length of time to wait before giving up; zero means check once, negative means a week
    #[arg(long, default_value = "30s")]
    timeout: String,
    /// Select all resources in the namespace of the specified types
    #[arg(long)]
    all: bool,
}

/// What is waited for.
#[derive(Debug)]
enum Condition {
    Delete,
    Create,
    Status { name: String, value: String },
    Path { template: Template, value: Option<String> },
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Some(text) = arguments.condition.first() else {
        return Err(Failure::message("unrecognized condition: \"\""));
    };
    let condition = Condition::parse(text)?;
    let seconds = duration::parse_signed(&arguments.timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.timeout))))?;
    let timeout = if seconds < 0.0 { A_WEEK } else { Duration::from_secs_f64(seconds) };
    let deadline = Instant::now() + timeout;
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        selectors: arguments.selectors.clone(),
        all: arguments.all,
        ..Choice::default()
    };
    let references = chosen(context, &choice, &condition, deadline).await?;
    if references.is_empty() && !matches!(condition, Condition::Delete) {
        return Err(Failure::message("no matching resources found"));
    }
    let mut printer = arguments.print.printer()?;
    let mut failures = Vec::new();
    for reference in references {
        let left = deadline.saturating_duration_since(Instant::now());
        match condition.wait(context, &reference, left, timeout.is_zero()).await {
            Ok(object) => printer.print(&object, "condition met")?,
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

/// The objects as they are now; for `delete` those that are gone already are left out, for `create` they
/// are waited for.
async fn chosen(
    context: &Context,
    choice: &Choice<'_>,
    condition: &Condition,
    deadline: Instant,
) -> Result<Vec<Reference>, Failure> {
    let mut references = Vec::new();
    for target in choice.resolve(context).await? {
        match target {
            Target::One(reference) => loop {
                match crate::selection::fetch_one(context, reference.clone()).await {
                    Ok(found) => references.push(found),
                    Err(failure) if failure.is_not_found() => match condition {
                        Condition::Delete => {}
                        Condition::Create if Instant::now() < deadline => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                        Condition::Create => return Err(timed_out(&reference)),
                        _ => return Err(failure),
                    },
                    Err(failure) => return Err(failure),
                }
                break;
            },
            Target::List { mapping, namespace } => references
                .extend(list_all(context, &mapping, namespace.as_deref(), &choice.selectors).await?),
        }
    }
    Ok(references)
}

fn timed_out(reference: &Reference) -> Failure {
    Failure::message(format!(
        "timed out waiting for the condition on {}",
        reference.display_plural()
    ))
}

impl Condition {
    fn parse(text: &str) -> Result<Condition, Failure> {
        let unrecognized = || Failure::message(format!("unrecognized condition: {}", quote(text)));
        match text.to_lowercase().as_str() {
            "delete" => return Ok(Condition::Delete),
            "create" => return Ok(Condition::Create),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Condition::Status {
                name: name.to_owned(),
                value: value.to_owned(),
            });
        }
        let rest = text.strip_prefix("jsonpath=").ok_or_else(unrecognized)?;
        let rest = rest.trim_matches('\'');
        if rest.is_empty() {
            return Err(Failure::message("jsonpath expression cannot be empty"));
        }
        let (path, value) = match rest.rfind('}') {
            Some(end) => match rest[end + 1..].trim_start_matches('\'').strip_prefix('=') {
                Some("") => {
                    return Err(Failure::message(
                        "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
                    ));
                }
                Some(value) => (&rest[..=end], Some(value)),
                None if rest[end + 1..].is_empty() => (rest, None),
                None => {
                    return Err(Failure::message(
                        "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
                    ));
                }
            },
            None => match rest.split_once('=') {
                Some((path, value)) => (path, Some(value)),
                None => (rest, None),
            },
        };
        Ok(Condition::Path {
            template: Template::parse_relaxed(path).map_err(Failure::message)?,
            value: value.map(|value| value.trim_matches(['\'', '"']).to_owned()),
        })
    }

    fn holds(&self, object: &Value) -> Result<bool, Failure> {
        match self {
            Condition::Delete => Ok(false),
            Condition::Create => Ok(true),
            Condition::Status { name, value } => {
                let found = object
                    .list("status.conditions")
                    .iter()
                    .find(|condition| condition.text("type").eq_ignore_ascii_case(name));
                let Some(found) = found else {
                    return Ok(false);
                };
                let generation = object.number("metadata.generation");
                let observed = found["observedGeneration"]
                    .as_i64()
                    .or(object.at("status.observedGeneration").as_i64());
                let is_old = generation > 0 && observed.is_some_and(|observed| observed < generation);
                Ok(!is_old && found.text("status").eq_ignore_ascii_case(value))
            }
            Condition::Path { template, value } => {
                let found = template.find(object).map_err(Failure::message)?;
                match (found.as_slice(), value) {
                    ([], _) => Ok(false),
                    ([one], None) => Ok(!one.is_null()),
                    ([Value::Object(_) | Value::Array(_)], Some(_)) => Err(Failure::message(
                        "jsonpath leads to a nested object or list which is not supported",
                    )),
                    ([one], Some(value)) => Ok(go_value(one) == *value),
                    _ => Err(Failure::message("given jsonpath expression matches more than one value")),
                }
            }
        }
    }

    async fn wait(
        &self,
        context: &Context,
        reference: &Reference,
        left: Duration,
        only_once: bool,
    ) -> Result<Value, Failure> {
        if matches!(self, Condition::Delete) {
            let uid = reference.value.text("metadata.uid");
            if only_once {
                return Err(Failure::message(format!("condition not met for {}", reference.display_plural())));
            }
            wait_gone(context, reference, uid, left).await?;
            return Ok(reference.value.clone());
        }
        if self.holds(&reference.value)? {
            return Ok(reference.value.clone());
        }
        if only_once {
            return Err(Failure::message(format!("condition not met for {}", reference.display_plural())));
        }
        tokio::time::timeout(left, self.follow(context, reference))
            .await
            .unwrap_or_else(|_| Err(timed_out(reference)))
    }

    async fn follow(&self, context: &Context, reference: &Reference) -> Result<Value, Failure> {
        let rest = context.rest().await?;
        let collection = reference.mapping.collection(reference.namespace.as_deref());
        let mut object = reference.value.clone();
        loop {
            if self.holds(&object)? {
                return Ok(object);
            }
            let watch = Call::get(&collection)
                .query("fieldSelector", format!("metadata.name={}", reference.name))
                .query("resourceVersion", object.text("metadata.resourceVersion"))
                .query("watch", "true");
            let mut events = rest.lines(&watch).await?;
            while let Some(event) = events.next_json().await {
                match event.text("type") {
                    "ERROR" => break,
                    "DELETED" => {}
                    _ if self.holds(&event["object"])? => return Ok(event["object"].clone()),
                    _ => {}
                }
            }
            object = rest.json(&Call::get(reference.path())).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions() {
        let pod = json!({
            "metadata": {"generation": 2},
            "status": {"phase": "Running", "observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let check = |text: &str, expected: bool| {
            assert_eq!(Condition::parse(text).unwrap().holds(&pod).unwrap(), expected, "{text}");
        };
        check("condition=Ready", true);
        check("condition=ready=True", true);
        check("condition=Ready=false", false);
        check("condition=Other", false);
        check("jsonpath={.status.phase}=Running", true);
        check("jsonpath='{.status.phase}'=Running", true);
        check("jsonpath={.status.phase}", true);
        check("jsonpath={.status.podIP}", false);
        check("jsonpath=.status.phase=Pending", false);
        let mut old = pod.clone();
        old["metadata"]["generation"] = json!(3);
        assert!(!Condition::parse("condition=Ready").unwrap().holds(&old).unwrap());
        for text in ["nonsense", "jsonpath=", "jsonpath={.a}="] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
