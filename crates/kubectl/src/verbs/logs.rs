//! `logs`: of one container, of all of a pod, or of all pods that a selector matches.

use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::pods;
use crate::rest::{Call, Lines};
use crate::selection::{Reference, SelectorFlags, list_all};
use crate::text::{duration, goquote::quote};
use tokio::sync::mpsc;

/// How many streams a selector may follow at once, unless a flag says otherwise.
const MAX_REQUESTS: usize = 5;
/// Lines of each pod when a selector chooses.
const SELECTOR_TAIL: i64 = 10;

/// Print the logs for a container in a pod
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl logs nginx
  kubectl logs -f nginx -c helper
  kubectl logs --previous --tail=20 --since=1h nginx
  kubectl logs -l app=web --all-containers
  kubectl logs deployment/web")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Specify if the logs should be streamed
    #[arg(long, short = 'f')]
    follow: bool,
    /// Print the logs of this container
    #[arg(long, short = 'c')]
    container: Option<String>,
    /// Print the logs of the previous instance of the container, if it exists
    #[arg(long, short = 'p')]
    previous: bool,
    /// Lines of recent log file to display; -1 shows all
    #[arg(long)]
    tail: Option<i64>,
    /// Only return logs newer than a relative duration like 5s, 2m, or 3h
    #[arg(long)]
    since: Option<String>,
    /// Only return logs after a specific date (RFC3339)
    #[arg(long)]
    since_time: Option<String>,
    /// Include timestamps on each line in the log output
    #[arg(long)]
    timestamps: bool,
    /// Get all containers' logs in the pod(s)
    #[arg(long)]
    all_containers: bool,
    /// Get logs from all pod(s)
    #[arg(long)]
    all_pods: bool,
    /// Maximum bytes of logs to return
    #[arg(long)]
    limit_bytes: Option<i64>,
    /// Selector (label query) to filter on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Prefix each log line with the log source (pod name and container name)
    #[arg(long)]
    prefix: bool,
    /// Maximum number of concurrent logs to follow with a selector
    #[arg(long, default_value_t = MAX_REQUESTS)]
    max_log_requests: usize,
    /// Ignore errors while streaming
    #[arg(long)]
    ignore_errors: bool,
    /// The length of time to wait until at least one pod is running
    #[arg(long, default_value = "20s")]
    pod_running_timeout: String,
    /// Skip verifying the identity of the kubelet
    #[arg(long, hide = true)]
    insecure_skip_tls_verify_backend: bool,
}

/// One log to print.
struct Source {
    pod: Reference,
    container: String,
}

