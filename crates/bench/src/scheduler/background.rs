//! What goes on beside the measured pods: pods, nodes and services that come and go at a steady pace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::objects::{Pods, collection, labelled};
use super::workload::{Background, Step, Until, Workload};
use crate::target::Target;

/// Runs until dropped. A request that fails is not repeated: what is churned may be gone, or still there.
pub(crate) fn start(
    target: &Arc<Target>,
    workload: &Workload,
    scheduler: &str,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut tasks = JoinSet::new();
    for (number, one) in workload.background.iter().enumerate() {
        let actions = Actions::new(workload, one, number, scheduler)?;
        let (target, every) = (target.clone(), Duration::from_millis(one.every_ms));
        tasks.spawn(async move {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut connection = target.connect().await?;
            for turn in 0.. {
                ticks.tick().await;
                for (method, path, body) in actions.of(turn) {
                    let request = target.request(method, &path, &body);
                    connection
                        .fetch(&request)
                        .await
                        .with_context(|| format!("{method} {path}"))?;
                }
            }
            Ok(())
        });
    }
    Ok(tasks)
}

enum Actions {
    Create(Pods),
    /// Paths of collections, names, bodies: created in even turns and deleted in odd ones.
    Recreate(Vec<(String, String, String)>),
    /// Pods `init-STEP-N` of a namespace, one after the other.
    Delete {
        namespace: String,
        prefix: String,
        count: usize,
    },
}

impl Actions {
    fn new(
        workload: &Workload,
        one: &Background,
        number: usize,
        scheduler: &str,
    ) -> anyhow::Result<Self> {
        let pods = |shape: &str, name: &str| {
            let step = Step {
                count: usize::MAX,
                shape: Some(shape.to_owned()),
                namespace: None,
                volume: false,
                until: Until::Created,
                one_at_a_time: false,
            };
            Pods::new(
                workload,
                &step,
                &format!("{name}-{number}"),
                scheduler,
                false,
            )
        };
        if let Some(shape) = &one.create {
            return Ok(Actions::Create(pods(shape, "churn")));
        }
        if let Some(shape) = &one.recreate_pod {
            let pods = pods(shape, "recreated");
            return Ok(Actions::Recreate(vec![(
                pods.path(0),
                pods.name(0),
                pods.body(0),
            )]));
        }
        if let Some(namespace) = &one.delete {
            let at = workload
                .init
                .iter()
                .position(|step| step.namespace.as_ref() == Some(namespace));
            let at = at.with_context(|| format!("no step fills the namespace {namespace:?}"))?;
            return Ok(Actions::Delete {
                namespace: namespace.clone(),
                prefix: format!("init-{at}"),
                count: workload.init[at].count,
            });
        }
        let object = |object: &serde_json::Value| {
            let name = object["metadata"]["name"].as_str();
            let name = name.context("an object without a name")?.to_owned();
            anyhow::Ok((collection(object)?, name, labelled(object).to_string()))
        };
        let objects = one.recreate.iter().flatten().map(object);
        Ok(Actions::Recreate(objects.collect::<anyhow::Result<_>>()?))
    }

    fn of(&self, turn: usize) -> Vec<(&'static str, String, String)> {
        match self {
            Actions::Create(pods) => vec![("POST", pods.path(turn), pods.body(turn))],
            Actions::Recreate(objects) if turn.is_multiple_of(2) => objects
                .iter()
                .map(|(path, _, body)| ("POST", path.clone(), body.clone()))
                .collect(),
            Actions::Recreate(objects) => objects
                .iter()
                .map(|(path, name, _)| ("DELETE", format!("{path}/{name}"), now()))
                .collect(),
            Actions::Delete {
                namespace,
                prefix,
                count,
            } if turn < *count => {
                let path = format!("/api/v1/namespaces/{namespace}/pods/{prefix}-{turn}");
                vec![("DELETE", path, now())]
            }
            Actions::Delete { .. } => Vec::new(),
        }
    }
}

fn now() -> String {
    r#"{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::workload::{NAMESPACE, choose};

    #[test]
    fn what_is_deleted_is_what_a_step_created() {
        let workload = choose(&["SchedulingWhileGated".to_owned()])
            .unwrap()
            .remove(0);
        let actions = Actions::new(&workload, &workload.background[0], 0, "s").unwrap();
        let expected = "/api/v1/namespaces/deleted/pods/init-1-7";
        assert_eq!(actions.of(7)[0].1, expected);
        assert!(actions.of(20_000).is_empty());
    }

    #[test]
    fn objects_come_and_go_in_turn() {
        let workload = choose(&["SchedulingWithMixedChurn".to_owned()])
            .unwrap()
            .remove(0);
        let actions = Actions::new(&workload, &workload.background[0], 0, "s").unwrap();
        let said = |turn| {
            let all = actions.of(turn);
            all.into_iter()
                .map(|(method, path, _)| format!("{method} {path}"))
                .collect::<Vec<_>>()
        };
        let services = format!("/api/v1/namespaces/{NAMESPACE}/services");
        assert_eq!(
            said(0),
            ["POST /api/v1/nodes".to_owned(), format!("POST {services}")]
        );
        assert_eq!(
            said(1),
            [
                "DELETE /api/v1/nodes/churn".to_owned(),
                format!("DELETE {services}/churn")
            ]
        );
    }
}
