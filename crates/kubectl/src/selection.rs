//! Which objects a command line means: TYPE NAME, TYPE/NAME, TYPE,TYPE, selectors, `--all`, manifests.
//! Resolving says what to ask for; fetching asks. Verbs that act on many go on after an error.

use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::{self, FileFlags};
use crate::mapper::Mapping;
use crate::object::Object;
use crate::rest::Call;
use crate::text::goquote::quote;
use serde_json::Value;

/// The flags by which most verbs choose.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct SelectorFlags {
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'
    #[arg(long, short = 'l', value_name = "QUERY")]
    pub(crate) selector: Option<String>,
    /// Selector (field query) to filter on, supports '=', '==', and '!='
    #[arg(long, value_name = "QUERY")]
    pub(crate) field_selector: Option<String>,
    /// If present, list the requested object(s) across all namespaces
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
}

/// What a command line says about objects.
#[derive(Default)]
pub(crate) struct Choice<'a> {
    pub(crate) words: &'a [String],
    pub(crate) files: FileFlags,
    pub(crate) selectors: SelectorFlags,
    /// `--all`.
    pub(crate) all: bool,
    /// A type alone means all of them.
    pub(crate) type_alone: bool,
    /// The type when only names are given.
    pub(crate) default_type: Option<&'static str>,
}

/// What to ask the server for.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    One(Reference),
    /// All objects of a type that the selectors match.
    List {
        mapping: Mapping,
        namespace: Option<String>,
    },
}

/// One named object; `value` when it came with a manifest or has been fetched.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) mapping: Mapping,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) source: Option<String>,
}

impl SelectorFlags {
    /// A refusal of a list says what was looked for.
    pub(crate) fn not_listed(&self, mapping: &Mapping, failure: Failure) -> Failure {
        let Failure::Api(mut error) = failure else {
            return failure;
        };
        if matches!(&*error.reason, "BadRequest" | "NotFound") {
            let (labels, fields) = (self.selector.as_deref(), self.field_selector.as_deref());
            let what = format!(
                "{}/{}, Resource={}",
                mapping.group, mapping.version, mapping.plural
            );
            let doing = match (labels, fields) {
                (None, None) => format!("Unable to list {}", quote(&what)),
                (labels, fields) => format!(
                    "Unable to find {} that match label selector {}, field selector {}",
                    quote(&what),
                    quote(labels.unwrap_or_default()),
                    quote(fields.unwrap_or_default())
                ),
            };
            error.message = format!("{doing}: {}", error.message);
        }
        Failure::Api(error)
    }
}

impl Reference {
    /// The path of its requests.
    pub(crate) fn path(&self) -> String {
        self.mapping.path(self.namespace.as_deref(), &self.name)
    }

    /// `pod/nginx`, `deployment.apps/nginx`.
    pub(crate) fn display(&self) -> String {
        format!("{}/{}", self.mapping.kind_prefix(), self.name)
    }

    /// `pods/nginx`, `deployments/nginx`: by resource, as some messages name it.
    pub(crate) fn display_plural(&self) -> String {
        format!("{}/{}", self.mapping.plural, self.name)
    }

    /// `pods "nginx"`, as some messages name it.
    pub(crate) fn quoted(&self) -> String {
        format!("{} {}", self.mapping.group_resource(), quote(&self.name))
    }

    pub(crate) fn with_value(mut self, value: Value) -> Reference {
        self.value = value;
        self
    }
}

