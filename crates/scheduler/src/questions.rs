//! Questions why, put to the driver and answered between its turns.
//!
//! The driver owns the core, so it answers; a question is worked off in slices of so many nodes that decisions hardly notice. One is
//! worked on at a time, few may wait, and who asks hears when that is too many; a question that nobody waits for any more is dropped.

use std::time::Duration;

use fluyt_scheduler_core::core::Core;
use fluyt_scheduler_core::explain::{Explanation, Manifest, WhatIf, WhatIfAnswer, Why};
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait.
const WAITING: usize = 32;
/// Nodes looked at in a slice, while there are decisions to take (about as long as a turn of those takes) and while there are none.
const ROWS_BUSY: usize = 512;
const ROWS_IDLE: usize = 16_384;

pub enum Question {
    /// A pod by namespace/name.
    Why(String),
    WhatIf(Box<Manifest>),
}

pub enum Answer {
    Why(Box<Explanation>),
    WhatIf(Box<WhatIfAnswer>),
    /// No such pod is known here.
    Unknown,
}

pub struct Asked {
    question: Question,
    answer: oneshot::Sender<Answer>,
}

/// Asks the scheduler, from any task.
#[derive(Clone)]
pub struct Questions(mpsc::Sender<Asked>);

#[derive(Debug)]
pub enum Unanswered {
    TooMany,
    /// It does not lead, or has not seen the cluster yet, or has stopped.
    NotNow,
}

impl Questions {
    /// `patience`: how long the answer may take.
    pub async fn ask(&self, question: Question, patience: Duration) -> Result<Answer, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let asked = Asked {
            question,
            answer: sender,
        };
        self.0.try_send(asked).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::TooMany,
            mpsc::error::TrySendError::Closed(_) => Unanswered::NotNow,
        })?;
        let answer = tokio::time::timeout(patience, receiver).await;
        answer.ok().and_then(Result::ok).ok_or(Unanswered::NotNow)
    }
}

pub fn channel() -> (Questions, Desk) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let desk = Desk {
        asked: receiver,
        current: None,
    };
    (Questions(sender), desk)
}

/// Where questions arrive.
pub struct Desk {
    asked: mpsc::Receiver<Asked>,
    current: Option<(Working, oneshot::Sender<Answer>)>,
}

enum Working {
    Why(Box<Why>),
    WhatIf(Box<WhatIf>),
}

impl Desk {
    /// Works a slice, if there is anything to answer; true when there is more.
    pub fn turn(&mut self, core: &mut Core, now: Duration, busy: bool) -> bool {
        if self.current.is_none()
            && let Ok(asked) = self.asked.try_recv()
        {
            self.begin(core, asked);
        }
        let Some((working, answer)) = self.current.take() else {
            return false;
        };
        if answer.is_closed() {
            working.abandon(core);
            return true;
        }
        let rows = if busy { ROWS_BUSY } else { ROWS_IDLE };
        let mut working = working;
        match working.step(core, rows) {
            false => self.current = Some((working, answer)),
            true => drop(answer.send(working.finish(core, now))),
        }
        true
    }

    fn begin(&mut self, core: &Core, asked: Asked) {
        let working = match asked.question {
            Question::Why(key) => Why::of_pod(core, &key).map(|why| Working::Why(Box::new(why))),
            Question::WhatIf(manifest) => {
                Some(Working::WhatIf(Box::new(WhatIf::new(core, *manifest))))
            }
        };
        match working {
            Some(working) => self.current = Some((working, asked.answer)),
            None => drop(asked.answer.send(Answer::Unknown)),
        }
    }

    /// Until something is asked. Cancel-safe: a question that arrived is kept. It stays for [`Desk::turn`].
    pub async fn wait(&mut self, core: &Core) {
        if self.current.is_some() {
            return;
        }
        match self.asked.recv().await {
            Some(asked) => self.begin(core, asked),
            None => std::future::pending().await,
        }
    }
}

impl Working {
    fn step(&mut self, core: &mut Core, rows: usize) -> bool {
        match self {
            Self::Why(why) => why.step(core, rows),
            Self::WhatIf(what_if) => what_if.step(core, rows),
        }
    }

    fn abandon(self, core: &mut Core) {
        match self {
            Self::Why(why) => why.abandon(core),
            Self::WhatIf(what_if) => what_if.abandon(core),
        }
    }

    fn finish(self, core: &mut Core, now: Duration) -> Answer {
        match self {
            Self::Why(why) => Answer::Why(Box::new(why.finish(core, now))),
            Self::WhatIf(what_if) => Answer::WhatIf(Box::new(what_if.finish(core, now))),
        }
    }
}
