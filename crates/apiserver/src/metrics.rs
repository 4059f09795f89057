//! Prometheus metrics under upstream's names.

use std::sync::Arc;
use std::time::Duration;

use fluyt_api::catalogue::{self, Resource};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::core::Core;
use crate::http::info::RequestInfo;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    verb: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: String,
}

/// What a request is counted under: names from the catalogue only, so that clients cannot make up series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    verb: &'static str,
    resource: Option<&'static Resource>,
    subresource: &'static str,
}

type Durations = Family<DurationLabels, Histogram, fn() -> Histogram>;

/// The server's metrics.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
    watches: Family<ResourceLabels, Gauge>,
    objects: Family<ResourceLabels, Gauge>,
}

fn buckets() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let durations: Durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        let watches = Family::<ResourceLabels, Gauge>::default();
        let objects = Family::<ResourceLabels, Gauge>::default();
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and HTTP code",
            requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency in seconds, watches left out",
            durations.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches under way by resource",
            watches.clone(),
        );
        registry.register(
            "apiserver_storage_objects",
            "Stored objects by resource",
            objects.clone(),
        );
        Metrics {
            registry: Mutex::new(registry),
            requests,
            durations,
            watches,
            objects,
        }
    }

    pub(crate) fn label(&self, info: &RequestInfo) -> Label {
        let resource = info
            .is_resource
            .then(|| catalogue::find(&info.group, &info.version, &info.resource))
            .flatten();
        let subresource = resource
            .and_then(|resource| resource.subresource(&info.subresource))
            .map_or("", |subresource| subresource.name);
        Label {
            verb: info.verb,
            resource,
            subresource,
        }
    }

    pub(crate) fn observe(&self, label: Label, code: u16, took: Duration) {
        let (group, version, resource) = label.resource.map_or(("", "", ""), |resource| {
            (resource.group, resource.version, resource.plural)
        });
        self.requests
            .get_or_create(&RequestLabels {
                verb: label.verb,
                group,
                version,
                resource,
                subresource: label.subresource,
                code,
            })
            .inc();
        if label.verb != "watch" {
            self.durations
                .get_or_create(&DurationLabels {
                    verb: label.verb,
                    resource,
                })
                .observe(took.as_secs_f64());
        }
    }

    /// Counts a watch until the guard is dropped.
    pub(crate) fn watch_started(&self, resource: &Resource) -> WatchGuard {
        let gauge = self.watches.get_or_create_owned(&ResourceLabels {
            resource: resource.group_resource(),
        });
        gauge.inc();
        WatchGuard(gauge)
    }

    /// All metrics as text.
    pub(crate) async fn encode(&self, core: &Arc<Core>) -> String {
        for resource in catalogue::resources() {
            if !resource.is_persisted() || !crate::stored::is_stored_version(resource) {
                continue;
            }
            let prefix = format!("{}/", resource.storage_prefix);
            let count = match core.store.try_count(&prefix) {
                Some(count) => count,
                None => core.store.count(&prefix).await,
            };
            if let Ok(count) = count {
                self.objects
                    .get_or_create(&ResourceLabels {
                        resource: resource.group_resource(),
                    })
                    .set(count as i64);
            }
        }
        let mut text = String::new();
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry.lock());
        text
    }
}

/// Counts down when a watch ends.
pub(crate) struct WatchGuard(Gauge);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
