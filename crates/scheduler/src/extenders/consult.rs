//! Asking all extenders about one pod: a task beside the driver that owns the core, to which it turns with a [`Query`].
//!
//! As upstream: filters in turn, each on what the one before left; scores of all together, each scaled from 0..10 to 0..100 and
//! weighed, an extender that fails gives none; preemption when no node is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluyt_client::rest;
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::extended::{Ask, Eviction, Refusal};
use fluyt_scheduler_core::objects::Text;
use fluyt_scheduler_core::plugins::MAX_SCORE;
use futures::future::join_all;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Extender, Extenders, wire};

/// Extenders score from 0 to this.
const MAX_PRIORITY: i64 = 10;

/// What a consultation wants of the core.
pub enum Query {
    /// Scores of the nodes that are left.
    Scores {
        pod: PodRef,
        nodes: Vec<Text>,
        answer: oneshot::Sender<Option<Vec<(Text, i64)>>>,
    },
    Evictions {
        pod: PodRef,
        answer: oneshot::Sender<Vec<Eviction>>,
    },
    Ended(PodRef, Consultation),
}

/// How it ended.
pub enum Consultation {
    Place {
        node: Text,
        score: i64,
        feasible: usize,
        binder: Option<Arc<Extender>>,
    },
    Nowhere {
        refusals: Vec<Refusal>,
        evictions: Option<Vec<Eviction>>,
    },
    Failed(String),
    /// The pod is gone.
    Gone,
}

/// Consults in the background; the last query is [`Query::Ended`].
pub fn start(extenders: &Arc<Extenders>, ask: Ask, queries: &mpsc::Sender<Query>) {
    let (extenders, queries) = (extenders.clone(), queries.clone());
    tokio::spawn(async move {
        let pod = ask.pod.clone();
        let round = Round {
            extenders: &extenders,
            queries: &queries,
        };
        let end = match round.run(ask).await {
            Ok(end) => end,
            Err(error) => Consultation::Failed(format!("{error:#}")),
        };
        // Nobody listens any more when the scheduler stops.
        let _ = queries.send(Query::Ended(pod, end)).await;
    });
}

struct Round<'a> {
    extenders: &'a Extenders,
    queries: &'a mpsc::Sender<Query>,
}

