//! CAR files: a root and hashed blocks.
//!
//! Source: <https://ipld.io/specs/transport/car/carv1/>; of what that allows, AT Protocol uses one
//! root and CIDs of 36 bytes (<https://atproto.com/specs/repository#car-file-serialization>).

use std::collections::HashMap;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use super::{bytes, cid, drisl};

/// The largest CAR that is read: a record of 1 MiB, and as much again for the path to it.
pub const MAX_CAR_BYTES: usize = 2 * 1024 * 1024;
/// A header with one root has 59 bytes; there is room for a few roots, to refuse them by name.
const MAX_HEADER_BYTES: u64 = 1024;
/// A proof has the nodes from root to leaf, a commit and a record: seldom a dozen blocks.
const MAX_BLOCKS: usize = 4096;
/// A varint of the multiformats has at most nine bytes.
const MAX_VARINT_BYTES: usize = 9;

/// A CAR whose every block has the hash that its CID says.
pub(super) struct Car<'a> {
    pub(super) root: Cid,
    blocks: HashMap<Cid, &'a [u8]>,
}

impl<'a> Car<'a> {
    /// Reads a whole CAR. Blocks may come in any order, more than once, and unused.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Car<'a>, InvalidCar> {
        if bytes.len() > MAX_CAR_BYTES {
            return Err(InvalidCar::TooLarge);
        }
        let mut reader = Reader { rest: bytes };
        let root = reader.header()?;
        let mut blocks = HashMap::new();
        for _ in 0..MAX_BLOCKS {
            if reader.rest.is_empty() {
                return Ok(Car { root, blocks });
            }
            let (cid, block) = reader.block()?;
            blocks.insert(cid, block);
        }
        if reader.rest.is_empty() { Ok(Car { root, blocks }) } else { Err(InvalidCar::TooManyBlocks) }
    }

    /// The bytes of a block.
    pub(super) fn block(&self, cid: &Cid) -> Option<&'a [u8]> {
        self.blocks.get(cid).copied()
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Result<Cid, InvalidCar> {
        let len = self.varint()?;
        if len > MAX_HEADER_BYTES {
            return Err(InvalidCar::Header);
        }
        let Ok(Ipld::Map(header)) = drisl::decode(self.take(len)?) else { return Err(InvalidCar::Header) };
        if header.get("version") != Some(&Ipld::Integer(1)) {
            return Err(InvalidCar::Version);
        }
        match header.get("roots") {
            Some(Ipld::List(roots)) => match roots[..] {
                [Ipld::Link(root)] => Ok(root),
                _ => Err(InvalidCar::Roots),
            },
            _ => Err(InvalidCar::Roots),
        }
    }

    fn block(&mut self) -> Result<(Cid, &'a [u8]), InvalidCar> {
        let len = self.varint()?;
        let section = self.take(len)?;
        let (cid, block) = section.split_at_checked(cid::CID_BYTES).ok_or(InvalidCar::Cid)?;
        let cid = cid::from_bytes(cid).ok_or(InvalidCar::Cid)?;
        if cid::hashed(cid.codec(), block) != cid {
            return Err(InvalidCar::Hash);
        }
        Ok((cid, block))
    }

    /// An unsigned LEB128 number in its shortest form.
    fn varint(&mut self) -> Result<u64, InvalidCar> {
        let mut value = 0;
        for index in 0..MAX_VARINT_BYTES {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || index == 0;
                return if is_shortest { Ok(value) } else { Err(InvalidCar::Varint) };
            }
        }
        Err(InvalidCar::Varint)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], InvalidCar> {
        bytes::take(&mut self.rest, len).ok_or(InvalidCar::Truncated)
    }
}

/// Writes a CAR of blocks that have these CIDs.
pub(super) fn write<'a>(root: Cid, blocks: impl IntoIterator<Item = (Cid, &'a [u8])>) -> Vec<u8> {
    let header = Ipld::Map(
        [("roots".to_owned(), Ipld::List(vec![Ipld::Link(root)])), ("version".to_owned(), Ipld::Integer(1))]
            .into(),
    );
    // A map of one of our own CIDs and a one always has an encoding.
    let header = drisl::encode(&header).expect("a CAR header has an encoding");
    let mut car = Vec::new();
    write_section(&mut car, &[&header]);
    for (cid, block) in blocks {
        write_section(&mut car, &[&cid.to_bytes(), block]);
    }
    car
}

fn write_section(car: &mut Vec<u8>, parts: &[&[u8]]) {
    write_varint(car, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| car.extend_from_slice(part));
}

fn write_varint(car: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        car.push(value as u8 | 0x80);
        value >>= 7;
    }
    car.push(value as u8);
}

