//! A run's way to a worker and back as a piece by itself, whose instructions `benches/instructions` counts: what the
//! service says, what the worker reads and says, what the service makes of it. Nothing runs.

use std::os::fd::OwnedFd;

use bytes::Bytes;

use super::answer::{self, Asked};
use super::message::{FromWorker, MAX_FROM_PROCESS, MAX_TO_PROCESS, Payload, ToWorker, message, packet};
use super::socket::{self, Receiver};
use crate::sandbox::{Completion, Context, Limits};

/// Both ends of a socket, in one process.
#[doc(hidden)]
pub struct Frames {
    ends: (OwnedFd, OwnedFd),
    at_service: Receiver,
    at_worker: Receiver,
    limits: Limits,
    context: Context,
}

impl Frames {
    /// For runs with these limits and this context.
    pub fn new(limits: Limits, context: Context) -> std::io::Result<Frames> {
        Ok(Frames {
            ends: socket::pair()?,
            at_service: Receiver::new(MAX_FROM_PROCESS),
            at_worker: Receiver::new(MAX_TO_PROCESS),
            limits,
            context,
        })
    }

    /// Sends an input there and a completion back; what the service takes of it, `None` if anything is wrong.
    pub fn exchange(&mut self, input: Bytes, completion: Completion) -> Option<Completion> {
        let asked = Asked::new(self.limits, input.len());
        let (limits, context) = (self.limits, self.context.clone());
        let run = ToWorker::Run { run: 1, module: 1, limits, context, input: Payload(input) };
        packet(&run, None).ok()?.send(&self.ends.0).ok()?;
        let read = message(&self.at_worker.receive(&self.ends.1).ok()?).ok()?;
        let ToWorker::Run { run, .. } = read else { return None };
        let ended = FromWorker::Ended { run, ending: Ok(completion) };
        packet(&ended, None).ok()?.send(&self.ends.1).ok()?;
        match message(&self.at_service.receive(&self.ends.0).ok()?).ok()? {
            FromWorker::Ended { ending: Ok(completion), .. } => answer::checked(completion, &asked).ok(),
            _ => None,
        }
    }
}
