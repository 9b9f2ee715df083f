//! Bytes as a module in the text format: any bytes make one, and most of it runs.

use std::fmt::Write;

/// Numbers at which things go wrong.
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    7,
    8,
    64,
    255,
    1024,
    65_528,
    65_535,
    65_536,
    131_072,
    262_144,
    -1,
    i32::MIN as i64,
    i32::MAX as i64,
];
const BINARY: [&str; 16] = [
    "add", "sub", "mul", "div_u", "div_s", "rem_u", "rem_s", "and", "or", "xor", "shl", "shr_s", "rotl",
    "lt_u", "eq", "gt_s",
];
const LOADS: [&str; 4] = ["load", "load8_u", "load16_s", "load8_s"];
const STORES: [&str; 4] = ["store", "store8", "store16", "store"];
const FLOATS: [&str; 4] = ["div", "min", "copysign", "sub"];
const MOST_STATEMENTS: usize = 200;
const FUNCTIONS: usize = 2;

/// The module that `bytes` stand for.
pub(super) fn of(bytes: &[u8]) -> String {
    let mut writer = Writer { bytes, text: String::new(), open: Vec::new() };
    let pages = writer.next() % 3;
    let alloc = match writer.next() % 8 {
        0 => format!("(i32.const {})", writer.number()),
        1 => "(call $f0 (local.get 0) (local.get 0))".into(),
        2 => "(memory.grow (local.get 0))".into(),
        _ => "(i32.const 1024)".into(),
    };
    let start = if writer.next().is_multiple_of(8) {
        "(func $s (drop (call $f0 (i32.const 1) (i32.const 2)))) (start $s)"
    } else {
        ""
    };
    for function in 0..FUNCTIONS {
        let statements = usize::from(writer.next()) % 16;
        writer.text(format_args!("(func $f{function} (type $f) (local i32 i32)"));
        writer.body(statements, "(local.get 2)");
        writer.text(format_args!("(local.get 3))"));
    }
    writer.text(format_args!(r#"(func (export "run") (param i32 i32) (result i64) (local i32 i32)"#));
    const PACKED: &str =
        "(i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))";
    writer.body(MOST_STATEMENTS, PACKED);
    writer.text(format_args!("{PACKED})"));
    format!(
        r#"(module (type $f (func (param i32 i32) (result i32)))
  (memory (export "memory") {pages}) (table $t 4 funcref) (elem (table $t) (i32.const 0) func $f0 $f1)
  (global $g (mut i32) (i32.const 3)) (data $d "[1,2,3]")
  (func (export "alloc") (param i32) (result i32) {alloc}) {start}
{})"#,
        writer.text
    )
}

struct Writer<'a> {
    bytes: &'a [u8],
    text: String,
    /// How each block that is open ends.
    open: Vec<String>,
}

impl Writer<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()]
    }

    fn number(&mut self) -> i64 {
        self.one_of(&NUMBERS)
    }

    fn text(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes all");
        self.text.push('\n');
    }

    fn body(&mut self, statements: usize, result: &str) {
        for _ in 0..statements {
            if self.bytes.is_empty() {
                break;
            }
            self.statement(result);
        }
        while let Some(end) = self.open.pop() {
            self.text(format_args!("{end}"));
        }
    }

    fn statement(&mut self, result: &str) {
        let (what, which) = (self.next(), self.next());
        let [a, b, c] = [which & 3, which >> 2 & 3, which >> 4 & 3];
        match what % 22 {
            0 | 1 => {
                let number = self.number();
                self.text(format_args!("(local.set {a} (i32.const {number}))"));
            }
            2 | 3 => {
                let operation = self.one_of(&BINARY);
                self.text(format_args!("(local.set {a} (i32.{operation} (local.get {b}) (local.get {c})))"));
            }
            4 => {
                let (load, offset) = (self.one_of(&LOADS), self.number().max(0));
                self.text(format_args!("(local.set {a} (i32.{load} offset={offset} (local.get {b})))"));
            }
            5 => {
                let (store, offset) = (self.one_of(&STORES), self.number().max(0));
                self.text(format_args!("(i32.{store} offset={offset} (local.get {a}) (local.get {b}))"));
            }
            6 => self.text(format_args!("(local.set {a} (memory.grow (local.get {b})))")),
            7 => self.text(format_args!("(memory.fill (local.get {a}) (local.get {b}) (local.get {c}))")),
            8 => self.text(format_args!("(memory.copy (local.get {a}) (local.get {b}) (local.get {c}))")),
            9 => self.text(format_args!("(memory.init $d (local.get {a}) (i32.const {b}) (i32.const {c}))")),
            10 | 11 => self.begin("(loop", format!("(br_if 0 (local.get {a})))")),
            12 => self.begin(&format!("(if (local.get {a}) (then"), "))".into()),
            13 => self.begin("(block", ")".into()),
            14 => {
                if let Some(end) = self.open.pop() {
                    self.text(format_args!("{end}"));
                }
            }
            15 => self.text(format_args!(
                "(local.set {a} (call $f{} (local.get {b}) (local.get {c})))",
                usize::from(which >> 6) % FUNCTIONS
            )),
            16 => self.text(format_args!(
                "(local.set {a} (call_indirect $t (type $f) (local.get {b}) (local.get {c}) (local.get {a})))"
            )),
            17 => self.text(format_args!("(local.set {a} (table.grow $t (ref.null func) (local.get {b})))")),
            18 if !self.open.is_empty() => {
                let label = usize::from(self.next()) % self.open.len();
                self.text(format_args!("(br_if {label} (local.get {a}))"));
            }
            19 => {
                let operation = self.one_of(&FLOATS);
                self.text(format_args!(
                    "(f64.store (local.get {a}) (f64.{operation} (f64.load (local.get {b})) (f64.load (local.get {c}))))"
                ));
            }
            20 => self.text(format_args!("(if (local.get {a}) (then (return {result})))")),
            21 if which % 8 == 0 => self.text(format_args!("(if (local.get {a}) (then unreachable))")),
            _ => self.text(format_args!("(global.set $g (i32.add (global.get $g) (local.get {a})))")),
        }
    }

    fn begin(&mut self, what: &str, end: String) {
        // As deep as is of use; the deeper is for the target of any module.
        if self.open.len() < 16 {
            self.text(format_args!("{what}"));
            self.open.push(end);
        }
    }
}
