//! Commands of `wasi-v1`: what they can do, and what they look for and do not find.

use at_functions::sandbox::{Context, LogLevel, Logs};
use serde_json::Value;

use super::*;


/// Imports under their own names, a list of one buffer at 0, and a printer of numbers into a JSON list
/// that starts at 4096. The memory has three pages, so it ends at 196608.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_advise" (func $fd_advise (param i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_allocate" (func $fd_allocate (param i32 i64 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_datasync" (func $fd_datasync (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $fd_fdstat_set_flags (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_rights" (func $fd_fdstat_set_rights (param i32 i64 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_filestat_set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_sync" (func $fd_sync (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_tell" (func $fd_tell (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "wasi_snapshot_preview1" "proc_raise" (func $proc_raise (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_send" (func $sock_send (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_shutdown" (func $sock_shutdown (param i32 i32) (result i32)))
    (memory (export "memory") 3)
    (global $at (mut i32) (i32.const 4096))
    (func $byte (param i32)
      (i32.store8 (global.get $at) (local.get 0))
      (global.set $at (i32.add (global.get $at) (i32.const 1))))
    (func $digits (param i64)
      (if (i64.ge_u (local.get 0) (i64.const 10)) (then (call $digits (i64.div_u (local.get 0) (i64.const 10)))))
      (call $byte (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.const 10))))))
    (func $put (param i64)
      (call $byte (select (i32.const 91) (i32.const 44) (i32.eq (global.get $at) (i32.const 4096))))
      (call $digits (local.get 0)))
    (func $number (param i32) (call $put (i64.extend_i32_u (local.get 0))))
    (func $buffer (param $from i32) (param $length i32)
      (i32.store (i32.const 0) (local.get $from))
      (i32.store (i32.const 4) (local.get $length)))
    (func $write (param $fd i32) (param $from i32) (param $length i32) (result i32)
      (call $buffer (local.get $from) (local.get $length))
      (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (func $print
      (call $byte (i32.const 93))
      (drop (call $write (i32.const 1) (i32.const 4096) (i32.sub (global.get $at) (i32.const 4096)))))"#;

fn command(fields: &str, body: &str) -> String {
    format!("(module {PRELUDE} {fields} (func (export \"_start\") {body}))")
}

fn run(text: &str, input: &str, limits: Limits) -> Completion {
    let harness = shared();
    harness.run(&harness.wat_as(Mode::WasiV1, text), input, limits)
}

/// What a command prints that puts numbers out.
fn numbers(fields: &str, body: &str) -> Vec<u64> {
    let completion = run(&command(fields, &format!("{body} (call $print)")), "{\"in\":1}", WIDE);
    let output: Value = serde_json::from_slice(&completion.result.unwrap()).unwrap();
    output.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

const OK: u64 = 0;
const BADF: u64 = 8;
const FAULT: u64 = 21;
const INVAL: u64 = 28;
const IO: u64 = 29;
const NOSYS: u64 = 52;
const NOTDIR: u64 = 54;
const NOTSOCK: u64 = 57;
const NOTSUP: u64 = 58;
const SPIPE: u64 = 70;
const NOTCAPABLE: u64 = 76;

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
fn a_command_finds_nothing_of_the_world() {
    let cases: [(&str, u64); 49] = [
        // Neither arguments nor environment.
        ("(call $args_sizes_get (i32.const 16) (i32.const 20))", OK),
        ("(i32.load (i32.const 16))", 0),
        ("(i32.load (i32.const 20))", 0),
        ("(call $args_get (i32.const 0) (i32.const 0))", OK),
        ("(call $environ_sizes_get (i32.const 16) (i32.const 20))", OK),
        ("(i32.load (i32.const 16))", 0),
        ("(i32.load (i32.const 20))", 0),
        ("(call $environ_get (i32.const 0) (i32.const 0))", OK),
        ("(call $environ_sizes_get (i32.const 16) (i32.const -1))", FAULT),
        ("(call $args_sizes_get (i32.const 196605) (i32.const 16))", FAULT),
        // No directory, and nothing but the three descriptors.
        ("(call $fd_prestat_get (i32.const 0) (i32.const 16))", BADF),
        ("(call $fd_prestat_get (i32.const 3) (i32.const 16))", BADF),
        ("(call $fd_prestat_dir_name (i32.const 3) (i32.const 16) (i32.const 1))", BADF),
        ("(call $fd_fdstat_get (i32.const 3) (i32.const 16))", BADF),
        ("(call $fd_fdstat_get (i32.const -1) (i32.const 16))", BADF),
        ("(call $fd_filestat_get (i32.const 7) (i32.const 16))", BADF),
        ("(call $fd_filestat_get (i32.const 0) (i32.const 16))", OK),
        ("(call $fd_filestat_get (i32.const 0) (i32.const 196545))", FAULT),
        (
            "(call $fd_readdir (i32.const 0) (i32.const 16) (i32.const 16) (i64.const 0) (i32.const 8))",
            NOTDIR,
        ),
        ("(call $fd_readdir (i32.const 3) (i32.const 16) (i32.const 16) (i64.const 0) (i32.const 8))", BADF),
        (
            "(call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 0) (i64.const -1) \
              (i64.const -1) (i32.const 0) (i32.const 8))",
            BADF,
        ),
        (
            "(call $path_open (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 0) (i64.const -1) \
              (i64.const -1) (i32.const 0) (i32.const 8))",
            NOTDIR,
        ),
        ("(call $path_unlink_file (i32.const 3) (i32.const -1) (i32.const -1))", BADF),
        ("(call $path_symlink (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1))", BADF),
        // No sockets.
        ("(call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16))", BADF),
        ("(call $sock_accept (i32.const 0) (i32.const 0) (i32.const 16))", NOTSOCK),
        ("(call $sock_send (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8))", NOTSOCK),
        ("(call $sock_shutdown (i32.const 2) (i32.const 0))", NOTSOCK),
        // Streams do not seek, and cannot be changed.
        ("(call $fd_seek (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 16))", SPIPE),
        ("(call $fd_seek (i32.const 3) (i64.const 0) (i32.const 0) (i32.const 16))", BADF),
        ("(call $fd_tell (i32.const 1) (i32.const 16))", SPIPE),
        ("(call $fd_pread (i32.const 0) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))", SPIPE),
        ("(call $fd_advise (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0))", SPIPE),
        ("(call $fd_allocate (i32.const 1) (i64.const 0) (i64.const -1))", SPIPE),
        ("(call $fd_filestat_set_size (i32.const 1) (i64.const 0))", INVAL),
        ("(call $fd_fdstat_set_flags (i32.const 0) (i32.const 4))", NOTSUP),
        ("(call $fd_fdstat_set_rights (i32.const 0) (i64.const -1) (i64.const -1))", NOTCAPABLE),
        ("(call $fd_renumber (i32.const 0) (i32.const 1))", NOTSUP),
        ("(call $fd_renumber (i32.const 9) (i32.const 1))", BADF),
        ("(call $fd_sync (i32.const 1))", OK),
        ("(call $fd_datasync (i32.const 4))", BADF),
        // No processes.
        ("(call $proc_raise (i32.const 9))", NOSYS),
        ("(call $sched_yield)", OK),
        // Clocks that cannot be used to measure anything.
        ("(call $clock_res_get (i32.const 1) (i32.const 16))", OK),
        ("(i32.wrap_i64 (i64.load (i32.const 16)))", 1_000_000_000),
        ("(call $clock_res_get (i32.const 2) (i32.const 16))", NOTSUP),
        ("(call $clock_res_get (i32.const 0) (i32.const 196601))", FAULT),
        ("(call $clock_time_get (i32.const 3) (i64.const 0) (i32.const 16))", NOTSUP),
        ("(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -8))", FAULT),
    ];
    let body: String = cases.iter().map(|(ask, _)| format!("(call $number {ask})")).collect();
    let found = numbers("", &body);
    assert_eq!(found.len(), cases.len());
    for (found, (ask, expected)) in found.iter().zip(cases) {
        assert_eq!(*found, expected, "{ask}");
    }
}

#[test]
fn descriptors_say_what_they_are_for() {
    let stat = |fd: u32| {
        format!(
            "(memory.fill (i32.const 16) (i32.const 0xff) (i32.const 24)) \
             (call $number (call $fd_fdstat_get (i32.const {fd}) (i32.const 16))) \
             (call $number (i32.load (i32.const 16))) (call $put (i64.load (i32.const 24))) (call $put (i64.load (i32.const 32)))"
        )
    };
    let (read, write) = (1 << 1 | 1 << 27, 1 << 6 | 1 << 27);
    assert_eq!(
        numbers("", &format!("{} {} {}", stat(0), stat(1), stat(2))),
        [0, 0, read, 0, 0, 0, write, 0, 0, 0, write, 0]
    );
}

#[test]
fn clocks_stand_still_at_the_runs_start() {
    let show = |clock: u32| {
        format!(
            "(drop (call $clock_time_get (i32.const {clock}) (i64.const 1) (i32.const 16))) (call $put (i64.load (i32.const 16)))"
        )
    };
    let spin = "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 3000000))))";
    let body = format!("(local $i i32) {0} {1} {spin} {0} {1} (call $print)", show(0), show(1));
    let harness = shared();
    let artifact = harness.wat_as(Mode::WasiV1, &command("", &body));
    let context = Context { started: Duration::new(1_800_000_000, 123_456_789), ..Context::default() };
    let completion = harness.run_job(Job { context: Arc::new(context), ..job(&artifact, "{}", WIDE) });
    let shown = "[1800000000123456789,1000000000,1800000000123456789,1000000000]";
    assert_eq!(completion.result, Ok(Bytes::from(shown)));
}

#[test]
fn random_bytes_are_real_and_not_endless() {
    let text = "(call $number (call $random_get (i32.const 131072) (i32.const 65527))) \
                (call $number (call $random_get (i32.const 131072) (i32.const 10))) \
                (call $number (call $random_get (i32.const 16) (i32.const 8))) \
                (call $put (i64.load (i32.const 16))) \
                (call $number (call $random_get (i32.const 16) (i32.const 1))) \
                (call $number (call $random_get (i32.const 16) (i32.const 1))) \
                (call $number (call $random_get (i32.const 16) (i32.const 0))) \
                (call $number (call $random_get (i32.const 196608) (i32.const 1))) \
                (call $number (call $random_get (i32.const 0) (i32.const -1)))";
    let runs = [numbers("", text), numbers("", text)];
    for run in &runs {
        assert_eq!(run[..3], [OK, IO, OK]);
        assert_eq!(run[4..], [OK, IO, OK, FAULT, FAULT]);
    }
    assert_ne!(runs[0][3], runs[1][3]);
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
fn exit_codes_decide_between_output_and_error() {
    let print_then = |then: &str| {
        command(
            "(data (i32.const 16) \"[7]\") (data (i32.const 32) \"first\\nsecond\\1b[0m\\n\\n\")",
            &format!("(drop (call $write (i32.const 1) (i32.const 16) (i32.const 3))) {then}"),
        )
    };
    let say = "(drop (call $write (i32.const 2) (i32.const 32) (i32.const 18)))";
    for then in ["", "(call $proc_exit (i32.const 0))", "(call $proc_exit (i32.const 0)) unreachable"] {
        assert_eq!(run(&print_then(then), "{}", WIDE).result, Ok(Bytes::from("[7]")), "{then}");
    }
    let errors = [
        ("(call $proc_exit (i32.const 3))".to_owned(), "the function exited with code 3"),
        ("(call $proc_exit (i32.const -1))".into(), "the function exited with code -1"),
        (
            format!("{say} (call $proc_exit (i32.const 1))"),
            "the function exited with code 1; the last of its stderr: first | second\\u{1b}[0m",
        ),
    ];
    for (then, message) in errors {
        let completion = run(&print_then(&then), "{}", WIDE);
        assert_eq!(completion.result, Err(Failure { outcome: Outcome::GuestError, message: message.into() }));
    }
    let trap = run(&print_then(&format!("{say} unreachable")), "{}", WIDE);
    assert_eq!(trap.outcome(), Outcome::Trap);
    let message = &failed(&trap).message;
    assert!(
        message.starts_with("wasm `unreachable` instruction executed, in function ")
            && message.ends_with("; the last of its stderr: first | second\\u{1b}[0m"),
        "{message}"
    );
}

#[test]
fn a_start_function_may_already_exit() {
    let text = command("(func $s (call $proc_exit (i32.const 4))) (start $s)", "unreachable");
    let completion = run(&text, "{}", WIDE);
    let message = "the function exited with code 4";
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::GuestError, message: message.into() }));
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

/// A subscription to a clock, at a place.
fn clock(at: u32, userdata: u64, clock: u32, nanos: u64, flags: u16) -> String {
    format!(
        "(memory.fill (i32.const {at}) (i32.const 0) (i32.const 48)) \
         (i64.store (i32.const {at}) (i64.const {userdata})) (i32.store offset=16 (i32.const {at}) (i32.const {clock})) \
         (i64.store offset=24 (i32.const {at}) (i64.const {})) (i32.store16 offset=40 (i32.const {at}) (i32.const {flags}))",
        nanos as i64
    )
}

/// A subscription to a descriptor, at a place.
fn descriptor(at: u32, userdata: u64, kind: u8, fd: u32) -> String {
    format!(
        "(memory.fill (i32.const {at}) (i32.const 0xff) (i32.const 48)) (i64.store (i32.const {at}) (i64.const {userdata})) \
         (i32.store8 offset=8 (i32.const {at}) (i32.const {kind})) (i32.store offset=16 (i32.const {at}) (i32.const {fd}))"
    )
}

/// Polls subscriptions at 512 with events at 2048: the result, the number of events, and of the first
/// `events` the userdata, the error, the type, the bytes and the flags.
fn poll(subscriptions: u32, events: u32) -> String {
    let shown: String = (0..events)
        .map(|event| 2_048 + 32 * event)
        .map(|at| {
            format!(
                "(call $put (i64.load (i32.const {at}))) (call $number (i32.load16_u offset=8 (i32.const {at}))) \
                 (call $number (i32.load8_u offset=10 (i32.const {at}))) (call $put (i64.load offset=16 (i32.const {at}))) \
                 (call $number (i32.load16_u offset=24 (i32.const {at})))"
            )
        })
        .collect();
    format!(
        "(call $number (call $poll_oneoff (i32.const 512) (i32.const 2048) (i32.const {subscriptions}) (i32.const 400))) \
         (call $number (i32.load (i32.const 400))) {shown}"
    )
}

#[test]
fn descriptors_are_ready_at_once() {
    let set = [
        descriptor(512, 7, 1, 0),
        descriptor(560, 8, 2, 1),
        clock(608, 9, 1, 1 << 62, 0),
        descriptor(656, 10, 1, 5),
        descriptor(704, 11, 2, 0),
        clock(752, 12, 2, 5, 0),
    ];
    // Did it wait for the clock, it would not end in time.
    let shown = numbers("", &format!("{} {}", set.concat(), poll(6, 5)));
    assert_eq!(
        shown,
        [
            &[0, 5][..],
            &[7, 0, 1, 8, 0],
            &[8, 0, 2, 65_536, 0],
            &[10, BADF, 1, 0, 0],
            &[11, BADF, 2, 0, 0],
            &[12, NOTSUP, 0, 0, 0]
        ]
        .concat()
    );
    // At the end of stdin there is nothing more to come.
    let drain = "(call $buffer (i32.const 65536) (i32.const 100)) \
                 (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let shown = numbers("", &format!("{drain} {} {}", set[0], poll(1, 1)));
    assert_eq!(shown, [0, 1, 7, 0, 1, 0, 1]);
}

#[test]
fn a_sleep_lasts_and_no_clock_shows_it() {
    let sleep = |nanos: u64, clock_id: u32, flags: u16| {
        let set = [clock(512, 1, clock_id, nanos, flags), clock(560, 2, 1, 3_600_000_000_000, 0)].concat();
        let now = "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16))) (call $put (i64.load (i32.const 16)))";
        let text = command("", &format!("{set} {} {now} (call $print)", poll(2, 1)));
        let completion = run(&text, "{}", WIDE);
        assert_eq!(completion.result, Ok(Bytes::from("[0,1,1,0,0,0,0,1000000000]")));
        completion
    };
    let asked_for = Duration::from_millis(60);
    // Absolute times count from where the clock stands, one second in.
    for (nanos, flags) in [(60_000_000, 0), (1_060_000_000, 1)] {
        within(asked_for + SLACK, || {
            let slept = sleep(nanos, 1, flags);
            assert!(slept.wall >= asked_for, "{slept:?}");
            // The processor was free for others.
            assert!(slept.usage.cpu < asked_for, "{slept:?}");
            slept.wall
        });
    }
    for (nanos, clock_id, flags) in [(0, 1, 0), (5, 0, 1), (999_999_999, 1, 1)] {
        within(Duration::from_millis(50), || sleep(nanos, clock_id, flags).wall);
    }
}

#[test]
fn a_sleep_ends_with_the_run() {
    let limits = Limits { duration: Duration::from_millis(40), ..WIDE };
    for nanos in [1_000_000_000, u64::MAX] {
        let text = command("", &format!("{} {}", clock(512, 1, 0, nanos, 0), poll(1, 0)));
        within(limits.duration + SLACK, || {
            let completion = run(&text, "{}", limits);
            assert_eq!(completion.outcome(), Outcome::Timeout);
            assert!(completion.wall >= limits.duration, "{completion:?}");
            completion.wall
        });
    }
    // Naps without end.
    let naps = command(
        "",
        &format!(
            "{} (loop $l (drop (call $poll_oneoff (i32.const 512) (i32.const 2048) (i32.const 1) (i32.const 400))) (br $l))",
            clock(512, 1, 0, 1, 0)
        ),
    );
    assert_eq!(run(&naps, "{}", limits).outcome(), Outcome::Timeout);
}

#[test]
fn a_poll_of_nonsense_is_refused() {
    let call = |list: i32, events: i32, length: i32, count: i32| {
        format!(
            "(call $number (call $poll_oneoff (i32.const {list}) (i32.const {events}) (i32.const {length}) (i32.const {count})))"
        )
    };
    let body = [
        descriptor(512, 7, 1, 0),
        call(512, 2_048, 0, 400),
        call(512, 2_048, 1_025, 400),
        call(512, 2_048, -1, 400),
        call(196_561, 2_048, 1, 400),
        call(-48, 2_048, 1, 400),
        call(512, 196_577, 1, 400),
        call(512, 2_048, 1, 196_605),
        descriptor(512, 7, 3, 0),
        call(512, 2_048, 1, 400),
    ];
    assert_eq!(numbers("", &body.concat()), [INVAL, INVAL, INVAL, FAULT, FAULT, FAULT, FAULT, INVAL]);
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
