//! Constraints over the devices of one claim: all with the same value of an attribute, or all with different ones.
//!
//! Invariant: devices leave a constraint in the reverse of the order in which they came, as the search goes back.

use super::demand::{Choice, Request};
use super::objects::{Attribute, Device, DeviceConstraint};
use crate::objects::Text;

pub(super) struct Constraint<'a> {
    requests: &'a [Text],
    attribute: &'a Text,
    distinct: bool,
    values: Vec<Attribute>,
}

pub(super) fn of(constraints: &[DeviceConstraint]) -> Vec<Constraint<'_>> {
    constraints
        .iter()
        .filter_map(|constraint| {
            let matching = constraint.match_attribute.as_ref();
            Some(Constraint {
                requests: &constraint.requests,
                attribute: matching.or(constraint.distinct_attribute.as_ref())?,
                distinct: matching.is_none(),
                values: Vec::new(),
            })
        })
        .collect()
}

impl Constraint<'_> {
    /// Adds a device unless the constraint would be violated.
    pub fn add(
        &mut self,
        request: &Request,
        choice: &Choice,
        driver: &str,
        device: &Device,
    ) -> bool {
        if !self.applies(request, choice) {
            return true;
        }
        let Some(value) = attribute(device, driver, self.attribute) else {
            return false;
        };
        let allowed = match self.distinct {
            true => !self.values.contains(value),
            false => self.values.first().is_none_or(|first| first == value),
        };
        if allowed {
            self.values.push(value.clone());
        }
        allowed
    }

    /// Takes back the device that was added last for this request.
    pub fn remove(&mut self, request: &Request, choice: &Choice) {
        if self.applies(request, choice) {
            self.values.pop();
        }
    }

    /// Without a list of requests, to all; an alternative can be named alone or with its whole request.
    fn applies(&self, request: &Request, choice: &Choice) -> bool {
        let named = |name: &Text| {
            *name == request.name
                || request.prioritized
                    && name
                        .split_once('/')
                        .is_some_and(|pair| pair == (&request.name, &choice.name))
        };
        self.requests.is_empty() || self.requests.iter().any(named)
    }
}

/// By its full name, or without the domain when that is the driver's.
fn attribute<'a>(device: &'a Device, driver: &str, name: &str) -> Option<&'a Attribute> {
    let found = device.attributes.get(name).or_else(|| {
        let (domain, id) = name.split_once('/')?;
        device.attributes.get(id).filter(|_| domain == driver)
    })?;
    let known = found.int.is_some()
        || found.bool.is_some()
        || found.string.is_some()
        || found.version.is_some();
    known.then_some(found)
}
