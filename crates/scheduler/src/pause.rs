//! Decisions can be held back while the scheduler goes on watching, so that measurements begin with all pods known.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether decisions are held back now.
pub struct Paused(Option<watch::Receiver<bool>>);

/// Decisions are never held back.
pub fn never() -> Paused {
    Paused(None)
}

/// SIGUSR1 holds decisions back, SIGUSR2 ends that. Must be called within the runtime.
pub fn on_signals() -> io::Result<Paused> {
    let mut pause = signal(SignalKind::user_defined1())?;
    let mut resume = signal(SignalKind::user_defined2())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let paused = tokio::select! {
                Some(()) = pause.recv() => true,
                Some(()) = resume.recv() => false,
                () = sender.closed() => return,
            };
            sender.send_replace(paused);
        }
    });
    Ok(Paused(Some(receiver)))
}

impl Paused {
    pub fn now(&self) -> bool {
        self.0.as_ref().is_some_and(|paused| *paused.borrow())
    }

    /// Resolves at the next change; cancel-safe.
    pub async fn changed(&mut self) {
        if let Some(paused) = &mut self.0
            && paused.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_seen() {
        let (sender, receiver) = watch::channel(false);
        let mut paused = Paused(Some(receiver));
        assert!(!paused.now());
        sender.send_replace(true);
        paused.changed().await;
        assert!(paused.now());
        assert!(!never().now());
    }
}
