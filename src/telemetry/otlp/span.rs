//! A call as spans: one for the call, and one below it for each stage that it went through.
//!
//! Source: `opentelemetry/proto/trace/v1/trace.proto` and `collector/trace/v1/trace_service.proto` of
//! <https://github.com/open-telemetry/opentelemetry-proto> 1.7.

use std::time::Duration;

use bytes::Bytes;

use crate::audit::CallRecord;
use crate::identity::Did;
use crate::telemetry::{Stage, Stages};
use crate::workers::CacheState;

use super::wire::Message;

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// The span of another service that a call is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: [u8; 16],
    /// Itself.
    pub span: [u8; 8],
    /// Whether it is recorded there.
    pub sampled: bool,
}

/// What is told of a call.
pub(super) struct Traced {
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    /// The request's name, which is the span's too.
    span: u64,
    began: Duration,
    ended: Duration,
    stages: Stages,
    decided: &'static str,
    texts: Vec<(&'static str, String)>,
    cpu_ms: Option<f64>,
}

impl Traced {
    /// A call that ended at `ended`, since the Unix epoch, with what its log line has.
    pub(super) fn of(
        call: &CallRecord,
        request: &str,
        parent: Option<Parent>,
        ended: Duration,
        took: Duration,
    ) -> Traced {
        let texts = [
            ("at_functions.request", Some(request.to_owned())),
            ("at_functions.decided", Some(call.decided.to_owned())),
            ("at_functions.caller", call.caller.as_ref().map(Did::to_string)),
            ("at_functions.function", call.function.clone()),
            ("at_functions.cid", call.cid.map(|cid| cid.to_string())),
            ("at_functions.rule", call.rule.clone()),
            ("at_functions.cache", call.cache.map(|cache| CacheState::as_str(cache).to_owned())),
        ];
        Traced {
            trace: parent.map_or_else(random_trace, |parent| parent.trace),
            parent: parent.map(|parent| parent.span),
            span: u64::from_str_radix(request, 16).unwrap_or_default().max(1),
            began: ended.saturating_sub(took),
            ended,
            stages: call.stages.clone(),
            decided: call.decided,
            texts: texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect(),
            cpu_ms: call.usage.map(|usage| usage.cpu.as_micros() as f64 / 1000.0),
        }
    }

    fn write(&self, spans: &mut Message) {
        spans.message(2, |span| {
            self.identify(span, self.span, self.parent.as_ref().map(|parent| &parent[..]));
            span.text(5, "at.functions.run");
            span.number(6, SERVER);
            span.fixed64(7, nanos(self.began));
            span.fixed64(8, nanos(self.ended));
            for (name, value) in &self.texts {
                text_attribute(span, 9, name, value);
            }
            if let Some(cpu_ms) = self.cpu_ms {
                span.message(9, |attribute| {
                    attribute.text(1, "at_functions.cpu_ms");
                    attribute.message(2, |value| value.double(4, cpu_ms));
                });
            }
            if self.decided != "ok" {
                span.message(15, |status| {
                    status.text(2, self.decided);
                    status.number(3, ERROR);
                });
            }
        });
        self.write_stages(spans);
    }

    /// Each stage began when the one before it ended.
    fn write_stages(&self, spans: &mut Message) {
        let mut began = self.began;
        for stage in Stage::ALL {
            let Some(took) = self.stages.took(stage) else { continue };
            let ended = (began + took).min(self.ended);
            spans.message(2, |span| {
                // Names are random, so that those that follow one are nobody else's in its trace.
                let id = self.span.wrapping_add(1 + stage as u64).max(1);
                self.identify(span, id, Some(&self.span.to_be_bytes()));
                span.text(5, stage.as_str());
                span.number(6, INTERNAL);
                span.fixed64(7, nanos(began));
                span.fixed64(8, nanos(ended));
            });
            began = ended;
        }
    }

    fn identify(&self, span: &mut Message, id: u64, parent: Option<&[u8]>) {
        span.bytes(1, &self.trace);
        span.bytes(2, &id.to_be_bytes());
        span.bytes(4, parent.unwrap_or_default());
    }
}

/// An `ExportTraceServiceRequest` of these calls.
pub(super) fn request(calls: &[Traced]) -> Bytes {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |resource| {
            text_attribute(resource, 1, "service.name", "at-functions");
            text_attribute(resource, 1, "service.version", env!("CARGO_PKG_VERSION"));
        });
        resource_spans.message(2, |spans| {
            spans.message(1, |scope| scope.text(1, "at-functions"));
            calls.iter().for_each(|call| call.write(spans));
        });
    });
    request.finish()
}

fn text_attribute(of: &mut Message, field: u32, name: &str, value: &str) {
    of.message(field, |attribute| {
        attribute.text(1, name);
        attribute.message(2, |any| any.text(1, value));
    });
}

/// The trace of a call that is part of none. It names, and protects nothing.
fn random_trace() -> [u8; 16] {
    let mut trace = [0; 16];
    if getrandom::fill(&mut trace).is_err() || trace == [0; 16] {
        trace[15] = 1;
    }
    trace
}

fn nanos(time: Duration) -> u64 {
    // Until the year 2554.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
