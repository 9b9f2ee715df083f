//! Components that mean harm.

use super::wasi::{STDOUT, WRITE, program, sleeper};
use super::*;

const SPIN: &str = "(loop $forever (br $forever))";

/// A result that `run` hands out at once.
fn fine() -> String {
    digit("(i32.const 1)")
}

#[test]
fn whatever_does_not_end_is_stopped() {
    let plain = |program: Program<'_>| Program { run: &fine(), ..program }.text();
    let spins = Program { run: &format!("{SPIN} unreachable"), ..Program::default() }.text();
    let cases = [
        ("in run", spins),
        (
            "in a start function",
            plain(Program { fields: &format!("(func $s {SPIN}) (start $s)"), ..Program::default() }),
        ),
        (
            "in realloc",
            plain(Program::default())
                .replace("(local $lacking i32)", &format!("(local $lacking i32) {SPIN}")),
        ),
        (
            "in post-return",
            plain(Program {
                fields: &format!("(func (export \"after\") (param i32) {SPIN})"),
                options: "(post-return (core func $program \"after\"))",
                ..Program::default()
            }),
        ),
        (
            "in calls to the host",
            program(
                &[STDOUT, WRITE],
                "(local $out i32) (local.set $out (call $stdout)) (loop $forever \
                   (call $write (local.get $out) (i32.const 0) (i32.const 10) (i32.const 128)) (br $forever)) unreachable",
            ),
        ),
    ];
    let duration = Duration::from_millis(20);
    for (name, text) in cases {
        within(duration + SLACK, || {
            let completion = run(&text, "{}", Limits { duration, ..WIDE });
            assert_eq!(completion.outcome(), Outcome::Timeout, "{name}: {:?}", completion.result);
            completion.wall
        });
    }
}

#[test]
fn a_realloc_that_lies_is_found_out() {
    let lying = |place: &str| {
        let honest = "(local $place i32) (local $lacking i32)";
        let text = Program { run: &fine(), ..Program::default() }.text();
        text.replace(honest, &format!("{honest} (if (i32.const 1) (then (return {place})))"))
    };
    for place in ["(i32.const -1)", "(i32.const 0x20000)", "(i32.const 0x1ffff)", "(i32.const 0x7fffffff)"] {
        let completion = run(&lying(place), "[1,2,3]", WIDE);
        assert_eq!(completion.outcome(), Outcome::OutputInvalid, "{place}: {:?}", completion.result);
    }
}

#[test]
fn a_realloc_that_finds_no_memory_is_told_as_such() {
    let honest = "(local $place i32) (local $lacking i32)";
    let refused = "(if (i32.const 1) (then (return (memory.grow (i32.const 1000)))))";
    let text = Program { run: &fine(), ..Program::default() }.text();
    let completion = run(
        &text.replace(honest, &format!("{honest} {refused}")),
        "[1]",
        Limits { memory_bytes: MIB, ..WIDE },
    );
    let message = "the function asked for more than its 1 MiB of memory (maxMemoryMb): realloc return: beyond end of memory";
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::MemoryExceeded, message: message.into() }));
}

#[test]
fn results_that_point_nowhere_are_no_output() {
    let cases = [
        ("beyond the memory", "(i32.const 0x20000)".to_owned()),
        ("at its very end", "(i32.const 0x1fffc)".to_owned()),
        ("unaligned", "(i32.const 17)".to_owned()),
        ("far out", "(i32.const -4)".to_owned()),
        ("a text beyond the memory", result(0, 0x2_0000, 1)),
        ("a text that is too long", result(0, 0, 0x2_0001)),
        ("a text that goes around", result(0, u32::MAX, u32::MAX)),
        ("a case that does not exist", result(2, 1024, 1)),
        ("an error beyond the memory", result(1, u32::MAX, 1)),
        (
            "a text that is not UTF-8",
            format!("(i32.store (i32.const 1024) (i32.const 0xff)) {}", result(0, 1024, 1)),
        ),
        (
            "a lone surrogate",
            format!("(i32.store (i32.const 1024) (i32.const 0x80a0ed)) {}", result(0, 1024, 3)),
        ),
    ];
    for (name, run) in cases {
        let completion = super::run(&Program { run: &run, ..Program::default() }.text(), "{}", WIDE);
        assert_eq!(completion.outcome(), Outcome::OutputInvalid, "{name}: {:?}", completion.result);
    }
}

