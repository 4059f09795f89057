//! Pods from their creation to a node, as a client with a watch of its own sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::sync::oneshot;

use super::Outcome;
use super::objects::{
    count, delete_all, delete_pods, node, nodes, pod, pod_creates, pods, prepare, revision,
    run_prefix, until,
};
use crate::Context;
use crate::load;
use crate::report::{Measured, percentile};
use crate::target::Target;

const CONNECTIONS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(300);
const SCHEDULER: &str = "default-scheduler";

pub(super) async fn bind(context: &Context) -> Outcome {
    let target = &context.target;
    prepare(context).await?;
    create_nodes(context).await?;
    let measured = measure(context).await;
    if context.ready_ms.is_none() {
        // Not our server: leave it as it was.
        delete_pods(target).await?;
        delete_all(target, &nodes()).await?;
    }
    measured
}

async fn measure(context: &Context) -> Outcome {
    let target = &context.target;
    warm_up(target).await?;
    let (mut rates, mut medians, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
    let runs = context.options.runs();
    for run in 0..runs {
        delete_pods(target).await?;
        let prefix = run_prefix(context, "bind", run, context.options.runs());
        let latencies = one(context, &prefix).await?;
        rates.push(context.options.pods as f64 / latencies.total.as_secs_f64());
        medians.push(percentile(&latencies.each_ms, 50.0));
        slowest.push(percentile(&latencies.each_ms, 99.0));
    }
    Ok(vec![
        Measured {
            name: "bind",
            runs: rates,
        },
        Measured {
            name: "bind-p50",
            runs: medians,
        },
        Measured {
            name: "bind-p99",
            runs: slowest,
        },
    ])
}

async fn create_nodes(context: &Context) -> anyhow::Result<()> {
    let (target, total) = (&context.target, context.options.nodes);
    context.progress.step(&format!("creating {total} nodes"));
    let request = |number: usize| {
        let body = node(&format!("fluyt-bench-{number:05}"), number);
        Arc::from(target.request("POST", "/api/v1/nodes", &body))
    };
    let requests: Vec<Arc<[u8]>> = (0..total).map(request).collect();
    load::run(target, CONNECTIONS, total, 201, move |number| {
        requests[number].clone()
    })
    .await?;
    // New nodes are tainted until a controller has seen that they are ready.
    until(
        "all nodes can be scheduled to",
        Duration::from_secs(60),
        async || {
            let list = target.read(&nodes()).await?.unwrap_or_default();
            let items = list["items"].as_array().context("a list without items")?;
            let free = items
                .iter()
                .filter(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty));
            Ok(free.count() == total)
        },
    )
    .await
}

/// A scheduler that has just started is not what is measured.
async fn warm_up(target: &Target) -> anyhow::Result<()> {
    let name = format!("warm-up-{:x}", std::process::id());
    target
        .write("POST", &pods(), &pod(&name, SCHEDULER), &[])
        .await?;
    until(
        "the scheduler binds a pod",
        Duration::from_secs(60),
        async || {
            let pod = target
                .read(&format!("{}/{name}", pods()))
                .await?
                .unwrap_or_default();
            Ok(pod["spec"]["nodeName"].is_string())
        },
    )
    .await?;
    delete_pods(target).await
}

struct Latencies {
    /// From the first request to the last binding.
    total: Duration,
    each_ms: Vec<f64>,
}

