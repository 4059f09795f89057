//! What can go wrong, and how the reference client words it. A verb returns a `Failure`; only `run`
//! prints it, so that no error is printed twice.

use crate::text::goquote::quote;
use serde_json::Value;

/// Why a command did not succeed.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The server refused, with a `Status`.
    Api(Box<ApiError>),
    /// The server could not be reached.
    Transport {
        host: String,
        refused: bool,
        text: String,
    },
    /// A problem on this side; printed after `error: `.
    Message(String),
    /// Printed exactly so, with this exit code.
    Exact { text: String, code: i32 },
    /// Several, each on its own line.
    Many(Vec<Failure>),
    /// Everything has been said already.
    Exit(i32),
}

/// A `metav1.Status` of an answer that is not a success.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Value,
}

impl Failure {
    pub(crate) fn message(text: impl Into<String>) -> Failure {
        Failure::Message(text.into())
    }

    /// A wrong use of a verb: the message, and where to read more.
    pub(crate) fn usage(verb: &str, text: impl AsRef<str>) -> Failure {
        Failure::Exact {
            text: format!(
                "error: {}\nSee 'kubectl {verb} -h' for help and examples",
                text.as_ref()
            ),
            code: 1,
        }
    }

    /// None when there are none, the one when there is one.
    pub(crate) fn collect(mut failures: Vec<Failure>) -> Result<(), Failure> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Failure::Many(failures)),
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Failure::Api(error) if error.reason == "NotFound")
    }

    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Failure::Api(error) if error.reason == "Conflict")
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Failure::Api(error) => &error.reason,
            _ => "",
        }
    }

    /// Says what was being done with which file; the reason and the details stay.
    pub(crate) fn with_source(self, doing: &str, source: Option<&str>) -> Failure {
        let Some(source) = source else {
            return self;
        };
        let doing = format!("error when {doing} {}: ", quote(source));
        match self {
            Failure::Api(mut error) => {
                error.message = format!("{doing}{}", error.message);
                Failure::Api(error)
            }
            Failure::Message(text) => Failure::Message(format!("{doing}{text}")),
            other => other,
        }
    }

    /// 0 is never answered.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Failure::Exact { code, .. } | Failure::Exit(code) => *code,
            _ => 1,
        }
    }

    /// What goes to standard error, without the newline at the end; empty if nothing.
    pub(crate) fn render(&self) -> String {
        match self {
            Failure::Message(text) => {
                let text = text.strip_suffix('\n').unwrap_or(text);
                let prefix = if text.starts_with("error: ") {
                    ""
                } else {
                    "error: "
                };
                format!("{prefix}{text}")
            }
            Failure::Many(failures) => {
                let lines: Vec<String> = failures.iter().map(Failure::standard_message).collect();
                lines.join("\n")
            }
            Failure::Api(error) if error.reason == "Invalid" => error.render_invalid(),
            other => other.standard_message(),
        }
    }

    /// The message without the prefix that only a single local error gets.
    pub(crate) fn standard_message(&self) -> String {
        match self {
            Failure::Api(error) if error.reason == "Unauthorized" => {
                format!(
                    "error: You must be logged in to the server ({})",
                    error.message
                )
            }
            Failure::Api(error) if error.reason.is_empty() => {
                format!("Error from server: {}", error.message)
            }
            Failure::Api(error) => {
                format!("Error from server ({}): {}", error.reason, error.message)
            }
            Failure::Transport {
                host,
                refused: true,
                ..
            } => format!(
                "The connection to the server {host} was refused - did you specify the right host or port?"
            ),
            Failure::Transport { text, .. } => format!("Unable to connect to the server: {text}"),
            Failure::Message(text) | Failure::Exact { text, .. } => text.clone(),
            Failure::Many(_) => self.render(),
            Failure::Exit(_) => String::new(),
        }
    }

    /// The bare text: for messages that embed another one.
    pub(crate) fn text(&self) -> String {
        match self {
            Failure::Api(error) => error.message.clone(),
            other => other.standard_message(),
        }
    }
}

