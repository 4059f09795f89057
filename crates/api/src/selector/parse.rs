//! The grammar of label selectors: `a=b,c in (d,e),!f`.
//!
//! The complaints name what was found and what was expected, in upstream's words, so the
//! parser takes the same decisions in the same order as upstream's.

use std::collections::BTreeSet;

use super::{Operator, Requirement, check_key};
use crate::field::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    End,
    Closed,
    Comma,
    Not,
    Operator(Operator),
    Identifier,
    Open,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    text: String,
}

impl Token {
    /// `in` and `notin` are words only where an operator is expected.
    fn as_value(&self) -> Kind {
        match self.kind {
            Kind::Operator(Operator::In | Operator::NotIn) => Kind::Identifier,
            kind => kind,
        }
    }
}

fn keyword(text: &str) -> Option<Kind> {
    Some(match text {
        ")" => Kind::Closed,
        "," => Kind::Comma,
        "!" => Kind::Not,
        "(" => Kind::Open,
        "==" => Kind::Operator(Operator::DoubleEquals),
        "=" => Kind::Operator(Operator::Equals),
        ">" => Kind::Operator(Operator::GreaterThan),
        "<" => Kind::Operator(Operator::LessThan),
        "!=" => Kind::Operator(Operator::NotEquals),
        "in" => Kind::Operator(Operator::In),
        "notin" => Kind::Operator(Operator::NotIn),
        _ => return None,
    })
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let end = if is_symbol(first) {
            let end = rest.find(|c| !is_symbol(c)).unwrap_or(rest.len());
            // The longest run of symbols that is a token.
            longest_symbol(&rest[..end])
        } else {
            rest.find(|c| is_symbol(c) || is_space(c))
                .unwrap_or(rest.len())
        };
        let (word, tail) = rest.split_at(end);
        let unknown = if is_symbol(first) {
            Kind::Error
        } else {
            Kind::Identifier
        };
        tokens.push(Token {
            kind: keyword(word).unwrap_or(unknown),
            text: word.to_owned(),
        });
        rest = tail.trim_start_matches(is_space);
    }
    tokens.push(Token {
        kind: Kind::End,
        text: String::new(),
    });
    tokens
}

fn longest_symbol(run: &str) -> usize {
    let two = run.get(..2).and_then(keyword).is_some();
    if two { 2 } else { 1 }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser {
        tokens: scan(text),
        position: 0,
    };
    let mut requirements = Vec::new();
    loop {
        let token = parser.peek().clone();
        match token.as_value() {
            Kind::Identifier | Kind::Not => {
                let requirement = parser
                    .requirement()
                    .map_err(|error| format!("unable to parse requirement: {error}"))?;
                requirements.push(requirement);
                let next = parser.take();
                match next.as_value() {
                    Kind::End => return Ok(requirements),
                    Kind::Comma => {
                        let next = parser.peek();
                        if !matches!(next.as_value(), Kind::Identifier | Kind::Not) {
                            return Err(format!(
                                "found '{}', expected: identifier after ','",
                                next.text
                            ));
                        }
                    }
                    _ => {
                        return Err(format!(
                            "found '{}', expected: ',' or 'end of string'",
                            next.text
                        ));
                    }
                }
            }
            Kind::End => return Ok(requirements),
            _ => {
                return Err(format!(
                    "found '{}', expected: !, identifier, or 'end of string'",
                    token.text
                ));
            }
        }
    }
}

impl Parser {
    /// The last token is the end and is never passed.
    fn peek(&self) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[self.position.min(last)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut negated = false;
        let mut token = self.take();
        if token.as_value() == Kind::Not {
            negated = true;
            token = self.take();
        }
        if token.as_value() != Kind::Identifier {
            return Err(format!("found '{}', expected: identifier", token.text));
        }
        let key = token.text;
        if let Some(error) = check_key(&Path::root(), &key) {
            return Err(error.to_string());
        }
        let ends = matches!(self.peek().as_value(), Kind::End | Kind::Comma);
        if negated || ends {
            let operator = if negated {
                Operator::DoesNotExist
            } else {
                Operator::Exists
            };
            return Requirement::new(&key, operator, Vec::new()).map_err(|error| error.0);
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(&key, operator, values.into_iter().collect()).map_err(|error| error.0)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let token = self.take();
        match token.kind {
            Kind::Operator(operator) => Ok(operator),
            _ => Err(format!(
                "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                token.text
            )),
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, String> {
        if matches!(self.peek().as_value(), Kind::End | Kind::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        let token = self.take();
        match token.as_value() {
            Kind::Identifier => Ok(BTreeSet::from([token.text])),
            _ => Err(format!("found '{}', expected: identifier", token.text)),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let open = self.take();
        if open.as_value() != Kind::Open {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        let first = self.peek().clone();
        match first.as_value() {
            Kind::Identifier | Kind::Comma => {
                let values = self.identifiers()?;
                if self.take().as_value() != Kind::Closed {
                    return Err(format!("found '{}', expected: ')'", first.text));
                }
                Ok(values)
            }
            Kind::Closed => {
                self.take();
                Ok(BTreeSet::from([String::new()]))
            }
            _ => Err(format!(
                "found '{}', expected: ',', ')' or identifier",
                first.text
            )),
        }
    }

    /// Identifiers between commas; nothing between two commas is the empty value.
    fn identifiers(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            let token = self.take();
            match token.as_value() {
                Kind::Identifier => {
                    values.insert(token.text);
                    let next = self.peek();
                    match next.as_value() {
                        Kind::Comma => {}
                        Kind::Closed => return Ok(values),
                        _ => return Err(format!("found '{}', expected: ',' or ')'", next.text)),
                    }
                }
                Kind::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek().as_value() {
                        Kind::Closed => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Kind::Comma => {
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => {
                    return Err(format!(
                        "found '{}', expected: ',', or identifier",
                        token.text
                    ));
                }
            }
        }
    }
}