async fn one(context: &Context, prefix: &str) -> anyhow::Result<Latencies> {
    let (target, total) = (&context.target, context.options.pods);
    ensure!(
        count(target, &pods()).await? == 0,
        "pods are left of an earlier run"
    );
    let since = revision(target, &pods()).await?;
    let mut connection = target.connect().await?;
    let path = format!(
        "{}?watch=true&resourceVersion={since}&timeoutSeconds=600",
        pods()
    );
    let head = connection.send(&target.get(&path)).await?;
    ensure!(
        head.status == 200,
        "a watch was answered with HTTP {}",
        head.status
    );
    let started = Instant::now();
    let mut follower = Follower::new(prefix, total, started);
    let (finished, all_bound) = oneshot::channel();
    let watching = tokio::spawn(async move {
        let mut finished = Some(finished);
        let ended = connection.body(head, |part| {
            if follower.take(part)
                && let Some(finished) = finished.take()
            {
                let _ = finished.send(std::mem::take(&mut follower.bound_at));
            }
        });
        ended.await
    });
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..total).map(|_| AtomicU64::new(0)).collect());
    let requests = pod_creates(target, prefix, SCHEDULER, total);
    let noted = sent.clone();
    load::run(target, CONNECTIONS, total, 201, move |number| {
        noted[number].store(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        requests[number].clone()
    })
    .await?;
    let bound = tokio::time::timeout(TIMEOUT, all_bound).await;
    watching.abort();
    let bound = bound
        .context("not all pods were bound in time")?
        .context("the watch ended")?;
    let first = sent
        .iter()
        .map(|at| at.load(Ordering::Relaxed))
        .min()
        .unwrap_or_default();
    let last = bound.iter().max().copied().unwrap_or_default();
    let latency = |(bound, sent): (&u64, &AtomicU64)| {
        bound.saturating_sub(sent.load(Ordering::Relaxed)) as f64 / 1e6
    };
    Ok(Latencies {
        total: Duration::from_nanos(last - first),
        each_ms: bound.iter().zip(sent.iter()).map(latency).collect(),
    })
}

/// Reads the lines of a watch for pods that have got a node.
struct Follower {
    /// `"name":"PREFIX-`, as it stands in an event.
    mark: Vec<u8>,
    line: Vec<u8>,
    started: Instant,
    /// Nanoseconds after `started`; 0: not yet.
    bound_at: Vec<u64>,
    left: usize,
}

impl Follower {
    fn new(prefix: &str, total: usize, started: Instant) -> Self {
        let mark = format!("\"name\":\"{prefix}-").into_bytes();
        Follower {
            mark,
            line: Vec::new(),
            started,
            bound_at: vec![0; total],
            left: total,
        }
    }

    /// Whether all are bound now.
    fn take(&mut self, part: &[u8]) -> bool {
        let mut rest = part;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end + 1);
            if self.line.is_empty() {
                self.take_line(head);
            } else {
                self.line.extend_from_slice(head);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line);
            }
            rest = tail;
        }
        self.line.extend_from_slice(rest);
        self.left == 0
    }

    fn take_line(&mut self, line: &[u8]) {
        if memchr::memmem::find(line, b"\"nodeName\":\"").is_none() {
            return;
        }
        let Some(at) = memchr::memmem::find(line, &self.mark) else {
            return;
        };
        let digits = line[at + self.mark.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0usize, |number, digit| {
            number * 10 + usize::from(digit - b'0')
        });
        let now = self.started.elapsed().as_nanos() as u64;
        if let Some(bound_at) = self.bound_at.get_mut(number)
            && *bound_at == 0
        {
            *bound_at = now;
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_are_found_in_any_pieces() {
        let line = |kind: &str, number: usize, spec: &str| {
            format!(
                "{{\"type\":\"{kind}\",\"object\":{{\"metadata\":{{\"name\":\"b-1-{number}\"}},\"spec\":{{{spec}}}}}}}\n"
            )
        };
        let text = line("ADDED", 0, "")
            + &line("ADDED", 12, "")
            + &line("MODIFIED", 12, "\"nodeName\":\"n\"")
            + &line("MODIFIED", 12, "\"nodeName\":\"n\"")
            + &line("MODIFIED", 0, "\"nodeName\":\"n\"");
        for piece in [1, 3, 50, 1000] {
            let mut follower = Follower::new("b-1", 13, Instant::now());
            for part in text.as_bytes().chunks(piece) {
                assert!(!follower.take(part));
            }
            assert_eq!(follower.left, 11);
            assert!(follower.bound_at[0] >= follower.bound_at[12]);
            assert!(follower.bound_at[12] > 0);
        }
    }
}
