//! The annotations by which a deployment and its replica sets keep history and scaling state.

use serde_json::{Map, Value, json};

use crate::objects::Pairs;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// spec.replicas of the deployment when the set was last scaled.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// [`DESIRED`] plus the surge of that time.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a deployment that its replica sets do not take over.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Longest revision-history annotation, in characters.
const HISTORY_LIMIT: usize = 2000;

/// What a new replica set takes over from its deployment.
pub fn inherited(deployment: &Pairs) -> Map<String, Value> {
    let taken = deployment.iter().filter(|(key, _)| !OWN.contains(key));
    taken
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect()
}

/// The revision of a set; a malformed one counts as none.
pub fn revision(annotations: &Pairs) -> i64 {
    annotations
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// A non-negative number in an annotation.
pub fn count(annotations: &Pairs, key: &str) -> Option<i32> {
    annotations
        .get(key)?
        .parse()
        .ok()
        .filter(|count| *count >= 0)
}

/// What must change in the annotations of the current replica set for it to carry `revision` and the deployment's annotations.
pub fn updates(deployment: &Pairs, set: &Pairs, revision: i64) -> Vec<(String, String)> {
    let inherited = deployment
        .iter()
        .filter(|(key, value)| !OWN.contains(key) && set.get(key) != Some(value));
    let mut updates: Vec<(String, String)> = inherited
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let old = set.get(REVISION);
    let number = match old.unwrap_or("").parse::<i64>() {
        Ok(number) => number,
        Err(_) if old.is_none_or(str::is_empty) => 0,
        // Somebody wrote a revision that is no number: leave it to them.
        Err(_) => return updates,
    };
    if number < revision {
        updates.push((REVISION.to_owned(), revision.to_string()));
        // A set that had a revision and gets a new one is rolled back to; its former revisions are remembered.
        if let Some(old) = old.filter(|old| !old.is_empty()) {
            updates.extend(
                history(set.get(REVISION_HISTORY), old)
                    .map(|text| (REVISION_HISTORY.to_owned(), text)),
            );
        }
    }
    updates
}

fn history(before: Option<&str>, revision: &str) -> Option<String> {
    let Some(before) = before.filter(|before| !before.is_empty()) else {
        return Some(revision.to_owned());
    };
    let mut kept = before;
    while kept.len() + 1 + revision.len() > HISTORY_LIMIT {
        kept = kept.split_once(',')?.1;
    }
    Some(format!("{kept},{revision}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(entries: &[(&str, &str)]) -> Pairs {
        entries.iter().copied().collect()
    }

    #[test]
    fn the_current_set_carries_the_deployments_annotations_and_revision() {
        let deployment = pairs(&[
            ("team", "a"),
            (REVISION, "9"),
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ]);
        for (set, revision, expected) in [
            (pairs(&[]), 1, vec![("team", "a"), (REVISION, "1")]),
            (pairs(&[("team", "a"), (REVISION, "1")]), 1, vec![]),
            (pairs(&[("team", "a"), (REVISION, "3")]), 2, vec![]),
            (pairs(&[("team", "a"), (REVISION, "x")]), 2, vec![]),
            (
                pairs(&[("team", "a"), (REVISION, "1")]),
                3,
                vec![(REVISION, "3"), (REVISION_HISTORY, "1")],
            ),
            (
                pairs(&[("team", "b"), (REVISION, "4"), (REVISION_HISTORY, "1,2")]),
                5,
                vec![("team", "a"), (REVISION, "5"), (REVISION_HISTORY, "1,2,4")],
            ),
        ] {
            let found = updates(&deployment, &set, revision);
            let found: Vec<_> = found
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn history_is_bounded() {
        let long = (0..800)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(",");
        let text = history(Some(&long), "801").unwrap();
        assert!(
            text.len() <= HISTORY_LIMIT && text.ends_with(",799,801"),
            "{}",
            text.len()
        );
    }
}
