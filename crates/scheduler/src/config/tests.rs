//! Configuration files as users have them: what becomes of them, and what is refused in which words.

use fluyt_scheduler_core::points::Point;
use fluyt_scheduler_core::profile::MinCandidates;

use super::*;

fn configuration(text: &str) -> anyhow::Result<Configuration> {
    let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
    Configuration::parse(&format!("{head}{text}"))
}

fn profiles(text: &str) -> anyhow::Result<Vec<Profile>> {
    configuration(text)?.to_profiles(&Registry::default(), false)
}

/// One profile with these plugins and arguments, in YAML's flow style.
fn profile(plugins: &str, config: &str) -> anyhow::Result<Profile> {
    let text = format!("profiles:\n- plugins: {plugins}\n  pluginConfig: {config}\n");
    Ok(profiles(&text)?.remove(0))
}

/// Upstream's VolumeBinding scores only behind a gate: the written configuration gives it no weight, and no weight makes it score.
#[test]
fn what_does_not_score_has_no_weight() {
    let standard = Configuration::standard();
    let plugins = standard.profiles[0].plugins.clone().unwrap();
    let written: Vec<(&str, i32)> = plugins
        .multi_point
        .enabled
        .iter()
        .filter_map(|one| Some((one.name.as_str(), one.weight?)))
        .collect();
    let expected = [
        ("TaintToleration", 3),
        ("NodeAffinity", 2),
        ("NodeResourcesFit", 1),
        ("PodTopologySpread", 2),
        ("InterPodAffinity", 2),
        ("DynamicResources", 2),
        ("NodeResourcesBalancedAllocation", 1),
        ("ImageLocality", 1),
    ];
    assert_eq!(written, expected);
    for plugins in [
        "{}",
        "{multiPoint: {enabled: [{name: VolumeBinding, weight: 7}]}}",
        "{score: {enabled: [{name: VolumeBinding}]}}",
    ] {
        let profile = profile(plugins, "[]").unwrap();
        assert_eq!(profile.weight("VolumeBinding"), 0, "{plugins}");
        assert!(profile.filters("VolumeBinding"));
        assert_eq!(profile.weight("ImageLocality"), 1);
    }
}

#[test]
fn a_users_file() {
    let text = "
leaderElection:
  leaderElect: false
clientConnection:
  kubeconfig: /etc/scheduler.conf
  qps: 200
profiles:
- schedulerName: a
  plugins:
    score:
      disabled:
      - name: ImageLocality
      enabled:
      - name: NodeResourcesFit
        weight: 5
  pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      ignoredResources: [example.com/foo]
      ignoredResourceGroups: [example.org]
      scoringStrategy:
        type: RequestedToCapacityRatio
        resources:
        - name: cpu
          weight: 3
        requestedToCapacityRatio:
          shape:
          - {utilization: 0, score: 0}
          - {utilization: 100, score: 10}
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 5, minCandidateNodesAbsolute: 7}
- schedulerName: b
  plugins:
    multiPoint:
      disabled:
      - name: InterPodAffinity
";
    let configuration = configuration(text).unwrap();
    assert!(!configuration.leader_election.leader_elect);
    let profiles = configuration
        .to_profiles(&Registry::default(), false)
        .unwrap();
    assert_eq!(profiles[0].weight("NodeResourcesFit"), 5);
    assert_eq!(profiles[0].weight("ImageLocality"), 0);
    assert_eq!(profiles[0].weight("TaintToleration"), 3);
    assert!(profiles[0].filters("NodeResourcesFit"));
    let expected = MinCandidates {
        percentage: 5,
        absolute: 7,
    };
    assert_eq!(profiles[0].min_candidates, expected);
    assert_eq!(profiles[1].min_candidates, MinCandidates::default());
    assert!(!profiles[1].is_enabled("InterPodAffinity"));
}

#[test]
fn json_is_read_as_well() {
    let text = r#"{"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "parallelism": null,
                   "profiles": [{"schedulerName": "x", "plugins": {"filter": {"disabled": [{"name": "NodePorts"}]}}}]}"#;
    let configuration = Configuration::parse(text).unwrap();
    assert_eq!(configuration.parallelism, 16);
    let profiles = configuration
        .to_profiles(&Registry::default(), false)
        .unwrap();
    assert!(!profiles[0].filters("NodePorts"));
}

