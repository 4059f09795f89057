//! `exec`: runs a command in a container.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::pods;
use crate::rest::Call;
use crate::streams::{self, Attached};
use crate::text::{duration, goquote::quote};

/// Execute a command in a container
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl exec mypod -- date
  kubectl exec mypod -c ruby-container -- date
  kubectl exec mypod -i -t -- bash -il
  kubectl exec deploy/mydeployment -- date")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// The command, after --
    #[arg(last = true)]
    command: Vec<String>,
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
    match arguments.words.as_slice() {
        [] => return Err(Failure::message("pod, type/name or --filename must be specified")),
        [_] if arguments.command.is_empty() => {
            return Err(Failure::message("you must specify at least one command for the container"));
        }
        [_] => {}
        _ => {
            return Err(Failure::usage(
                "exec",
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
            ));
        }
    }
    let timeout = duration::parse(&arguments.pod_running_timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.pod_running_timeout))))?;
    let pod = pods::first_pod(context, &arguments.words[0], timeout).await?;
    let phase = pod.value.text("status.phase");
    if matches!(phase, "Succeeded" | "Failed") {
        return Err(Failure::message(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = pods::container(&pod.value, arguments.container.as_deref(), arguments.quiet)?;
    let tty = terminal_wanted(arguments.tty, arguments.stdin);
    let call = call(&pod.path(), &container, &arguments.command, arguments.stdin, tty);
    let attached = Attached {
        stdin: arguments.stdin,
        tty,
    };
    streams::session(context.rest().await?, &call, attached).await?;
    Ok(())
}

/// Without a terminal here there is none there.
pub(crate) fn terminal_wanted(tty: bool, stdin: bool) -> bool {
    if tty && stdin && !streams::stdin_is_terminal() {
        output::error_line("Unable to use a TTY - input is not a terminal or the right kind of file");
        return false;
    }
    tty
}

/// The request that starts a command.
pub(crate) fn call(pod: &str, container: &str, command: &[String], stdin: bool, tty: bool) -> Call {
    let mut call = Call::get(format!("{pod}/exec"));
    for word in command {
        call = call.query("command", word.clone());
    }
    call = call.query("container", container);
    for (flag, name) in [(stdin, "stdin"), (true, "stdout"), (!tty, "stderr"), (tty, "tty")] {
        if flag {
            call = call.query(name, "true");
        }
    }
    call
}
