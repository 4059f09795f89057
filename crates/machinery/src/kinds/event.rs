//! Events, in both groups that serve them.

use fluyt_api::names;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::strategy::Rules;

pub(super) fn extend(rules: &mut Rules, group: &str) {
    if group.is_empty() {
        rules.check = |event, errors| check(event, &CORE, errors);
        rules.check_update = |new, _, errors| check(new, &CORE, errors);
    } else {
        rules.check = |event, errors| {
            check(event, &EVENTS, errors);
            check_strictly(event, errors);
        };
        rules.check_update = |new, old, errors| {
            check(new, &EVENTS, errors);
            check_same(new, old, errors);
        };
    }
    rules.select = select;
}

/// How the groups call the fields.
struct Names {
    object: &'static str,
    controller: &'static str,
    message: &'static str,
}

const CORE: Names = Names {
    object: "involvedObject",
    controller: "reportingComponent",
    message: "message",
};
const EVENTS: Names = Names {
    object: "regarding",
    controller: "reportingController",
    message: "note",
};

fn check(event: &Value, names: &Names, errors: &mut Errors) {
    let namespace = event.at("metadata").text("namespace");
    let object = event.at(names.object).text("namespace");
    let involved = At::root("involvedObject");
    let fits = if !event.has("eventTime") {
        if object.is_empty() {
            matches!(namespace, "" | "default")
        } else {
            namespace == object
        }
    } else {
        !object.is_empty() || matches!(namespace, "default" | "kube-system")
    };
    if !fits {
        errors.invalid(
            &involved.child("namespace"),
            object,
            "does not match event.namespace",
        );
    }
    if event.has("eventTime") {
        check_modern(event, names, errors);
    }
}

fn check_modern(event: &Value, names: &Names, errors: &mut Errors) {
    let controller = event.text(names.controller);
    let at = At::root(names.controller);
    if controller.is_empty() {
        errors.required(&at, "");
    }
    errors.all_invalid(&at, controller, names::qualified_name(controller));
    for (field, shown, most, required) in [
        ("reportingInstance", "reportingInstance", 128, true),
        ("action", "action", 128, true),
        ("reason", "reason", 128, true),
        (names.message, "message", 1024, false),
    ] {
        let (text, at) = (event.text(field), At::root(shown));
        if required && text.is_empty() {
            errors.required(&at, "");
        }
        if text.len() > most {
            errors.invalid(&at, "", format!("can have at most {most} characters"));
        }
    }
}

fn check_strictly(event: &Value, errors: &mut Errors) {
    if !event.has("eventTime") {
        errors.required(&At::root("eventTime"), "");
    }
    let kind = event.text("type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&At::root("type"), "", format!("has invalid value: {kind}"));
    }
    for (field, shown) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
    ] {
        if event.has(field) {
            errors.invalid(&At::root(shown), "", "needs to be unset");
        }
    }
    let source = event.at("deprecatedSource");
    if !source.text("component").is_empty() || !source.text("host").is_empty() {
        errors.invalid(&At::root("source"), "", "needs to be unset");
    }
    let series = event.at("series");
    if !series.is_null() {
        if series.int("count").unwrap_or(0) < 2 {
            errors.invalid(&At::root("series.count"), "", "should be at least 2");
        }
        if !series.has("lastObservedTime") {
            errors.required(&At::root("series.lastObservedTime"), "");
        }
    }
}

fn check_same(new: &Value, old: &Value, errors: &mut Errors) {
    for (field, shown) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        errors.immutable(&At::root(shown), new.at(field), old.at(field));
    }
}

/// Selectable in the words of the core group; `convert::field_label` translates the other's.
fn select(event: &Value) -> Vec<(&'static str, String)> {
    let either = |core: &str, events: &str| {
        let value = event.at(core);
        if value.is_null() {
            event.at(events)
        } else {
            value
        }
    };
    let object = either("involvedObject", "regarding");
    let source = either("source", "deprecatedSource");
    let controller = either("reportingComponent", "reportingController")
        .as_str()
        .unwrap_or("");
    let component = match source.text("component") {
        "" => controller,
        component => component,
    };
    vec![
        ("involvedObject.kind", object.text("kind").into()),
        ("involvedObject.namespace", object.text("namespace").into()),
        ("involvedObject.name", object.text("name").into()),
        ("involvedObject.uid", object.text("uid").into()),
        (
            "involvedObject.apiVersion",
            object.text("apiVersion").into(),
        ),
        (
            "involvedObject.resourceVersion",
            object.text("resourceVersion").into(),
        ),
        ("involvedObject.fieldPath", object.text("fieldPath").into()),
        ("reason", event.text("reason").into()),
        ("reportingComponent", controller.into()),
        ("source", component.into()),
        ("type", event.text("type").into()),
    ]
}
