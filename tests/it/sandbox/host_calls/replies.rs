//! Where a reply goes: into the guest's memory, by the guest's own `alloc`.

use super::*;

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
