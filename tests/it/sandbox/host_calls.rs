//! What guests of `host-v1` ask for, and what they get.

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

/// A guest whose `alloc` does something else from its second call on, which is for a reply.
fn second_alloc(then: &str) -> String {
    format!(
        r#"(module {IMPORTS} (memory (export "memory") 1) (global $calls (mut i32) (i32.const 0))
             (func (export "alloc") (param $length i32) (result i32)
               (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
               (if (i32.eq (global.get $calls) (i32.const 1)) (then (return (i32.const 1024))))
               {then})
             (func $run (export "run") (param $pointer i32) (param $length i32) (result i64)
               (call $read_record (local.get $pointer) (local.get $length))))"#
    )
}

#[test]
fn a_reply_goes_where_alloc_says_and_nowhere_else() {
    let reply = r#"{"ok":true,"record":{"n":1},"cid":"bafy"}"#;
    let length = reply.len();
    let door = || Scripted::new(|_| Ok(record()));
    let places = [
        ("i32.const 4096".to_owned(), true),
        (format!("i32.const {}", 65_536 - length), true),
        // Over the request: it has been read.
        ("i32.const 1024".into(), true),
        ("(drop (memory.grow (i32.const 1))) i32.const 65536".into(), true),
        ("i32.const 0".into(), false),
        ("i32.const -1".into(), false),
        ("i32.const 0x80000000".into(), false),
        (format!("i32.const {}", 65_536 - length + 1), false),
    ];
    for (then, fits) in places {
        let completion = run(&second_alloc(&then), RECORD, WIDE, door());
        if fits {
            assert_eq!(completion.result, Ok(Bytes::from(reply)), "{then}");
        } else {
            let message = &failed(&completion).message;
            assert_eq!(completion.outcome(), Outcome::OutputInvalid, "{then}");
            assert!(
                message.starts_with(&format!("`alloc({length})` returned "))
                    && message.ends_with(
                        ", which is no place for the reply of `host_read_record` in 65536 bytes of memory"
                    ),
                "{message}"
            );
        }
    }
}

#[test]
fn an_alloc_that_misbehaves_while_the_host_waits_ends_the_run() {
    let quick = Limits { duration: Duration::from_millis(30), ..WIDE };
    let again = "`alloc` called `host_read_record` while the host waited for it to place a reply";
    let cases = [
        (
            "loops",
            "(loop $l (br $l)) unreachable",
            Outcome::Timeout,
            "the function did not finish within 30 ms (maxDurationMs)",
        ),
        (
            "traps",
            "unreachable",
            Outcome::Trap,
            "wasm `unreachable` instruction executed, in function 5 < run",
        ),
        (
            "calls the host again",
            "(drop (call $read_record (i32.const 1024) (i32.const 2))) i32.const 4096",
            Outcome::Trap,
            again,
        ),
        (
            "asks for the context",
            "(drop (call $get_context)) i32.const 4096",
            Outcome::Trap,
            "`alloc` called `host_get_context` while the host waited for it to place a reply",
        ),
        (
            "recurses through run",
            "(drop (call $run (i32.const 1024) (i32.const 2))) i32.const 4096",
            Outcome::Trap,
            again,
        ),
    ];
    for (name, then, outcome, message) in cases {
        let door = Scripted::new(|_| Ok(record()));
        let limits = if outcome == Outcome::Timeout { quick } else { WIDE };
        let completion = run(&second_alloc(then), RECORD, limits, door.clone());
        assert_eq!(completion.result, Err(Failure { outcome, message: message.into() }), "{name}");
        assert_eq!(door.asked().len(), 1, "{name}");
    }
    // What has no reply is harmless, and so is another call once the reply is there.
    let logs = second_alloc("(call $log (i32.const 0) (i32.const 1024) (i32.const 1)) i32.const 4096");
    let completion = run(&logs, RECORD, WIDE, Scripted::new(|_| Ok(record())));
    assert_eq!((completion.outcome(), completion.logs.lines.len()), (Outcome::Ok, 1));
}

