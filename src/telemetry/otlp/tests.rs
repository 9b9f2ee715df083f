//! The queue before a collector that is away, and the bytes of a request.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::telemetry::Stage;

/// A URL at which nobody listens.
fn nowhere() -> Url {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

fn call() -> CallRecord {
    CallRecord { decided: "ok", ..CallRecord::default() }
}

const PARENT: Parent = Parent { trace: [0xab; 16], span: [0xcd; 8], sampled: true };

#[tokio::test]
async fn calls_beyond_the_queue_are_dropped_and_counted_and_a_stop_ends() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let counted = |ended: &str| {
        let line = format!("{TRACED_CALLS}{{ended=\"{ended}\"}} ");
        let text = recorder.handle().render();
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    };
    let exporter = Exporter::start(&nowhere(), Clock::manual(1_000)).unwrap();
    // Nothing is waited for in between, so nothing leaves the queue.
    for _ in 0..QUEUE + 10 {
        exporter.tell(&call(), "00f067aa0ba902b7", None, Duration::from_millis(5));
    }
    assert_eq!((counted("dropped"), counted("failed")), (10, 0));
    exporter.drain().await;
    assert_eq!((counted("dropped"), counted("failed"), counted("exported")), (10, QUEUE, 0));
    // Whoever comes late is not waited for either.
    exporter.tell(&call(), "00f067aa0ba902b7", None, Duration::ZERO);
    assert_eq!(counted("dropped"), 11);
    exporter.drain().await;
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_not_sent() {
    let exporter = Exporter::start(&nowhere(), Clock::manual(1_000)).unwrap();
    let unsampled = Parent { sampled: false, ..PARENT };
    exporter.tell(&call(), "00f067aa0ba902b7", Some(unsampled), Duration::ZERO);
    assert_eq!(exporter.queue.capacity(), QUEUE);
    exporter.tell(&call(), "00f067aa0ba902b7", Some(PARENT), Duration::ZERO);
    assert_eq!(exporter.queue.capacity(), QUEUE - 1);
}

#[test]
fn a_request_has_the_bytes_that_others_read() {
    let usage = crate::sandbox::Usage { cpu: Duration::from_micros(1_500), ..Default::default() };
    let mut call = CallRecord {
        decided: "trap",
        rule: Some("author".into()),
        usage: Some(usage),
        ..CallRecord::default()
    };
    call.stages.enter(Stage::Queue);
    call.stages.ran(Duration::from_secs(1));
    let request = "00f067aa0ba902b7";
    let traced = Traced::of(&call, request, Some(PARENT), Duration::from_secs(1_000), Duration::from_secs(2));
    let bytes = span::request(&[traced]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // What the package `opentelemetry-proto` for Python makes of three spans: the call, from 998 s to 1,000 s, and
    // below it `queue`, of no length, and `run`, of a second. Before them stands the service's version.
    let expected = include_str!("request.hex").replace('\n', "");
    assert!(hex.ends_with(&expected), "{hex}");
}

#[test]
fn a_call_that_is_part_of_no_trace_is_one_of_its_own() {
    let trace = |_| {
        let traced = Traced::of(&call(), "00f067aa0ba902b7", None, Duration::from_secs(1), Duration::ZERO);
        // Resource, scope, and then the span's first field.
        let bytes = span::request(&[traced]);
        let name = b"at.functions.run";
        assert!(bytes.windows(name.len()).any(|window| window == name));
        let at = bytes.windows(2).position(|window| window == [0x0a, 16]).unwrap() + 2;
        <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap()
    };
    let [first, second] = [0, 1].map(trace);
    assert!(first != second && first != [0; 16]);
}
