//! What a component finds behind WASI 0.2: nothing, and time that stands still.

use std::time::Instant;

use super::*;

/// Imports of `wasi:io`, with the functions that the probes use. The patch versions differ on purpose.
const IO: &str = r#"
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/poll@0.2.3" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable-type))
  (import "wasi:io/streams@0.2.12" (instance $streams
    (alias outer 1 $error-type (type $error'))
    (export "error" (type $error (eq $error')))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "input-stream" (type $input-stream (sub resource)))
    (export "output-stream" (type $output-stream (sub resource)))
    (export "[method]input-stream.blocking-read" (func (param "self" (borrow $input-stream)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.check-write" (func (param "self" (borrow $output-stream))
      (result (result u64 (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $output-stream))
      (param "contents" (list u8)) (result (result (error $stream-error)))))
    (export "[method]output-stream.write-zeroes" (func (param "self" (borrow $output-stream)) (param "len" u64)
      (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input-stream-type))
  (alias export $streams "output-stream" (type $output-stream-type))
  (import "wasi:cli/stdin@0.2.3" (instance $stdin
    (alias outer 1 $input-stream-type (type $input-stream'))
    (export "input-stream" (type $input-stream (eq $input-stream')))
    (export "get-stdin" (func (result (own $input-stream))))))
  (import "wasi:cli/stdout@0.2.99" (instance $stdout
    (alias outer 1 $output-stream-type (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stdout" (func (result (own $output-stream))))))
  (import "wasi:cli/stderr@0.2.1" (instance $stderr
    (alias outer 1 $output-stream-type (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stderr" (func (result (own $output-stream))))))
  (import "wasi:clocks/monotonic-clock@0.2.2" (instance $monotonic
    (alias outer 1 $pollable-type (type $pollable'))
    (export "pollable" (type $pollable (eq $pollable')))
    (export "now" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $pollable))))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
"#;

pub(super) const WRITE: (&str, &str, &str) =
    ("write", "(param i32 i32 i32 i32)", "$streams \"[method]output-stream.blocking-write-and-flush\"");
pub(super) const STDOUT: (&str, &str, &str) = ("stdout", "(result i32)", "$stdout \"get-stdout\"");
const STDERR: (&str, &str, &str) = ("stderr", "(result i32)", "$stderr \"get-stderr\"");
const NOW: (&str, &str, &str) = ("now", "(result i64)", "$monotonic \"now\"");
const SLEEP: (&str, &str, &str) = ("sleep", "(param i64) (result i32)", "$monotonic \"subscribe-duration\"");
const UNTIL: (&str, &str, &str) = ("until", "(param i64) (result i32)", "$monotonic \"subscribe-instant\"");
const BLOCK: (&str, &str, &str) = ("block", "(param i32)", "$poll \"[method]pollable.block\"");
const READY: (&str, &str, &str) = ("ready", "(param i32) (result i32)", "$poll \"[method]pollable.ready\"");
const POLL: (&str, &str, &str) = ("poll", "(param i32 i32 i32)", "$poll \"poll\"");

/// A program with the imports above.
pub(super) fn program(host: &[(&str, &str, &str)], run: &str) -> String {
    Program { imports: IO, host, run, ..Program::default() }.text()
}

/// A program that sleeps, and then answers with 1.
pub(super) fn sleeper(more_fields: &str, time: Duration) -> String {
    let run =
        format!("(call $block (call $sleep (i64.const {}))) {}", time.as_nanos(), digit("(i32.const 1)"));
    Program {
        imports: &format!("{IO} {more_fields}"),
        host: &[SLEEP, BLOCK],
        run: &run,
        ..Program::default()
    }
    .text()
}

#[test]
fn there_is_nothing_to_find() {
    // What is called writes its result at 128, where there are nines before.
    let fields = "(data (i32.const 128) \"\\09\\00\\00\\00\\09\\00\\00\\00\\09\\00\\00\\00\")";
    let byte = |place: u32| digit(&format!("(i32.load8_u (i32.const {place}))"));
    let environment = r#"(import "wasi:cli/environment@0.2.0" (instance $environment
        (export "get-environment" (func (result (list (tuple string string)))))
        (export "get-arguments" (func (result (list string))))
        (export "initial-cwd" (func (result (option string))))))"#;
    let terminal = r#"(import "wasi:cli/terminal-output@0.2.0" (instance $terminal
          (export "terminal-output" (type (sub resource)))))
        (alias export $terminal "terminal-output" (type $terminal-type))
        (import "wasi:cli/terminal-stdout@0.2.0" (instance $terminal-stdout
          (alias outer 1 $terminal-type (type $terminal'))
          (export "terminal-output" (type $terminal (eq $terminal')))
          (export "get-terminal-stdout" (func (result (option (own $terminal)))))))"#;
    let files = r#"(import "wasi:filesystem/types@0.2.3" (instance $types
          (export "descriptor" (type (sub resource)))))
        (alias export $types "descriptor" (type $descriptor-type))
        (import "wasi:filesystem/preopens@0.2.3" (instance $preopens
          (alias outer 1 $descriptor-type (type $descriptor'))
          (export "descriptor" (type $descriptor (eq $descriptor')))
          (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))"#;
    let sockets = r#"(import "wasi:sockets/network@0.2.0" (instance $network
          (export "network" (type (sub resource)))
          (type $code' (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
            "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
            "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
            "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
            "permanent-resolver-failure"))
          (export "error-code" (type (eq $code')))
          (type $family' (enum "ipv4" "ipv6"))
          (export "ip-address-family" (type (eq $family')))))
        (alias export $network "network" (type $network-type))
        (alias export $network "error-code" (type $code-type))
        (alias export $network "ip-address-family" (type $family-type))
        (import "wasi:sockets/instance-network@0.2.0" (instance $instance-network
          (alias outer 1 $network-type (type $network'))
          (export "network" (type $network (eq $network')))
          (export "instance-network" (func (result (own $network))))))
        (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
        (alias export $tcp "tcp-socket" (type $tcp-type))
        (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $tcp-create
          (alias outer 1 $tcp-type (type $tcp'))
          (export "tcp-socket" (type $tcp (eq $tcp')))
          (alias outer 1 $code-type (type $code'))
          (export "error-code" (type $code (eq $code')))
          (alias outer 1 $family-type (type $family'))
          (export "ip-address-family" (type $family (eq $family')))
          (export "create-tcp-socket" (func (param "address-family" $family)
            (result (result (own $tcp) (error $code)))))))
        (import "wasi:sockets/udp@0.2.0" (instance $udp (export "udp-socket" (type (sub resource)))))
        (alias export $udp "udp-socket" (type $udp-type))
        (import "wasi:sockets/udp-create-socket@0.2.0" (instance $udp-create
          (alias outer 1 $udp-type (type $udp'))
          (export "udp-socket" (type $udp (eq $udp')))
          (alias outer 1 $code-type (type $code'))
          (export "error-code" (type $code (eq $code')))
          (alias outer 1 $family-type (type $family'))
          (export "ip-address-family" (type $family (eq $family')))
          (export "create-udp-socket" (func (param "address-family" $family)
            (result (result (own $udp) (error $code)))))))
        (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
          (alias outer 1 $network-type (type $network'))
          (export "network" (type $network (eq $network')))
          (alias outer 1 $code-type (type $code'))
          (export "error-code" (type $code (eq $code')))
          (export "resolve-address-stream" (type $stream (sub resource)))
          (export "resolve-addresses" (func (param "network" (borrow $network)) (param "name" string)
            (result (result (own $stream) (error $code)))))))"#;
    let calls = "(call $f (i32.const 128))";
    let list = ("f", "(param i32)");
    let create = "(call $f (i32.const 1) (i32.const 128))";
    let created = ("f", "(param i32 i32)");
    // Result or option at 128, what is in it at 132; of lists, the length is at 132.
    let cases = [
        ("environment", environment, list, "$environment \"get-environment\"", calls, byte(132), "0"),
        ("arguments", environment, list, "$environment \"get-arguments\"", calls, byte(132), "0"),
        ("cwd", environment, list, "$environment \"initial-cwd\"", calls, byte(128), "0"),
        ("terminal", terminal, list, "$terminal-stdout \"get-terminal-stdout\"", calls, byte(128), "0"),
        ("directories", files, list, "$preopens \"get-directories\"", calls, byte(132), "0"),
        ("tcp", sockets, created, "$tcp-create \"create-tcp-socket\"", create, byte(128), "1"),
        ("tcp is denied", sockets, created, "$tcp-create \"create-tcp-socket\"", create, byte(132), "1"),
        ("udp", sockets, created, "$udp-create \"create-udp-socket\"", create, byte(128), "1"),
        ("udp is denied", sockets, created, "$udp-create \"create-udp-socket\"", create, byte(132), "1"),
    ];
    for (name, imports, (function, signature), lower, call, answer, expected) in cases {
        let host = [(function, signature, lower)];
        let run = format!("{call} {answer}");
        let text = Program { imports, host: &host, fields, run: &run, ..Program::default() }.text();
        assert_eq!(super::run(&text, "{}", WIDE).result, Ok(Bytes::from(expected)), "{name}");
    }
    let host = [
        ("network", "(result i32)", "$instance-network \"instance-network\""),
        ("f", "(param i32 i32 i32 i32)", "$lookup \"resolve-addresses\""),
    ];
    let run = format!(
        "(call $f (call $network) (local.get $pointer) (local.get $length) (i32.const 128)) {}",
        byte(128)
    );
    let text = Program { imports: sockets, host: &host, fields, run: &run, ..Program::default() }.text();
    assert_eq!(super::run(&text, "plc.directory", WIDE).result, Ok(Bytes::from("1")));

    let stdin = ("stdin", "(result i32)", "$stdin \"get-stdin\"");
    let read = ("read", "(param i32 i64 i32)", "$streams \"[method]input-stream.blocking-read\"");
    for (place, expected) in [(128, "1"), (132, "1")] {
        let run = format!("(call $read (call $stdin) (i64.const 100) (i32.const 128)) {}", byte(place));
        let text = program(&[stdin, read], &run);
        assert_eq!(super::run(&text, "{}", WIDE).result, Ok(Bytes::from(expected)));
    }
}

#[test]
fn clocks_stand_still() {
    // Before and after sleeping 20 ms, and a million loops.
    let spin = "(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) \
                (br_if $l (i32.lt_u (local.get $i) (i32.const 1000000))))";
    let run = format!(
        "(local $before i64) {spin} (local.set $before (call $now)) (call $block (call $sleep (i64.const 20000000))) {}",
        digit("(i64.eq (local.get $before) (call $now))")
    );
    let artifact = compiled(&program(&[NOW, SLEEP, BLOCK], &run));
    let begun = Instant::now();
    assert_eq!(shared().run(&artifact, "{}", WIDE).result, Ok(Bytes::from("1")));
    // By the test's own clock: the guest's stopwatch leaves out the moments in which it was ready and had
    // no thread.
    assert!(begun.elapsed() >= Duration::from_millis(20), "{:?}", begun.elapsed());

    // The wall clock shows the run's start.
    let imports = r#"(import "wasi:clocks/wall-clock@0.2.3" (instance $clock
        (type $datetime' (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $datetime (eq $datetime')))
        (export "now" (func (result $datetime)))))"#;
    let run = format!(
        "(call $now (i32.const 128)) {}",
        digit(
            "(i32.and (i64.eq (i64.load (i32.const 128)) (i64.const 1800000000)) \
                (i32.eq (i32.load (i32.const 136)) (i32.const 123456789)))"
        )
    );
    let host = [("now", "(param i32)", "$clock \"now\"")];
    let text = Program { imports, host: &host, run: &run, ..Program::default() }.text();
    let context = Context { started: Duration::new(1_800_000_000, 123_456_789), ..Context::default() };
    let job = Job { context: Arc::new(context), ..job(&compiled(&text), "{}", WIDE) };
    assert_eq!(shared().run_job(job).result, Ok(Bytes::from("1")));
}

#[test]
fn sleeping_is_waiting_for_the_earliest() {
    // Two pollables, of 10 s and of 10 ms: the second is ready, and then the first is not.
    let run = format!(
        "(local $long i32) (local.set $long (call $sleep (i64.const 10000000000))) \
         (i32.store (i32.const 200) (local.get $long)) (i32.store (i32.const 204) (call $sleep (i64.const 10000000))) \
         (call $poll (i32.const 200) (i32.const 2) (i32.const 128)) {}",
        digit(
            "(i32.add (i32.add (i32.mul (i32.load (i32.const 132)) (i32.const 4)) \
                (i32.mul (i32.load (i32.load (i32.const 128))) (i32.const 2))) (call $ready (local.get $long)))"
        )
    );
    // One is ready, it is the one at index 1, and the other is not ready: 4 + 2 + 0.
    let completion = super::run(&program(&[SLEEP, POLL, READY], &run), "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("6")));
    // The first would take longer than the run may.
    assert!(completion.wall >= Duration::from_millis(5), "{:?}", completion.wall);

    // What is due has been slept already: this takes 300 ms and not 600.
    let run = format!(
        "(local $end i64) (local.set $end (i64.add (call $now) (i64.const 300000000))) \
         (call $block (call $until (local.get $end))) (call $block (call $until (local.get $end))) {}",
        digit("(call $ready (call $until (local.get $end)))")
    );
    let program = program(&[NOW, UNTIL, BLOCK, READY], &run);
    within(Duration::from_millis(599), || {
        let completion = super::run(&program, "{}", WIDE);
        assert_eq!(completion.result, Ok(Bytes::from("1")));
        completion.wall
    });
}

#[test]
fn no_sleep_is_shorter_than_a_tick() {
    // Else the thread that wakes would do more than the guest, and on nobody's account.
    let run = format!(
        "(local $naps i32) (loop $again (call $block (call $sleep (i64.const 20000))) \
           (local.set $naps (i32.add (local.get $naps) (i32.const 1))) \
           (br_if $again (i32.lt_u (local.get $naps) (i32.const 40)))) {}",
        digit("(i32.const 1)")
    );
    let completion = super::run(&program(&[SLEEP, BLOCK], &run), "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("1")));
    assert!(completion.wall >= Duration::from_millis(40), "{:?}", completion.wall);
}

#[test]
fn sleeping_ends_with_the_run() {
    let duration = Duration::from_millis(30);
    for nanos in [i64::MAX, -1, 60_000_000_000] {
        let run = format!("(call $block (call $sleep (i64.const {nanos}))) unreachable");
        let program = program(&[SLEEP, BLOCK], &run);
        within(duration + SLACK, || {
            let completion = super::run(&program, "{}", Limits { duration, ..WIDE });
            assert_eq!(completion.outcome(), Outcome::Timeout, "{nanos}");
            assert!(completion.wall >= duration, "{:?}", completion.wall);
            assert!(completion.usage.cpu < duration, "{:?}", completion.usage.cpu);
            completion.wall
        });
    }
}

#[test]
fn waiting_for_nothing_is_the_guests_mistake() {
    let run = "(call $poll (i32.const 0) (i32.const 0) (i32.const 128)) unreachable";
    let completion = super::run(&program(&[POLL], run), "{}", WIDE);
    assert_eq!(completion.outcome(), Outcome::Trap);
    assert!(failed(&completion).message.starts_with("`poll` needs something to wait for, in "));
}

const RANDOM: &str = r#"
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure@0.2.0" (instance $insecure
    (export "get-insecure-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))"#;

#[test]
fn random_differs_between_runs_and_what_is_insecure_does_not() {
    // As a text of 16 letters.
    let letters = format!(
        "(i64.store (i32.const 1024) (i64.or (i64.const 0x4040404040404040) \
           (i64.and (local.get $bits) (i64.const 0x0f0f0f0f0f0f0f0f)))) \
         (i64.store (i32.const 1032) (i64.or (i64.const 0x4040404040404040) \
           (i64.and (i64.shr_u (local.get $bits) (i64.const 4)) (i64.const 0x0f0f0f0f0f0f0f0f)))) {}",
        result(0, 1024, 16)
    );
    let u64s = "(result i64)";
    let bytes = "(param i64 i32)";
    let call_bytes =
        "(call $f (i64.const 8) (i32.const 128)) (local.set $bits (i64.load (i32.load (i32.const 128))))";
    let cases = [
        (u64s, "$random \"get-random-u64\"", "(local.set $bits (call $f))", true),
        (bytes, "$random \"get-random-bytes\"", call_bytes, true),
        (u64s, "$insecure \"get-insecure-random-u64\"", "(local.set $bits (call $f))", false),
        (bytes, "$insecure \"get-insecure-random-bytes\"", call_bytes, false),
        (
            "(param i32)",
            "$seed \"insecure-seed\"",
            "(call $f (i32.const 128)) (local.set $bits (i64.load (i32.const 128)))",
            false,
        ),
    ];
    for (signature, lower, call, differs) in cases {
        let run = format!("(local $bits i64) {call} {letters}");
        let host = [("f", signature, lower)];
        let text = Program { imports: RANDOM, host: &host, run: &run, ..Program::default() }.text();
        let artifact = compiled(&text);
        let results = [(); 2].map(|()| shared().run(&artifact, "{}", WIDE).result.unwrap());
        assert_eq!(results[0] != results[1], differs, "{lower}: {results:?}");
        assert_ne!(results[0], Bytes::from(format!("\"{}\"", "@".repeat(16))), "{lower}");
    }
}

#[test]
fn there_is_little_random() {
    for function in ["$random \"get-random-bytes\"", "$insecure \"get-insecure-random-bytes\""] {
        let host = [("bytes", "(param i64 i32)", function)];
        let asking = |amounts: &[u64]| {
            let calls: String = amounts
                .iter()
                .map(|bytes| format!("(call $bytes (i64.const {}) (i32.const 128))", *bytes as i64))
                .collect();
            let run = format!("{calls} {}", digit("(i32.const 1)"));
            Program { imports: RANDOM, host: &host, run: &run, ..Program::default() }.text()
        };
        for amounts in [&[0][..], &[65_536], &[1, 65_535], &[30_000, 30_000, 5_536]] {
            assert_eq!(run(&asking(amounts), "{}", WIDE).result, Ok(Bytes::from("1")), "{amounts:?}");
        }
        for amounts in [&[65_537][..], &[1, 65_536], &[u64::MAX], &[1 << 63]] {
            let completion = run(&asking(amounts), "{}", WIDE);
            assert_eq!(completion.outcome(), Outcome::Trap, "{amounts:?}");
            let message = &failed(&completion).message;
            assert!(message.starts_with("a run may have 65536 random bytes, and no more, in "), "{message}");
        }
    }
}

#[test]
fn who_exits_has_not_answered() {
    let imports = r#"(import "wasi:cli/exit@0.2.12" (instance $exit
        (export "exit" (func (param "status" (result))))
        (export "exit-with-code" (func (param "status-code" u8)))))"#;
    let cases = [("exit", 0, 0), ("exit", 1, 1), ("exit-with-code", 7, 7), ("exit-with-code", 0, 0)];
    for (function, status, code) in cases {
        let host = [("exit", "(param i32)", &*format!("$exit \"{function}\""))];
        let run = format!("(call $exit (i32.const {status})) unreachable");
        let text = Program { imports, host: &host, run: &run, ..Program::default() }.text();
        let message = format!("the function exited with code {code} before it answered (wasi:cli/exit)");
        let completion = super::run(&text, "{}", WIDE);
        assert_eq!(completion.result, Err(Failure { outcome: Outcome::GuestError, message }));
    }
}

#[test]
fn what_is_written_are_lines_of_the_log() {
    let write = |stream: &str| {
        format!("(call $write (call ${stream}) (local.get $pointer) (local.get $length) (i32.const 128))")
    };
    let run = format!("{} {} {}", write("stdout"), write("stderr"), digit("(i32.load8_u (i32.const 128))"));
    let text = program(&[STDOUT, STDERR, WRITE], &run);
    let completion = super::run(&text, "one\ntw\u{f6}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("0")));
    let line = |level, message: &str| LogLine { level, message: message.into() };
    assert_eq!(
        completion.logs.lines,
        [
            line(LogLevel::Info, "one"),
            line(LogLevel::Warn, "one"),
            line(LogLevel::Info, "tw\u{f6}"),
            line(LogLevel::Warn, "tw\u{f6}")
        ]
    );
    assert!(!completion.logs.cut);

    // What was written before a trap is not lost.
    let run = format!("{} unreachable", write("stderr"));
    let completion = super::run(&program(&[STDERR, WRITE], &run), "panicked", WIDE);
    assert_eq!(completion.outcome(), Outcome::Trap);
    assert_eq!(completion.logs.lines, [line(LogLevel::Warn, "panicked")]);
}

#[test]
fn a_hundred_megabytes_of_output_cost_a_few_lines() {
    for fill in ["0x61", "0x0a"] {
        let run = format!(
            "(local $i i32) (local $out i32) (local.set $out (call $stdout)) \
             (local.set $pointer (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1000000))) \
             (memory.fill (local.get $pointer) (i32.const {fill}) (i32.const 1000000)) \
             (loop $more \
               (call $write (local.get $out) (local.get $pointer) (i32.const 1000000) (i32.const 128)) \
               (local.set $i (i32.add (local.get $i) (i32.const 1))) \
               (br_if $more (i32.lt_u (local.get $i) (i32.const 100)))) {}",
            digit("(i32.const 1)")
        );
        let completion = super::run(&program(&[STDOUT, WRITE], &run), "{}", WIDE);
        assert_eq!(completion.result, Ok(Bytes::from("1")), "{fill}");
        assert!(completion.logs.cut);
        let kept: usize = completion.logs.lines.iter().map(|line| line.message.len()).sum();
        assert!(kept <= 4096 && completion.logs.lines.len() <= 256, "{kept}");
    }
    // Zeros that nobody has to send.
    let zeroes = ("zeroes", "(param i32 i64 i32)", "$streams \"[method]output-stream.write-zeroes\"");
    let run = format!(
        "(call $zeroes (call $stdout) (i64.const -1) (i32.const 128)) {}",
        digit("(i32.load8_u (i32.const 128))")
    );
    let completion = super::run(&program(&[STDOUT, zeroes], &run), "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("0")));
    assert!(completion.logs.cut);
}
