//! The network of private nodes: one bridge per cluster, one network namespace and one veth pair per node, and a masquerade rule
//! so that nodes reach what this machine reaches. Everything is named after the cluster's tag, made only if it is not there, and
//! removed by [`remove`].

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::State;

#[derive(Clone, Debug)]
pub struct Network {
    tag: String,
    subnet: String,
}

impl Network {
    /// This machine's address on the bridge.
    pub fn gateway(&self) -> String {
        format!("{}.1", self.subnet)
    }

    pub fn address(&self, index: usize) -> String {
        format!("{}.{}", self.subnet, index + 10)
    }

    /// Sends what is for a node's pods to the node.
    pub fn route(&self, range: &str, via: &str) -> anyhow::Result<()> {
        let bridge = bridge(&self.tag);
        call(
            "ip",
            &["route", "replace", range, "via", via, "dev", &bridge],
        )
    }

    /// The path of a node's namespace, for setns.
    pub fn namespace_path(&self, index: usize) -> String {
        format!("/run/netns/{}", namespace(&self.tag, index))
    }
}

fn bridge(tag: &str) -> String {
    format!("fluyt-{tag}")
}

fn namespace(tag: &str, index: usize) -> String {
    format!("fluyt-{tag}-node{index}")
}

fn host_end(tag: &str, index: usize) -> String {
    format!("fl{tag}-{index}")
}

/// At most so many nodes fit the naming and the /24.
pub const MAX_NODES: usize = 240;

/// Makes what is missing; nodes count from 1. `wish`: the pods' range, where the user gave one.
pub fn ensure(state: &mut State, nodes: usize, wish: Option<&str>) -> anyhow::Result<Network> {
    if nodes > MAX_NODES {
        bail!("--nodes {nodes}: one machine runs at most {MAX_NODES} (fluyt sim simulates more)");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("nodes need root (containers, network namespaces); fluyt up --nodes 0 does not");
    }
    let subnet = match &state.subnet {
        Some(subnet) => subnet.clone(),
        None => free_subnet(&state.tag)?,
    };
    let network = Network {
        tag: state.tag.clone(),
        subnet: subnet.clone(),
    };
    state.bridge = Some(bridge(&state.tag));
    state.subnet = Some(subnet);
    ensure_bridge(&network)?;
    state.pod_range = Some(claim_pod_range(
        &network,
        wish.or(state.pod_range.as_deref()),
    )?);
    for index in 1..=nodes {
        ensure_node(&network, index)?;
    }
    masquerade(&network)?;
    Ok(network)
}

/// A /24 of 10.0.0.0/8 that no route of this machine covers; the search starts at a place given by the tag.
fn free_subnet(tag: &str) -> anyhow::Result<String> {
    let taken = output("ip", &["-4", "-o", "route", "show", "table", "all"])?;
    let start = u32::from_str_radix(tag, 16).unwrap_or(0);
    (0..2000)
        .map(|step| {
            let place = start.wrapping_add(step);
            format!("10.{}.{}", 129 + place % 100, (place / 100) % 256)
        })
        .find(|subnet| !taken.contains(&format!("{subnet}.")))
        .context("no free 10.x.y.0/24 for the nodes' bridge")
}

fn ensure_bridge(network: &Network) -> anyhow::Result<()> {
    let name = bridge(&network.tag);
    if !exists(&name) {
        call("ip", &["link", "add", &name, "type", "bridge"])?;
    }
    let address = format!("{}/24", network.gateway());
    call("ip", &["addr", "replace", &address, "dev", &name])?;
    call("ip", &["link", "set", &name, "up"])
}

