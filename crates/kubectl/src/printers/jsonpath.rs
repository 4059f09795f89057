//! JSONPath as kubectl understands it: a template of text and `{...}` actions with fields, indices,
//! slices, wildcards, recursive descent, filters, unions, `range` and `end`.

use crate::text::gojson;
use serde_json::Value;
use std::cmp::Ordering;

/// A parsed template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    source: String,
    nodes: Vec<Node>,
    allow_missing: bool,
}

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range { path: Vec<Step>, body: Vec<Node> },
}

#[derive(Debug, Clone)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    /// Of lists: `[n]` and `[start:end:step]`.
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
        single: bool,
    },
    Union(Vec<Vec<Step>>),
    Filter {
        left: Operand,
        operator: Operator,
        right: Operand,
    },
}

#[derive(Debug, Clone)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Template {
    /// `allow_missing`: a field that is not there prints nothing instead of being an error.
    pub(crate) fn parse(source: &str, allow_missing: bool) -> Result<Template, String> {
        let mut tokens = tokenize(source)?.into_iter();
        let (nodes, ended) = nest(&mut tokens)?;
        if ended {
            return Err("not in range, nothing to end".to_owned());
        }
        Ok(Template {
            source: source.to_owned(),
            nodes,
            allow_missing,
        })
    }

    /// A bare path as flags take it: `.metadata.name`, `metadata.name` and `{.metadata.name}`.
    pub(crate) fn parse_relaxed(path: &str) -> Result<Template, String> {
        if path.is_empty() {
            return Template::parse("", true);
        }
        let inner = path
            .strip_prefix('{')
            .and_then(|path| path.strip_suffix('}'))
            .unwrap_or(path);
        if inner.contains(['{', '}']) {
            return Err("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'".to_string());
        }
        let inner = inner.strip_prefix('.').unwrap_or(inner);
        let dot = if inner.starts_with('[') { "" } else { "." };
        Template::parse(&format!("{{{dot}{inner}}}"), true)
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The text that the template makes of `value`.
    pub(crate) fn render(&self, value: &Value) -> Result<String, String> {
        let mut out = String::new();
        self.walk(&self.nodes, value, &mut |found| {
            out.push_str(&match found {
                Found::Text(text) => text.to_owned(),
                Found::Values(values) => values
                    .iter()
                    .map(|value| text_of(value))
                    .collect::<Vec<_>>()
                    .join(" "),
            });
        })?;
        Ok(out)
    }

    /// All results as one JSON list.
    pub(crate) fn render_json(&self, value: &Value) -> Result<String, String> {
        let values: Vec<Value> = self.find(value)?.into_iter().cloned().collect();
        Ok(gojson::pretty(&Value::Array(values), 4) + "\n")
    }

    /// The values that the paths of the template lead to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Result<Vec<&'a Value>, String> {
        let mut all = Vec::new();
        self.walk(&self.nodes, value, &mut |found| {
            if let Found::Values(values) = found {
                all.extend_from_slice(values);
            }
        })?;
        Ok(all)
    }

    fn walk<'a>(
        &self,
        nodes: &[Node],
        value: &'a Value,
        emit: &mut dyn FnMut(Found<'_, 'a>),
    ) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => emit(Found::Text(text)),
                Node::Path(path) => emit(Found::Values(&self.follow(path, value)?)),
                Node::Range { path, body } => {
                    for item in self.follow(path, value)? {
                        self.walk(body, item, emit)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn follow<'a>(&self, path: &[Step], value: &'a Value) -> Result<Vec<&'a Value>, String> {
        let mut values = vec![value];
        let mut after_recursion = false;
        for step in path {
            let mut next = Vec::new();
            for value in values {
                self.step(step, value, after_recursion, &mut next)?;
            }
            values = next;
            after_recursion = matches!(step, Step::Recursive);
        }
        Ok(values)
    }

    fn step<'a>(
        &self,
        step: &Step,
        value: &'a Value,
        lenient: bool,
        next: &mut Vec<&'a Value>,
    ) -> Result<(), String> {
        match step {
            Step::Field(name) => match value.get(name) {
                Some(field) => next.push(field),
                None if lenient || self.allow_missing => {}
                None => return Err(format!("{name} is not found")),
            },
            Step::Wildcard => match value {
                Value::Array(items) => next.extend(items),
                Value::Object(map) => next.extend(map.values()),
                _ => {}
            },
            Step::Recursive => descend(value, next),
            Step::Slice {
                start,
                end,
                step,
                single,
            } => match value {
                Value::Array(items) => slice(items, *start, *end, *step, *single, next)?,
                _ if lenient || (self.allow_missing && value.is_null()) => {}
                other => return Err(format!("{} is not array or slice", gojson::compact(other))),
            },
            Step::Union(paths) => {
                for path in paths {
                    next.extend(self.follow(path, value)?);
                }
            }
            Step::Filter {
                left,
                operator,
                right,
            } => match value {
                Value::Array(items) => {
                    for item in items {
                        if self.holds(left, *operator, right, item) {
                            next.push(item);
                        }
                    }
                }
                _ if lenient || self.allow_missing => {}
                other => {
                    return Err(format!(
                        "{} is not array or slice and cannot be filtered",
                        gojson::compact(other)
                    ));
                }
            },
        }
        Ok(())
    }

    fn holds(&self, left: &Operand, operator: Operator, right: &Operand, item: &Value) -> bool {
        let lenient = Template {
            source: String::new(),
            nodes: Vec::new(),
            allow_missing: true,
        };
        let value = |operand: &Operand| match operand {
            Operand::Literal(value) => Some(value.clone()),
            Operand::Path(path) => lenient
                .follow(path, item)
                .ok()?
                .first()
                .map(|value| (*value).clone()),
        };
        let Some(left) = value(left) else {
            return false;
        };
        if operator == Operator::Exists {
            return true;
        }
        let Some(right) = value(right) else {
            return false;
        };
        let order = compare(&left, &right);
        match operator {
            Operator::Exists => true,
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::NotEqual => order.is_some_and(|order| order != Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessOrEqual => order.is_some_and(|order| order != Ordering::Greater),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::GreaterOrEqual => order.is_some_and(|order| order != Ordering::Less),
        }
    }
}

