//! The mode that a file was most likely built for, so that a refusal can say so.

use wasmparser::{Parser, Payload};

use super::imports::{HOST, HOST_MODULES, WASI_MODULES};
use super::{COMPONENT, FEATURES};
use crate::lexicon::Mode;

/// Imports and exports that are looked at; the ones that tell are among the first.
const LOOKED_AT: usize = 1_000;

/// What the imports and exports of `code` speak for, whether or not it would pass there. Reads the
/// sections' headers and what stands before the code.
pub(super) fn likely(code: &[u8]) -> Option<Mode> {
    if code.starts_with(&COMPONENT) {
        return Some(Mode::ComponentV1);
    }
    let mut signs = Signs::default();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(code) {
        match payload {
            Ok(Payload::ImportSection(section)) => {
                for import in section.into_imports().take(LOOKED_AT).map_while(Result::ok) {
                    signs.wasi |= WASI_MODULES.contains(&import.module);
                    signs.host |= HOST_MODULES.contains(&import.module)
                        && HOST.iter().any(|function| function.name == import.name);
                }
            }
            Ok(Payload::ExportSection(section)) => {
                for export in section.into_iter().take(LOOKED_AT).map_while(Result::ok) {
                    match export.name {
                        "_start" => signs.start = true,
                        "execute" => signs.execute = true,
                        "run" => signs.run = true,
                        _ => {}
                    }
                }
                // Imports come before exports, and nothing that tells comes after.
                break;
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    signs.mode()
}

#[derive(Default)]
struct Signs {
    wasi: bool,
    host: bool,
    start: bool,
    execute: bool,
    run: bool,
}

impl Signs {
    fn mode(&self) -> Option<Mode> {
        if self.host {
            Some(Mode::HostV1)
        } else if self.wasi || (self.start && !self.run && !self.execute) {
            Some(Mode::WasiV1)
        } else if self.run {
            Some(Mode::PureV1)
        } else if self.execute {
            Some(Mode::CstrV1)
        } else {
            None
        }
    }
}
