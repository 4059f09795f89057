//! `explain`: the fields of a kind, from the server's OpenAPI v3 documents.

use crate::context::Context;
use crate::failure::Failure;
use crate::mapper::Mapping;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use crate::text::goquote::quote;
use serde_json::Value;

/// The widest line of a description, before its indentation.
const WIDTH: usize = 76;

/// Get documentation for a resource
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl explain pods
  kubectl explain pods.spec.containers
  kubectl explain deployment.spec --recursive
  kubectl explain deployments --api-version=apps/v1")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Print the fields of fields
    #[arg(long)]
    recursive: bool,
    /// Use the given api-version (group/version) of the resource
    #[arg(long)]
    api_version: Option<String>,
    /// Format in which to render the schema; only plaintext
    #[arg(long, short = 'o', default_value = "plaintext", hide = true)]
    output: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let word = match arguments.words.as_slice() {
        [word] => word.trim_end_matches('.'),
        [] => {
            return Err(Failure::message(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources.\n",
            ));
        }
        _ => {
            return Err(Failure::message("We accept only this format: explain RESOURCE\n"));
        }
    };
    let (mapping, path) = resource_and_path(context, word, arguments.api_version.as_deref()).await?;
    let root = if mapping.group.is_empty() {
        format!("/openapi/v3/api/{}", mapping.version)
    } else {
        format!("/openapi/v3/apis/{}/{}", mapping.group, mapping.version)
    };
    let document = context.rest().await?.json(&Call::get(root)).await?;
    let explainer = Explainer {
        document: &document,
        recursive: arguments.recursive,
    };
    // What is known comes before what is not.
    let mut text = String::new();
    let outcome = explainer.explain(&mapping, &path, &mut text);
    output::print(&text);
    outcome.map_err(Failure::message)
}

/// `pods.spec.containers` is a resource and a path; `deployments.apps.spec` has the group in between.
async fn resource_and_path(
    context: &Context,
    word: &str,
    api_version: Option<&str>,
) -> Result<(Mapping, Vec<String>), Failure> {
    let rest = context.rest().await?;
    let parts: Vec<&str> = word.split('.').collect();
    let mut mapping = context.mapper().resource(rest, parts[0]).await?;
    let mut path = &parts[1..];
    if !mapping.group.is_empty() && word[parts[0].len()..].starts_with(&format!(".{}", mapping.group)) {
        path = &parts[1 + mapping.group.split('.').count()..];
    }
    if let Some(api_version) = api_version {
        let found = context.mapper().kind(rest, api_version, &mapping.kind).await?;
        mapping = found.ok_or_else(|| {
            Failure::message(format!(
                "couldn't find resource for {} in {api_version}",
                quote(&mapping.plural)
            ))
        })?;
    }
    Ok((mapping, path.iter().map(|part| (*part).to_owned()).collect()))
}

struct Explainer<'a> {
    document: &'a Value,
    recursive: bool,
}

impl<'a> Explainer<'a> {
    fn explain(&self, mapping: &Mapping, path: &[String], text: &mut String) -> Result<(), String> {
        let schema = self.schema_of(mapping).ok_or_else(|| {
            format!(
                "GVR ({}/{}, Resource={}) not found in OpenAPI schema",
                mapping.group, mapping.version, mapping.plural
            )
        })?;
        if !mapping.group.is_empty() {
            text.push_str(&format!("GROUP:      {}\n", mapping.group));
        }
        text.push_str(&format!("KIND:       {}\nVERSION:    {}\n\n", mapping.kind, mapping.version));
        let mut current = schema;
        for (index, name) in path.iter().enumerate() {
            let field = self
                .field(current, name)
                .ok_or_else(|| format!("field {} does not exist", quote(name)))?;
            if index + 1 == path.len() {
                text.push_str(&format!("FIELD: {name} <{}>\n", self.type_of(field)));
                text.push_str(&enumeration(field, None));
                text.push_str("\n\n");
            }
            current = field;
        }
        text.push_str("DESCRIPTION:\n");
        let description = self.description(current);
        match description.is_empty() {
            true => text.push_str("    <empty>\n"),
            false => {
                text.push_str(&wrapped(&description, WIDTH, 4));
                text.push_str("    \n");
            }
        }
        let fields = self.fields(current, 1, &mut Vec::new());
        if !fields.is_empty() {
            text.push_str("FIELDS:\n");
            text.push_str(&fields);
        }
        text.push('\n');
        Ok(())
    }

