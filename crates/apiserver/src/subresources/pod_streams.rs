//! Logs, exec, attach and port-forward: found out here, served by the pod's kubelet.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use serde_json::Value;

use crate::dispatch::{Answer, Request};
use crate::http::respond;
use crate::kubelet::{Forward, Node};
use crate::stored;

/// Parameters of a log request that are the kubelet's business.
const LOG_PARAMETERS: [&str; 8] = [
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
];

pub(crate) async fn log(request: Request, resource: &'static Resource) -> Answer {
    let pod = pod(&request, resource).await?;
    check_log_options(&request)?;
    let container = container(&pod, &request)?;
    let Some(node) = node_name(&pod) else {
        // Nothing has run yet.
        return Ok(respond::text(http::StatusCode::OK, ""));
    };
    let query: Vec<(&str, &str)> = LOG_PARAMETERS
        .iter()
        .filter_map(|name| Some((*name, request.query.non_empty(name)?)))
        .collect();
    let target = with_query(&path("containerLogs", &request, Some(&container)), &query);
    let backend = Node::backend(&request.core, &node).await?;
    let forward = Forward {
        target,
        errors_as_status: true,
    };
    backend.forward(request, forward).await
}

/// `exec` and `attach`.
pub(crate) async fn exec(
    request: Request,
    resource: &'static Resource,
    kind: &'static str,
) -> Answer {
    let pod = pod(&request, resource).await?;
    let streams = ["stdin", "stdout", "stderr"];
    if !streams.iter().any(|stream| request.query.flag(stream)) {
        return Err(Status::bad_request(
            "you must specify at least one of stdin, stdout, stderr",
        ));
    }
    if request.query.flag("tty") && request.query.flag("stderr") {
        return Err(Status::bad_request("tty and stderr cannot both be true"));
    }
    if kind == "exec" && request.query.all("command").next().is_none() {
        return Err(Status::bad_request("you must specify command for exec"));
    }
    let container = container(&pod, &request)?;
    let node = assigned(&pod, &request)?;
    let mut query: Vec<(&str, &str)> = Vec::new();
    // The kubelet's names for the API's parameters.
    for (ours, theirs) in [
        ("stdin", "input"),
        ("stdout", "output"),
        ("stderr", "error"),
        ("tty", "tty"),
    ] {
        if request.query.flag(ours) {
            query.push((theirs, "1"));
        }
    }
    if kind == "exec" {
        for word in request.query.all("command") {
            query.push(("command", word));
        }
    }
    let target = with_query(&path(kind, &request, Some(&container)), &query);
    let backend = Node::backend(&request.core, &node).await?;
    let forward = Forward {
        target,
        errors_as_status: false,
    };
    backend.forward(request, forward).await
}

pub(crate) async fn port_forward(request: Request, resource: &'static Resource) -> Answer {
    let pod = pod(&request, resource).await?;
    let node = assigned(&pod, &request)?;
    let query: Vec<(&str, &str)> = request
        .query
        .all("ports")
        .flat_map(|ports| ports.split(','))
        .map(|port| ("port", port))
        .collect();
    let target = with_query(&path("portForward", &request, None), &query);
    let backend = Node::backend(&request.core, &node).await?;
    let forward = Forward {
        target,
        errors_as_status: false,
    };
    backend.forward(request, forward).await
}

async fn pod(request: &Request, resource: &Resource) -> Result<Value, Status> {
    let info = &request.info;
    let store = &*request.core.store;
    Ok(
        stored::require(store, resource, &info.namespace, &info.name)
            .await?
            .0,
    )
}

fn node_name(pod: &Value) -> Option<String> {
    pod["spec"]["nodeName"]
        .as_str()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

fn assigned(pod: &Value, request: &Request) -> Result<String, Status> {
    node_name(pod).ok_or_else(|| {
        Status::bad_request(format!(
            "pod {} does not have a host assigned",
            request.info.name
        ))
    })
}

fn path(kind: &str, request: &Request, container: Option<&str>) -> String {
    let info = &request.info;
    match container {
        Some(container) => format!("/{kind}/{}/{}/{container}", info.namespace, info.name),
        None => format!("/{kind}/{}/{}", info.namespace, info.name),
    }
}

fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query);
    format!("{path}?{}", text.finish())
}

fn check_log_options(request: &Request) -> Result<(), Status> {
    let query = &request.query;
    let mut wrong: Option<(&str, String)> = None;
    for name in ["sinceSeconds", "tailLines", "limitBytes"] {
        let Some(text) = query.non_empty(name) else {
            continue;
        };
        let least = if name == "tailLines" { 0 } else { 1 };
        match text.parse::<i64>() {
            Ok(number) if number >= least => {}
            Ok(number) => {
                let detail = format!("must be greater than {}", least - 1);
                let detail = if least == 0 {
                    "must be greater than or equal to 0".to_owned()
                } else {
                    detail
                };
                wrong = Some((name, format!("Invalid value: {number}: {detail}")));
            }
            Err(_) => {
                return Err(Status::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                )));
            }
        }
    }
    if query.non_empty("sinceSeconds").is_some() && query.non_empty("sinceTime").is_some() {
        wrong = Some((
            "sinceSeconds",
            "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned(),
        ));
    }
    match wrong {
        None => Ok(()),
        Some((field, text)) => Err(Status {
            code: 422,
            reason: "Invalid",
            message: format!(
                "PodLogOptions {:?} is invalid: {field}: {text}",
                request.info.name
            ),
            details: None,
        }),
    }
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    pod["spec"][list]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

/// The container that is asked for, or the only one.
fn container(pod: &Value, request: &Request) -> Result<String, Status> {
    let pod_name = &request.info.name;
    let (main, init, ephemeral) = (
        names(pod, "containers"),
        names(pod, "initContainers"),
        names(pod, "ephemeralContainers"),
    );
    if let Some(wanted) = request.query.non_empty("container") {
        let known = main
            .iter()
            .chain(&init)
            .chain(&ephemeral)
            .any(|name| *name == wanted);
        if !known {
            return Err(Status::bad_request(format!(
                "container {wanted} is not valid for pod {pod_name}"
            )));
        }
        return Ok(wanted.to_owned());
    }
    match main.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Status::bad_request(format!(
            "a container name must be specified for pod {pod_name}"
        ))),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                main.join(" ")
            );
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            if !ephemeral.is_empty() {
                let list = ephemeral.join(" ");
                message += &format!(" or one of the ephemeral containers: [{list}]");
            }
            Err(Status::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_listed_by_kind() {
        let pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}],
        }});
        assert_eq!(names(&pod, "containers"), ["a", "b"]);
        assert_eq!(names(&pod, "initContainers"), ["i"]);
        assert!(names(&pod, "ephemeralContainers").is_empty());
        assert_eq!(with_query("/a", &[]), "/a");
        assert_eq!(with_query("/a", &[("b", "c d")]), "/a?b=c+d");
    }
}