const LOG: &str = r#"(import "atfunc:runtime/log@0.2.0" (instance $log
    (type $level' (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "message" string)))))"#;

#[test]
fn what_a_host_call_is_given_is_checked() {
    let log = ("log", "(param i32 i32 i32)", "$log \"log\"");
    let cases = [
        ("a text beyond the memory", "(call $log (i32.const 1) (i32.const 0x20000) (i32.const 1))"),
        ("a text that goes around", "(call $log (i32.const 1) (i32.const -1) (i32.const -1))"),
        (
            "a text that is not UTF-8",
            "(i32.store (i32.const 512) (i32.const 0xff)) (call $log (i32.const 1) (i32.const 512) (i32.const 1))",
        ),
        ("a level that does not exist", "(call $log (i32.const 4) (i32.const 0) (i32.const 1))"),
        ("another", "(call $log (i32.const -1) (i32.const 0) (i32.const 1))"),
        (
            "more than a call may be given",
            "(call $log (i32.const 1) (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0x200001)) \
               (i32.const 0x200001))",
        ),
    ];
    for (name, call) in cases {
        let run = format!("{call} {}", fine());
        let text = Program { imports: LOG, host: &[log], run: &run, ..Program::default() }.text();
        let completion = super::run(&text, "{}", WIDE);
        assert_eq!(completion.outcome(), Outcome::Trap, "{name}: {:?}", completion.result);
        assert_eq!(completion.logs.lines, [], "{name}");
    }
    // As much as a call may be given passes.
    let run = format!(
        "(call $log (i32.const 1) (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0x200000)) \
           (i32.const 0x200000)) {}",
        fine()
    );
    let text = Program { imports: LOG, host: &[log], run: &run, ..Program::default() }.text();
    assert_eq!(super::run(&text, "{}", WIDE).result, Ok(Bytes::from("1")));
}

#[test]
fn handles_cannot_be_forged_doubled_or_hoarded() {
    let drop = ("drop", "(param i32)", "canon resource.drop $output-stream-type");
    let write = |handle: &str| {
        format!("(call $write {handle} (i32.const 0) (i32.const 1) (i32.const 128)) {}", fine())
    };
    let cases = [
        ("a handle of nobody", write("(i32.const 1)")),
        ("another", write("(i32.const 0)")),
        ("another", write("(i32.const -1)")),
        ("another's neighbour", write("(i32.add (call $stdout) (i32.const 1))")),
        ("a drop of nothing", format!("(call $drop (i32.const 7)) {}", fine())),
        (
            "a second drop",
            format!(
                "(local $h i32) (call $drop (local.tee $h (call $stdout))) (call $drop (local.get $h)) {}",
                fine()
            ),
        ),
        (
            "a use after the drop",
            format!("(local $h i32) (call $drop (local.tee $h (call $stdout))) {}", write("(local.get $h)")),
        ),
        ("a flood", format!("(loop $more (drop (call $stdout)) (br $more)) {}", fine())),
    ];
    for (name, run) in cases {
        let completion = super::run(&program(&[STDOUT, WRITE, drop], &run), "{}", WIDE);
        assert_eq!(completion.outcome(), Outcome::Trap, "{name}: {:?}", completion.result);
    }
    // One after the other, as many as anybody likes.
    let run = format!(
        "(local $i i32) (loop $more (call $drop (call $stdout)) (local.set $i (i32.add (local.get $i) (i32.const 1))) \
           (br_if $more (i32.lt_u (local.get $i) (i32.const 100000)))) {}",
        fine()
    );
    assert_eq!(super::run(&program(&[STDOUT, drop], &run), "{}", WIDE).result, Ok(Bytes::from("1")));
}

#[test]
fn a_flood_of_the_guests_own_handles_ends() {
    let imports = "(type $own (resource (rep i32)))";
    let new = ("new", "(param i32) (result i32)", "canon resource.new $own");
    let run = format!("(loop $more (drop (call $new (i32.const 1))) (br $more)) {}", fine());
    let text = Program { imports, host: &[new], run: &run, ..Program::default() }.text();
    let completion = super::run(&text, "{}", WIDE);
    assert_eq!(completion.outcome(), Outcome::Trap, "{:?}", completion.result);
}

#[test]
fn a_component_cannot_call_itself_through_its_host() {
    // `run`, lowered again, called through a table that is filled at the end.
    let text = r#"(component
      (core module $a
        (memory (export "memory") 1) (table (export "table") 1 funcref)
        (type $f (func (param i32 i32 i32)))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i32)
          (call_indirect (type $f) (local.get 0) (local.get 1) (i32.const 16) (i32.const 0)) i32.const 16))
      (core instance $a (instantiate $a))
      (func $run (param "input-json" string) (result (result string (error string)))
        (canon lift (core func $a "run") (memory (core memory $a "memory")) (realloc (core func $a "realloc"))))
      (core func $again (canon lower (func $run) (memory (core memory $a "memory")) (realloc (core func $a "realloc"))))
      (core module $b
        (import "a" "table" (table 1 funcref)) (import "a" "again" (func $again (param i32 i32 i32)))
        (elem (i32.const 0) func $again))
      (core instance (instantiate $b (with "a" (instance
        (export "table" (table $a "table")) (export "again" (func $again))))))
      (export "run" (func $run)))"#;
    let completion = run(text, "{}", WIDE);
    assert_eq!(completion.outcome(), Outcome::Trap, "{:?}", completion.result);
    assert!(
        failed(&completion).message.contains("cannot enter component instance"),
        "{:?}",
        completion.result
    );
}

