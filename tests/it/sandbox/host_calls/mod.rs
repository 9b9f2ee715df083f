//! What guests of `host-v1` ask for, and what they get.

mod bounds;
mod replies;

use at_functions::sandbox::{Context, Denied, Door, HostCall, HostReply, Listed, LogLevel, LogLine, Logs};
use serde_json::{Value, json};

use super::door::{BUMP, Broken, IMPORTS, Scripted, asking, guest};
use super::*;

const RECORD: &str = r#"{"atUri":"at://did:plc:a/b.c.d/e"}"#;

fn run(text: &str, input: &str, limits: Limits, door: Arc<dyn Door>) -> Completion {
    let harness = shared();
    let artifact = harness.wat_as(Mode::HostV1, text);
    harness.run_job(Job { door, ..job(&artifact, input, limits) })
}

fn record() -> HostReply {
    HostReply::Record { cid: "bafy".into(), value: Bytes::from_static(b"{\"n\":1}") }
}

fn output(completion: &Completion) -> Value {
    serde_json::from_slice(completion.result.as_ref().unwrap()).unwrap()
}

#[test]
fn each_call_reaches_the_door_and_its_reply_the_guest() {
    let listed = Listed { uri: "at://did:plc:a/b.c.d/e".into(), cid: "bafy".into(), value: "[1,2]".into() };
    let cases = [
        (
            "read_record",
            RECORD,
            HostCall::ReadRecord { at_uri: "at://did:plc:a/b.c.d/e".into() },
            record(),
            json!({ "ok": true, "record": { "n": 1 }, "cid": "bafy" }),
        ),
        (
            "read_blob",
            r#"{"cid":"bafk"}"#,
            HostCall::ReadBlob { cid: "bafk".into(), repo: None },
            HostReply::Blob { mime_type: "image/png".into(), bytes: "hello".into() },
            json!({ "ok": true, "mimeType": "image/png", "bytesBase64": "aGVsbG8=" }),
        ),
        (
            "list_collection",
            r#"{"repo":"a.example","collection":"b.c.d","cursor":"x","limit":1000}"#,
            HostCall::ListCollection {
                repo: "a.example".into(),
                collection: "b.c.d".into(),
                cursor: Some("x".into()),
                limit: 100,
            },
            HostReply::Listing { records: vec![listed], cursor: Some("y".into()) },
            json!({
                "ok": true,
                "records": [{ "uri": "at://did:plc:a/b.c.d/e", "cid": "bafy", "value": [1, 2] }],
                "cursor": "y",
            }),
        ),
    ];
    for (function, request, call, reply, expected) in cases {
        let door = Scripted::new(move |_| Ok(reply.clone()));
        let completion = run(&asking(function), request, WIDE, door.clone());
        assert_eq!(output(&completion), expected, "{function}");
        assert_eq!(door.asked(), [call], "{function}");
        assert_eq!(completion.usage.host_calls, 1);
        assert_eq!(completion.logs, Logs::default());
    }
}

