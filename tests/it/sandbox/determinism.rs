//! The same input gives the same bytes, anywhere and at any time.

use super::*;

/// Makes NaNs in several ways and answers with all their bits, as hexadecimal digits in a string.
fn nans() -> String {
    let values = [
        "(f64.div (f64.const 0) (f64.const 0))",
        "(f64.add (f64.const nan:0x123456789) (f64.const 1))",
        "(f64.sub (f64.const inf) (f64.const inf))",
        "(f64.mul (f64.const -nan:0xfffffffffffff) (f64.const -1))",
        "(f64.sqrt (f64.const -2))",
        "(f64.min (f64.const nan:0x8000000000001) (f64.const 3))",
        "(f64.promote_f32 (f32.add (f32.const nan:0x200001) (f32.const 1)))",
    ];
    let stores: String = values
        .iter()
        .enumerate()
        .map(|(i, value)| format!("(call $hex (i32.const {}) (i64.reinterpret_f64 {value}))", 1 + 16 * i))
        .collect();
    let length = 16 * values.len() as u32 + 2;
    module_with(
        "(memory (export \"memory\") 1)
         (func $hex (param $at i32) (param $bits i64)
           (local $i i32) (local $digit i32)
           (loop $digits
             (local.set $digit (i32.wrap_i64 (i64.shr_u (local.get $bits) (i64.const 60))))
             (local.set $bits (i64.shl (local.get $bits) (i64.const 4)))
             (i32.store8 (i32.add (local.get $at) (local.get $i))
               (i32.add (local.get $digit) (select (i32.const 0x57) (i32.const 0x30) (i32.gt_u (local.get $digit) (i32.const 9)))))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $digits (i32.lt_u (local.get $i) (i32.const 16)))))",
        "i32.const 1024",
        &format!(
            "(i32.store8 (i32.const 0) (i32.const 0x22)) {stores} (i32.store8 (i32.const {}) (i32.const 0x22)) {}",
            length - 1,
            output_at(0, length)
        ),
    )
}

#[test]
fn every_nan_has_the_same_bits_on_every_thread() {
    let harness = shared();
    let artifact = harness.wat(&nans());
    let expected = Bytes::from(format!("\"{}\"", "7ff8000000000000".repeat(7)));
    for _ in 0..5 {
        let runs: Vec<_> = (0..40)
            .map(|_| harness.sandbox.run(job(&artifact, "{}", WIDE), Lease::none()))
            .map(|run| harness.runtime.spawn(run))
            .collect();
        for run in runs {
            assert_eq!(harness.runtime.block_on(run).unwrap().unwrap().result, Ok(expected.clone()));
        }
    }
}

#[test]
fn a_counter_in_memory_starts_anew_in_each_run() {
    let harness = shared();
    let text = module_with(
        "(memory (export \"memory\") 1) (data (i32.const 8) \"0\")",
        "i32.const 1024",
        &format!(
            "(i32.store8 (i32.const 8) (i32.add (i32.load8_u (i32.const 8)) (i32.const 1))) {}",
            output_at(8, 1)
        ),
    );
    let artifact = harness.wat(&text);
    for _ in 0..100 {
        assert_eq!(harness.run(&artifact, "{}", WIDE).result, Ok(Bytes::from("1")));
    }
}
