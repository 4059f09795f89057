//! Operations: what one method on one path takes and answers, and how it is written.

use fluyt_api::schema::{self, TypeId};
use serde_json::{Map, Value, json};

use super::Flavor;
use super::schemas::reference;

/// A parameter in the path or the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) ty: &'static str,
    pub(super) in_path: bool,
}

const fn query(name: &'static str, ty: &'static str) -> Parameter {
    Parameter {
        name,
        ty,
        in_path: false,
    }
}

const fn path(name: &'static str) -> Parameter {
    Parameter {
        name,
        ty: "string",
        in_path: true,
    }
}

pub(super) const NAME: Parameter = path("name");
pub(super) const NAMESPACE: Parameter = path("namespace");
pub(super) const REST: Parameter = path("path");
pub(super) const PRETTY: Parameter = query("pretty", "string");

pub(super) const WRITE: &[Parameter] = &[
    query("dryRun", "string"),
    query("fieldManager", "string"),
    query("fieldValidation", "string"),
];
pub(super) const PATCH: &[Parameter] = &[
    query("dryRun", "string"),
    query("fieldManager", "string"),
    query("fieldValidation", "string"),
    query("force", "boolean"),
];
pub(super) const LIST: &[Parameter] = &[
    query("allowWatchBookmarks", "boolean"),
    query("continue", "string"),
    query("fieldSelector", "string"),
    query("labelSelector", "string"),
    query("limit", "integer"),
    query("resourceVersion", "string"),
    query("resourceVersionMatch", "string"),
    query("sendInitialEvents", "boolean"),
    query("shardSelector", "string"),
    query("timeoutSeconds", "integer"),
    query("watch", "boolean"),
];
pub(super) const DELETE: &[Parameter] = &[
    query("dryRun", "string"),
    query("gracePeriodSeconds", "integer"),
    query(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    query("orphanDependents", "boolean"),
    query("propagationPolicy", "string"),
];
pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    query("continue", "string"),
    query("dryRun", "string"),
    query("fieldSelector", "string"),
    query("gracePeriodSeconds", "integer"),
    query(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    query("labelSelector", "string"),
    query("limit", "integer"),
    query("orphanDependents", "boolean"),
    query("propagationPolicy", "string"),
    query("resourceVersion", "string"),
    query("resourceVersionMatch", "string"),
    query("sendInitialEvents", "boolean"),
    query("shardSelector", "string"),
    query("timeoutSeconds", "integer"),
];
pub(super) const LOG: &[Parameter] = &[
    query("container", "string"),
    query("follow", "boolean"),
    query("insecureSkipTLSVerifyBackend", "boolean"),
    query("limitBytes", "integer"),
    query("previous", "boolean"),
    query("sinceSeconds", "integer"),
    query("stream", "string"),
    query("tailLines", "integer"),
    query("timestamps", "boolean"),
];
const ATTACH: &[Parameter] = &[
    query("container", "string"),
    query("stderr", "boolean"),
    query("stdin", "boolean"),
    query("stdout", "boolean"),
    query("tty", "boolean"),
];
const EXEC: &[Parameter] = &[
    query("command", "string"),
    query("container", "string"),
    query("stderr", "boolean"),
    query("stdin", "boolean"),
    query("stdout", "boolean"),
    query("tty", "boolean"),
];

const PORT_FORWARD: &[Parameter] = &[query("ports", "integer")];
const PROXY: &[Parameter] = &[query("path", "string")];

/// The parameters of a subresource that connects to something.
pub(super) fn of_connection(subresource: &str) -> &'static [Parameter] {
    match subresource {
        "attach" => ATTACH,
        "exec" => EXEC,
        "portforward" => PORT_FORWARD,
        _ => PROXY,
    }
}

impl Parameter {
    pub(super) fn render(&self, flavor: Flavor) -> Value {
        let mut out = json!({
            "name": self.name,
            "in": if self.in_path { "path" } else { "query" },
        });
        if self.in_path {
            out["required"] = json!(true);
        }
        match flavor {
            Flavor::V2 => out["type"] = json!(self.ty),
            Flavor::V3 => out["schema"] = json!({"type": self.ty}),
        }
        out
    }
}

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// An object, which must be there.
    Object(TypeId),
    /// Options, which may be there.
    Options(TypeId),
    /// A patch.
    Patch(TypeId),
}

