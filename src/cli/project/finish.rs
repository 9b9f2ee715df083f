//! From what a compiler wrote to what is deployed: a module with WIT becomes a component, and what no service looks at goes away.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use wit_component::ComponentEncoder;

use super::super::files::Scratch;
use super::super::output;
use super::super::wasm;
use super::toolchain;

/// What services take besides the first version of WebAssembly, as `wasm-opt` calls it; nothing else may come of it.
const FEATURES: [&str; 8] = [
    "--enable-bulk-memory",
    "--enable-extended-const",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// The start of the name of a section with WIT in it (`wit-component`).
const WIT_SECTION: &str = "component-type";

/// What was done, and how large it was after each step.
#[derive(Debug, Default)]
pub(in crate::cli) struct Steps(pub(in crate::cli) Vec<(&'static str, u64)>);

/// What is done to a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Also takes the names of functions away.
    pub(super) strip: bool,
    /// Uses `wasm-opt`, if it is there.
    pub(super) optimise: bool,
}

/// Finishes a module; bytes that are none are left for the verdict to tell.
pub(super) async fn finish(code: Vec<u8>, wanted: Wanted) -> Result<(Vec<u8>, Steps), String> {
    let mut steps = Steps::default();
    let before = code.len();
    let mut code = slim(code, |name| {
        name.starts_with(WIT_SECTION) || (!wanted.strip && matches!(name, "name" | "component-name"))
    });
    if code.len() < before {
        steps.0.push((if wanted.strip { "stripped" } else { "stripped, but for names" }, code.len() as u64));
    }
    if wanted.optimise
        && is_module(&code)
        && let Some(smaller) = optimised(&code, wanted.strip).await
    {
        code = smaller;
        steps.0.push(("wasm-opt", code.len() as u64));
    }
    if is_module(&code) && sections(&code).is_some_and(|all| all.iter().any(|section| section.has_wit())) {
        code = componentised(&code)?;
        // What the encoder says of itself.
        code = slim(code, |name| !wanted.strip && name == "component-name");
        steps.0.push(("made a component", code.len() as u64));
    }
    Ok((code, steps))
}

fn componentised(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoded = ComponentEncoder::default()
        .module(module)
        .map(|encoder| encoder.validate(true))
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| {
        // The chain of causes; the last is what is wrong.
        let why = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let why = output::printable(&why);
        match why.contains("wasi_snapshot_preview1") {
            true => format!("no component can be made of it: {why}\nBuild it for wasm32-unknown-unknown, or for wasm32-wasip2, whose compiler makes components itself."),
            false => format!("no component can be made of it: {why}"),
        }
    })
}

/// What `wasm-opt` makes of a module, if it is there, and what it makes is smaller and as good to services.
async fn optimised(module: &[u8], strip: bool) -> Option<Vec<u8>> {
    let program = toolchain::find("wasm-opt")?;
    let scratch = Scratch::make().ok()?;
    let (from, to) = (scratch.path().join("in.wasm"), scratch.path().join("out.wasm"));
    std::fs::write(&from, module).ok()?;
    let mut command = Command::new(program);
    command.arg("-Os").args(FEATURES);
    if !strip {
        // It keeps the names.
        command.arg("-g");
    }
    let ended = command.arg(&from).arg("-o").arg(&to).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let ended = ended.ok()?;
    if !ended.status.success() {
        let why = String::from_utf8_lossy(&ended.stderr);
        let why = output::printable(why.lines().last().unwrap_or_default());
        output::note(&format!("note: wasm-opt failed, and the module stays as it was: {why}"));
        return None;
    }
    let smaller = slim(read(&to)?, |name| name.starts_with(WIT_SECTION) || (!strip && name == "name"));
    let mode = wasm::likely_mode(module);
    let is_as_good = sections(&smaller).is_some_and(|all| all.iter().any(|section| section.has_wit()))
        || wasm::check(module, mode).is_err()
        || wasm::check(&smaller, mode).is_ok();
    (smaller.len() < module.len() && is_as_good).then_some(smaller)
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

fn is_module(code: &[u8]) -> bool {
    code.starts_with(b"\0asm\x01\0\0\0")
}

/// A section as it stands in a file, its head included.
struct Section<'a> {
    bytes: &'a [u8],
    /// Of a custom section.
    name: Option<&'a str>,
}

impl Section<'_> {
    fn has_wit(&self) -> bool {
        self.name.is_some_and(|name| name.starts_with(WIT_SECTION))
    }
}