#[test]
fn defaults_are_upstreams_and_survive_being_written() {
    let standard = configuration("").unwrap();
    assert_eq!(standard, Configuration::standard());
    let yaml = serde_saphyr::to_string(&standard).unwrap();
    assert_eq!(Configuration::parse(&yaml).unwrap(), standard, "{yaml}");
    let only = &standard.profiles[0];
    assert_eq!(only.scheduler_name.as_deref(), Some("default-scheduler"));
    let args = |name: &str| {
        let config = only.plugin_config.iter().find(|one| one.name == name);
        config.map(|config| config.args.clone()).unwrap_or_default()
    };
    assert_eq!(args("DefaultPreemption")["minCandidateNodesPercentage"], 10);
    assert_eq!(
        args("NodeResourcesFit")["scoringStrategy"]["type"],
        "LeastAllocated"
    );
    assert_eq!(args("PodTopologySpread")["defaultingType"], "System");
    let standard = standard.to_profiles(&Registry::default(), false).unwrap();
    for plugin in Profile::default().plugins() {
        let name = plugin.name();
        assert_eq!(
            standard[0].weight(name),
            Profile::default().weight(name),
            "{name}"
        );
        assert_eq!(
            standard[0].filters(name),
            Profile::default().filters(name),
            "{name}"
        );
    }
}

#[test]
fn every_point_can_be_switched() {
    let all = "{filter: {disabled: [{name: '*'}]}, score: {disabled: [{name: '*'}], enabled: [{name: NodeResourcesFit}]}, \
                preEnqueue: {disabled: [{name: SchedulingGates}]}, postFilter: {disabled: [{name: '*'}]}}";
    let profile = profile(all, "[]").unwrap();
    assert!(!profile.filters("NodePorts"));
    assert!(!profile.filters("DefaultPreemption"));
    assert_eq!(profile.weight("NodeResourcesFit"), 1);
    assert_eq!(profile.weight("TaintToleration"), 0);
    assert!(!profile.is_enabled_at("SchedulingGates", Point::PreEnqueue));
    assert!(profile.is_enabled_at("DefaultBinder", Point::Bind));
}

#[test]
fn all_can_be_disabled_and_some_enabled() {
    let some = "{multiPoint: {disabled: [{name: '*'}], enabled: [{name: PrioritySort}, {name: DefaultBinder}, \
                {name: NodeResourcesFit, weight: 7}]}}";
    let profile = profile(some, "[]").unwrap();
    assert_eq!(profile.weight("NodeResourcesFit"), 7);
    assert!(profile.filters("NodeResourcesFit"));
    assert!(!profile.is_enabled("TaintToleration"));
}

#[test]
fn order_follows_the_sets() {
    let order = |plugins: &str| -> Vec<String> {
        let profile = profile(plugins, "[]").unwrap();
        profile
            .plugins()
            .map(|one| one.name().to_owned())
            .take(2)
            .collect()
    };
    let first = order("{filter: {enabled: [{name: NodePorts}]}}");
    assert_eq!(first, ["NodePorts", "NodeUnschedulable"]);
}

