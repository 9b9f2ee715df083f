//! Damaged components: most are refused, the rest do as they like.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::wasi::{STDOUT, WRITE, program};
use super::*;

#[test]
fn whatever_is_compiled_ends_with_an_outcome() {
    let harness = harness(2, 4);
    let run = format!(
        "(call $write (call $stdout) (local.get $pointer) (local.get $length) (i32.const 128)) {}",
        digit("(i32.load8_u (i32.const 128))")
    );
    let original = wat::parse_str(program(&[STDOUT, WRITE], &run)).unwrap();
    let limits = Limits { memory_bytes: MIB, duration: Duration::from_millis(3), output_bytes: 64, ..WIDE };
    let artifact = compile_in(&harness, original.clone()).unwrap();
    let unhurried = Limits { duration: WIDE.duration, ..limits };
    assert_eq!(harness.run(&artifact, "{}", unhurried).result, Ok(Bytes::from("0")));

    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3);
    let config = Config { failure_persistence: None, ..Config::with_cases(1_000) };
    let mut runner = TestRunner::new(config);
    runner
        .run(&changes, |changes| {
            let mut code = original.clone();
            for (at, value) in changes {
                let at = at.index(code.len());
                code[at] = value;
            }
            match compile_in(&harness, code) {
                // `run` unwraps what is lost.
                Ok(artifact) => {
                    let completion = harness.run(&artifact, "{}", limits);
                    prop_assert!(completion.usage.peak_memory_bytes <= MIB);
                    prop_assert!(completion.wall < Duration::from_secs(2), "{:?}", completion.wall);
                }
                Err(error) => prop_assert!(matches!(error, CompileError::Refused(_)), "{error}"),
            }
            Ok(())
        })
        .unwrap();
    let load = harness.sandbox.load();
    assert_eq!((load.instances, load.stacks, load.compiling), (0, 0, 0));
}