/// The file without its custom sections, but for those that are kept. What nests in a component stays as it is.
fn slim(code: Vec<u8>, keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let Some(all) = sections(&code) else { return code };
    let mut slim = code[..8].to_vec();
    for section in all.iter().filter(|section| section.name.is_none_or(&keep)) {
        slim.extend_from_slice(section.bytes);
    }
    slim
}

/// The sections of a module or component (<https://webassembly.github.io/spec/core/binary/modules.html#sections>); nothing if
/// the bytes are neither.
fn sections(code: &[u8]) -> Option<Vec<Section<'_>>> {
    let mut rest = code.strip_prefix(b"\0asm")?.get(4..)?;
    let mut found = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (length, contents) = number(after)?;
        let head = rest.len() - contents.len();
        let contents = contents.get(..length)?;
        let name = match id {
            0 => {
                let (length, name) = number(contents)?;
                Some(std::str::from_utf8(name.get(..length)?).ok()?)
            }
            _ => None,
        };
        found.push(Section { bytes: &rest[..head + length], name });
        rest = &rest[head + length..];
    }
    Some(found)
}

/// A number of 32 bits in LEB128, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for (n, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(u32::try_from(number).ok()?).ok()?, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(name: &str, contents: &[u8]) -> Vec<u8> {
        let body = [&[name.len() as u8], name.as_bytes(), contents].concat();
        [&[0, body.len() as u8][..], &body].concat()
    }

    fn names(code: &[u8]) -> Vec<String> {
        sections(code).unwrap().iter().filter_map(|section| section.name.map(str::to_owned)).collect()
    }

    const KEEP: Wanted = Wanted { strip: false, optimise: false };

    #[tokio::test]
    async fn what_no_service_looks_at_goes_and_names_stay() {
        let module = wat::parse_str("(module (func $named (export \"f\")))").unwrap();
        let extra =
            [custom("producers", b"x"), custom(".debug_info", &[7; 40]), custom("target_features", b"")];
        let fat = [module.clone(), extra.concat()].concat();
        let (kept, steps) = finish(fat.clone(), KEEP).await.unwrap();
        assert_eq!(kept, module);
        assert_eq!(steps.0, [("stripped, but for names", module.len() as u64)]);
        let (bare, _) = finish(fat, Wanted { strip: true, ..KEEP }).await.unwrap();
        assert_eq!(names(&module), ["name"]);
        assert!(names(&bare).is_empty() && bare.len() < module.len());
    }

    #[tokio::test]
    async fn what_is_no_module_is_left_as_it_is() {
        let truncated = [b"\0asm\x01\0\0\0".to_vec(), vec![1, 0xff]].concat();
        let long = [b"\0asm\x01\0\0\0".to_vec(), vec![0, 0x80, 0x80, 0x80, 0x80, 0x80, 1]].concat();
        for bytes in [Vec::new(), b"\0asm".to_vec(), b"(module)".to_vec(), truncated, long] {
            let (left, steps) = finish(bytes.clone(), KEEP).await.unwrap();
            assert_eq!((left, steps.0.len()), (bytes, 0));
        }
    }

    #[tokio::test]
    async fn a_component_keeps_all_that_nests_in_it() {
        let lister = include_bytes!("../../../examples/component-rust-v2/lister.wasm").to_vec();
        let fat = [lister.clone(), custom("producers", b"x")].concat();
        let (slim, _) = finish(fat, KEEP).await.unwrap();
        assert!(slim.len() <= lister.len());
        assert!(wasm::check(&slim, crate::lexicon::Mode::ComponentV1).is_ok());
    }

    #[tokio::test]
    async fn wit_that_is_none_is_told() {
        let module = wat::parse_str("(module)").unwrap();
        let broken = [module, custom("component-type:x", b"nonsense")].concat();
        let told = finish(broken, KEEP).await.unwrap_err();
        assert!(told.starts_with("no component can be made of it: "), "{told}");
    }
}
