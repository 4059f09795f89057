//! `get`: tables that the server makes, or the objects themselves with `-o`; lists, names and watches.

use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::mapper::Mapping;
use crate::object::Object;
use crate::output;
use crate::printers::jsonpath::{Template, compare};
use crate::printers::table::{TableOptions, TablePrinter};
use crate::printers::{Format, PrintFlags, Printer};
use crate::rest::{Call, JSON, TABLE};
use crate::selection::{Choice, SelectorFlags, Target};
use crate::text::tabwriter::{Layout, align_with};
use serde_json::{Value, json};

/// Display one or many resources
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl get pods
  kubectl get pods -o wide
  kubectl get deployment web -o yaml
  kubectl get -f pod.yaml -o json
  kubectl get rc,services
  kubectl get pod web -o jsonpath='{.status.phase}'")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    #[command(flatten)]
    print: PrintFlags,
    /// After listing/getting the requested object, watch for changes
    #[arg(long, short = 'w')]
    watch: bool,
    /// Watch for changes without listing/getting first
    #[arg(long)]
    watch_only: bool,
    /// Output watch event objects when --watch or --watch-only is used
    #[arg(long)]
    output_watch_events: bool,
    /// Don't print headers
    #[arg(long)]
    no_headers: bool,
    /// Show all labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// If present, list the resource type for the requested object(s)
    #[arg(long)]
    show_kind: bool,
    /// Labels that are going to be presented as columns
    #[arg(long, short = 'L', value_delimiter = ',')]
    label_columns: Vec<String>,
    /// Sort list types using this field specification, a JSONPath expression
    #[arg(long)]
    sort_by: Option<String>,
    /// Suppress the error when a named object does not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Return large lists in chunks rather than all at once; 0 to disable
    #[arg(long, default_value_t = 500)]
    chunk_size: u64,
    /// Raw URI to request from the server
    #[arg(long)]
    raw: Option<String>,
    /// Get the subresource of the requested object
    #[arg(long)]
    subresource: Option<String>,
    /// Have the server return the table (accepted; tables are always the server's)
    #[arg(long, hide = true, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    server_print: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.raw {
        if !arguments.words.is_empty() {
            let text = "arguments may not be passed when --raw is specified";
            return Err(Failure::message(text));
        }
        let bytes = context.rest().await?.bytes(&Call::get(path.clone())).await?;
        output::print_bytes(&bytes);
        return Ok(());
    }
    if arguments.words.is_empty() && arguments.files.is_empty() {
        return Err(Failure::Exact {
            text: "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples".to_owned(),
            code: 1,
        });
    }
    let get = Get::new(context, arguments)?;
    let choice = Choice {
        words: &get.arguments.words,
        files: get.arguments.files.clone(),
        selectors: get.arguments.selectors.clone(),
        type_alone: true,
        ..Choice::default()
    };
    let targets = choice.resolve(context).await?;
    if get.arguments.watch || get.arguments.watch_only {
        return get.watch(targets).await;
    }
    if get.arguments.print.is_human() {
        get.tables(targets).await
    } else {
        get.objects(targets).await
    }
}

struct Get<'a> {
    context: &'a Context,
    arguments: Arguments,
    wide: bool,
    sort_by: Option<Template>,
}

/// One answer to print: a table or an object.
struct Answer {
    mapping: Mapping,
    value: Value,
}

