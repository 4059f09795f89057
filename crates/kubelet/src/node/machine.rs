//! Facts about the machine, read once at the start.

use crate::settings::Settings;
use fluyt_kubelet_core::amount::ResourceList;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

/// What the machine is and has.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub cpus: usize,
    pub memory_bytes: i64,
    pub storage_bytes: u64,
    /// Sizes of huge pages in KiB with how many there are.
    pub huge_pages: Vec<(u64, u64)>,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel: String,
    pub os_image: String,
}

impl Machine {
    pub fn read(settings: &Settings) -> Self {
        let machine_id = text("/etc/machine-id");
        let uuid = text("/sys/class/dmi/id/product_uuid");
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&text("/proc/meminfo")),
            storage_bytes: storage_bytes(&settings.root),
            huge_pages: huge_pages(),
            system_uuid: if uuid.is_empty() {
                machine_id.clone()
            } else {
                uuid
            },
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image: os_image(&text("/etc/os-release")),
        }
    }

    /// What the node has, as its status says; pods may use all of it.
    pub fn capacity(&self, max_pods: u32) -> ResourceList {
        let mut list = ResourceList::from([
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            (
                "memory".to_owned(),
                Quantity(format!("{}Ki", self.memory_bytes / 1024)),
            ),
            (
                "ephemeral-storage".to_owned(),
                Quantity(format!("{}Ki", self.storage_bytes / 1024)),
            ),
            ("pods".to_owned(), Quantity(max_pods.to_string())),
        ]);
        for (size_kib, count) in &self.huge_pages {
            let name = match size_kib {
                kib if kib % (1024 * 1024) == 0 => format!("hugepages-{}Gi", kib / (1024 * 1024)),
                kib if kib % 1024 == 0 => format!("hugepages-{}Mi", kib / 1024),
                kib => format!("hugepages-{kib}Ki"),
            };
            let amount = if *count == 0 {
                "0".to_owned()
            } else {
                format!("{}Ki", size_kib * count)
            };
            list.insert(name, Quantity(amount));
        }
        list
    }
}

/// The architecture as Kubernetes calls it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn memory_bytes(meminfo: &str) -> i64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

fn storage_bytes(root: &Path) -> u64 {
    nix::sys::statvfs::statvfs(root).map_or(0, |stat| stat.blocks() * stat.fragment_size())
}

fn huge_pages() -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = name
            .strip_prefix("hugepages-")
            .and_then(|rest| rest.strip_suffix("kB"))
            .and_then(|kib| kib.parse().ok());
        let count = fs::read_to_string(entry.path().join("nr_hugepages"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        found.extend(size.zip(count));
    }
    found.sort_unstable();
    found
}

fn os_image(os_release: &str) -> String {
    let line = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or_else(
        || "Linux".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}

/// The node's address: the one given, else that of the route to anywhere, else the first.
pub(crate) fn host_ips(settings: &Settings) -> Vec<String> {
    if let Some(ip) = settings.node_ip {
        return vec![ip.to_string()];
    }
    routed_address()
        .or_else(first_address)
        .map(|ip| vec![ip.to_string()])
        .unwrap_or_default()
}

/// Which of our addresses the kernel would use; nothing is sent.
fn routed_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

fn first_address() -> Option<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let ours = interfaces.filter(|interface| {
        !["lo", "cni", "veth", "docker"]
            .iter()
            .any(|prefix| interface.interface_name.starts_with(prefix))
    });
    ours.filter_map(|interface| interface.address)
        .filter_map(|address| {
            address
                .as_sockaddr_in()
                .map(|address| IpAddr::V4(address.ip()))
        })
        .find(|ip| !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(
            memory_bytes("MemTotal:       24000000 kB\nMemFree: 1 kB"),
            24_576_000_000
        );
        assert_eq!(
            os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(os_image(""), "Linux");
    }

    #[test]
    fn huge_pages_are_named_by_size() {
        let machine = Machine {
            cpus: 2,
            memory_bytes: 2048,
            storage_bytes: 4096,
            huge_pages: vec![(2048, 0), (1_048_576, 2)],
            machine_id: String::new(),
            system_uuid: String::new(),
            boot_id: String::new(),
            kernel: String::new(),
            os_image: String::new(),
        };
        let capacity = machine.capacity(110);
        assert_eq!(capacity["hugepages-2Mi"].0, "0");
        assert_eq!(capacity["hugepages-1Gi"].0, "2097152Ki");
        assert_eq!(capacity["memory"].0, "2Ki");
    }
}
