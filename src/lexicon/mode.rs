//! How a function talks with its host: the `mode` of its record.

use std::fmt;

/// The modes that exist; the ABI of each is in `docs/functions.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Mode {
    /// A core module without imports: JSON in, JSON out.
    PureV1,
    /// The same with host calls: reads, context, log.
    HostV1,
    /// A component of the world `atfunc:runtime/at-function`.
    ComponentV1,
    /// A WASI preview 1 command: JSON on stdin, JSON on stdout.
    WasiV1,
    /// A core module without imports whose input and output are NUL-terminated.
    CstrV1,
}

impl Mode {
    /// Every mode, in the order in which they are listed to people.
    pub const ALL: [Mode; 5] = [Mode::PureV1, Mode::HostV1, Mode::ComponentV1, Mode::WasiV1, Mode::CstrV1];

    /// The mode as a record spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::PureV1 => "pure-v1",
            Mode::HostV1 => "host-v1",
            Mode::ComponentV1 => "component-v1",
            Mode::WasiV1 => "wasi-v1",
            Mode::CstrV1 => "cstr-v1",
        }
    }

    /// The mode of this name, if there is one.
    pub fn parse(text: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Whether functions of this mode are components; the others are core modules.
    pub fn is_component(self) -> bool {
        self == Mode::ComponentV1
    }

    /// Whether functions of this mode can ask the host for anything.
    pub fn has_host_calls(self) -> bool {
        matches!(self, Mode::HostV1 | Mode::ComponentV1)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
