//! What extenders are sent and what they answer (extender/v1). Its Go types have no JSON tags, so names are as in Go, and are read
//! in any case.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::extended::{Eviction, Refusal};
use fluyt_scheduler_core::objects::Text;
use serde_json::{Map, Value, json};

/// A member by Go's name, in any case.
fn member<'a>(object: &'a Value, name: &str) -> &'a Value {
    const ABSENT: &Value = &Value::Null;
    let fields = object.as_object();
    let found = fields.and_then(|fields| {
        let exact = fields.get(name);
        exact.or_else(|| {
            let mut others = fields.iter();
            others
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    });
    found.unwrap_or(ABSENT)
}

/// The answer's own error.
pub fn error_of(answer: &Value) -> anyhow::Result<()> {
    match member(answer, "Error").as_str() {
        None | Some("") => Ok(()),
        Some(error) => bail!("{error}"),
    }
}

/// `nodes`: whole objects for an extender without a cache, otherwise only names are sent.
pub fn arguments(pod: &Value, names: &[Text], nodes: Option<Vec<Value>>) -> Value {
    match nodes {
        Some(items) => {
            json!({"Pod": pod, "Nodes": {"metadata": {}, "items": items}, "NodeNames": null})
        }
        None => {
            let names: Vec<&str> = names.iter().map(Text::as_str).collect();
            json!({"Pod": pod, "Nodes": null, "NodeNames": names})
        }
    }
}

/// The nodes that are left of those asked about, and why others are not.
pub fn filtered(
    extender: &str,
    answer: &Value,
    asked: &[Text],
) -> anyhow::Result<(Vec<Text>, Vec<Refusal>)> {
    error_of(answer)?;
    let mut left: Vec<Text> = Vec::new();
    if let Some(names) = member(answer, "NodeNames").as_array() {
        left.extend(names.iter().filter_map(Value::as_str).map(Text::from));
    } else if let Some(items) = member(member(answer, "Nodes"), "items").as_array() {
        let names = items
            .iter()
            .filter_map(|node| node["metadata"]["name"].as_str());
        left.extend(names.map(Text::from));
    }
    if let Some(unknown) = left.iter().find(|name| !asked.contains(name)) {
        bail!(
            "extender {extender:?} claims a filtered node {:?} which is not found in the input node list",
            unknown.as_str()
        );
    }
    let mut reasons: BTreeMap<Text, String> = BTreeMap::new();
    for map in ["FailedNodes", "FailedAndUnresolvableNodes"] {
        for (node, reason) in member(answer, map).as_object().into_iter().flatten() {
            let reason = reason.as_str().unwrap_or_default().to_owned();
            reasons.insert(node.as_str().into(), reason);
        }
    }
    let refusals = reasons.into_iter();
    let refusals = refusals.map(|(node, reason)| Refusal { node, reason });
    Ok((left, refusals.collect()))
}

/// Scores of nodes, 0 to 10.
pub fn priorities(answer: &Value) -> anyhow::Result<Vec<(Text, i64)>> {
    let list = answer
        .as_array()
        .context("expected a list of hosts and scores")?;
    let one = |entry: &Value| {
        let host = member(entry, "Host").as_str()?;
        Some((host.into(), member(entry, "Score").as_i64().unwrap_or(0)))
    };
    Ok(list.iter().filter_map(one).collect())
}

/// Victims by node: their uids for an extender with a cache, otherwise whole pods (`object` gives them).
pub fn victims(
    pod: &Value,
    evictions: &[Eviction],
    object: Option<&BTreeMap<Text, Value>>,
) -> Value {
    let mut nodes = Map::new();
    for eviction in evictions {
        let one = |victim: &PodRef| match object {
            None => json!({"UID": victim.uid.as_str()}),
            Some(objects) => objects.get(&victim.uid).cloned().unwrap_or_default(),
        };
        let pods: Vec<Value> = eviction.victims.iter().map(one).collect();
        let value = json!({"Pods": pods, "NumPDBViolations": eviction.violations});
        nodes.insert(eviction.node.to_string(), value);
    }
    match object {
        None => json!({"Pod": pod, "NodeNameToVictims": null, "NodeNameToMetaVictims": nodes}),
        Some(_) => json!({"Pod": pod, "NodeNameToVictims": nodes, "NodeNameToMetaVictims": null}),
    }
}

/// What an extender left of the evictions. Nodes without victims are an error, unless `ignorable`. Upstream looks victims up among
/// the pods of the node; here among those that preemption found there.
pub fn evictions(
    extender: &str,
    answer: &Value,
    asked: &[Eviction],
    ignorable: bool,
) -> anyhow::Result<Vec<Eviction>> {
    let mut left = Vec::new();
    for (node, value) in member(answer, "NodeNameToMetaVictims")
        .as_object()
        .into_iter()
        .flatten()
    {
        let Some(found) = asked.iter().find(|one| one.node == *node) else {
            bail!("extender {extender:?} names node {node:?}, which it was not asked about");
        };
        let pods = member(value, "Pods").as_array();
        let uids = pods
            .into_iter()
            .flatten()
            .filter_map(|pod| member(pod, "UID").as_str());
        let mut victims = Vec::new();
        for uid in uids {
            let Some(victim) = found.victims.iter().find(|victim| victim.uid == uid) else {
                bail!(
                    "extender: {extender} claims to preempt pod (UID: {uid}) on node: {node}, but the pod is not found on that node"
                );
            };
            victims.push(victim.clone());
        }
        if victims.is_empty() {
            match ignorable {
                true => continue,
                false => bail!("expected at least one victim pod on node {node:?}"),
            }
        }
        let violations = member(value, "NumPDBViolations").as_u64().unwrap_or(0);
        left.push(Eviction {
            node: found.node.clone(),
            victims,
            violations: usize::try_from(violations).unwrap_or(0),
        });
    }
    Ok(left)
}
