//! Paths: which there are for the resources of the catalogue, and the names of what can be
//! done on them. Upstream's names are kept: generated clients are built from them.

use fluyt_api::catalogue::{self, Resource, Subresource, Verb};
use fluyt_api::schema::{self, TypeId};
use serde_json::{Map, Value};

use super::operations::{
    Answer, Body, DELETE, DELETE_COLLECTION, LIST, LOG, NAME, NAMESPACE, Operation, PATCH, PRETTY,
    Parameter, REST, WRITE, of_connection,
};
use super::{Flavor, Part};

/// One path and what can be done on it.
pub(super) struct PathItem {
    pub(super) path: String,
    parameters: Vec<Parameter>,
    operations: Vec<Operation>,
    /// A type that watchers of the path receive, though no operation names it.
    watched: Option<TypeId>,
}

impl PathItem {
    pub(super) fn types(&self) -> impl Iterator<Item = TypeId> {
        self.operations
            .iter()
            .flat_map(Operation::types)
            .chain(self.watched)
    }

    pub(super) fn render(&self, flavor: Flavor) -> Value {
        let mut out = Map::new();
        for operation in &self.operations {
            out.insert(operation.method.to_owned(), operation.render(flavor));
        }
        if !self.parameters.is_empty() {
            let parameters = self
                .parameters
                .iter()
                .map(|parameter| parameter.render(flavor));
            out.insert("parameters".into(), parameters.collect());
        }
        Value::Object(out)
    }
}

/// The paths of one part of the API.
pub(super) fn of(part: Part) -> Vec<PathItem> {
    match part {
        Part::Version => vec![fixed(
            "/version/",
            "getCodeVersion",
            "version",
            "pkg.version.Info",
        )],
        Part::Api => vec![fixed(
            "/api/",
            "getCoreAPIVersions",
            "core",
            "pkg.apis.meta.v1.APIVersions",
        )],
        Part::Apis => vec![fixed(
            "/apis/",
            "getAPIVersions",
            "apis",
            "pkg.apis.meta.v1.APIGroupList",
        )],
        Part::Group(group) => vec![fixed(
            &format!("/apis/{group}/"),
            &format!("get{}APIGroup", camel(group)),
            &lower_first(&camel(group)),
            "pkg.apis.meta.v1.APIGroup",
        )],
        Part::GroupVersion(group, version) => group_version(group, version),
    }
}

fn meta(name: &str) -> TypeId {
    schema::by_name(&format!("io.k8s.apimachinery.{name}")).expect("the tables hold the meta types")
}

fn fixed(path: &str, id: &str, tag: &str, ty: &str) -> PathItem {
    PathItem {
        path: path.to_owned(),
        parameters: Vec::new(),
        operations: vec![Operation {
            method: "get",
            id: id.to_owned(),
            tag: tag.to_owned(),
            action: "",
            kind: None,
            parameters: &[],
            body: None,
            codes: &[200],
            answer: Answer::Object(meta(ty)),
        }],
        watched: None,
    }
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + chars.as_str()
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_ascii_lowercase().to_string() + chars.as_str()
    })
}

/// A group in the names of operations: `RbacAuthorization`, `Core`.
fn camel(group: &str) -> String {
    match group {
        "" => "Core".to_owned(),
        group => group
            .trim_end_matches(".k8s.io")
            .split('.')
            .map(upper_first)
            .collect(),
    }
}

fn group_version(group: &'static str, version: &'static str) -> Vec<PathItem> {
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let camel_group = camel(group);
    let tag = format!("{}_{version}", lower_first(&camel_group));
    let infix = format!("{camel_group}{}", upper_first(version));
    let mut paths = vec![fixed(
        &format!("{root}/"),
        &format!("get{infix}APIResources"),
        &tag,
        "pkg.apis.meta.v1.APIResourceList",
    )];
    for resource in catalogue::of_version(group, version) {
        let builder = Builder {
            resource,
            root: &root,
            infix: &infix,
            tag: &tag,
        };
        builder.add(&mut paths);
    }
    paths
}

