//! Tables that the server made (`meta.k8s.io` Table), with the columns that the client adds: namespace,
//! labels, the type of a watch event.

use crate::object::Object;
use serde_json::Value;

/// What the flags add to and leave out of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableOptions {
    pub(crate) wide: bool,
    pub(crate) no_headers: bool,
    pub(crate) with_namespace: bool,
    pub(crate) show_labels: bool,
    /// `-L`: these labels as columns.
    pub(crate) label_columns: Vec<String>,
    /// Put before each name: `pod`, `deployment.apps`.
    pub(crate) kind_prefix: Option<String>,
}

/// Turns tables into lines of tab-separated cells; remembers what it printed, as the events of a watch
/// leave out the column definitions and need no second header.
#[derive(Debug)]
pub(crate) struct TablePrinter {
    options: TableOptions,
    columns: Vec<Value>,
    header_printed: bool,
}

impl TablePrinter {
    pub(crate) fn new(options: TableOptions) -> TablePrinter {
        TablePrinter {
            options,
            columns: Vec::new(),
            header_printed: false,
        }
    }

    /// The lines of a table; `event` is a watch event's type to show.
    pub(crate) fn lines(&mut self, table: &Value, event: Option<&str>) -> String {
        let columns = table.list("columnDefinitions");
        if !columns.is_empty() && self.columns != columns {
            self.columns = columns.to_vec();
            self.header_printed = false;
        }
        let rows = table.list("rows");
        let mut text = String::new();
        if rows.is_empty() {
            return text;
        }
        if !self.header_printed && !self.options.no_headers {
            self.push_line(&mut text, self.header(event.is_some()));
        }
        self.header_printed = true;
        for row in rows {
            self.push_line(&mut text, self.row(row, event));
        }
        text
    }

    fn push_line(&self, text: &mut String, cells: Vec<String>) {
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }

    fn shown(&self, column: &Value) -> bool {
        self.options.wide || column.number("priority") == 0
    }

    fn header(&self, with_event: bool) -> Vec<String> {
        let mut cells = Vec::new();
        if with_event {
            cells.push("EVENT".to_owned());
        }
        if self.options.with_namespace {
            cells.push("NAMESPACE".to_owned());
        }
        for column in self.columns.iter().filter(|column| self.shown(column)) {
            cells.push(column.text("name").to_uppercase());
        }
        for label in &self.options.label_columns {
            cells.push(label.rsplit('/').next().unwrap_or(label).to_uppercase());
        }
        if self.options.show_labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn row(&self, row: &Value, event: Option<&str>) -> Vec<String> {
        let object = &row["object"];
        let mut cells = Vec::new();
        if let Some(event) = event {
            cells.push(format!("{event:<8}"));
        }
        if self.options.with_namespace {
            cells.push(object.namespace().to_owned());
        }
        for (column, cell) in self.columns.iter().zip(row.list("cells")) {
            if self.shown(column) {
                let is_name = column.text("format") == "name" && column.text("type") == "string";
                let text = cell_text(cell);
                cells.push(match &self.options.kind_prefix {
                    Some(prefix) if is_name => format!("{prefix}/{text}"),
                    _ => text,
                });
            }
        }
        let labels = &object["metadata"]["labels"];
        for label in &self.options.label_columns {
            cells.push(
                labels[label.as_str()]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        if self.options.show_labels {
            cells.push(labels_text(object));
        }
        cells
    }
}

fn labels_text(object: &Value) -> String {
    let pairs: Vec<String> = object
        .pairs("metadata.labels")
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// A cell on one line: cut at a line break, control characters made visible.
fn cell_text(cell: &Value) -> String {
    let text = match cell {
        Value::Null => return String::new(),
        Value::String(text) => text,
        other => return super::custom_columns::go_value(other),
    };
    let (text, cut) = match text.find(['\n', '\r', '\u{c}']) {
        Some(at) => (&text[..at], "..."),
        None => (text.as_str(), ""),
    };
    let text: String = text.replace('\t', " ").replace('\u{1b}', "^[");
    format!("{text}{cut}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Value {
        json!({
            "columnDefinitions": [
                {"name": "Name", "type": "string", "format": "name", "priority": 0},
                {"name": "IP", "type": "string", "priority": 1},
                {"name": "Age", "type": "string", "priority": 0},
            ],
            "rows": [{"cells": ["a", "10.0.0.1", "5s"], "object": {"metadata": {"namespace": "n", "labels": {"x/app": "web"}}}}],
        })
    }

    fn check(options: TableOptions, expected: &str) {
        assert_eq!(TablePrinter::new(options).lines(&table(), None), expected);
    }

    #[test]
    fn columns_by_option() {
        check(TableOptions::default(), "NAME\tAGE\na\t5s\n");
        let wide = TableOptions {
            wide: true,
            with_namespace: true,
            show_labels: true,
            label_columns: vec!["x/app".to_owned()],
            kind_prefix: Some("pod".to_owned()),
            ..TableOptions::default()
        };
        check(
            wide,
            "NAMESPACE\tNAME\tIP\tAGE\tAPP\tLABELS\nn\tpod/a\t10.0.0.1\t5s\tweb\tx/app=web\n",
        );
    }

    #[test]
    fn the_header_comes_once() {
        let mut printer = TablePrinter::new(TableOptions::default());
        printer.lines(&table(), None);
        let mut event = table();
        event["columnDefinitions"] = json!([]);
        assert_eq!(printer.lines(&event, None), "a\t5s\n");
    }

    #[test]
    fn cells_stay_on_their_line() {
        assert_eq!(cell_text(&json!("a\nb")), "a...");
        assert_eq!(cell_text(&json!(3)), "3");
        assert_eq!(cell_text(&Value::Null), "");
    }
}