#[test]
fn all_memories_and_tables_count_together() {
    // Three programs' memories and tables; the first grows as far as it may.
    let text = |grow: u32| {
        format!(
            r#"(component
              (core module $m (memory 16) (table 8192 funcref))
              (core instance (instantiate $m))
              (core instance (instantiate $m))
              (core module $p
                (memory (export "memory") 16)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "run") (param i32 i32) (result i32)
                  (i32.store8 (i32.const 40) (select (i32.const 0x30) (i32.const 0x31)
                    (i32.eq (memory.grow (i32.const {grow})) (i32.const -1))))
                  {}))
              (core instance $p (instantiate $p))
              (func (export "run") (param "input-json" string) (result (result string (error string)))
                (canon lift (core func $p "run") (memory (core memory $p "memory")) (realloc (core func $p "realloc")))))"#,
            result(0, 40, 1)
        )
    };
    // 48 pages and two tables of a page each: 50 of 64.
    let limits = Limits { memory_bytes: 4 * MIB, ..WIDE };
    for (grow, answer, peak) in [(14, "1", 64), (15, "0", 50)] {
        let completion = run(&text(grow), "{}", limits);
        assert_eq!(completion.result, Ok(Bytes::from(answer)), "{grow}");
        assert_eq!(completion.usage.peak_memory_bytes, peak * 65_536);
    }
    let completion = run(&text(0), "{}", Limits { memory_bytes: 3 * MIB, ..WIDE });
    let message =
        "the function asked for more than its 3 MiB of memory (maxMemoryMb): it starts with 3200 KiB";
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::MemoryExceeded, message: message.into() }));
}

