//! The trace that a request is part of, as its sender says in `traceparent`.
//!
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>. Only direct callers' arrives: a PDS
//! does not pass the header on.

use http::HeaderMap;

/// The trace that a request is part of, as the first four parts of a well-formed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceId(String);

/// Where the parts are that have a use here, which versions may not move.
const TRACE: std::ops::Range<usize> = 3..35;
#[cfg(any(feature = "otlp", test))]
const PARENT: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

impl TraceId {
    /// That of a request with these headers. What is not well formed is as good as absent, as the source
    /// has it.
    pub(super) fn of(headers: &HeaderMap) -> Option<TraceId> {
        let mut values = headers.get_all("traceparent").iter();
        match (values.next(), values.next()) {
            (Some(value), None) => TraceId::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    /// The 32 hexadecimal digits that name the trace.
    pub(super) fn as_str(&self) -> &str {
        &self.0[TRACE]
    }

    /// The sender's span.
    #[cfg(any(feature = "otlp", test))]
    pub(super) fn parent(&self) -> crate::telemetry::otlp::Parent {
        let bits = |part| u128::from_str_radix(&self.0[part], 16).unwrap_or_default();
        crate::telemetry::otlp::Parent {
            trace: bits(TRACE).to_be_bytes(),
            span: (bits(PARENT) as u64).to_be_bytes(),
            sampled: bits(FLAGS) & 1 == 1,
        }
    }

    /// Reads `VERSION-TRACE-PARENT-FLAGS`. Later versions may add parts.
    fn parse(text: &str) -> Option<TraceId> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_whole = match version {
            "00" => parts.next().is_none(),
            other => is_hex(other, 2) && other != "ff",
        };
        let is_named = |part: &str| part.bytes().any(|digit| digit != b'0');
        let sound = is_whole
            && is_hex(trace, 32)
            && is_named(trace)
            && is_hex(parent, 16)
            && is_named(parent)
            && is_hex(flags, 2);
        sound.then(|| TraceId(text[..FLAGS.end].to_owned()))
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn what_is_well_formed_names_its_trace_and_nothing_else_does() {
        let parent = "00f067aa0ba902b7";
        let cases = [
            (format!("00-{TRACE}-{parent}-01"), true),
            (format!("00-{TRACE}-{parent}-00"), true),
            (format!("01-{TRACE}-{parent}-01"), true),
            (format!("cc-{TRACE}-{parent}-01-what-the-future-will-be-like"), true),
            (format!("00-{TRACE}-{parent}-01-more"), false),
            (format!("ff-{TRACE}-{parent}-01"), false),
            (format!("0-{TRACE}-{parent}-01"), false),
            (format!("00-{}-{parent}-01", TRACE.to_uppercase()), false),
            (format!("00-{}-{parent}-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (format!("00-{}-{parent}-01", &TRACE[1..]), false),
            (format!("00-{TRACE}-{parent}"), false),
            (format!("00-{TRACE}-{parent}-1"), false),
            (format!(" 00-{TRACE}-{parent}-01"), false),
            (String::new(), false),
        ];
        for (text, sound) in cases {
            let found = TraceId::parse(&text);
            assert_eq!(found.as_ref().map(TraceId::as_str), sound.then_some(TRACE), "{text}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let value: http::HeaderValue = format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("traceparent", value.clone());
        assert_eq!(TraceId::of(&headers).unwrap().as_str(), TRACE);
        headers.append("traceparent", value);
        assert_eq!(TraceId::of(&headers), None);
    }
    #[test]
    fn the_senders_span_and_whether_it_is_recorded_are_read() {
        for (flags, sampled) in [("01", true), ("00", false), ("03", true), ("fe", false)] {
            let id = TraceId::parse(&format!("cc-{TRACE}-00f067aa0ba902b7-{flags}-more")).unwrap();
            let parent = id.parent();
            assert_eq!(parent.trace[..4], [0x4b, 0xf9, 0x2f, 0x35]);
            assert_eq!(parent.span, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
            assert_eq!(parent.sampled, sampled, "{flags}");
        }
    }
}
