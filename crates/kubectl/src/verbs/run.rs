//! `run`: one pod from an image, attached to if asked.

use super::common::{DryRun, DryRunFlag, Sending, create};
use super::delete::delete_and_wait;
use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::pods;
use crate::printers::PrintFlags;
use crate::rest::Call;
use crate::selection::{Reference, of_manifest};
use crate::text::{duration, goquote::quote};
use serde_json::{Map, Value, json};

/// Create and run a particular image in a pod
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl run nginx --image=nginx
  kubectl run hazelcast --image=hazelcast/hazelcast --port=5701
  kubectl run -i -t busybox --image=busybox --restart=Never
  kubectl run nginx --image=nginx --command -- <cmd> <arg1> ... <argN>")]
pub(crate) struct Arguments {
    names: Vec<String>,
    /// The arguments (or with --command the command) of the container, after --
    #[arg(last = true)]
    words: Vec<String>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// The image for the container to run
    #[arg(long)]
    image: Option<String>,
    /// Environment variables to set in the container
    #[arg(long = "env")]
    environment: Vec<String>,
    /// Comma separated labels to apply to the pod
    #[arg(long, short = 'l')]
    labels: Option<String>,
    /// Annotations to apply to the pod
    #[arg(long = "annotations")]
    annotations: Vec<String>,
    /// The port that this container exposes
    #[arg(long)]
    port: Option<u16>,
    /// The restart policy for this pod: Always, OnFailure, Never
    #[arg(long, default_value = "Always")]
    restart: String,
    /// The image pull policy for the container
    #[arg(long)]
    image_pull_policy: Option<String>,
    /// If true, use extra arguments as the 'command' field in the container
    #[arg(long)]
    command: bool,
    /// Keep stdin open on the container in the pod, even if nothing is attached
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Allocate a TTY for the container in the pod
    #[arg(long, short = 't')]
    tty: bool,
    /// If true, wait for the pod to start running, and then attach to it
    #[arg(long)]
    attach: bool,
    /// If true, delete the pod after it exits
    #[arg(long)]
    rm: bool,
    /// If true, suppress prompt messages
    #[arg(long, short = 'q')]
    quiet: bool,
    /// If true, run the container in privileged mode
    #[arg(long)]
    privileged: bool,
    /// If true, create a ClusterIP service associated with the pod
    #[arg(long)]
    expose: bool,
    /// An inline JSON override for the generated object
    #[arg(long)]
    overrides: Option<String>,
    /// The length of time to wait until the pod is running
    #[arg(long, default_value = "1m0s")]
    pod_running_timeout: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let [name] = arguments.names.as_slice() else {
        return Err(Failure::usage("run", "NAME is required for run"));
    };
    let attach = arguments.attach || arguments.stdin || arguments.tty;
    check(&arguments, attach)?;
    let dry_run = arguments.dry_run.mode()?;
    if attach && dry_run != DryRun::None {
        return Err(Failure::usage(
            "run",
            "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
        ));
    }
    let pod = pod(&arguments, name)?;
    let sending = Sending {
        dry_run,
        field_manager: "kubectl-run",
        field_validation: "Strict",
    };
    let reference = of_manifest(context, pod.clone(), None).await?;
    let created = create(context, &reference, sending).await?;
    if arguments.expose {
        let service = service(&arguments, name)?;
        create(context, &of_manifest(context, service, None).await?, sending).await?;
    }
    if !attach {
        let mut shown = if dry_run == DryRun::Client { pod } else { created };
        if dry_run == DryRun::Client && let Some(namespace) = context.explicit_namespace() {
            shown["metadata"]["namespace"] = json!(namespace);
        }
        arguments.print.printer()?.print(&shown, &format!("created{}", dry_run.suffix()))?;
        if arguments.expose && arguments.print.is_human() {
            output::line(format!("service/{name} created{}", dry_run.suffix()));
        }
        return Ok(());
    }
    let reference = reference.with_value(created);
    let ended = session(context, &arguments, &reference).await;
    if arguments.rm {
        delete_and_wait(context, &reference).await?;
        if !arguments.quiet {
            output::line(format!(
                "pod \"{name}\" deleted from {} namespace",
                reference.namespace.as_deref().unwrap_or_default()
            ));
        }
    }
    ended
}

fn check(arguments: &Arguments, attach: bool) -> Result<(), Failure> {
    if arguments.image.as_deref().unwrap_or_default().is_empty() {
        return Err(Failure::message("--image is required"));
    }
    if arguments.tty && !arguments.stdin {
        return Err(Failure::usage(
            "run",
            "-i/--stdin is required for containers with -t/--tty=true",
        ));
    }
    if arguments.expose && arguments.port.is_none() {
        return Err(Failure::usage("run", "--port must be set when exposing a service"));
    }
    if arguments.rm && !attach {
        return Err(Failure::usage("run", "--rm should only be used for attached containers"));
    }
    if !matches!(arguments.restart.as_str(), "Always" | "OnFailure" | "Never") {
        return Err(Failure::usage("run", format!("invalid restart policy: {}", arguments.restart)));
    }
    Ok(())
}

fn map(texts: &[String], what: &str) -> Result<Map<String, Value>, Failure> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), json!(value))),
            _ => Err(Failure::message(format!("unexpected {what} spec: {text}"))),
        })
        .collect()
}

fn labels(arguments: &Arguments, name: &str) -> Result<Value, Failure> {
    match &arguments.labels {
        None => Ok(json!({"run": name})),
        Some(text) => {
            let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
            Ok(Value::Object(map(&parts, "label")?))
        }
    }
}