#[test]
fn as_many_components_run_at_once_as_there_are_slots() {
    // Each of the most parts that admission lets in, and all waiting at the same time.
    let harness = harness(2, 8);
    // Beside the program and its allocator, which has the fourth memory.
    let more = format!(
        "(core module $m (memory 1) (table 1 funcref)) (core module $t (table 1 funcref)) (core module $e) {} {} {}",
        "(core instance (instantiate $m))".repeat(3),
        "(core instance (instantiate $t))".repeat(5),
        "(core instance (instantiate $e))".repeat(6),
    );
    // Long enough for the last to begin while the first still sleeps.
    let text = sleeper(&more, Duration::from_secs(3));
    let limits = Limits { duration: Duration::from_secs(60), ..WIDE };
    let code = wat::parse_str(&text).unwrap();
    let artifact = compile_in(&harness, code).unwrap();
    let runs: Vec<_> = (0..8)
        .map(|_| harness.runtime.spawn(harness.sandbox.run(job(&artifact, "{}", limits), Lease::none())))
        .collect();
    let mut most = 0;
    until(|| {
        most = most.max(harness.sandbox.load().instances);
        runs.iter().all(|run| run.is_finished())
    });
    for run in runs {
        assert_eq!(harness.runtime.block_on(run).unwrap().unwrap().result, Ok(Bytes::from("1")));
    }
    assert_eq!(most, instances(8, 16));
    assert_eq!(harness.sandbox.load().instances, 0);
}