#[test]
fn as_many_replies_are_placed_at_once_as_there_are_slots() {
    // Each run is in a host call of `run`, and therein in `alloc`: two stacks.
    let harness = harness(2, 4);
    let artifact = harness.wat_as(Mode::HostV1, &second_alloc("(loop $l (br $l)) unreachable"));
    // Long enough for the last to begin while the first still spins.
    let limits = Limits { duration: Duration::from_millis(500), ..WIDE };
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let job = Job { door: Scripted::new(|_| Ok(record())), ..job(&artifact, RECORD, limits) };
            harness.runtime.spawn(harness.sandbox.run(job, Lease::none()))
        })
        .collect();
    let mut most = 0;
    until(|| {
        most = most.max(harness.sandbox.load().stacks);
        runs.iter().all(|run| run.is_finished())
    });
    for run in runs {
        let completion = harness.runtime.block_on(run).unwrap().unwrap();
        assert_eq!(completion.outcome(), Outcome::Timeout);
    }
    assert_eq!((most, harness.sandbox.load().stacks), (stacks(8), 0));
}

#[test]
fn a_run_that_is_canceled_while_it_places_a_reply_leaves_nothing() {
    let harness = harness(1, 4);
    let artifact = harness.wat_as(Mode::HostV1, &second_alloc("(loop $l (br $l)) unreachable"));
    let (gone, all_gone) = std::sync::mpsc::channel::<()>();
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let job = Job { door: Scripted::new(|_| Ok(record())), ..job(&artifact, RECORD, ENDLESS) };
            harness.runtime.spawn(harness.sandbox.run(job, Lease::holding(gone.clone())))
        })
        .collect();
    drop(gone);
    let under_way = |load: at_functions::sandbox::Load| load.stacks == stacks(4) && load.instances == instances(2, 1);
    until(|| under_way(harness.sandbox.load()));
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    let end = all_gone.recv_timeout(PATIENCE);
    assert_eq!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    let load = harness.sandbox.load();
    assert_eq!((load.instances, load.stacks), (0, 0));
}

#[test]
fn a_reply_larger_than_all_memory_is_not_kept_for_the_guest() {
    let blob = |bytes| {
        Scripted::new(move |_| {
            Ok(HostReply::Blob { mime_type: String::new(), bytes: Bytes::from(vec![0; bytes]) })
        })
    };
    let limits = Limits { memory_bytes: MIB, ..WIDE };
    // Wherever `alloc` says, it would not fit; and this one would keep the host waiting.
    let spins =
        second_alloc("(loop $l (br $l)) unreachable").replace("(call $read_record", "(call $read_blob");
    let request = r#"{"cid":"bafk"}"#;
    let quick = Limits { duration: Duration::from_millis(30), ..limits };
    assert_eq!(run(&spins, request, quick, blob(1 << 20)).outcome(), Outcome::Timeout);
    let completion = run(&spins, request, limits, blob((1 << 20) + 1));
    let message = "the function asked for more than its 1 MiB of memory (maxMemoryMb): a host call brought 1048577 bytes";
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::MemoryExceeded, message: message.into() }));
}

#[test]
fn a_wrong_pointer_after_a_refused_growth_is_too_much_memory() {
    // As programs do that take what `malloc` gave without a look.
    let text = guest("(call $read_record (memory.grow (i32.const 1000)) (local.get $length))");
    let completion = run(&text, "{}", Limits { memory_bytes: MIB, ..WIDE }, Arc::new(NoDoor));
    let message = "the function asked for more than its 1 MiB of memory (maxMemoryMb): `host_read_record` was given 2 bytes \
                   at 4294967295, which is not within the 65536 bytes of memory";
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::MemoryExceeded, message: message.into() }));
}

