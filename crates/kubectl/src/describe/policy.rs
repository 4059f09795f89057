//! Priority classes and disruption budgets.

use super::Facts;
use super::parts::{events, format_labels};
use super::writer::Writer;
use crate::object::{Object, format_label_selector};
use crate::printers::custom_columns::go_value;
use serde_json::Value;

pub(crate) fn priority_class(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Value", object.number("value"));
    w.field(0, "GlobalDefault", object["globalDefault"] == true);
    w.field(0, "PreemptionPolicy", object.text("preemptionPolicy"));
    w.field(0, "Description", object.text("description"));
    let annotations = format_labels(object.at("metadata.annotations"));
    w.field(0, "Annotations", annotations);
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn disruption_budget(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    let bounds = [
        ("Min available", "minAvailable"),
        ("Max unavailable", "maxUnavailable"),
    ];
    let bound = bounds
        .iter()
        .find(|(_, field)| !object["spec"][*field].is_null());
    if let Some((label, field)) = bound {
        w.field(0, label, go_value(&object["spec"][*field]));
    }
    let selector = match object.at("spec.selector") {
        Value::Null => "<unset>".to_owned(),
        selector => format_label_selector(selector),
    };
    w.field(0, "Selector", selector);
    w.line(0, "Status:");
    for (label, field) in [
        ("Allowed disruptions", "disruptionsAllowed"),
        ("Current", "currentHealthy"),
        ("Desired", "desiredHealthy"),
        ("Total", "expectedPods"),
    ] {
        w.field(2, label, object["status"].number(field));
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}
