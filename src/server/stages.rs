//! Stages of a call as pieces by themselves, whose instructions `benches/instructions` counts: each does what `call`
//! does in its place, and nothing runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::audit::CallRecord;
use crate::auth::Repeat;
use crate::registry::Function;
use crate::sandbox::{Completion, Logs, Outcome, Usage};

use super::admission::{self, Visitor};
use super::call::{RUN, authenticate, enter};
use super::deadline::Deadline;
use super::envelope::RunRequest;
use super::execute;
use super::service::Service;
use super::{XrpcError, answer};

/// One call, over and over.
#[doc(hidden)]
pub struct Stages {
    service: Arc<Service>,
    head: http::request::Parts,
    body: Bytes,
    visitor: Visitor,
    function: Arc<Function>,
    completion: Completion,
}

impl Stages {
    /// Makes a first call as far as its run, so that all is known that a warm call finds.
    pub async fn start(service: Arc<Service>, headers: &HeaderMap, body: Bytes) -> Result<Stages, XrpcError> {
        let deadline = Deadline::start();
        let (visitor, _) = authenticate(&service, headers, (RUN, Repeat::SingleUse), deadline).await?;
        let request = RunRequest::parse(&body)?;
        let (author, rkey) = service.registry.name(&request.function).await?;
        let function = service.registry.function_named(author, rkey).await?;
        let output = Bytes::from_static(br#"{"ok":true,"echo":{"hello":"world"},"mode":"pure-v1"}"#);
        let usage =
            Usage { cpu: Duration::from_micros(30), output_bytes: 53, input_bytes: 17, ..Usage::default() };
        let wall = Duration::from_micros(31);
        let completion = Completion { result: Ok(output), wall, usage, logs: Logs::default() };
        let (head, ()) = http::Request::new(()).into_parts();
        Ok(Stages { service, head, body, visitor, function, completion })
    }

    /// Verifies a token that was not used before.
    pub async fn verify(&self, headers: &HeaderMap) -> Result<(), XrpcError> {
        authenticate(&self.service, headers, (RUN, Repeat::SingleUse), Deadline::start()).await.map(drop)
    }

    /// Asks all rules and limits.
    pub async fn authorize(&self) -> Result<(), XrpcError> {
        let (service, visitor, function) = (&self.service, &self.visitor, &self.function);
        let (deadline, mut record) = (Deadline::start(), CallRecord::default());
        let _admitted = enter(service, visitor, &self.head, deadline, &mut record).await?;
        let named = (&function.author, &function.rkey);
        admission::function(visitor, service, named, deadline, &mut record).await?;
        let now = service.clock.since_epoch();
        admission::access(visitor, &service.registry, function, deadline, now, &mut record).await?;
        let _admitted_to = service.gates.admit_to(&visitor.policy, function)?;
        Ok(())
    }

    /// Reads the body, and finds the function that it names.
    pub async fn resolve(&self) -> Result<(), XrpcError> {
        let (deadline, late) = (Deadline::start(), XrpcError::repo_timeout);
        let request = RunRequest::parse(&self.body)?;
        let (author, rkey) = deadline.bound(self.service.registry.name(&request.function), late).await?;
        deadline.bound(self.service.registry.function_named(author, rkey), late).await.map(drop)
    }

    /// Looks for an answer that was given before.
    pub fn recall(&self) -> bool {
        let limits = execute::limits(&self.visitor.policy, &self.function);
        let input = br#"{"hello":"world"}"#;
        let key = self.service.memo.key(&self.visitor.caller, &self.function, &limits, input);
        key.is_some_and(|key| self.service.memo.find(&key).is_some())
    }

    /// Puts the answer of a run into a response.
    pub fn answer(&self) -> bool {
        let body = answer::body(&self.completion, &self.function.cid, "warm", false, None);
        self.completion.outcome() == Outcome::Ok && answer::respond(body).status().is_success()
    }
}
