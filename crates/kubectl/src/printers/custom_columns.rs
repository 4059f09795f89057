//! `-o custom-columns=NAME:.metadata.name,...`: a table of the user's own.

use super::jsonpath::Template;
use crate::failure::Failure;
use crate::object::Object;
use crate::text::tabwriter::{Layout, align_with};
use serde_json::Value;

/// Headers and the paths below them.
#[derive(Debug)]
pub(crate) struct CustomColumns {
    columns: Vec<(String, Template)>,
    header_due: bool,
    widths: Vec<usize>,
}

impl CustomColumns {
    /// `HEADER:PATH,HEADER:PATH`.
    pub(crate) fn parse(spec: &str, no_headers: bool) -> Result<CustomColumns, Failure> {
        if spec.is_empty() {
            return Err(Failure::message(
                "custom-columns format specified but no custom columns given",
            ));
        }
        let columns = spec
            .split(',')
            .map(|part| match part.split_once(':') {
                Some((header, path)) if !path.is_empty() => column(header, path),
                _ => Err(Failure::message(format!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                ))),
            })
            .collect::<Result<_, _>>()?;
        Ok(CustomColumns::new(columns, no_headers))
    }

    /// The headers on one line, the paths on the next.
    pub(crate) fn parse_file(text: &str, no_headers: bool) -> Result<CustomColumns, Failure> {
        let mut lines = text.lines();
        let headers: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let paths: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if headers.is_empty() || headers.len() != paths.len() {
            return Err(Failure::message(format!(
                "number of headers ({}) and field specifications ({}) don't match",
                headers.len(),
                paths.len()
            )));
        }
        let columns = headers
            .into_iter()
            .zip(paths)
            .map(|(header, path)| column(header, path))
            .collect::<Result<_, _>>()?;
        Ok(CustomColumns::new(columns, no_headers))
    }

    fn new(columns: Vec<(String, Template)>, no_headers: bool) -> CustomColumns {
        CustomColumns {
            columns,
            header_due: !no_headers,
            widths: Vec::new(),
        }
    }

    /// The rows of an object or of each item of a list, below the headers the first time.
    pub(crate) fn render(&mut self, object: &Value) -> String {
        let mut text = String::new();
        if std::mem::take(&mut self.header_due) {
            let headers: Vec<&str> = self
                .columns
                .iter()
                .map(|(header, _)| header.as_str())
                .collect();
            text.push_str(&headers.join("\t"));
            text.push('\n');
        }
        if object.kind().ends_with("List") && object["items"].is_array() {
            for item in object.list("items") {
                self.row(item, &mut text);
            }
        } else {
            self.row(object, &mut text);
        }
        align_with(&text, Layout::TABLE, &mut self.widths)
    }

    fn row(&self, object: &Value, text: &mut String) {
        let cells: Vec<String> = self
            .columns
            .iter()
            .map(|(_, path)| match path.find(object) {
                Ok(values) if !values.is_empty() => values
                    .iter()
                    .map(|value| go_value(value))
                    .collect::<Vec<_>>()
                    .join(","),
                _ => "<none>".to_owned(),
            })
            .collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
}

fn column(header: &str, path: &str) -> Result<(String, Template), Failure> {
    let template = Template::parse_relaxed(path).map_err(Failure::message)?;
    Ok((header.to_owned(), template))
}

/// A value as Go's default format prints it: `map[a:1 b:2]`, `[x y]`, `<none>` for nothing.
pub(crate) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_value(value)))
                .collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns() {
        let mut columns =
            CustomColumns::parse("NAME:.metadata.name,X:.spec.x,L:.l", false).unwrap();
        let list = json!({"kind": "List", "items": [
            {"metadata": {"name": "a"}, "spec": {"x": 1}, "l": ["p", "q"]},
            {"metadata": {"name": "b"}, "l": {"k": "v"}},
        ]});
        assert_eq!(
            columns.render(&list),
            "NAME   X        L\na      1        [p q]\nb      <none>   map[k:v]\n"
        );
    }

    #[test]
    fn mistakes() {
        let failure = CustomColumns::parse("NAME", false).unwrap_err();
        assert_eq!(
            failure.render(),
            "error: unexpected custom-columns spec: NAME, expected <header>:<json-path-expr>"
        );
    }
}
