//! A proof that a test can spoil at any stage, with all that follows made anew: hashes, links and,
//! since an author may be hostile as well, the signature.
//!
//! ```text
//! commit → root (height 2): [.. R]        M < A < T < B < R, by the heights of their keys
//!            ↳ middle (height 1): [M ..]
//!                ↳ leaf (height 0): [A, T, B], T → the record
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use super::super::mst::{Entry, Node, height};
use super::super::{Expected, Proof, ProofError, Tid, car, record_cid, verify_record};
use crate::identity::{Did, PublicKey, SigningKey};
use crate::lexicon::{Nsid, RecordKey};

pub(super) const NOW: Duration = Duration::from_secs(1_800_000_000);

type Edit<T> = Box<dyn Fn(&mut T)>;
pub(super) type Block = (Cid, Vec<u8>);

pub(super) fn author() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

pub(super) fn collection() -> Nsid {
    Nsid::parse("at.functions.metadata").unwrap()
}

/// The keys of the tree, as record keys.
pub(super) struct Keys {
    pub(super) m: String,
    pub(super) a: String,
    pub(super) t: String,
    pub(super) b: String,
    pub(super) r: String,
}

impl Keys {
    pub(super) fn find() -> Keys {
        let mut names = (100..1000).map(|number| format!("key-{number}"));
        let mut next = |level| names.find(|name| height(&path(name)) == level).unwrap();
        Keys { m: next(1), a: next(0), t: next(0), b: next(0), r: next(2) }
    }
}

/// A record key of this height that is like those of the tree, the `nth` of them.
pub(super) fn name_of_height(level: u8, nth: usize) -> String {
    (100..100_000)
        .map(|number| format!("key-{number}"))
        .filter(|n| height(&path(n)) == level)
        .nth(nth)
        .unwrap()
}

pub(super) fn path(rkey: &str) -> String {
    format!("{}/{rkey}", collection())
}

pub(super) fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(super) fn text(text: &str) -> Ipld {
    Ipld::String(text.to_owned())
}

/// The encoding of any value, also of one that no repository may hold.
pub(super) fn encode(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).unwrap()
}

pub(super) fn fields(value: &mut Ipld) -> &mut BTreeMap<String, Ipld> {
    let Ipld::Map(map) = value else { panic!("a map") };
    map
}

pub(super) fn set(value: &mut Ipld, field: &str, to: Ipld) {
    fields(value).insert(field.to_owned(), to);
}

pub(super) fn entries(node: &mut Ipld) -> &mut Vec<Ipld> {
    let Some(Ipld::List(entries)) = fields(node).get_mut("e") else { panic!("entries") };
    entries
}

/// An entry of a node as it is encoded.
pub(super) fn entry(prefix: i128, suffix: &[u8], value: Cid) -> Ipld {
    map([
        ("p", Ipld::Integer(prefix)),
        ("k", Ipld::Bytes(suffix.to_vec())),
        ("v", Ipld::Link(value)),
        ("t", Ipld::Null),
    ])
}

/// The stages of a proof, each with an edit.
pub(super) struct Forge {
    record: Edit<Vec<u8>>,
    leaf: Edit<Ipld>,
    leaf_bytes: Edit<Vec<u8>>,
    middle: Edit<Ipld>,
    root: Edit<Ipld>,
    root_bytes: Edit<Vec<u8>>,
    commit: Edit<Ipld>,
    signed: Edit<Ipld>,
    signed_bytes: Edit<Vec<u8>>,
    blocks: Edit<Vec<Block>>,
}

/// A method that sets the edit of the stage of its name.
macro_rules! stages {
    ($($stage:ident: $kind:ty),*) => {
        $(pub(super) fn $stage(mut self, edit: impl Fn(&mut $kind) + 'static) -> Forge {
            self.$stage = Box::new(edit);
            self
        })*
    };
}

impl Forge {
    pub(super) fn new() -> Forge {
        Forge {
            record: Box::new(|_| ()),
            leaf: Box::new(|_| ()),
            leaf_bytes: Box::new(|_| ()),
            middle: Box::new(|_| ()),
            root: Box::new(|_| ()),
            root_bytes: Box::new(|_| ()),
            commit: Box::new(|_| ()),
            signed: Box::new(|_| ()),
            signed_bytes: Box::new(|_| ()),
            blocks: Box::new(|_| ()),
        }
    }