/// What an answer carries.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Object(TypeId),
    Text,
}

/// One method on one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) action: &'static str,
    /// Group, version and kind of the objects handled; none for discovery.
    pub(super) kind: Option<(&'static str, &'static str, &'static str)>,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Body>,
    pub(super) codes: &'static [u16],
    pub(super) answer: Answer,
}

const OBJECT_MEDIA: &[&str] = &["application/json", "application/yaml"];
const PATCH_MEDIA: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The same content in each of the media types.
fn content(media: &[&str], schema: &Value) -> Value {
    let entries = media
        .iter()
        .map(|media| ((*media).to_owned(), json!({"schema": schema})));
    Value::Object(entries.collect::<Map<_, _>>())
}

impl Operation {
    /// The types that the operation names.
    pub(super) fn types(&self) -> impl Iterator<Item = TypeId> {
        let body = self.body.map(|body| match body {
            Body::Object(id) | Body::Options(id) | Body::Patch(id) => id,
        });
        let answer = match self.answer {
            Answer::Object(id) => Some(id),
            Answer::Text => None,
        };
        body.into_iter().chain(answer)
    }

    fn answer_media(&self) -> &'static [&'static str] {
        match (self.answer, self.action) {
            (Answer::Text, "connect") => &["*/*"],
            (Answer::Text, _) => &["text/plain"],
            (_, "list") => &[
                "application/json",
                "application/json;stream=watch",
                "application/yaml",
            ],
            _ => OBJECT_MEDIA,
        }
    }

    fn responses(&self, flavor: Flavor) -> Value {
        let schema = match self.answer {
            Answer::Object(id) => reference(schema::get(id).name, flavor),
            Answer::Text => json!({"type": "string"}),
        };
        let mut out = Map::new();
        for code in self.codes {
            let description = match code {
                200 => "OK",
                201 => "Created",
                _ => "Accepted",
            };
            let answer = match flavor {
                Flavor::V2 => json!({"description": description, "schema": schema}),
                Flavor::V3 => {
                    json!({"description": description, "content": content(self.answer_media(), &schema)})
                }
            };
            out.insert(code.to_string(), answer);
        }
        out.insert("401".into(), json!({"description": "Unauthorized"}));
        Value::Object(out)
    }

    /// Media types, schema and whether it must be there, of the body.
    fn body(&self, flavor: Flavor) -> Option<(&'static [&'static str], Value, bool)> {
        let (id, media, required): (_, &'static [&'static str], _) = match self.body? {
            Body::Object(id) => (id, &["*/*"], true),
            Body::Options(id) => (id, &["*/*"], false),
            Body::Patch(id) => (id, PATCH_MEDIA, true),
        };
        Some((media, reference(schema::get(id).name, flavor), required))
    }

    pub(super) fn render(&self, flavor: Flavor) -> Value {
        let mut out = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "responses": self.responses(flavor),
        });
        let mut parameters: Vec<Value> = self.parameters.iter().map(|p| p.render(flavor)).collect();
        let body = self.body(flavor);
        if flavor == Flavor::V2 {
            let consumes = body.as_ref().map_or(&["*/*"][..], |(media, _, _)| media);
            out["consumes"] = json!(consumes);
            out["produces"] = json!(self.answer_media());
            out["schemes"] = json!(["https"]);
        }
        if let Some((media, schema, required)) = body {
            let mut body = match flavor {
                Flavor::V2 => json!({"name": "body", "in": "body", "schema": schema}),
                Flavor::V3 => json!({"content": content(media, &schema)}),
            };
            if required {
                body["required"] = json!(true);
            }
            match flavor {
                Flavor::V2 => parameters.insert(0, body),
                Flavor::V3 => out["requestBody"] = body,
            }
        }
        if !parameters.is_empty() {
            out["parameters"] = Value::Array(parameters);
        }
        if let Some((group, version, kind)) = self.kind {
            out["x-kubernetes-action"] = json!(self.action);
            out["x-kubernetes-group-version-kind"] =
                json!({"group": group, "version": version, "kind": kind});
        }
        out
    }
}
