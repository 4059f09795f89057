//! Explanations as text for people: short, aligned, grouped, the smallest fix first. Nothing is cut: many nodes are written as ranges.

use std::fmt::{self, Display, Write};

use super::changes::plural;
use super::{Explanation, Filtered, NodesBy, Now, Recorded, Scores, State, WhatIfAnswer};
use crate::objects::Text;

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.state, &self.node) {
            (State::Pending, _) => "is pending: it ",
            (State::Placed, _) => "is ",
            (State::WhatIf, _) => "(what if): it ",
            (State::Gone, _) => "",
        };
        let warning = match self.changed_meanwhile {
            true => " (the cluster changed while this was worked out)",
            false => "",
        };
        writeln!(f, "Pod {} {state}{}{warning}", self.pod, self.summary)?;
        self.write_suggestions(f)?;
        if let Some(recorded) = &self.recorded {
            write_recorded(f, recorded)?;
        }
        if let Some(now) = &self.now {
            self.write_now(f, now)?;
        }
        self.write_filtered(f)?;
        self.write_queue(f)?;
        self.write_preemption(f)
    }
}

impl Explanation {
    fn write_suggestions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.suggestions.is_empty() {
            if self.state != State::Placed && self.feasible == 0 && self.nodes > 0 {
                writeln!(f, "\nNo single change was found that would let it in.")?;
            }
            return Ok(());
        }
        writeln!(f, "\nWhat would let it in, the smallest change first:")?;
        for one in &self.suggestions {
            match one.nodes.len() {
                1 => writeln!(f, "  {}", one.text)?,
                _ => writeln!(f, "  {}: {}", one.text, ranges(&one.nodes))?,
            }
        }
        Ok(())
    }

    fn write_filtered(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.filtered.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nFiltered out: {} of {} nodes",
            self.nodes - self.feasible.min(self.nodes),
            self.nodes
        )?;
        let mut table = Table::new(&["NODES", "FILTER", "REASON"]);
        for one in &self.reasons {
            table.row(vec![
                one.nodes.to_string(),
                one.plugin.to_owned(),
                one.reason.clone(),
            ]);
        }
        table.write(f)?;
        // With one group, or with one reason for each node, the table has said it all but the names.
        writeln!(f, "\nEach node with everything that is in the way:")?;
        for group in &self.filtered {
            writeln!(f, "  {}: {}", ranges(&group.nodes), filters(group))?;
        }
        Ok(())
    }

    fn write_queue(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        let attempts = match queue.attempts {
            0 => String::new(),
            many => format!(" after {many} attempt{}", plural(many as usize)),
        };
        let again = match (queue.queue, queue.tried_again_in_seconds) {
            ("active", _) => "; it is tried next".to_owned(),
            ("backoff", Some(seconds)) => format!("; tried again in {}", time(seconds)),
            (_, Some(seconds)) => format!("; tried again in {} at the latest", time(seconds)),
            (_, None) => String::new(),
        };
        let queued = match queue.queue {
            "gated" => "It is held back by its scheduling gates".to_owned(),
            "in flight" => "Its binding is in flight".to_owned(),
            name => format!("It waits in the {name} queue"),
        };
        let waited = time(queue.waiting_seconds);
        writeln!(f, "\n{queued} ({waited} by now){attempts}{again}")?;
        for one in &queue.wakes {
            for (at, when) in one.when.iter().enumerate() {
                let plugin = if at == 0 { one.plugin } else { "" };
                let width = queue
                    .wakes
                    .iter()
                    .map(|one| one.plugin.len())
                    .max()
                    .unwrap_or(0);
                let word = if at == 0 { "or when" } else { "     or" };
                writeln!(f, "  {plugin:width$}  {word} {when}")?;
            }
        }
        Ok(())
    }

    fn write_preemption(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(preemption) = &self.preemption else {
            return Ok(());
        };
        writeln!(f, "\nPreemption: {}", preemption.verdict)?;
        for one in &preemption.candidates {
            let budgets = match one.violated_budgets {
                0 => String::new(),
                many => format!(", {many} of them protected by disruption budgets"),
            };
            let pods: Vec<&str> = one.pods.iter().map(Text::as_str).collect();
            writeln!(
                f,
                "  {}: by evicting {}{budgets}",
                one.node,
                pods.join(", ")
            )?;
        }
        write_nodes_by(f, &preemption.not_on)
    }

    fn write_now(&self, f: &mut fmt::Formatter<'_>, now: &Now) -> fmt::Result {
        let chosen = &now.scores.chosen;
        if self.state != State::Placed {
            writeln!(f, "\nIt would go to {}:", chosen.node)?;
            return write_scores(f, &now.scores);
        }
        if !now.differs {
            writeln!(
                f,
                "\nNow the decision would be the same{}",
                match self.recorded {
                    Some(_) => ".",
                    None => ":",
                }
            )?;
            return match self.recorded {
                Some(_) => Ok(()),
                None => write_scores(f, &now.scores),
            };
        }
        match &now.own {
            Some(own) => {
                writeln!(
                    f,
                    "\nNow it would go to {} instead ({} against {} for {}):",
                    chosen.node, chosen.total, own.total, own.node
                )?;
                write_scores(f, &Scores::new(chosen.clone(), Some(own.clone())))
            }
            None => {
                let node = self.node.as_deref().unwrap_or_default();
                writeln!(
                    f,
                    "\nNow it would go to {}; {node} does not do any more:",
                    chosen.node
                )?;
                write_scores(f, &now.scores)
            }
        }
    }
}

