//! Upstream's checks of everything in a configuration but plugin arguments (see [`super::args`]), in its words.

use fluyt_api::field::{self, FieldError, Path};
use fluyt_api::names::qualified_name;
use serde_json::{Value, json};

use super::types::{API_VERSION, Configuration, Extender, LeaderElection, PluginSet, Profile};

/// Plugins that earlier versions had.
const REMOVED: [&str; 4] = [
    "AzureDiskLimits",
    "CinderLimits",
    "EBSLimits",
    "GCEPDLimits",
];

pub fn check(configuration: &Configuration) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let burst = configuration.client_connection.burst;
    if burst < 0 {
        errors.push(field::invalid(
            &Path::new("clientConnection.burst"),
            burst,
            "must be non-negative",
        ));
    }
    errors.extend(check_election(
        &configuration.leader_election,
        &Path::new("leaderElection"),
    ));
    if configuration.parallelism <= 0 {
        let detail = "should be an integer value greater than zero";
        errors.push(field::invalid(
            &Path::new("parallelism"),
            configuration.parallelism,
            detail,
        ));
    }
    errors.extend(check_profiles(
        &configuration.profiles,
        &Path::new("profiles"),
    ));
    let path = Path::new("percentageOfNodesToScore");
    errors.extend(check_percentage(
        configuration.percentage_of_nodes_to_score,
        &path,
    ));
    let (initial, most) = (
        configuration.pod_initial_backoff_seconds,
        configuration.pod_max_backoff_seconds,
    );
    if initial <= 0 {
        errors.push(field::invalid(
            &Path::new("podInitialBackoffSeconds"),
            initial,
            "must be greater than 0",
        ));
    }
    if most < initial {
        let detail = "must be greater than or equal to PodInitialBackoffSeconds";
        errors.push(field::invalid(
            &Path::new("podMaxBackoffSeconds"),
            most,
            detail,
        ));
    }
    errors.extend(check_extenders(
        &configuration.extenders,
        &Path::new("extenders"),
    ));
    errors
}

fn check_election(election: &LeaderElection, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !election.leader_elect {
        return errors;
    }
    for (name, duration) in [
        ("leaseDuration", election.lease_duration),
        ("renewDeadline", election.renew_deadline),
        ("retryPeriod", election.retry_period),
    ] {
        if duration.0.is_zero() {
            let value = duration.to_string();
            errors.push(field::invalid(
                &path.child(name),
                value,
                "must be greater than zero",
            ));
        }
    }
    // Upstream shows the other value in the first of these; its client refuses the second when it starts.
    if election.lease_duration <= election.renew_deadline {
        let value = election.renew_deadline.to_string();
        let detail = "must be greater than `RenewDeadline`";
        errors.push(field::invalid(&path.child("leaseDuration"), value, detail));
    }
    if election.renew_deadline <= election.retry_period {
        let value = election.renew_deadline.to_string();
        let detail = "must be greater than `RetryPeriod`";
        errors.push(field::invalid(&path.child("renewDeadline"), value, detail));
    }
    for (name, value) in [
        ("resourceLock", &election.resource_lock),
        ("resourceNamespace", &election.resource_namespace),
        ("resourceName", &election.resource_name),
    ] {
        if value.is_empty() {
            errors.push(field::required(&path.child(name), ""));
        }
    }
    if election.resource_lock != "leases" {
        let detail = "resourceLock value must be \"leases\"";
        errors.push(field::invalid(
            &path.child("resourceLock"),
            election.resource_lock.as_str(),
            detail,
        ));
    }
    errors
}

fn check_percentage(percentage: Option<i32>, path: &Path) -> Option<FieldError> {
    let bad = percentage.filter(|percentage| !(0..=100).contains(percentage))?;
    Some(field::invalid(path, bad, "not in valid range [0-100]"))
}

