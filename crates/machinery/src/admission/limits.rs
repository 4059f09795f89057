//! Limit ranges: what containers of a namespace ask for when they do not say, and the bounds.

use fluyt_api::catalogue::Resource;
use fluyt_api::quantity::Quantity;
use fluyt_api::status::Status;
use serde_json::{Map, Value, json};

use super::forbidden;
use crate::get::{Get, Put};
use crate::kinds::pod::resources;

/// Fills in what the namespace's limit ranges say about absent requests and limits.
pub fn apply_limit_defaults(pod: &mut Value, ranges: &[Value]) {
    for range in ranges {
        let (mut requests, mut limits) = (Map::new(), Map::new());
        for item in range.at("spec").items("limits") {
            if item.text("type") == "Container" {
                extend(&mut requests, item.at("defaultRequest"));
                extend(&mut limits, item.at("default"));
            }
        }
        let mut notes = Vec::new();
        let spec = pod.open("spec");
        for (list, what) in [
            ("containers", "container"),
            ("initContainers", "init container"),
        ] {
            for container in spec.items_mut(list) {
                let name = container.text("name").to_owned();
                for (field, defaults, word) in [
                    ("requests", &requests, "request"),
                    ("limits", &limits, "limit"),
                ] {
                    let set = fill(container, field, defaults);
                    if !set.is_empty() {
                        notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
                    }
                }
            }
        }
        if !notes.is_empty() {
            pod.open("metadata").open("annotations").put(
                "kubernetes.io/limit-ranger",
                format!("LimitRanger plugin set: {}", notes.join("; ")),
            );
        }
    }
}

fn extend(all: &mut Map<String, Value>, more: &Value) {
    for (name, amount) in more.as_object().into_iter().flatten() {
        all.insert(name.clone(), amount.clone());
    }
}

/// Sets what is absent; gives the names set.
fn fill(container: &mut Value, field: &str, defaults: &Map<String, Value>) -> Vec<String> {
    if defaults.is_empty() {
        return Vec::new();
    }
    let list = container.open("resources").open(field);
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if !list.has(name) {
            list.put(name, amount.clone());
            set.push(name.clone());
        }
    }
    set
}

/// Checks a pod or a claim against the namespace's limit ranges.
pub fn check_limits(resource: &Resource, object: &Value, ranges: &[Value]) -> Result<(), Status> {
    let mut found = Vec::new();
    for range in ranges {
        for item in range.at("spec").items("limits") {
            match (resource.kind, item.text("type")) {
                ("Pod", "Container") => {
                    for list in ["containers", "initContainers"] {
                        for container in object.at("spec").items(list) {
                            check_item(item, container.at("resources"), &mut found);
                        }
                    }
                }
                ("Pod", "Pod") => check_item(item, &whole(object.at("spec"), item), &mut found),
                ("PersistentVolumeClaim", "PersistentVolumeClaim") => {
                    check_claim(item, object, &mut found);
                }
                _ => {}
            }
        }
    }
    match found.len() {
        0 => Ok(()),
        1 => Err(forbidden(resource, object, &found[0])),
        _ => Err(forbidden(
            resource,
            object,
            format!("[{}]", found.join(", ")),
        )),
    }
}

/// What the pod as a whole asks for and may use, of the resources that a limit names.
fn whole(spec: &Value, item: &Value) -> Value {
    let mut requests = json!({});
    let mut limits = json!({});
    for field in ["min", "max", "maxLimitRequestRatio"] {
        for (name, _) in item.members(field) {
            let containers = spec.items("containers");
            let named = |list: &str| {
                containers
                    .iter()
                    .any(|c| c.at("resources").at(list).has(name))
            };
            if named("requests") {
                requests.put(name, resources::requests(spec, name));
            }
            if named("limits") {
                let sum = containers
                    .iter()
                    .filter_map(|c| parse(c.at("resources").at("limits").at(name)))
                    .fold(Quantity::from_milli(0), |sum, amount| sum.add(&amount));
                limits.put(name, sum.to_string());
            }
        }
    }
    json!({"requests": requests, "limits": limits})
}

fn parse(amount: &Value) -> Option<Quantity> {
    Quantity::parse(amount.as_str()?).ok()
}

fn check_item(item: &Value, resources: &Value, found: &mut Vec<String>) {
    let kind = item.text("type");
    let (requests, limits) = (resources.at("requests"), resources.at("limits"));
    let shown = |amount: &Value| amount.as_str().unwrap_or("0").to_owned();
    for (name, bound) in item.members("min") {
        let Some(least) = parse(bound) else { continue };
        let head = format!("minimum {name} usage per {kind} is {}", shown(bound));
        match parse(requests.at(name)) {
            None => found.push(format!("{head}.  No request is specified")),
            Some(asked) if asked < least => found.push(format!(
                "{head}, but request is {}",
                shown(requests.at(name))
            )),
            Some(_) => {
                if parse(limits.at(name)).is_some_and(|limit| limit < least) {
                    found.push(format!("{head}, but limit is {}", shown(limits.at(name))));
                }
            }
        }
    }
    for (name, bound) in item.members("max") {
        let Some(most) = parse(bound) else { continue };
        let head = format!("maximum {name} usage per {kind} is {}", shown(bound));
        match parse(limits.at(name)) {
            None => found.push(format!("{head}.  No limit is specified")),
            Some(limit) if limit > most => {
                found.push(format!("{head}, but limit is {}", shown(limits.at(name))));
            }
            Some(_) => {
                if parse(requests.at(name)).is_some_and(|asked| asked > most) {
                    found.push(format!(
                        "{head}, but request is {}",
                        shown(requests.at(name))
                    ));
                }
            }
        }
    }
    for (name, bound) in item.members("maxLimitRequestRatio") {
        check_ratio(kind, name, bound, requests, limits, found);
    }
}

fn check_ratio(
    kind: &str,
    name: &str,
    bound: &Value,
    requests: &Value,
    limits: &Value,
    found: &mut Vec<String>,
) {
    let Some(most) = parse(bound) else { return };
    let shown = bound.as_str().unwrap_or("0");
    let head = format!("{name} max limit to request ratio per {kind} is {shown}");
    let milli = |amount: &Value| parse(amount).map_or(0, |quantity| quantity.milli_value());
    let (asked, limit) = (milli(requests.at(name)), milli(limits.at(name)));
    if asked == 0 {
        found.push(format!(
            "{head}, but no request is specified or request is 0"
        ));
    } else if limit == 0 {
        found.push(format!("{head}, but no limit is specified or limit is 0"));
    } else {
        let ratio = limit as f64 / asked as f64;
        if ratio * 1000.0 > most.milli_value() as f64 {
            found.push(format!("{head}, but provided ratio is {ratio:.6}"));
        }
    }
}

fn check_claim(item: &Value, claim: &Value, found: &mut Vec<String>) {
    let resources = claim.at("spec").at("resources");
    let asked = resources.at("requests").at("storage");
    let kind = "PersistentVolumeClaim";
    let text = asked.as_str().unwrap_or("0");
    let Some(amount) = parse(asked) else {
        return;
    };
    if let Some(least) = parse(item.at("min").at("storage"))
        && amount < least
    {
        found.push(format!(
            "minimum storage usage per {kind} is {least}, but request is {text}"
        ));
    }
    if let Some(most) = parse(item.at("max").at("storage"))
        && amount > most
    {
        found.push(format!(
            "maximum storage usage per {kind} is {most}, but request is {text}"
        ));
    }
}
