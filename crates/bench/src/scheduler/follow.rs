//! An independent watch: when did which pod get its node (or was told that it gets none)?
//!
//! Events are looked at as bytes: the load generator shares the machine with what it measures.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::workload::Until;
use crate::target::Target;
use crate::wire::{Connection, Head};

/// A server that ends every watch at once is not one that can be measured.
const MAX_CUTS: usize = 100;

/// What was seen; times are nanoseconds after `origin`, 0 stands for not yet.
pub(crate) struct Seen {
    pub(crate) at: Vec<u64>,
}

pub(crate) struct Follower {
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
    cuts: Arc<AtomicUsize>,
    count: watch::Receiver<usize>,
    task: JoinHandle<anyhow::Result<()>>,
    total: usize,
}

impl Follower {
    /// Watches pods `PREFIX-0` to `PREFIX-(total-1)` in all namespaces from now on.
    pub(crate) async fn start(
        target: &Arc<Target>,
        prefix: &str,
        total: usize,
        until: Until,
    ) -> anyhow::Result<Self> {
        // Only pods that have a node: events before that are none of ours.
        let chosen = match until {
            Until::Bound => "fieldSelector=spec.nodeName%21%3D&",
            Until::Unschedulable | Until::Created => "",
        };
        let events = Events {
            target: Arc::clone(target),
            path: format!("/api/v1/pods?{chosen}"),
        };
        let list = events.list("limit=1").await?;
        let mut open = events.watch(&list).await?;
        let origin = Instant::now();
        let seen = Arc::new(Mutex::new(Seen { at: vec![0; total] }));
        let cuts = Arc::new(AtomicUsize::new(0));
        let (counted, count) = watch::channel(0);
        let (prefix, cut) = (prefix.to_owned(), cuts.clone());
        let sightings = Sightings {
            origin,
            seen: seen.clone(),
            counted,
        };
        let task = tokio::spawn(async move {
            loop {
                let mut lines = Lines::new(&prefix, until);
                let (mut connection, head) = open;
                connection
                    .body(head, |part| sightings.note(|found| lines.take(part, found)))
                    .await?;
                // Servers end a watch whose reader is behind: what was missed is listed, as informers do.
                let cuts = cut.fetch_add(1, Ordering::Relaxed) + 1;
                ensure!(
                    cuts <= MAX_CUTS,
                    "the server ended the watch of pods {cuts} times"
                );
                let list = events.list("").await?;
                let items = list["items"].as_array().into_iter().flatten();
                let items: Vec<String> = items.map(Value::to_string).collect();
                sightings.note(|found| {
                    let numbers = items
                        .iter()
                        .filter_map(|item| lines.number(item.as_bytes()));
                    numbers.for_each(found);
                });
                open = events.watch(&list).await?;
            }
        });
        Ok(Follower {
            origin,
            seen,
            cuts,
            count,
            task,
            total,
        })
    }

    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Until all were seen. Errors: the watch ended, or nothing was seen for `patience`.
    pub(crate) async fn all(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.at_least(self.total, patience).await
    }

    pub(crate) async fn at_least(
        &mut self,
        wanted: usize,
        patience: Duration,
    ) -> anyhow::Result<()> {
        loop {
            let now = *self.count.borrow_and_update();
            if now >= wanted {
                return Ok(());
            }
            match tokio::time::timeout(patience, self.count.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    let why = (&mut self.task).await?;
                    return why.and_then(|()| bail!("the watch of pods ended"));
                }
                Err(_) => bail!(
                    "{now} of {wanted} pods were seen, then none for {} s",
                    patience.as_secs()
                ),
            }
        }
    }

    /// How often the server ended the watch: pods that were bound meanwhile were seen late.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(self) -> Vec<u64> {
        self.task.abort();
        std::mem::take(&mut self.seen.lock().expect("nobody panics while holding it").at)
    }
}

/// Writes down when a pod is seen for the first time.
struct Sightings {
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
    counted: watch::Sender<usize>,
}

impl Sightings {
    /// All that `numbers` finds are seen now.
    fn note(&self, numbers: impl FnOnce(&mut dyn FnMut(usize))) {
        let now = self.origin.elapsed().as_nanos() as u64;
        let mut seen = self.seen.lock().expect("nobody panics while holding it");
        let mut new = 0;
        numbers(&mut |number| {
            if let Some(at) = seen.at.get_mut(number)
                && *at == 0
            {
                *at = now;
                new += 1;
            }
        });
        drop(seen);
        if new > 0 {
            self.counted.send_modify(|count| *count += new);
        }
    }
}

struct Events {
    target: Arc<Target>,
    path: String,
}

impl Events {
    async fn list(&self, more: &str) -> anyhow::Result<Value> {
        let list = self.target.read(&format!("{}{more}", self.path)).await?;
        list.context("the server has no pods")
    }

