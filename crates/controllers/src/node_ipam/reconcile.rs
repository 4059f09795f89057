//! Handing out equal parts of a range to nodes. Pure: the parts that are taken are all the state there is.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses in CIDR notation; bits below the prefix are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: u128,
    prefix: u8,
    v4: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CidrError {
    #[error("{0:?} is not an address range such as 10.244.0.0/16")]
    Malformed(String),
    #[error("a node range of {node} bits does not fit into {range}")]
    MaskTooShort { range: Cidr, node: u8 },
    #[error("{range} has room for more than 65536 node ranges of {node} bits")]
    TooMany { range: Cidr, node: u8 },
}

impl Cidr {
    fn bits(self) -> u8 {
        if self.v4 { 32 } else { 128 }
    }

    pub fn is_v4(self) -> bool {
        self.v4
    }

    /// The number of addresses, minus one.
    fn span(self) -> u128 {
        match self.bits() - self.prefix {
            128 => u128::MAX,
            host => (1 << host) - 1,
        }
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.v4 == other.v4
            && self.first <= other.first + other.span()
            && other.first <= self.first + self.span()
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let prefix: u8 = prefix.parse().map_err(|_| malformed())?;
        let (value, v4) = match address.parse().map_err(|_| malformed())? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), true),
            IpAddr::V6(address) => (u128::from(address), false),
        };
        let mut cidr = Self {
            first: value,
            prefix,
            v4,
        };
        if prefix > cidr.bits() {
            return Err(malformed());
        }
        cidr.first &= !cidr.span();
        if v4 {
            cidr.first &= u128::from(u32::MAX);
        }
        Ok(cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v4 {
            let address = u32::try_from(self.first).unwrap_or(0);
            write!(formatter, "{}/{}", Ipv4Addr::from(address), self.prefix)
        } else {
            write!(formatter, "{}/{}", Ipv6Addr::from(self.first), self.prefix)
        }
    }
}

/// Parts of one range.
#[derive(Debug)]
pub struct CidrSet {
    range: Cidr,
    node_prefix: u8,
    count: u32,
    taken: BTreeSet<u32>,
    next: u32,
}

/// As many parts as a range may have.
const MAX_PARTS: u32 = 1 << 16;

impl CidrSet {
    pub fn new(range: Cidr, node_prefix: u8) -> Result<Self, CidrError> {
        if node_prefix < range.prefix || node_prefix > range.bits() {
            return Err(CidrError::MaskTooShort {
                range,
                node: node_prefix,
            });
        }
        let count = 1_u32
            .checked_shl(u32::from(node_prefix - range.prefix))
            .filter(|count| *count <= MAX_PARTS);
        let count = count.ok_or(CidrError::TooMany {
            range,
            node: node_prefix,
        })?;
        Ok(Self {
            range,
            node_prefix,
            count,
            taken: BTreeSet::new(),
            next: 0,
        })
    }

    fn step(&self) -> u128 {
        let host = self.range.bits() - self.node_prefix;
        1_u128.checked_shl(u32::from(host)).unwrap_or(0)
    }

    fn part(&self, index: u32) -> Cidr {
        let first = self.range.first + u128::from(index) * self.step();
        Cidr {
            first,
            prefix: self.node_prefix,
            v4: self.range.v4,
        }
    }

    /// The parts that a range touches, if any.
    fn parts_of(&self, cidr: Cidr) -> Option<std::ops::RangeInclusive<u32>> {
        if !self.range.overlaps(cidr) {
            return None;
        }
        let step = self.step().max(1);
        let begin = cidr.first.max(self.range.first) - self.range.first;
        let last =
            (cidr.first + cidr.span()).min(self.range.first + self.range.span()) - self.range.first;
        let index = |offset: u128| u32::try_from(offset / step).unwrap_or(self.count - 1);
        Some(index(begin)..=index(last))
    }

    /// Marks everything that `cidr` touches as taken.
    pub fn occupy(&mut self, cidr: Cidr) {
        if let Some(parts) = self.parts_of(cidr) {
            self.taken.extend(parts);
        }
    }

    pub fn release(&mut self, cidr: Cidr) {
        if let Some(parts) = self.parts_of(cidr) {
            for part in parts {
                self.taken.remove(&part);
            }
        }
    }

    /// The next free part; parts that were given back are used again only after a round, so that their routes can go away.
    pub fn allocate(&mut self) -> Option<Cidr> {
        let candidates = (self.next..self.count).chain(0..self.next);
        let free = candidates
            .into_iter()
            .find(|index| !self.taken.contains(index))?;
        self.taken.insert(free);
        self.next = (free + 1) % self.count;
        Some(self.part(free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_parsed_and_normalized() {
        for (text, expected) in [
            ("10.244.3.7/16", "10.244.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00:1::5/64", "fd00:1::/64"),
            ("10.0.0.1/32", "10.0.0.1/32"),
        ] {
            assert_eq!(cidr(text).to_string(), expected);
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0/8"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_part_is_handed_out_once() {
        let mut set = CidrSet::new(cidr("10.244.0.0/22"), 24).unwrap();
        set.occupy(cidr("10.244.1.0/24"));
        assert_eq!(set.allocate(), Some(cidr("10.244.0.0/24")));
        assert_eq!(set.allocate(), Some(cidr("10.244.2.0/24")));
        set.release(cidr("10.244.0.0/24"));
        assert_eq!(
            set.allocate(),
            Some(cidr("10.244.3.0/24")),
            "a part just given back waits"
        );
        assert_eq!(set.allocate(), Some(cidr("10.244.0.0/24")));
        assert_eq!(set.allocate(), None);
    }

    #[test]
    fn overlapping_ranges_take_all_they_touch() {
        let mut set = CidrSet::new(cidr("10.0.0.0/16"), 18).unwrap();
        set.occupy(cidr("10.0.64.0/17"));
        set.occupy(cidr("11.0.0.0/8"));
        assert_eq!(set.allocate(), Some(cidr("10.0.128.0/18")));
        set.occupy(cidr("10.0.0.0/8"));
        assert_eq!(set.allocate(), None);
    }

    #[test]
    fn bad_masks_are_refused() {
        assert!(matches!(
            CidrSet::new(cidr("10.0.0.0/16"), 8),
            Err(CidrError::MaskTooShort { .. })
        ));
        assert!(matches!(
            CidrSet::new(cidr("fd00::/16"), 64),
            Err(CidrError::TooMany { .. })
        ));
        let mut v6 = CidrSet::new(cidr("fd00::/56"), 64).unwrap();
        assert_eq!(v6.allocate().unwrap().to_string(), "fd00::/64");
        assert_eq!(v6.allocate().unwrap().to_string(), "fd00:0:0:1::/64");
    }
}
