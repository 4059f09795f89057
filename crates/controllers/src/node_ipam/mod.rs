//! node-ipam-controller: gives each node a part of --cluster-cidr for its pods.

pub mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use fluyt_client::queue::WorkQueue;
use fluyt_client::rest::PatchType;
use parking_lot::Mutex;
use serde_json::json;

use crate::api::{Error, NODES, Result};
use crate::context::Context;
use crate::informers::Informer;
use crate::objects::node::Node;
use crate::options::Options;
use crate::worker::{Outcome, Reconcile, work};
use reconcile::{Cidr, CidrSet};

/// Nodes that are written at the same time.
const WORKERS: usize = 8;

pub async fn run(context: Context) {
    if !context.options.allocate_node_cidrs {
        return;
    }
    let sets = match sets(&context.options) {
        Ok(sets) => sets,
        Err(error) => {
            tracing::error!("{} is off: {error:#}", context.name);
            return;
        }
    };
    let queue = WorkQueue::default();
    let controller = Arc::new(Controller {
        nodes: context.informers.nodes(),
        ranges: Arc::new(Mutex::new(Ranges {
            sets,
            held: HashMap::new(),
        })),
        context: context.clone(),
    });
    // Ranges that nodes have already must be taken before the first is handed out, so they are noted in the handler.
    let (ranges, enqueue) = (controller.ranges.clone(), queue.clone());
    controller.nodes.on_change(move |change| match change.new {
        Some(node) => {
            ranges.lock().note(&node.meta.name, &node.pod_cidrs);
            if node.pod_cidrs.is_empty() {
                enqueue.add(change.key());
            }
        }
        None => ranges.lock().release(&change.object().meta.name),
    });
    controller.nodes.synced().await;
    work(&context, &queue, WORKERS, controller).await;
}

/// One set of parts for each range of --cluster-cidr.
fn sets(options: &Options) -> anyhow::Result<Vec<CidrSet>> {
    if options.cluster_cidr.is_empty() {
        bail!("--allocate-node-cidrs needs --cluster-cidr");
    }
    let mut sets = Vec::new();
    for text in &options.cluster_cidr {
        let range: Cidr = text.trim().parse().context("--cluster-cidr")?;
        let dual = options.cluster_cidr.len() > 1;
        let own = if range.is_v4() {
            options.node_cidr_mask_size_ipv4
        } else {
            options.node_cidr_mask_size_ipv6
        };
        let common = options.node_cidr_mask_size.filter(|_| !dual);
        let size = own
            .or(common)
            .unwrap_or(if range.is_v4() { 24 } else { 64 });
        let mut set = CidrSet::new(range, size).context("--node-cidr-mask-size")?;
        for service in &options.service_cluster_ip_range {
            set.occupy(
                service
                    .trim()
                    .parse()
                    .context("--service-cluster-ip-range")?,
            );
        }
        sets.push(set);
    }
    Ok(sets)
}

struct Ranges {
    sets: Vec<CidrSet>,
    held: HashMap<Box<str>, Vec<Cidr>>,
}

impl Ranges {
    /// A node has these ranges, whoever gave them.
    fn note(&mut self, node: &str, cidrs: &[Box<str>]) {
        let cidrs: Vec<Cidr> = cidrs.iter().filter_map(|text| text.parse().ok()).collect();
        if cidrs.is_empty() || self.held.get(node) == Some(&cidrs) {
            return;
        }
        self.release(node);
        for set in &mut self.sets {
            cidrs.iter().for_each(|cidr| set.occupy(*cidr));
        }
        self.held.insert(node.into(), cidrs);
    }

    fn release(&mut self, node: &str) {
        for cidr in self.held.remove(node).unwrap_or_default() {
            self.sets.iter_mut().for_each(|set| set.release(cidr));
        }
    }

    /// What the node holds already, or new parts, one of each range.
    fn allocate(&mut self, node: &str) -> Option<Vec<Cidr>> {
        if let Some(held) = self.held.get(node) {
            return Some(held.clone());
        }
        let mut cidrs = Vec::new();
        for set in &mut self.sets {
            cidrs.extend(set.allocate());
        }
        if cidrs.len() < self.sets.len() {
            for (set, cidr) in self.sets.iter_mut().zip(cidrs) {
                set.release(cidr);
            }
            return None;
        }
        self.held.insert(node.into(), cidrs.clone());
        Some(cidrs)
    }
}

struct Controller {
    context: Context,
    nodes: Arc<Informer<Node>>,
    ranges: Arc<Mutex<Ranges>>,
}

impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Outcome> {
        let Some(node) = self.nodes.get(key).filter(|node| node.pod_cidrs.is_empty()) else {
            return Ok(Outcome::Done);
        };
        let Some(cidrs) = self.ranges.lock().allocate(key) else {
            let message = format!("Node {key} status is now: CIDRNotAvailable");
            self.context
                .node_event(&node.meta, "CIDRNotAvailable", message);
            return Err(Error::Other(
                "no range of --cluster-cidr is free".to_owned(),
            ));
        };
        let texts: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
        let body = json!({"metadata": {"uid": node.meta.uid}, "spec": {"podCIDR": texts.first(), "podCIDRs": texts}});
        match self
            .context
            .api
            .patch(&NODES.path("", key), PatchType::Strategic, &body)
            .await
        {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if error.is_not_found() => {
                self.ranges.lock().release(key);
                Ok(Outcome::Done)
            }
            Err(error) => {
                let message = format!("Node {key} status is now: CIDRAssignmentFailed");
                self.context
                    .node_event(&node.meta, "CIDRAssignmentFailed", message);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_keep_what_they_have_and_give_it_back() {
        let options = Options {
            allocate_node_cidrs: true,
            cluster_cidr: vec!["10.0.0.0/22".into(), "fd00::/62".into()],
            service_cluster_ip_range: vec!["10.0.0.0/24".into()],
            ..Options::default()
        };
        let mut ranges = Ranges {
            sets: sets(&options).unwrap(),
            held: HashMap::new(),
        };
        ranges.note("old", &["10.0.1.0/24".into()]);
        let texts = |cidrs: Option<Vec<Cidr>>| {
            cidrs.map(|cidrs| cidrs.iter().map(Cidr::to_string).collect::<Vec<_>>())
        };
        let first = texts(ranges.allocate("a")).unwrap();
        assert_eq!(first, ["10.0.2.0/24", "fd00::/64"]);
        assert_eq!(
            texts(ranges.allocate("a")).unwrap(),
            first,
            "asking again changes nothing"
        );
        assert!(ranges.allocate("b").is_some());
        assert!(ranges.allocate("c").is_none());
        ranges.release("old");
        assert_eq!(texts(ranges.allocate("c")).unwrap()[0], "10.0.1.0/24");
    }

    #[test]
    fn bad_flags_are_named() {
        for (cidr, expected) in [("", "needs --cluster-cidr"), ("10.0.0.0", "--cluster-cidr")] {
            let cluster_cidr = if cidr.is_empty() {
                vec![]
            } else {
                vec![cidr.to_owned()]
            };
            let error = sets(&Options {
                cluster_cidr,
                ..Options::default()
            })
            .unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