impl<'a> Get<'a> {
    fn new(context: &'a Context, arguments: Arguments) -> Result<Get<'a>, Failure> {
        let format = arguments.print.format(arguments.no_headers)?;
        if arguments.show_labels && !matches!(format, Format::Human { .. }) {
            return Err(Failure::message(format!(
                "--show-labels option cannot be used with {} printer",
                arguments.print.output.as_deref().unwrap_or_default()
            )));
        }
        let sort_by = arguments
            .sort_by
            .as_deref()
            .filter(|path| !path.is_empty())
            .map(Template::parse_relaxed)
            .transpose()
            .map_err(Failure::message)?;
        Ok(Get {
            context,
            wide: matches!(format, Format::Human { wide: true }),
            arguments,
            sort_by,
        })
    }

    /// Asks for all targets; errors come beside the answers, a list is read to its end.
    async fn ask(
        &self,
        targets: &[Target],
        accept: &'static str,
    ) -> Result<(Vec<Answer>, Vec<Failure>), Failure> {
        let mut answers = Vec::new();
        let mut failures = Vec::new();
        for target in targets {
            let asked = match target {
                Target::One(reference) => self.ask_one(&reference.path(), accept).await,
                Target::List { mapping, namespace } => {
                    self.ask_list(mapping, namespace.as_deref(), accept).await
                }
            };
            let mapping = match target {
                Target::One(reference) => &reference.mapping,
                Target::List { mapping, .. } => mapping,
            };
            match asked {
                Ok(value) => answers.push(Answer {
                    mapping: mapping.clone(),
                    value,
                }),
                Err(failure @ Failure::Transport { .. }) => return Err(failure),
                Err(failure) if failure.is_not_found() && self.arguments.ignore_not_found => {}
                Err(failure) => failures.push(failure),
            }
        }
        Ok((answers, failures))
    }

    async fn ask_one(&self, path: &str, accept: &'static str) -> Result<Value, Failure> {
        let path = match &self.arguments.subresource {
            Some(subresource) => format!("{path}/{subresource}"),
            None => path.to_owned(),
        };
        let call = Call::get(path).accept(accept).query_opt("includeObject", self.include_object(accept));
        self.context.rest().await?.json(&call).await
    }

    async fn ask_list(
        &self,
        mapping: &Mapping,
        namespace: Option<&str>,
        accept: &'static str,
    ) -> Result<Value, Failure> {
        let rest = self.context.rest().await?;
        let selectors = &self.arguments.selectors;
        let chunk = match (self.arguments.chunk_size, &self.sort_by) {
            (0, _) | (_, Some(_)) => None,
            (size, None) => Some(size.to_string()),
        };
        let mut all: Option<Value> = None;
        let mut token = String::new();
        loop {
            let call = Call::get(mapping.collection(namespace))
                .accept(accept)
                .query_opt("labelSelector", selectors.selector.as_deref())
                .query_opt("fieldSelector", selectors.field_selector.as_deref())
                .query_opt("includeObject", self.include_object(accept))
                .query_opt("limit", chunk.as_deref())
                .query_opt("continue", Some(&token));
            let page = rest.json(&call).await;
            let page = page.map_err(|failure| selectors.not_listed(mapping, failure))?;
            token = page.text("metadata.continue").to_owned();
            all = Some(match all {
                None => page,
                Some(all) => append(all, page),
            });
            if token.is_empty() {
                return Ok(all.unwrap_or_default());
            }
        }
    }

    fn include_object(&self, accept: &str) -> Option<&'static str> {
        (self.sort_by.is_some() && accept == TABLE).then_some("Object")
    }

    async fn tables(&self, targets: Vec<Target>) -> Result<(), Failure> {
        let (answers, failures) = self.ask(&targets, TABLE).await?;
        let with_kind = self.arguments.show_kind
            || answers
                .windows(2)
                .any(|pair| pair[0].mapping.group_resource() != pair[1].mapping.group_resource());
        let mut text = String::new();
        let mut groups: Vec<Vec<Answer>> = Vec::new();
        for answer in self.sorted(answers)? {
            match groups.last_mut() {
                Some(group) if group[0].mapping == answer.mapping => group.push(answer),
                _ => groups.push(vec![answer]),
            }
        }
        let all_namespaced = !self.arguments.selectors.all_namespaces
            && groups.iter().all(|group| group[0].mapping.namespaced);
        for group in groups {
            let mut printer = self.table_printer(&group[0].mapping, with_kind);
            let lines: String = group.iter().map(|answer| printer.lines(&as_table(answer), None)).collect();
            if !text.is_empty() && !lines.is_empty() && !self.arguments.no_headers {
                text.push('\n');
            }
            text.push_str(&align_with(&lines, Layout::TABLE, &mut Vec::new()));
        }
        output::print(&text);
        if text.is_empty() && failures.is_empty() && !self.arguments.ignore_not_found {
            output::error_line(if all_namespaced {
                format!("No resources found in {} namespace.", self.context.namespace()?)
            } else {
                "No resources found".to_owned()
            });
        }
        Failure::collect(failures)
    }

    fn table_printer(&self, mapping: &Mapping, with_kind: bool) -> TablePrinter {
        TablePrinter::new(TableOptions {
            wide: self.wide,
            no_headers: self.arguments.no_headers,
            with_namespace: self.arguments.selectors.all_namespaces && mapping.namespaced,
            show_labels: self.arguments.show_labels,
            label_columns: self.arguments.label_columns.clone(),
            kind_prefix: with_kind.then(|| mapping.kind_prefix()),
        })
    }

