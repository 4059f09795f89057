//! What a request asks for, read off its method, path and query: the input of authorization and routing.
//! Invariant: a path that does not follow the API's grammar is a non-resource request, never an error.

use http::Method;

use super::query::Query;

/// The parts of a request, as the authorizers and handlers see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    pub(crate) is_resource: bool,
    /// "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"; for non-resource
    /// requests the method in lower case.
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
    /// What follows the subresource: the path behind `proxy`.
    pub(crate) rest: String,
}

impl RequestInfo {
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut info = RequestInfo {
            verb: method_name(method),
            path: path.to_owned(),
            ..Default::default()
        };
        let mut segments = path
            .trim_matches('/')
            .split('/')
            .filter(|segment| !segment.is_empty());
        match segments.next() {
            Some("api") => {}
            Some("apis") => match segments.next() {
                Some(group) => info.group = decode(group),
                None => return info,
            },
            _ => return info,
        }
        let Some(version) = segments.next() else {
            return info;
        };
        info.version = decode(version);
        let mut rest: Vec<&str> = segments.collect();
        if rest.is_empty() {
            return info;
        }
        info.is_resource = true;
        let mut watch = false;
        if rest[0] == "watch" && rest.len() > 1 {
            watch = true;
            rest.remove(0);
        }
        info.fill(&rest);
        info.verb = info.resource_verb(method, query, watch);
        info
    }

    /// Reads namespace, resource, name and subresource off what follows the version.
    fn fill(&mut self, parts: &[&str]) {
        let mut parts = parts;
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace = decode(parts[1]);
            let own = parts.len() == 3 && matches!(parts[2], "status" | "finalize");
            if parts.len() > 2 && !own {
                parts = &parts[2..];
            }
        }
        self.resource = decode(parts[0]);
        if let Some(name) = parts.get(1) {
            self.name = decode(name);
        }
        if let Some(subresource) = parts.get(2) {
            self.subresource = decode(subresource);
        }
        if parts.len() > 3 {
            self.rest = parts[3..].join("/");
        }
    }

    fn resource_verb(&mut self, method: &Method, query: &Query, watch: bool) -> &'static str {
        match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            Method::GET | Method::HEAD => {
                let wants_watch = watch || query.flag("watch");
                if watch {
                    return "watch";
                }
                if !self.name.is_empty() {
                    return "get";
                }
                if let Some(name) = query.get("fieldSelector").and_then(named_by_selector) {
                    self.name = name;
                }
                if wants_watch { "watch" } else { "list" }
            }
            _ => method_name(method),
        }
    }

    pub(crate) fn is_mutating(&self) -> bool {
        matches!(
            self.verb,
            "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put"
        )
    }

    /// Requests that last as long as the client likes, and count against no limit.
    pub(crate) fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || matches!(
                self.subresource.as_str(),
                "proxy" | "attach" | "exec" | "log" | "portforward"
            )
    }

    /// `pods.apps` style group-resource, as messages name it.
    pub(crate) fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// `metadata.name=x` (alone or among others): authorization by name works for lists of one object.
fn named_by_selector(selector: &str) -> Option<String> {
    selector.split(',').find_map(|requirement| {
        let value = requirement.strip_prefix("metadata.name=")?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, uri: &str, expected: [&str; 7]) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = RequestInfo::parse(&method, path, &Query::parse(Some(query)));
        assert_eq!(
            [
                info.verb,
                &info.group,
                &info.version,
                &info.namespace,
                &info.resource,
                &info.name,
                &info.subresource
            ],
            expected,
            "{uri}"
        );
    }

    #[test]
    fn follows_the_path_grammar() {
        let get = Method::GET;
        check(
            get.clone(),
            "/api/v1/pods",
            ["list", "", "v1", "", "pods", "", ""],
        );
        check(
            get.clone(),
            "/api/v1/pods?watch=true",
            ["watch", "", "v1", "", "pods", "", ""],
        );
        check(
            get.clone(),
            "/api/v1/watch/namespaces/a/pods",
            ["watch", "", "v1", "a", "pods", "", ""],
        );
        check(
            get.clone(),
            "/api/v1/namespaces",
            ["list", "", "v1", "", "namespaces", "", ""],
        );
        check(
            get.clone(),
            "/api/v1/namespaces/a",
            ["get", "", "v1", "a", "namespaces", "a", ""],
        );
        check(
            Method::PUT,
            "/api/v1/namespaces/a/finalize",
            ["update", "", "v1", "a", "namespaces", "a", "finalize"],
        );
        check(
            get.clone(),
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            ["get", "apps", "v1", "a", "deployments", "d", "scale"],
        );
        check(
            Method::DELETE,
            "/apis/apps/v1/namespaces/a/deployments",
            ["deletecollection", "apps", "v1", "a", "deployments", "", ""],
        );
        check(
            get.clone(),
            "/api/v1/pods?fieldSelector=metadata.name%3Dx",
            ["list", "", "v1", "", "pods", "x", ""],
        );
        check(
            get.clone(),
            "/apis/apps",
            ["get", "apps", "", "", "", "", ""],
        );
        check(get, "/healthz", ["get", "", "", "", "", "", ""]);
    }
}
