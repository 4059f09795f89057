//! What the server costs before it has done anything.

use std::time::Duration;

use anyhow::bail;

use super::Outcome;
use crate::Context;
use crate::processes::{cpu_seconds, executable_bytes, memory_mb};
use crate::report::Measured;
use crate::server::{OwnServer, binary};

/// Start-up work is over by then.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

pub(super) async fn ready(context: &Context) -> Outcome {
    let Some(first) = context.ready_ms else {
        return Ok(Vec::new());
    };
    let mut runs = vec![first];
    for _ in 1..context.options.runs() {
        let mut server = OwnServer::start(&context.options, 0).await?;
        runs.push(server.ready_ms);
        server.stop().await;
    }
    Ok(vec![Measured {
        name: "ready",
        runs,
    }])
}

pub(super) async fn size(context: &Context) -> Outcome {
    let bytes: Vec<u64> = if context.ready_ms.is_some() {
        vec![std::fs::metadata(binary(&context.options)?)?.len()]
    } else {
        context
            .pids
            .iter()
            .filter_map(|&pid| executable_bytes(pid))
            .collect()
    };
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let megabytes = bytes.iter().sum::<u64>() as f64 / 1e6;
    Ok(vec![Measured {
        name: "size",
        runs: vec![megabytes],
    }])
}

pub(super) async fn idle(context: &Context) -> Outcome {
    if context.pids.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(SETTLE).await;
    let memory = memory_mb(&context.pids);
    if memory == 0.0 {
        bail!("the server's processes {:?} are not there", context.pids);
    }
    let mut measured = vec![Measured {
        name: "memory-idle",
        runs: vec![memory],
    }];
    measured.extend(idle_cpu(context, "cpu-idle").await);
    Ok(measured)
}

/// Per cent of a core that the server uses while nobody wants anything; nothing for `--idle-seconds=0`.
pub(super) async fn idle_cpu(context: &Context, name: &'static str) -> Option<Measured> {
    let seconds = context.options.idle_seconds;
    if seconds == 0 {
        return None;
    }
    context
        .progress
        .step(&format!("CPU of the idle server over {seconds} s"));
    let before = cpu_seconds(&context.pids);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let percent = (cpu_seconds(&context.pids) - before) / seconds as f64 * 100.0;
    Some(Measured {
        name,
        runs: vec![percent],
    })
}