impl Choice<'_> {
    /// Turns words and files into targets, without asking for any object.
    pub(crate) async fn resolve(&self, context: &Context) -> Result<Vec<Target>, Failure> {
        if !self.files.is_empty() {
            if !self.words.is_empty() {
                return Err(Failure::message(
                    "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
                ));
            }
            return self.in_files(context).await;
        }
        if self.words.is_empty() {
            return Err(Failure::message(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
            ));
        }
        let slashes = self.words.iter().filter(|word| word.contains('/')).count();
        if slashes == self.words.len() {
            return self.of_pairs(context, self.words).await;
        }
        if slashes > 0 {
            return Err(Failure::message(
                "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'",
            ));
        }
        let (types, names) = match self.default_type {
            Some(default) => (default.to_owned(), self.words),
            None => (self.words[0].clone(), &self.words[1..]),
        };
        self.of_types(context, &types, names).await
    }

    /// All objects; with `fetch`, those of manifests are read from the server too. Errors come beside
    /// what was found.
    pub(crate) async fn objects(
        &self,
        context: &Context,
        fetch: bool,
    ) -> Result<(Vec<Reference>, Vec<Failure>), Failure> {
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for target in self.resolve(context).await? {
            match target {
                Target::One(reference) if !fetch => found.push(reference),
                Target::One(reference) => match fetch_one(context, reference).await {
                    Ok(reference) => found.push(reference),
                    Err(failure @ Failure::Transport { .. }) => return Err(failure),
                    Err(failure) => failures.push(failure),
                },
                Target::List { mapping, namespace } => {
                    match list_all(context, &mapping, namespace.as_deref(), &self.selectors).await {
                        Ok(references) => found.extend(references),
                        Err(failure @ Failure::Transport { .. }) => return Err(failure),
                        Err(failure) => failures.push(self.selectors.not_listed(&mapping, failure)),
                    }
                }
            }
        }
        Ok((found, failures))
    }

    async fn in_files(&self, context: &Context) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        for manifest in manifests::read(&self.files)? {
            targets.push(Target::One(
                of_manifest(context, manifest.value, Some(manifest.source)).await?,
            ));
        }
        Ok(targets)
    }

    async fn of_pairs(&self, context: &Context, words: &[String]) -> Result<Vec<Target>, Failure> {
        if self.selects() {
            return Err(Failure::message(
                "selectors and the all flag cannot be used when passing resource/name arguments",
            ));
        }
        let mut targets = Vec::new();
        for word in words {
            let mut parts = word.split('/');
            let (Some(kind), Some(name), None) = (parts.next(), parts.next(), parts.next()) else {
                return Err(Failure::message(
                    "arguments in resource/name form may not have more than one slash",
                ));
            };
            if kind.is_empty() || name.is_empty() || kind.contains(',') {
                return Err(Failure::message(
                    "arguments in resource/name form must have a single resource and name",
                ));
            }
            let mapping = context
                .mapper()
                .resource(context.rest().await?, kind)
                .await?;
            targets.push(self.one(context, mapping, name)?);
        }
        Ok(targets)
    }

    async fn of_types(
        &self,
        context: &Context,
        types: &str,
        names: &[String],
    ) -> Result<Vec<Target>, Failure> {
        let rest = context.rest().await?;
        let mut mappings = Vec::new();
        for word in types.split(',').filter(|word| !word.is_empty()) {
            let members = context.mapper().category(rest, word).await?;
            if members.is_empty() {
                mappings.push(context.mapper().resource(rest, word).await?);
            } else {
                mappings.extend(members);
            }
        }
        if names.is_empty() {
            if !self.selects() && !self.type_alone {
                return Err(Failure::message(
                    "resource(s) were provided, but no name was specified",
                ));
            }
            return mappings
                .into_iter()
                .map(|mapping| {
                    let namespace = self.list_namespace(context, &mapping)?;
                    Ok(Target::List { mapping, namespace })
                })
                .collect();
        }
        if self.selects() {
            return Err(Failure::message(
                "name cannot be provided when a selector is specified",
            ));
        }
        let mut targets = Vec::new();
        for mapping in &mappings {
            for name in names {
                targets.push(self.one(context, mapping.clone(), name)?);
            }
        }
        Ok(targets)
    }

    fn one(&self, context: &Context, mapping: Mapping, name: &str) -> Result<Target, Failure> {
        if self.selectors.all_namespaces && mapping.namespaced {
            return Err(Failure::message(
                "a resource cannot be retrieved by name across all namespaces",
            ));
        }
        let namespace = mapping
            .namespaced
            .then(|| context.namespace())
            .transpose()?;
        Ok(Target::One(Reference {
            mapping,
            namespace,
            name: name.to_owned(),
            value: Value::Null,
            source: None,
        }))
    }

    fn selects(&self) -> bool {
        self.all || self.selectors.selector.is_some() || self.selectors.field_selector.is_some()
    }

    fn list_namespace(
        &self,
        context: &Context,
        mapping: &Mapping,
    ) -> Result<Option<String>, Failure> {
        if self.selectors.all_namespaces || !mapping.namespaced {
            return Ok(None);
        }
        context.namespace().map(Some)
    }
}

