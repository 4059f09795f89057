//! What becomes of one object, given the state of its owners. Pure.

use super::graph::{FOREGROUND, ORPHAN};
use crate::objects::{Meta, OwnerReference};

/// What the server (or the watch) says of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// It exists, or nobody can tell.
    Solid,
    /// It is being deleted in the foreground and waits for its dependents.
    Waiting,
    /// It does not exist.
    Absent,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Keep,
    /// An owner remains: drop the references to those that are gone or waiting.
    Release(Vec<OwnerReference>),
    /// Nobody owns it any longer. `unblock` says that it must first stop blocking its owners, or a cycle of waiting would arise.
    Delete {
        propagation: &'static str,
        unblock: bool,
    },
}

/// `owners` are the live object's owner references with their states.
pub fn decide(
    meta: &Meta,
    owners: &[OwnerState],
    has_dependents: bool,
    has_waiting_dependent: bool,
) -> Decision {
    let references = &meta.owner_references;
    if references.is_empty() || owners.iter().all(|state| *state == OwnerState::Solid) {
        return Decision::Keep;
    }
    if owners.contains(&OwnerState::Solid) {
        let kept = references
            .iter()
            .zip(owners)
            .filter(|(_, state)| **state == OwnerState::Solid);
        return Decision::Release(kept.map(|(reference, _)| reference.clone()).collect());
    }
    if owners.contains(&OwnerState::Waiting) && has_dependents {
        return Decision::Delete {
            propagation: "Foreground",
            unblock: has_waiting_dependent,
        };
    }
    let propagation = if meta.has_finalizer(ORPHAN) {
        "Orphan"
    } else if meta.has_finalizer(FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    };
    Decision::Delete {
        propagation,
        unblock: false,
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerState::{Absent, Solid, Waiting};
    use super::*;
    use serde_json::json;

    fn meta(owners: usize, finalizers: &[&str]) -> Meta {
        let owners: Vec<_> = (0..owners)
            .map(|index| json!({"uid": index.to_string()}))
            .collect();
        serde_json::from_value(
            json!({"name": "a", "ownerReferences": owners, "finalizers": finalizers}),
        )
        .unwrap()
    }

    #[test]
    fn decisions() {
        let delete = |propagation, unblock| Decision::Delete {
            propagation,
            unblock,
        };
        for (name, finalizers, owners, dependents, waiting, expected) in [
            (
                "nobody owns it",
                vec![],
                vec![],
                false,
                false,
                Decision::Keep,
            ),
            (
                "owned",
                vec![],
                vec![Solid, Solid],
                false,
                false,
                Decision::Keep,
            ),
            (
                "owner gone",
                vec![],
                vec![Absent],
                false,
                false,
                delete("Background", false),
            ),
            (
                "all owners gone",
                vec![],
                vec![Absent, Absent],
                true,
                false,
                delete("Background", false),
            ),
            (
                "owner waits",
                vec![],
                vec![Waiting],
                false,
                false,
                delete("Background", false),
            ),
            (
                "owner waits, it has dependents",
                vec![],
                vec![Waiting],
                true,
                false,
                delete("Foreground", false),
            ),
            (
                "a cycle",
                vec![],
                vec![Waiting],
                true,
                true,
                delete("Foreground", true),
            ),
            (
                "keeps its policy",
                vec![ORPHAN],
                vec![Absent],
                true,
                false,
                delete("Orphan", false),
            ),
            (
                "keeps its policy",
                vec![FOREGROUND],
                vec![Absent],
                true,
                false,
                delete("Foreground", false),
            ),
        ] {
            let found = decide(
                &meta(owners.len(), &finalizers),
                &owners,
                dependents,
                waiting,
            );
            assert_eq!(found, expected, "{name}");
        }
        let found = decide(&meta(3, &[]), &[Absent, Solid, Waiting], true, false);
        assert!(
            matches!(found, Decision::Release(kept) if kept.len() == 1 && &*kept[0].uid == "1")
        );
    }
}