/// Why bytes are not a CAR as AT Protocol has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCar {
    /// A block's CID is not a version 1 SHA-256 CID of dag-cbor or raw.
    #[error("a block's CID is not a CIDv1 of dag-cbor or raw with SHA-256")]
    Cid,
    /// A block's bytes do not have the hash that its CID says.
    #[error("a block does not have the hash that its CID says")]
    Hash,
    /// The header is too long, or not a DRISL map.
    #[error("the header is not a map of roots and version")]
    Header,
    /// Not exactly one root, or one that is no CID.
    #[error("it has not exactly one root")]
    Roots,
    /// Longer than a proof may be.
    #[error("it has more than {MAX_CAR_BYTES} bytes")]
    TooLarge,
    /// More blocks than a proof may have.
    #[error("it has more than {MAX_BLOCKS} blocks")]
    TooManyBlocks,
    /// The bytes end within the header or a block.
    #[error("the bytes end within a block")]
    Truncated,
    /// A length that is not a varint in its shortest form.
    #[error("a length is not a varint in its shortest form")]
    Varint,
    /// A version other than 1.
    #[error("its version is not 1")]
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(entries: &[(&str, Ipld)]) -> Vec<u8> {
        let map = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut car = Vec::new();
        write_section(&mut car, &[&drisl::encode(&Ipld::Map(map)).unwrap()]);
        car
    }

    fn refusal(car: &[u8]) -> Option<InvalidCar> {
        Car::read(car).err()
    }

    #[test]
    fn a_car_reads_back_in_any_order_with_duplicates() {
        let blocks = [&b"one"[..], b"two", b""];
        let cids = blocks.map(cid::record_cid);
        let order = [2, 0, 1, 0];
        let car = write(cids[1], order.map(|index| (cids[index], blocks[index])));
        let read = Car::read(&car).unwrap();
        assert_eq!(read.root, cids[1]);
        for (cid, block) in cids.iter().zip(blocks) {
            assert_eq!(read.block(cid), Some(block));
        }
        assert_eq!(read.block(&cid::record_cid(b"three")), None);
        // The codec is part of a CID, the same bytes under another are another block.
        assert_eq!(read.block(&cid::blob_cid(b"one")), None);
    }

    #[test]
    fn headers_other_than_one_root_of_version_1_are_refused() {
        let root = Ipld::Link(cid::record_cid(b""));
        let roots = |roots: &[Ipld]| ("roots", Ipld::List(roots.to_vec()));
        let version = |version| ("version", Ipld::Integer(version));
        let cases = [
            (header(&[version(1)]), InvalidCar::Roots),
            (header(&[roots(&[]), version(1)]), InvalidCar::Roots),
            (header(&[roots(&[root.clone(), root.clone()]), version(1)]), InvalidCar::Roots),
            (header(&[roots(&[Ipld::Null]), version(1)]), InvalidCar::Roots),
            (header(&[("roots", root.clone()), version(1)]), InvalidCar::Roots),
            (header(&[roots(std::slice::from_ref(&root)), version(2)]), InvalidCar::Version),
            (header(&[roots(std::slice::from_ref(&root))]), InvalidCar::Version),
            // The pragma with which a CARv2 begins.
            (header(&[version(2)]), InvalidCar::Version),
            (header(&[roots(&vec![root; 40]), version(1)]), InvalidCar::Header),
            (vec![1, 0xa1], InvalidCar::Header),
            (vec![1, 0x80], InvalidCar::Header),
            (vec![0], InvalidCar::Header),
            (vec![], InvalidCar::Truncated),
        ];
        for (car, reason) in cases {
            assert_eq!(refusal(&car), Some(reason), "{car:02x?}");
        }
    }

    #[test]
    fn lengths_are_short_varints_within_the_bytes() {
        let good = write(cid::record_cid(b""), []);
        let with = |tail: &[u8]| [&good[..], tail].concat();
        let cases = [
            (with(&[0x80, 0x00]), InvalidCar::Varint),
            (with(&[0xa4, 0x80, 0x00]), InvalidCar::Varint),
            (with(&[0xff; 9]), InvalidCar::Varint),
            (with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), InvalidCar::Truncated),
            (with(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]), InvalidCar::Truncated),
            (with(&[0x80]), InvalidCar::Truncated),
            (with(&[0x01]), InvalidCar::Truncated),
            (with(&[0x00]), InvalidCar::Cid),
            (with(&[&[35][..], &[0; 35]].concat()), InvalidCar::Cid),
            // As first thing of the file, where the header's length stands.
            (vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], InvalidCar::Header),
            (vec![0xff; 10], InvalidCar::Varint),
        ];
        for (car, reason) in cases {
            assert_eq!(refusal(&car), Some(reason), "{:02x?}", &car[car.len().saturating_sub(12)..]);
        }
    }

    #[test]
    fn more_bytes_or_blocks_than_a_proof_has_are_refused() {
        let cid = cid::record_cid(b"");
        let fits = write(cid, std::iter::repeat_n((cid, &b""[..]), MAX_BLOCKS));
        assert_eq!(refusal(&fits), None);
        let many = write(cid, std::iter::repeat_n((cid, &b""[..]), MAX_BLOCKS + 1));
        assert_eq!(refusal(&many), Some(InvalidCar::TooManyBlocks));
        assert_eq!(refusal(&vec![0; MAX_CAR_BYTES + 1]), Some(InvalidCar::TooLarge));
    }
}