enum Found<'t, 'v> {
    Text(&'t str),
    Values(&'t [&'v Value]),
}

/// Orders values of one type; None when they cannot be compared.
pub(crate) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => gojson::compact(other),
    }
}

fn descend<'a>(value: &'a Value, next: &mut Vec<&'a Value>) {
    next.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| descend(item, next)),
        Value::Object(map) => map.values().for_each(|item| descend(item, next)),
        _ => {}
    }
}

fn slice<'a>(
    items: &'a [Value],
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    single: bool,
    next: &mut Vec<&'a Value>,
) -> Result<(), String> {
    let length = items.len() as i64;
    let place = |index: i64| if index < 0 { index + length } else { index };
    let from = place(start.unwrap_or(0));
    if single {
        let item = usize::try_from(from)
            .ok()
            .and_then(|index| items.get(index));
        let item = item.ok_or_else(|| {
            format!(
                "array index out of bounds: index {}, length {length}",
                start.unwrap_or(0)
            )
        })?;
        next.push(item);
        return Ok(());
    }
    let to = place(end.unwrap_or(length)).min(length);
    if step <= 0 {
        return Err("step must be > 0".to_string());
    }
    let mut index = from.max(0);
    while index < to {
        if let Some(item) = usize::try_from(index)
            .ok()
            .and_then(|index| items.get(index))
        {
            next.push(item);
        }
        index += step;
    }
    Ok(())
}

/// What stands between braces, and the text around it.
enum Token {
    Node(Node),
    Range(Vec<Step>),
    End,
}

fn tokenize(source: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            tokens.push(Token::Node(Node::Text(rest[..open].to_owned())));
        }
        let inner = &rest[open + 1..];
        let close = closing(inner).ok_or("unclosed action")?;
        action(inner[..close].trim(), &mut tokens)?;
        rest = &inner[close + 1..];
    }
    if !rest.is_empty() {
        tokens.push(Token::Node(Node::Text(rest.to_owned())));
    }
    Ok(tokens)
}

/// The place of the brace that closes an action, outside quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            _ if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '}' => return Some(index),
            None => {}
        }
    }
    None
}

fn action(text: &str, tokens: &mut Vec<Token>) -> Result<(), String> {
    if text == "end" {
        tokens.push(Token::End);
    } else if let Some(path) = text
        .strip_prefix("range")
        .filter(|rest| rest.starts_with([' ', '\t']))
    {
        tokens.push(Token::Range(Parser::new(path.trim()).path()?));
    } else if text.starts_with(['"', '\'']) {
        tokens.push(Token::Node(Node::Text(unquote(text)?)));
    } else {
        let mut parser = Parser::new(text);
        tokens.push(Token::Node(Node::Path(parser.path()?)));
        while !parser.at_end() {
            let path = parser.path()?;
            tokens.push(Token::Node(Node::Path(path)));
        }
    }
    Ok(())
}

