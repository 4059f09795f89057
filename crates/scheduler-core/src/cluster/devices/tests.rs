//! Every rule of choosing devices, one small case each.

use serde_json::{Value, json};

use super::demand::Demand;
use super::objects::{Allocation, DeviceClass, ResourceClaim, ResourceSlice};
use super::{ClaimToWrite, Devices, Place, PodClaim, PodClaims, Refusal, Touched, placeholder};
use crate::labels::Labels;
use crate::objects::Text;

const DRIVER: &str = "d.example.com";

#[derive(Default)]
struct World {
    devices: Devices,
    touched: Touched,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        world.class("any", &["device.driver == 'd.example.com'"]);
        world
    }

    fn class(&mut self, name: &str, selectors: &[&str]) {
        let selectors: Vec<Value> = selectors
            .iter()
            .map(|one| json!({"cel": {"expression": one}}))
            .collect();
        let config = json!([{"opaque": {"driver": DRIVER, "parameters": {"of": name}}}]);
        let class: DeviceClass = serde_json::from_value(
            json!({"metadata": {"name": name}, "spec": {"selectors": selectors, "config": config}}),
        )
        .unwrap();
        self.devices.classes.insert(name.into(), class);
    }

    /// A whole pool in one slice.
    fn slice(&mut self, name: &str, more: Value, devices: Value) {
        let mut spec = json!({"driver": DRIVER, "pool": {"name": name, "generation": 1, "resourceSliceCount": 1}, "devices": devices});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let slice = json!({"metadata": {"name": name}, "spec": spec});
        let slice: ResourceSlice = serde_json::from_value(slice).unwrap();
        self.devices.set_slice(slice, &mut self.touched);
    }

    fn claim(&mut self, name: &str, devices: Value) -> PodClaims {
        self.claim_with(name, devices, json!({}))
    }

    fn claim_with(&mut self, name: &str, devices: Value, status: Value) -> PodClaims {
        let claim = json!({"metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
                           "spec": {"devices": devices}, "status": status});
        let claim: ResourceClaim = serde_json::from_value(claim).unwrap();
        self.devices.set_claim(claim, &mut self.touched);
        PodClaims {
            namespace: "ns".into(),
            name: "pod".into(),
            uid: "pod-uid".into(),
            claims: vec![PodClaim::Named(name.into())],
        }
    }

    fn demand(&mut self, pod: &PodClaims) -> Demand {
        let demand = self.devices.demand(pod).unwrap().unwrap();
        Demand::clone(&demand)
    }

    fn at<T>(
        &mut self,
        pod: &PodClaims,
        node: &str,
        ask: impl Fn(&Devices, Place<'_>, &Demand) -> T,
    ) -> T {
        let demand = self.demand(pod);
        let labels: Labels = [("zone", &node[..1])].into_iter().collect();
        let name = Text::from(node);
        let place = Place {
            name: &name,
            labels: &labels,
        };
        ask(&self.devices, place, &demand)
    }

    fn fits(&mut self, pod: &PodClaims, node: &str) -> Result<(), Refusal> {
        self.at(pod, node, |devices, place, demand| {
            devices.fits(place, demand)
        })
    }

    fn allocation(&mut self, pod: &PodClaims, node: &str) -> Allocation {
        let own = pod.clone();
        let claims: Vec<ClaimToWrite> = self.at(pod, node, move |devices, place, demand| {
            devices.allocate(&own, demand, place)
        });
        Allocation::clone(claims[0].allocation.as_ref().unwrap())
    }

    fn chosen(&mut self, pod: &PodClaims, node: &str) -> Vec<String> {
        let allocation = self.allocation(pod, node);
        let results = allocation.devices.results.iter();
        results
            .map(|one| format!("{}={}", one.request, one.device))
            .collect()
    }
}

