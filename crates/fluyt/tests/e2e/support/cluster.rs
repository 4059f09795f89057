//! A cluster made by `fluyt up` in a directory of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{fluyt, stock_kubectl, wait_for};

pub struct Cluster {
    pub data_dir: PathBuf,
    directory: tempfile::TempDir,
}

/// `fluyt up` in the foreground, past its `ready` line.
pub struct Up {
    child: Child,
    /// What it printed until it was ready.
    pub said: String,
    drain: Option<std::thread::JoinHandle<String>>,
}

impl Cluster {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("fluyt-up-")
            .tempdir()
            .unwrap();
        Self {
            data_dir: directory.path().join("data"),
            directory,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(fluyt());
        command
            .args(words)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .stdin(Stdio::null());
        command
    }

    pub fn fluyt(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    #[track_caller]
    pub fn fluyt_ok(&self, words: &[&str]) -> String {
        let done = self.fluyt(words);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(
            done.status.success(),
            "fluyt {} failed: {text}\n{}",
            words.join(" "),
            self.logs()
        );
        text
    }

    #[track_caller]
    pub fn up(&self, words: &[&str]) -> Up {
        let mut all = vec!["up", "--secure-port", "0"];
        all.extend(words);
        let mut child = self
            .command(&all)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.lines().any(|line| line.starts_with("ready in ")) {
            let read = reader.read_line(&mut said).unwrap();
            assert!(
                read > 0,
                "fluyt up ended before it was ready: {said}\n{}",
                self.logs()
            );
        }
        let drain = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = std::io::Read::read_to_string(&mut reader, &mut rest);
            rest
        });
        Up {
            child,
            said,
            drain: Some(drain),
        }
    }

    fn kubectl_program(&self, program: &str, words: &[&str]) -> Output {
        Command::new(program)
            .args(words)
            .env("KUBECONFIG", self.data_dir.join("admin.kubeconfig"))
            .env("HOME", self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        let mut all = vec!["kubectl"];
        all.extend(words);
        let done = self.kubectl_program(fluyt(), &all);
        assert!(
            done.status.success(),
            "kubectl {}: {}{}",
            words.join(" "),
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// As [`Cluster::kubectl`] with the client installed on this machine.
    #[track_caller]
    pub fn stock_kubectl(&self, words: &[&str]) -> String {
        let done = self.kubectl_program(&stock_kubectl(), words);
        assert!(
            done.status.success(),
            "stock kubectl {}: {}{}",
            words.join(" "),
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    pub fn try_kubectl(&self, words: &[&str]) -> (bool, String) {
        let mut all = vec!["kubectl"];
        all.extend(words);
        let done = self.kubectl_program(fluyt(), &all);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        (done.status.success(), text)
    }

    /// The ends of all log files, for messages of failed assertions.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.data_dir.join("log"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {}\n", entry.path().display()));
            text.push_str(&lines[lines.len().saturating_sub(30)..].join("\n"));
            text.push('\n');
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let _ = self.fluyt(&["down"]);
    }
}

impl Up {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; returns what it still printed.
    #[track_caller]
    pub fn terminate(mut self) -> String {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).unwrap();
        wait_for("the end of fluyt up after SIGTERM", || {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        self.drain
            .take()
            .map(|thread| thread.join().unwrap())
            .unwrap_or_default()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