/// The range of all pods is routed to the bridge: two clusters on one machine cannot have the same, since the second route is refused.
fn claim_pod_range(network: &Network, wish: Option<&str>) -> anyhow::Result<String> {
    let bridge = bridge(&network.tag);
    if let Some(range) = wish {
        let there = output("ip", &["-4", "route", "show", range])?;
        if !there.contains(&format!("dev {bridge}")) {
            call("ip", &["route", "add", range, "dev", &bridge])
                .with_context(|| format!("pods cannot have {range}: it is routed already"))?;
        }
        return Ok(range.to_owned());
    }
    let mut refused = None;
    for second in 244..=254 {
        let range = format!("10.{second}.0.0/16");
        match call("ip", &["route", "add", &range, "dev", &bridge]) {
            Ok(()) => return Ok(range),
            Err(error) => refused = Some(error),
        }
    }
    let why = refused.context("there are ranges to try")?;
    Err(why.context("no free 10.x.0.0/16 for pods; give one with --cluster-cidr"))
}

fn exists(link: &str) -> bool {
    std::path::Path::new("/sys/class/net").join(link).exists()
}

fn ensure_node(network: &Network, index: usize) -> anyhow::Result<()> {
    let (space, host) = (
        namespace(&network.tag, index),
        host_end(&network.tag, index),
    );
    if !std::path::Path::new(&network.namespace_path(index)).exists() {
        call("ip", &["netns", "add", &space])?;
    }
    if !exists(&host) {
        let peer = format!("{host}p");
        call(
            "ip",
            &["link", "add", &host, "type", "veth", "peer", "name", &peer],
        )?;
        call("ip", &["link", "set", &peer, "netns", &space])?;
        call("ip", &["-n", &space, "link", "set", &peer, "name", "eth0"])?;
    }
    let address = format!("{}/24", network.address(index));
    let gateway = network.gateway();
    call(
        "ip",
        &["link", "set", &host, "master", &bridge(&network.tag), "up"],
    )?;
    call("ip", &["-n", &space, "link", "set", "lo", "up"])?;
    call(
        "ip",
        &["-n", &space, "addr", "replace", &address, "dev", "eth0"],
    )?;
    call("ip", &["-n", &space, "link", "set", "eth0", "up"])?;
    call(
        "ip",
        &["-n", &space, "route", "replace", "default", "via", &gateway],
    )
}

/// What nodes send beyond the bridge leaves under this machine's address.
fn masquerade(network: &Network) -> anyhow::Result<()> {
    let table = format!("fluyt_{}", network.tag);
    let subnet = format!("{}.0/24", network.subnet);
    let rules = format!(
        "table ip {table} {{}}\ndelete table ip {table}\ntable ip {table} {{\n\
         \tchain postrouting {{\n\t\ttype nat hook postrouting priority srcnat;\n\
         \t\tip saddr {subnet} ip daddr != {subnet} masquerade\n\t}}\n}}\n"
    );
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("nft is not installed (Debian: nftables)")?;
    child
        .stdin
        .take()
        .context("nft has no standard input")?
        .write_all(rules.as_bytes())?;
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!(
            "nft refused the masquerade rule: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
        .context("cannot switch IP forwarding on (/proc/sys/net/ipv4/ip_forward)")
}

/// Removes what carries the tag; what is not there is no error.
pub fn remove(tag: &str) {
    let quiet = |program: &str, arguments: &[&str]| {
        let _ = call(program, arguments);
    };
    let prefix = format!("fluyt-{tag}-");
    if let Ok(entries) = std::fs::read_dir("/run/netns") {
        for name in entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
        {
            if name.starts_with(&prefix) {
                quiet("ip", &["netns", "delete", &name]);
            }
        }
    }
    let veth = format!("fl{tag}-");
    if let Ok(entries) = std::fs::read_dir("/sys/class/net") {
        for name in entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
        {
            if name.starts_with(&veth) {
                quiet("ip", &["link", "delete", &name]);
            }
        }
    }
    if exists(&bridge(tag)) {
        quiet("ip", &["link", "delete", &bridge(tag)]);
    }
    let table = format!("fluyt_{tag}");
    if output("nft", &["list", "tables"]).is_ok_and(|tables| tables.contains(&table)) {
        quiet("nft", &["delete", "table", "ip", &table]);
    }
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} is not installed (Debian: iproute2, nftables)"))?;
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr);
        bail!("{program} {}: {}", arguments.join(" "), why.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn call(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    output(program, arguments).map(drop)
}