impl Round<'_> {
    async fn run(&self, ask: Ask) -> anyhow::Result<Consultation> {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            ask.pod.namespace, ask.pod.name
        );
        let pod: Value = match rest::get(&self.extenders.client, &path).await {
            Ok(pod) => pod,
            Err(error) if rest::is_not_found(&error) => return Ok(Consultation::Gone),
            Err(error) => return Err(error.into()),
        };
        let (left, refusals) = self.filter(&pod, ask.feasible).await?;
        if left.is_empty() {
            let evictions = self.preempt(&pod, &ask.pod).await?;
            return Ok(Consultation::Nowhere {
                refusals,
                evictions,
            });
        }
        let (answer, scores) = oneshot::channel();
        let query = Query::Scores {
            pod: ask.pod,
            nodes: left,
            answer,
        };
        self.queries.send(query).await?;
        let Some(mut scores) = scores.await? else {
            return Ok(Consultation::Gone);
        };
        self.prioritize(&pod, &mut scores).await;
        let feasible = scores.len();
        // Among equals the first, as everywhere.
        match scores.into_iter().rev().max_by_key(|(_, score)| *score) {
            Some((node, score)) => Ok(Consultation::Place {
                node,
                score,
                feasible,
                binder: self.binder(&pod),
            }),
            // What was feasible no longer is.
            None => Ok(Consultation::Nowhere {
                refusals,
                evictions: None,
            }),
        }
    }

    fn binder(&self, pod: &Value) -> Option<Arc<Extender>> {
        let mut interested = self.extenders.interested(pod);
        interested
            .find(|one| !one.config.bind_verb.is_empty())
            .cloned()
    }

    /// Whole nodes, for an extender that has none of its own.
    fn nodes(&self, extender: &Extender, names: &[Text]) -> Option<Vec<Value>> {
        match extender.config.node_cache_capable {
            true => None,
            false => self.extenders.nodes.as_ref().map(|nodes| nodes.get(names)),
        }
    }

    async fn filter(
        &self,
        pod: &Value,
        nodes: Vec<Text>,
    ) -> anyhow::Result<(Vec<Text>, Vec<Refusal>)> {
        let (mut left, mut refusals) = (nodes, Vec::new());
        for extender in self.extenders.interested(pod) {
            if left.is_empty() {
                break;
            }
            if extender.config.filter_verb.is_empty() {
                continue;
            }
            let body = wire::arguments(pod, &left, self.nodes(extender, &left));
            let answer = extender.send(&extender.config.filter_verb, &body).await;
            let filtered =
                answer.and_then(|answer| wire::filtered(extender.name(), &answer, &left));
            match filtered {
                Ok((some, more)) => {
                    left = some;
                    refusals.extend(more);
                }
                Err(error) if extender.is_ignorable() => {
                    tracing::info!("extender {} is skipped: {error:#}", extender.name());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((left, refusals))
    }

    async fn prioritize(&self, pod: &Value, scores: &mut [(Text, i64)]) {
        let names: Vec<Text> = scores.iter().map(|(name, _)| name.clone()).collect();
        let asked = self.extenders.interested(pod);
        let asked = asked.filter(|one| !one.config.prioritize_verb.is_empty());
        let answers = asked.map(|extender| async {
            let body = wire::arguments(pod, &names, self.nodes(extender, &names));
            let answer = extender.send(&extender.config.prioritize_verb, &body).await;
            match answer.and_then(|answer| wire::priorities(&answer)) {
                Ok(priorities) => (extender.config.weight, priorities),
                Err(error) => {
                    tracing::info!("extender {} gives no score: {error:#}", extender.name());
                    (0, Vec::new())
                }
            }
        });
        for (weight, priorities) in join_all(answers).await {
            for (host, priority) in priorities {
                if let Some((_, score)) = scores.iter_mut().find(|(name, _)| *name == host) {
                    *score += priority * weight * (MAX_SCORE / MAX_PRIORITY);
                }
            }
        }
    }

    /// `None` when no extender has a say in preemption.
    async fn preempt(&self, pod: &Value, asked: &PodRef) -> anyhow::Result<Option<Vec<Eviction>>> {
        let interested = self.extenders.interested(pod);
        let preempting: Vec<_> = interested
            .filter(|one| !one.config.preempt_verb.is_empty())
            .collect();
        if preempting.is_empty() {
            return Ok(None);
        }
        let (answer, evictions) = oneshot::channel();
        let pod_ref = asked.clone();
        let query = Query::Evictions {
            pod: pod_ref,
            answer,
        };
        self.queries.send(query).await?;
        let mut left = evictions.await?;
        if left.is_empty() {
            return Ok(None);
        }
        for extender in preempting {
            let objects = match extender.config.node_cache_capable {
                true => None,
                false => Some(self.pods(&left).await),
            };
            let body = wire::victims(pod, &left, objects.as_ref());
            let answer = extender.send(&extender.config.preempt_verb, &body).await;
            let ignorable = extender.is_ignorable();
            let some = answer
                .and_then(|answer| wire::evictions(extender.name(), &answer, &left, ignorable));
            match some {
                Ok(some) => left = some,
                Err(error) if ignorable => {
                    tracing::info!("extender {} is skipped: {error:#}", extender.name());
                }
                Err(error) => return Err(error),
            }
            if left.is_empty() {
                break;
            }
        }
        Ok(Some(left))
    }

    /// The victims as whole objects; those that are gone are missing.
    async fn pods(&self, evictions: &[Eviction]) -> BTreeMap<Text, Value> {
        let victims = evictions.iter().flat_map(|one| &one.victims);
        let objects = victims.map(|victim| async {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                victim.namespace, victim.name
            );
            let pod = rest::get::<Value>(&self.extenders.client, &path).await;
            Some((victim.uid.clone(), pod.ok()?))
        });
        join_all(objects).await.into_iter().flatten().collect()
    }
}
