//! What can be said of a wasm file from its first bytes, before it is uploaded. Whether the service
//! will admit it is for `check` and the service to say.

use crate::lexicon::Mode;

/// The largest code that a service admits.
pub(super) const MAX_CODE_BYTES: u64 = 10 * 1024 * 1024;

/// The two kinds of wasm binary. Source: the binary format's preamble, whose last two bytes are the
/// component model's "layer".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Core,
    Component,
}

/// Checks that the bytes are a wasm binary of the kind that the mode runs.
pub(super) fn check(bytes: &[u8], mode: Mode) -> Result<(), InvalidWasm> {
    let wanted = if mode.as_str().starts_with("component-") { Kind::Component } else { Kind::Core };
    match (kind(bytes)?, wanted) {
        (Kind::Component, Kind::Core) => Err(InvalidWasm::Component(mode)),
        (Kind::Core, Kind::Component) => Err(InvalidWasm::Core(mode)),
        _ => Ok(()),
    }
}

fn kind(bytes: &[u8]) -> Result<Kind, InvalidWasm> {
    if bytes.len() as u64 > MAX_CODE_BYTES {
        return Err(InvalidWasm::TooLarge);
    }
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Kind::Core),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(Kind::Component),
        [b'\0', b'a', b's', b'm', ..] => Err(InvalidWasm::Version),
        [] => Err(InvalidWasm::Empty),
        _ if is_wasm_text(bytes) => Err(InvalidWasm::Text),
        _ => Err(InvalidWasm::NotWasm),
    }
}

fn is_wasm_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    [&b"(module"[..], b"(component", b";;", b"(;"].iter().any(|prefix| start.starts_with(prefix))
}

/// Why a file is not the code of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidWasm {
    #[error("a component, which {0} does not run: deploy it with --mode component-v1")]
    Component(Mode),
    #[error(
        "a core module, which {0} does not run: make a component of it, or deploy it with another --mode"
    )]
    Core(Mode),
    #[error("the file is empty")]
    Empty,
    #[error("not a wasm binary (it does not start with \\0asm)")]
    NotWasm,
    #[error("wasm text: turn it into a binary first, with `wat2wasm` or `wasm-tools parse`")]
    Text,
    #[error("larger than the {} MiB that a service admits: build it with optimisation for size and strip it", MAX_CODE_BYTES >> 20)]
    TooLarge,
    #[error("a wasm binary of a version that nothing runs")]
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_module_is_the_code_of_a_pure_function() {
        assert_eq!(check(&wat::parse_str("(module)").unwrap(), Mode::PureV1), Ok(()));
    }

    #[test]
    fn other_files_are_refused_with_what_they_are() {
        let component = wat::parse_str("(component)").unwrap();
        let large = [&b"\0asm\x01\0\0\0"[..], &vec![0; MAX_CODE_BYTES as usize]].concat();
        let cases: [(&[u8], InvalidWasm); 10] = [
            (b"", InvalidWasm::Empty),
            (b"\0as", InvalidWasm::NotWasm),
            (b"\0asm", InvalidWasm::Version),
            (b"\0asm\x02\0\0\0", InvalidWasm::Version),
            (b"\x7fELF\x02\x01\x01\0", InvalidWasm::NotWasm),
            (b" \n(module)", InvalidWasm::Text),
            (b";; comment", InvalidWasm::Text),
            (&component, InvalidWasm::Component(Mode::PureV1)),
            (&large, InvalidWasm::TooLarge),
            (b"{}", InvalidWasm::NotWasm),
        ];
        for (bytes, reason) in cases {
            assert_eq!(check(bytes, Mode::PureV1), Err(reason));
        }
    }
}
