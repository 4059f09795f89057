//! Machines for end-to-end tests, made of namespaces: a master and nodes on a bridge of their own, each with its own network,
//! mounts, host name and /var/lib, so that components run with the flags and paths that a user would type. Nothing is visible
//! outside; dropping a [`Lab`] ends every process in it and removes its namespaces and cgroups.

pub mod cluster;
pub mod kubectl;
pub mod machine;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use cluster::Cluster;
pub use kubectl::{Client, Kubectl, stock_kubectl};
pub use machine::{Machine, Proc};

/// The binary under test.
pub fn fluyt() -> &'static str {
    env!("CARGO_BIN_EXE_fluyt")
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An archive that `cargo xtask samples` made.
pub fn sample_image(name: &str) -> PathBuf {
    let path = root().join("target/samples").join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo xtask samples makes it (make test does so first)",
        path.display()
    );
    path
}

/// For everything that is waited for: what is waited for is a condition, never a time, so the deadline is long enough for a machine
/// that is slow and shared, and the pause between looks short.
const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until `check` gives a value.
#[track_caller]
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let why = match check() {
            Ok(value) => return value,
            Err(why) => why,
        };
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {DEADLINE:?}: {why}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a program and returns its standard output; panics with everything it said when it fails.
#[track_caller]
pub fn call(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}); make test installs it"));
    assert!(
        done.status.success(),
        "{program} {} failed: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// A master and nodes on one bridge.
pub struct Lab {
    pub tag: String,
    pub directory: tempfile::TempDir,
    pub master: Machine,
    pub nodes: Vec<Machine>,
}

impl Lab {
    /// `nodes` are called node1, node2, ...; the master is reached as `master` from everywhere.
    pub fn new(nodes: usize) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "end-to-end tests need root for containers and namespaces"
        );
        let directory = tempfile::Builder::new()
            .prefix("fluyt-e2e-")
            .tempdir()
            .unwrap();
        let tag = format!("{:x}", std::process::id());
        let names: Vec<String> = (1..=nodes).map(|index| format!("node{index}")).collect();
        let mut hosts = "127.0.0.1 localhost\n10.99.0.1 master\n".to_owned();
        for (index, name) in names.iter().enumerate() {
            hosts.push_str(&format!("10.99.0.{} {name}\n", index + 11));
        }
        std::fs::write(directory.path().join("hosts"), hosts).unwrap();
        let master = Machine::start(&tag, "master", directory.path());
        // The bridge lives in the master's namespace, so that the machine outside sees nothing at all.
        let inside = |words: &[&str]| {
            let mut all = vec!["-n", master.namespace.as_str()];
            all.extend(words);
            call("ip", &all);
        };
        inside(&["link", "add", "br0", "type", "bridge"]);
        inside(&["addr", "add", "10.99.0.1/24", "dev", "br0"]);
        inside(&["link", "set", "br0", "up"]);
        let nodes = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let node = Machine::start(&tag, name, directory.path());
                node.join(&master, index + 11);
                node
            })
            .collect();
        Self {
            tag,
            directory,
            master,
            nodes,
        }
    }

    /// The --cgroup-root of a node.
    pub fn cgroup(&self, node: &str) -> String {
        format!("/fluyt-e2e-{}/{node}", self.tag)
    }

    pub fn node(&self, name: &str) -> &Machine {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .expect("the lab has such a node")
    }

    /// A kubectl that talks to the master's insecure port, as on the master itself.
    pub fn kubectl(&self, client: Client) -> Kubectl<'_> {
        Kubectl::new(&self.master, client)
    }

    /// Brings the sample images into a node's runtime.
    pub fn import_samples(&self, node: &Machine) {
        let archives: Vec<String> = ["nginx.tar", "busybox.tar"]
            .iter()
            .map(|name| sample_image(name).display().to_string())
            .collect();
        let mut words = vec!["fluyt", "image", "import", "--root-dir", "/var/lib/kubelet"];
        words.extend(archives.iter().map(String::as_str));
        node.call(&words);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for machine in std::iter::once(&self.master).chain(&self.nodes) {
                machine.print_logs();
            }
        }
        for machine in self
            .nodes
            .iter_mut()
            .chain(std::iter::once(&mut self.master))
        {
            machine.end();
        }
        remove_cgroups(&format!("fluyt-e2e-{}", self.tag));
    }
}

/// All processes with their parents.
pub fn parents() -> HashMap<i32, i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

fn remove_cgroups(name: &str) {
    fn remove(path: &Path) {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = std::fs::remove_dir(path);
    }
    for entry in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        remove(&entry.path().join(name));
    }
    remove(&Path::new("/sys/fs/cgroup").join(name));
}
