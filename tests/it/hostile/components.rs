//! Components that do what core modules cannot.

use super::*;

/// A component of the ABI around a core module: what `realloc`, `run` and `post` do in it, and what
/// its memory holds besides the result at 16 (`ok`, with the text at 64, which is `7`).
fn component(fields: &str, realloc: &str, run: &str, post: &str) -> String {
    format!(
        r#"(component
             (core module $m
               (memory (export "memory") 1)
               (data (i32.const 16) "\00\00\00\00\40\00\00\00\01\00\00\00") (data (i32.const 64) "7")
               {fields}
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
               (func (export "run") (param i32 i32) (result i32) {run})
               (func (export "post") (param i32) {post}))
             (core instance $i (instantiate $m))
             (func (export "run") (param "input" string) (result (result string (error string)))
               (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
                 (post-return (core func $i "post")))))"#
    )
}

const REALLOC: &str = "i32.const 1024";
const RUN: &str = "i32.const 16";

impl Arena {
    fn publish_component(&self, wasm: &[u8], millis: u64) -> Published {
        let rkey = format!("c{}", self.published.fetch_add(1, Ordering::Relaxed));
        self.world.publish_record(&rkey, wasm, |record| {
            record["mode"] = "component-v1".into();
            record["maxDurationMs"] = millis.into();
        })
    }

    async fn attack_with_component(&self, text: &str, millis: u64) -> Answer {
        let function = self.publish_component(&wasm(text), millis);
        self.watch(self.world.run(&function.uri, json!({}))).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_spins_anywhere_ends_at_its_limit() {
    let spin = "(loop $forever (br $forever)) unreachable";
    let cases = [
        ("realloc", component("", spin, RUN, "")),
        ("run", component("", REALLOC, spin, "")),
        ("post-return", component("", REALLOC, RUN, spin)),
        ("start", component("(func $spin (loop $forever (br $forever))) (start $spin)", REALLOC, RUN, "")),
    ];
    let arena = Arena::start().await;
    let sound = arena.attack_with_component(&component("", REALLOC, RUN, ""), 5_000).await;
    assert_eq!(sound.output(), &json!(7));
    for (place, text) in cases {
        let answer = arena.attack_with_component(&text, 100).await;
        failed(&answer, "timeout");
        let took = answer.body["durationMs"].as_u64().unwrap();
        assert!((100..=250).contains(&took), "in {place}: {took} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_components_pointers_are_held_to_its_memory() {
    // The result is at 2048: `ok`, pointer and length as given.
    let answers = |pointer: u32, length: u32| {
        let words = [0, pointer, length];
        let stores: String = (0..3)
            .map(|n| format!("(i32.store (i32.const {}) (i32.const {}))", 2048 + 4 * n, words[n] as i32))
            .collect();
        component("(data (i32.const 128) \"\\ff\\fe\")", REALLOC, &format!("{stores} i32.const 2048"), "")
    };
    let cases = [
        ("past the end", answers(65_536, 1), "outputInvalid"),
        ("over the end", answers(65_535, 2), "outputInvalid"),
        ("4 GiB", answers(64, 0xffff_ffff), "outputInvalid"),
        ("no UTF-8", answers(128, 2), "outputInvalid"),
        ("a result out of bounds", component("", REALLOC, "i32.const 65535", ""), "outputInvalid"),
        ("a result that is unaligned", component("", REALLOC, "i32.const 17", ""), "outputInvalid"),
        ("a realloc out of bounds", component("", "i32.const 65535", RUN, ""), "outputInvalid"),
        (
            "a case that is none",
            component("(data (i32.const 16) \"\\02\")", REALLOC, RUN, ""),
            "outputInvalid",
        ),
        ("a trap in realloc", component("", "unreachable", RUN, ""), "trap"),
        ("a trap in post-return", component("", REALLOC, RUN, "unreachable"), "trap"),
    ];
    let arena = Arena::start().await;
    for (what, text, outcome) in cases {
        let answer = arena.attack_with_component(&text, 5_000).await;
        assert_eq!(answer.outcome(), outcome, "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn component_bombs_are_refused_before_they_compile() {
    let empty = wasm("(component)");
    let nested = (0..1_000).fold(empty.clone(), |inner, _| [&empty[..], &section(4, &inner)].concat());
    // Each level has two of the one below: thirty levels are a billion.
    let doubled = |levels: usize| {
        let level = |n: usize| {
            format!("(component $c{} (instance (instantiate $c{n})) (instance (instantiate $c{n})))", n + 1)
        };
        format!("(component (component $c0) {})", (0..levels).map(level).collect::<String>())
    };
    let instances = |count: usize| {
        format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(count))
    };
    // The same with types: each is a tuple of two of the one below.
    let types = |levels: usize| {
        let level = |n: usize| format!("(type $t{} (tuple $t{n} $t{n}))", n + 1);
        format!("(component (type $t0 (tuple u8 u8)) {})", (0..levels).map(level).collect::<String>())
    };
    let aliases = format!(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) {})",
        "(alias core export $i \"f\" (core func))".repeat(100_000)
    );
    let cases = [
        ("nested a thousand deep", nested),
        ("instances by the billion", wasm(&doubled(30))),
        ("a hundred thousand instances", wasm(&instances(100_000))),
        ("types by the billion", wasm(&types(60))),
        ("a hundred thousand aliases", wasm(&aliases)),
    ];
    let arena = Arena::start().await;
    for (what, code) in cases {
        let function = arena.publish_component(&code, 100);
        let began = Instant::now();
        let answer = arena.watch(arena.world.run(&function.uri, json!({}))).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
    }
}
