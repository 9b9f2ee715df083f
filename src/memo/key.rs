//! All that could make two calls of one function answer differently, as one hash.

use sha2::{Digest as _, Sha256};

use crate::identity::Did;
use crate::registry::Function;
use crate::sandbox::{Limits, RULES};

/// What a call is kept under. Nothing of it can be read back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a call of `owner`, or of any caller, with this input under these limits.
    pub(super) fn of(
        owner: Option<&Did>,
        function: &Function,
        limits: &Limits,
        engine: u64,
        input: &[u8],
    ) -> Key {
        let Limits { memory_bytes, duration, output_bytes, host_calls, host_bytes } = *limits;
        let limits =
            [memory_bytes, duration.as_micros() as u64, output_bytes as u64, host_calls.into(), host_bytes];
        let mut parts = Parts(Sha256::new());
        // No DID is empty.
        parts.add(owner.map_or(&b""[..], |did| did.as_str().as_bytes()));
        parts.add(function.author.as_str().as_bytes());
        parts.add(function.rkey.as_str().as_bytes());
        parts.add(&function.cid.to_bytes());
        parts.add(&limits.map(u64::to_be_bytes).concat());
        // The rules of admission are part of what a module may be.
        parts.add(&[&engine.to_be_bytes()[..], &RULES.to_be_bytes()].concat());
        parts.add(input);
        Key(parts.0.finalize().into())
    }
}

/// A hash of parts, each after its length.
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }
}