impl Display for WhatIfAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {}/{}: {}",
            self.kind, self.namespace, self.name, self.summary
        )?;
        if !self.placements.is_empty() {
            writeln!(f, "\nWhere they would go:")?;
            let mut counts: Vec<usize> = self.placements.iter().map(|one| one.pods).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.dedup();
            let mut table = Table::new(&["PODS", "EACH OF"]);
            for pods in counts {
                let nodes = self.placements.iter().filter(|one| one.pods == pods);
                let nodes: Vec<Text> = nodes.map(|one| one.node.clone()).collect();
                table.row(vec![pods.to_string(), ranges(&nodes)]);
            }
            table.write(f)?;
        }
        if !self.runs_out.is_empty() {
            writeln!(f, "\nThe next one is turned away:")?;
            write_nodes_by(f, &self.runs_out)?;
        }
        write!(f, "\n{}", self.first)
    }
}

fn write_recorded(f: &mut fmt::Formatter<'_>, recorded: &Recorded) -> fmt::Result {
    writeln!(f, "\nDecided {} ago:", time(recorded.seconds_ago))?;
    write_scores(f, &recorded.scores)
}

fn write_scores(f: &mut fmt::Formatter<'_>, scores: &Scores) -> fmt::Result {
    let (chosen, second) = (&scores.chosen, scores.runner_up.as_ref());
    let mut head = vec!["PLUGIN", "WEIGHT", chosen.node.as_str()];
    head.extend(second.map(|second| second.node.as_str()));
    let mut table = Table::new(&head);
    for (at, one) in chosen.plugins.iter().enumerate() {
        let cell = |one: &super::PluginScore| match one.raw {
            Some(raw) if raw != one.score => format!("{} (raw {raw})", one.weighted),
            Some(_) => one.weighted.to_string(),
            None => format!("{} (not scored)", one.weighted),
        };
        let mut row = vec![one.plugin.to_string(), one.weight.to_string(), cell(one)];
        row.extend(second.and_then(|second| second.plugins.get(at)).map(cell));
        table.row(row);
    }
    let mut total = vec!["TOTAL".to_owned(), String::new(), chosen.total.to_string()];
    total.extend(second.map(|second| second.total.to_string()));
    table.row(total);
    table.write(f)?;
    match (second, scores.margin) {
        (Some(second), Some(0)) => {
            writeln!(
                f,
                "  A tie with {}: the node that came first wins.",
                second.node
            )
        }
        (Some(second), Some(margin)) => writeln!(f, "  {margin} ahead of {}.", second.node),
        _ => writeln!(f, "  No other node would do."),
    }
}

