//! Checks of probes and life-cycle hooks.

use fluyt_api::names;
use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;

/// Checks the probes and hooks of a container that may have them.
pub(super) fn check(container: &Value, grace: Option<i64>, at: &At, errors: &mut Errors) {
    let lifecycle = container.at("lifecycle");
    let hooks = at.child("lifecycle");
    for hook in ["postStart", "preStop"] {
        if lifecycle.has(hook) {
            check_handler(lifecycle.at(hook), grace, &hooks.child(hook), errors);
        }
    }
    if lifecycle.has("stopSignal") && !lifecycle.text("stopSignal").starts_with("SIG") {
        let signal = lifecycle.text("stopSignal");
        errors.invalid(&hooks.child("stopSignal"), signal, "invalid stop signal");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(name);
        if probe.is_null() {
            continue;
        }
        let at = at.child(name);
        check_probe(probe, &at, errors);
        if name != "readinessProbe" {
            let threshold = probe.int("successThreshold").unwrap_or(0);
            if threshold != 1 {
                errors.invalid(&at.child("successThreshold"), threshold, "must be 1");
            }
        } else if let Some(seconds) = probe.int("terminationGracePeriodSeconds") {
            errors.invalid(
                &at.child("terminationGracePeriodSeconds"),
                seconds,
                "must not be set for readinessProbes",
            );
        }
    }
}

fn check_probe(probe: &Value, at: &At, errors: &mut Errors) {
    check_handler(probe, None, at, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.non_negative(&at.child(field), probe.int(field).unwrap_or(0));
    }
    if let Some(seconds) = probe.int("terminationGracePeriodSeconds")
        && seconds <= 0
    {
        errors.invalid(
            &at.child("terminationGracePeriodSeconds"),
            seconds,
            "must be greater than 0",
        );
    }
}

/// Exactly one way to ask or to tell a container something.
fn check_handler(handler: &Value, grace: Option<i64>, at: &At, errors: &mut Errors) {
    let mut handlers = 0;
    for name in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = handler.at(name);
        if action.is_null() {
            continue;
        }
        handlers += 1;
        let at = at.child(name);
        if handlers > 1 {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        match name {
            "exec" => {
                if action.items("command").is_empty() {
                    errors.required(&at.child("command"), "");
                }
            }
            "httpGet" => check_http(action, &at, errors),
            "sleep" => check_sleep(action, grace, &at, errors),
            _ => check_port(action.at("port"), &at.child("port"), errors),
        }
    }
    if handlers == 0 {
        errors.required(at, "must specify a handler type");
    }
}

fn check_http(http: &Value, at: &At, errors: &mut Errors) {
    if http.text("path").is_empty() {
        errors.required(&at.child("path"), "");
    }
    check_port(http.at("port"), &at.child("port"), errors);
    let scheme = http.text("scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&at.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in http.items("httpHeaders") {
        let name = header.text("name");
        errors.all_invalid(
            &at.child("httpHeaders"),
            name,
            names::http_header_name(name),
        );
    }
}

/// A port by number or by name.
pub(crate) fn check_port(port: &Value, at: &At, errors: &mut Errors) {
    match port {
        Value::String(name) => errors.all_invalid(at, name, names::port_name(name)),
        other => {
            let number = other.as_i64().unwrap_or(0);
            for message in names::port_number(number) {
                errors.invalid(at, number, message);
            }
        }
    }
}

fn check_sleep(sleep: &Value, grace: Option<i64>, at: &At, errors: &mut Errors) {
    let seconds = sleep.int("seconds").unwrap_or(0);
    if let Some(grace) = grace
        && (seconds < 0 || seconds > grace)
    {
        errors.invalid(
            at,
            seconds,
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
        );
    }
}
