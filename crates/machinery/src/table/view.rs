//! How printers read an object: by dotted path, with Go's zero values for what is absent.

use fluyt_api::quantity::Quantity;
use fluyt_api::selector::LabelSelector;
use jiff::Timestamp;
use serde_json::Value;

/// An object, or a part of one, at a moment.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    value: &'a Value,
    now: Timestamp,
}

static NULL: Value = Value::Null;

impl<'a> View<'a> {
    pub(super) const fn new(value: &'a Value, now: Timestamp) -> Self {
        Self { value, now }
    }

    /// The value at a dotted path; null when any step is absent.
    pub(super) fn get(&self, path: &str) -> &'a Value {
        path.split('.')
            .try_fold(self.value, |value, key| value.get(key))
            .unwrap_or(&NULL)
    }

    pub(super) fn part(&self, path: &str) -> Self {
        Self::new(self.get(path), self.now)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        !self.get(path).is_null()
    }

    pub(super) fn text(&self, path: &str) -> &'a str {
        self.get(path).as_str().unwrap_or_default()
    }

    /// The text at a path, or `otherwise` when there is none or it is empty.
    pub(super) fn text_or(&self, path: &str, otherwise: &'a str) -> &'a str {
        match self.text(path) {
            "" => otherwise,
            text => text,
        }
    }

    pub(super) fn number(&self, path: &str) -> i64 {
        self.get(path).as_i64().unwrap_or_default()
    }

    pub(super) fn boolean(&self, path: &str) -> bool {
        self.get(path).as_bool().unwrap_or_default()
    }

    pub(super) fn list(
        &self,
        path: &str,
    ) -> impl DoubleEndedIterator<Item = View<'a>> + ExactSizeIterator {
        let items = self
            .get(path)
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let now = self.now;
        items.iter().map(move |item| View::new(item, now))
    }

    /// The texts of a list.
    pub(super) fn texts(&self, path: &str) -> Vec<&'a str> {
        self.list(path)
            .map(|item| item.value.as_str().unwrap_or_default())
            .collect()
    }

    /// How many entries a list or map has.
    pub(super) fn count(&self, path: &str) -> usize {
        match self.get(path) {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    pub(super) fn name(&self) -> &'a str {
        self.text("metadata.name")
    }

    /// A label, annotation or other entry of a map whose keys may contain dots.
    pub(super) fn entry(&self, path: &str, key: &str) -> &'a str {
        self.get(path)
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.has("metadata.deletionTimestamp")
    }

    pub(super) fn time(&self, path: &str) -> Option<Timestamp> {
        self.text(path).parse().ok()
    }

    /// How long ago the time at a path was.
    pub(super) fn since(&self, path: &str) -> String {
        self.since_time(self.time(path))
    }

    pub(super) fn since_time(&self, time: Option<Timestamp>) -> String {
        match time {
            Some(time) => human_duration(self.now.duration_since(time).as_secs()),
            None => "<unknown>".to_owned(),
        }
    }

    pub(super) fn age(&self) -> String {
        self.since("metadata.creationTimestamp")
    }

    /// The quantity at a path in canonical form; absent is nothing.
    pub(super) fn quantity(&self, path: &str) -> String {
        quantity(self.get(path))
    }

    /// The status of the condition of a type.
    pub(super) fn condition(&self, path: &str, ty: &str) -> Option<View<'a>> {
        self.list(path)
            .find(|condition| condition.text("type") == ty)
    }

    pub(super) fn is_condition_true(&self, path: &str, ty: &str) -> bool {
        self.condition(path, ty)
            .is_some_and(|condition| condition.text("status") == "True")
    }

    /// A map as `a=b,c=d`.
    pub(super) fn labels(&self, path: &str) -> String {
        let Some(labels) = self
            .get(path)
            .as_object()
            .filter(|labels| !labels.is_empty())
        else {
            return "<none>".to_owned();
        };
        let mut pairs: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        pairs.sort();
        pairs.join(",")
    }

    /// A label selector as its text.
    pub(super) fn selector(&self, path: &str) -> String {
        match LabelSelector::from_json(self.get(path)) {
            Err(_) => "<error>".to_owned(),
            Ok(selector) => match selector.to_string() {
                text if text.is_empty() => "<none>".to_owned(),
                text => text,
            },
        }
    }

    /// The names and the images of the containers at a path.
    pub(super) fn containers(&self, path: &str) -> (String, String) {
        let join = |field: &str| {
            let texts: Vec<_> = self
                .list(path)
                .map(|container| container.text(field))
                .collect();
            texts.join(",")
        };
        (join("name"), join("image"))
    }
}

pub(super) fn quantity(value: &Value) -> String {
    match value {
        Value::String(text) => {
            Quantity::parse(text).map_or_else(|_| text.clone(), |quantity| quantity.to_string())
        }
        Value::Number(number) => number.to_string(),
        _ => "0".to_owned(),
    }
}

/// The first `max` of the texts, and how many more there are.
pub(super) fn with_more(texts: &[String], max: usize) -> String {
    let shown = texts
        .get(..max.min(texts.len()))
        .unwrap_or_default()
        .join(",");
    if texts.len() > max {
        return format!("{shown} + {} more...", texts.len() - max);
    }
    if shown.is_empty() {
        return "<unset>".to_owned();
    }
    shown
}

/// A duration in seconds in two or three significant figures: `5m30s`, `3h`, `2d4h`.
///
/// A clock may be ahead by a second; more is invalid.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{large}{large_unit}")
        } else {
            format!("{large}{large_unit}{small}{small_unit}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}
