//! Ends what outlives a kubelet: containers, their shims, the nodes' container runtimes; then, for `down`, mounts, cgroups and
//! directories. Found by what a node's own files say (its root directory, its runtime's state directory), never by guessing:
//! another cluster's processes are not touched.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Layout;

/// How long containers have between SIGTERM and SIGKILL when a cluster stops; all of it must fit in five seconds.
const GRACE: Duration = Duration::from_millis(1500);
const LAST: Duration = Duration::from_millis(1000);

struct Process {
    parent: i32,
    command: String,
}

fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, process(pid)?)))
        .collect()
}

fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state ppid ...; the name may hold anything, so the fields are counted from its closing bracket.
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    if state == "Z" {
        return None;
    }
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process { parent, command })
}

/// Directories in which a node keeps the state of its runtime: its root, and where its configuration points outside of it
/// (the sockets' paths must be short).
fn runtime_places(layout: &Layout, node: &str) -> Vec<PathBuf> {
    let root = layout.node(node);
    let mut places = vec![root.clone()];
    let text = std::fs::read_to_string(root.join("containerd/config.toml")).unwrap_or_default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if key.trim() == "state" {
            places.push(PathBuf::from(value.trim().trim_matches('"')));
        }
    }
    places.retain(|place| place.is_absolute() && place.components().count() > 2);
    places
}

/// The processes that name one of these places on their command line, and everything below them.
fn members(places: &[PathBuf]) -> (Vec<i32>, Vec<i32>) {
    let all = processes();
    let me = std::process::id().cast_signed();
    let names: Vec<String> = places
        .iter()
        .map(|place| format!("{}/", place.display()))
        .collect();
    let mut runtime = HashSet::new();
    for (pid, process) in &all {
        let is_runtime = process.command.contains("containerd");
        if *pid != me && is_runtime && names.iter().any(|name| process.command.contains(name)) {
            runtime.insert(*pid);
        }
    }
    let mut contained: HashSet<i32> = HashSet::new();
    loop {
        let before = contained.len();
        for (pid, process) in &all {
            let below = runtime.contains(&process.parent) || contained.contains(&process.parent);
            if below && !runtime.contains(pid) {
                contained.insert(*pid);
            }
        }
        if contained.len() == before {
            break;
        }
    }
    (
        runtime.into_iter().collect(),
        contained.into_iter().collect(),
    )
}

fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

/// True when all have ended. They are not our children, so there is nothing to wait on but /proc.
fn wait_gone(pids: &[i32], limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while pids.iter().any(|pid| process(*pid).is_some()) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Ends all containers of the cluster's nodes, politely first, and then the runtimes.
pub fn stop_containers(layout: &Layout) {
    let places: Vec<PathBuf> = layout
        .node_names()
        .iter()
        .flat_map(|node| runtime_places(layout, node))
        .collect();
    if places.is_empty() {
        return;
    }
    let (runtime, contained) = members(&places);
    signal_all(&contained, Signal::SIGTERM);
    if !wait_gone(&contained, GRACE) {
        signal_all(&contained, Signal::SIGKILL);
    }
    signal_all(&runtime, Signal::SIGTERM);
    if !wait_gone(&runtime, LAST) {
        signal_all(&runtime, Signal::SIGKILL);
    }
    kill_rest(&places, [runtime, contained].concat());
    for place in &places {
        unmount_below(place);
    }
}

/// Kills what is left of these processes and what was started meanwhile, until nothing runs: cgroups, mounts and directories can only
/// be removed when nobody is in them.
fn kill_rest(places: &[PathBuf], mut pids: Vec<i32>) {
    let deadline = Instant::now() + LAST;
    loop {
        let (runtime, contained) = members(places);
        pids.extend(contained.into_iter().chain(runtime));
        pids.retain(|pid| process(*pid).is_some());
        if pids.is_empty() || Instant::now() >= deadline {
            return;
        }
        signal_all(&pids, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Unmounts everything below a directory, deepest first.
pub fn unmount_below(directory: &Path) {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: BTreeSet<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)))
        .filter(|point| point.starts_with(directory))
        .collect();
    while let Some(point) = points.pop_last() {
        let _ = nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// mountinfo writes space, tab, newline and backslash in octal.
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (code, character) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        out = out.replace(code, character);
    }
    out
}

/// After [`stop_containers`]: everything else a cluster left outside its data directory, and the directory.
pub fn remove(layout: &Layout, tag: &str) -> std::io::Result<()> {
    for node in layout.node_names() {
        for place in runtime_places(layout, &node) {
            unmount_below(&place);
            if !place.starts_with(layout.root()) {
                remove_tree(&place)?;
            }
        }
    }
    super::network::remove(tag);
    remove_cgroups(tag);
    unmount_below(layout.root());
    remove_tree(layout.root())
}

fn remove_tree(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// cgroup directories go when they are empty, children before parents; in every hierarchy of cgroup v1 and in the one of v2.
fn remove_cgroups(tag: &str) {
    let name = format!("fluyt-{tag}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        if let Some(point) = line.split(' ').nth(4) {
            let root = Path::new(point).join(&name);
            let deadline = Instant::now() + LAST;
            remove_directories(&root);
            // A process leaves its cgroup a moment after /proc says that it has ended.
            while root.exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
                remove_directories(&root);
            }
        }
    }
}

fn remove_directories(path: &Path) {
    if let Ok(entries) = std::fs::read_dir(path) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_directories(&entry.path());
            }
        }
    }
    let _ = std::fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
    }

    #[test]
    fn only_processes_of_the_place_are_members() {
        let directory = tempfile::tempdir().unwrap();
        let (runtime, contained) = members(&[directory.path().to_owned()]);
        assert!(runtime.is_empty() && contained.is_empty());
    }
}
