//! Finds what can match a node's labels without looking at everything: by one label that a selector insists on.
//!
//! Invariant: [`LabelIndex::candidates`] gives at least everything that matches the labels; callers check the rest themselves.

use hashbrown::HashMap;

use crate::labels::{Labels, Operator, Requirement, Selector};
use crate::objects::{NodeSelector, Text};

#[derive(Default)]
pub struct LabelIndex {
    /// Keys in use, and how often.
    keys: Vec<(Text, usize)>,
    by_label: HashMap<(Text, Text), Vec<u32>>,
    /// What no single label decides.
    anywhere: Vec<u32>,
}

/// The labels of which a match needs one; `None`: nothing can be said.
pub type Needed = Option<Vec<(Text, Text)>>;

/// For the required node affinity of a volume; absent matches everywhere.
pub fn needed_by_affinity(affinity: Option<&NodeSelector>) -> Needed {
    let mut pairs = Vec::new();
    for term in &affinity?.node_selector_terms {
        pairs.extend(pairs_of(&term.match_expressions)?);
    }
    Some(pairs)
}

pub fn needed_by_selector(selector: &Selector) -> Needed {
    match selector {
        Selector::Nothing => Some(Vec::new()),
        Selector::All(requirements) => pairs_of(requirements),
    }
}

fn pairs_of(requirements: &[Requirement]) -> Needed {
    let decisive = requirements
        .iter()
        .filter(|one| one.operator == Operator::In)
        .min_by_key(|one| one.values.len())?;
    let pair = |value: &Text| (decisive.key.clone(), value.clone());
    Some(decisive.values.iter().map(pair).collect())
}

impl LabelIndex {
    pub fn insert(&mut self, id: u32, needed: &Needed) {
        let Some(pairs) = needed else {
            self.anywhere.push(id);
            return;
        };
        for pair in pairs {
            match self.keys.iter_mut().find(|(key, _)| *key == pair.0) {
                Some((_, uses)) => *uses += 1,
                None => self.keys.push((pair.0.clone(), 1)),
            }
            self.by_label.entry(pair.clone()).or_default().push(id);
        }
    }

    pub fn remove(&mut self, id: u32, needed: &Needed) {
        let drop_one = |list: &mut Vec<u32>| {
            if let Some(at) = list.iter().position(|one| *one == id) {
                list.swap_remove(at);
            }
        };
        let Some(pairs) = needed else {
            return drop_one(&mut self.anywhere);
        };
        for pair in pairs {
            if let Some(list) = self.by_label.get_mut(pair) {
                drop_one(list);
                if list.is_empty() {
                    self.by_label.remove(pair);
                }
            }
            if let Some(at) = self.keys.iter().position(|(key, _)| *key == pair.0) {
                self.keys[at].1 -= 1;
                if self.keys[at].1 == 0 {
                    self.keys.swap_remove(at);
                }
            }
        }
    }

    /// Some may come twice.
    pub fn candidates(&self, labels: &Labels) -> impl Iterator<Item = u32> {
        let by_label = self.keys.iter().filter_map(|(key, _)| {
            let pair = (key.clone(), labels.get(key)?.clone());
            self.by_label.get(&pair)
        });
        self.anywhere.iter().chain(by_label.flatten()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_come_by_the_most_decisive_label_and_go() {
        let selector = Selector::All(vec![
            Requirement::new("zone", Operator::In, &["a", "b"]),
            Requirement::new("host", Operator::In, &["n1"]),
        ]);
        let needed = needed_by_selector(&selector);
        assert_eq!(needed, Some(vec![("host".into(), "n1".into())]));
        let mut index = LabelIndex::default();
        index.insert(1, &needed);
        index.insert(2, &None);
        let at = |index: &LabelIndex, host: &str| {
            let labels = [("host", host), ("zone", "a")].into_iter().collect();
            index.candidates(&labels).collect::<Vec<_>>()
        };
        assert_eq!(at(&index, "n1"), [2, 1]);
        assert_eq!(at(&index, "n2"), [2]);
        index.remove(1, &needed);
        assert_eq!(at(&index, "n1"), [2]);
    }
}
