//! Commands of `wasi-v1`: what they can do, and what they look for and do not find.

mod poll;
mod streams;

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