fn exactly(more: Value) -> Value {
    let mut exactly = json!({"deviceClassName": "any"});
    for (key, value) in more.as_object().unwrap() {
        exactly[key] = value.clone();
    }
    json!({"requests": [{"name": "r", "exactly": exactly}]})
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

#[test]
fn devices_are_where_their_slices_say() {
    let mut world = World::new();
    let pod = world.claim("c", exactly(json!({})));
    let zone = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]});
    assert_eq!(world.fits(&pod, "a1"), Err(Refusal::TooFew));
    world.slice("local", json!({"nodeName": "a1"}), named(&["x"]));
    assert_eq!(world.fits(&pod, "a1"), Ok(()));
    assert_eq!(world.fits(&pod, "a2"), Err(Refusal::TooFew));
    world.slice("zonal", json!({"nodeSelector": zone}), named(&["x"]));
    assert_eq!(world.fits(&pod, "b1"), Ok(()));
    let selector = world.allocation(&pod, "b1").node_selector.unwrap();
    assert_eq!(
        selector.node_selector_terms[0].match_expressions[0].key,
        "zone"
    );
    world.slice("global", json!({"allNodes": true}), named(&["x"]));
    assert_eq!(world.fits(&pod, "c1"), Ok(()));
    assert_eq!(world.allocation(&pod, "c1").node_selector, None);
    world.slice(
        "own",
        json!({"perDeviceNodeSelection": true}),
        json!([{"name": "x", "nodeName": "d1"}, {"name": "y", "nodeName": "d2"}]),
    );
    world
        .devices
        .remove_slice(&"global".into(), &mut world.touched);
    assert_eq!(world.chosen(&pod, "d2"), ["r=y"]);
    let selector = world.allocation(&pod, "d2").node_selector.unwrap();
    let own = &selector.node_selector_terms[0].match_fields[0];
    assert_eq!(
        (own.key.as_str(), own.values[0].as_str()),
        ("metadata.name", "d2")
    );
}

