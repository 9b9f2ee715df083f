//! A function of each mode, run through all there is before anybody else's is.
//!
//! A wall that is too tight is told at the start and not by a caller: a system call that another
//! libc makes, a kernel that refuses something. The modules stand beside this in the text format.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{ProcessSandbox, ProcessStartError};
use crate::lexicon::Mode;
use crate::sandbox::{BoxFuture, Denied, Door, HostCall, HostReply, Job, Lease, Limits, Owner, Sandbox};

/// What each is given; most answer with it.
const INPUT: &str = r#"{"atUri":"at://did:web:canary.example/a/b"}"#;

const LIMITS: Limits = Limits {
    memory_bytes: 1 << 20,
    duration: Duration::from_secs(2),
    output_bytes: 1024,
    host_calls: 1,
    host_bytes: 1024,
};

struct Canary {
    mode: Mode,
    code: &'static [u8],
    output: &'static str,
}

macro_rules! canary {
    ($mode:expr, $name:literal, $output:expr) => {
        Canary { mode: $mode, code: include_bytes!(concat!("canary/", $name, ".wasm")), output: $output }
    };
}

const CANARIES: [Canary; 5] = [
    canary!(Mode::PureV1, "pure-v1", INPUT),
    canary!(Mode::HostV1, "host-v1", r#"{"error":"the canary's door","ok":false}"#),
    canary!(Mode::ComponentV1, "component-v1", INPUT),
    canary!(Mode::WasiV1, "wasi-v1", INPUT),
    canary!(Mode::CstrV1, "cstr-v1", INPUT),
];

/// Runs all of them.
pub(super) async fn sing(sandbox: &ProcessSandbox) -> Result<(), ProcessStartError> {
    for canary in &CANARIES {
        let failed = |reason: String| ProcessStartError::Canary { mode: canary.mode, reason };
        let compiled = sandbox.compile(canary.mode, Bytes::from_static(canary.code)).await;
        let compiled = compiled.map_err(|error| failed(error.to_string()))?;
        let artifact = sandbox.install(&compiled).map_err(|error| failed(error.to_string()))?;
        let job = Job {
            artifact,
            owner: Owner { name: "canary".into(), public: true },
            input: Bytes::from_static(INPUT.as_bytes()),
            limits: LIMITS,
            context: Arc::default(),
            door: Arc::new(CanaryDoor),
        };
        let completion = sandbox.run(job, Lease::none()).await.map_err(|lost| failed(lost.to_string()))?;
        match completion.result {
            Ok(output) if output == canary.output => {}
            Ok(output) => return Err(failed(String::from_utf8_lossy(&output).into_owned())),
            Err(failure) => return Err(failed(failure.message)),
        }
    }
    Ok(())
}

struct CanaryDoor;

impl Door for CanaryDoor {
    fn call(&self, _: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        Box::pin(async { Err(Denied("the canary's door".into())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_each_mode() {
        assert_eq!(CANARIES.map(|canary| canary.mode), Mode::ALL);
    }

    #[test]
    fn the_modules_are_those_of_the_texts_beside_them() {
        for canary in CANARIES {
            let text =
                format!("{}/src/workers/process/canary/{}.wat", env!("CARGO_MANIFEST_DIR"), canary.mode);
            assert_eq!(wat::parse_file(text).unwrap(), canary.code, "{}", canary.mode);
        }
    }
}
