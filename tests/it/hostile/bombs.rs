//! Modules that are not what they say, or more than a compiler can take.

use std::time::{Duration, Instant};

use at_functions::lexicon::Mode;
use at_functions::sandbox::{Sandbox, ThreadSandbox, ThreadSandboxConfig};
use serde_json::json;

use crate::arena::*;
use crate::modules::*;
use crate::world::ECHO;

pub(crate) const COMPILES: &str = "at_functions_compiles_total";
const STORED: &str = "at_functions_artifacts_stored_total";
const DISK: &str = "at_functions_artifact_disk_bytes";

/// Publishes these bytes, one after the other, and holds each to be refused, all within one watch.
async fn all_are_refused(arena: &Arena, codes: &[Vec<u8>]) {
    for (n, code) in codes.iter().enumerate() {
        let function = arena.publish(code, USUAL);
        let answer = arena.call(&function).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{n}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
}

pub(crate) async fn a_module_cut_off_anywhere_is_refused(arena: &Arena) {
    // Without names, so that its last section is its code, which no module of the ABI can do without.
    let whole = plain(
        r#"(module (memory (export "memory") 1)
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
    );
    let cut: Vec<_> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    all_are_refused(arena, &cut).await;
}

pub(crate) async fn what_is_no_wasm_is_refused_and_never_loaded_as_native_code(arena: &Arena) {
    // What the engine itself would take for compiled code, of just the kind that it loads.
    let sandbox = ThreadSandbox::start(ThreadSandboxConfig { slots: 4, ..Default::default() }).unwrap();
    let native = sandbox.compile(Mode::PureV1, ECHO.into()).await.unwrap();
    assert!(sandbox.install(&native).is_ok());
    let executable = std::fs::read("/proc/self/exe").unwrap();
    all_are_refused(
        arena,
        &[
            native.code().to_vec(),
            executable[..64 * 1024].to_vec(),
            b"<!doctype html><html><body>404</body></html>".to_vec(),
            b"{\"error\":\"BlobNotFound\"}".to_vec(),
            b"(module)".to_vec(),
            b"#!/bin/sh\nid\n".to_vec(),
        ],
    )
    .await;
    assert!(arena.refusal(native.code()).await.contains("WebAssembly"));
}

pub(crate) async fn a_component_is_no_module_and_a_module_no_component(arena: &Arena) {
    let reason = arena.refusal(&wasm("(component)")).await;
    assert!(reason.contains("component"), "{reason}");
    let function = arena.publish_record(&wasm(&run("i64.const 0")), |record| {
        record["mode"] = "component-v1".into();
    });
    let answer = arena.call(&function).await;
    assert_eq!(answer.error(), (400, "InvalidFunction"), "{answer:?}");
}

/// So many entries, each of these bytes.
fn entries(count: usize, entry: &[u8]) -> Vec<u8> {
    [leb(count), entry.repeat(count)].concat()
}

fn sections(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

pub(crate) async fn more_of_anything_than_a_compiler_can_take_is_refused_before_it_compiles(arena: &Arena) {
    let nothing = [0x60, 0, 0];
    let million = 1_000_000;
    let types = section(1, &entries(1, &nothing));
    let functions = |count| section(3, &entries(count, &[0]));
    // One function of these instructions.
    let code = |body: &[u8]| {
        let body = [&[0], body, &[0x0b]].concat();
        let function = [leb(body.len()), body].concat();
        sections(&[types.clone(), functions(1), section(10, &entries(1, &function))])
    };
    let cases = [
        (
            "nested blocks",
            wasm(&run(&format!("{}{} i64.const 0", "block ".repeat(20_000), "end ".repeat(20_000)))),
        ),
        ("control flow", wasm(&run(&format!("{} i64.const 0", "loop end ".repeat(80_000))))),
        ("bytes in one function", code(&[1; 7_000_000])),
        ("locals in one function", wasm(&run(&format!("(local {}) i64.const 0", "i32 ".repeat(50_000))))),
        (
            "bytes in one function",
            code(&[&[0x41, 0, 0x0e], &leb(million)[..], &vec![0; million + 1]].concat()),
        ),
        (
            "control flow",
            wasm(&run(&format!("(block (br_table {} (i32.const 0))) unreachable", "0 ".repeat(100_000)))),
        ),
        (
            "functions",
            sections(&[types.clone(), functions(million), section(10, &entries(million, &[2, 0, 0x0b]))]),
        ),
        ("types", sections(&[section(1, &entries(million, &nothing))])),
        (
            "exports",
            sections(&[types.clone(), functions(1), section(7, &entries(million, &[1, b'e', 0, 0]))]),
        ),
        ("globals", sections(&[section(6, &entries(million, &[0x7f, 0, 0x41, 0, 0x0b]))])),
        (
            "data segments",
            sections(&[section(5, &[1, 0, 1]), section(11, &entries(100_000, &[0, 0x41, 0, 0x0b, 0]))]),
        ),
        ("element segment entries", sections(&[section(9, &entries(100_000, &[1, 0, 0]))])),
    ];
    for (what, code) in cases {
        let began = Instant::now();
        let reason = arena.refusal(&code).await;
        assert!(reason.contains(what), "{what}: {reason}");
        // A PDS gives up after 10 s.
        arena.within(what, began.elapsed(), Duration::from_secs(5));
    }
}

pub(crate) async fn a_segment_at_the_far_end_of_the_memory_makes_no_image_of_all_of_it(arena: &Arena) {
    let (before, stored) = (arena.service.metric(DISK), arena.service.metric(STORED));
    let text = module(
        "(memory (export \"memory\") 4096) (data (i32.const 0x0ff00000) \"7\")",
        "i32.const 1024",
        &output_at(0x0ff0_0000, 1),
    );
    let answer = arena.attack(&text, Allowed { memory_mb: 256, ..LONG }).await;
    assert_eq!(answer.output(), &json!(7));
    arena.until(STORED, |now| now > stored).await;
    let grown = arena.service.metric(DISK) - before;
    assert!(grown <= 4 << 20, "{grown} bytes for a module of a hundred");
}

pub(crate) async fn sections_that_nobody_reads_cost_nothing_and_have_their_end(arena: &Arena) {
    // The same modules each time, as what is kept of them is no matter of this row.
    let sound = plain(&seven());
    let custom = |name: &str, bytes: usize| {
        [&sound[..], &section(0, &[&[name.len() as u8], name.as_bytes(), &vec![0xff; bytes]].concat())]
            .concat()
    };
    let before = arena.service.metric(DISK);
    // Names that are no names are of no consequence.
    for code in [custom("padding", 9_000_000), custom("name", 9_000_000), custom("producers", 1_000_000)] {
        let function = arena.publish(&code, LONG);
        assert_eq!(arena.call(&function).await.output(), &json!(7));
    }
    let grown = arena.service.metric(DISK) - before;
    assert!(grown < 1 << 20, "{grown}");
    // More than any module is not even fetched to its end.
    let function = arena.publish(&custom("padding", 30_000_000), LONG);
    let answer = arena.call(&function).await;
    assert_eq!(answer.error(), (502, "RepoUnreachable"), "{answer:?}");
    assert!(answer.message().contains("more than is allowed"), "{answer:?}");
}

pub(crate) async fn a_thousand_callers_of_one_cold_function_cost_one_fetch_and_one_compile(arena: &Arena) {
    let function = arena.publish(&wasm(&seven()), LONG);
    let (compiles, fetches) = (arena.service.metric(COMPILES), arena.world.asked("sync.getBlob"));
    // Over a while in which the code does not come.
    arena.world.delay([("sync.getBlob", Duration::from_millis(1_500))]);
    let answers = arena.arrive(1_000, 1_000, |_| arena.call(&function)).await;
    let mut ran = 0;
    for answer in &answers {
        match answer.status {
            200 => ran += usize::from(answer.output() == &json!(7)),
            // Those that would have been too late.
            _ => assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}"),
        }
    }
    assert!(ran > 500, "{ran}");
    assert_eq!(arena.service.metric(COMPILES) - compiles, 1);
    assert_eq!(arena.world.asked("sync.getBlob") - fetches, 1);
}

pub(crate) async fn a_stream_of_bad_modules_of_one_author_is_bounded_and_remembered(arena: &Arena) {
    // All different, none with the exports that it should have.
    let functions: Vec<_> = (0..300)
        .map(|n| arena.publish(&wasm(&format!("(module (global i32 (i32.const {n})))")), USUAL))
        .collect();
    // More at once than one author may have prepared, as each takes a while.
    arena.world.delay([("sync.getBlob", Duration::from_millis(100))]);
    let answers = arena.arrive(functions.len(), 600, |n| arena.call(&functions[n])).await;
    let mut bad = Vec::new();
    for (function, answer) in functions.iter().zip(&answers) {
        match answer.status {
            400 => {
                assert_eq!(answer.error().1, "InvalidFunction");
                bad.push(function);
            }
            // More at once than one author may have prepared.
            _ => {
                assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}");
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            }
        }
    }
    assert!(bad.len() >= 4 && bad.len() < 300, "{}", bad.len());
    // What was judged once is not judged again.
    let compiles = arena.service.metric(COMPILES);
    for function in bad {
        assert_eq!(arena.call(function).await.error(), (400, "InvalidFunction"));
    }
    assert_eq!(arena.service.metric(COMPILES), compiles);
}
