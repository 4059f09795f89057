//! Arguments of plugins (pluginConfig): decoded strictly, given upstream's defaults, checked, and applied to a profile.
//!
//! Plugins that are not upstream's take their arguments as they are. Invariant: what [`complete`] accepted, [`apply`] can apply.

use fluyt_api::field::{self, FieldError, Path};
use fluyt_api::names::qualified_name;
use fluyt_scheduler_core::labels::{Operator, Requirement};
use fluyt_scheduler_core::objects::{
    NodeAffinity, NodeSelector, NodeSelectorTerm, TopologySpreadConstraint,
};
use fluyt_scheduler_core::plugins::node_affinity;
use fluyt_scheduler_core::plugins::node_resources_balanced_allocation::BalancedAllocation;
use fluyt_scheduler_core::plugins::node_resources_fit::{NodeResourcesFit, Strategy};
use fluyt_scheduler_core::profile::{MinCandidates, Profile};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::decode;
use super::duration::GoDuration;
use super::types::API_VERSION;

/// Upstream's plugins that take arguments, in the order in which defaults are written.
const KINDS: [&str; 8] = [
    "DefaultPreemption",
    "DynamicResources",
    "InterPodAffinity",
    "NodeAffinity",
    "NodeResourcesBalancedAllocation",
    "NodeResourcesFit",
    "PodTopologySpread",
    "VolumeBinding",
];

