//! One machine of a lab: a process that holds its namespaces, and the programs that run in them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{call, fluyt, parents, wait_for};

/// The names that a binary is called by.
const NAMES: &[&str] = &[
    "fluyt",
    "kube-apiserver",
    "kube-scheduler",
    "kube-controller-manager",
    "kubelet",
    "kubectl",
];

pub struct Machine {
    pub name: String,
    /// The network namespace's name, for `ip -n`.
    pub namespace: String,
    pub directory: PathBuf,
    holder: Child,
    logs: Mutex<Vec<PathBuf>>,
}

/// A program that runs on a machine until it is ended.
pub struct Proc {
    pub name: String,
    pub log: PathBuf,
    child: Child,
}

impl Machine {
    pub fn start(tag: &str, name: &str, lab: &Path) -> Self {
        let namespace = format!("fe2e-{tag}-{name}");
        call("ip", &["netns", "add", &namespace]);
        call("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        let directory = lab.join(name);
        for part in ["var-lib", "bin", "log"] {
            std::fs::create_dir_all(directory.join(part)).unwrap();
        }
        for called in NAMES {
            std::os::unix::fs::symlink(fluyt(), directory.join("bin").join(called)).unwrap();
        }
        let script = format!(
            "hostname {name} && mount --bind {hosts} /etc/hosts && mount --bind {var_lib} /var/lib && \
             mount -t tmpfs tmpfs /run && echo held && exec sleep infinity",
            hosts = lab.join("hosts").display(),
            var_lib = directory.join("var-lib").display(),
        );
        let mut holder = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .args([
                "unshare",
                "--mount",
                "--uts",
                "--propagation=private",
                "sh",
                "-c",
                &script,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter and unshare are part of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "held", "the machine {name} does not start");
        Self {
            name: name.to_owned(),
            namespace,
            directory,
            holder,
            logs: Mutex::default(),
        }
    }

    /// Plugs this machine into the master's bridge as 10.99.0.`address`.
    pub fn join(&self, master: &Machine, address: usize) {
        let (near, far) = (format!("e{}", self.holder.id()), format!("p-{}", self.name));
        call(
            "ip",
            &[
                "link",
                "add",
                &near,
                "netns",
                &self.namespace,
                "type",
                "veth",
                "peer",
                "name",
                &far,
                "netns",
                &master.namespace,
            ],
        );
        let at = format!("10.99.0.{address}/24");
        for words in [
            vec!["-n", &self.namespace, "link", "set", &near, "name", "eth0"],
            vec!["-n", &self.namespace, "addr", "add", &at, "dev", "eth0"],
            vec!["-n", &self.namespace, "link", "set", "eth0", "up"],
            vec![
                "-n",
                &self.namespace,
                "route",
                "add",
                "default",
                "via",
                "10.99.0.1",
            ],
            vec![
                "-n",
                &master.namespace,
                "link",
                "set",
                &far,
                "master",
                "br0",
                "up",
            ],
        ] {
            call("ip", &words);
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let path = format!(
            "{}:{}",
            self.directory.join("bin").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        command
            .args([
                "--target",
                &self.holder.id().to_string(),
                "--mount",
                "--net",
                "--uts",
                "--",
            ])
            .args(words)
            .env("PATH", path)
            .env_remove("KUBECONFIG")
            .env("HOME", &self.directory)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn call(&self, words: &[&str]) -> String {
        let done = self.output(words);
        assert!(
            done.status.success(),
            "on {}: {} failed: {}{}",
            self.name,
            words.join(" "),
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    pub fn spawn(&self, words: &[&str]) -> Proc {
        let mut logs = self.logs.lock().unwrap();
        let log = self
            .directory
            .join("log")
            .join(format!("{}-{}.log", words[0], logs.len()));
        let file = File::create(&log).unwrap();
        logs.push(log.clone());
        let child = self
            .command(words)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Proc {
            name: words[0].to_owned(),
            log,
            child,
        }
    }

    pub fn print_logs(&self) {
        for log in self
            .logs
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .iter()
        {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!(
                "--- {} on {} (last lines)",
                log.file_name().unwrap_or_default().display(),
                self.name
            );
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }

    /// What runs in the machine's namespaces besides their holder, and what descends from it (containers have mounts of their
    /// own).
    pub fn processes(&self) -> Vec<i32> {
        let holder = self.holder.id().cast_signed();
        let inside = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let mine = inside(holder);
        let all = parents();
        let mut found: Vec<i32> = all
            .keys()
            .copied()
            .filter(|pid| mine.is_some() && inside(*pid) == mine)
            .collect();
        let mut next = 0;
        while next < found.len() {
            let parent = found[next];
            found.extend(
                all.iter()
                    .filter(|(pid, above)| **above == parent && !found.contains(pid))
                    .map(|(pid, _)| *pid)
                    .collect::<Vec<_>>(),
            );
            next += 1;
        }
        found.retain(|pid| *pid != holder);
        found
    }

    /// Kills everything on the machine, and the machine.
    pub fn end(&mut self) {
        for _ in 0..3 {
            for pid in self.processes() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.namespace])
            .status();
    }
}

impl Proc {
    /// kill -9, as a crash.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; it must end by itself.
    #[track_caller]
    pub fn terminate(mut self) {
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        );
        let name = self.name.clone();
        wait_for(&format!("the end of {name} after SIGTERM"), || {
            match self.child.try_wait() {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_for(&format!("{text:?} in the log of {}", self.name), || {
            let log = self.log_text();
            match log.contains(text) {
                true => Ok(()),
                false => Err(log),
            }
        });
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
