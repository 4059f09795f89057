//! Tables: what `kubectl get` prints. The server chooses the columns and fills the cells.
//!
//! Columns and cells are upstream's for every kind; a kind without a printer of its own has
//! its name and its creation time. One list per family of kinds names the printers; a printer
//! reads an object of any served version of its kind. Cells and columns always correspond.

mod administration;
mod cluster;
mod networking;
mod pods;
mod scheduling;
mod storage;
mod view;
mod workloads;

use fluyt_api::catalogue::Resource;
use jiff::Timestamp;
use serde_json::{Value, json};

use view::View;
pub use view::human_duration;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// The OpenAPI type of the cells.
    pub ty: &'static str,
    /// The OpenAPI format; `name` marks the name of the object.
    pub format: &'static str,
    /// 0 is always shown, 1 only in the wide form.
    pub priority: i32,
}

impl Column {
    /// The column as `metav1.TableColumnDefinition`; it has no description.
    pub fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.ty,
            "format": self.format,
            "description": "",
            "priority": self.priority,
        })
    }
}

const fn column(name: &'static str, ty: &'static str) -> Column {
    Column {
        name,
        ty,
        format: "",
        priority: 0,
    }
}

const fn text(name: &'static str) -> Column {
    column(name, "string")
}

const fn integer(name: &'static str) -> Column {
    column(name, "integer")
}

const fn boolean(name: &'static str) -> Column {
    column(name, "boolean")
}

const fn wide(name: &'static str) -> Column {
    Column {
        priority: 1,
        ..text(name)
    }
}

const fn name_format(column: Column) -> Column {
    Column {
        format: "name",
        ..column
    }
}

const NAME: Column = name_format(text("Name"));
const AGE: Column = text("Age");

/// The columns of a kind and the function that fills them.
struct Printer {
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&View<'_>) -> Vec<Value>,
}

/// What is printed for a kind that has no printer.
static DEFAULT: Printer = Printer {
    group: "",
    kind: "",
    columns: &[NAME, column("Created At", "date")],
    cells: |object| {
        vec![
            json!(object.name()),
            json!(object.text("metadata.creationTimestamp")),
        ]
    },
};

static FAMILIES: &[&[Printer]] = &[
    pods::PRINTERS,
    workloads::PRINTERS,
    networking::PRINTERS,
    storage::PRINTERS,
    cluster::PRINTERS,
    administration::PRINTERS,
    scheduling::PRINTERS,
];

fn printer(group: &str, kind: &str) -> &'static Printer {
    FAMILIES
        .iter()
        .flat_map(|family| family.iter())
        .find(|printer| printer.kind == kind && printer.group == group)
        .unwrap_or(&DEFAULT)
}

/// The columns of a resource.
pub fn columns(resource: &Resource) -> &'static [Column] {
    columns_of(resource.group, resource.kind)
}

/// The columns of a kind, for answers of subresources such as `scale`.
pub fn columns_of(group: &str, kind: &str) -> &'static [Column] {
    printer(group, kind).columns
}

/// The cells of an object, one for each column; ages are as of `now`.
pub fn row(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    row_of(resource.group, resource.kind, object, now)
}

/// The cells of an object of a kind.
pub fn row_of(group: &str, kind: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let printer = printer(group, kind);
    let cells = (printer.cells)(&View::new(object, now));
    debug_assert_eq!(cells.len(), printer.columns.len(), "{kind}");
    cells
}

/// The conditions of a row, of which there is one: a pod that has run to its end.
pub fn row_conditions(resource: &Resource, object: &Value) -> Option<Value> {
    if (resource.group, resource.kind) != ("", "Pod") {
        return None;
    }
    let (reason, message) = match object["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

#[cfg(test)]
mod tests;