/// Makes the paths of one resource.
struct Builder<'a> {
    resource: &'static Resource,
    root: &'a str,
    infix: &'a str,
    tag: &'a str,
}

/// What distinguishes one operation of a resource from the next.
struct Spec {
    method: &'static str,
    /// The first word of the name.
    word: &'static str,
    action: &'static str,
    parameters: &'static [Parameter],
    body: Option<Body>,
    codes: &'static [u16],
    answer: Answer,
}

impl Builder<'_> {
    fn add(&self, paths: &mut Vec<PathItem>) {
        let resource = self.resource;
        let plural = resource.plural;
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{}{scope}/{plural}", self.root);
        let object = format!("{collection}/{{name}}");
        if resource.namespaced && resource.has_verb(Verb::List) {
            let mut everywhere = self.operation(&self.list(), "", "ForAllNamespaces");
            everywhere.id = format!("list{}{}ForAllNamespaces", self.infix, resource.kind);
            self.push(
                paths,
                format!("{}/{plural}", self.root),
                &[PRETTY],
                vec![everywhere],
            );
        }
        let operations = self.of_verbs(&[Verb::DeleteCollection, Verb::List, Verb::Create]);
        self.push(
            paths,
            collection,
            &self.path_parameters(false, true),
            operations,
        );
        let operations = self.of_verbs(&[Verb::Delete, Verb::Get, Verb::Patch, Verb::Update]);
        self.push(
            paths,
            object.clone(),
            &self.path_parameters(true, true),
            operations,
        );
        for subresource in resource.subresources {
            self.add_subresource(paths, &object, subresource);
        }
    }

    fn push(
        &self,
        paths: &mut Vec<PathItem>,
        path: String,
        parameters: &[Parameter],
        operations: Vec<Operation>,
    ) {
        if operations.is_empty() {
            return;
        }
        let watched = self
            .resource
            .has_verb(Verb::Watch)
            .then(|| meta("pkg.apis.meta.v1.WatchEvent"));
        paths.push(PathItem {
            path,
            parameters: parameters.to_vec(),
            operations,
            watched,
        });
    }

    fn path_parameters(&self, named: bool, pretty: bool) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if named {
            parameters.push(NAME);
        }
        if self.resource.namespaced {
            parameters.push(NAMESPACE);
        }
        if pretty {
            parameters.push(PRETTY);
        }
        parameters
    }

    fn of_verbs(&self, verbs: &[Verb]) -> Vec<Operation> {
        let resource = self.resource;
        verbs
            .iter()
            .filter(|verb| resource.has_verb(**verb))
            .map(|verb| match verb {
                Verb::DeleteCollection => {
                    self.operation(&self.delete_collection(), "Collection", "")
                }
                Verb::List => self.operation(&self.list(), "", ""),
                Verb::Delete => self.operation(&self.delete(), "", ""),
                verb => self.operation(&object_spec(*verb, resource.type_id), "", ""),
            })
            .collect()
    }

    fn list(&self) -> Spec {
        let name = format!("{}List", schema::get(self.resource.type_id).name);
        Spec {
            method: "get",
            word: "list",
            action: "list",
            parameters: LIST,
            body: None,
            codes: &[200],
            answer: Answer::Object(
                schema::by_name(&name).expect("what can be listed has a list type"),
            ),
        }
    }

    fn delete(&self) -> Spec {
        let deleted = if self.resource.returns_deleted_object() {
            self.resource.type_id
        } else {
            meta("pkg.apis.meta.v1.Status")
        };
        Spec {
            method: "delete",
            word: "delete",
            action: "delete",
            parameters: DELETE,
            body: Some(Body::Options(meta("pkg.apis.meta.v1.DeleteOptions"))),
            codes: &[200, 202],
            answer: Answer::Object(deleted),
        }
    }

    fn delete_collection(&self) -> Spec {
        Spec {
            action: "deletecollection",
            parameters: DELETE_COLLECTION,
            codes: &[200],
            answer: Answer::Object(meta("pkg.apis.meta.v1.Status")),
            ..self.delete()
        }
    }

    /// `before` and `after` stand around the kind in the name of the operation.
    fn operation(&self, spec: &Spec, before: &str, after: &str) -> Operation {
        let resource = self.resource;
        let namespaced = if resource.namespaced {
            "Namespaced"
        } else {
            ""
        };
        Operation {
            method: spec.method,
            id: format!(
                "{}{}{before}{namespaced}{}{after}",
                spec.word, self.infix, resource.kind
            ),
            tag: self.tag.to_owned(),
            action: spec.action,
            kind: Some((resource.group, resource.version, resource.kind)),
            parameters: spec.parameters,
            body: spec.body,
            codes: spec.codes,
            answer: spec.answer,
        }
    }

    fn add_subresource(&self, paths: &mut Vec<PathItem>, object: &str, subresource: &Subresource) {
        let path = format!("{object}/{}", subresource.name);
        let word = upper_first(subresource.name);
        if subresource.kind.ends_with("Options") {
            let operations = self.connections(subresource, &word);
            self.push(
                paths,
                path.clone(),
                &self.path_parameters(true, false),
                operations,
            );
            if subresource.name == "proxy" {
                let operations = self.connections(subresource, &format!("{word}WithPath"));
                let mut parameters = self.path_parameters(true, false);
                parameters.push(REST);
                self.push(paths, format!("{path}/{{path}}"), &parameters, operations);
            }
            return;
        }
        let operations = subresource
            .verbs
            .iter()
            .map(|verb| {
                let mut spec =
                    object_spec(*verb, subresource.type_id.unwrap_or(self.resource.type_id));
                if subresource.name == "log" {
                    spec.parameters = LOG;
                    spec.answer = Answer::Text;
                }
                self.of_kind(&spec, subresource, "", &word)
            })
            .collect();
        self.push(paths, path, &self.path_parameters(true, true), operations);
    }

    fn of_kind(
        &self,
        spec: &Spec,
        subresource: &Subresource,
        before: &str,
        after: &str,
    ) -> Operation {
        Operation {
            kind: Some((subresource.group, subresource.version, subresource.kind)),
            ..self.operation(spec, before, after)
        }
    }

    fn connections(&self, subresource: &Subresource, word: &str) -> Vec<Operation> {
        let methods: &[&'static str] = if subresource.name == "proxy" {
            &["delete", "get", "head", "options", "patch", "post", "put"]
        } else {
            &["get", "post"]
        };
        let spec = |method| Spec {
            method,
            word: "connect",
            action: "connect",
            parameters: of_connection(subresource.name),
            body: None,
            codes: &[200],
            answer: Answer::Text,
        };
        methods
            .iter()
            .map(|method| self.of_kind(&spec(method), subresource, &upper_first(method), word))
            .collect()
    }
}

/// Reading and writing one object of a type.
fn object_spec(verb: Verb, id: TypeId) -> Spec {
    let (method, word, action, parameters, body, codes): (
        _,
        _,
        _,
        &'static [Parameter],
        _,
        &'static [u16],
    ) = match verb {
        Verb::Create => (
            "post",
            "create",
            "post",
            WRITE,
            Some(Body::Object(id)),
            &[200, 201, 202],
        ),
        Verb::Update => (
            "put",
            "replace",
            "put",
            WRITE,
            Some(Body::Object(id)),
            &[200, 201],
        ),
        Verb::Patch => {
            let patch = Body::Patch(meta("pkg.apis.meta.v1.Patch"));
            ("patch", "patch", "patch", PATCH, Some(patch), &[200, 201])
        }
        _ => ("get", "read", "get", &[], None, &[200]),
    };
    Spec {
        method,
        word,
        action,
        parameters,
        body,
        codes,
        answer: Answer::Object(id),
    }
}