    stages!(
        record: Vec<u8>, leaf: Ipld, leaf_bytes: Vec<u8>, middle: Ipld, root: Ipld, root_bytes: Vec<u8>,
        commit: Ipld, signed: Ipld, signed_bytes: Vec<u8>, blocks: Vec<Block>
    );

    /// The blocks in their order of need: commit, root, middle, leaf, record.
    pub(super) fn make_blocks(&self) -> Vec<Block> {
        let keys = Keys::find();
        let mut record = encode(&lawful_record());
        (self.record)(&mut record);
        let record = (record_cid(&record), record);

        let other = record_cid(b"another record");
        let leaf = [(&keys.a, other, None), (&keys.t, record.0, None), (&keys.b, other, None)];
        let leaf = node(None, &leaf, &self.leaf, &self.leaf_bytes);
        let middle = node(None, &[(&keys.m, other, Some(leaf.0))], &self.middle, &|_| ());
        let root = node(Some(middle.0), &[(&keys.r, other, None)], &self.root, &self.root_bytes);

        let commit = self.make_commit(root.0);
        let mut blocks = vec![commit, root, middle, leaf, record];
        (self.blocks)(&mut blocks);
        blocks
    }

    fn make_commit(&self, data: Cid) -> Block {
        let mut commit = map([
            ("did", text(author().as_str())),
            ("version", Ipld::Integer(3)),
            ("data", Ipld::Link(data)),
            ("rev", text(&rev_at(NOW).to_string())),
            ("prev", Ipld::Null),
        ]);
        (self.commit)(&mut commit);
        let signature = key().sign(&encode(&commit));
        set(&mut commit, "sig", Ipld::Bytes(signature.to_vec()));
        (self.signed)(&mut commit);
        let mut bytes = encode(&commit);
        (self.signed_bytes)(&mut bytes);
        (record_cid(&bytes), bytes)
    }

    /// The CAR whose root is the first block.
    pub(super) fn car(&self) -> Vec<u8> {
        write_car(&self.make_blocks())
    }

    /// What verifying the CAR for T comes to.
    pub(super) fn verify(&self) -> Result<Proof, ProofError> {
        verify(&self.car())
    }
}

pub(super) fn write_car(blocks: &[Block]) -> Vec<u8> {
    let root = blocks.first().map_or(record_cid(b""), |block| block.0);
    car::write(root, blocks.iter().map(|(cid, bytes)| (*cid, &bytes[..])))
}

pub(super) fn lawful_record() -> Ipld {
    map([("$type", text(collection().as_str())), ("name", text("t")), ("maxMemoryMb", Ipld::Integer(32))])
}

pub(super) fn rev_at(time: Duration) -> Tid {
    Tid::from_micros(time.as_micros() as u64, 0)
}

fn node(
    left: Option<Cid>,
    entries: &[(&String, Cid, Option<Cid>)],
    edit: &dyn Fn(&mut Ipld),
    edit_bytes: &dyn Fn(&mut Vec<u8>),
) -> Block {
    let entries =
        entries.iter().map(|(key, value, right)| Entry { key: path(key), value: *value, right: *right });
    let bytes = Node { left, entries: entries.collect() }.encode().unwrap();
    let mut value = serde_ipld_dagcbor::from_slice(&bytes).unwrap();
    edit(&mut value);
    let mut bytes = encode(&value);
    edit_bytes(&mut bytes);
    (record_cid(&bytes), bytes)
}

/// Verifies that a CAR proves T, with the author's key.
pub(super) fn verify(car: &[u8]) -> Result<Proof, ProofError> {
    verify_name(car, &Keys::find().t, &key().public())
}

pub(super) fn verify_name(car: &[u8], rkey: &str, key: &PublicKey) -> Result<Proof, ProofError> {
    let (did, collection, rkey) = (author(), collection(), RecordKey::parse(rkey).unwrap());
    verify_record(car, &Expected { did: &did, collection: &collection, rkey: &rkey, key, now: NOW })
}