#[test]
fn selectors_of_class_and_request_both_count() {
    let mut world = World::new();
    world.slice(
        "p",
        json!({"nodeName": "n"}),
        json!([{"name": "x", "attributes": {"size": {"int": 1}}}, {"name": "y", "attributes": {"size": {"int": 2}}}]),
    );
    world.class("big", &["device.attributes['d.example.com'].size > 1"]);
    let small = json!([{"cel": {"expression": "device.attributes['d.example.com'].size < 2"}}]);
    let pod = world.claim("c", exactly(json!({"selectors": small})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x"]);
    let pod = world.claim("c", exactly(json!({"deviceClassName": "big"})));
    assert_eq!(world.chosen(&pod, "n"), ["r=y"]);
    let pod = world.claim(
        "c",
        exactly(json!({"deviceClassName": "big", "selectors": small})),
    );
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
}

#[test]
fn a_broken_expression_is_named() {
    let mut world = World::new();
    world.slice("p", json!({"nodeName": "n"}), named(&["x"]));
    let missing =
        json!([{"cel": {"expression": "device.attributes['d.example.com'].missing == 1"}}]);
    let pod = world.claim("c", exactly(json!({"selectors": missing})));
    let Err(Refusal::Failed(why)) = world.fits(&pod, "n") else {
        panic!("an attribute that is not there is an error");
    };
    let expected = format!("claim {}: selector #0: CEL runtime error: ", placeholder(0));
    assert!(why.starts_with(&expected), "{why}");
    let broken = json!([{"cel": {"expression": "device."}}]);
    let pod = world.claim("c", exactly(json!({"selectors": broken})));
    let why = world.devices.demand(&pod).unwrap_err();
    assert!(
        why.starts_with("claim ns/c: selector #0: CEL compile error: compilation failed: "),
        "{why}"
    );
}

#[test]
fn a_number_of_devices_or_all_of_them() {
    let mut world = World::new();
    world.slice("p", json!({"nodeName": "n"}), named(&["x", "y", "z"]));
    let pod = world.claim("c", exactly(json!({"count": 2})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x", "r=y"]);
    let pod = world.claim("c", exactly(json!({"count": 4})));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    let pod = world.claim("c", exactly(json!({"allocationMode": "All"})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x", "r=y", "r=z"]);
    assert_eq!(world.fits(&pod, "elsewhere"), Err(Refusal::TooFew));
    let taken = json!({"allocation": {"devices": {"results": [{"driver": DRIVER, "pool": "p", "device": "y"}]}}});
    world.claim_with("other", exactly(json!({})), taken);
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    let pod = world.claim("c", exactly(json!({"count": 33})));
    assert_eq!(
        world.devices.demand(&pod).unwrap_err(),
        "claim ns/c: number of requested devices 33 exceeds the claim limit of 32"
    );
}

#[test]
fn what_another_claim_has_is_taken_and_given_back() {
    let mut world = World::new();
    world.slice("p", json!({"nodeName": "n"}), named(&["x", "y"]));
    let taken = |device: &str| json!({"allocation": {"devices": {"results": [{"driver": DRIVER, "pool": "p", "device": device}]}}});
    world.claim_with("other", exactly(json!({})), taken("x"));
    let pod = world.claim("c", exactly(json!({})));
    assert_eq!(world.chosen(&pod, "n"), ["r=y"]);
    world.claim_with("more", exactly(json!({})), taken("y"));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    world.claim("other", exactly(json!({})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x"]);
    world.devices.remove_claim("ns/more", &mut world.touched);
    assert_eq!(world.devices.in_use().count(), 0);
}

#[test]
fn administrators_share_devices_but_have_each_once() {
    let mut world = World::new();
    world.slice("p", json!({"nodeName": "n"}), named(&["x"]));
    let taken = json!({"allocation": {"devices": {"results": [{"driver": DRIVER, "pool": "p", "device": "x"}]}}});
    world.claim_with("other", exactly(json!({})), taken);
    let pod = world.claim("c", exactly(json!({"adminAccess": true})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x"]);
    assert_eq!(
        world.allocation(&pod, "n").devices.results[0].admin_access,
        Some(true)
    );
    let pod = world.claim("c", exactly(json!({"adminAccess": true, "count": 2})));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken_and_scored() {
    let mut world = World::new();
    world.slice("p", json!({"nodeName": "n"}), named(&["x", "y"]));
    world.slice("q", json!({"nodeName": "m"}), named(&["x", "y", "z"]));
    let alternatives = json!([{"name": "three", "deviceClassName": "any", "count": 3}, {"name": "two", "deviceClassName": "any", "count": 2}]);
    let devices = json!({"requests": [{"name": "r", "firstAvailable": alternatives}]});
    let pod = world.claim("c", devices);
    assert_eq!(world.chosen(&pod, "n"), ["r/two=x", "r/two=y"]);
    assert_eq!(world.chosen(&pod, "m").len(), 3);
    let score = |devices: &Devices, place: Place<'_>, demand: &Demand| devices.score(place, demand);
    assert_eq!(world.at(&pod, "n", score), 7);
    assert_eq!(world.at(&pod, "m", score), 8);
}

#[test]
fn devices_with_the_same_attribute_or_with_different_ones() {
    let mut world = World::new();
    let device =
        |name: &str, numa: i64| json!({"name": name, "attributes": {"numa": {"int": numa}}});
    let devices =
        json!([device("a", 0), device("b", 1), {"name": "none"}, device("c", 1), device("d", 0)]);
    world.slice("p", json!({"nodeName": "n"}), devices);
    let with = |constraint: Value, count: i64| {
        let mut devices = exactly(json!({"count": count}));
        devices["constraints"] = json!([constraint]);
        devices
    };
    let same = json!({"matchAttribute": "d.example.com/numa"});
    let pod = world.claim("c", with(same.clone(), 2));
    assert_eq!(world.chosen(&pod, "n"), ["r=a", "r=d"]);
    let pod = world.claim("c", with(same, 3));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    let different = json!({"distinctAttribute": "d.example.com/numa", "requests": ["r"]});
    let pod = world.claim("c", with(different.clone(), 2));
    assert_eq!(world.chosen(&pod, "n"), ["r=a", "r=b"]);
    let pod = world.claim("c", with(different, 3));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    let other = json!({"matchAttribute": "d.example.com/numa", "requests": ["another"]});
    let pod = world.claim("c", with(other, 5));
    assert_eq!(world.fits(&pod, "n"), Ok(()));
}

#[test]
fn tainted_devices_need_a_toleration() {
    let mut world = World::new();
    let taint = |effect: &str| json!([{"key": "broken", "value": "yes", "effect": effect}]);
    let devices = json!([{"name": "x", "taints": taint("NoSchedule")}, {"name": "y", "taints": taint("None")}]);
    world.slice("p", json!({"nodeName": "n"}), devices);
    let pod = world.claim("c", exactly(json!({})));
    assert_eq!(world.chosen(&pod, "n"), ["r=y"]);
    let tolerations = json!([{"key": "broken", "operator": "Exists", "effect": "NoSchedule"}]);
    let pod = world.claim("c", exactly(json!({"tolerations": tolerations})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x"]);
    assert_eq!(
        json!(world.allocation(&pod, "n").devices.results[0].tolerations),
        tolerations
    );
}

#[test]
fn parts_of_a_device_share_its_counters() {
    let mut world = World::new();
    let part = |name: &str, memory: &str| json!({"name": name, "consumesCounters": [{"counterSet": "gpu", "counters": {"memory": {"value": memory}}}]});
    let counters = json!([{"name": "gpu", "counters": {"memory": {"value": "40Gi"}}}]);
    let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 2});
    world.slice(
        "p",
        json!({"nodeName": "n", "pool": pool}),
        json!([
            part("half-0", "20Gi"),
            part("half-1", "20Gi"),
            part("whole", "40Gi")
        ]),
    );
    world.slice(
        "counters",
        json!({"nodeName": "n", "pool": pool, "sharedCounters": counters}),
        json!([]),
    );
    let pod = world.claim("c", exactly(json!({"count": 2})));
    assert_eq!(world.chosen(&pod, "n"), ["r=half-0", "r=half-1"]);
    let pod = world.claim("c", exactly(json!({"count": 3})));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    let taken = json!({"allocation": {"devices": {"results": [{"driver": DRIVER, "pool": "p", "device": "whole"}]}}});
    world.claim_with("other", exactly(json!({})), taken);
    let pod = world.claim("c", exactly(json!({})));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
}

#[test]
fn only_whole_pools_of_the_newest_generation_count() {
    let mut world = World::new();
    let pool = |generation: i64, count: i64| json!({"nodeName": "n", "pool": {"name": "p", "generation": generation, "resourceSliceCount": count}});
    world.slice("old", pool(1, 1), named(&["x"]));
    let pod = world.claim("c", exactly(json!({})));
    let all = world.claim("all", exactly(json!({"allocationMode": "All"})));
    assert_eq!(world.chosen(&pod, "n"), ["r=x"]);
    world.slice("new-0", pool(2, 2), named(&["y"]));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::TooFew));
    let why = "asks for all devices, but resource pool d.example.com/p is currently being updated";
    let expected = format!("claim {}, request r: {why}", placeholder(0));
    assert_eq!(world.fits(&all, "n"), Err(Refusal::Failed(expected.into())));
    world.slice("new-1", pool(2, 2), named(&["z"]));
    assert_eq!(world.chosen(&all, "n"), ["r=y", "r=z"]);
    world.slice("new-1", pool(2, 2), named(&["y"]));
    assert_eq!(world.fits(&pod, "n"), Err(Refusal::InvalidPools));
}

#[test]
fn an_allocated_claim_stays_where_it_is() {
    let mut world = World::new();
    let here = json!({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]});
    let status = json!({"allocation": {"devices": {"results": []}, "nodeSelector": here}});
    let pod = world.claim_with("c", exactly(json!({})), status);
    assert_eq!(world.fits(&pod, "n"), Ok(()));
    assert_eq!(world.fits(&pod, "m"), Err(Refusal::Elsewhere));
}

#[test]
fn configuration_comes_from_the_class_once_and_from_the_claim_where_it_applies() {
    let mut world = World::new();
    world.slice("p", json!({"nodeName": "n"}), named(&["x", "y"]));
    let config = |requests: Value| json!({"requests": requests, "opaque": {"driver": DRIVER, "parameters": {"mine": true}}});
    let request = |name: &str| json!({"name": name, "exactly": {"deviceClassName": "any"}});
    let pod = world.claim(
        "c",
        json!({"requests": [request("a"), request("b")], "config": [config(json!(["b"])), config(json!([])), config(json!(["z"]))]}),
    );
    let of_class = json!({"source": "FromClass", "requests": ["a", "b"], "opaque": {"driver": DRIVER, "parameters": {"of": "any"}}});
    let own = |requests: Value| {
        let mut own = json!({"source": "FromClaim", "opaque": {"driver": DRIVER, "parameters": {"mine": true}}});
        if !requests.is_null() {
            own["requests"] = requests;
        }
        own
    };
    let config = json!(world.allocation(&pod, "n").devices.config);
    assert_eq!(
        config,
        json!([of_class, own(json!(["b"])), own(Value::Null)])
    );
}

#[test]
fn what_is_wrong_with_claims_is_said_in_upstreams_words() {
    let mut world = World::new();
    let pod = |claim: PodClaim| PodClaims {
        namespace: "ns".into(),
        name: "pod".into(),
        uid: "pod-uid".into(),
        claims: vec![claim],
    };
    let check = |world: &mut World, claim: PodClaim, expected: &str| {
        assert_eq!(world.devices.demand(&pod(claim)).unwrap_err(), expected);
    };
    check(
        &mut world,
        PodClaim::NotYetMade,
        "pod \"ns/pod\": ResourceClaim not created yet",
    );
    check(
        &mut world,
        PodClaim::Named("c".into()),
        "could not find ResourceClaim \"ns/c\"",
    );
    world.claim("c", exactly(json!({})));
    check(
        &mut world,
        PodClaim::Made("c".into()),
        "ResourceClaim ns/c was not created for Pod ns/pod (Pod is not owner)",
    );
    world.claim("c", exactly(json!({"deviceClassName": "none"})));
    check(
        &mut world,
        PodClaim::Named("c".into()),
        "request r: device class none does not exist",
    );
    let going: ResourceClaim = serde_json::from_value(
        json!({"metadata": {"name": "c", "namespace": "ns", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    )
    .unwrap();
    world.devices.set_claim(going, &mut world.touched);
    check(
        &mut world,
        PodClaim::Named("c".into()),
        "resourceclaim \"c\" is being deleted",
    );
    assert_eq!(world.devices.demand(&pod(PodClaim::NotNeeded)), Ok(None));
}

#[test]
fn an_older_version_of_a_claim_is_ignored() {
    let mut world = World::new();
    let claim = |version: &str, status: Value| -> ResourceClaim {
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u", "resourceVersion": version}, "status": status})).unwrap()
    };
    let allocated = json!({"allocation": {"devices": {"results": [{"driver": DRIVER, "pool": "p", "device": "x"}]}}});
    world
        .devices
        .set_claim(claim("10", allocated), &mut world.touched);
    world
        .devices
        .set_claim(claim("9", json!({})), &mut world.touched);
    assert_eq!(world.devices.in_use().count(), 1);
    let change = world
        .devices
        .set_claim(claim("11", json!({})), &mut world.touched);
    assert!(change.deallocated);
    assert_eq!(world.devices.in_use().count(), 0);
}
