//! Standard streams: the input, the output and the log.

use super::*;

/// Reads all of stdin in pieces of `$piece` bytes, and writes each to stdout.
fn cat(piece: u32) -> String {
    command(
        "",
        &format!(
            "(loop $next \
               (call $buffer (i32.const 65536) (i32.const {piece})) \
               (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)) \
               (if (i32.load (i32.const 8)) (then \
                 (if (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 8))) (then unreachable)) \
                 (br $next))))"
        ),
    )
}

#[test]
fn stdin_is_the_input_and_stdout_the_output() {
    let long = format!("\"{}\"", "a".repeat(1024 * 1024 - 2));
    for (piece, input) in [(7, "{\"a\": [1, 2, 3], \"b\": \"\u{e9}\"}"), (65_536, "[]"), (65_536, &long)] {
        let completion = run(&cat(piece), input, WIDE);
        assert_eq!(completion.result, Ok(Bytes::copy_from_slice(input.as_bytes())));
        assert_eq!(completion.usage.output_bytes, input.len() as u64);
        assert_eq!(completion.logs, Logs::default());
    }
}

#[test]
fn what_is_on_stdout_must_be_one_value() {
    let print = |text: &str| {
        command(
            &format!("(data (i32.const 16) \"{text}\")"),
            &format!("(drop (call $write (i32.const 1) (i32.const 16) (i32.const {})))", text.len()),
        )
    };
    assert_eq!(run(&print(" 7 "), "{}", WIDE).result, Ok(Bytes::from("7")));
    for (text, message) in [
        ("", "the output is empty, where one JSON value is expected"),
        ("1 2", "the output is not one JSON value: trailing characters at line 1 column 3"),
    ] {
        let message = message.into();
        assert_eq!(
            run(&print(text), "{}", WIDE).result,
            Err(Failure { outcome: Outcome::OutputInvalid, message })
        );
    }
}

#[test]
fn stdout_is_cut_off_where_the_output_may_not_grow_further() {
    let limits = Limits { output_bytes: 100, ..WIDE };
    let fill = |length: u32| {
        command(
            "",
            &format!(
                "(memory.fill (i32.const 65536) (i32.const 0x31) (i32.const {length})) \
                 (drop (call $write (i32.const 1) (i32.const 65536) (i32.const {length})))"
            ),
        )
    };
    assert_eq!(run(&fill(100), "{}", limits).result, Ok(Bytes::from("1".repeat(100))));
    let message = "the output on stdout has more than 100 bytes, which are allowed";
    let too_large = Err(Failure { outcome: Outcome::OutputTooLarge, message: message.into() });
    assert_eq!(run(&fill(101), "{}", limits).result, too_large);
    // A hundred megabytes, in a thousand pieces; or in one, by buffers that overlap.
    let pieces = command(
        "",
        "(local $i i32) (loop $l \
           (drop (call $write (i32.const 1) (i32.const 65536) (i32.const 100000))) \
           (local.set $i (i32.add (local.get $i) (i32.const 1))) \
           (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))",
    );
    let buffers = command(
        "",
        "(local $i i32) (loop $l \
           (i32.store (i32.mul (local.get $i) (i32.const 8)) (i32.const 16384)) \
           (i32.store offset=4 (i32.mul (local.get $i) (i32.const 8)) (i32.const 100000)) \
           (local.set $i (i32.add (local.get $i) (i32.const 1))) \
           (br_if $l (i32.lt_u (local.get $i) (i32.const 1000)))) \
         (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1000) (i32.const 16000)))",
    );
    for text in [pieces, buffers] {
        let completion = run(&text, "{}", WIDE);
        assert_eq!(completion.outcome(), Outcome::OutputTooLarge);
        assert_eq!(completion.usage.output_bytes, 0);
    }
}

