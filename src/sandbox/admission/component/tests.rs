use std::time::{Duration, Instant};

use super::*;
use crate::lexicon::Mode;
use crate::sandbox::admission;

fn judge(text: &str) -> Result<Admitted, Refusal> {
    let code = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    admission::admit(Mode::ComponentV1, &code)
}

/// The parts of a component that answers, with `fields` before them.
fn with(fields: &str) -> String {
    format!(
        r#"(component {fields}
          (core module $program
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "run") (param i32 i32) (result i32) i32.const 16))
          (core instance $program (instantiate $program))
          (func (export "run") (param "input-json" string) (result (result string (error string)))
            (canon lift (core func $program "run") (memory (core memory $program "memory"))
              (realloc (core func $program "realloc")))))"#
    )
}

fn too_much(text: &str) -> (Bound, usize) {
    match judge(text) {
        Err(Refusal::TooMuch { bound, found }) => (bound, found),
        other => panic!("{other:?}"),
    }
}

fn initial_bytes(text: &str) -> u64 {
    judge(text).unwrap_or_else(|refusal| panic!("{refusal}")).initial_bytes
}

#[test]
fn initial_memory_is_that_of_all_instances() {
    assert_eq!(initial_bytes(&with("")), 65_536);
    let module = "(core module $m (memory 2) (table 100 funcref))";
    // Defined, and never instantiated.
    assert_eq!(initial_bytes(&with(module)), 65_536);
    assert_eq!(initial_bytes(&with(&format!("{module} (core instance (instantiate $m))"))), 3 * 65_536 + 800);
    let nested = format!(
        "{module} (component $c (alias outer 1 $m (core module $n)) (core instance (instantiate $n)))
         (component $d (alias outer 1 $c (component $e)) (instance (instantiate $e)) (instance (instantiate $e)))
         (instance (instantiate $d))"
    );
    assert_eq!(initial_bytes(&with(&nested)), 5 * 65_536 + 1600);
    // What is imported is its owner's.
    let shared = "(core module $m (memory (export \"m\") 2)) (core instance $i (instantiate $m))
        (core module $n (import \"a\" \"m\" (memory 1))) (core instance (instantiate $n (with \"a\" (instance $i))))";
    assert_eq!(initial_bytes(&with(shared)), 3 * 65_536);
}

#[test]
fn all_that_is_offered_can_be_imported() {
    for name in imports::RUNTIME {
        judge(&with(&format!("(import \"{name}\" (instance))"))).unwrap();
    }
    for interface in imports::WASI {
        for patch in ["0", "3", "12", "99"] {
            judge(&with(&format!("(import \"{interface}@0.2.{patch}\" (instance))"))).unwrap();
        }
    }
}

#[test]
fn what_is_offered_is_what_is_linked() {
    let bindings = include_str!("../../component/bindings.rs");
    let mut linked: Vec<&str> = bindings
        .lines()
        .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'))
        .map(|name| name.strip_suffix("@0.2.12").unwrap_or(name))
        .collect();
    linked.sort_unstable();
    let mut offered = [&imports::RUNTIME[..], &imports::WASI[..]].concat();
    offered.sort_unstable();
    assert_eq!(linked, offered);
}

#[test]
fn other_imports_are_refused_by_name_with_what_to_do() {
    let cases = [
        ("(import \"wasi:http/outgoing-handler@0.2.0\" (instance))", "no network"),
        ("(import \"wasi:http/types@0.2.3\" (instance))", "no network"),
        ("(import \"wasi:clocks/timezone@0.2.0\" (instance))", "there is only 0.2"),
        ("(import \"wasi:cli/stdout@0.3.0\" (instance))", "there is only 0.2"),
        ("(import \"wasi:cli/stdout@0.2.0-rc-2023-11-10\" (instance))", "there is only 0.2"),
        ("(import \"wasi:cli/stdout@0.1.0\" (instance))", "there is only 0.2"),
        ("(import \"wasi:cli/stdout\" (instance))", "there is only 0.2"),
        ("(import \"wasi:keyvalue/store@0.2.0\" (instance))", "there is only 0.2"),
        ("(import \"atfunc:runtime/atproto@0.3.0\" (instance))", "released versions"),
        ("(import \"atfunc:runtime/atproto@0.1.1\" (instance))", "released versions"),
        ("(import \"atfunc:runtime/context@0.1.0\" (instance))", "released versions"),
        ("(import \"atfunc:runtime/atproto\" (instance))", "released versions"),
        ("(import \"other:package/thing@1.0.0\" (instance))", "composed into it"),
        ("(import \"f\" (func))", "composed into it"),
        ("(import \"m\" (core module))", "composed into it"),
        ("(import \"c\" (component))", "composed into it"),
        ("(import \"t\" (type (sub resource)))", "composed into it"),
        ("(import \"wasi:cli/exit@0.2.0\" (component))", "there is only 0.2"),
    ];
    for (field, advice) in cases {
        let refusal = judge(&with(field)).unwrap_err();
        let name = field.split('"').nth(1).unwrap();
        assert!(matches!(&refusal, Refusal::ComponentImport { import, .. } if import == name), "{refusal:?}");
        assert!(refusal.to_string().contains(advice), "{refusal}");
    }
}

#[test]
fn run_must_be_a_function_of_a_string() {
    let without = with("").replace(
        "(func (export \"run\") (param \"input-json\"",
        "(func (export \"go\") (param \"input-json\"",
    );
    assert_eq!(judge(&without), Err(Refusal::MissingRun));
    // As an interface's function, which the engine would not find.
    let lifted = |signature: &str, core: &str| {
        format!(
            r#"(component (core module $m (memory (export "memory") 1)
                 (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                 (func (export "run") {core} unreachable))
               (core instance $m (instantiate $m))
               (func (export "run") {signature} (canon lift (core func $m "run")
                 (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"#
        )
    };
    let text = "(result (result string (error string)))";
    let strings = "(param i32 i32) (result i32)";
    assert!(judge(&lifted(&format!("(param \"anything\" string) {text}"), strings)).is_ok());
    let cases = [
        ("", ""),
        (text, "(result i32)"),
        ("(param \"input-json\" string)", "(param i32 i32)"),
        ("(param \"input-json\" string) (result string)", strings),
        ("(param \"input-json\" string) (result (result string))", strings),
        ("(param \"input-json\" string) (result (result (error string)))", strings),
        ("(param \"input-json\" string) (result (result string (error u32)))", strings),
        ("(param \"input-json\" string) (result (result (list u8) (error string)))", strings),
        ("(param \"input-json\" (list u8)) (result (result string (error string)))", strings),
        ("(param \"input-json\" string) (result (option string))", strings),
        (
            "(param \"input-json\" string) (param \"b\" u32) (result (result string (error string)))",
            "(param i32 i32 i32) (result i32)",
        ),
    ];
    for (signature, core) in cases {
        assert_eq!(judge(&lifted(signature, core)), Err(Refusal::WrongRun), "{signature}");
    }
    let instance = r#"(component (component $c) (instance (export "run") (instantiate $c)))"#;
    assert_eq!(judge(instance), Err(Refusal::WrongRun));
}

#[test]
fn a_core_module_is_no_component_and_the_reverse() {
    let module = wat::parse_str("(module)").unwrap();
    assert_eq!(admission::admit(Mode::ComponentV1, &module), Err(Refusal::CoreModule { likely: None }));
    let component = wat::parse_str(with("")).unwrap();
    assert_eq!(admission::admit(Mode::PureV1, &component), Err(Refusal::Component { mode: Mode::PureV1 }));
    // It may end after any of its sections, but not before its last one; what follows that are names.
    let whole =
        (0..component.len()).filter(|end| admission::admit(Mode::ComponentV1, &component[..*end]).is_ok());
    assert!(whole.clone().all(|end| component[end] == 0), "{:?}", whole.collect::<Vec<_>>());
    assert_eq!(whole.count(), 1);
    assert!(admission::admit(Mode::ComponentV1, &component).is_ok());
}

#[test]
fn bounds_of_modules_hold_for_all_modules_of_a_component_together() {
    let functions = |count: usize| format!("(core module {})", "(func)".repeat(count));
    // The program has two of its own.
    let two = [functions(10_000), functions(9_998)].concat();
    assert!(judge(&with(&two)).is_ok());
    let two = [functions(10_000), functions(9_999)].concat();
    assert_eq!(too_much(&with(&two)), (Bound::Functions, 20_001));

    let globals = format!("(core module {})", "(global i32 (i32.const 0))".repeat(600));
    assert_eq!(too_much(&with(&globals.repeat(2))), (Bound::Globals, 1_200));
    let locals = format!("(core module (func (local {})))", "i32 ".repeat(4_096));
    assert_eq!(too_much(&with(&locals.repeat(32))).0, Bound::Modules);
    let body = format!("(core module (func (local {})))", "i32 ".repeat(4_097));
    assert_eq!(too_much(&with(&body)), (Bound::Locals, 4_097));
    assert_eq!(too_much(&with("(core module (memory 4097))")), (Bound::InitialPages, 4_097));
    assert_eq!(too_much(&with("(core module (table 20001 funcref))")), (Bound::TableElements, 20_001));
    assert_eq!(too_much(&with("(core module (table 1 funcref) (table 1 funcref))")), (Bound::Tables, 2));
    assert_eq!(too_much(&with(&"(core module)".repeat(32))), (Bound::Modules, 33));
    // Each image of a memory is a file, instantiated or not; the program's is one.
    let memory = "(core module (memory 1) (data (i32.const 0) \"x\"))";
    assert!(judge(&with(&memory.repeat(3))).is_ok());
    assert_eq!(too_much(&with(&memory.repeat(4))), (Bound::AllMemories, 5));
    assert_eq!(too_much(&with(&"(component)".repeat(101))), (Bound::Components, 101));
}

#[test]
fn what_an_instance_is_made_of_is_bounded() {
    let instances = |module: &str, count: usize| {
        with(&format!("(core module $m {module}) {}", "(core instance (instantiate $m))".repeat(count)))
    };
    assert!(judge(&instances("", 15)).is_ok());
    assert_eq!(too_much(&instances("", 16)), (Bound::CoreInstances, 17));
    assert!(judge(&instances("(memory 1)", 3)).is_ok());
    assert_eq!(too_much(&instances("(memory 1)", 4)), (Bound::AllMemories, 5));
    assert!(judge(&instances("(table 1 funcref)", 8)).is_ok());
    assert_eq!(too_much(&instances("(table 1 funcref)", 9)), (Bound::AllTables, 9));
    // A function is 40 bytes in each instance.
    let functions = "(func)".repeat(12_000);
    assert!(judge(&instances(&functions, 13)).is_ok());
    assert_eq!(too_much(&instances(&functions, 14)).0, Bound::InstanceBytes);
    let empty =
        |count: usize| with(&format!("(component $c) {}", "(instance (instantiate $c))".repeat(count)));
    assert!(judge(&empty(200)).is_ok());
    assert_eq!(too_much(&empty(201)), (Bound::ComponentInstances, 201));
}

/// Components that each hold the one before them twice.
fn doubling(levels: usize, innermost: &str) -> String {
    let mut text = format!("(component $c0 {innermost})");
    for level in 1..=levels {
        let before = level - 1;
        text += &format!(
            "(component $c{level} (alias outer 1 $c{before} (component $c))
               (instance (instantiate $c)) (instance (instantiate $c)))"
        );
    }
    with(&format!("{text} (instance (instantiate $c{levels}))"))
}

#[test]
fn what_doubles_at_each_level_is_refused_at_once() {
    let began = Instant::now();
    for innermost in ["", "(core module $m) (core instance (instantiate $m))", "(type u32) (type u32)"] {
        let (bound, _) = too_much(&doubling(60, innermost));
        let among = [Bound::ComponentInstances, Bound::CoreInstances, Bound::ComponentSteps];
        assert!(among.contains(&bound), "{bound:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn instructions_count_once_for_each_instance() {
    // A hundred instances of a component of some two hundred types.
    let types = "(type u32)".repeat(210);
    let text = with(&format!("(component $c {types}) {}", "(instance (instantiate $c))".repeat(100)));
    assert_eq!(too_much(&text).0, Bound::ComponentSteps);
    let lifted = format!(
        r#"(component $c (core module $m (func (export "f"))) (core instance $m (instantiate $m)) {})
           (instance (instantiate $c)) (instance (instantiate $c))"#,
        r#"(func (canon lift (core func $m "f")))"#.repeat(501)
    );
    assert_eq!(too_much(&with(&lifted)).0, Bound::CanonicalFunctions);
}

#[test]
fn components_nest_only_so_deep() {
    let nested = |levels: usize| with(&format!("{}{}", "(component ".repeat(levels), ")".repeat(levels)));
    assert!(judge(&nested(7)).is_ok());
    assert_eq!(too_much(&nested(9)).0, Bound::ComponentNesting);
    // Without the text format, which would give up itself: sections that promise more than there is.
    let header = b"\0asm\x0d\0\x01\0";
    let mut code = Vec::new();
    for _ in 0..1_000 {
        let mut outer = header.to_vec();
        outer.push(4);
        let mut length = code.len() + header.len();
        while length >= 0x80 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend_from_slice(header);
        outer.extend_from_slice(&code);
        code = outer[header.len()..].to_vec();
    }
    let code = [&header[..], &code].concat();
    let refusal = admission::admit(Mode::ComponentV1, &code).unwrap_err();
    assert!(matches!(refusal, Refusal::TooMuch { bound: Bound::ComponentNesting, .. }), "{refusal:?}");
}

/// A component of one type section, with this content.
fn type_section(content: &[u8]) -> Vec<u8> {
    let mut code = b"\0asm\x0d\0\x01\0\x07".to_vec();
    let mut length = content.len();
    while length >= 0x80 {
        code.push(length as u8 | 0x80);
        length >>= 7;
    }
    code.push(length as u8);
    code.extend_from_slice(content);
    code
}

#[test]
fn types_within_types_do_not_exhaust_the_stack() {
    // One type: an instance type, whose one declaration is an instance type, and so on.
    for (open, levels) in [(0x42, 1_000_000), (0x41, 3_000_000), (0x42, 251)] {
        let mut content = vec![1];
        content.extend([open, 1, 1].repeat(levels));
        content.extend([open, 0]);
        let refusal = admission::admit(Mode::ComponentV1, &type_section(&content)).unwrap_err();
        assert!(matches!(refusal, Refusal::TooMuch { bound: Bound::TypeNesting, .. }), "{refusal:?}");
    }
    // As deep as gets through here, on a small stack.
    let mut content = vec![1];
    content.extend([0x42, 1, 1].repeat(249));
    content.extend([0x42, 0]);
    let code = type_section(&content);
    let judged = std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(move || admission::admit(Mode::ComponentV1, &code))
        .unwrap();
    assert!(judged.join().unwrap().is_err());
}

#[test]
fn types_are_bounded_by_their_parts() {
    let record = |fields: usize| {
        let fields: String = (0..fields).map(|field| format!("(field \"f{field}\" u8)")).collect();
        format!("(type (record {fields}))")
    };
    assert!(judge(&with(&record(9_000))).is_ok());
    assert_eq!(too_much(&with(&record(9_000).repeat(3))).0, Bound::TypeParts);
    let declared = format!("(type (instance {}))", record(9_000).repeat(3));
    assert_eq!(too_much(&with(&declared)).0, Bound::TypeParts);
    // Each a pair of the one before: the validator knows the size of what it would unfold into.
    let pairs: String =
        (1..60).map(|pair| format!("(type $t{pair} (tuple $t{0} $t{0}))", pair - 1)).collect();
    let refusal = judge(&with(&format!("(type $t0 u8) {pairs}"))).unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal:?}");
}

#[test]
fn what_is_handed_in_is_not_instantiated() {
    let module = r#"(component $c (import "m" (core module $m)) (core instance (instantiate $m)))
        (core module $big (memory 100)) (instance (instantiate $c (with "m" (core module $big))))"#;
    assert_eq!(judge(&with(module)), Err(Refusal::HandedIn));
    let component = r#"(component $c (import "c" (component $d)) (instance (instantiate $d)))
        (component $e) (instance (instantiate $c (with "c" (component $e))))"#;
    assert_eq!(judge(&with(component)), Err(Refusal::HandedIn));
    let exported = r#"(component $c (core module $m) (export "m" (core module $m)))
        (instance $i (instantiate $c)) (alias export $i "m" (core module $n)) (core instance (instantiate $n))"#;
    assert_eq!(judge(&with(exported)), Err(Refusal::HandedIn));
    // One's own under another name is known.
    let own = r#"(component $c (core module $m (memory 1)) (export $n "m" (core module $m)) (core instance (instantiate $n)))
        (instance (instantiate $c))"#;
    assert_eq!(initial_bytes(&with(own)), 2 * 65_536);
}

#[test]
fn parts_of_the_component_model_that_are_off_are_refused_as_such() {
    let cases = [
        "(type (stream u8))",
        "(type (future u8))",
        "(type error-context)",
        "(type (map string u8))",
        "(type (list u8 4))",
        "(core func (canon backpressure.inc))",
        "(core module (memory i64 1))",
    ];
    for field in cases {
        let refusal = judge(&with(field)).unwrap_err();
        assert!(matches!(refusal, Refusal::Feature { .. }), "{field}: {refusal}");
    }
}

#[test]
fn hostile_components_are_judged_quickly() {
    let instances = "(instance (instantiate $c))".repeat(200);
    let exports: String = (0..400).map(|export| format!("(export \"e{export}\" (func))")).collect();
    let imports: String = (0..400).map(|import| format!("(import \"i{import}\" (func))")).collect();
    let cases = [
        ("many aliases", "(alias outer 0 0 (type))".repeat(100_000)),
        ("many core types", "(core type (func))".repeat(100_000)),
        ("many types", "(type u8)".repeat(100_000)),
        ("wide instances", format!("(component $c {imports}) {instances} (type (instance {exports}))")),
    ];
    for (name, fields) in cases {
        let fields = format!("(type u8) {fields}");
        let Ok(code) = wat::parse_str(with(&fields)) else { continue };
        let began = Instant::now();
        let _ = admission::admit(Mode::ComponentV1, &code);
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
    }
}