fn check_profiles(profiles: &[Profile], path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let queue_sort = |profile: &Profile| {
        profile
            .plugins
            .as_ref()
            .map(|plugins| plugins.queue_sort.clone())
    };
    for (index, profile) in profiles.iter().enumerate() {
        let path = path.index(index);
        let name = profile.scheduler_name.as_deref().unwrap_or_default();
        if name.is_empty() {
            errors.push(field::required(&path.child("schedulerName"), ""));
        }
        let percentage = path.child("percentageOfNodesToScore");
        errors.extend(check_percentage(
            profile.percentage_of_nodes_to_score,
            &percentage,
        ));
        errors.extend(check_plugins(profile, &path));
        let same = |other: &Profile| other.scheduler_name == profile.scheduler_name;
        if let Some(first) = profiles[..index].iter().rposition(same) {
            let other = Path::new("profiles").index(first).child("schedulerName");
            errors.push(field::duplicate(
                &path.child("schedulerName"),
                other.to_string(),
            ));
        }
        let set = queue_sort(profile);
        if index == 0 && set.as_ref().is_some_and(|set| set.enabled.len() > 1) {
            let count = set.as_ref().map_or(0, |set| set.enabled.len());
            let path = path.child("plugins.queueSort.Enabled");
            errors.push(field::invalid(
                &path,
                count,
                "only one queue sort plugin can be enabled",
            ));
        }
        if set != queue_sort(&profiles[0]) {
            let path = path.child("plugins.queueSort");
            errors.push(field::invalid(
                &path,
                json!(set),
                "must be the same for all profiles",
            ));
        }
    }
    errors
}

fn check_plugins(profile: &Profile, path: &Path) -> Vec<FieldError> {
    let removed = |name: &str| {
        REMOVED.contains(&name).then(|| {
            format!("was invalid in version \"v1\" (KubeSchedulerConfiguration is version {API_VERSION:?})")
        })
    };
    let mut errors = Vec::new();
    if let Some(plugins) = &profile.plugins {
        for (point, PluginSet { enabled, .. }) in plugins.sets() {
            let path = path.child("plugins").child(point).child("enabled");
            for (index, one) in enabled.iter().enumerate() {
                if let Some(detail) = removed(&one.name) {
                    errors.push(field::invalid(
                        &path.index(index),
                        one.name.as_str(),
                        detail,
                    ));
                }
            }
        }
    }
    for (index, config) in profile.plugin_config.iter().enumerate() {
        let path = path.child("pluginConfig").index(index);
        if profile.plugin_config[..index]
            .iter()
            .any(|other| other.name == config.name)
        {
            errors.push(field::duplicate(&path, config.name.as_str()));
        }
        if let Some(detail) = removed(&config.name) {
            errors.push(field::invalid(&path, config.name.as_str(), detail));
        }
    }
    errors
}

fn check_extenders(extenders: &[Extender], path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut managed: Vec<&str> = Vec::new();
    for (index, extender) in extenders.iter().enumerate() {
        let path = path.index(index);
        if !extender.prioritize_verb.is_empty() && extender.weight <= 0 {
            let detail = "must have a positive weight applied to it";
            errors.push(field::invalid(
                &path.child("weight"),
                extender.weight,
                detail,
            ));
        }
        if !extender.url_prefix.starts_with("http://")
            && !extender.url_prefix.starts_with("https://")
        {
            let detail = "must be a URL that begins with http:// or https://";
            errors.push(field::invalid(
                &path.child("urlPrefix"),
                extender.url_prefix.as_str(),
                detail,
            ));
        }
        for (at, resource) in extender.managed_resources.iter().enumerate() {
            let path = path.child("managedResources").index(at).child("name");
            let name = resource.name.as_str();
            errors.extend(check_extended_resource(name, &path));
            if managed.contains(&name) {
                errors.push(field::invalid(
                    &path,
                    name,
                    "duplicate extender managed resource name",
                ));
            }
            managed.push(name);
        }
    }
    let binders = extenders
        .iter()
        .filter(|one| !one.bind_verb.is_empty())
        .count();
    if binders > 1 {
        let found = format!("found {binders} extenders implementing bind");
        errors.push(field::invalid(
            path,
            Value::String(found),
            "only one extender can implement bind",
        ));
    }
    errors
}

fn check_extended_resource(name: &str, path: &Path) -> Vec<FieldError> {
    let details = qualified_name(name).into_iter();
    let mut errors: Vec<FieldError> = details
        .map(|detail| field::invalid(path, name, detail))
        .collect();
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    if errors.is_empty() && (native || name.starts_with("requests.")) {
        errors.push(field::invalid(
            path,
            name,
            "is an invalid extended resource name",
        ));
    }
    errors
}
