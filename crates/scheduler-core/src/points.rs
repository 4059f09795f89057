//! Extension points: where upstream's framework calls plugins, and which of its plugins sit where.
//!
//! The core does not call plugins point by point (a class keeps what they say), but configuration files enable and disable them
//! there, so every plugin has the set of points it extends and a profile the set that is on. Invariant: a plugin of upstream's
//! extends here what it extends there.

/// A place in the life of a pod where plugins have a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    PreEnqueue,
    QueueSort,
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    Reserve,
    Permit,
    PreBind,
    Bind,
    PostBind,
    PlacementGenerate,
    PlacementScore,
}

use Point::*;

impl Point {
    pub const ALL: [Self; 14] = [
        PreEnqueue,
        QueueSort,
        PreFilter,
        Filter,
        PostFilter,
        PreScore,
        Score,
        Reserve,
        Permit,
        PreBind,
        Bind,
        PostBind,
        PlacementGenerate,
        PlacementScore,
    ];

    /// As metrics and messages name it; configuration files begin it with a small letter.
    pub fn name(self) -> &'static str {
        match self {
            PreEnqueue => "PreEnqueue",
            QueueSort => "QueueSort",
            PreFilter => "PreFilter",
            Filter => "Filter",
            PostFilter => "PostFilter",
            PreScore => "PreScore",
            Score => "Score",
            Reserve => "Reserve",
            Permit => "Permit",
            PreBind => "PreBind",
            Bind => "Bind",
            PostBind => "PostBind",
            PlacementGenerate => "PlacementGenerate",
            PlacementScore => "PlacementScore",
        }
    }
}

/// A set of extension points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Points(u16);

impl Points {
    pub const NONE: Self = Self(0);

    pub const fn of(points: &[Point]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < points.len() {
            bits |= 1 << points[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    pub fn contains(self, point: Point) -> bool {
        self.0 & (1 << point as u16) != 0
    }

    pub fn insert(&mut self, point: Point) {
        self.0 |= 1 << point as u16;
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a plugin written out of tree extends unless it says otherwise.
pub const CUSTOM: Points = Points::of(&[Filter, Score]);

/// What upstream's plugin of this name extends; `None` when it has none of that name.
pub fn upstream(plugin: &str) -> Option<Points> {
    let points: &[Point] = match plugin {
        "SchedulingGates" => &[PreEnqueue],
        "PrioritySort" => &[QueueSort],
        "NodeUnschedulable" | "NodeName" => &[Filter],
        "TaintToleration" => &[Filter, PreScore, Score],
        "NodeAffinity" | "NodeResourcesFit" | "PodTopologySpread" | "InterPodAffinity" => {
            &[PreFilter, Filter, PreScore, Score]
        }
        "NodePorts"
        | "VolumeRestrictions"
        | "NodeVolumeLimits"
        | "VolumeZone"
        | "NodeDeclaredFeatures" => &[PreFilter, Filter],
        "VolumeBinding" => &[PreFilter, Filter, PreScore, Score, Reserve, PreBind],
        "DynamicResources" => &[
            PreEnqueue, PreFilter, Filter, PostFilter, Score, Reserve, PreBind,
        ],
        "DefaultPreemption" => &[PreEnqueue, PostFilter],
        "NodeResourcesBalancedAllocation" => &[PreScore, Score],
        "ImageLocality" => &[Score],
        "DefaultBinder" => &[Bind],
        "GangScheduling" => &[PreEnqueue, Permit],
        "TopologyPlacementGenerator" => &[PlacementGenerate],
        "PodGroupPodsCount" => &[PlacementScore],
        _ => return None,
    };
    Some(Points::of(points))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_of_the_registry_extends_something() {
        for (make, weight) in crate::plugins::registry() {
            let plugin = make();
            let points = plugin.points();
            assert!(!points.is_empty(), "{}", plugin.name());
            if weight > 0 {
                assert!(points.contains(Score), "{}", plugin.name());
            }
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut points = Points::NONE;
        points.insert(Bind);
        for point in Point::ALL {
            assert_eq!(points.contains(point), point == Bind);
        }
    }
}
