//! `api-resources`: what the server serves, from its discovery.

use crate::context::Context;
use crate::failure::Failure;
use crate::mapper::Mapping;
use crate::output;
use crate::text::tabwriter::{Layout, align};

/// Print the supported API resources on the server
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl api-resources
  kubectl api-resources --namespaced=true -o wide
  kubectl api-resources --api-group=rbac.authorization.k8s.io -o name")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Limit to resources in the specified API group
    #[arg(long)]
    api_group: Option<String>,
    /// If false, non-namespaced resources will be returned, otherwise namespaced ones
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
    /// Limit to resources that support the specified verbs
    #[arg(long, value_delimiter = ',')]
    verbs: Vec<String>,
    /// Limit to resources that belong to the specified categories
    #[arg(long, value_delimiter = ',')]
    categories: Vec<String>,
    /// If non-empty, sort the list by name or kind
    #[arg(long)]
    sort_by: Option<String>,
    /// Output format: wide or name
    #[arg(long, short = 'o', default_value = "", hide_default_value = true)]
    output: String,
    /// Don't print headers
    #[arg(long)]
    no_headers: bool,
    /// Use the cached list of resources if available (accepted; nothing is cached)
    #[arg(long, hide = true)]
    cached: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if !arguments.words.is_empty() {
        return Err(Failure::usage(
            "api-resources",
            format!("unexpected arguments: [{}]", arguments.words.join(" ")),
        ));
    }
    if !matches!(arguments.output.as_str(), "" | "wide" | "name") {
        return Err(Failure::message(format!(
            "--output {} is not available",
            arguments.output
        )));
    }
    let mut shown: Vec<&Mapping> = Vec::new();
    for mapping in context.mapper().discovered(context.rest().await?).await? {
        let known = shown.iter().any(|other| other.group_resource() == mapping.group_resource());
        if !known && !mapping.verbs.is_empty() && is_wanted(&arguments, mapping) {
            shown.push(mapping);
        }
    }
    match arguments.sort_by.as_deref() {
        None | Some("") => shown.sort_by_key(|mapping| (mapping.group.clone(), mapping.plural.clone())),
        Some("name") => shown.sort_by_key(|mapping| mapping.plural.clone()),
        Some("kind") => shown.sort_by_key(|mapping| mapping.kind.clone()),
        Some(_) => return Err(Failure::message("--sort-by accepts only name or kind")),
    }
    output::print(&render(&arguments, &shown));
    Ok(())
}

fn is_wanted(arguments: &Arguments, mapping: &Mapping) -> bool {
    arguments.api_group.as_ref().is_none_or(|group| *group == mapping.group)
        && arguments.namespaced.is_none_or(|namespaced| namespaced == mapping.namespaced)
        && arguments.verbs.iter().all(|verb| mapping.verbs.contains(verb))
        && arguments.categories.iter().all(|category| mapping.categories.contains(category))
}

fn render(arguments: &Arguments, mappings: &[&Mapping]) -> String {
    if arguments.output == "name" {
        return mappings.iter().map(|mapping| mapping.group_resource() + "\n").collect();
    }
    let wide = arguments.output == "wide";
    let mut text = String::new();
    if !arguments.no_headers {
        text.push_str("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
        text.push_str(if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" });
    }
    for mapping in mappings {
        text.push_str(&format!(
            "{}\t{}\t{}\t{}\t{}",
            mapping.plural,
            mapping.short_names.join(","),
            mapping.api_version(),
            mapping.namespaced,
            mapping.kind
        ));
        if wide {
            text.push_str(&format!("\t{}\t{}", mapping.verbs.join(","), mapping.categories.join(",")));
        }
        text.push('\n');
    }
    align(&text, Layout::TABLE)
}
