//! GET /why?pod=NAMESPACE/NAME and POST /why/what-if: explanations over HTTP, as JSON or (`format=table`) as text.

use std::time::Duration;

use bytes::Bytes;
use fluyt_scheduler_core::explain::{Explanation, Manifest};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use crate::decision_log::DecisionLog;
use crate::questions::{Answer, Question, Questions, Unanswered};

/// What a manifest may weigh, in bytes; as much as the API server takes.
const MANIFEST_LIMIT: usize = 3 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// What answers need.
#[derive(Clone)]
pub struct Why {
    pub questions: Questions,
    pub log: Option<DecisionLog>,
}

type Failure = (StatusCode, String);

pub async fn answer(why: &Why, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let table = parameter(&request, "format").as_deref() == Some("table");
    let outcome = match (request.method(), request.uri().path()) {
        (&Method::GET, "/why") => why_pod(why, &request, table).await,
        (&Method::POST, "/why/what-if") => what_if(why, request, table).await,
        _ => Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "GET /why?pod=NAMESPACE/NAME or POST /why/what-if".to_owned(),
        )),
    };
    match outcome {
        Ok(text) if table => crate::serve::text(StatusCode::OK, "text/plain; charset=utf-8", text),
        Ok(text) => crate::serve::text(StatusCode::OK, "application/json", text),
        Err((status, message)) => {
            let status_object = refusal(status, &message).to_string();
            crate::serve::text(status, "application/json", status_object)
        }
    }
}

/// As API servers refuse, so that any client knows how to say it.
fn refusal(status: StatusCode, message: &str) -> serde_json::Value {
    let reason = match status {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ => "InternalError",
    };
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                       "reason": reason, "code": status.as_u16()})
}

async fn why_pod(why: &Why, request: &Request<Incoming>, table: bool) -> Result<String, Failure> {
    let bad = |message: &str| (StatusCode::BAD_REQUEST, message.to_owned());
    let key = parameter(request, "pod").ok_or_else(|| bad("pod: missing: give NAMESPACE/NAME"))?;
    if key
        .split_once('/')
        .is_none_or(|(namespace, name)| namespace.is_empty() || name.is_empty())
    {
        return Err(bad("pod: expected NAMESPACE/NAME"));
    }
    let answer = ask(why, Question::Why(key.clone())).await?;
    let logged = async {
        match &why.log {
            Some(log) => log.find(&key).await,
            None => None,
        }
    };
    let explanation = match answer {
        Answer::Why(mut explanation) => {
            if explanation.node.is_some() && explanation.recorded.is_none() {
                explanation.recorded = logged.await;
                explanation.update_summary();
            }
            explanation
        }
        _ => match logged.await {
            Some(recorded) => Box::new(Explanation::of_the_past(&key, recorded)),
            None => {
                let message = format!(
                    "pod {key} is not known to this scheduler: it does not exist, has finished, or is another scheduler's"
                );
                return Err((StatusCode::NOT_FOUND, message));
            }
        },
    };
    written(&*explanation, table)
}

async fn what_if(why: &Why, request: Request<Incoming>, table: bool) -> Result<String, Failure> {
    let namespace = parameter(&request, "namespace").unwrap_or_else(|| "default".to_owned());
    let body = Limited::new(request.into_body(), MANIFEST_LIMIT)
        .collect()
        .await;
    let bad = |message: String| (StatusCode::BAD_REQUEST, message);
    let body = body.map_err(|error| bad(format!("the manifest cannot be read: {error}")))?;
    let body = body.to_bytes();
    let text =
        std::str::from_utf8(&body).map_err(|_| bad("the manifest is not text".to_owned()))?;
    // YAML is a superset of JSON.
    let object: serde_json::Value = serde_saphyr::from_str(text)
        .map_err(|error| bad(format!("the manifest cannot be read: {error}")))?;
    let manifest = Manifest::read(&object, &namespace).map_err(bad)?;
    match ask(why, Question::WhatIf(Box::new(manifest))).await? {
        Answer::WhatIf(answer) => written(&*answer, table),
        _ => Err((StatusCode::INTERNAL_SERVER_ERROR, "no answer".to_owned())),
    }
}

async fn ask(why: &Why, question: Question) -> Result<Answer, Failure> {
    why.questions.ask(question, PATIENCE).await.map_err(|error| match error {
        Unanswered::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many questions wait for an answer; ask again in a moment".to_owned(),
        ),
        Unanswered::NotNow => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this scheduler cannot answer now: another one leads, or it has not seen the whole cluster yet".to_owned(),
        ),
    })
}

fn written<T: Serialize + std::fmt::Display>(answer: &T, table: bool) -> Result<String, Failure> {
    if table {
        return Ok(answer.to_string());
    }
    serde_json::to_string_pretty(answer)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// A parameter of the query, decoded.
fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let hex = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match (byte, tail.get(..2).and_then(hex)) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let request = Request::get("/why?pod=kube-system%2Fa+b%zz&format=table")
            .body(())
            .unwrap();
        assert_eq!(parameter(&request, "pod").unwrap(), "kube-system/a b%zz");
        assert_eq!(parameter(&request, "format").unwrap(), "table");
        assert_eq!(parameter(&request, "x"), None);
    }
}
