//! Semantic versions (semver.org 2.0.0) as device attributes and CEL selectors compare them.

use std::cmp::Ordering;

#[derive(Clone, Debug)]
pub(super) struct Semver {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    before: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Name(String),
}

/// Build metadata is checked and dropped: it does not order versions.
pub(super) fn parse(text: &str) -> Result<Semver, String> {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (core, before) = match text.split_once('-') {
        Some((core, before)) => (core, Some(before)),
        None => (text, None),
    };
    let numbers: Vec<&str> = core.split('.').collect();
    let [major, minor, patch] = numbers.as_slice() else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let named = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let part = |text: &str| match text.bytes().all(|c| c.is_ascii_digit()) && !text.is_empty() {
        true => number(text).map(Part::Number),
        false if named(text) => Ok(Part::Name(text.to_owned())),
        false => Err(format!("Invalid character(s) found in prerelease {text:?}")),
    };
    if build.is_some_and(|build| !build.split('.').all(named)) {
        return Err("Invalid character(s) found in build metadata".to_owned());
    }
    Ok(Semver {
        major: number(major)?,
        minor: number(minor)?,
        patch: number(patch)?,
        before: match before {
            Some(before) => before.split('.').map(part).collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
    })
}

fn number(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !digits {
        return Err(format!("Invalid character(s) found in number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("Number must not contain leading zeroes {text:?}"));
    }
    text.parse()
        .map_err(|_| format!("number {text:?} is out of range"))
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |one: &Self| (one.major, one.minor, one.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => self.before.cmp(&other.before),
            }
        })
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Semver {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Semver {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_as_their_specification_says() {
        let versions = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.0",
            "1.10.0",
        ];
        for pair in versions.windows(2) {
            assert!(
                parse(pair[0]).unwrap() < parse(pair[1]).unwrap(),
                "{pair:?}"
            );
        }
        assert_eq!(parse("1.0.0+a").unwrap(), parse("1.0.0+b").unwrap());
        for bad in ["1.0", "01.0.0", "1.0.0-", "v1.0.0", "1.0.0-a..b", "1.0.0+"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
