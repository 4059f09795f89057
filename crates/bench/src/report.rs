//! The figures: medians of their runs, beside those of Kubernetes and the goals, as a table and
//! as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What is known of a figure beforehand.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) unit: &'static str,
    better: Better,
    /// Kubernetes 1.36 on a machine with two cores; the middle of what was measured.
    kubernetes: Option<f64>,
    goal: Option<f64>,
}

const fn figure(
    name: &'static str,
    about: &'static str,
    unit: &'static str,
    better: Better,
    kubernetes: Option<f64>,
    goal: Option<f64>,
) -> Figure {
    Figure {
        name,
        about,
        unit,
        better,
        kubernetes,
        goal,
    }
}

use Better::{Higher, Lower};

const FIGURES: [Figure; 16] = [
    figure(
        "ready",
        "start to ready, empty data directory",
        "ms",
        Lower,
        Some(2800.0),
        Some(250.0),
    ),
    figure("size", "binary", "MB", Lower, Some(774.0), Some(40.0)),
    figure(
        "memory-idle",
        "memory, idle",
        "MB",
        Lower,
        Some(490.0),
        Some(60.0),
    ),
    figure(
        "cpu-idle",
        "CPU, idle",
        "% of a core",
        Lower,
        Some(2.6),
        Some(0.5),
    ),
    figure(
        "creates",
        "durable pod creates, 64 connections",
        "/s",
        Higher,
        Some(1090.0),
        Some(10_000.0),
    ),
    figure(
        "gets",
        "GET one pod, 32 connections",
        "/s",
        Higher,
        Some(2890.0),
        Some(25_000.0),
    ),
    figure("list", "LIST pods", "ms", Lower, Some(118.0), Some(12.0)),
    figure("list-bytes", "LIST pods, size", "MB", Lower, None, None),
    figure(
        "watch",
        "100 watches, 500 writes",
        "events/s",
        Higher,
        Some(61_700.0),
        Some(500_000.0),
    ),
    figure(
        "bind",
        "create, schedule and bind",
        "pods/s",
        Higher,
        Some(325.0),
        Some(5_000.0),
    ),
    figure(
        "bind-p50",
        "creation to binding, median",
        "ms",
        Lower,
        None,
        None,
    ),
    figure(
        "bind-p99",
        "creation to binding, 99 %",
        "ms",
        Lower,
        None,
        None,
    ),
    figure(
        "memory-cluster",
        "memory, simulated nodes, running pods",
        "MB",
        Lower,
        Some(900.0),
        Some(120.0),
    ),
    figure(
        "memory-node",
        "memory, idle, one node, no runtime",
        "MB",
        Lower,
        Some(490.0),
        Some(60.0),
    ),
    figure(
        "cpu-node",
        "CPU, idle, one node, no runtime",
        "% of a core",
        Lower,
        None,
        Some(0.5),
    ),
    figure(
        "pod-start",
        "pod created to container started",
        "ms",
        Lower,
        None,
        Some(350.0),
    ),
];

pub(crate) fn known(name: &str) -> &'static Figure {
    let found = FIGURES.iter().find(|figure| figure.name == name);
    found.expect("scenarios report figures of the table")
}

/// One figure as it was measured, once per run.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) runs: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    about: String,
    unit: String,
    better: Better,
    median: f64,
    runs: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    compared_with: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    goal: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct File {
    results: Vec<Line>,
}

pub(crate) struct Report {
    lines: Vec<Line>,
    /// Medians of another run, instead of the recorded ones.
    other: Option<BTreeMap<String, f64>>,
}

impl Report {
    pub(crate) fn new(compare: Option<&Path>) -> anyhow::Result<Self> {
        let read = |path: &Path| -> anyhow::Result<_> {
            let file: File = serde_json::from_slice(&std::fs::read(path)?)?;
            Ok(file
                .results
                .into_iter()
                .map(|line| (line.name, line.median))
                .collect())
        };
        let named = |path| read(path).with_context(|| format!("--compare {}", path.display()));
        Ok(Report {
            lines: Vec::new(),
            other: compare.map(named).transpose()?,
        })
    }

