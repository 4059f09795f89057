//! What most descriptions have: labels, annotations, tolerations, taints, the controller, events.

use super::writer::Writer;
use crate::object::Object;
use crate::text::duration;
use serde_json::Value;

/// Longer annotations go onto lines of their own, cut off here.
const LONGEST_ANNOTATION: usize = 140;

/// `title` may carry the spaces that indent it.
pub(crate) fn labels(w: &mut Writer, title: &str, map: &Value) {
    labels_indented(w, "", title, map);
}

pub(crate) fn labels_indented(w: &mut Writer, indent: &str, title: &str, map: &Value) {
    w.part(0, format!("{indent}{title}:\t"));
    let pairs = map_pairs(map);
    if pairs.is_empty() {
        return w.line(0, "<none>");
    }
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            w.part(0, format!("{indent}\t"));
        }
        w.line(0, format!("{key}={value}"));
    }
}

pub(crate) fn annotations(w: &mut Writer, title: &str, map: &Value) {
    w.part(0, format!("{title}:\t"));
    let pairs: Vec<(&str, &str)> = map_pairs(map)
        .into_iter()
        .filter(|(key, _)| *key != crate::object::LAST_APPLIED)
        .collect();
    if pairs.is_empty() {
        return w.line(0, "<none>");
    }
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            w.part(0, "\t");
        }
        let value = value.strip_suffix('\n').unwrap_or(value);
        if value.len() + key.len() + 2 > LONGEST_ANNOTATION || value.contains('\n') {
            w.line(0, format!("{key}:"));
            for line in value.split('\n') {
                w.line(0, format!("\t  {}", shorten(line)));
            }
        } else {
            w.line(0, format!("{key}: {value}"));
        }
    }
}

fn shorten(line: &str) -> String {
    let limit = LONGEST_ANNOTATION - 2;
    if line.len() <= limit {
        return line.to_owned();
    }
    let end = (0..=limit)
        .rev()
        .find(|end| line.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}...", &line[..end])
}

/// The status of an object that is being deleted.
pub(crate) fn terminating(object: &Value, now: jiff::Timestamp) -> Option<String> {
    let deleted = object.at("metadata.deletionTimestamp").as_str()?;
    let since = duration::since(Some(deleted), now);
    Some(format!("Terminating (lasts {since})"))
}

/// A title and a value a line.
pub(crate) fn lines(w: &mut Writer, title: &str, values: &[&str]) {
    match values {
        [] => w.field(0, title, "<none>"),
        values => w.field(0, title, values.join("\n\t")),
    }
}

pub(crate) fn map_pairs(map: &Value) -> Vec<(&str, &str)> {
    let mut pairs: Vec<(&str, &str)> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    pairs
}