fn write_nodes_by(f: &mut fmt::Formatter<'_>, groups: &[NodesBy]) -> fmt::Result {
    let width = groups
        .iter()
        .map(|one| one.count.to_string().len())
        .max()
        .unwrap_or(0);
    for one in groups {
        writeln!(
            f,
            "  {:>width$} {}: {}",
            one.count,
            one.reason,
            ranges(&one.nodes)
        )?;
    }
    Ok(())
}

fn filters(group: &Filtered) -> String {
    let one = |filter: &super::FilterAnswer| filter.reasons.join(", ");
    let all: Vec<String> = group.filters.iter().map(one).collect();
    all.join("; ")
}

/// 12s, 4m10s, 3h5m.
fn time(seconds: f64) -> String {
    let all = seconds.round() as u64;
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

/// Names that differ in a number at their end are drawn together: node-[1-3,7].
pub(super) fn ranges(names: &[Text]) -> String {
    let mut plain: Vec<(&str, Option<u64>)> = names.iter().map(|name| split(name)).collect();
    plain.sort_unstable();
    let mut out = String::new();
    let mut rest = plain.as_slice();
    while let Some(&(prefix, first)) = rest.first() {
        let same = rest
            .iter()
            .take_while(|(own, number)| *own == prefix && number.is_some());
        let count = same.count().max(1);
        let (group, others) = rest.split_at(count);
        rest = others;
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(prefix);
        match (first, count) {
            (None, _) => {}
            (Some(number), 1) => push(&mut out, number),
            _ => {
                let numbers: Vec<u64> = group.iter().filter_map(|(_, number)| *number).collect();
                push_numbers(&mut out, &numbers);
            }
        }
    }
    out
}

fn push_numbers(out: &mut String, numbers: &[u64]) {
    out.push('[');
    let mut at = 0;
    while at < numbers.len() {
        let mut end = at;
        while numbers.get(end + 1) == Some(&(numbers[end] + 1)) {
            end += 1;
        }
        if at > 0 {
            out.push(',');
        }
        push(out, numbers[at]);
        if end > at {
            out.push(if end == at + 1 { ',' } else { '-' });
            push(out, numbers[end]);
        }
        at = end + 1;
    }
    out.push(']');
}

fn push(out: &mut String, number: u64) {
    // Writing to a String does not fail.
    let _ = write!(out, "{number}");
}

/// The number at the end of a name, unless it is written with leading zeros or is too long.
fn split(name: &str) -> (&str, Option<u64>) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (prefix, number) = name.split_at(name.len() - digits);
    let plain = digits == 1 || !number.starts_with('0');
    match number.parse() {
        Ok(number) if plain => (prefix, Some(number)),
        _ => (name, None),
    }
}

/// Columns of text; numbers are written as the caller likes them.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.0 {
            let mut line = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, " {cell:<width$} ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_ranges() {
        for (names, expected) in [
            (vec!["a"], "a"),
            (vec!["node-1"], "node-1"),
            (
                vec!["node-3", "node-1", "node-2", "node-7", "b"],
                "b, node-[1-3,7]",
            ),
            (vec!["n1", "n2"], "n[1,2]"),
            (vec!["n9", "n10", "m10"], "m10, n[9,10]"),
            (vec!["n01", "n02"], "n01, n02"),
            (vec!["7", "8", "9"], "[7-9]"),
        ] {
            let names: Vec<Text> = names.into_iter().map(Text::from).collect();
            assert_eq!(ranges(&names), expected);
        }
    }

    #[test]
    fn times_are_short() {
        for (seconds, expected) in [
            (0.4, "0s"),
            (59.6, "1m"),
            (250.0, "4m10s"),
            (7260.0, "2h1m"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }
}