pub fn takes_args(plugin: &str) -> bool {
    KINDS.contains(&plugin)
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DefaultPreemptionArgs {
    min_candidate_nodes_percentage: i64,
    min_candidate_nodes_absolute: i64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DynamicResourcesArgs {
    filter_timeout: GoDuration,
    binding_timeout: GoDuration,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct InterPodAffinityArgs {
    hard_pod_affinity_weight: i64,
    ignore_preferred_terms_of_existing_pods: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeAffinityArgs {
    added_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct BalancedAllocationArgs {
    resources: Vec<Resource>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeResourcesFitArgs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored_resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored_resource_groups: Vec<String>,
    scoring_strategy: ScoringStrategy,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ScoringStrategy {
    r#type: String,
    resources: Vec<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    name: String,
    #[serde(default)]
    weight: i64,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Ratio {
    shape: Vec<ShapePoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ShapePoint {
    #[serde(default)]
    utilization: i64,
    #[serde(default)]
    score: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PodTopologySpreadArgs {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct VolumeBindingArgs {
    bind_timeout_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<Vec<ShapePoint>>,
}

impl Default for DefaultPreemptionArgs {
    fn default() -> Self {
        Self {
            min_candidate_nodes_percentage: 10,
            min_candidate_nodes_absolute: 100,
        }
    }
}

impl Default for DynamicResourcesArgs {
    fn default() -> Self {
        Self {
            filter_timeout: GoDuration::seconds(10),
            binding_timeout: GoDuration::seconds(600),
        }
    }
}

impl Default for InterPodAffinityArgs {
    fn default() -> Self {
        Self {
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
        }
    }
}

impl Default for BalancedAllocationArgs {
    fn default() -> Self {
        Self {
            resources: cpu_and_memory(),
        }
    }
}

impl Default for ScoringStrategy {
    fn default() -> Self {
        Self {
            r#type: "LeastAllocated".to_owned(),
            resources: cpu_and_memory(),
            requested_to_capacity_ratio: None,
        }
    }
}

impl Default for PodTopologySpreadArgs {
    fn default() -> Self {
        Self {
            default_constraints: Vec::new(),
            defaulting_type: "System".to_owned(),
        }
    }
}

impl Default for VolumeBindingArgs {
    fn default() -> Self {
        Self {
            bind_timeout_seconds: 600,
            shape: None,
        }
    }
}

fn cpu_and_memory() -> Vec<Resource> {
    let one = |name: &str| Resource {
        name: name.to_owned(),
        weight: 1,
    };
    vec![one("cpu"), one("memory")]
}

/// The arguments with upstream's defaults, checked. Those of plugins out of tree pass as they are.
pub fn complete(plugin: &str, args: &Value, path: &Path) -> Result<Value, Vec<FieldError>> {
    if !takes_args(plugin) {
        return Ok(args.clone());
    }
    let kind = format!("{plugin}Args");
    let args = plain(args, &kind, path)?;
    let completed = match plugin {
        "DefaultPreemption" => completed(&args, path, check_preemption),
        "DynamicResources" => completed(&args, path, check_dynamic_resources),
        "InterPodAffinity" => completed(&args, path, check_affinity),
        "NodeAffinity" => {
            let typed: NodeAffinityArgs = read(&args, path)?;
            none(check_node_affinity(&typed, path))?;
            Ok(args)
        }
        "NodeResourcesBalancedAllocation" => completed(&args, path, check_balanced),
        "NodeResourcesFit" => completed(&args, path, check_fit),
        "PodTopologySpread" => {
            let typed: PodTopologySpreadArgs = read(&args, path)?;
            none(check_spread(&typed, path))?;
            let mut args = args;
            args.entry("defaultingType")
                .or_insert_with(|| json!(typed.defaulting_type));
            Ok(args)
        }
        _ => completed(&args, path, check_volume_binding),
    }?;
    let mut whole = Map::new();
    whole.insert("apiVersion".to_owned(), json!(API_VERSION));
    whole.insert("kind".to_owned(), json!(kind));
    whole.extend(completed);
    Ok(Value::Object(whole))
}

/// The fields without apiVersion and kind, which may be left out but must be right.
fn plain(args: &Value, kind: &str, path: &Path) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut fields = match args {
        Value::Null => Map::new(),
        Value::Object(fields) => fields.clone(),
        other => {
            return Err(vec![field::invalid(
                path,
                other.clone(),
                "has to match plugin args",
            )]);
        }
    };
    for (name, expected) in [("apiVersion", API_VERSION), ("kind", kind)] {
        match fields.remove(name) {
            Some(value) if value != expected && value != "" => {
                let detail = format!("args for this plugin are {expected}");
                return Err(vec![field::invalid(&path.child(name), value, detail)]);
            }
            _ => {}
        }
    }
    Ok(fields)
}

fn read<T: DeserializeOwned>(
    fields: &Map<String, Value>,
    path: &Path,
) -> Result<T, Vec<FieldError>> {
    decode::typed(Value::Object(fields.clone()), path).map_err(|error| vec![error])
}

fn completed<T: DeserializeOwned + Serialize>(
    fields: &Map<String, Value>,
    path: &Path,
    check: fn(&mut T, &Path) -> Vec<FieldError>,
) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut typed: T = read(fields, path)?;
    none(check(&mut typed, path))?;
    match serde_json::to_value(&typed) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(vec![field::internal(path, "cannot be written")]),
    }
}

fn none(errors: Vec<FieldError>) -> Result<(), Vec<FieldError>> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors),
    }
}

// ----- checks: upstream's messages -----

fn check_preemption(args: &mut DefaultPreemptionArgs, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let percentage = path.child("minCandidateNodesPercentage");
    let absolute = path.child("minCandidateNodesAbsolute");
    let (percent, count) = (
        args.min_candidate_nodes_percentage,
        args.min_candidate_nodes_absolute,
    );
    if !(0..=100).contains(&percent) {
        errors.push(field::invalid(
            &percentage,
            percent,
            "not in valid range [0, 100]",
        ));
    }
    if count < 0 {
        errors.push(field::invalid(
            &absolute,
            count,
            "not in valid range [0, inf)",
        ));
    }
    if percent == 0 && count == 0 {
        let with = |other: &str| format!("cannot be zero at the same time as {other}");
        errors.push(field::invalid(
            &percentage,
            0,
            with("minCandidateNodesAbsolute"),
        ));
        errors.push(field::invalid(
            &absolute,
            0,
            with("minCandidateNodesPercentage"),
        ));
    }
    errors
}

fn check_dynamic_resources(args: &mut DynamicResourcesArgs, path: &Path) -> Vec<FieldError> {
    let binding = args.binding_timeout;
    match binding < GoDuration::seconds(1) {
        true => {
            let path = path.child("bindingTimeout");
            vec![field::invalid(
                &path,
                binding.to_string(),
                "must be at least 1 second",
            )]
        }
        false => Vec::new(),
    }
}

fn check_affinity(args: &mut InterPodAffinityArgs, path: &Path) -> Vec<FieldError> {
    let weight = args.hard_pod_affinity_weight;
    match (0..=100).contains(&weight) {
        true => Vec::new(),
        false => {
            let path = path.child("hardPodAffinityWeight");
            vec![field::invalid(&path, weight, "not in valid range [0, 100]")]
        }
    }
}

fn check_node_affinity(args: &NodeAffinityArgs, path: &Path) -> Vec<FieldError> {
    let Some(added) = &args.added_affinity else {
        return Vec::new();
    };
    let path = path.child("addedAffinity");
    let mut errors = Vec::new();
    if let Some(required) = &added.required {
        let terms = path.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            errors.extend(check_term(term, &terms.index(index)));
        }
    }
    let preferred = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in added.preferred.iter().enumerate() {
        errors.extend(check_term(&term.preference, &preferred.index(index)));
    }
    errors
}

fn check_term(term: &NodeSelectorTerm, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (list, requirements) in [
        ("matchExpressions", &term.match_expressions),
        ("matchFields", &term.match_fields),
    ] {
        for (index, requirement) in requirements.iter().enumerate() {
            errors.extend(check_requirement(
                requirement,
                &path.child(list).index(index),
            ));
        }
    }
    errors
}

fn check_requirement(requirement: &Requirement, path: &Path) -> Option<FieldError> {
    let values = path.child("values");
    let count = requirement.values.len();
    match requirement.operator {
        Operator::In | Operator::NotIn if count == 0 => Some(field::invalid(
            &values,
            Value::Array(Vec::new()),
            "for 'in', 'notin' operators, values set can't be empty",
        )),
        Operator::Exists | Operator::DoesNotExist if count > 0 => Some(field::invalid(
            &values,
            json!(requirement.values),
            "values set must be empty for exists and does not exist",
        )),
        Operator::Gt | Operator::Lt if count != 1 => Some(field::invalid(
            &values,
            json!(requirement.values),
            "for 'Gt', 'Lt' operators, exactly one value is required",
        )),
        Operator::Gt | Operator::Lt if requirement.values[0].parse::<i64>().is_err() => {
            Some(field::invalid(
                &values.index(0),
                requirement.values[0].as_str(),
                "for 'Gt', 'Lt' operators, the value must be an integer",
            ))
        }
        Operator::Unknown => Some(field::not_supported(
            &path.child("operator"),
            "",
            &["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"],
        )),
        _ => None,
    }
}

fn check_balanced(args: &mut BalancedAllocationArgs, path: &Path) -> Vec<FieldError> {
    weigh(&mut args.resources);
    let mut errors = Vec::new();
    for (index, resource) in args.resources.iter().enumerate() {
        let path = path.child("resources").index(index);
        if args.resources[..index]
            .iter()
            .any(|other| other.name == resource.name)
        {
            errors.push(field::duplicate(
                &path.child("name"),
                resource.name.as_str(),
            ));
        }
        if resource.weight != 1 {
            errors.push(field::invalid(
                &path.child("weight"),
                resource.weight,
                "must be 1",
            ));
        }
    }
    errors
}

/// No resources: CPU and memory. No weight: 1.
fn weigh(resources: &mut Vec<Resource>) {
    if resources.is_empty() {
        *resources = cpu_and_memory();
    }
    for resource in resources.iter_mut().filter(|resource| resource.weight == 0) {
        resource.weight = 1;
    }
}

fn check_fit(args: &mut NodeResourcesFitArgs, path: &Path) -> Vec<FieldError> {
    weigh(&mut args.scoring_strategy.resources);
    let mut errors = Vec::new();
    for (index, name) in args.ignored_resources.iter().enumerate() {
        let path = path.child("ignoredResources").index(index);
        errors.extend(check_name(name, &path));
    }
    for (index, group) in args.ignored_resource_groups.iter().enumerate() {
        let path = path.child("ignoredResourceGroups").index(index);
        if group.contains('/') {
            errors.push(field::invalid(
                &path,
                group.as_str(),
                "resource group name can't contain '/'",
            ));
        }
        errors.extend(check_name(group, &path));
    }
    errors.extend(check_strategy(
        &args.scoring_strategy,
        &path.child("scoringStrategy"),
    ));
    errors
}

fn check_name(name: &str, path: &Path) -> Vec<FieldError> {
    let details = qualified_name(name).into_iter();
    details
        .map(|detail| field::invalid(path, name, detail))
        .collect()
}

fn check_strategy(strategy: &ScoringStrategy, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    const TYPES: [&str; 3] = [
        "LeastAllocated",
        "MostAllocated",
        "RequestedToCapacityRatio",
    ];
    if !TYPES.contains(&strategy.r#type.as_str()) {
        errors.push(field::not_supported(
            &path.child("type"),
            strategy.r#type.as_str(),
            &TYPES,
        ));
    }
    for (index, resource) in strategy.resources.iter().enumerate() {
        if !(1..=100).contains(&resource.weight) {
            let path = path.child("resources").index(index).child("weight");
            let detail = format!(
                "resource weight of {} not in valid range (0, 100]",
                resource.name
            );
            errors.push(field::invalid(&path, resource.weight, detail));
        }
    }
    let ratio = path.child("requestedToCapacityRatio");
    let curved = strategy.r#type == "RequestedToCapacityRatio";
    match &strategy.requested_to_capacity_ratio {
        None if curved => {
            let detail = "must be specified when type is RequestedToCapacityRatio";
            errors.push(field::required(&ratio, detail));
        }
        Some(given) if curved => errors.extend(check_shape(&given.shape, &ratio.child("shape"))),
        Some(_) => {
            let detail = "must be nil when type is not RequestedToCapacityRatio";
            errors.push(field::forbidden(&ratio, detail));
        }
        None => {}
    }
    errors
}

fn check_shape(shape: &[ShapePoint], path: &Path) -> Vec<FieldError> {
    if shape.is_empty() {
        return vec![field::required(
            path,
            "at least one point must be specified",
        )];
    }
    let mut errors = Vec::new();
    let unsorted = shape
        .windows(2)
        .position(|pair| pair[0].utilization >= pair[1].utilization);
    if let Some(index) = unsorted {
        let path = path.index(index + 1).child("utilization");
        let detail = "values must be sorted in increasing order";
        errors.push(field::invalid(&path, shape[index + 1].utilization, detail));
    }
    for (index, point) in shape.iter().enumerate() {
        for (name, value, most) in [
            ("utilization", point.utilization, 100),
            ("score", point.score, 10),
        ] {
            if !(0..=most).contains(&value) {
                let detail = format!("not in valid range [0, {most}]");
                errors.push(field::invalid(
                    &path.index(index).child(name),
                    value,
                    detail,
                ));
            }
        }
    }
    errors
}

fn check_spread(args: &PodTopologySpreadArgs, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let defaulting = path.child("defaultingType");
    let kind = args.defaulting_type.as_str();
    if !["System", "List"].contains(&kind) {
        errors.push(field::not_supported(&defaulting, kind, &["System", "List"]));
    } else if kind == "System" && !args.default_constraints.is_empty() {
        errors.push(field::invalid(
            &defaulting,
            kind,
            "when .defaultConstraints are not empty",
        ));
    }
    for (index, constraint) in args.default_constraints.iter().enumerate() {
        let path = path.child("defaultConstraints").index(index);
        errors.extend(check_constraint(constraint, &path));
        let repeated = args.default_constraints[..index].iter().any(|other| {
            other.topology_key == constraint.topology_key
                && other.when_unsatisfiable == constraint.when_unsatisfiable
        });
        if repeated {
            let pair = format!(
                "{{{}, {}}}",
                constraint.topology_key, constraint.when_unsatisfiable
            );
            errors.push(field::duplicate(&path, pair));
        }
    }
    errors
}

fn check_constraint(constraint: &TopologySpreadConstraint, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if constraint.max_skew <= 0 {
        errors.push(field::invalid(
            &path.child("maxSkew"),
            constraint.max_skew,
            "not in valid range (0, inf)",
        ));
    }
    let key = path.child("topologyKey");
    match constraint.topology_key.is_empty() {
        true => errors.push(field::required(&key, "can not be empty")),
        false => errors.extend(check_name(&constraint.topology_key, &key)),
    }
    let action = path.child("whenUnsatisfiable");
    let actions = ["DoNotSchedule", "ScheduleAnyway"];
    if constraint.when_unsatisfiable.is_empty() {
        errors.push(field::required(&action, "can not be empty"));
    } else if !actions.contains(&constraint.when_unsatisfiable.as_str()) {
        errors.push(field::not_supported(
            &action,
            constraint.when_unsatisfiable.as_str(),
            &actions,
        ));
    }
    if constraint.label_selector.is_some() {
        let detail = "constraint must not define a selector, as they deduced for each pod";
        errors.push(field::forbidden(&path.child("labelSelector"), detail));
    }
    errors
}

fn check_volume_binding(args: &mut VolumeBindingArgs, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if args.bind_timeout_seconds < 0 {
        let detail = "invalid BindTimeoutSeconds, should not be a negative value";
        errors.push(field::invalid(
            &path.child("bindTimeoutSeconds"),
            args.bind_timeout_seconds,
            detail,
        ));
    }
    if let Some(shape) = &args.shape {
        let detail = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring";
        let value = serde_json::to_value(shape).unwrap_or_default();
        errors.push(field::invalid(&path.child("shape"), value, detail));
    }
    errors
}

// ----- into the profile -----

/// Sets a profile up by completed arguments.
pub fn apply(
    profile: &mut Profile,
    plugin: &str,
    args: &Value,
    path: &Path,
) -> Result<(), Vec<FieldError>> {
    if !takes_args(plugin) {
        return Ok(());
    }
    let fields = plain(args, &format!("{plugin}Args"), path)?;
    match plugin {
        "DefaultPreemption" => {
            let args: DefaultPreemptionArgs = read(&fields, path)?;
            profile.min_candidates = MinCandidates {
                percentage: usize::try_from(args.min_candidate_nodes_percentage).unwrap_or(0),
                absolute: usize::try_from(args.min_candidate_nodes_absolute).unwrap_or(0),
            };
        }
        "InterPodAffinity" => {
            let args: InterPodAffinityArgs = read(&fields, path)?;
            profile.hard_pod_affinity_weight = args.hard_pod_affinity_weight;
            profile.ignore_preferred_terms_of_existing_pods =
                args.ignore_preferred_terms_of_existing_pods;
        }
        "NodeAffinity" => {
            let args: NodeAffinityArgs = read(&fields, path)?;
            let added = args.added_affinity.unwrap_or_default();
            profile.replace(Box::new(node_affinity::NodeAffinity {
                added_required: added.required.map(|required: NodeSelector| required),
                added_preferred: added.preferred,
            }));
        }
        "NodeResourcesBalancedAllocation" => {
            let args: BalancedAllocationArgs = read(&fields, path)?;
            let resources = args.resources.iter().map(|one| one.name.as_str().into());
            profile.replace(Box::new(BalancedAllocation {
                resources: resources.collect(),
            }));
        }
        "NodeResourcesFit" => {
            profile.replace(Box::new(fit(&read(&fields, path)?)));
        }
        "PodTopologySpread" => {
            let args: PodTopologySpreadArgs = read(&fields, path)?;
            if args.defaulting_type == "List" {
                profile.default_spread = args.default_constraints;
                profile.system_default_spread = false;
            }
        }
        "VolumeBinding" => {
            let args: VolumeBindingArgs = read(&fields, path)?;
            let seconds = u64::try_from(args.bind_timeout_seconds).unwrap_or(0);
            profile.volume_bind_timeout = std::time::Duration::from_secs(seconds);
        }
        // DynamicResources: its time-out concerns the shell.
        _ => {}
    }
    Ok(())
}

fn fit(args: &NodeResourcesFitArgs) -> NodeResourcesFit {
    let strategy = &args.scoring_strategy;
    let points = |ratio: &Ratio| {
        let point = |point: &ShapePoint| (point.utilization, point.score * 10);
        ratio.shape.iter().map(point).collect()
    };
    NodeResourcesFit {
        strategy: match (
            strategy.r#type.as_str(),
            &strategy.requested_to_capacity_ratio,
        ) {
            ("RequestedToCapacityRatio", Some(ratio)) => {
                Strategy::RequestedToCapacityRatio(points(ratio))
            }
            ("MostAllocated", _) => Strategy::MostAllocated,
            _ => Strategy::LeastAllocated,
        },
        resources: strategy
            .resources
            .iter()
            .map(|one| (one.name.as_str().into(), one.weight))
            .collect(),
        ignored: args.ignored_resources.iter().map(Into::into).collect(),
        ignored_groups: args
            .ignored_resource_groups
            .iter()
            .map(Into::into)
            .collect(),
    }
}