/// Puts what is between `range` and `end` inside the range; true if an `end` came.
fn nest(tokens: &mut std::vec::IntoIter<Token>) -> Result<(Vec<Node>, bool), String> {
    let mut nodes = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            Token::Node(node) => nodes.push(node),
            Token::End => return Ok((nodes, true)),
            Token::Range(path) => {
                let (body, ended) = nest(tokens)?;
                if !ended {
                    return Err("unterminated range, missing end".to_owned());
                }
                nodes.push(Node::Range { path, body });
            }
        }
    }
    Ok((nodes, false))
}

fn unquote(text: &str) -> Result<String, String> {
    let quote = text.chars().next().ok_or("empty string")?;
    let inner = text
        .strip_prefix(quote)
        .and_then(|text| text.strip_suffix(quote))
        .ok_or("unterminated quoted string")?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => return Err("invalid syntax".to_owned()),
        }
    }
    Ok(out)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { rest: text }
    }

    fn at_end(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.is_empty()
    }

    /// One path: up to white space outside brackets, or the end.
    fn path(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        self.rest = self.rest.trim_start();
        self.rest = self.rest.strip_prefix(['$', '@']).unwrap_or(self.rest);
        let mut first = true;
        while let Some(c) = self.rest.chars().next() {
            match c {
                ' ' | '\t' | '\n' => break,
                '.' if self.rest.starts_with("..") => {
                    self.rest = &self.rest[2..];
                    steps.push(Step::Recursive);
                    if !self.rest.starts_with('[') && !self.rest.is_empty() {
                        steps.push(self.field()?);
                    }
                }
                '.' => {
                    self.rest = &self.rest[1..];
                    let ends = self.rest.is_empty() || self.rest.starts_with([' ', '[']);
                    if !ends {
                        steps.push(self.field()?);
                    }
                }
                '[' => steps.push(self.bracket()?),
                _ if first => steps.push(self.field()?),
                other => {
                    return Err(format!(
                        "unrecognized character in action: U+{:04X} '{other}'",
                        other as u32
                    ));
                }
            }
            first = false;
        }
        Ok(steps)
    }

    fn field(&mut self) -> Result<Step, String> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((index, c)) = chars.next() {
            match c {
                '\\' => {
                    if let Some((_, escaped)) = chars.next() {
                        name.push(escaped);
                    }
                }
                '.' | '[' | ' ' | '\t' | '\n' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | '$'
                | '@' => {
                    end = index;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => Err("unexpected empty field".to_owned()),
            "*" => Ok(Step::Wildcard),
            _ => Ok(Step::Field(name)),
        }
    }

    fn bracket(&mut self) -> Result<Step, String> {
        let inner = &self.rest[1..];
        let close = closing_bracket(inner).ok_or("unterminated array")?;
        self.rest = &inner[close + 1..];
        bracketed(inner[..close].trim())
    }
}

/// The place of the `]` that closes, outside quotes and nested brackets.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' => quote = Some(c),
                '[' => depth += 1,
                ']' if depth == 0 => return Some(index),
                ']' => depth -= 1,
                _ => {}
            },
        }
    }
    None
}

fn bracketed(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::Slice {
            start: None,
            end: None,
            step: 1,
            single: false,
        });
    }
    if let Some(filter) = text.strip_prefix("?(") {
        return filtered(
            filter
                .strip_suffix(')')
                .ok_or("unterminated filter")?
                .trim(),
        );
    }
    let parts = split_outside_quotes(text, ',');
    if parts.len() > 1 {
        let steps = parts
            .into_iter()
            .map(|part| {
                let part = part.trim();
                if part.starts_with(['.', '@', '$']) {
                    Parser::new(part).path()
                } else {
                    bracketed(part).map(|step| vec![step])
                }
            })
            .collect::<Result<Vec<_>, String>>()?;
        return Ok(Step::Union(steps));
    }
    if text.starts_with(['"', '\'']) {
        return unquote(text).map(Step::Field);
    }
    slice_bounds(text)
}

fn slice_bounds(text: &str) -> Result<Step, String> {
    let invalid = || format!("invalid array index {text}");
    let bounds = text
        .split(':')
        .map(|part| match part.trim() {
            "" => Ok(None),
            number => number.parse::<i64>().map(Some).map_err(|_| invalid()),
        })
        .collect::<Result<Vec<_>, String>>()?;
    match bounds.as_slice() {
        [Some(index)] => Ok(Step::Slice {
            start: Some(*index),
            end: None,
            step: 1,
            single: true,
        }),
        [start, end] => Ok(Step::Slice {
            start: *start,
            end: *end,
            step: 1,
            single: false,
        }),
        [start, end, step] => Ok(Step::Slice {
            start: *start,
            end: *end,
            step: step.unwrap_or(1),
            single: false,
        }),
        _ => Err(invalid()),
    }
}