impl ApiError {
    /// Reads a `Status`, or makes up what its code says when the body is something else.
    pub(crate) fn from_answer(code: u16, body: &[u8]) -> ApiError {
        if let Ok(status) = serde_json::from_slice::<Value>(body)
            && status["kind"] == "Status"
        {
            return ApiError {
                code,
                reason: text_of(&status["reason"]),
                message: text_of(&status["message"]),
                details: status["details"].clone(),
            };
        }
        let body = String::from_utf8_lossy(body).trim().to_owned();
        let (reason, message) = match code {
            400 => (
                "BadRequest",
                or(
                    &body,
                    "the server rejected our request for an unknown reason",
                ),
            ),
            401 => (
                "Unauthorized",
                "the server has asked for the client to provide credentials".to_owned(),
            ),
            403 => ("Forbidden", or(&body, "unknown")),
            404 => (
                "NotFound",
                "the server could not find the requested resource".to_owned(),
            ),
            405 => (
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource".to_owned(),
            ),
            406 => (
                "NotAcceptable",
                or(
                    &body,
                    "the server was unable to respond with a content type that the client supports",
                ),
            ),
            409 => ("Conflict", or(&body, "the server reported a conflict")),
            410 => (
                "Gone",
                "the server reported a resource is no longer available".to_owned(),
            ),
            415 => (
                "UnsupportedMediaType",
                or(&body, "the body of the request was in an unknown format"),
            ),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later"
                    .to_owned(),
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request".to_owned(),
            ),
            500.. => (
                "InternalError",
                format!(
                    "an error on the server ({}) has prevented the request from succeeding",
                    quote(&body)
                ),
            ),
            _ => (
                "",
                format!(
                    "the server responded with the status code {code} but did not return more information"
                ),
            ),
        };
        ApiError {
            code,
            reason: reason.to_owned(),
            message,
            details: Value::Null,
        }
    }

    /// `The Pod "x" is invalid: spec...`, with one line per cause when there are several.
    fn render_invalid(&self) -> String {
        if !self.details.is_object() {
            return format!("The request is invalid: {}", self.message);
        }
        let (kind, name) = (
            text_of(&self.details["kind"]),
            text_of(&self.details["name"]),
        );
        let mut causes: Vec<String> = Vec::new();
        for cause in self.details["causes"].as_array().into_iter().flatten() {
            let line = format!(
                "{}: {}",
                text_of(&cause["field"]),
                text_of(&cause["message"])
            );
            if !causes.contains(&line) {
                causes.push(line);
            }
        }
        let subject = if !kind.is_empty() || !name.is_empty() {
            format!("The {kind} {} is invalid", quote(&name))
        } else if !self.message.is_empty() && causes.is_empty() {
            format!("The request is invalid: {}", self.message)
        } else {
            "The request is invalid".to_owned()
        };
        match causes.as_slice() {
            [] => subject,
            [one] => format!("{subject}: {one}"),
            many => format!("{subject}: \n* {}", many.join("\n* ")),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Message(error.to_string())
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(status: Value, expected: &str) {
        let error = ApiError::from_answer(422, status.to_string().as_bytes());
        assert_eq!(Failure::Api(Box::new(error)).render(), expected);
    }

    #[test]
    fn invalid_objects_name_each_field() {
        let cause = |field: &str| json!({"reason": "FieldValueRequired", "field": field, "message": "Required value"});
        check(
            json!({"kind": "Status", "reason": "Invalid", "details": {"kind": "Pod", "name": "x", "causes": [cause("a")]}}),
            "The Pod \"x\" is invalid: a: Required value",
        );
        check(
            json!({"kind": "Status", "reason": "Invalid", "details": {"kind": "Pod", "name": "x", "causes": [cause("a"), cause("b"), cause("a")]}}),
            "The Pod \"x\" is invalid: \n* a: Required value\n* b: Required value",
        );
    }

    #[test]
    fn the_reason_is_in_the_prefix() {
        check(
            json!({"kind": "Status", "reason": "NotFound", "message": "pods \"x\" not found"}),
            "Error from server (NotFound): pods \"x\" not found",
        );
    }

    #[test]
    fn an_answer_without_status_is_worded_by_its_code() {
        let error = ApiError::from_answer(404, b"404 page not found\n");
        assert_eq!(
            Failure::Api(Box::new(error)).render(),
            "Error from server (NotFound): the server could not find the requested resource"
        );
    }
}
