//! Modules that are not what they say, or more than a compiler can take.

use at_functions::lexicon::Mode;
use at_functions::sandbox::{Sandbox, ThreadSandbox, ThreadSandboxConfig};

use super::*;

/// Publishes these bytes, one after the other, and holds each to be refused, all within one watch.
async fn all_are_refused(arena: &Arena, codes: &[Vec<u8>]) {
    let attack = async {
        for (n, code) in codes.iter().enumerate() {
            let function = arena.publish(code, USUAL);
            let answer = arena.world.run(&function.uri, json!({})).await;
            assert_eq!(answer.error(), (400, "InvalidFunction"), "{n}: {answer:?}");
            tells_nothing_of_the_host(&answer.body);
        }
    };
    arena.watch(attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_cut_off_anywhere_is_refused() {
    let arena = Arena::start().await;
    // Without names, so that its last section is its code, which no module of the ABI can do without.
    let whole = wasm(
        r#"(module (memory (export "memory") 1)
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
    );
    let cut: Vec<_> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    all_are_refused(&arena, &cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_wasm_is_refused_and_never_loaded_as_native_code() {
    // What the engine itself would take for compiled code, of just the kind that it loads.
    let sandbox = ThreadSandbox::start(ThreadSandboxConfig { slots: 4, ..Default::default() }).unwrap();
    let native = sandbox.compile(Mode::PureV1, ECHO.into()).await.unwrap();
    assert!(sandbox.install(&native).is_ok());
    let arena = Arena::start().await;
    let executable = std::fs::read("/proc/self/exe").unwrap();
    all_are_refused(
        &arena,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_no_module_and_a_module_no_component() {
    let arena = Arena::start().await;
    let reason = arena.refusal(&wasm("(component)")).await;
    assert!(reason.contains("component"), "{reason}");
    let function = arena.world.publish_record("reverse", &wasm(&run("i64.const 0")), |record| {
        record["mode"] = "component-v1".into();
    });
    let answer = arena.watch(arena.world.run(&function.uri, json!({}))).await;
    assert_eq!(answer.error(), (400, "InvalidFunction"), "{answer:?}");
}

/// So many entries, each of these bytes.
fn entries(count: usize, entry: &[u8]) -> Vec<u8> {
    [leb(count), entry.repeat(count)].concat()
}

fn sections(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_of_anything_than_a_compiler_can_take_is_refused_before_it_compiles() {
    let nothing = [0x60, 0, 0];
    let million = 1_000_000;
    let types = section(1, &entries(1, &nothing));
    let functions = |count| section(3, &entries(count, &[0]));
    let cases = [
        (
            "nested blocks",
            wasm(&run(&format!("{}{} i64.const 0", "block ".repeat(20_000), "end ".repeat(20_000)))),
        ),
        ("control flow", wasm(&run(&format!("{} i64.const 0", "loop end ".repeat(80_000))))),
        ("bytes in one function", wasm(&run(&format!("{} i64.const 0", "nop ".repeat(7_000_000))))),
        ("locals in one function", wasm(&run(&format!("(local {}) i64.const 0", "i32 ".repeat(50_000))))),
        (
            "bytes in one function",
            wasm(&run(&format!("(br_table {} (i32.const 0)) i64.const 0", "0 ".repeat(million)))),
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
    let arena = Arena::start().await;
    for (what, code) in cases {
        let began = Instant::now();
        let reason = arena.refusal(&code).await;
        assert!(reason.contains(what), "{what}: {reason}");
        // A PDS gives up after 10 s; the machine of the tests is slow and busy.
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_at_the_far_end_of_the_memory_makes_no_image_of_all_of_it() {
    let arena = Arena::start().await;
    let before = arena.world.stats().artifact_bytes;
    let text = module(
        "(memory (export \"memory\") 4096) (data (i32.const 0x0ff00000) \"7\")",
        "i32.const 1024",
        &output_at(0x0ff0_0000, 1),
    );
    let answer = arena.attack(&text, Allowed { memory_mb: 256, ..LONG }).await;
    assert_eq!(answer.output(), &json!(7));
    let grown = arena.world.stats().artifact_bytes - before;
    assert!(grown <= 4 << 20, "{grown} bytes for a module of a hundred");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sections_that_nobody_reads_cost_nothing_and_have_their_end() {
    let arena = Arena::start().await;
    let sound = wasm(&module(
        "(memory (export \"memory\") 1) (data (i32.const 8) \"7\")",
        "i32.const 1024",
        &output_at(8, 1),
    ));
    let custom = |name: &str, bytes: usize| {
        [&sound[..], &section(0, &[&[name.len() as u8], name.as_bytes(), &vec![0xff; bytes]].concat())]
            .concat()
    };
    // Names that are no names are of no consequence.
    for code in [custom("padding", 9_000_000), custom("name", 9_000_000), custom("producers", 1_000_000)] {
        let function = arena.publish(&code, LONG);
        assert_eq!(arena.watch(arena.world.run(&function.uri, json!({}))).await.output(), &json!(7));
    }
    assert!(arena.world.stats().artifact_bytes < 8 << 20, "{:?}", arena.world.stats());
    // More than any module is not even fetched to its end.
    let function = arena.publish(&custom("padding", 30_000_000), LONG);
    let answer = arena.watch(arena.world.run(&function.uri, json!({}))).await;
    assert_eq!(answer.error(), (502, "RepoUnreachable"), "{answer:?}");
    assert!(answer.message().contains("more than is allowed"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_one_cold_function_cost_one_fetch_and_one_compile() {
    let arena = Arena::start().await;
    let text = module(
        "(memory (export \"memory\") 1) (data (i32.const 8) \"7\")",
        "i32.const 1024",
        &output_at(8, 1),
    );
    let function = arena.publish(&wasm(&text), LONG);
    let (compiles, fetches) = (arena.world.compiles(), arena.world.asked("sync.getBlob"));
    let answers = arena.attack_at_once(&function, 1_000).await;
    let mut ran = 0;
    for answer in &answers {
        match answer.status {
            200 => ran += usize::from(answer.output() == &json!(7)),
            // Those that would have been too late.
            _ => assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}"),
        }
    }
    assert!(ran > 500, "{ran}");
    assert_eq!(arena.world.compiles() - compiles, 1);
    assert_eq!(arena.world.asked("sync.getBlob") - fetches, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_bad_modules_of_one_author_is_bounded_and_remembered() {
    let arena = Arena::start().await;
    // All different, none with the exports that it should have.
    let functions: Vec<_> = (0..300)
        .map(|n| arena.publish(&wasm(&format!("(module (global i32 (i32.const {n})))")), USUAL))
        .collect();
    let calls = functions.iter().map(|function| arena.world.run(&function.uri, json!({})));
    let answers = arena.watch(futures_util::future::join_all(calls)).await;
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
    let compiles = arena.world.compiles();
    for function in bad {
        assert_eq!(arena.world.run(&function.uri, json!({})).await.error(), (400, "InvalidFunction"));
    }
    assert_eq!(arena.world.compiles(), compiles);
}
