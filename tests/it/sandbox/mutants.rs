//! Damaged modules: most are refused, the rest do as they like.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[test]
fn whatever_is_compiled_ends_with_an_outcome() {
    let harness = Harness::new(ThreadSandboxConfig { threads: 2, compile_threads: 1, slots: 8 });
    let text = module_with(
        "(memory (export \"memory\") 2) (table 4 funcref) (elem (i32.const 0) func 0 1 2)
         (global $g (mut i32) (i32.const 3)) (data (i32.const 8) \"[1,2,3]\")
         (func $help (param i32) (result i32) (local i32)
           (loop $l (local.set 1 (i32.add (local.get 1) (i32.const 1)))
             (br_if $l (i32.lt_u (local.get 1) (local.get 0))))
           (if (result i32) (i32.eqz (local.get 0)) (then (memory.grow (i32.const 1))) (else (local.get 1))))",
        "(drop (call $help (local.get $length))) i32.const 1024",
        &format!(
            "(global.set $g (call_indirect (param i32) (result i32) (i32.const 5) (i32.const 0))) \
             (memory.copy (i32.const 2000) (i32.const 8) (global.get $g)) {}",
            output_at(8, 7)
        ),
    );
    let original = wat::parse_str(text).unwrap();
    let limits = Limits { memory_bytes: MIB, duration: Duration::from_millis(3), output_bytes: 64, ..WIDE };
    let completion = harness.run(&harness.compile(original.clone()).unwrap(), "{}", limits);
    assert_eq!(completion.result, Ok(Bytes::from("[1,2,3]")));

    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3);
    let config = Config { failure_persistence: None, ..Config::with_cases(1_500) };
    let mut runner = TestRunner::new(config);
    runner
        .run(&changes, |changes| {
            let mut code = original.clone();
            for (at, value) in changes {
                let at = at.index(code.len());
                code[at] = value;
            }
            match harness.compile(code) {
                // `run` unwraps what is lost.
                Ok(artifact) => {
                    let completion = harness.run(&artifact, "{}", limits);
                    prop_assert!(completion.usage.peak_memory_bytes <= MIB);
                    prop_assert!(completion.wall < Duration::from_millis(200));
                }
                Err(error) => prop_assert!(matches!(error, CompileError::Refused(_)), "{error}"),
            }
            Ok(())
        })
        .unwrap();
    let load = harness.sandbox.load();
    assert_eq!((load.instances, load.stacks, load.compiling), (0, 0, 0));
}
