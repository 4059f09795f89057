//! Whole node objects, for extenders that are sent them: kept only when there is such an extender.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use fluyt_client::informer::{self, Event, Slim, Source};
use fluyt_client::kube::Client;
use fluyt_scheduler_core::objects::Text;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
#[serde(transparent)]
struct Whole(Value);

impl Slim for Whole {
    fn resource_version(&self) -> &str {
        let version = self.0["metadata"]["resourceVersion"].as_str();
        version.unwrap_or_default()
    }
}

impl Whole {
    fn name(&self) -> Text {
        let name = self.0["metadata"]["name"].as_str();
        name.unwrap_or_default().into()
    }
}

#[derive(Clone, Default)]
pub struct Nodes(Arc<RwLock<HashMap<Text, Value>>>);

impl Nodes {
    pub fn start(client: Client, stop: CancellationToken) -> Self {
        let nodes = Self::default();
        let copy = nodes.clone();
        tokio::spawn(async move {
            let source = Source::new("", "v1", "nodes");
            let mut events = Box::pin(informer::watch::<Whole>(client, source));
            let follow = async {
                while let Some(event) = events.next().await {
                    copy.take(event);
                }
            };
            stop.run_until_cancelled(follow).await;
        });
        nodes
    }

    fn take(&self, event: Event<Whole>) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Restarted(all) => {
                *nodes = all.into_iter().map(|node| (node.name(), node.0)).collect();
            }
            Event::Applied(node) => {
                nodes.insert(node.name(), node.0);
            }
            Event::Deleted(node) => {
                nodes.remove(&node.name());
            }
        }
    }

    /// Those that are known; a node that has just come may be missing.
    pub fn get(&self, names: &[Text]) -> Vec<Value> {
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names
            .iter()
            .filter_map(|name| nodes.get(name).cloned())
            .collect()
    }
}