    pub(crate) fn extend(&mut self, measured: Vec<Measured>) {
        for Measured { name, runs } in measured {
            let figure = known(name);
            let compared_with = match &self.other {
                Some(other) => other.get(name).copied(),
                None => figure.kubernetes,
            };
            self.lines.push(Line {
                name: name.into(),
                about: figure.about.into(),
                unit: figure.unit.into(),
                better: figure.better,
                median: median(&runs),
                runs,
                compared_with,
                goal: figure.goal,
            });
        }
    }

    pub(crate) fn table(&self) -> String {
        let other = if self.other.is_some() {
            "other"
        } else {
            "Kubernetes 1.36"
        };
        if self.lines.is_empty() {
            return String::new();
        }
        let header = ["what", "median", "runs", other, "ratio", "goal"].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(header)
            .chain(self.lines.iter().map(row))
            .collect();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..6).map(width).collect();
        let mut out = String::new();
        for row in &rows {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"));
            let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        out
    }

    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            results: &'a [Line],
        }
        let text = serde_json::to_string_pretty(&Borrowed {
            results: &self.lines,
        })?;
        Ok(std::fs::write(path, text + "\n")?)
    }
}

fn row(line: &Line) -> [String; 6] {
    let (least, most) = bounds(&line.runs);
    let runs = if line.runs.len() > 1 {
        format!("{}-{}", short(least), short(most))
    } else {
        String::new()
    };
    let ratio = line
        .compared_with
        .filter(|&other| other > 0.0 && line.median > 0.0)
        .map(|other| match line.better {
            Better::Lower => other / line.median,
            Better::Higher => line.median / other,
        });
    let goal = line.goal.map(|goal| {
        let met = match line.better {
            Better::Lower => line.median <= goal,
            Better::Higher => line.median >= goal,
        };
        format!("{} {}", short(goal), if met { "met" } else { "missed" })
    });
    [
        line.about.clone(),
        format!("{} {}", short(line.median), line.unit),
        runs,
        line.compared_with.map(short).unwrap_or_default(),
        ratio
            .map(|ratio| format!("{}x", short(ratio)))
            .unwrap_or_default(),
        goal.unwrap_or_default(),
    ]
}

/// Three digits that matter, thousands separated.
pub(crate) fn short(number: f64) -> String {
    let decimals = match number.abs() {
        number if number >= 100.0 => 0,
        number if number >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{number:.decimals$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

fn bounds(runs: &[f64]) -> (f64, f64) {
    let least = runs.iter().copied().fold(f64::INFINITY, f64::min);
    (least, runs.iter().copied().fold(0.0, f64::max))
}

/// 0 of nothing.
pub(crate) fn median(runs: &[f64]) -> f64 {
    percentile(runs, 50.0)
}

/// The smallest value that at least `percent` of all are not above.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (percent, expected) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0), (0.0, 1.0)] {
            assert_eq!(percentile(&values, percent), expected);
        }
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_table_compares() {
        let mut report = Report::new(None).unwrap();
        report.extend(vec![
            Measured {
                name: "creates",
                runs: vec![10_900.0, 9_000.0, 21_800.0],
            },
            Measured {
                name: "list",
                runs: vec![23.6],
            },
            Measured {
                name: "bind-p50",
                runs: vec![1.5],
            },
        ]);
        let expected = "\
what                                 median     runs          Kubernetes 1.36  ratio  goal
durable pod creates, 64 connections  10,900 /s  9,000-21,800  1,090            10.0x  10,000 met
LIST pods                            23.6 ms                  118              5.00x  12.0 missed
creation to binding, median          1.50 ms
";
        assert_eq!(report.table(), expected);
    }

    #[test]
    fn another_run_replaces_the_recorded_figures() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.json");
        let mut other = Report::new(None).unwrap();
        other.extend(vec![Measured {
            name: "gets",
            runs: vec![500.0],
        }]);
        other.write_json(&path).unwrap();
        let mut report = Report::new(Some(&path)).unwrap();
        report.extend(vec![Measured {
            name: "gets",
            runs: vec![1000.0],
        }]);
        assert!(report.table().contains("2.00x"), "{}", report.table());
        let refused = Report::new(Some(Path::new("/nonexistent"))).err().unwrap();
        assert!(
            refused.to_string().contains("--compare /nonexistent"),
            "{refused}"
        );
    }
}