#[test]
fn what_the_door_denies_and_what_is_no_request_is_told_and_the_run_goes_on() {
    let door = Scripted::new(|_| Err(Denied("it would need \"at://did:plc:a\"".into())));
    let denied = run(&asking("read_record"), RECORD, WIDE, door.clone());
    assert_eq!(output(&denied), json!({ "ok": false, "error": "it would need \"at://did:plc:a\"" }));
    assert_eq!(denied.usage.host_calls, 1);

    let long = format!(r#"{{"atUri":"{}"}}"#, "a".repeat(65_536 - 11));
    let cases = [
        (
            "read_record",
            "{}",
            "the request is not what it should be: missing field `atUri` at line 1 column 2",
        ),
        ("read_blob", "[\"bafk\"]", "the request is not a JSON object"),
        (
            "list_collection",
            "{",
            "the request is not what it should be: EOF while parsing an object at line 1 column 1",
        ),
        ("read_record", &long, "the request has 65537 bytes; at most 65536 are allowed"),
    ];
    for (function, request, error) in cases {
        door.asked();
        let completion = run(&asking(function), request, WIDE, door.clone());
        assert_eq!(output(&completion), json!({ "ok": false, "error": error }));
        assert_eq!((door.asked(), completion.usage.host_calls), (vec![], 0));
    }
    let fits = run(&asking("read_record"), &long.replacen("aaa", "aa", 1), WIDE, door.clone());
    assert_eq!(fits.usage.host_calls, 1);
}

#[test]
fn the_context_is_what_the_service_says_and_the_time_that_is_left() {
    let harness = shared();
    let artifact = harness.wat_as(Mode::HostV1, &guest("call $get_context"));
    let mut context = Context {
        caller: Some("did:plc:caller".into()),
        function: "at://did:plc:a/at.functions.metadata/f".into(),
        function_cid: "bafy".into(),
        request_id: "r1".into(),
        started: Duration::from_secs(1),
    };
    for caller in [Some("did:plc:caller".to_owned()), None] {
        context.caller = caller.clone();
        let job = Job { context: Arc::new(context.clone()), ..job(&artifact, "{}", WIDE) };
        let completion = harness.run_job(job);
        let mut shown = output(&completion);
        let left = shown["timeLeftMs"].take().as_u64().unwrap();
        assert!((4_000..5_000).contains(&left), "{left}");
        let mut expected = json!({
            "function": "at://did:plc:a/at.functions.metadata/f", "functionCid": "bafy", "requestId": "r1",
            "timeLeftMs": null,
        });
        if let Some(caller) = caller {
            expected["caller"] = caller.into();
        }
        assert_eq!(shown, expected);
        // It does not go through the door.
        assert_eq!(completion.usage.host_calls, 0);
    }
}

#[test]
fn lines_go_into_the_log_with_their_levels() {
    let text = guest(
        "(call $log (i32.const 0) (local.get $pointer) (i32.const 2)) \
         (call $log (i32.const 3) (i32.const 8) (i32.const 3)) \
         (call $log (i32.const 1) (i32.const 0) (i32.const 0)) \
         (i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32)) (i64.const 2))",
    )
    .replace(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 1) (data (i32.const 8) \"a\\ffb\")",
    );
    let completion = run(&text, "{}", WIDE, Arc::new(NoDoor));
    let line = |level, message: &str| LogLine { level, message: message.into() };
    assert_eq!(
        completion.logs.lines,
        [line(LogLevel::Debug, "{}"), line(LogLevel::Error, "a\u{fffd}b"), line(LogLevel::Info, "")]
    );
    assert!(!completion.logs.cut);
    assert_eq!(completion.usage.host_calls, 0);
}

#[test]
fn a_log_is_kept_of_a_run_that_fails_and_never_grows_large() {
    let once = "(call $log (i32.const 2) (i32.const 0) (i32.const 65536))";
    let text = guest(&format!("{once} unreachable"));
    let completion = run(&text, "{}", WIDE, Arc::new(NoDoor));
    assert_eq!(completion.outcome(), Outcome::Trap);
    assert_eq!(completion.logs.lines.len(), 1);
    assert_eq!(completion.logs.lines[0].message.len(), Logs::MAX_LINE_BYTES);
    assert!(completion.logs.cut);

    let limits = Limits { duration: Duration::from_millis(300), ..WIDE };
    let forever =
        run(&guest(&format!("(loop $l {once} (br $l)) unreachable")), "{}", limits, Arc::new(NoDoor));
    assert_eq!(forever.outcome(), Outcome::Timeout);
    let bytes: usize = forever.logs.lines.iter().map(|line| line.message.len()).sum();
    assert_eq!((bytes, forever.logs.cut), (Logs::MAX_BYTES, true));
}

#[test]
fn a_pointer_to_nowhere_ends_the_run() {
    let is = |function: &str, length: u32, pointer: u32| {
        format!(
            "`{function}` was given {length} bytes at {pointer}, which is not within the 65536 bytes of memory"
        )
    };
    let levels = "`host_log` takes the levels 0 (debug), 1 (info), 2 (warn) and 3 (error)";
    let cases = [
        ("(call $read_record (i32.const 65535) (i32.const 2))", is("host_read_record", 2, 65_535)),
        ("(call $read_blob (i32.const -1) (i32.const 2))", is("host_read_blob", 2, u32::MAX)),
        ("(call $list_collection (i32.const 8) (i32.const -1))", is("host_list_collection", u32::MAX, 8)),
        ("(call $log (i32.const 1) (i32.const 65537) (i32.const 0)) i64.const 0", is("host_log", 0, 65_537)),
        ("(call $log (i32.const 1) (i32.const 1) (i32.const 65536)) i64.const 0", is("host_log", 65_536, 1)),
        ("(call $log (i32.const 4) (i32.const 0) (i32.const 1)) i64.const 0", levels.into()),
        ("(call $log (i32.const -1) (i32.const 0) (i32.const 1)) i64.const 0", levels.into()),
    ];
    for (body, message) in cases {
        let completion = run(&guest(body), "{}", WIDE, Arc::new(NoDoor));
        assert_eq!(completion.result, Err(Failure { outcome: Outcome::Trap, message }));
    }
    // At the very end there is room for nothing, which is no JSON.
    let edge =
        run(&guest("(call $read_record (i32.const 65536) (i32.const 0))"), "{}", WIDE, Arc::new(NoDoor));
    assert_eq!(output(&edge)["ok"], json!(false));
}

#[test]
fn the_host_may_be_called_from_anywhere_else() {
    // From the start function, which finds its own exports, and from `alloc` for the input.
    let text = format!(
        r#"(module {IMPORTS} (memory (export "memory") 1) (data (i32.const 8) "{{}}") (global $inner (mut i32) (i32.const 0))
             (func (export "alloc") (param $length i32) (result i32)
               (if (i32.eqz (global.get $inner))
                 (then
                   (global.set $inner (i32.const 1))
                   (drop (call $read_record (i32.const 8) (i32.const 2)))
                   (call $log (i32.const 1) (i32.const 2048) (i32.const 11))
                   (global.set $inner (i32.const 0))))
               (i32.const 2048))
             (func (export "run") (param $pointer i32) (param $length i32) (result i64)
               (i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32)) (i64.const 2)))
             (func $start
               (global.set $inner (i32.const 1))
               (drop (call $get_context))
               (call $log (i32.const 2) (i32.const 2048) (i32.const 1))
               (global.set $inner (i32.const 0)))
             (start $start))"#
    );
    let completion = run(&text, "[]", WIDE, Arc::new(NoDoor));
    assert_eq!(completion.result, Ok(Bytes::from("[]")));
    let said: Vec<_> = completion.logs.lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(said, ["{", "{\"error\":\"t"]);
}

#[test]
fn a_door_that_panics_costs_its_own_run_only() {
    let harness = shared();
    let artifact = harness.wat_as(Mode::HostV1, &asking("read_record"));
    let broken = Job { door: Arc::new(Broken), ..job(&artifact, RECORD, WIDE) };
    let lost = harness.runtime.block_on(harness.sandbox.run(broken, Lease::none())).unwrap_err();
    assert_eq!(lost, at_functions::sandbox::Lost::Internal("the run panicked".into()));
    let fine = harness.run_job(Job { door: Scripted::new(|_| Ok(record())), ..job(&artifact, RECORD, WIDE) });
    assert_eq!(fine.outcome(), Outcome::Ok);
}
