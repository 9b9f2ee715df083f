//! Mode `component-v1`: components of the world `atfunc:runtime/at-function`, in every version that
//! was released (`wit/`).
//!
//! A component brings its own memories and tables, and its canonical ABI moves strings for us: what
//! a guest hands over is lifted by the engine, which checks every pointer and pays for each byte out
//! of a budget per call. `runtime` is our side of the interfaces, `wasi` is what toolchains link in
//! without being asked.

use bytes::Bytes;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Store, WasmBacktrace};

use super::admission::Refusal;
use super::guest::{self, Ended, Guest};
use super::program::Output;
use super::{Failure, Limits, Lost, Outcome, json};
use bindings::{LinkOptions, Offered, OfferedPre};

mod bindings;
mod lines;
mod runtime;
mod state;
mod wasi;

pub(super) use state::State;

/// Bytes that a guest may hand to one host call, and the least that its output may have: longer texts
/// are refused by the engine, before they are copied.
const CALL_BYTES: usize = 2 * 1024 * 1024;
/// Handles that exist at once, of the host's resources and of the component's own.
const MAX_HANDLES: usize = 1024;

/// Gives `linker` all that is offered to components.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    Offered::add_to_linker::<_, HasSelf<_>>(linker, &LinkOptions::default(), |guest| guest)
}

/// A compiled component, linked to the host.
pub(super) struct Component {
    pre: OfferedPre<Guest>,
}

impl Component {
    /// Links a component that admission let in. It is refused if what it imports or exports under our
    /// names has other types.
    pub(super) fn new(
        linker: &Linker<Guest>,
        component: &wasmtime::component::Component,
    ) -> Result<Component, Refusal> {
        match linker.instantiate_pre(component).and_then(OfferedPre::new) {
            Ok(pre) => Ok(Component { pre }),
            Err(error) => Err(Refusal::unlinkable(&format!("{error:#}"))),
        }
    }

    /// Runs an instance from its start functions to its output.
    pub(super) async fn run(&self, store: &mut Store<Guest>, input: &[u8]) -> Result<Output, Ended> {
        let limits = store.data().limits;
        // UTF-16 takes up to two bytes where an output has one.
        store.set_hostcall_fuel(CALL_BYTES.max(limits.output_bytes.saturating_mul(2)));
        store.set_max_component_handles(MAX_HANDLES);
        let answer = self.answer(store, input).await;
        store.data_mut().finish_lines();
        match answer? {
            Ok(output) => read(output, &limits),
            Err(message) => Err(Failure::new(Outcome::GuestError, told(&message)).into()),
        }
    }

    async fn answer(&self, store: &mut Store<Guest>, input: &[u8]) -> Result<Result<String, String>, Ended> {
        let input = std::str::from_utf8(input)
            .map_err(|_| Ended::Lost(Lost::Internal("the input is not UTF-8".into())))?;
        let instance = self.pre.instantiate_async(&mut *store).await;
        let instance = instance.map_err(|error| stopped(&error, store.data()))?;
        let answer = instance.call_run(&mut *store, input).await;
        answer.map_err(|error| stopped(&error, store.data()))
    }
}

/// An output that is not JSON is taken as the text that it is.
fn read(output: String, limits: &Limits) -> Result<Output, Ended> {
    let bytes = output.len() as u64;
    let cap = |length: usize| match length > limits.output_bytes {
        true => Err(too_large(&format!("the output has {length} bytes"), limits)),
        false => Ok(()),
    };
    cap(output.len())?;
    if let Ok(value) = json::one_value(output.as_bytes()) {
        // Usually all of it.
        let value = Bytes::copy_from_slice(value);
        return Ok(Output { value, bytes });
    }
    let text = serde_json::Value::String(output).to_string();
    cap(text.len())?;
    Ok(Output { value: text.into(), bytes })
}

fn too_large(what: &str, limits: &Limits) -> Failure {
    Failure::new(Outcome::OutputTooLarge, format!("{what}; at most {} are allowed", limits.output_bytes))
}

/// Reads the engine's error. What the canonical ABI refuses is an error without a trap's code: with
/// the guest's frames if it happened in a call to the host, without if it is about what `run` was
/// given or gave.
fn stopped(error: &wasmtime::Error, guest: &Guest) -> Ended {
    let ended = guest.ended(error);
    let Ended::Lost(Lost::Internal(_)) = ended else { return ended };
    if guest::is_the_machines(error) {
        return ended;
    }
    let reason = error.root_cause().to_string();
    if error.is::<WasmBacktrace>() {
        return Failure::new(Outcome::Trap, guest::describe(&reason, error)).into();
    }
    // The engine's own words, as it has no type for this; a test holds on to them.
    if reason.ends_with("fuel allocated for hostcalls has been exhausted") {
        let limits = &guest.limits;
        return too_large(&format!("the output has more than {} bytes", limits.output_bytes), limits).into();
    }
    let message = format!("what `run` was given or gave breaks the canonical ABI: {reason}");
    Failure::new(Outcome::OutputInvalid, message).into()
}

/// A guest's own error, for its caller: on one line, and not too long.
fn told(message: &str) -> String {
    const LONGEST: usize = 2_000;
    let mut text = String::new();
    for char in message.chars() {
        if text.len() >= LONGEST {
            text.push_str(" ...");
            break;
        }
        match char {
            '"' | '\'' | '\\' => text.push(char),
            char => text.extend(char.escape_debug()),
        }
    }
    if text.is_empty() { "the function answered with an error that says nothing".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_guests_is_told_on_one_line() {
        let cases = [
            ("", "the function answered with an error that says nothing"),
            ("it's \"so\" \\ f\u{fc}r", "it's \"so\" \\ f\u{fc}r"),
            ("a\nb\t\u{1b}[0m\u{202e}", "a\\nb\\t\\u{1b}[0m\\u{202e}"),
        ];
        for (message, text) in cases {
            assert_eq!(told(message), text);
        }
        assert_eq!(told(&"x".repeat(5_000)), format!("{} ...", "x".repeat(2_000)));
        assert!(told(&"\n".repeat(1 << 20)).len() < 2_100);
    }
}