    /// With `--sort-by`: every row on its own, in order.
    fn sorted(&self, answers: Vec<Answer>) -> Result<Vec<Answer>, Failure> {
        let Some(path) = &self.sort_by else {
            return Ok(answers);
        };
        let mut rows: Vec<(Value, Answer)> = Vec::new();
        for answer in answers {
            let list = if answer.value.kind() == "Table" { "rows" } else { "items" };
            if !answer.value[list].is_array() {
                rows.push((key_of(path, &answer.value), answer));
                continue;
            }
            let mut shell = answer.value.clone();
            for item in answer.value.list(list) {
                let object = if list == "rows" { &item["object"] } else { item };
                shell[list] = json!([item]);
                rows.push((
                    key_of(path, object),
                    Answer {
                        mapping: answer.mapping.clone(),
                        value: shell.clone(),
                    },
                ));
            }
        }
        if !rows.is_empty() && rows.iter().all(|(key, _)| key.is_null()) {
            return Err(Failure::message(format!(
                "couldn't find any field with path {} in the list of objects",
                crate::text::goquote::quote(path.source())
            )));
        }
        rows.sort_by(|(a, _), (b, _)| sort_order(a, b));
        Ok(rows.into_iter().map(|(_, answer)| answer).collect())
    }

    async fn objects(&self, targets: Vec<Target>) -> Result<(), Failure> {
        let (answers, failures) = self.ask(&targets, JSON).await?;
        let single = matches!(targets.as_slice(), [Target::One(_)]);
        if answers.is_empty() && (single || self.arguments.ignore_not_found) {
            return Failure::collect(failures);
        }
        let mut printer = Printer::new(
            self.arguments.print.format(self.arguments.no_headers)?,
            self.arguments.print.show_managed_fields,
        );
        let answers = self.sorted(answers)?;
        let object = match answers.as_slice() {
            [one] if single => one.value.clone(),
            many => as_list(many),
        };
        printer.print(&object, "")?;
        Failure::collect(failures)
    }

    async fn watch(&self, targets: Vec<Target>) -> Result<(), Failure> {
        let [target] = targets.as_slice() else {
            return Err(Failure::message("you may only specify a single resource type"));
        };
        let human = self.arguments.print.is_human();
        let accept = if human { TABLE } else { JSON };
        let (mut answers, failures) = self.ask(std::slice::from_ref(target), accept).await?;
        Failure::collect(failures)?;
        let Some(answer) = answers.pop() else {
            return Ok(());
        };
        let mapping = answer.mapping.clone();
        let mut sink = WatchSink {
            table: human.then(|| self.table_printer(&mapping, self.arguments.show_kind)),
            printer: Printer::new(
                self.arguments.print.format(self.arguments.no_headers)?,
                self.arguments.print.show_managed_fields,
            ),
            widths: Vec::new(),
            events: self.arguments.output_watch_events,
        };
        let version = answer.value.text("metadata.resourceVersion").to_owned();
        if !self.arguments.watch_only {
            sink.existing(&answer.value)?;
        } else {
            sink.learn_columns(&answer.value);
        }
        self.follow(target, &version, accept, &mut sink).await
    }

    async fn follow(
        &self,
        target: &Target,
        version: &str,
        accept: &'static str,
        sink: &mut WatchSink,
    ) -> Result<(), Failure> {
        let selectors = &self.arguments.selectors;
        let call = match target {
            Target::One(reference) => {
                Call::get(reference.mapping.collection(reference.namespace.as_deref()))
                    .query("fieldSelector", format!("metadata.name={}", reference.name))
            }
            Target::List { mapping, namespace } => Call::get(mapping.collection(namespace.as_deref()))
                .query_opt("labelSelector", selectors.selector.as_deref())
                .query_opt("fieldSelector", selectors.field_selector.as_deref()),
        };
        let call = call
            .accept(accept)
            .query("watch", "true")
            .query("resourceVersion", if version.is_empty() { "0" } else { version });
        let mut lines = self.context.rest().await?.lines(&call).await?;
        while let Some(event) = lines.next_json().await {
            sink.event(&event)?;
        }
        Ok(())
    }
}

/// Prints what a watch brings, rows aligned with those before.
struct WatchSink {
    table: Option<TablePrinter>,
    printer: Printer,
    widths: Vec<usize>,
    events: bool,
}

