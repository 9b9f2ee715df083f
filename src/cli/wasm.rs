//! Whether a file is a module that a service runs, told before anything is sent.

use crate::lexicon::Mode;
use crate::sandbox::{self, Admitted, MAX_MODULE_BYTES, Refusal};

/// The largest code that a service admits.
pub(super) const MAX_CODE_BYTES: u64 = MAX_MODULE_BYTES as u64;

/// Judges the bytes as a service does, with what to do about files that are something else.
pub(super) fn check(bytes: &[u8], mode: Mode) -> Result<Admitted, InvalidWasm> {
    match bytes {
        [] => Err(InvalidWasm::Empty),
        // What is read of a file ends here, so its length is not known.
        _ if bytes.len() > MAX_MODULE_BYTES => Err(InvalidWasm::TooLarge),
        _ if is_wasm_text(bytes) => Err(InvalidWasm::Text),
        _ => Ok(sandbox::judge(mode, bytes)?),
    }
}

/// The mode that a file looks built for, whether or not services take it as that.
pub(super) fn likely_mode(bytes: &[u8]) -> Mode {
    // What speaks for no mode is held against the least of them.
    sandbox::likely_mode(bytes).unwrap_or(Mode::PureV1)
}

fn is_wasm_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    [&b"(module"[..], b"(component", b";;", b"(;"].iter().any(|prefix| start.starts_with(prefix))
}

/// Why a file is not the code of a function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidWasm {
    #[error("the file is empty")]
    Empty,
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("wasm text: turn it into a binary first, with `wat2wasm` or `wasm-tools parse`")]
    Text,
    #[error("larger than the {} MiB that a service admits: build it with optimisation for size and strip it", MAX_CODE_BYTES >> 20)]
    TooLarge,
}

impl InvalidWasm {
    /// Whether the file is no WebAssembly at all that anything could be said of, in whatever mode.
    pub(super) fn is_no_wasm(&self) -> bool {
        !matches!(self, InvalidWasm::Refused(refusal) if !matches!(refusal, Refusal::NotWasm | Refusal::Version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_passes_with_the_memory_that_it_starts_with() {
        let echo = include_bytes!("../../examples/pure-rust/echo.wasm");
        let admitted = check(echo, Mode::PureV1).unwrap();
        assert!((1 << 20..2 << 20).contains(&admitted.initial_bytes), "{admitted:?}");
    }

    #[test]
    fn what_a_service_refuses_is_refused_in_its_words() {
        let wasi =
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (memory (export "memory") 1))"#;
        let cases = [
            ("(module)", "the module does not export `memory`"),
            ("(component)", "this is a component; mode pure-v1 takes a core module"),
            (wasi, "the module imports a function `wasi_snapshot_preview1.fd_write`"),
            ("(module (memory i64 1))", "the module uses 64-bit memories, which is not supported"),
        ];
        for (text, start) in cases {
            let refusal = check(&wat::parse_str(text).unwrap(), Mode::PureV1).unwrap_err();
            assert!(!refusal.is_no_wasm());
            let told = refusal.to_string();
            assert!(told.starts_with(start), "{told}");
        }
    }

    #[test]
    fn other_files_are_refused_with_what_they_are() {
        let large = [&b"\0asm\x01\0\0\0"[..], &vec![0; MAX_MODULE_BYTES]].concat();
        let cases: [(&[u8], InvalidWasm); 8] = [
            (b"", InvalidWasm::Empty),
            (b"\0as", InvalidWasm::Refused(Refusal::NotWasm)),
            (b"\0asm", InvalidWasm::Refused(Refusal::Version)),
            (b"\x7fELF\x02\x01\x01\0", InvalidWasm::Refused(Refusal::NotWasm)),
            (b" \n(module)", InvalidWasm::Text),
            (b";; comment", InvalidWasm::Text),
            (&large, InvalidWasm::TooLarge),
            (b"{}", InvalidWasm::Refused(Refusal::NotWasm)),
        ];
        for (bytes, reason) in cases {
            assert!(reason.is_no_wasm());
            assert_eq!(check(bytes, Mode::PureV1), Err(reason));
        }
    }
}