#[test]
fn errors_name_the_field_in_upstreams_words() {
    let fit = |args: &str| {
        format!("profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args: {args}\n")
    };
    let at = |plugin: &str, args: &str| {
        format!("profiles:\n- pluginConfig:\n  - {{name: {plugin}, args: {args}}}\n")
    };
    for (text, expected) in [
        ("profils: []\n".to_owned(), "unknown field \"profils\""),
        ("percentageOfNodesToScore: 101\n".to_owned(), "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"),
        ("parallelism: 0\n".to_owned(), "parallelism: Invalid value: 0: should be an integer value greater than zero"),
        ("podInitialBackoffSeconds: 20\n".to_owned(), "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds"),
        ("leaderElection: {renewDeadline: 20s}\n".to_owned(), "leaderElection.leaseDuration: Invalid value: \"20s\": must be greater than `RenewDeadline`"),
        ("healthzBindAddress: 0.0.0.0:10251\n".to_owned(), "unknown field \"healthzBindAddress\""),
        ("leaderElection: {leaderElect: 5}\n".to_owned(), "leaderElection.leaderElect: "),
        ("profiles:\n- plugins:\n    score:\n      enabled:\n      - name: Nope\n".to_owned(), "profiles[0].plugins: score: enabled[0]: ScorePlugin \"Nope\" does not exist"),
        ("profiles:\n- plugins: {filter: {enabled: [{name: ImageLocality}]}}\n".to_owned(), "filter: enabled[0]: plugin \"ImageLocality\" does not extend FilterPlugin plugin"),
        ("profiles:\n- plugins: {queueSort: {disabled: [{name: '*'}]}}\n".to_owned(), "only one queue sort plugin required for profile with scheduler name \"default-scheduler\", but got 0"),
        ("profiles:\n- plugins: {bind: {disabled: [{name: DefaultBinder}]}}\n".to_owned(), "at least one bind plugin is needed for profile with scheduler name \"default-scheduler\""),
        ("profiles:\n- schedulerName: a\n- schedulerName: a\n".to_owned(), "profiles[1].schedulerName: Duplicate value: \"profiles[0].schedulerName\""),
        ("profiles:\n- schedulerName: a\n- {}\n".to_owned(), "profiles[1].schedulerName: Required value"),
        (fit("{scoringStrategy: {type: X}}"), "profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: \"X\": supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\""),
        (fit("{scoringStrategy: {type: 5}}"), "profiles[0].pluginConfig[0].args.scoringStrategy.type: "),
        (fit("{scoringStrategy: {resources: [{name: cpu, weight: 101}]}}"), "args.scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu not in valid range (0, 100]"),
        (fit("{scoringStrategy: {type: RequestedToCapacityRatio}}"), "args.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio"),
        (fit("{scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [{utilization: 9, score: 11}]}}}"), "shape[0].score: Invalid value: 11: not in valid range [0, 10]"),
        (fit("{ignoredResourceGroups: [a/b]}"), "args.ignoredResourceGroups[0]: Invalid value: \"a/b\": resource group name can't contain '/'"),
        (fit("{kind: InterPodAffinityArgs}"), "profiles[0].pluginConfig[0].args.kind: "),
        (at("NodeResourcesBalancedAllocation", "{resources: [{name: cpu, weight: 2}]}"), "resources[0].weight: Invalid value: 2: must be 1"),
        (at("InterPodAffinity", "{hardPodAffinityWeight: 101}"), "args.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]"),
        (at("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"), "cannot be zero at the same time as minCandidateNodesAbsolute"),
        (at("PodTopologySpread", "{defaultConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]}"), "args.defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty"),
        (at("PodTopologySpread", "{defaultingType: List, defaultConstraints: [{maxSkew: 0, topologyKey: a, whenUnsatisfiable: Nope}]}"), "defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)"),
        (at("VolumeBinding", "{bindTimeoutSeconds: -1}"), "args.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value"),
        (at("DynamicResources", "{bindingTimeout: 10ms}"), "args.bindingTimeout: Invalid value: \"10ms\": must be at least 1 second"),
        (at("NodeAffinity", "{addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}}"), "nodeSelectorTerms[0].matchExpressions[0].values"),
        ("extenders: [{urlPrefix: 'http://x', prioritizeVerb: p}]\n".to_owned(), "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it"),
        ("extenders: [{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}]\n".to_owned(), "extenders: Invalid value: \"found 2 extenders implementing bind\": only one extender can implement bind"),
        ("extenders: [{urlPrefix: 'http://x', managedResources: [{name: cpu}]}]\n".to_owned(), "extenders[0].managedResources[0].name: Invalid value: \"cpu\": is an invalid extended resource name"),
    ] {
        let error = format!("{:#}", profiles(&text).err().unwrap());
        assert!(error.contains(expected), "{text}\n{error}\n{expected}");
    }
}

#[test]
fn another_version_is_refused() {
    let text =
        "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n";
    let error = Configuration::parse(text).unwrap_err().to_string();
    assert!(
        error.contains("no kind \"KubeSchedulerConfiguration\" is registered for version"),
        "{error}"
    );
    assert!(Configuration::parse("kind: KubeSchedulerConfiguration\n").is_err());
}

#[test]
fn strict_mode_takes_the_percentage() {
    let text = "percentageOfNodesToScore: 30\nprofiles:\n- schedulerName: a\n- {schedulerName: b, percentageOfNodesToScore: 0}\n";
    let configuration = configuration(text).unwrap();
    let sampling = |strict| -> Vec<Option<u32>> {
        let profiles = configuration
            .to_profiles(&Registry::default(), strict)
            .unwrap();
        profiles.iter().map(|profile| profile.sampling).collect()
    };
    assert_eq!(sampling(false), [None, None]);
    assert_eq!(sampling(true), [Some(30), Some(0)]);
}
