//! Every workload of `fluyt bench scheduler`, at a tiny size, against a real API server and our scheduler in this
//! process. Their scheduler is external, so pods wait behind gates; that it is bound tells that each measured pod could be.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use fluyt_apiserver::testing::{self, TestServer};
use fluyt_client::{ClientOptions, rest};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Bench {
    #[command(flatten)]
    options: fluyt_bench::Options,
}

#[derive(Parser)]
struct Scheduler {
    #[command(flatten)]
    options: fluyt_scheduler::Options,
}

/// An API server and a scheduler, as somebody else's cluster.
struct Cluster {
    server: TestServer,
    scheduler: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Cluster {
    async fn start() -> Self {
        let server = testing::start().await;
        let stop = CancellationToken::new();
        let words = ["kube-scheduler", "--leader-elect=false", "--secure-port=0"];
        let options = Scheduler::parse_from(words).options;
        let client = connect(&server.url()).await;
        let scheduler = tokio::spawn(fluyt_scheduler::run(options, client, stop.clone()));
        Cluster {
            server,
            scheduler,
            stop,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.scheduler.await.unwrap().unwrap();
        self.server.stop().await;
    }
}

async fn connect(url: &str) -> fluyt_client::kube::Client {
    let options = ClientOptions {
        server: Some(url.to_owned()),
        ..ClientOptions::default()
    };
    fluyt_client::connect(&options).await.unwrap()
}

async fn bench(words: &[&str]) -> anyhow::Result<()> {
    let words = ["bench", "scheduler"].iter().chain(words);
    fluyt_bench::run(Bench::parse_from(words).options).await
}

/// What is left of a kind in the whole cluster.
async fn left(cluster: &Cluster, path: &str) -> usize {
    let client = connect(&cluster.server.url()).await;
    let list: Value = rest::get(&client, path).await.unwrap();
    list["items"].as_array().unwrap().len()
}

/// Errors unless every measured pod was bound, and before it every pod of the steps before.
async fn run(workload: &str, [nodes, init, pods]: [usize; 3]) {
    let cluster = Cluster::start().await;
    let url = cluster.server.url();
    let numbers = [nodes, init, pods].map(|number| number.to_string());
    let directory = tempfile::tempdir().unwrap();
    let plot = directory.path().join("plot.svg");
    let mut words = vec!["--server", &url, "--external-scheduler", "--runs", "1"];
    words.extend([
        "--patience",
        "30",
        "--workload",
        workload,
        "--output",
        "json",
    ]);
    words.extend(["--nodes", &numbers[0], "--init-pods", &numbers[1]]);
    words.extend(["--pods", &numbers[2], "--plot", plot.to_str().unwrap()]);
    bench(&words).await.unwrap();

    assert!(std::fs::read_to_string(&plot).unwrap().contains(workload));
    for path in ["/api/v1/nodes", "/api/v1/pods", "/api/v1/persistentvolumes"] {
        assert_eq!(left(&cluster, path).await, 0, "{path} after {workload}");
    }
    cluster.stop().await;
}

macro_rules! workloads {
    ($($test:ident: $workload:literal, $sizes:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                run($workload, $sizes).await;
            }
        )*

        #[test]
        fn every_workload_is_run() {
            let files = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");
            assert_eq!(std::fs::read_dir(files).unwrap().count(), [$($workload),*].len());
        }
    };
}

workloads! {
    scheduling_basic: "SchedulingBasic", [10, 10, 20];
    scheduling_basic_50000: "SchedulingBasic50000", [10, 10, 20];
    scheduling_basic_100000_nodes: "SchedulingBasic100000Nodes", [20, 10, 20];
    topology_spreading: "TopologySpreading", [10, 10, 20];
    preferred_topology_spreading: "PreferredTopologySpreading", [10, 10, 20];
    pod_affinity: "SchedulingPodAffinity", [10, 10, 20];
    pod_anti_affinity: "SchedulingPodAntiAffinity", [30, 10, 20];
    pod_matching_anti_affinity: "SchedulingPodMatchingAntiAffinity", [20, 10, 20];
    preferred_pod_affinity: "SchedulingPreferredPodAffinity", [10, 10, 20];
    preferred_pod_anti_affinity: "SchedulingPreferredPodAntiAffinity", [10, 10, 20];
    node_affinity: "SchedulingNodeAffinity", [10, 10, 20];
    namespace_selector_affinity: "SchedulingRequiredPodAffinityWithNSSelector", [10, 10, 20];
    namespace_selector_anti_affinity: "SchedulingRequiredPodAntiAffinityWithNSSelector", [30, 10, 20];
    namespace_selector_preferred_affinity: "SchedulingPreferredAffinityWithNSSelector", [10, 10, 20];
    namespace_selector_preferred_anti_affinity: "SchedulingPreferredAntiAffinityWithNSSelector", [10, 10, 20];
    mixed_base_pod: "MixedSchedulingBasePod", [10, 20, 20];
    unschedulable: "Unschedulable", [10, 10, 20];
    unschedulable_20000: "Unschedulable20000", [10, 40, 20];
    while_gated: "SchedulingWhileGated", [1, 30, 20];
    gated_with_affinity: "SchedulingGatedPodsWithPodAffinity", [1, 10, 20];
    preemption_basic: "PreemptionBasic", [10, 40, 10];
    preemption_async: "PreemptionAsync", [10, 40, 10];
    daemonset: "SchedulingDaemonset", [20, 1, 20];
    mixed_churn: "SchedulingWithMixedChurn", [10, 1, 20];
    secrets: "SchedulingSecrets", [10, 10, 20];
    in_tree_volumes: "SchedulingInTreePVs", [10, 10, 20];
    migrated_in_tree_volumes: "SchedulingMigratedInTreePVs", [10, 10, 20];
    csi_volumes: "SchedulingCSIPVs", [10, 10, 20];
    default_spreading: "DefaultTopologySpreading", [10, 10, 20];
    node_inclusion_policy: "SchedulingWithNodeInclusionPolicy", [10, 1, 16];
    latency: "Latency", [10, 10, 5];
}

#[tokio::test]
async fn a_scheduler_that_is_not_there_is_named() {
    let server = testing::start().await;
    let url = server.url();
    let words = ["--server", &url, "--external-scheduler", "--patience", "1"];
    let sizes = ["--nodes", "2", "--init-pods", "1", "--pods", "1"];
    let refused = bench(&[words.as_slice(), &sizes].concat())
        .await
        .unwrap_err();
    let text = format!("{refused:#}");
    assert!(
        text.starts_with(
            "workload SchedulingBasic: the scheduler does not bind the pods of the warm-up"
        ),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test]
async fn flags_that_exclude_each_other_are_named() {
    let refused = bench(&["--external-scheduler"]).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("--external-scheduler needs")
    );
}
