//! The name of one request, in its log lines, its response header and its errors.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use tracing::Span;

use super::trace_parent::TraceId;

/// 16 hexadecimal digits, made at random for each request; with the trace that the request is part of,
/// where its sender says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    id: String,
    trace: Option<TraceId>,
}

impl RequestId {
    /// The header that carries it to direct callers.
    pub(super) const HEADER: &'static str = "x-request-id";

    /// A new one. It names, and protects nothing: a number in order, hashed with a key of this process, is
    /// random enough, and takes no system call.
    pub(super) fn random() -> RequestId {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
        RequestId { id: format!("{number:016x}"), trace: None }
    }

    /// A new one for a request with these headers.
    pub(super) fn of(headers: &HeaderMap) -> RequestId {
        RequestId { trace: TraceId::of(headers), ..RequestId::random() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.id
    }

    /// The trace that the request is part of.
    pub(super) fn trace(&self) -> Option<&str> {
        self.trace.as_ref().map(TraceId::as_str)
    }

    /// The sender's span, if it is part of a trace.
    #[cfg(feature = "otlp")]
    pub(super) fn parent(&self) -> Option<crate::telemetry::otlp::Parent> {
        self.trace.as_ref().map(TraceId::parent)
    }

    /// The span of all that is done for the request, so that its log lines can be told.
    pub(super) fn span(&self) -> Span {
        tracing::info_span!(target: "call", "call", request = self.as_str(), trace_id = self.trace())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