fn filtered(text: &str) -> Result<Step, String> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    let at = text.find(['=', '!', '<', '>']);
    let Some(at) = at else {
        return Ok(Step::Filter {
            left: operand(text)?,
            operator: Operator::Exists,
            right: Operand::Literal(Value::Null),
        });
    };
    let rest = &text[at..];
    let (sign, operator) = OPERATORS
        .into_iter()
        .find(|(sign, _)| rest.starts_with(sign))
        .ok_or_else(|| format!("unrecognized filter operator in {text}"))?;
    Ok(Step::Filter {
        left: operand(text[..at].trim())?,
        operator,
        right: operand(rest[sign.len()..].trim())?,
    })
}

fn operand(text: &str) -> Result<Operand, String> {
    if text.starts_with(['"', '\'']) {
        return unquote(text).map(|text| Operand::Literal(Value::String(text)));
    }
    if text.starts_with(['@', '$', '.']) {
        return Parser::new(text).path().map(Operand::Path);
    }
    match text {
        "true" => Ok(Operand::Literal(Value::Bool(true))),
        "false" => Ok(Operand::Literal(Value::Bool(false))),
        number => serde_json::from_str::<serde_json::Number>(number)
            .map(|number| Operand::Literal(Value::Number(number)))
            .or_else(|_| Parser::new(text).path().map(Operand::Path)),
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == separator => {
                parts.push(&text[start..index]);
                start = index + c.len_utf8();
            }
            None => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data() -> Value {
        json!({
            "kind": "List",
            "items": [
                {"metadata": {"name": "a", "labels": {"app.x/y": "1"}}, "n": 1, "c": [{"t": "Ready", "s": "True"}, {"t": "X", "s": "False"}]},
                {"metadata": {"name": "b", "labels": {}}, "n": 2, "ok": true},
            ],
        })
    }

    fn check(template: &str, expected: &str) {
        let text = Template::parse(template, true).and_then(|template| template.render(&data()));
        assert_eq!(text.as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn paths() {
        check("{.kind}", "List");
        check("{$.kind}", "List");
        check("kind is {.kind}", "kind is List");
        check("{.items[*].metadata.name}", "a b");
        check("{.items[0].metadata.name}", "a");
        check("{.items[-1].metadata.name}", "b");
        check("{.items[0:1].n}", "1");
        check("{.items[0,1].n}", "1 2");
        check("{.items[0]['metadata']['name']}", "a");
        check(
            "{.items[0].metadata['name','labels']}",
            "a {\"app.x/y\":\"1\"}",
        );
        check("{.items[0].metadata.labels.app\\.x/y}", "1");
        check("{.items[0].metadata.labels['app.x/y']}", "1");
        check("{..name}", "a b");
        check("{.nothing.at.all}", "");
        check("{.items[*].c[*].t}", "Ready X");
    }

    #[test]
    fn filters() {
        check("{.items[?(@.n==2)].metadata.name}", "b");
        check("{.items[?(@.n>=1)].metadata.name}", "a b");
        check("{.items[?(@.metadata.name!=\"a\")].n}", "2");
        check("{.items[0].c[?(@.t==\"Ready\")].s}", "True");
        check("{.items[?(@.ok)].metadata.name}", "b");
        check("{.items[?(@.ok==true)].metadata.name}", "b");
    }

    #[test]
    fn ranges_and_text() {
        check(
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.n}{\"\\n\"}{end}",
            "a\t1\nb\t2\n",
        );
        check(
            "{range .items[*]}[{range .c[*]}{.t}{end}]{end}",
            "[ReadyX][]",
        );
        check("{'it''s'}", "it''s");
    }

    #[test]
    fn mistakes() {
        for template in [
            "{.kind",
            "{range .items[*]}",
            "{end}",
            "{.items[a]}",
            "{.items[0}",
        ] {
            assert!(Template::parse(template, true).is_err(), "{template}");
        }
        let strict = Template::parse("{.nothing}", false).unwrap();
        assert_eq!(
            strict.render(&data()),
            Err("nothing is not found".to_owned())
        );
        let out = Template::parse("{.items[7].n}", true)
            .unwrap()
            .render(&data());
        assert_eq!(
            out,
            Err("array index out of bounds: index 7, length 2".to_owned())
        );
    }

    #[test]
    fn relaxed_paths() {
        for path in ["kind", ".kind", "{.kind}", "{kind}"] {
            let template = Template::parse_relaxed(path).unwrap();
            assert_eq!(template.render(&data()).unwrap(), "List", "{path}");
        }
    }
}