fn pod(arguments: &Arguments, name: &str) -> Result<Value, Failure> {
    let mut container = json!({"name": name, "image": arguments.image, "resources": {}});
    let words = if arguments.command { "command" } else { "args" };
    if !arguments.words.is_empty() {
        container[words] = json!(arguments.words);
    }
    let environment: Vec<Value> = map(&arguments.environment, "env")?
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    if !environment.is_empty() {
        container["env"] = json!(environment);
    }
    if let Some(port) = arguments.port {
        container["ports"] = json!([{"containerPort": port}]);
    }
    if let Some(policy) = &arguments.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if arguments.privileged {
        container["securityContext"] = json!({"privileged": true});
    }
    if arguments.stdin {
        container["stdin"] = json!(true);
        container["stdinOnce"] = json!(true);
    }
    if arguments.tty {
        container["tty"] = json!(true);
    }
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels(arguments, name)?},
        "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": arguments.restart},
        "status": {},
    });
    if !arguments.annotations.is_empty() {
        pod["metadata"]["annotations"] = Value::Object(map(&arguments.annotations, "annotation")?);
    }
    if let Some(text) = &arguments.overrides {
        let overrides: Value = serde_json::from_str(text)
            .map_err(|error| Failure::message(format!("invalid --overrides: {error}")))?;
        json_patch::merge(&mut pod, &overrides);
    }
    Ok(pod)
}

fn service(arguments: &Arguments, name: &str) -> Result<Value, Failure> {
    let port = arguments.port.unwrap_or_default();
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "ports": [{"port": port, "protocol": "TCP", "targetPort": port}],
            "selector": labels(arguments, name)?,
        },
        "status": {"loadBalancer": {}},
    }))
}

async fn session(context: &Context, arguments: &Arguments, pod: &Reference) -> Result<(), Failure> {
    let timeout = duration::parse(&arguments.pod_running_timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.pod_running_timeout))))?;
    let phases = ["Running", "Succeeded", "Failed"];
    let current = tokio::time::timeout(timeout, pods::wait_for_phase(context, pod, &phases))
        .await
        .unwrap_or_else(|_| Err(Failure::message("timed out waiting for the condition")))?;
    let pod = pod.clone().with_value(current);
    let container = pods::container(&pod.value, None, true)?;
    if pod.value.text("status.phase") == "Running" {
        join(context, arguments, &pod, &container).await?;
    } else {
        // It was quicker than we: its log is all there is to see.
        print_log(context, &pod, &container, 0).await?;
    }
    if arguments.restart != "Never" && !arguments.rm {
        if !arguments.quiet {
            output::line(format!(
                "Session ended, resume using 'kubectl attach {} -c {container} -i -t' command when the pod is running",
                pod.name
            ));
        }
        return Ok(());
    }
    exit_of(context, arguments, &pod).await
}

/// Attaches to the container. What it said before that, or all of it if attaching comes too late,
/// is in its log.
async fn join(
    context: &Context,
    arguments: &Arguments,
    pod: &Reference,
    container: &str,
) -> Result<(), Failure> {
    let shown = match print_log(context, pod, container, 0).await {
        Ok(shown) => shown,
        Err(failure) => {
            let failure = failure.standard_message();
            output::error_line(format!("warning: couldn't fetch pre-attach logs: {failure}"));
            0
        }
    };
    let Arguments { stdin, tty, quiet, .. } = *arguments;
    match super::attach::attach(context, pod, container, stdin, tty, quiet).await {
        Ok(true) => Ok(()),
        // It may have ended between the look into its log and the session.
        Ok(false) if arguments.restart == "Never" => {
            pods::wait_for_phase(context, pod, &["Succeeded", "Failed"]).await?;
            print_log(context, pod, container, shown).await.map(drop)
        }
        Ok(false) => Ok(()),
        Err(failure) => {
            output::error_line(format!(
                "warning: couldn't attach to pod/{}, falling back to streaming logs: {}",
                pod.name,
                failure.standard_message()
            ));
            print_log(context, pod, container, shown).await.map(drop)
        }
    }
}

/// Prints the container's log from that byte on; its length.
async fn print_log(
    context: &Context,
    pod: &Reference,
    container: &str,
    from: usize,
) -> Result<usize, Failure> {
    let call = Call::get(format!("{}/log", pod.path())).query("container", container);
    let mut lines = context.rest().await?.lines(&call).await?;
    let mut length = 0;
    while let Some(chunk) = lines.chunk().await {
        let seen = from.saturating_sub(length).min(chunk.len());
        length += chunk.len();
        output::print_bytes(chunk.get(seen..).unwrap_or_default());
    }
    Ok(length)
}

async fn exit_of(context: &Context, arguments: &Arguments, pod: &Reference) -> Result<(), Failure> {
    if arguments.restart != "Never" {
        return Ok(());
    }
    let ended = pods::wait_for_phase(context, pod, &["Succeeded", "Failed"]).await?;
    if ended.text("status.phase") == "Succeeded" {
        return Ok(());
    }
    let terminated = ended
        .list("status.containerStatuses")
        .first()
        .map(|status| status.at("state.terminated").clone())
        .unwrap_or_default();
    let place = format!("{}/{}", ended.namespace(), ended.name());
    Err(match terminated["exitCode"].as_i64() {
        Some(code) if code != 0 => Failure::Exact {
            text: format!("pod {place} terminated ({})\n{}", terminated.text("reason"), terminated.text("message")),
            code: code as i32,
        },
        _ => Failure::message(format!("pod {place} failed with unknown exit code")),
    })
}
