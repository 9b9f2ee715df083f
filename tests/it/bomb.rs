//! Modules that admission takes and the compiler needs long for.

/// A module that the compiler needs some 2.5 ms of processor time for each function of.
pub fn bomb(functions: usize) -> Vec<u8> {
    let line = |n: usize| {
        let (a, b, c, d) = (n * 7 % 30, (n * 11 + 3) % 30, n * 5 % 30, n % 30);
        format!(
            "(local.set {d} (i64.add (i64.mul (local.get {a}) (local.get {b})) (i64.load (i32.wrap_i64 (local.get {c})))))"
        )
    };
    let body: String = (0..200).map(line).collect();
    let one = format!("(func (local {}) {body})", "i64 ".repeat(30));
    let code = wat::parse_str(format!("(module (memory 1) {one})")).unwrap();
    // What follows the header of the code section: its one body, with its length.
    let function = wasm_code(&code);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let types = b"\x03\x60\x01\x7f\x01\x7f\x60\x02\x7f\x7f\x01\x7e\x60\0\0";
    section(&mut module, 1, types);
    section(&mut module, 3, &[&leb(functions + 2)[..], &[0, 1], &vec![2; functions]].concat());
    section(&mut module, 5, &[1, 0, 1]);
    section(&mut module, 7, b"\x03\x06memory\x02\0\x05alloc\0\0\x03run\0\x01");
    let own: &[u8] = &[5, 0, 0x41, 0x80, 0x08, 0x0b, 4, 0, 0x42, 0, 0x0b];
    section(&mut module, 10, &[&leb(functions + 2)[..], own, &function.repeat(functions)].concat());
    module
}

/// The bodies of a module whose last section is its code.
fn wasm_code(module: &[u8]) -> Vec<u8> {
    let mut at = 8;
    loop {
        let (length, of_length) = read_leb(&module[at + 1..]);
        let content = at + 1 + of_length;
        if module[at] == 10 {
            // After the number of functions, which is one.
            return module[content + 1..content + length].to_vec();
        }
        at = content + length;
    }
}

fn section(module: &mut Vec<u8>, number: u8, content: &[u8]) {
    module.push(number);
    module.extend(leb(content.len()));
    module.extend(content);
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn read_leb(bytes: &[u8]) -> (usize, usize) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let number = bytes[..length].iter().rev().fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f));
    (number, length)
}
