//! `events`: what happened in a namespace or to one object, the latest last, repeated ones in one line.

use crate::context::Context;
use crate::describe::event_age;
use crate::failure::Failure;
use crate::mapper::Mapping;
use crate::object::Object;
use crate::output;
use crate::printers::{PrintFlags, Printer};
use crate::rest::Call;
use crate::selection::{Reference, SelectorFlags, list_all};
use crate::text::tabwriter::{Layout, align_with};
use serde_json::{Value, json};

/// List events
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl events
  kubectl events --all-namespaces
  kubectl events --for pod/web-pod-13je7 --watch
  kubectl events --types=Warning,Normal")]
pub(crate) struct Arguments {
    #[command(flatten)]
    print: PrintFlags,
    /// If present, list the events of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// After listing the requested events, watch for more events
    #[arg(long, short = 'w')]
    watch: bool,
    /// Filter events to only those pertaining to the specified resource
    #[arg(long = "for", value_name = "TYPE/NAME")]
    object: Option<String>,
    /// Output only events of given types
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// When using the default output format, don't print headers
    #[arg(long)]
    no_headers: bool,
    /// Return large lists in chunks rather than all at once (accepted; always so)
    #[arg(long, hide = true)]
    chunk_size: Option<u64>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let known = |name: &String| ["normal", "warning"].contains(&name.to_lowercase().as_str());
    if !arguments.types.iter().all(known) {
        return Err(Failure::message("valid --types are Normal or Warning"));
    }
    let namespace = match arguments.all_namespaces {
        true => None,
        false => Some(context.namespace()?),
    };
    let selectors = SelectorFlags {
        field_selector: field_selector(context, arguments.object.as_deref()).await?,
        ..SelectorFlags::default()
    };
    let mapping = context.mapper().well_known("events");
    let mut sink = Sink::new(&arguments)?;
    if arguments.watch {
        return watch(context, &mapping, namespace, selectors, &mut sink).await;
    }
    let listed = list_all(context, &mapping, namespace.as_deref(), &selectors).await?;
    let mut events: Vec<Reference> = listed;
    events.retain(|event| sink.wants(&event.value));
    if events.is_empty() {
        output::error_line(match namespace {
            None => "No events found.".to_owned(),
            Some(namespace) => format!("No events found in {namespace} namespace."),
        });
        return Ok(());
    }
    events.sort_by_key(|event| last_seen(&event.value));
    sink.print(events.into_iter().map(|event| event.value).collect())
}

/// The field selector of `--for TYPE/NAME`.
async fn field_selector(context: &Context, object: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(object) = object.filter(|object| !object.is_empty()) else {
        return Ok(None);
    };
    let words: Vec<&str> = object.split('/').collect();
    let (resource, name) = match words.as_slice() {
        [_] => return Err(Failure::message("--for must be in resource/name form")),
        [resource, name] => (*resource, *name),
        _ => {
            return Err(Failure::message(
                "arguments in resource/name form may not have more than one slash",
            ));
        }
    };
    let rest = context.rest().await?;
    let mapping = context.mapper().resource(rest, resource).await?;
    Ok(Some(format!(
        "involvedObject.kind={},involvedObject.apiVersion={},involvedObject.name={name}",
        mapping.kind,
        mapping.api_version()
    )))
}

/// When an event was last seen, whichever field says it.
fn last_seen(event: &Value) -> Option<jiff::Timestamp> {
    let fields = ["series.lastObservedTime", "lastTimestamp", "eventTime"];
    let mut times = fields.iter().map(|field| event.text(field));
    times.find(|time| !time.is_empty())?.parse().ok()
}

async fn watch(
    context: &Context,
    mapping: &Mapping,
    namespace: Option<String>,
    selectors: SelectorFlags,
    sink: &mut Sink<'_>,
) -> Result<(), Failure> {
    let call = Call::get(mapping.collection(namespace.as_deref()))
        .query_opt("fieldSelector", selectors.field_selector.as_deref())
        .query("watch", "true");
    let mut lines = context.rest().await?.lines(&call).await?;
    while let Some(mut seen) = lines.next_json().await {
        let event = seen["object"].take();
        if matches!(seen.text("type"), "ADDED" | "MODIFIED") && sink.wants(&event) {
            sink.print(vec![event])?;
        }
    }
    Ok(())
}

/// Where events go: lines of a table whose columns stay, or objects.
struct Sink<'a> {
    arguments: &'a Arguments,
    printer: Option<Printer>,
    headed: bool,
    widths: Vec<usize>,
}

impl<'a> Sink<'a> {
    fn new(arguments: &'a Arguments) -> Result<Sink<'a>, Failure> {
        let human = arguments.print.output.as_deref().unwrap_or_default().is_empty();
        let printer = match human {
            true => None,
            false => Some(arguments.print.printer()?),
        };
        Ok(Sink {
            arguments,
            printer,
            headed: arguments.no_headers,
            widths: Vec::new(),
        })
    }

    fn wants(&self, event: &Value) -> bool {
        let types = &self.arguments.types;
        let of_type = |wanted: &String| wanted.eq_ignore_ascii_case(event.text("type"));
        types.is_empty() || types.iter().any(of_type)
    }

    fn print(&mut self, events: Vec<Value>) -> Result<(), Failure> {
        if let Some(printer) = &mut self.printer {
            let list = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": events});
            return match self.arguments.watch {
                true => printer.print(&list["items"][0], ""),
                false => printer.print(&list, ""),
            };
        }
        let mut text = String::new();
        if !std::mem::replace(&mut self.headed, true) {
            text.push_str(self.namespace("NAMESPACE\t"));
            text.push_str("LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n");
        }
        let now = jiff::Timestamp::now();
        for event in &events {
            let namespace = format!("{}\t", event.namespace());
            text.push_str(self.namespace(&namespace));
            text.push_str(&format!(
                "{}\t{}\t{}\t{}/{}\t{}\n",
                event_age(event, now),
                event.text("type"),
                event.text("reason"),
                event.text("involvedObject.kind"),
                event.text("involvedObject.name"),
                event.text("message").trim()
            ));
        }
        output::print(&align_with(&text, Layout::TABLE, &mut self.widths));
        Ok(())
    }

    fn namespace<'t>(&self, text: &'t str) -> &'t str {
        if self.arguments.all_namespaces { text } else { "" }
    }
}
