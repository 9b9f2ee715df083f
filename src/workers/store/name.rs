//! What an artifact is called: a hash of all that it depends on.

use data_encoding::HEXLOWER;
use ipld_core::cid::Cid;
use sha2::{Digest, Sha256};

use crate::lexicon::Mode;
use crate::sandbox::RULES;

/// How names of artifacts' files end.
pub(super) const SUFFIX: &str = ".artifact";
const HEX_DIGITS: usize = 64;

/// The name of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name([u8; 32]);

impl Name {
    /// The artifact of the module with this CID, taken for this mode, by the sandbox with this
    /// fingerprint, under the rules of admission that there are now.
    pub fn new(module: &Cid, mode: Mode, sandbox: u64) -> Name {
        let mut hash = Sha256::new();
        hash.update(b"at-functions artifact name 1\0");
        for part in
            [&module.to_bytes()[..], mode.as_str().as_bytes(), &sandbox.to_be_bytes(), &RULES.to_be_bytes()]
        {
            // With its length, so that no part can pass for the end of the one before.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Name(hash.finalize().into())
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The name of its file.
    pub(super) fn file(&self) -> String {
        HEXLOWER.encode(&self.0) + SUFFIX
    }
}

/// Whether a file of this name is an artifact's.
pub(super) fn is_artifact(file: &str) -> bool {
    file.strip_suffix(SUFFIX).is_some_and(|digits| {
        digits.len() == HEX_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use ipld_core::cid::multihash::Multihash;

    use super::*;

    #[test]
    fn each_thing_that_an_artifact_depends_on_gives_another_name() {
        let cid = |byte| Cid::new_v1(0x55, Multihash::wrap(0x12, &[byte; 32]).unwrap());
        let names = [
            Name::new(&cid(1), Mode::PureV1, 1),
            Name::new(&cid(2), Mode::PureV1, 1),
            Name::new(&cid(1), Mode::HostV1, 1),
            Name::new(&cid(1), Mode::PureV1, 2),
        ];
        for (n, name) in names.iter().enumerate() {
            assert!(names[..n].iter().all(|other| other != name), "{n}");
            assert!(is_artifact(&name.file()), "{}", name.file());
        }
        assert_eq!(Name::new(&cid(1), Mode::PureV1, 1), names[0]);
    }

    #[test]
    fn other_names_are_no_artifacts() {
        let digits = "0".repeat(64);
        for name in
            ["", ".artifact", "x.artifact", "artifacts.key", &digits, &format!("{digits}.artifact.new")]
        {
            assert!(!is_artifact(name), "{name}");
        }
        assert!(!is_artifact(&format!("{}.artifact", "A".repeat(64))));
        assert!(!is_artifact(&format!("0{digits}.artifact")));
    }
}
