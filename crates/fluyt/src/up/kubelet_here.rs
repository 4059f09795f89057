//! The kubelet of a node on the machine's network, in this process: a second process of the same binary would only cost memory.
//!
//! It is as alone as if it had a process: a runtime of its own, which takes everything that the kubelet started with it when it
//! ends, and a connection like any other node's, with the node's own certificate. (Over the in-process transport the API server
//! would start tasks on this runtime.) A panic of it ends the kubelet, not the cluster.

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::control_plane::parse;

/// What still runs of a kubelet that was asked to end, or has ended, has this long.
const LAST: Duration = Duration::from_millis(300);

pub struct Here {
    flags: Vec<String>,
    /// Asks the kubelet to end.
    stop: CancellationToken,
    /// Ends it, whatever it does.
    abandon: CancellationToken,
    /// None once it has ended.
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Here {
    pub fn start(flags: Vec<String>) -> Self {
        let mut here = Self {
            flags,
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            running: None,
        };
        here.start_again();
        here
    }

    pub fn start_again(&mut self) {
        let flags = self.flags.clone();
        let (stop, abandon) = (self.stop.clone(), self.abandon.clone());
        self.running = Some(tokio::task::spawn_blocking(move || {
            run(flags, stop, &abandon)
        }));
    }

    /// Waits for its end, and says how it ended.
    pub async fn ended(&mut self) -> String {
        let Some(running) = &mut self.running else {
            return "it had ended".to_owned();
        };
        let outcome = running.await;
        self.running = None;
        match outcome {
            Ok(Ok(())) => "without an error".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        }
    }

    pub async fn stop(&mut self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.ended()).await.is_err() {
            self.abandon.cancel();
            let _ = tokio::time::timeout(LAST * 2, self.ended()).await;
        }
    }
}

/// One life of the kubelet.
fn run(
    flags: Vec<String>,
    stop: CancellationToken,
    abandon: &CancellationToken,
) -> anyhow::Result<()> {
    let options: fluyt_kubelet::Options = parse(flags)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the kubelet's runtime")?;
    let outcome = runtime.block_on(async {
        let life = async {
            let client = fluyt_client::connect(&options.client_config()).await?;
            fluyt_kubelet::run(options, client, stop).await
        };
        tokio::select! {
            outcome = life => outcome,
            () = abandon.cancelled() => anyhow::bail!("it did not stop in time"),
        }
    });
    runtime.shutdown_timeout(LAST);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kubelet that cannot start says why, and can be started again and stopped.
    #[tokio::test]
    async fn a_kubelet_that_fails_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("kubeconfig").display().to_string();
        let mut here = Here::start(vec![format!("--kubeconfig={missing}")]);
        let end = here.ended().await;
        assert!(end.contains(&missing), "{end}");
        here.start_again();
        here.stop(Duration::from_secs(10)).await;
        assert!(here.running.is_none());
    }

    #[tokio::test]
    async fn a_flag_that_does_not_exist_is_named() {
        let mut here = Here::start(vec!["--no-such-flag".to_owned()]);
        let end = here.ended().await;
        assert!(end.contains("--no-such-flag"), "{end}");
    }
}
