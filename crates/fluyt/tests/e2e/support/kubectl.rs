//! Both clients, driven alike: what a test asks of one it can ask of the other.

use std::path::PathBuf;

use serde_json::Value;

use super::machine::Machine;
use super::{root, wait_for};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Ours,
    /// The kubectl that is installed on this machine (FLUYT_STOCK_KUBECTL names another).
    Stock,
}

pub struct Kubectl<'a> {
    machine: &'a Machine,
    program: String,
}

/// The stock client's path.
pub fn stock_kubectl() -> String {
    if let Ok(path) = std::env::var("FLUYT_STOCK_KUBECTL") {
        return path;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("kubectl"))
        .find(|candidate| candidate.is_file())
        .expect("no kubectl is installed: make test installs Debian's kubernetes-client")
        .display()
        .to_string()
}

impl<'a> Kubectl<'a> {
    pub fn new(machine: &'a Machine, client: Client) -> Self {
        let program = match client {
            Client::Ours => "kubectl".to_owned(),
            Client::Stock => stock_kubectl(),
        };
        Self { machine, program }
    }

    /// Standard output; the command must succeed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let mut all = vec![self.program.as_str()];
        all.extend(words);
        self.machine.call(&all)
    }

    /// (exit code, standard output, standard error)
    pub fn try_run(&self, words: &[&str]) -> (i32, String, String) {
        let mut all = vec![self.program.as_str()];
        all.extend(words);
        let done = self.machine.output(&all);
        (
            done.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&done.stdout).into_owned(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    }

    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.extend(["-o", "json"]);
        let text = self.run(&all);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }

    /// A manifest of the repository's samples.
    #[track_caller]
    pub fn create_sample(&self, name: &str) -> String {
        let file: PathBuf = root().join("samples").join(name);
        self.run(&["create", "--filename", &file.display().to_string()])
    }

    /// Waits until a line of `get pods` for the pod shows these cells in its first three columns.
    #[track_caller]
    pub fn wait_pod(&self, name: &str, ready: &str, status: &str) {
        wait_for(&format!("pod {name} {ready} {status}"), || {
            let (_, table, errors) = self.try_run(&["get", "pods"]);
            let row = table
                .lines()
                .find(|line| line.split_whitespace().next() == Some(name));
            let cells: Vec<&str> = row
                .map(|line| line.split_whitespace().collect())
                .unwrap_or_default();
            match cells.get(1) == Some(&ready) && cells.get(2) == Some(&status) {
                true => Ok(()),
                false => Err(format!("{table}{errors}")),
            }
        });
    }
}