/// `a=1,b=2`; `<none>` when empty.
pub(crate) fn format_labels(map: &Value) -> String {
    let pairs: Vec<String> = map_pairs(map)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// `Kind/name` of the owner that controls the object.
pub(crate) fn controller(object: &Value) -> Option<String> {
    object
        .list("metadata.ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
        .map(|owner| format!("{}/{}", owner.text("kind"), owner.text("name")))
}

pub(crate) fn tolerations(w: &mut Writer, title: &str, list: &[Value]) {
    w.part(0, format!("{title}:\t"));
    if list.is_empty() {
        return w.line(0, "<none>");
    }
    let mut list: Vec<&Value> = list.iter().collect();
    list.sort_by_key(|toleration| toleration.text("key").to_owned());
    for (index, toleration) in list.iter().enumerate() {
        if index > 0 {
            w.part(0, "\t");
        }
        w.line(0, toleration_text(toleration));
    }
}

fn toleration_text(toleration: &Value) -> String {
    let (key, value, effect) = (
        toleration.text("key"),
        toleration.text("value"),
        toleration.text("effect"),
    );
    let mut text = key.to_owned();
    if !value.is_empty() {
        text.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        text.push_str(&format!(":{effect}"));
    }
    if toleration.text("operator") == "Exists" && value.is_empty() {
        let space = if key.is_empty() && effect.is_empty() {
            ""
        } else {
            " "
        };
        text.push_str(&format!("{space}op=Exists"));
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        text.push_str(&format!(" for {seconds}s"));
    }
    text
}

pub(crate) fn taints(w: &mut Writer, list: &[Value]) {
    w.part(0, "Taints:\t");
    if list.is_empty() {
        return w.line(0, "<none>");
    }
    let mut list: Vec<&Value> = list.iter().collect();
    list.sort_by_key(|taint| format!("{},{}", taint.text("effect"), taint.text("key")));
    for (index, taint) in list.iter().enumerate() {
        if index > 0 {
            w.part(0, "\t");
        }
        w.line(0, taint_text(taint));
    }
}

/// `key=value:Effect`, without the value when there is none.
pub(crate) fn taint_text(taint: &Value) -> String {
    let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
    match (value, effect) {
        ("", "") => key.to_owned(),
        ("", effect) => format!("{key}:{effect}"),
        (value, "") => format!("{key}={value}:"),
        (value, effect) => format!("{key}={value}:{effect}"),
    }
}

/// The conditions of deployments and replica sets.
pub(crate) fn conditions_with_reason(w: &mut Writer, object: &Value) {
    let conditions = object.list("status.conditions");
    if conditions.is_empty() {
        return;
    }
    w.line(0, "Conditions:\n  Type\tStatus\tReason");
    w.line(1, "----\t------\t------");
    for condition in conditions {
        w.line(
            1,
            format!(
                "{} \t{}\t{}",
                condition.text("type"),
                condition.text("status"),
                condition.text("reason")
            ),
        );
    }
}

/// The events of an object, the oldest first; None (they could not be read) writes nothing.
pub(crate) fn events(w: &mut Writer, events: Option<&[Value]>, now: jiff::Timestamp) {
    let Some(events) = events else {
        return;
    };
    if events.is_empty() {
        return w.line(0, "Events:\t<none>");
    }
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| event.text("lastTimestamp").to_owned());
    w.flush();
    w.line(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage");
    w.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let source = match event.text("source.component") {
            "" => event.text("reportingComponent"),
            source => source,
        };
        let message = event.text("message").trim();
        let message = match event.text("involvedObject.fieldPath") {
            "" => message.to_owned(),
            path => format!("{path}: {message}"),
        };
        w.line(
            1,
            format!(
                "{}\t{}\t{}\t{source}\t{message}",
                event.text("type"),
                event.text("reason"),
                event_age(event, now)
            ),
        );
    }
}

/// `5s`, or `5s (x3 over 2m)` for one that was repeated.
pub(crate) fn event_age(event: &Value, now: jiff::Timestamp) -> String {
    let since = |path: &str| duration::since(event.at(path).as_str(), now);
    let first = if event["eventTime"].is_null() {
        since("firstTimestamp")
    } else {
        since("eventTime")
    };
    if event["series"].is_object() {
        return format!(
            "{} (x{} over {first})",
            since("series.lastObservedTime"),
            event.number("series.count")
        );
    }
    match event.number("count") {
        count if count > 1 => format!("{} (x{count} over {first})", since("lastTimestamp")),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_aligned_and_counted() {
        let now: jiff::Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let list = [
            json!({"type": "Warning", "reason": "BackOff", "message": "again\n", "count": 3,
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:55Z",
                "source": {"component": "kubelet"}, "involvedObject": {"fieldPath": "spec.containers{a}"}}),
            json!({"type": "Normal", "reason": "Scheduled", "message": "done",
                "eventTime": "2026-01-01T00:00:00.000000Z", "firstTimestamp": null, "reportingComponent": "default-scheduler"}),
        ];
        let mut w = Writer::default();
        events(&mut w, Some(&list), now);
        assert_eq!(
            w.finish(),
            "Events:\n  Type     Reason     Age               From               Message\n  ----     ------     ----              ----               -------\n  Normal   Scheduled  10m               default-scheduler  done\n  Warning  BackOff    5s (x3 over 10m)  kubelet            spec.containers{a}: again\n"
        );
    }

    #[test]
    fn tolerations_and_taints() {
        assert_eq!(
            toleration_text(
                &json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
            ),
            "k:NoExecute op=Exists for 300s"
        );
        assert_eq!(toleration_text(&json!({"operator": "Exists"})), "op=Exists");
        assert_eq!(toleration_text(&json!({"key": "k", "value": "v"})), "k=v");
        assert_eq!(
            taint_text(&json!({"key": "k", "effect": "NoSchedule"})),
            "k:NoSchedule"
        );
    }
}