#[test]
fn memory_that_does_not_suffice_for_a_reply_is_told_as_such() {
    let big = || {
        Scripted::new(|_| {
            Ok(HostReply::Blob { mime_type: "a/b".into(), bytes: Bytes::from(vec![0xff; 3 << 20]) })
        })
    };
    let request = r#"{"cid":"bafk"}"#;
    let limits = Limits { output_bytes: 10 << 20, ..WIDE };
    let fits = run(&asking("read_blob"), request, limits, big());
    assert_eq!(output(&fits)["bytesBase64"].as_str().unwrap(), "/".repeat(4 << 20));
    let tight = run(&asking("read_blob"), request, Limits { memory_bytes: 4 * MIB, ..limits }, big());
    assert_eq!(
        tight.result,
        Err(Failure {
            outcome: Outcome::MemoryExceeded,
            message: "the function asked for more than its 4 MiB of memory (maxMemoryMb): `alloc` found no room for \
                      the reply of `host_read_blob`"
                .into()
        })
    );
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
fn calls_are_counted_and_bounded() {
    let times = |times: u32| {
        guest(&format!(
            "(local $i i32) (local $last i64) (loop $l \
               (local.set $last (call $read_record (local.get $pointer) (local.get $length))) \
               (local.set $i (i32.add (local.get $i) (i32.const 1))) \
               (br_if $l (i32.lt_u (local.get $i) (i32.const {times})))) (local.get $last)"
        ))
    };
    let limits = Limits { host_calls: 3, ..WIDE };
    let door = Scripted::new(|_| Ok(record()));
    let three = run(&times(3), RECORD, limits, door.clone());
    assert_eq!((three.outcome(), three.usage.host_calls, door.asked().len()), (Outcome::Ok, 3, 3));
    // A million, of which the limit's number is made.
    for limits in [limits, WIDE] {
        let many = run(&times(1_000_000), RECORD, limits, door.clone());
        let message = format!("the function made more than {} host calls", limits.host_calls);
        assert_eq!(many.result, Err(Failure { outcome: Outcome::HostCallLimit, message }));
        assert_eq!(many.usage.host_calls, limits.host_calls);
        assert_eq!(door.asked().len(), limits.host_calls as usize);
    }
}

#[test]
fn what_calls_bring_in_is_bounded_all_together() {
    let blob = |bytes: usize| {
        Scripted::new(move |_| {
            Ok(HostReply::Blob { mime_type: "a/b".into(), bytes: Bytes::from(vec![0; bytes]) })
        })
    };
    let twice = guest(
        "(drop (call $read_blob (local.get $pointer) (local.get $length))) \
         (call $read_blob (local.get $pointer) (local.get $length))",
    );
    let limits = Limits { host_bytes: MIB, ..WIDE };
    let request = r#"{"cid":"bafk"}"#;
    let half = run(&twice, request, limits, blob((512 << 10) - 3));
    assert_eq!(half.outcome(), Outcome::Ok);
    let more = run(&twice, request, limits, blob((512 << 10) - 2));
    let message = "the function's host calls brought in more than 1 MiB";
    assert_eq!(more.result, Err(Failure { outcome: Outcome::HostCallLimit, message: message.into() }));
    assert_eq!(more.usage.host_calls, 2);
}

#[test]
fn calls_that_never_reach_the_door_cost_the_guest_its_own_time() {
    let limits = Limits { duration: Duration::from_millis(50), ..WIDE };
    let at_a_fixed_place = |body: &str| {
        format!(
            r#"(module {IMPORTS} (memory (export "memory") 1)
                 (func (export "alloc") (param i32) (result i32) i32.const 1024)
                 (func (export "run") (param i32 i32) (result i64) (loop $l {body} (br $l)) unreachable))"#
        )
    };
    for body in ["(drop (call $read_record (i32.const 0) (i32.const 9)))", "(drop (call $get_context))"] {
        let completion = run(&at_a_fixed_place(body), "{}", limits, Arc::new(Broken));
        assert_eq!(completion.outcome(), Outcome::Timeout, "{body}");
        assert_eq!(completion.usage.host_calls, 0);
    }
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

#[test]
fn a_memory_that_alloc_grows_is_looked_at_anew() {
    // Each reply needs a page of its own; the base may move.
    let door = Scripted::new(|_| {
        Ok(HostReply::Record { cid: "bafy".into(), value: format!("\"{}\"", "x".repeat(65_000)).into() })
    });
    let text = guest(
        "(local $i i32) (local $last i64) (loop $l \
           (local.set $last (call $read_record (local.get $pointer) (local.get $length))) \
           (local.set $i (i32.add (local.get $i) (i32.const 1))) \
           (br_if $l (i32.lt_u (local.get $i) (i32.const 100)))) (local.get $last)",
    );
    let completion = run(&text, RECORD, WIDE, door);
    assert_eq!(output(&completion)["record"].as_str().unwrap().len(), 65_000);
    assert!(completion.usage.peak_memory_bytes > 6_500_000);
    assert!(BUMP.contains("memory.grow"));
}