impl Source {
    fn prefix(&self) -> String {
        format!("[pod/{}/{}] ", self.pod.name, self.container)
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    check(&arguments)?;
    let sources = sources(context, &arguments).await?;
    if sources.is_empty() {
        output::error_line(format!("No resources found in {} namespace.", context.namespace()?));
        return Ok(());
    }
    if arguments.follow && sources.len() > 1 {
        if sources.len() > arguments.max_log_requests {
            return Err(Failure::message(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests to increase the limit",
                sources.len(),
                arguments.max_log_requests
            )));
        }
        return follow_all(context, &arguments, sources).await;
    }
    for source in &sources {
        match open(context, &arguments, source).await {
            Ok(lines) => print(lines, arguments.prefix.then(|| source.prefix())).await,
            Err(failure) if arguments.ignore_errors => output::error_line(failure.render()),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    let expected = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";
    if arguments.words.is_empty() && arguments.selector.is_none() {
        return Err(Failure::usage("logs", expected));
    }
    if !arguments.words.is_empty() && arguments.selector.is_some() {
        return Err(Failure::usage("logs", "only a selector (-l) or a POD name is allowed"));
    }
    if arguments.words.len() > 2 {
        return Err(Failure::usage("logs", expected));
    }
    if arguments.words.len() == 2 && arguments.container.is_some() {
        return Err(Failure::message("only one of -c or an inline [CONTAINER] arg is allowed"));
    }
    if arguments.since.is_some() && arguments.since_time.is_some() {
        return Err(Failure::message("at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if let (true, Some(container)) = (arguments.all_containers, &arguments.container) {
        return Err(Failure::message(format!(
            "--all-containers=true should not be specified with container name {container}"
        )));
    }
    if arguments.limit_bytes.is_some_and(|limit| limit < 1) {
        return Err(Failure::message("--limit-bytes must be greater than 0"));
    }
    if arguments.tail.is_some_and(|tail| tail < -1) {
        return Err(Failure::message("--tail must be greater than or equal to -1"));
    }
    Ok(())
}

async fn sources(context: &Context, arguments: &Arguments) -> Result<Vec<Source>, Failure> {
    let pods = match &arguments.selector {
        Some(selector) => {
            let selectors = SelectorFlags {
                selector: Some(selector.clone()),
                ..SelectorFlags::default()
            };
            let mapping = context.mapper().well_known("pods");
            list_all(context, &mapping, Some(&context.namespace()?), &selectors).await?
        }
        None => named_pods(context, arguments).await?,
    };
    let wanted = arguments.container.as_deref().or(arguments.words.get(1).map(String::as_str));
    let mut sources = Vec::new();
    for pod in pods {
        if arguments.all_containers {
            let mut names = pods::all_containers(&pod.value);
            // Init containers ran first.
            names.sort_by_key(|(_, suffix)| match *suffix {
                " (init)" => 0,
                "" => 1,
                _ => 2,
            });
            for (container, _) in names {
                sources.push(Source {
                    pod: pod.clone(),
                    container,
                });
            }
        } else {
            let container = pods::container(&pod.value, wanted, false)?;
            sources.push(Source { pod, container });
        }
    }
    Ok(sources)
}

async fn named_pods(context: &Context, arguments: &Arguments) -> Result<Vec<Reference>, Failure> {
    let word = &arguments.words[0];
    let object = match pods::find(context, word).await {
        Ok(object) => object,
        Err(Failure::Api(error)) if error.reason == "NotFound" => {
            return Err(Failure::message(format!(
                "error from server (NotFound): {} in namespace {}",
                error.message,
                quote(&context.namespace()?)
            )));
        }
        Err(failure) => return Err(failure),
    };
    let timeout = duration::parse(&arguments.pod_running_timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.pod_running_timeout))))?;
    let mut found = pods::pods_of(context, &object).await?;
    if found.is_empty() {
        found = vec![pods::first_pod(context, word, timeout).await?];
    }
    if found.len() > 1 && !arguments.all_pods {
        output::error_line(format!("Found {} pods, using pod/{}", found.len(), found[0].name));
        found.truncate(1);
    }
    Ok(found)
}

async fn open(context: &Context, arguments: &Arguments, source: &Source) -> Result<Lines, Failure> {
    let mut call = Call::get(format!("{}/log", source.pod.path())).query("container", source.container.clone());
    for (flag, name) in [
        (arguments.follow, "follow"),
        (arguments.previous, "previous"),
        (arguments.timestamps, "timestamps"),
        (arguments.insecure_skip_tls_verify_backend, "insecureSkipTLSVerifyBackend"),
    ] {
        if flag {
            call = call.query(name, "true");
        }
    }
    let tail = arguments.tail.or(arguments.selector.as_ref().map(|_| SELECTOR_TAIL));
    if let Some(tail) = tail.filter(|tail| *tail >= 0) {
        call = call.query("tailLines", tail.to_string());
    }
    if let Some(limit) = arguments.limit_bytes {
        call = call.query("limitBytes", limit.to_string());
    }
    if let Some(time) = &arguments.since_time {
        call = call.query("sinceTime", time.clone());
    }
    if let Some(since) = &arguments.since {
        let since = duration::parse(since)
            .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(since))))?;
        call = call.query("sinceSeconds", (since.as_secs_f64().ceil() as u64).max(1).to_string());
    }
    context.rest().await?.lines(&call).await
}

async fn print(mut lines: Lines, prefix: Option<String>) {
    match prefix {
        None => {
            while let Some(chunk) = lines.chunk().await {
                output::print_bytes(&chunk);
            }
        }
        Some(prefix) => {
            while let Some(line) = lines.next().await {
                output::print_bytes(&prefixed(&prefix, &line));
            }
        }
    }
}

fn prefixed(prefix: &str, line: &[u8]) -> Vec<u8> {
    let mut out = prefix.as_bytes().to_vec();
    out.extend_from_slice(line);
    out.push(b'\n');
    out
}

/// Follows several logs; whole lines are printed as they come.
async fn follow_all(context: &Context, arguments: &Arguments, sources: Vec<Source>) -> Result<(), Failure> {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(64);
    for source in sources {
        let mut lines = match open(context, arguments, &source).await {
            Ok(lines) => lines,
            Err(failure) if arguments.ignore_errors => {
                output::error_line(failure.render());
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let prefix = if arguments.prefix { source.prefix() } else { String::new() };
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.next().await {
                if sender.send(prefixed(&prefix, &line)).await.is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    while let Some(line) = receiver.recv().await {
        output::print_bytes(&line);
    }
    Ok(())
}
