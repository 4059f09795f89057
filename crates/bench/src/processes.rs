//! What processes and their children use, from /proc. Container runtimes are left out: they are
//! the same for every Kubernetes.

use std::collections::BTreeSet;
use std::fs;

/// Of the names in /proc/PID/stat (at most 15 bytes).
const NOT_OURS: [&str; 4] = ["containerd", "containerd-shim", "crio", "conmon"];
const TICKS_PER_SECOND: f64 = 100.0;

struct Stat {
    pid: u32,
    parent: u32,
    name: String,
    cpu_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &text)
}

fn parse_stat(pid: u32, text: &str) -> Option<Stat> {
    // The name may hold spaces and parentheses; the last one closes it.
    let (start, end) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text[end + 1..].split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        name: text[start + 1..end].to_owned(),
        cpu_ticks: number(11)? + number(12)?,
    })
}

/// The processes and all their descendants, without container runtimes and what these started.
fn tree(roots: &[u32]) -> Vec<Stat> {
    let Ok(directory) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all: Vec<Stat> = pids.filter_map(stat).collect();
    let mut inside: BTreeSet<u32> = roots.iter().copied().collect();
    loop {
        let before = inside.len();
        for process in &all {
            if inside.contains(&process.parent) && !NOT_OURS.contains(&process.name.as_str()) {
                inside.insert(process.pid);
            }
        }
        if inside.len() == before {
            break;
        }
    }
    all.into_iter()
        .filter(|process| inside.contains(&process.pid))
        .collect()
}

/// Resident memory in MB (10^6 bytes). Pages that several processes share count for each: a proportional share would depend
/// on who else runs the same binary, this measuring process to begin with.
pub(crate) fn memory_mb(roots: &[u32]) -> f64 {
    let resident = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Rss:"))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let kib: f64 = tree(roots)
        .iter()
        .filter_map(|process| resident(process.pid))
        .sum();
    kib * 1024.0 / 1e6
}

/// CPU seconds used so far.
pub(crate) fn cpu_seconds(roots: &[u32]) -> f64 {
    let ticks: u64 = tree(roots).iter().map(|process| process.cpu_ticks).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// CPU seconds that the whole machine has been busy so far, and had altogether.
pub(crate) fn machine_cpu_seconds() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    parse_machine(text.lines().next().unwrap_or_default())
}

fn parse_machine(line: &str) -> (f64, f64) {
    // user nice system idle iowait irq softirq steal; guests are counted in user already.
    let fields = line.split_whitespace().skip(1).take(8);
    let ticks: Vec<f64> = fields.map(|field| field.parse().unwrap_or(0.0)).collect();
    let all: f64 = ticks.iter().sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    ((all - idle) / TICKS_PER_SECOND, all / TICKS_PER_SECOND)
}

/// The file that a process runs.
pub(crate) fn executable_bytes(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/exe"))
        .ok()
        .map(|metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses() {
        let text = "7 (a) (b c)) S 3 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 9 9 9";
        let stat = parse_stat(7, text).unwrap();
        assert_eq!(
            (stat.parent, stat.name.as_str(), stat.cpu_ticks),
            (3, "a) (b c)", 300)
        );
    }

    #[test]
    fn a_machine_waiting_for_its_disk_is_not_busy() {
        let line = "cpu  100 50 25 600 100 5 10 10 40 0";
        assert_eq!(parse_machine(line), (2.0, 9.0));
        let (busy, all) = machine_cpu_seconds();
        assert!(0.0 < busy && busy <= all);
    }

    #[test]
    fn this_process_can_be_measured() {
        let own = [std::process::id()];
        let kept = vec![1u8; 50 << 20];
        assert!(memory_mb(&own) > 50.0);
        assert_eq!(kept.len(), 50 << 20);
        assert!(executable_bytes(own[0]).unwrap() > 0);
    }
}