impl WatchSink {
    fn existing(&mut self, answer: &Value) -> Result<(), Failure> {
        if self.table.is_some() {
            return self.row(answer, "ADDED");
        }
        if answer["items"].is_array() {
            let mut item_list = answer.clone();
            let items = item_list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
            for mut item in items {
                if item["kind"].is_null() {
                    item["kind"] = json!(answer.kind().trim_end_matches("List"));
                    item["apiVersion"] = answer["apiVersion"].clone();
                }
                self.object(&item, "ADDED")?;
            }
            return Ok(());
        }
        self.object(answer, "ADDED")
    }

    fn learn_columns(&mut self, answer: &Value) {
        if let Some(table) = &mut self.table {
            let mut empty = answer.clone();
            empty["rows"] = json!([]);
            table.lines(&empty, None);
        }
    }

    fn event(&mut self, event: &Value) -> Result<(), Failure> {
        let kind = event.text("type");
        match kind {
            "BOOKMARK" => Ok(()),
            "ERROR" => Err(Failure::Api(Box::new(crate::failure::ApiError::from_answer(
                500,
                event["object"].to_string().as_bytes(),
            )))),
            _ if self.table.is_some() => self.row(&event["object"], kind),
            _ => self.object(&event["object"], kind),
        }
    }

    fn row(&mut self, table: &Value, kind: &str) -> Result<(), Failure> {
        let Some(printer) = &mut self.table else {
            return Ok(());
        };
        let lines = printer.lines(table, self.events.then_some(kind));
        output::print(&align_with(&lines, Layout::TABLE, &mut self.widths));
        Ok(())
    }

    fn object(&mut self, object: &Value, kind: &str) -> Result<(), Failure> {
        if self.events {
            return self.printer.print(&json!({"type": kind, "object": object}), "");
        }
        self.printer.print(object, "")
    }
}

/// Joins the rows or items of two pages.
fn append(mut all: Value, mut page: Value) -> Value {
    for list in ["rows", "items"] {
        if let Some(more) = page[list].as_array_mut().map(std::mem::take)
            && let Some(items) = all[list].as_array_mut()
        {
            items.extend(more);
        }
    }
    if let Some(metadata) = all["metadata"].as_object_mut() {
        metadata.remove("continue");
        metadata.remove("remainingItemCount");
    }
    all
}

/// A server that answers with the object itself still gets a table of names and ages.
fn as_table(answer: &Answer) -> Value {
    if answer.value.kind() == "Table" {
        return answer.value.clone();
    }
    let objects = match answer.value["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![answer.value.clone()],
    };
    let now = jiff::Timestamp::now();
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let created = object.at("metadata.creationTimestamp").as_str();
            let age = crate::text::duration::since(created, now);
            json!({"cells": [object.name(), age], "object": object})
        })
        .collect();
    json!({
        "kind": "Table",
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "priority": 0},
            {"name": "Age", "type": "string", "priority": 0},
        ],
        "rows": rows,
    })
}

/// One `List` of everything that was answered.
fn as_list(answers: &[Answer]) -> Value {
    let mut items = Vec::new();
    for answer in answers {
        match answer.value["items"].as_array() {
            Some(list) => {
                let kind = answer.value.kind().trim_end_matches("List");
                for item in list {
                    let mut item = item.clone();
                    if item["kind"].is_null() {
                        item["apiVersion"] = answer.value["apiVersion"].clone();
                        item["kind"] = json!(kind);
                    }
                    items.push(item);
                }
            }
            None => items.push(answer.value.clone()),
        }
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}})
}

fn key_of(path: &Template, object: &Value) -> Value {
    path.find(object)
        .ok()
        .and_then(|values| values.first().map(|value| (*value).clone()))
        .unwrap_or(Value::Null)
}

fn sort_order(a: &Value, b: &Value) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => {
            if let (Value::String(a), Value::String(b)) = (a, b)
                && let (Ok(a), Ok(b)) = (
                    quantity(a),
                    quantity(b),
                )
            {
                return a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            }
            compare(a, b).unwrap_or(Ordering::Equal)
        }
    }
}

/// A quantity such as `100m` or `2Gi` as a number, for sorting.
fn quantity(text: &str) -> Result<f64, ()> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| ())?;
    let factor = match &text[end..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(()),
    };
    Ok(number * factor)
}
