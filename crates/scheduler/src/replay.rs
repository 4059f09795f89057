//! `fluyt scheduler replay FILE`: tells a new core what a recording says, and compares its decisions with the recorded ones.
//!
//! Invariant: no clock, no client, no randomness; a file gives the same answer every time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fluyt_scheduler_core::core::Core;

use crate::extenders;
use crate::informers::Input;
use crate::intake::Intake;
use crate::record::{Asked, Decided, Line, VERSION, What};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  # Record what a scheduler is told and decides, then decide it all again
  fluyt scheduler --kubeconfig scheduler.conf --record decisions.jsonl
  fluyt scheduler replay decisions.jsonl

Exits with 1 at the first decision that is not the recorded one.")]
pub struct Options {
    /// What `--record` wrote.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print no decisions, only how many there were.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What a recording came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub decisions: usize,
    pub placed: usize,
    /// Nodes by pod (`namespace/name`), as last decided.
    pub nodes: BTreeMap<String, String>,
}

/// Errors: the file cannot be read, a line is not what `--record` writes, or a decision differs; each names file and line.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<Summary> {
    let summary = replay(&options.file, |line, decided| {
        if options.quiet {
            return Ok(());
        }
        let pod = &decided.pod;
        let told = match (&decided.node, decided.message.as_str()) {
            (Some(node), "") => node.clone(),
            (Some(node), message) => format!("nominated to {node}: {message}"),
            (None, message) => message.to_owned(),
        };
        writeln!(out, "{line}\t{}/{}\t{told}", pod.namespace, pod.name)
    })?;
    writeln!(
        out,
        "{} decisions, {} pods placed: all as recorded",
        summary.decisions, summary.placed
    )?;
    Ok(summary)
}

fn replay(
    path: &Path,
    mut tell: impl FnMut(usize, &Decided) -> std::io::Result<()>,
) -> anyhow::Result<Summary> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut lines = BufReader::with_capacity(1 << 18, file).lines();
    let place = |number: usize| format!("{}:{number}", path.display());
    let placed = |number, why: &anyhow::Error| anyhow::anyhow!("{}: {why}", place(number));
    let first = lines.next().context("the file is empty");
    let first = first.with_context(|| place(1))?;
    let mut core = first
        .context("cannot be read")
        .and_then(|text| start(&text))
        .with_context(|| place(1))?;
    let mut intake = Intake::new(true);
    let mut summary = Summary::default();
    for (at, text) in lines.enumerate() {
        let number = at + 2;
        let text = text.with_context(|| place(number))?;
        let line: Line<Input> = match serde_json::from_str(&text) {
            Ok(line) => line,
            // A scheduler that was killed leaves half a line at the end.
            Err(error) if error.is_eof() => break,
            Err(error) => return Err(error).with_context(|| place(number)),
        };
        let now = Duration::from_nanos(line.at);
        let mut decided = |repeated: Option<Decided>| {
            let Some(repeated) = repeated else {
                return Ok(());
            };
            summary.count(&repeated);
            tell(number, &repeated)
        };
        match line.what {
            What::Started(_) => bail!("{}: a second start", place(number)),
            What::Input(input) => intake.take(&mut core, input, now, |_| {}),
            What::Bound(pod) => core.bound(&pod.into(), now),
            What::BindFailed(pod) => core.bind_failed(&pod.into(), now),
            What::Full => break,
            What::Claim(claim) => core.apply_resource_claim(*claim, now),
            What::Decided(recorded) => {
                let repeated = core.schedule_one(now).as_ref().map(Decided::from);
                same(recorded.as_ref(), repeated.as_ref()).map_err(|why| placed(number, &why))?;
                decided(repeated)?;
            }
            What::Asked(asked) => {
                let repeated = ask(&mut core, *asked, now).map_err(|why| placed(number, &why))?;
                decided(repeated)?;
            }
        }
    }
    Ok(summary)
}

/// What came back from extenders; the decision that it led to.
fn ask(core: &mut Core, asked: Asked, now: Duration) -> anyhow::Result<Option<Decided>> {
    // Nobody hears the questions: their answers are in the file.
    core.take_asks();
    match asked {
        Asked::Scores { pod, nodes } => drop(core.scores_asked(&pod.into(), &nodes)),
        Asked::Evictions(pod) => drop(core.evictions_asked(&pod.into())),
        Asked::Retry(pod) => core.retry_asked(&pod.into(), now),
        Asked::Place {
            pod,
            node,
            score,
            feasible,
            decided,
        } => {
            let repeated = core.place_asked(&pod.into(), &node, score, feasible);
            let repeated = repeated.as_ref().map(Decided::from);
            same(decided.as_ref(), repeated.as_ref())?;
            return Ok(repeated);
        }
        Asked::Nowhere {
            pod,
            refusals,
            evictions,
            decided,
        } => {
            let repeated = core.turn_away_asked(&pod.into(), &refusals, evictions.as_deref(), now);
            let repeated = repeated.as_ref().map(Decided::from);
            same(decided.as_ref(), repeated.as_ref())?;
            return Ok(repeated);
        }
    }
    Ok(None)
}

fn same(recorded: Option<&Decided>, repeated: Option<&Decided>) -> anyhow::Result<()> {
    ensure!(
        repeated == recorded,
        "recorded {}, but now {}",
        describe(recorded),
        describe(repeated)
    );
    Ok(())
}

impl Summary {
    fn count(&mut self, decided: &Decided) {
        self.decisions += 1;
        if let (Some(node), "") = (&decided.node, decided.message.as_str()) {
            self.placed += 1;
            let pod = format!("{}/{}", decided.pod.namespace, decided.pod.name);
            self.nodes.insert(pod, node.clone());
        }
    }
}

fn start(text: &str) -> anyhow::Result<Core> {
    let line: Line<Input> = serde_json::from_str(text)?;
    let What::Started(started) = line.what else {
        bail!("a recording begins with its start");
    };
    let version = started.version;
    ensure!(
        version == VERSION,
        "version {version} is not {VERSION}, the one that is understood"
    );
    let strict = started.strict_sampling;
    let (mut core, _) = crate::new_core(
        &started.configuration,
        &crate::Registry::default(),
        strict,
        started.seed,
        started.gangs,
    )?;
    if let Some(patience) = started.flush_after {
        core.flush_unschedulable_after(patience);
    }
    if !started.configuration.extenders.is_empty() {
        core.ask_about(extenders::interest(&started.configuration.extenders));
    }
    Ok(core)
}

fn describe(decided: Option<&Decided>) -> String {
    match decided {
        None => "nothing to decide".to_owned(),
        Some(decided) => serde_json::to_string(decided).unwrap_or_default(),
    }
}
