//! What stands around an artifact in its file, so that nothing but what was written is taken for one.
//!
//! ```text
//! 32 bytes   HMAC-SHA-256 over: a label, the name, the time, the artifact
//!  8 bytes   when it was made, in seconds since 1970, big-endian
//!  the rest  the artifact
//! ```
//!
//! The label, the name and the time have fixed lengths, so two different files never have one MAC input.

use bytes::{Buf, Bytes};

use super::flaw::Flaw;
use super::name::Name;
use super::secret::Secret;

const MAC_BYTES: usize = 32;
/// The bytes before the artifact.
pub(super) const HEADER_BYTES: usize = MAC_BYTES + size_of::<u64>();
/// Says what the MAC is for, and in which form of the file.
const LABEL: &[u8] = b"at-functions artifact file 1\0";

/// What was in an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) artifact: Bytes,
    /// Seconds since 1970.
    pub(super) made_at: u64,
}

/// The header of an artifact that has this name and was made now.
pub(super) fn seal(secret: &Secret, name: &Name, made_at: u64, artifact: &[&[u8]]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (mac, time) = header.split_at_mut(MAC_BYTES);
    time.copy_from_slice(&made_at.to_be_bytes());
    mac.copy_from_slice(&secret.mac([LABEL, name.as_bytes(), time].iter().chain(artifact)));
    header
}

/// Takes an artifact out, if all of the file is what was written under this name with this key.
pub(super) fn open(secret: &Secret, name: &Name, mut file: Bytes) -> Result<Opened, Flaw> {
    if file.len() < HEADER_BYTES {
        return Err(Flaw::Length);
    }
    let (mac, time, artifact) = (&file[..MAC_BYTES], &file[MAC_BYTES..HEADER_BYTES], &file[HEADER_BYTES..]);
    if !secret.made(mac, &[LABEL, name.as_bytes(), time, artifact]) {
        return Err(Flaw::Unauthentic);
    }
    file.advance(MAC_BYTES);
    let made_at = file.get_u64();
    Ok(Opened { artifact: file, made_at })
}

#[cfg(test)]
mod tests {
    use ipld_core::cid::Cid;
    use ipld_core::cid::multihash::Multihash;

    use super::*;
    use crate::lexicon::Mode;

    fn name(byte: u8) -> Name {
        let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &[byte; 32]).unwrap());
        Name::new(&cid, Mode::PureV1, 0)
    }

    fn file(secret: &Secret, name: &Name, artifact: &[u8]) -> Vec<u8> {
        [&seal(secret, name, 1_000, &[artifact])[..], artifact].concat()
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let secret = Secret::from_bytes(&[7; 32]);
        for artifact in [&b""[..], b"a", &[0; 5_000]] {
            let opened = open(&secret, &name(1), file(&secret, &name(1), artifact).into());
            assert_eq!(opened, Ok(Opened { artifact: Bytes::copy_from_slice(artifact), made_at: 1_000 }));
        }
    }

    #[test]
    fn every_bit_counts() {
        let secret = Secret::from_bytes(&[7; 32]);
        let sound = file(&secret, &name(1), b"an artifact");
        for bit in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&secret, &name(1), flipped.into()), Err(Flaw::Unauthentic), "bit {bit}");
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_or_continued_is_none() {
        let secret = Secret::from_bytes(&[7; 32]);
        let sound = file(&secret, &name(1), b"an artifact");
        for end in 0..sound.len() {
            let flaw = if end < HEADER_BYTES { Flaw::Length } else { Flaw::Unauthentic };
            assert_eq!(open(&secret, &name(1), sound[..end].to_vec().into()), Err(flaw), "{end}");
        }
        let continued = [&sound[..], b"\0"].concat();
        assert_eq!(open(&secret, &name(1), continued.into()), Err(Flaw::Unauthentic));
    }

    #[test]
    fn another_name_or_another_key_is_not_taken() {
        let secret = Secret::from_bytes(&[7; 32]);
        let sound = Bytes::from(file(&secret, &name(1), b"an artifact"));
        assert_eq!(open(&secret, &name(2), sound.clone()), Err(Flaw::Unauthentic));
        assert_eq!(open(&Secret::from_bytes(&[8; 32]), &name(1), sound), Err(Flaw::Unauthentic));
    }
}
