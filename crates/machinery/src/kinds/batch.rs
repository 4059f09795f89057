//! Jobs and CronJobs.
//!
//! Invariant: unless its owner says otherwise, a job selects its pods by its own uid.

use fluyt_api::selector::LabelSelector;
use serde_json::Value;

use super::check_selector;
use super::pod::spec::check_template;
use crate::at::At;
use crate::ctx::Ctx;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::strategy::Rules;

const SPEC: At<'static> = At::root("spec");
const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";

pub(super) fn extend_job(rules: &mut Rules) {
    rules.create = create_job;
    rules.check = |job, errors| check_job(job, errors);
    rules.check_update = |new, old, errors| {
        check_job(new, errors);
        check_job_update(new, old, errors);
    };
    rules.select = |job| {
        let succeeded = job.at("status").int("succeeded").unwrap_or(0);
        vec![("status.successful", succeeded.to_string())]
    };
}

pub(super) fn extend_cron_job(rules: &mut Rules) {
    rules.check = check_cron_job;
    rules.check_update = |new, _, errors| check_cron_job(new, errors);
}

fn create_job(job: &mut Value, _: &Ctx) {
    if job.at("spec").is_true("manualSelector") {
        return;
    }
    let metadata = job.at("metadata");
    let (name, uid) = (
        metadata.text("name").to_owned(),
        metadata.text("uid").to_owned(),
    );
    let spec = job.open("spec");
    let labels = spec.open("template").open("metadata").open("labels");
    for key in ["job-name", NAME] {
        labels.or_put(key, name.as_str());
    }
    for key in ["controller-uid", UID] {
        labels.or_put(key, uid.as_str());
    }
    spec.open("selector").open("matchLabels").or_put(UID, uid);
}

fn check_job(job: &Value, errors: &mut Errors) {
    let spec = job.at("spec");
    check_spec(spec, &SPEC, errors);
    let at = SPEC.child("selector");
    if !spec.has("selector") {
        errors.required(&at, "");
    } else {
        check_selector(spec.at("selector"), &at, errors);
    }
    let labels = spec.at("template").at("metadata").at("labels");
    if LabelSelector::from_json(spec.at("selector")).is_ok_and(|s| !s.matches(labels)) {
        let template = SPEC.child("template");
        errors.invalid(
            &template.child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        );
    }
}

fn check_spec(spec: &Value, at: &At, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.non_negative(&at.child(field), spec.int(field).unwrap_or(0));
    }
    let mode = spec.text("completionMode");
    let field = at.child("completionMode");
    match mode {
        "Indexed" => {
            if !spec.has("completions") {
                errors.required(&at.child("completions"), "when completion mode is Indexed");
            }
        }
        "" | "NonIndexed" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
                if spec.has(field) {
                    errors.invalid(
                        &at.child(field),
                        spec.at(field).clone(),
                        "requires indexed completion mode",
                    );
                }
            }
        }
        _ => errors.not_supported(&field, mode, &["NonIndexed", "Indexed"]),
    }
    let replacement = spec.text("podReplacementPolicy");
    let field = at.child("podReplacementPolicy");
    if spec.has("podFailurePolicy") {
        if replacement != "Failed" {
            errors.not_supported(&field, replacement, &["Failed"]);
        }
    } else if !matches!(replacement, "" | "Failed" | "TerminatingOrFailed") {
        errors.not_supported(&field, replacement, &["Failed", "TerminatingOrFailed"]);
    }
    let template = at.child("template");
    check_template(spec.at("template"), &template, errors);
    let restart = spec.at("template").at("spec").text("restartPolicy");
    let pod = template.child("spec");
    let at = pod.child("restartPolicy");
    match restart {
        "" | "Always" => errors.required(&at, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => {
            if spec.has("podFailurePolicy") && restart != "Never" {
                errors.invalid(
                    &at,
                    restart,
                    "only \"Never\" is supported when podFailurePolicy is specified",
                );
            }
        }
        other => errors.not_supported(&at, other, &["OnFailure", "Never"]),
    }
}

fn check_job_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if spec.text("completionMode") != "Indexed" {
        errors.immutable(
            &SPEC.child("completions"),
            spec.at("completions"),
            before.at("completions"),
        );
    }
    for field in ["selector", "template"] {
        // A suspended job that has not started may still be directed to other nodes.
        let started = old.at("status").has("startTime");
        if field == "template" && before.is_true("suspend") && !started {
            continue;
        }
        errors.immutable(&SPEC.child(field), spec.at(field), before.at(field));
    }
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        errors.immutable(&SPEC.child(field), spec.at(field), before.at(field));
    }
}

fn check_cron_job(job: &Value, errors: &mut Errors) {
    let name = job.at("metadata").text("name");
    if name.len() > 52 {
        let metadata = At::root("metadata");
        errors.invalid(
            &metadata.child("name"),
            name,
            "must be no more than 52 characters",
        );
    }
    let spec = job.at("spec");
    let schedule = spec.text("schedule");
    let at = SPEC.child("schedule");
    if schedule.is_empty() {
        errors.required(&at, "");
    } else {
        if let Err(why) = check_schedule(schedule) {
            errors.invalid(&at, schedule, why);
        }
        if schedule.contains("TZ") {
            errors.invalid(
                &at,
                schedule,
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            );
        }
    }
    errors.one_of(
        &SPEC.child("concurrencyPolicy"),
        spec.text("concurrencyPolicy"),
        &["Allow", "Forbid", "Replace"],
    );
    let template = SPEC.child("jobTemplate");
    check_spec(
        spec.at("jobTemplate").at("spec"),
        &template.child("spec"),
        errors,
    );
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        errors.non_negative(&SPEC.child(field), spec.int(field).unwrap_or(0));
    }
}

/// The five fields of a schedule: least, most, and names that stand for numbers.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (
        1,
        12,
        &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    ),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

fn check_schedule(schedule: &str) -> Result<(), String> {
    let body = match schedule.split_once(' ') {
        Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest,
        _ => schedule,
    };
    if body.starts_with('@') {
        let known = [
            "@yearly",
            "@annually",
            "@monthly",
            "@weekly",
            "@daily",
            "@midnight",
            "@hourly",
        ];
        if known.contains(&body) || body.starts_with("@every ") {
            return Ok(());
        }
        return Err(format!("unrecognized descriptor: {body}"));
    }
    let fields: Vec<&str> = body.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: {fields:?}",
            fields.len()
        ));
    }
    for (text, (least, most, words)) in fields.iter().zip(FIELDS) {
        for part in text.split(',') {
            check_part(part, least, most, words)?;
        }
    }
    Ok(())
}

fn check_part(part: &str, least: u32, most: u32, words: &[&str]) -> Result<(), String> {
    let number = |text: &str| -> Result<u32, String> {
        let low = text.to_lowercase();
        if let Some(place) = words.iter().position(|word| *word == low) {
            return Ok(least + u32::try_from(place).unwrap_or(0));
        }
        text.parse()
            .map_err(|_| format!("failed to parse int from {text}: invalid syntax"))
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(number(step)?)),
        None => (part, None),
    };
    if step == Some(0) {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let (low, high) = match range {
        "*" | "?" => (least, most),
        _ => match range.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(range)?, number(range)?),
        },
    };
    if low < least {
        return Err(format!(
            "beginning of range ({low}) below minimum ({least}): {part}"
        ));
    }
    if high > most {
        return Err(format!(
            "end of range ({high}) above maximum ({most}): {part}"
        ));
    }
    if low > high {
        return Err(format!(
            "beginning of range ({low}) beyond end of range ({high}): {part}"
        ));
    }
    Ok(())
}
