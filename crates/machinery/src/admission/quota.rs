//! Quota: what an object counts for, and whether a namespace has room for it.
//!
//! Invariant: usage is never negative, and an object that counts for nothing is never refused.

use std::collections::BTreeMap;

use fluyt_api::catalogue::Resource;
use fluyt_api::quantity::Quantity;
use fluyt_api::status::Status;
use serde_json::{Value, json};

use super::forbidden;
use crate::get::{Get, Put};
use crate::kinds::pod::resources;
use crate::meta;

/// Amounts by resource name.
type Amounts = BTreeMap<String, Quantity>;

fn parse(amount: &Value) -> Option<Quantity> {
    Quantity::parse(amount.as_str()?).ok()
}

fn one() -> Quantity {
    Quantity::from_milli(1000)
}

/// What an object counts for.
pub fn usage(resource: &Resource, object: &Value) -> Amounts {
    let mut used = Amounts::new();
    used.insert(format!("count/{}", resource.group_resource()), one());
    if !resource.group.is_empty() {
        return used;
    }
    match resource.plural {
        "pods" => pod_usage(object, &mut used),
        "services" => service_usage(object, &mut used),
        "persistentvolumeclaims" => {
            used.insert("persistentvolumeclaims".into(), one());
            let asked = object
                .at("spec")
                .at("resources")
                .at("requests")
                .at("storage");
            let class = object.at("spec").text("storageClassName");
            if let Some(asked) = parse(asked) {
                if !class.is_empty() {
                    let name = format!("{class}.storageclass.storage.k8s.io/requests.storage");
                    used.insert(name, asked.clone());
                }
                used.insert("requests.storage".into(), asked);
            }
        }
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => {
            used.insert(resource.plural.into(), one());
        }
        _ => {}
    }
    used
}

fn pod_usage(pod: &Value, used: &mut Amounts) {
    if matches!(pod.at("status").text("phase"), "Failed" | "Succeeded") {
        return;
    }
    used.insert("pods".into(), one());
    let spec = pod.at("spec");
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let asked = Quantity::parse(&resources::requests(spec, name));
        if let Ok(asked) = asked.map_err(drop)
            && asked.milli_value() > 0
        {
            used.insert(name.into(), asked.clone());
            used.insert(format!("requests.{name}"), asked);
        }
        let limit = spec
            .items("containers")
            .iter()
            .filter_map(|c| parse(c.at("resources").at("limits").at(name)))
            .fold(Quantity::from_milli(0), |sum, amount| sum.add(&amount));
        if limit.milli_value() > 0 {
            used.insert(format!("limits.{name}"), limit);
        }
    }
}

fn service_usage(service: &Value, used: &mut Amounts) {
    used.insert("services".into(), one());
    let spec = service.at("spec");
    let ports = spec.items("ports").len() as i64;
    match spec.text("type") {
        "NodePort" => {
            used.insert(
                "services.nodeports".into(),
                Quantity::from_milli(ports * 1000),
            );
        }
        "LoadBalancer" => {
            used.insert("services.loadbalancers".into(), one());
            if spec.flag("allocateLoadBalancerNodePorts") != Some(false) {
                used.insert(
                    "services.nodeports".into(),
                    Quantity::from_milli(ports * 1000),
                );
            }
        }
        _ => {}
    }
}

/// Whether a quota's scopes cover an object.
fn covers(quota: &Value, resource: &Resource, object: &Value) -> bool {
    let spec = quota.at("spec");
    let plain = spec.items("scopes").iter().filter_map(Value::as_str);
    let by_scope = plain.map(|scope| (scope, "Exists", &[] as &[Value]));
    let by_selector = spec
        .at("scopeSelector")
        .items("matchExpressions")
        .iter()
        .map(|r| (r.text("scopeName"), r.text("operator"), r.items("values")));
    let pods = resource.plural == "pods" && resource.group.is_empty();
    by_scope
        .chain(by_selector)
        .all(|(scope, operator, values)| pods && in_scope(scope, operator, values, object))
}

