//! What the user of `up` sees on standard error: a spinner on a terminal, plain lines in a pipe.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    spinner: Option<ProgressBar>,
}

/// Nobody may be listening any more, as when the terminal is gone; that must not end the cluster.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Progress {
    pub fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { spinner }
    }

    /// What is being done now.
    pub fn step(&self, text: &str) {
        match &self.spinner {
            Some(bar) => {
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_message(text.to_owned());
            }
            None => line(text),
        }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.suspend(|| line(text)),
            None => line(text),
        }
    }

    pub fn ready(&self, elapsed: Duration) {
        self.say(&format!("ready in {} ms", elapsed.as_millis()));
    }

    /// The cluster runs; nothing moves on the screen from here on, because an idle cluster uses no CPU.
    pub fn running(&self, summary: &str) {
        if let Some(bar) = &self.spinner {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
        line(summary);
    }

    pub fn finish(&self, text: &str) {
        if let Some(bar) = &self.spinner {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
        line(text);
    }
}