#[test]
fn what_is_imported_or_exported_with_other_types_is_refused() {
    let imports = r#"(import "atfunc:runtime/log@0.2.0" (instance $log
        (export "log" (func (param "message" string)))))"#;
    let log = ("log", "(param i32 i32)", "$log \"log\"");
    let text = Program { imports, host: &[log], run: &fine(), ..Program::default() }.text();
    let refusal = refused(&text);
    assert!(matches!(refusal, Refusal::Unlinkable { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("atfunc:runtime/log@0.2.0"), "{refusal}");

    let missing = r#"(import "wasi:cli/exit@0.2.0" (instance $exit (export "leave" (func))))"#;
    let leave = ("leave", "", "$exit \"leave\"");
    let text = Program { imports: missing, host: &[leave], run: &fine(), ..Program::default() }.text();
    assert!(matches!(refused(&text), Refusal::Unlinkable { .. }));
}

#[test]
fn the_largest_instances_that_are_let_in_do_run() {
    let module = format!("(core module $m {} )", "(func)".repeat(12_000));
    let imports = format!("{module} {}", "(core instance (instantiate $m))".repeat(12));
    let text = Program { imports: &imports, run: &fine(), ..Program::default() }.text();
    assert_eq!(run(&text, "{}", WIDE).result, Ok(Bytes::from("1")));
}

/// Two components, of which one calls so many functions of the other, which take nine values of type
/// `$v`: for each, the engine makes code that carries them from one memory to the other.
fn handing_over(types: &str, functions: usize) -> String {
    let each =
        |text: &str| (0..functions).map(|number| text.replace('#', &number.to_string())).collect::<String>();
    let options = "(memory (core memory $m \"memory\")) (realloc (core func $m \"realloc\"))";
    let lifted =
        each(&format!("(func (export \"f#\") (param \"x\" $t) (canon lift (core func $m \"f\") {options}))"));
    let declared = each("(export \"f#\" (func (param \"x\" $t)))");
    let lowered = each(&format!("(core func $f# (canon lower (func $i \"f#\") {options}))"));
    let taken = each("(import \"f\" \"f#\" (func (param i32)))");
    let given = each("(export \"f#\" (func $f#))");
    let types = format!("{types} (type $t (tuple $v $v $v $v $v $v $v $v $v))");
    let module = "(core module $n (memory (export \"memory\") 1) (func (export \"f\") (param i32)) \
                    (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) i32.const 8)) \
                  (core instance $m (instantiate $n))";
    format!(
        "(component $giver {types} {module} {lifted}) (instance $giver (instantiate $giver)) \
         (component $taker (import \"i\" (instance $i {types} {declared})) {module} {lowered} \
           (core module $user {taken}) (core instance (instantiate $user (with \"f\" (instance {given}))))) \
         (instance (instantiate $taker (with \"i\" (instance $giver))))"
    )
}

#[test]
fn a_value_goes_from_one_component_to_another() {
    let signature = "(param \"input-json\" string) (result (result string (error string)))";
    let options = "(memory (core memory $m \"memory\")) (realloc (core func $m \"realloc\"))";
    let text = format!(
        r#"(component
          (component $inner
            (core module $n
              (memory (export "memory") 1) (data (i32.const 100) "[3]")
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
              (func (export "run") (param i32 i32) (result i32)
                (i32.store (i32.const 20) (i32.const 100)) (i32.store (i32.const 24) (i32.const 3)) i32.const 16))
            (core instance $m (instantiate $n))
            (func (export "run") {signature} (canon lift (core func $m "run") {options})))
          (component $outer
            (import "run" (func $run {signature}))
            (core module $libc (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
            (core instance $m (instantiate $libc))
            (core func $lowered (canon lower (func $run) {options}))
            (core module $n (import "inner" "run" (func $run (param i32 i32 i32)))
              (func (export "run") (param i32 i32) (result i32)
                (call $run (local.get 0) (local.get 1) (i32.const 16)) i32.const 16))
            (core instance $n (instantiate $n (with "inner" (instance (export "run" (func $lowered))))))
            (func (export "run") {signature} (canon lift (core func $n "run") {options})))
          (instance $inner (instantiate $inner))
          (instance $outer (instantiate $outer (with "run" (func $inner "run"))))
          (export "run" (func $outer "run")))"#
    );
    let completion = run(&text, "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("[3]")));
    assert_eq!(completion.usage.peak_memory_bytes, 2 * 65_536);
}

#[test]
fn compiling_what_hands_large_values_over_ends_soon() {
    let tuple = |of: &str, count: usize| format!("(tuple {})", format!("{of} ").repeat(count));
    let distinct: String = (0..40)
        .map(|number| {
            format!("(type $d{number} (tuple {} {}))", "u8 ".repeat(number + 1), "string ".repeat(50))
        })
        .collect();
    let all: String = (0..40).map(|number| format!("$d{number} ")).collect();
    let cases = [
        ("very wide", format!("(type $v {})", tuple("string", 4_500)), 1),
        ("wide", format!("(type $v {})", tuple("string", 900)), 25),
        ("distinct", format!("{distinct} (type $v (tuple {all}))"), 3),
        ("results", format!("(type $r (result string (error string))) (type $v {})", tuple("$r", 4_500)), 1),
        ("lists of chars", format!("(type $r (list char)) (type $v {})", tuple("$r", 4_500)), 1),
        (
            "lists of lists",
            format!(
                "(type $l0 {}) {} (type $v (list $l80))",
                tuple("string", 30),
                (1..=80).map(|level| format!("(type $l{level} (list $l{}))", level - 1)).collect::<String>()
            ),
            450,
        ),
        (
            "cases of cases",
            format!(
                "(type $c0 (result string)) {} (type $v (list $c9))",
                (1..=9)
                    .map(|level| format!("(type $c{level} (result $c{0} (error $c{0})))", level - 1))
                    .collect::<String>()
            ),
            20,
        ),
    ];
    for (name, types, functions) in cases {
        let imports = handing_over(&types, functions);
        let text = Program { imports: &imports, run: &fine(), ..Program::default() }.text();
        let code = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        // A part of it on a machine that has nothing else to do. A compiler in a process is ended by then.
        within(Duration::from_secs(6), || {
            let began = std::time::Instant::now();
            let result = compile_in(shared(), code.clone()).map(|artifact| artifact.bytes());
            let took = began.elapsed();
            assert!(matches!(result, Ok(_) | Err(CompileError::Lost)), "{name}: {result:?}");
            if result.is_ok() { took } else { Duration::MAX }
        });
    }
}
