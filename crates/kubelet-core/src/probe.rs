//! A probe as a state machine: results go in, a verdict comes out when a threshold is
//! reached. Before that the verdict stays what it was.

use crate::api::Probe;
use jiff::{SignedDuration, Timestamp};

/// What a probe decides: whether the container has started, must be restarted, gets traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    /// As messages begin: "Readiness probe failed: ...".
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// When and how often to probe; the API's defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub initial_delay: SignedDuration,
    pub period: SignedDuration,
    pub timeout: SignedDuration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

impl Settings {
    /// Reads a probe; values below one count as the default.
    pub fn new(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32| match value {
            Some(value) if value > 0 => value.unsigned_abs(),
            _ => default,
        };
        let seconds = |value, default| SignedDuration::from_secs(i64::from(number(value, default)));
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: number(probe.success_threshold, 1),
            failure_threshold: number(probe.failure_threshold, 3),
        }
    }
}

/// The state of one probe of one container.
#[derive(Clone, Debug)]
pub struct Machine {
    pub kind: Kind,
    pub settings: Settings,
    last: Option<bool>,
    run: u32,
    verdict: Option<bool>,
}

impl Machine {
    /// A probe that has not run; `verdict` is what is known from before.
    pub fn new(kind: Kind, settings: Settings, verdict: Option<bool>) -> Self {
        Self {
            kind,
            settings,
            last: None,
            run: 0,
            verdict,
        }
    }

    /// When to probe first.
    pub fn first_due(&self, started_at: Timestamp) -> Timestamp {
        started_at
            .saturating_add(self.settings.initial_delay)
            .unwrap_or(Timestamp::MAX)
    }

    /// Takes a result; the verdict if it is news.
    pub fn observe(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.run += 1;
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let threshold = match success {
            true => self.settings.success_threshold,
            false => self.settings.failure_threshold,
        };
        if self.run < threshold || self.verdict == Some(success) {
            return None;
        }
        self.verdict = Some(success);
        Some(success)
    }

    /// True when the probe need not run again for this container: started, or to be stopped.
    pub fn finished(&self) -> bool {
        match self.kind {
            Kind::Startup => self.verdict.is_some(),
            Kind::Liveness => self.verdict == Some(false),
            Kind::Readiness => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(success_threshold: i32, failure_threshold: i32, results: &str) -> String {
        let probe = Probe {
            success_threshold: Some(success_threshold),
            failure_threshold: Some(failure_threshold),
            ..Default::default()
        };
        let mut machine = Machine::new(Kind::Readiness, Settings::new(&probe), None);
        results
            .chars()
            .map(|result| match machine.observe(result == '+') {
                Some(true) => 'R',
                Some(false) => 'F',
                None => '.',
            })
            .collect()
    }

    #[test]
    fn verdicts_wait_for_their_thresholds() {
        let table = [
            (1, 3, "+", "R"),
            (1, 3, "--+", "..R"),
            (1, 3, "+--+---", "R.....F"),
            (2, 1, "+-++", ".F.R"),
            (1, 1, "++--", "R.F."),
        ];
        for (success, failure, results, expected) in table {
            assert_eq!(run(success, failure, results), expected, "{results}");
        }
    }

    #[test]
    fn defaults_are_the_apis() {
        let settings = Settings::new(&Probe::default());
        assert_eq!(settings.period.as_secs(), 10);
        assert_eq!(settings.timeout.as_secs(), 1);
        assert_eq!(
            (settings.success_threshold, settings.failure_threshold),
            (1, 3)
        );
    }

    #[test]
    fn a_started_container_is_not_asked_again() {
        let mut machine = Machine::new(Kind::Startup, Settings::new(&Probe::default()), None);
        assert!(!machine.finished());
        machine.observe(true);
        assert!(machine.finished());
    }
}