    /// Everything after this list.
    async fn watch(&self, list: &Value) -> anyhow::Result<(Connection, Head)> {
        let since = list["metadata"]["resourceVersion"]
            .as_str()
            .context("the list of pods has no resourceVersion")?;
        let mut connection = self.target.connect().await?;
        let request = self.target.get(&format!(
            "{}watch=true&timeoutSeconds=3600&resourceVersion={since}",
            self.path
        ));
        let head = connection.send(&request).await?;
        ensure!(
            head.status == 200,
            "the watch of pods was answered with HTTP {}",
            head.status
        );
        Ok((connection, head))
    }
}

/// Cuts a watch into lines and finds our pods in them.
struct Lines {
    /// `"name":"PREFIX-`, as it stands in an event.
    name: memchr::memmem::Finder<'static>,
    length: usize,
    state: memchr::memmem::Finder<'static>,
    line: Vec<u8>,
}

impl Lines {
    fn new(prefix: &str, until: Until) -> Self {
        let name = format!("\"name\":\"{prefix}-");
        let state: &[u8] = match until {
            Until::Bound | Until::Created => b"\"nodeName\":\"",
            Until::Unschedulable => b"\"reason\":\"Unschedulable\"",
        };
        Lines {
            length: name.len(),
            name: memchr::memmem::Finder::new(name.as_bytes()).into_owned(),
            state: memchr::memmem::Finder::new(state).into_owned(),
            line: Vec::new(),
        }
    }

    fn take(&mut self, part: &[u8], mut found: impl FnMut(usize)) {
        let mut rest = part;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end + 1);
            let number = if self.line.is_empty() {
                self.number(head)
            } else {
                self.line.extend_from_slice(head);
                let number = self.number(&self.line);
                self.line.clear();
                number
            };
            number.into_iter().for_each(&mut found);
            rest = tail;
        }
        self.line.extend_from_slice(rest);
    }

    /// The number of the pod that this event shows in the state that we wait for.
    fn number(&self, line: &[u8]) -> Option<usize> {
        let at = self.name.find(line)? + self.length;
        self.state.find(line)?;
        let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0usize, |number, digit| {
            number * 10 + usize::from(digit - b'0')
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluyt_client::ClientOptions;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn bindings_are_found_in_any_pieces() {
        let line = |number: usize, rest: &str| {
            format!("{{\"object\":{{\"metadata\":{{\"name\":\"b-1-{number}\"}},{rest}}}}}\n")
        };
        let text = line(0, "\"spec\":{}")
            + &line(12, "\"spec\":{\"nodeName\":\"n\"}")
            + &line(3, "\"status\":{\"reason\":\"Unschedulable\"}")
            + &line(0, "\"spec\":{\"nodeName\":\"n\"}")
            + "{\"object\":{\"metadata\":{\"name\":\"c-1-5\"},\"spec\":{\"nodeName\":\"n\"}}}\n";
        for piece in [1, 3, 50, 1000] {
            for (until, expected) in [(Until::Bound, vec![12, 0]), (Until::Unschedulable, vec![3])]
            {
                let (mut lines, mut found) = (Lines::new("b-1", until), Vec::new());
                for part in text.as_bytes().chunks(piece) {
                    lines.take(part, |number| found.push(number));
                }
                assert_eq!(found, expected, "in pieces of {piece}");
            }
        }
    }

    /// The first watch ends after one of two pods; the other is found in the list that follows.
    #[tokio::test]
    async fn a_watch_that_the_server_ends_goes_on() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = ClientOptions {
            server: Some(format!("http://{}", listener.local_addr().unwrap())),
            ..ClientOptions::default()
        };
        let pod = |number: usize| {
            format!(
                "{{\"object\":{{\"metadata\":{{\"name\":\"p-{number}\"}},\"spec\":{{\"nodeName\":\"n\"}}}}}}\n"
            )
        };
        let list = |revision: usize, items: &str| {
            format!("{{\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"items\":[{items}]}}")
        };
        let item = "{\"metadata\":{\"name\":\"p-1\"},\"spec\":{\"nodeName\":\"n\"}}";
        let answers = [list(7, ""), pod(0), list(9, item), String::new()];
        let server = tokio::spawn(async move {
            let mut paths = Vec::new();
            for body in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                paths.push(request.lines().next().unwrap().to_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            paths
        });
        let target = Arc::new(Target::new(&options).await.unwrap());
        let mut follower = Follower::start(&target, "p", 2, Until::Bound)
            .await
            .unwrap();
        follower.all(Duration::from_secs(30)).await.unwrap();
        assert!(follower.cuts() >= 1);
        let paths = server.await.unwrap();
        assert!(paths[1].contains("resourceVersion=7"), "{paths:?}");
        assert!(paths[3].contains("resourceVersion=9"), "{paths:?}");
    }
}
