//! `top`: what nodes and pods use, as a metrics server reports it. A cluster without one is told of plainly.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use crate::text::tabwriter::{Layout, align};
use fluyt_api::quantity::Quantity;

const API: &str = "metrics.k8s.io";

/// Display resource (CPU/memory) usage
#[derive(clap::Parser, Debug)]
#[command(after_help = "This needs a metrics server (the API metrics.k8s.io) in the cluster.

Examples:
  kubectl top node
  kubectl top pod --all-namespaces")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    of: Of,
}

#[derive(clap::Subcommand, Debug)]
enum Of {
    /// Display resource (CPU/memory) usage of nodes
    #[command(visible_aliases = ["nodes", "no"])]
    Node(Words),
    /// Display resource (CPU/memory) usage of pods
    #[command(visible_aliases = ["pods", "po"])]
    Pod(Words),
}

#[derive(clap::Args, Debug)]
struct Words {
    name: Option<String>,
    /// Selector (label query) to filter on
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// If present, list the pods of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (resource, words) = match &arguments.of {
        Of::Node(words) => ("nodes", words),
        Of::Pod(words) => ("pods", words),
    };
    let rest = context.rest().await?;
    let groups = rest.json(&Call::get("/apis")).await?;
    let group = groups.list("groups").iter().find(|group| group.name() == API);
    let Some(group) = group else {
        return Err(Failure::message("Metrics API not available"));
    };
    let mut path = format!("/apis/{}", group.text("preferredVersion.groupVersion"));
    if resource == "pods" && !words.all_namespaces {
        path.push_str(&format!("/namespaces/{}", context.namespace()?));
    }
    path.push_str(&format!("/{resource}"));
    let mut call = Call::get(path).query_opt("labelSelector", words.selector.as_deref());
    if let Some(name) = &words.name {
        call = call.query("fieldSelector", format!("metadata.name={name}"));
    }
    let list = rest.json(&call).await?;
    let mut text = String::from("NAME\tCPU(cores)\tMEMORY(bytes)\n");
    for item in list.list("items") {
        let used = match item["containers"].as_array() {
            Some(containers) => containers.iter().map(|container| &container["usage"]).collect(),
            None => vec![&item["usage"]],
        };
        let sum = |name: &str| -> f64 { used.iter().map(|usage| amount(usage.text(name))).sum() };
        let (millicores, mebibytes) = (sum("cpu") * 1000.0, sum("memory") / f64::from(1 << 20));
        text.push_str(&format!("{}\t{millicores:.0}m\t{mebibytes:.0}Mi\n", item.name()));
    }
    output::print(&align(&text, Layout::TABLE));
    Ok(())
}

/// A quantity in cores or bytes; 0 if it is none.
fn amount(text: &str) -> f64 {
    text.parse::<Quantity>().map(|quantity| quantity.as_f64()).unwrap_or_default()
}
