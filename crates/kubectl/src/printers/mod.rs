//! How objects are printed: the `-o` flag and one printer for each of its values.

pub(crate) mod custom_columns;
pub(crate) mod jsonpath;
pub(crate) mod table;

use crate::failure::Failure;
use crate::object::{Object, without_managed_fields};
use crate::output;
use crate::text::{gojson, goquote::quote, yaml};
use custom_columns::CustomColumns;
use jsonpath::Template;
use serde_json::Value;

const FORMATS: &str = "custom-columns,custom-columns-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,wide,yaml";

/// The flags that choose a printer.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct PrintFlags {
    /// Output format: json, yaml, name, wide, custom-columns=..., custom-columns-file=..., jsonpath=..., jsonpath-as-json=..., jsonpath-file=...
    #[arg(long, short = 'o', value_name = "FORMAT")]
    pub(crate) output: Option<String>,
    /// Template to use with -o jsonpath, -o jsonpath-file or -o custom-columns
    #[arg(long)]
    pub(crate) template: Option<String>,
    /// If true, keep the managedFields when printing objects in JSON or YAML format
    #[arg(long)]
    pub(crate) show_managed_fields: bool,
    /// If true, ignore any errors in templates when a field or map key is missing
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) allow_missing_template_keys: bool,
}

/// A way to print objects.
#[derive(Debug)]
pub(crate) enum Format {
    /// What the verb prints without `-o`; `wide` asks for more columns.
    Human {
        wide: bool,
    },
    Name,
    Json,
    Yaml,
    JsonPath {
        template: Template,
        as_json: bool,
    },
    CustomColumns(CustomColumns),
}

impl PrintFlags {
    /// What `-o` asks for.
    pub(crate) fn format(&self, no_headers: bool) -> Result<Format, Failure> {
        let output = self.output.as_deref().unwrap_or_default();
        let (name, inline) = match output.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (output, None),
        };
        let argument = inline.or_else(|| self.template.clone());
        let template = |kind: &str| {
            argument
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| {
                    Failure::message(format!("{kind} format specified but no template given"))
                })
        };
        let path = |text: &str| {
            Template::parse(text, self.allow_missing_template_keys).map_err(|error| {
                Failure::message(format!("error parsing jsonpath {text}, {error}\n"))
            })
        };
        Ok(match name {
            "" => Format::Human { wide: false },
            "wide" => Format::Human { wide: true },
            "name" => Format::Name,
            "json" => Format::Json,
            "yaml" => Format::Yaml,
            "jsonpath" | "jsonpath-as-json" => Format::JsonPath {
                template: path(&template("template")?)?,
                as_json: name == "jsonpath-as-json",
            },
            "jsonpath-file" => {
                let file = template("template")?;
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    Failure::message(format!("error reading --template {file}, {error}\n"))
                })?;
                Format::JsonPath {
                    template: path(&text)?,
                    as_json: false,
                }
            }
            "custom-columns" => Format::CustomColumns(CustomColumns::parse(
                argument.as_deref().unwrap_or_default(),
                no_headers,
            )?),
            "custom-columns-file" => {
                let file = template("custom-columns")?;
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    Failure::message(format!("error reading template {file}, {error}\n"))
                })?;
                Format::CustomColumns(CustomColumns::parse_file(&text, no_headers)?)
            }
            "go-template" | "go-template-file" | "template" | "templatefile" => {
                return Err(Failure::message(
                    "Go templates are not supported; use -o jsonpath or -o custom-columns instead",
                ));
            }
            other => {
                return Err(Failure::message(format!(
                    "unable to match a printer suitable for the output format {}, allowed formats are: {FORMATS}",
                    quote(other)
                )));
            }
        })
    }

    /// A printer of objects one after another, `outcome` without `-o`.
    pub(crate) fn printer(&self) -> Result<Printer, Failure> {
        let format = self.format(false)?;
        if matches!(format, Format::Human { wide: true }) {
            return Err(Failure::message(format!(
                "unable to match a printer suitable for the output format \"wide\", allowed formats are: {}",
                FORMATS.replace("wide,", "")
            )));
        }
        Ok(Printer {
            format,
            printed: 0,
            show_managed_fields: self.show_managed_fields,
        })
    }

    pub(crate) fn is_human(&self) -> bool {
        matches!(self.output.as_deref(), None | Some("" | "wide"))
    }
}

/// Prints objects one after another.
#[derive(Debug)]
pub(crate) struct Printer {
    format: Format,
    printed: usize,
    show_managed_fields: bool,
}

impl Printer {
    pub(crate) fn new(format: Format, show_managed_fields: bool) -> Printer {
        Printer {
            format,
            printed: 0,
            show_managed_fields,
        }
    }

    /// Prints the object, or `pod/x created` when no format was asked for.
    pub(crate) fn print(&mut self, object: &Value, outcome: &str) -> Result<(), Failure> {
        let text = self.render(object, outcome)?;
        output::print(&text);
        Ok(())
    }

    fn render(&mut self, object: &Value, outcome: &str) -> Result<String, Failure> {
        let stripped;
        let object = if self.show_managed_fields || object.at("metadata").is_null() {
            object
        } else {
            stripped = without_managed_fields(object.clone());
            &stripped
        };
        self.printed += 1;
        Ok(match &mut self.format {
            Format::Human { .. } => format!("{} {outcome}\n", display(object)),
            Format::Name => names(object),
            Format::Json => gojson::pretty(object, 4) + "\n",
            Format::Yaml if self.printed > 1 => format!("---\n{}", yaml::to_string(object)),
            Format::Yaml => yaml::to_string(object),
            Format::JsonPath { template, as_json } => {
                let render = if *as_json {
                    template.render_json(object)
                } else {
                    template.render(object)
                };
                render.map_err(|error| {
                    Failure::message(format!(
                        "error executing jsonpath {}: {error}",
                        quote(template.source())
                    ))
                })?
            }
            Format::CustomColumns(columns) => columns.render(object),
        })
    }
}

/// `pod/nginx` lines; for a list one for each item.
fn names(object: &Value) -> String {
    if object.kind().ends_with("List") && object["items"].is_array() {
        return object.list("items").iter().map(names).collect();
    }
    format!("{}\n", display(object))
}

/// `pod/nginx`, `deployment.apps/nginx`.
pub(crate) fn display(object: &Value) -> String {
    let kind = object.kind().to_lowercase();
    let name = object.name();
    let kind = match object.text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind,
    };
    if kind.is_empty() {
        format!("<unknown>/{name}")
    } else {
        format!("{kind}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(output: &str, expected: &str) {
        let flags = PrintFlags {
            output: Some(output.to_owned()),
            allow_missing_template_keys: true,
            ..PrintFlags::default()
        };
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "managedFields": []}});
        let text = flags
            .printer()
            .and_then(|mut printer| printer.render(&object, "created"));
        assert_eq!(text.unwrap_or_else(|failure| failure.render()), expected);
    }

    #[test]
    fn formats() {
        check("", "deployment.apps/x created\n");
        check("name", "deployment.apps/x\n");
        check(
            "yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n",
        );
        check("jsonpath={.metadata.name}", "x");
        check("custom-columns=N:.metadata.name", "N\nx\n");
        check(
            "jsonpath",
            "error: template format specified but no template given",
        );
    }
}