    fn schema_of(&self, mapping: &Mapping) -> Option<&'a Value> {
        self.document["components"]["schemas"].as_object()?.values().find(|schema| {
            schema.list("x-kubernetes-group-version-kind").iter().any(|gvk| {
                gvk.text("group") == mapping.group && gvk["version"] == mapping.version && gvk["kind"] == mapping.kind
            })
        })
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            Some(name) => &self.document["components"]["schemas"][name],
            None => schema,
        }
    }

    /// The schema of a field, through references, lists and maps.
    fn field(&self, schema: &'a Value, name: &str) -> Option<&'a Value> {
        let schema = self.resolve(schema);
        if let Some(field) = schema["properties"].get(name) {
            return Some(field);
        }
        self.inner(schema).find_map(|inner| self.field(inner, name))
    }

    /// What a schema is made of: all parts, items, values.
    fn inner(&self, schema: &'a Value) -> impl Iterator<Item = &'a Value> + use<'a> {
        let additional = &schema["additionalProperties"];
        schema["allOf"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(Some(&schema["items"]).filter(|items| items.is_object()))
            .chain(Some(additional).filter(|values| values.is_object()))
    }

    fn description(&self, schema: &'a Value) -> String {
        let schema = self.resolve(schema);
        let mut text = schema.text("description").to_owned();
        if !text.is_empty() {
            text.push('\n');
        }
        for inner in self.inner(schema) {
            text.push_str(&self.description(inner));
        }
        text
    }

    fn type_of(&self, schema: &'a Value) -> String {
        let additional = &schema["additionalProperties"];
        if schema["items"].is_object() {
            return format!("[]{}", self.type_of(&schema["items"]));
        }
        if additional.is_object() {
            return format!("map[string]{}", self.type_of(additional));
        }
        if let ([only], Value::Null) = (schema.list("allOf"), &schema["properties"]) {
            return self.type_of(only);
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.resolve(schema);
            return match target.text("type") {
                "" | "object" => reference.rsplit(['/', '.']).next().unwrap_or("Object").to_owned(),
                other => other.to_owned(),
            };
        }
        match schema.text("type") {
            "" | "object" => "Object".to_owned(),
            other => other.to_owned(),
        }
    }

    fn fields(&self, schema: &'a Value, level: usize, history: &mut Vec<&'a str>) -> String {
        let reference = schema["$ref"].as_str();
        if let Some(reference) = reference {
            if history.contains(&reference) {
                return String::new();
            }
            history.push(reference);
        }
        let resolved = self.resolve(schema);
        let mut text = String::new();
        let mut names: Vec<&String> = resolved["properties"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
        names.sort();
        for name in names {
            let field = &resolved["properties"][name];
            text.push_str(&self.one_field(resolved, name, field, level));
            if self.recursive {
                text.push_str(&self.fields(field, level + 1, history));
            }
        }
        for inner in self.inner(resolved) {
            text.push_str(&self.fields(inner, level, history));
        }
        if reference.is_some() {
            history.pop();
        }
        text
    }

    fn one_field(&self, schema: &Value, name: &str, field: &'a Value, level: usize) -> String {
        let indent = level * 2;
        let required = schema.list("required").iter().any(|required| required == name);
        let mut text = format!(
            "{:indent$}{name}\t<{}>{}",
            "",
            self.type_of(field),
            if required { " -required-" } else { "" }
        );
        text.push_str(&enumeration(field, Some(indent)));
        text.push('\n');
        if !self.recursive {
            let description = match field.text("description") {
                "" => "<no description>",
                description => description,
            };
            text.push_str(&wrapped(description, 78 - indent, indent + 2));
            text.push('\n');
        }
        text
    }
}

/// The values that a field may have: all of them, or with an indentation the first few.
fn enumeration(field: &Value, indent: Option<usize>) -> String {
    let values: Vec<String> = field
        .list("enum")
        .iter()
        .map(|value| match value.as_str() {
            Some("") => "\"\"".to_owned(),
            Some(text) => text.to_owned(),
            None => value.to_string(),
        })
        .collect();
    if values.is_empty() {
        return String::new();
    }
    match indent {
        None => format!("ENUM:\n    {}", values.join("\n    ")),
        Some(indent) => {
            let more = if values.len() > 4 { ", ...." } else { "" };
            let shown = values.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
            format!("\n{:indent$}enum: {shown}{more}", "")
        }
    }
}

/// Paragraphs broken at spaces and indented; every line ends with a newline.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    for paragraph in text.trim_end_matches('\n').split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                out.push_str(&format!("{:indent$}{line}\n", ""));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(format!("{:indent$}{line}", "").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_and_types() {
        let document = json!({"components": {"schemas": {
            "x.Thing": {
                "description": "A thing.",
                "type": "object",
                "required": ["name"],
                "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Thing"}],
                "properties": {
                    "name": {"type": "string", "description": "Its name."},
                    "parts": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/x.Part"}]}},
                    "mode": {"type": "string", "enum": ["a", ""]},
                },
            },
            "x.Part": {"type": "object", "properties": {"size": {"type": "integer"}}},
        }}});
        let explainer = Explainer { document: &document, recursive: false };
        let mut mapping = crate::mapper::Mapper::default().well_known("pods");
        (mapping.group, mapping.kind) = ("g".to_owned(), "Thing".to_owned());
        let explain = |path: &[String]| {
            let mut text = String::new();
            explainer.explain(&mapping, path, &mut text).map(|()| text)
        };
        assert_eq!(
            explain(&[]).unwrap(),
            "GROUP:      g\nKIND:       Thing\nVERSION:    v1\n\nDESCRIPTION:\n    A thing.\n    \nFIELDS:\n  mode\t<string>\n  enum: a, \"\"\n    <no description>\n\n  name\t<string> -required-\n    Its name.\n\n  parts\t<[]Part>\n    <no description>\n\n\n"
        );
        let part = explain(&["parts".to_owned()]).unwrap();
        assert!(part.contains("FIELD: parts <[]Part>\n\n\n"), "{part}");
        assert!(part.contains("size\t<integer>"), "{part}");
        assert_eq!(explain(&["nothing".to_owned()]), Err("field \"nothing\" does not exist".to_owned()));
    }
}