#[test]
fn buffers_are_checked_before_anything_is_written() {
    // Buffers at 16: one of two bytes at 64, one of one byte at 65.
    let fields = "(data (i32.const 16) \"\\40\\00\\00\\00\\02\\00\\00\\00\\41\\00\\00\\00\\01\\00\\00\\00\") (data (i32.const 64) \"ab\")";
    let cases = [
        ("(call $fd_write (i32.const 0) (i32.const 16) (i32.const 2) (i32.const 8))", BADF),
        ("(call $fd_write (i32.const 3) (i32.const 16) (i32.const 2) (i32.const 8))", BADF),
        ("(call $fd_write (i32.const 2) (i32.const 16) (i32.const 2) (i32.const 8))", OK),
        ("(i32.load (i32.const 8))", 3),
        ("(call $fd_write (i32.const 2) (i32.const 16) (i32.const 0) (i32.const 8))", OK),
        ("(i32.load (i32.const 8))", 0),
        ("(call $fd_write (i32.const 2) (i32.const 16) (i32.const 1025) (i32.const 8))", INVAL),
        ("(call $fd_write (i32.const 2) (i32.const 16) (i32.const -1) (i32.const 8))", INVAL),
        ("(call $fd_write (i32.const 2) (i32.const 196600) (i32.const 1) (i32.const 8))", OK),
        ("(call $fd_write (i32.const 2) (i32.const 196601) (i32.const 1) (i32.const 8))", FAULT),
        ("(call $fd_write (i32.const 2) (i32.const -8) (i32.const 1) (i32.const 8))", FAULT),
        ("(call $fd_write (i32.const 1) (i32.const 16) (i32.const 2) (i32.const 196605))", FAULT),
        ("(call $write (i32.const 1) (i32.const 196608) (i32.const 1))", FAULT),
        ("(call $write (i32.const 1) (i32.const -1) (i32.const -1))", FAULT),
        ("(call $fd_read (i32.const 1) (i32.const 16) (i32.const 2) (i32.const 8))", BADF),
        ("(call $fd_read (i32.const 0) (i32.const 16) (i32.const 2) (i32.const 196606))", FAULT),
        ("(call $fd_read (i32.const 0) (i32.const 196604) (i32.const 1) (i32.const 8))", FAULT),
        ("(call $fd_read (i32.const 0) (i32.const 16) (i32.const 1025) (i32.const 8))", INVAL),
        // Nothing was taken from stdin so far: `{"in":1}`, over two buffers that overlap.
        ("(call $fd_read (i32.const 0) (i32.const 16) (i32.const 2) (i32.const 8))", OK),
        ("(i32.load (i32.const 8))", 3),
        ("(i32.load16_u (i32.const 64))", u64::from(u16::from_le_bytes(*b"{i"))),
        ("(call $fd_close (i32.const 0))", OK),
        ("(call $fd_close (i32.const 0))", BADF),
        ("(call $fd_close (i32.const 3))", BADF),
        ("(call $fd_read (i32.const 0) (i32.const 16) (i32.const 2) (i32.const 8))", BADF),
        ("(call $fd_close (i32.const 2))", OK),
        ("(call $write (i32.const 2) (i32.const 64) (i32.const 1))", BADF),
    ];
    let body: String = cases.iter().map(|(ask, _)| format!("(call $number {ask})")).collect();
    let found = numbers(fields, &body);
    for (found, (ask, expected)) in found.iter().zip(cases) {
        assert_eq!(*found, expected, "{ask}");
    }
    // The output above has all numbers in it, so stdout took nothing of what was refused.
    assert_eq!(found.len(), cases.len());
}

#[test]
fn stderr_is_the_log_line_by_line() {
    let text = "one\\ntw\\ff\\r\\n\\n\\r\\nth";
    let body = "(drop (call $write (i32.const 2) (i32.const 16) (i32.const 14))) \
                (drop (call $write (i32.const 2) (i32.const 48) (i32.const 3))) (call $number (i32.const 1)) (call $print)";
    let fields = format!("(data (i32.const 16) \"{text}\") (data (i32.const 48) \"ree\")");
    let completion = run(&command(&fields, body), "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("[1]")));
    let lines: Vec<_> =
        completion.logs.lines.iter().map(|line| (line.level, line.message.as_str())).collect();
    assert_eq!(lines, [(LogLevel::Warn, "one"), (LogLevel::Warn, "tw\u{fffd}"), (LogLevel::Warn, "three")]);
    assert!(!completion.logs.cut);
}

#[test]
fn stderr_without_end_is_cut_and_costs_the_guest_its_own_time() {
    let limits = Limits { duration: Duration::from_millis(300), ..WIDE };
    let forever = |byte: u8, length: u32| {
        command(
            "",
            &format!(
                "(memory.fill (i32.const 65536) (i32.const {byte}) (i32.const {length})) \
                 (loop $l (drop (call $write (i32.const 2) (i32.const 65536) (i32.const {length}))) (br $l))"
            ),
        )
    };
    for (byte, length) in [(b'x', 131_072), (b'x', 1), (b'\n', 131_072)] {
        within(limits.duration + SLACK, || {
            let completion = run(&forever(byte, length), "{}", limits);
            assert_eq!(completion.outcome(), Outcome::Timeout);
            let kept: usize = completion.logs.lines.iter().map(|line| line.message.len()).sum();
            assert!(kept <= Logs::MAX_LINE_BYTES, "{kept}");
            completion.wall
        });
    }
    // Short lines without end: two bytes each, over and over.
    let lines = command(
        "(data (i32.const 16) \"a\\na\\na\\na\\n\")",
        "(local $i i32) \
         (loop $fill (memory.copy (i32.add (i32.const 65536) (local.get $i)) (i32.const 16) (i32.const 8)) \
           (local.set $i (i32.add (local.get $i) (i32.const 8))) (br_if $fill (i32.lt_u (local.get $i) (i32.const 65536)))) \
         (loop $l (drop (call $write (i32.const 2) (i32.const 65536) (i32.const 65536))) (br $l))",
    );
    within(limits.duration + SLACK, || {
        let completion = run(&lines, "{}", limits);
        assert_eq!(completion.outcome(), Outcome::Timeout);
        assert_eq!((completion.logs.lines.len(), completion.logs.cut), (Logs::MAX_LINES, true));
        completion.wall
    });
}

#[test]
fn stdout_that_was_closed_takes_nothing_more() {
    let text = command(
        "(data (i32.const 16) \"[7]8\")",
        "(drop (call $write (i32.const 1) (i32.const 16) (i32.const 3))) \
         (if (call $fd_close (i32.const 1)) (then unreachable)) \
         (if (i32.ne (call $write (i32.const 1) (i32.const 19) (i32.const 1)) (i32.const 8)) (then unreachable))",
    );
    assert_eq!(run(&text, "{}", WIDE).result, Ok(Bytes::from("[7]")));
}