/// The object of a manifest: its resource is found, its namespace filled in or compared with `-n`.
pub(crate) async fn of_manifest(
    context: &Context,
    mut value: Value,
    source: Option<String>,
) -> Result<Reference, Failure> {
    let api_version = value.text("apiVersion").to_owned();
    let kind = value.kind().to_owned();
    let rest = context.rest().await?;
    let mapping = context
        .mapper()
        .kind(rest, &api_version, &kind)
        .await?
        .ok_or_else(|| no_match(&value, source.as_deref()))?;
    let mut namespace = None;
    if mapping.namespaced {
        let wanted = context.namespace()?;
        let given = value.namespace().to_owned();
        if !given.is_empty()
            && context
                .explicit_namespace()
                .is_some_and(|explicit| explicit != given)
        {
            return Err(Failure::message(format!(
                "the namespace from the provided object {} does not match the namespace {}. You must pass '--namespace={given}' to perform this operation.",
                quote(&given),
                quote(&wanted)
            )));
        }
        let chosen = if given.is_empty() { wanted } else { given };
        value["metadata"]["namespace"] = Value::String(chosen.clone());
        namespace = Some(chosen);
    }
    Ok(Reference {
        mapping,
        namespace,
        name: value.name().to_owned(),
        value,
        source,
    })
}

fn no_match(value: &Value, source: Option<&str>) -> Failure {
    let text = format!(
        "resource mapping not found for name: {} namespace: {} from {}: no matches for kind {} in version {}\nensure CRDs are installed first",
        quote(value.name()),
        quote(value.namespace()),
        quote(source.unwrap_or_default()),
        quote(value.kind()),
        quote(value.text("apiVersion"))
    );
    Failure::message(text)
}

/// Reads the newest state of a named object.
pub(crate) async fn fetch_one(
    context: &Context,
    reference: Reference,
) -> Result<Reference, Failure> {
    let value = context
        .rest()
        .await?
        .json(&Call::get(reference.path()))
        .await?;
    Ok(reference.with_value(value))
}

/// Lists a collection to its end, page by page.
pub(crate) async fn list_all(
    context: &Context,
    mapping: &Mapping,
    namespace: Option<&str>,
    selectors: &SelectorFlags,
) -> Result<Vec<Reference>, Failure> {
    let rest = context.rest().await?;
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let call = Call::get(mapping.collection(namespace))
            .query_opt("labelSelector", selectors.selector.as_deref())
            .query_opt("fieldSelector", selectors.field_selector.as_deref())
            .query("limit", "500")
            .query_opt("continue", Some(&token));
        let mut list = rest.json(&call).await?;
        let item_kind = list.kind().trim_end_matches("List").to_owned();
        let api_version = list["apiVersion"].clone();
        token = list.text("metadata.continue").to_owned();
        let items = list["items"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        for mut value in items {
            if value["kind"].is_null() {
                value["kind"] = Value::String(item_kind.clone());
                value["apiVersion"] = api_version.clone();
            }
            let namespace = value.namespace().to_owned();
            found.push(Reference {
                mapping: mapping.clone(),
                namespace: mapping.namespaced.then_some(namespace),
                name: value.name().to_owned(),
                value,
                source: None,
            });
        }
        if token.is_empty() {
            return Ok(found);
        }
    }
}

/// A label query of the command line.
pub(crate) fn parse_selector(text: &str) -> Result<fluyt_api::selector::LabelSelector, Failure> {
    fluyt_api::selector::LabelSelector::parse(text).map_err(|error| {
        Failure::message(format!(
            "the provided selector {} is not valid: {error}",
            quote(text)
        ))
    })
}

/// Whether the labels of an object match.
pub(crate) fn matches(selector: &fluyt_api::selector::LabelSelector, object: &Value) -> bool {
    match object.at("metadata.labels").as_object() {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&serde_json::Map::new()),
    }
}
