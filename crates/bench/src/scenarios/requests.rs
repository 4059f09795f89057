//! Plain requests: creates, gets, lists.

use std::sync::Arc;
use std::time::Instant;

use super::Outcome;
use super::objects::{self, delete_pods, pod, pod_creates, pods, prepare, run_prefix};
use crate::Context;
use crate::load;
use crate::report::Measured;

const CREATE_CONNECTIONS: usize = 64;
const GET_CONNECTIONS: usize = 32;
const LISTS_PER_RUN: usize = 5;
/// So that nothing but the API server is measured.
const NO_SCHEDULER: &str = "nobody";

pub(super) async fn creates(context: &Context) -> Outcome {
    let (target, total) = (&context.target, context.options.creates);
    prepare(context).await?;
    let mut runs = Vec::new();
    for run in 0..context.options.runs() {
        let prefix = run_prefix(context, "creates", run, context.options.runs());
        let requests = pod_creates(target, &prefix, NO_SCHEDULER, total);
        let elapsed = load::run(target, CREATE_CONNECTIONS, total, 201, move |number| {
            requests[number].clone()
        })
        .await?;
        runs.push(total as f64 / elapsed.as_secs_f64());
        delete_pods(target).await?;
    }
    Ok(vec![Measured {
        name: "creates",
        runs,
    }])
}

pub(super) async fn gets(context: &Context) -> Outcome {
    let (target, total) = (&context.target, context.options.gets);
    prepare(context).await?;
    let name = format!("get-{:x}", std::process::id());
    target
        .write("POST", &pods(), &pod(&name, NO_SCHEDULER), &[])
        .await?;
    let request: Arc<[u8]> = Arc::from(target.get(&format!("{}/{name}", pods())));
    let mut runs = Vec::new();
    for run in 0..context.options.runs() {
        run_prefix(context, "gets", run, context.options.runs());
        let request = request.clone();
        let elapsed = load::run(target, GET_CONNECTIONS, total, 200, move |_| {
            request.clone()
        })
        .await?;
        runs.push(total as f64 / elapsed.as_secs_f64());
    }
    delete_pods(target).await?;
    Ok(vec![Measured { name: "gets", runs }])
}

pub(super) async fn list(context: &Context) -> Outcome {
    let (target, total) = (&context.target, context.options.pods);
    prepare(context).await?;
    let requests = pod_creates(
        target,
        &run_prefix(context, "list", 0, 1),
        NO_SCHEDULER,
        total,
    );
    load::run(target, CREATE_CONNECTIONS, total, 201, move |number| {
        requests[number].clone()
    })
    .await?;
    let there = objects::count(target, &pods()).await?;
    anyhow::ensure!(
        there == total,
        "the list has {there} pods instead of {total}"
    );
    let request = target.get(&pods());
    let mut connection = target.connect().await?;
    let (mut runs, mut bytes) = (Vec::new(), 0);
    for run in 0..=context.options.runs() * LISTS_PER_RUN {
        let started = Instant::now();
        bytes = connection.expect(&request, 200).await?;
        // The first one only warms up.
        if run > 0 {
            runs.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    delete_pods(target).await?;
    let megabytes = bytes as f64 / 1e6;
    Ok(vec![
        Measured { name: "list", runs },
        Measured {
            name: "list-bytes",
            runs: vec![megabytes],
        },
    ])
}
