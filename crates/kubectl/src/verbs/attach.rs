//! `attach`: joins a process that already runs in a container.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::pods;
use crate::rest::Call;
use crate::selection::Reference;
use crate::streams::{self, Attached};
use crate::text::{duration, goquote::quote};

/// Attach to a running container
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl attach mypod
  kubectl attach mypod -c ruby-container -i -t
  kubectl attach rs/nginx")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Container name
    #[arg(long, short = 'c')]
    container: Option<String>,
    /// Pass stdin to the container
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Stdin is a TTY
    #[arg(long, short = 't')]
    tty: bool,
    /// Only print output from the remote session
    #[arg(long, short = 'q')]
    quiet: bool,
    /// The length of time to wait until at least one pod is running
    #[arg(long, default_value = "1m0s")]
    pod_running_timeout: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let [word] = arguments.words.as_slice() else {
        return Err(Failure::usage("attach", "POD or TYPE/NAME is a required argument for the attach command"));
    };
    let timeout = duration::parse(&arguments.pod_running_timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.pod_running_timeout))))?;
    let pod = pods::first_pod(context, word, timeout).await?;
    let phase = pod.value.text("status.phase");
    if matches!(phase, "Succeeded" | "Failed") {
        return Err(Failure::message(format!(
            "cannot attach a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = pods::container(&pod.value, arguments.container.as_deref(), arguments.quiet)?;
    attach(context, &pod, &container, arguments.stdin, arguments.tty, arguments.quiet).await?;
    Ok(())
}

/// Joins the container until it or the user ends the session; true if it had anything to say.
pub(crate) async fn attach(
    context: &Context,
    pod: &Reference,
    container: &str,
    stdin: bool,
    tty: bool,
    quiet: bool,
) -> Result<bool, Failure> {
    let tty = super::exec::terminal_wanted(tty, stdin) && has_terminal(pod, container);
    if stdin && tty && !quiet {
        output::error_line("If you don't see a command prompt, try pressing enter.");
    }
    let mut call = Call::get(format!("{}/attach", pod.path())).query("container", container);
    for (flag, name) in [(stdin, "stdin"), (true, "stdout"), (!tty, "stderr"), (tty, "tty")] {
        if flag {
            call = call.query(name, "true");
        }
    }
    streams::session(context.rest().await?, &call, Attached { stdin, tty }).await
}

fn has_terminal(pod: &Reference, container: &str) -> bool {
    pod.value
        .list("spec.containers")
        .iter()
        .any(|other| other["name"] == container && other["tty"] == true)
}
