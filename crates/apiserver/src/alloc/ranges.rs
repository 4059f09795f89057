//! The ranges that services are given numbers from. Picking starts at a random place in the upper part, so that low
//! values stay free for those who choose their own, as upstream does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A CIDR of service addresses, without network and broadcast address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpRange {
    base: u128,
    bits: u8,
    v4: bool,
    /// Addresses that can be given out: 1..=size behind the base.
    size: u128,
}

impl IpRange {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // Of a dual-stack pair the first family is served.
        let text = text.split(',').next().unwrap_or(text).trim();
        let bad = || format!("{text:?} is not a CIDR such as 10.0.0.0/16");
        let (ip, bits) = text.split_once('/').ok_or_else(bad)?;
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let bits: u8 = bits.parse().map_err(|_| bad())?;
        let (number, width) = match ip {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        if bits > width - 2 {
            return Err(format!(
                "{text:?} is too small: it must leave room for services"
            ));
        }
        let host_bits = u32::from(width - bits);
        let count = 1u128.checked_shl(host_bits).unwrap_or(0).wrapping_sub(1);
        // No more than 2^20 addresses are given out of a larger range.
        let size = if ip.is_ipv4() { count - 1 } else { count }.min((1 << 20) - 1);
        Ok(IpRange {
            base: number & !count,
            bits,
            v4: ip.is_ipv4(),
            size,
        })
    }

    fn at(&self, offset: u128) -> IpAddr {
        let number = self.base + offset;
        if self.v4 {
            IpAddr::V4(Ipv4Addr::from(number as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(number))
        }
    }

    pub(crate) fn first(&self) -> IpAddr {
        self.at(1)
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let number = match (ip, self.v4) {
            (IpAddr::V4(ip), true) => u128::from(u32::from(ip)),
            (IpAddr::V6(ip), false) => u128::from(ip),
            _ => return false,
        };
        number > self.base && number - self.base <= self.size
    }

    /// A free address, the upper part of the range first.
    pub(crate) fn pick(&self, random: u64, free: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let low = (self.size / 16).clamp(16.min(self.size), 256.min(self.size));
        let span = (self.size - low).max(1);
        let start = u128::from(random) % span;
        let upper = (0..span).map(|step| low + 1 + (start + step) % span);
        // The first address is the API server's.
        let lower = 2..=low;
        upper
            .chain(lower)
            .filter(|offset| *offset <= self.size)
            .map(|offset| self.at(offset))
            .find(|ip| free(*ip))
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.at(0), self.bits)
    }
}

/// The range of node ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a range such as 30000-32767");
        let (first, last) = text.split_once('-').ok_or_else(bad)?;
        let first: u16 = first.trim().parse().map_err(|_| bad())?;
        let last: u16 = last.trim().parse().map_err(|_| bad())?;
        if first == 0 || first > last {
            return Err(bad());
        }
        Ok(PortRange { first, last })
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub(crate) fn pick(&self, random: u64, free: impl Fn(u16) -> bool) -> Option<u16> {
        let span = u64::from(self.last - self.first) + 1;
        let start = random % span;
        (0..span)
            .map(|step| self.first + ((start + step) % span) as u16)
            .find(|port| free(*port))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_address_is_given_out_once() {
        let range = IpRange::parse("10.0.0.0/28").unwrap();
        assert_eq!(range.first().to_string(), "10.0.0.1");
        let mut taken = HashSet::from([range.first()]);
        while let Some(ip) = range.pick(7, |ip| !taken.contains(&ip)) {
            assert!(range.contains(ip), "{ip}");
            assert!(taken.insert(ip));
        }
        assert_eq!(taken.len(), 14);
        assert!(!range.contains("10.0.0.0".parse().unwrap()));
        assert!(!range.contains("10.0.0.15".parse().unwrap()));
        assert_eq!(range.to_string(), "10.0.0.0/28");
    }

    #[test]
    fn large_and_small_ranges() {
        for text in [
            "10.0.0.0/16",
            "10.96.0.0/12",
            "fd00::/108",
            "fd00::/64",
            "10.0.0.0/30",
        ] {
            let range = IpRange::parse(text).unwrap();
            let ip = range.pick(u64::MAX, |_| true).unwrap();
            assert!(range.contains(ip), "{text} {ip}");
        }
        for bad in ["10.0.0.0", "10.0.0.0/31", "x/8", "10.0.0.0/99"] {
            assert!(IpRange::parse(bad).is_err(), "{bad}");
        }
        let ports = PortRange::parse("30000-30002").unwrap();
        assert_eq!(ports.pick(5, |port| port == 30001), Some(30001));
        assert!(PortRange::parse("2-1").is_err());
    }
}