fn in_scope(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let spec = pod.at("spec");
    let best_effort = || resources::qos_class(spec) == "BestEffort";
    match scope {
        "Terminating" => spec.has("activeDeadlineSeconds"),
        "NotTerminating" => !spec.has("activeDeadlineSeconds"),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = spec.text("priorityClassName");
            let named = values.iter().any(|value| value == class);
            match operator {
                "In" => named,
                "NotIn" => !named,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => {
            let affinity = spec.at("affinity").to_string();
            affinity.contains("\"namespaces\"") || affinity.contains("\"namespaceSelector\"")
        }
        _ => false,
    }
}

/// Counts an object against the namespace's quotas; gives those that change, with their new
/// `status.used`. `old` is what the object was before, for an update.
///
/// Errors: a quota would be exceeded, or its use is not known yet.
pub fn check_quotas(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    quotas: &[Value],
) -> Result<Vec<Value>, Status> {
    let asked = usage(resource, object);
    let before = old.map(|old| usage(resource, old)).unwrap_or_default();
    let mut changed = Vec::new();
    for quota in quotas.iter().filter(|q| covers(q, resource, object)) {
        let hard = quota.at("status").at("hard");
        check_stated(resource, object, quota, old.is_none())?;
        let mut delta = Amounts::new();
        for (name, amount) in &asked {
            if !hard.has(name) {
                continue;
            }
            if !quota.at("status").at("used").has(name) {
                let quota = meta::of(quota).text("name");
                let why = format!("status unknown for quota: {quota}, resources: {name}");
                return Err(forbidden(resource, object, why));
            }
            let more = match before.get(name) {
                Some(before) => amount.sub(before),
                None => amount.clone(),
            };
            if more.milli_value() > 0 {
                delta.insert(name.clone(), more);
            }
        }
        if !delta.is_empty() {
            changed.push(charge(resource, object, quota, &delta)?);
        }
    }
    Ok(changed)
}

/// A quota on what containers ask for demands that they say.
fn check_stated(
    resource: &Resource,
    object: &Value,
    quota: &Value,
    new: bool,
) -> Result<(), Status> {
    if resource.plural != "pods" || !new {
        return Ok(());
    }
    let mut missing: Vec<String> = Vec::new();
    for (name, _) in quota.at("status").members("hard") {
        let (list, plain) = match name.split_once('.') {
            Some((list @ ("requests" | "limits"), plain)) => (list, plain),
            None if matches!(name.as_str(), "cpu" | "memory") => ("requests", name.as_str()),
            _ => continue,
        };
        if !matches!(plain, "cpu" | "memory") {
            continue;
        }
        let silent: Vec<&str> = ["containers", "initContainers"]
            .iter()
            .flat_map(|kind| object.at("spec").items(kind))
            .filter(|c| !c.at("resources").at(list).has(plain))
            .map(|c| c.text("name"))
            .collect();
        if !silent.is_empty() {
            missing.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let name = meta::of(quota).text("name");
    let why = format!("failed quota: {name}: must specify {}", missing.join("; "));
    Err(forbidden(resource, object, why))
}

fn charge(
    resource: &Resource,
    object: &Value,
    quota: &Value,
    delta: &Amounts,
) -> Result<Value, Status> {
    let (hard, used) = (quota.at("status").at("hard"), quota.at("status").at("used"));
    let mut charged = quota.clone();
    let mut exceeded: Vec<(&str, String)> = Vec::new();
    for (name, more) in delta {
        let sum = match parse(used.at(name)) {
            Some(used) => used.add(more),
            None => more.clone(),
        };
        if parse(hard.at(name)).is_some_and(|hard| sum > hard) {
            exceeded.push((name, more.to_string()));
        }
        let list = charged.open("status").open("used");
        list.put(name, json!(sum.to_string()));
    }
    if exceeded.is_empty() {
        return Ok(charged);
    }
    let list = |of: &dyn Fn(&str, &str) -> String| -> String {
        let all: Vec<String> = exceeded
            .iter()
            .map(|(name, more)| format!("{name}={}", of(name, more)))
            .collect();
        all.join(",")
    };
    let text = |list: &Value, name: &str| list.text(name).to_owned();
    Err(forbidden(
        resource,
        object,
        format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            meta::of(quota).text("name"),
            list(&|_, more| more.to_owned()),
            list(&|name, _| text(used, name)),
            list(&|name, _| text(hard, name)),
        ),
    ))
}
