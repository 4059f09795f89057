//! `rollout status`: follows a rollout until it is complete.

use super::Chosen;
use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use crate::selection::Reference;
use crate::text::{duration, goquote::quote};
use serde_json::Value;
use std::time::Duration;

const A_WEEK: Duration = Duration::from_secs(168 * 3600);

#[derive(clap::Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    chosen: Chosen,
    /// Watch the status of the rollout until it's done
    #[arg(long, short = 'w', default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    watch: bool,
    /// The length of time to wait before ending watch, zero means never
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    /// Pin to a specific revision for showing its status
    #[arg(long, default_value_t = 0)]
    revision: i64,
}

pub(super) async fn run(context: &Context, flags: Flags) -> Result<(), Failure> {
    let timeout = duration::parse(&flags.timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&flags.timeout))))?;
    let timeout = if timeout.is_zero() { A_WEEK } else { timeout };
    let (references, mut failures) = flags.chosen.objects(context).await?;
    for reference in references {
        let followed = tokio::time::timeout(timeout, follow(context, &flags, &reference)).await;
        match followed {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failures.push(failure),
            Err(_) => failures.push(Failure::message("timed out waiting for the condition")),
        }
    }
    Failure::collect(failures)
}

async fn follow(context: &Context, flags: &Flags, reference: &Reference) -> Result<(), Failure> {
    let rest = context.rest().await?;
    let collection = reference.mapping.collection(reference.namespace.as_deref());
    let mut object = reference.value.clone();
    let mut said = String::new();
    loop {
        if tell(&object, flags, &mut said)? || !flags.watch {
            return Ok(());
        }
        let watch = Call::get(&collection)
            .query("fieldSelector", format!("metadata.name={}", reference.name))
            .query("resourceVersion", object.text("metadata.resourceVersion"))
            .query("watch", "true");
        let mut events = rest.lines(&watch).await?;
        while let Some(event) = events.next_json().await {
            match event.text("type") {
                "DELETED" => return Err(Failure::message("object has been deleted")),
                "ERROR" => break,
                _ if tell(&event["object"], flags, &mut said)? => return Ok(()),
                _ => {}
            }
        }
        object = rest.json(&Call::get(reference.path())).await?;
    }
}

/// Prints the status if it is news; true when the rollout is done.
fn tell(object: &Value, flags: &Flags, said: &mut String) -> Result<bool, Failure> {
    let (text, done) = status(object, flags.revision).map_err(Failure::message)?;
    if *said != text {
        output::line(&text);
        *said = text;
    }
    Ok(done)
}

fn status(object: &Value, revision: i64) -> Result<(String, bool), String> {
    match object.kind() {
        "Deployment" => deployment(object, revision),
        "DaemonSet" => daemon_set(object),
        "StatefulSet" => stateful_set(object),
        kind => Err(format!("no status viewer has been implemented for {kind}")),
    }
}

fn deployment(object: &Value, revision: i64) -> Result<(String, bool), String> {
    let name = quote(object.name());
    if revision > 0 {
        let running: i64 = object
            .annotation("deployment.kubernetes.io/revision")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        if running != revision {
            return Err(format!(
                "desired revision ({revision}) is different from the running revision ({running})"
            ));
        }
    }
    let status = &object["status"];
    if object.number("metadata.generation") > status.number("observedGeneration") {
        return Ok(("Waiting for deployment spec update to be observed...".to_owned(), false));
    }
    let timed_out = status
        .list("conditions")
        .iter()
        .any(|condition| condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded");
    if timed_out {
        return Err(format!("deployment {name} exceeded its progress deadline"));
    }
    let wanted = object.number("spec.replicas");
    let (total, updated, available) = (
        status.number("replicas"),
        status.number("updatedReplicas"),
        status.number("availableReplicas"),
    );
    let waiting = format!("Waiting for deployment {name} rollout to finish:");
    Ok(if updated < wanted {
        (format!("{waiting} {updated} out of {wanted} new replicas have been updated..."), false)
    } else if total > updated {
        (format!("{waiting} {} old replicas are pending termination...", total - updated), false)
    } else if available < updated {
        (format!("{waiting} {available} of {updated} updated replicas are available..."), false)
    } else {
        (format!("deployment {name} successfully rolled out"), true)
    })
}

fn daemon_set(object: &Value) -> Result<(String, bool), String> {
    if object.text("spec.updateStrategy.type") != "RollingUpdate" {
        return Err("rollout status is only available for RollingUpdate strategy type".to_owned());
    }
    let name = quote(object.name());
    let status = &object["status"];
    if object.number("metadata.generation") > status.number("observedGeneration") {
        return Ok(("Waiting for daemon set spec update to be observed...".to_owned(), false));
    }
    let wanted = status.number("desiredNumberScheduled");
    let (updated, available) = (status.number("updatedNumberScheduled"), status.number("numberAvailable"));
    let waiting = format!("Waiting for daemon set {name} rollout to finish:");
    Ok(if updated < wanted {
        (format!("{waiting} {updated} out of {wanted} new pods have been updated..."), false)
    } else if available < wanted {
        (format!("{waiting} {available} of {wanted} updated pods are available..."), false)
    } else {
        (format!("daemon set {name} successfully rolled out"), true)
    })
}

fn stateful_set(object: &Value) -> Result<(String, bool), String> {
    if object.text("spec.updateStrategy.type") != "RollingUpdate" {
        return Err("rollout status is only available for RollingUpdate strategy type".to_owned());
    }
    let status = &object["status"];
    let observed = status.number("observedGeneration");
    if observed == 0 || object.number("metadata.generation") > observed {
        return Ok(("Waiting for statefulset spec update to be observed...".to_owned(), false));
    }
    let wanted = object.number("spec.replicas");
    let (ready, updated) = (status.number("readyReplicas"), status.number("updatedReplicas"));
    if ready < wanted {
        return Ok((format!("Waiting for {} pods to be ready...", wanted - ready), false));
    }
    let rolling = object.at("spec.updateStrategy.rollingUpdate");
    if rolling.is_object() {
        let partition = rolling.number("partition");
        if !rolling["partition"].is_null() && updated < wanted - partition {
            return Ok((
                format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {} new pods have been updated...",
                    wanted - partition
                ),
                false,
            ));
        }
        return Ok((
            format!("partitioned roll out complete: {updated} new pods have been updated..."),
            true,
        ));
    }
    let (update, current) = (status.text("updateRevision"), status.text("currentRevision"));
    if update != current {
        return Ok((
            format!("waiting for statefulset rolling update to complete {updated} pods at revision {update}..."),
            false,
        ));
    }
    Ok((
        format!(
            "statefulset rolling update complete {} pods at revision {current}...",
            status.number("currentReplicas")
        ),
        true,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn deployments() {
        let check = |replicas: i64, updated: i64, available: i64, expected: &str, done: bool| {
            let object = json!({
                "kind": "Deployment",
                "metadata": {"name": "web", "generation": 1},
                "spec": {"replicas": 3},
                "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available},
            });
            assert_eq!(status(&object, 0), Ok((expected.to_owned(), done)));
        };
        check(1, 1, 0, "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...", false);
        check(4, 3, 3, "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...", false);
        check(3, 3, 2, "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...", false);
        check(3, 3, 3, "deployment \"web\" successfully rolled out", true);
    }
}
