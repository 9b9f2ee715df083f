//! The tree of a repository: a Merkle search tree over record paths.
//!
//! How deep a key stands follows from its hash, so one set of records has one tree. Every rule that
//! makes it so is checked on the way to a record: were they not, one tree could hold a record in two
//! places, or in none that a search finds, and absence would prove nothing.
//!
//! Source: <https://atproto.com/specs/repository#mst-structure>.

use std::collections::BTreeMap;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use sha2::{Digest, Sha256};

use super::cid::DAG_CBOR;
use super::drisl::{self, InvalidData};

/// The longest key: a collection and a record key (the specification's bound).
const MAX_KEY_BYTES: usize = 1024;
/// Nodes have four entries on average; thousands take an author who looks for such keys.
const MAX_ENTRIES: usize = 4096;

/// One node, of which all that holds for a node alone has been checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The subtree of keys before the first entry.
    pub(super) left: Option<Cid>,
    /// In ascending order; all their keys have one height.
    pub(super) entries: Vec<Entry>,
}

/// A key, its record, and the subtree of the keys after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Cid,
    pub(super) right: Option<Cid>,
}

/// The height at which a key stands in the tree: pairs of leading zero bits of its SHA-256.
pub(super) fn height(key: &str) -> u8 {
    let mut zeros = 0;
    for byte in Sha256::digest(key) {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    // 256 bits have at most 128 pairs.
    (zeros / 2) as u8
}

/// Walks from the root to `key`. `None` is proved absence: the tree has no place left where the key
/// could stand. `block` gives the bytes of a node; one that is missing is an error, never an absence.
pub(super) fn find<'a>(
    root: Cid,
    key: &str,
    mut block: impl FnMut(&Cid) -> Option<&'a [u8]>,
) -> Result<Option<Cid>, Unproved> {
    let mut at = root;
    let mut bounds = Bounds::default();
    // The height that the node must have; that of the root is not known.
    let mut level: Option<u8> = None;
    loop {
        let node = Node::decode(block(&at).ok_or(Unproved::MissingNode)?)?;
        bounds.check(&node)?;
        let node_level = match (node.height(), level) {
            (None, None) if node.left.is_none() => return Ok(None),
            (None, None) => return Err(InvalidTree::EmptyRoot.into()),
            (None, Some(_)) if node.left.is_none() => return Err(InvalidTree::EmptyNode.into()),
            (Some(found), Some(expected)) if found != expected => return Err(InvalidTree::Height.into()),
            (Some(level), _) | (None, Some(level)) => level,
        };
        let after = node.entries.partition_point(|entry| entry.key.as_str() < key);
        if let Some(entry) = node.entries.get(after)
            && entry.key == key
        {
            return Ok(Some(entry.value));
        }
        let subtree = match after.checked_sub(1) {
            None => node.left,
            Some(before) => node.entries[before].right,
        };
        let Some(subtree) = subtree else { return Ok(None) };
        level = Some(node_level.checked_sub(1).ok_or(InvalidTree::Height)?);
        bounds.narrow(node, after);
        at = subtree;
    }
}

/// Between which keys all keys of a subtree lie.
#[derive(Default)]
struct Bounds {
    above: Option<String>,
    below: Option<String>,
}

impl Bounds {
    fn check(&self, node: &Node) -> Result<(), InvalidTree> {
        let (Some(first), Some(last)) = (node.entries.first(), node.entries.last()) else { return Ok(()) };
        let fits = self.above.as_ref().is_none_or(|above| *above < first.key)
            && self.below.as_ref().is_none_or(|below| last.key < *below);
        if fits { Ok(()) } else { Err(InvalidTree::KeyOrder) }
    }

    /// To the subtree that lies before the entry at `after`.
    fn narrow(&mut self, node: Node, after: usize) {
        let mut entries = node.entries;
        if after < entries.len() {
            self.below = Some(std::mem::take(&mut entries[after].key));
        }
        if after > 0 {
            self.above = Some(std::mem::take(&mut entries[after - 1].key));
        }
    }
}

impl Node {
    /// Reads a node, with every rule that a node by itself can break.
    pub(super) fn decode(bytes: &[u8]) -> Result<Node, InvalidTree> {
        let Ipld::Map(mut map) = drisl::decode(bytes)? else { return Err(InvalidTree::Shape) };
        let left = take_subtree(&mut map, "l")?;
        let Some(Ipld::List(list)) = map.remove("e") else { return Err(InvalidTree::Shape) };
        if !map.is_empty() {
            return Err(InvalidTree::Shape);
        }
        if list.len() > MAX_ENTRIES {
            return Err(InvalidTree::TooManyEntries);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
        for item in list {
            let entry = Entry::decode(item, entries.last().map(|last| last.key.as_str()))?;
            entries.push(entry);
        }
        let node = Node { left, entries };
        node.check_heights()?;
        Ok(node)
    }

    /// The bytes of a node.
    pub(super) fn encode(&self) -> Result<Vec<u8>, InvalidData> {
        let mut last = "";
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let prefix = common_prefix(last, &entry.key);
            let fields = [
                ("p", Ipld::Integer(prefix as i128)),
                ("k", Ipld::Bytes(entry.key.as_bytes()[prefix..].to_vec())),
                ("v", Ipld::Link(entry.value)),
                ("t", entry.right.map_or(Ipld::Null, Ipld::Link)),
            ];
            entries.push(map_of(fields));
            last = &entry.key;
        }
        drisl::encode(&map_of([("l", self.left.map_or(Ipld::Null, Ipld::Link)), ("e", Ipld::List(entries))]))
    }

    /// The height of its keys, if it has any.
    fn height(&self) -> Option<u8> {
        self.entries.first().map(|entry| height(&entry.key))
    }

    fn check_heights(&self) -> Result<(), InvalidTree> {
        let level = self.height();
        let same = self.entries.iter().all(|entry| Some(height(&entry.key)) == level);
        if same { Ok(()) } else { Err(InvalidTree::Height) }
    }
}

impl Entry {
    fn decode(item: Ipld, last: Option<&str>) -> Result<Entry, InvalidTree> {
        let Ipld::Map(mut map) = item else { return Err(InvalidTree::Shape) };
        let (Some(Ipld::Integer(prefix)), Some(Ipld::Bytes(suffix))) = (map.remove("p"), map.remove("k"))
        else {
            return Err(InvalidTree::Shape);
        };
        let value = match map.remove("v") {
            Some(Ipld::Link(value)) if value.codec() == DAG_CBOR => value,
            _ => return Err(InvalidTree::Shape),
        };
        let right = take_subtree(&mut map, "t")?;
        if !map.is_empty() {
            return Err(InvalidTree::Shape);
        }
        let key = join(last.unwrap_or_default(), prefix, &suffix)?;
        if last.is_some_and(|last| last >= key.as_str()) {
            return Err(InvalidTree::KeyOrder);
        }
        Ok(Entry { key, value, right })
    }
}

/// A subtree's field is always there, null where there is none.
fn take_subtree(map: &mut BTreeMap<String, Ipld>, field: &str) -> Result<Option<Cid>, InvalidTree> {
    match map.remove(field) {
        Some(Ipld::Null) => Ok(None),
        Some(Ipld::Link(cid)) if cid.codec() == DAG_CBOR => Ok(Some(cid)),
        _ => Err(InvalidTree::Shape),
    }
}

/// The key of an entry: as much of the last key as both have in common, and the rest.
fn join(last: &str, prefix: i128, suffix: &[u8]) -> Result<String, InvalidTree> {
    let prefix = usize::try_from(prefix).map_err(|_| InvalidTree::Prefix)?;
    let common = last.get(..prefix).ok_or(InvalidTree::Prefix)?;
    if common.len() + suffix.len() > MAX_KEY_BYTES {
        return Err(InvalidTree::Key);
    }
    let suffix = std::str::from_utf8(suffix).map_err(|_| InvalidTree::Key)?;
    let key = format!("{common}{suffix}");
    if !is_key(&key) {
        return Err(InvalidTree::Key);
    }
    if common_prefix(last, &key) == prefix { Ok(key) } else { Err(InvalidTree::Prefix) }
}

/// Whether it is `COLLECTION/RKEY`, of the characters that both may have.
fn is_key(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'~' | b'-');
    key.len() <= MAX_KEY_BYTES
        && key.split_once('/').is_some_and(|(collection, rkey)| {
            !collection.is_empty()
                && !rkey.is_empty()
                && collection.bytes().all(allowed)
                && rkey.bytes().all(allowed)
        })
}

/// The number of bytes with which both begin.
fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

fn map_of<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Why a walk proved neither presence nor absence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unproved {
    MissingNode,
    Invalid(InvalidTree),
}

impl From<InvalidTree> for Unproved {
    fn from(error: InvalidTree) -> Unproved {
        Unproved::Invalid(error)
    }
}

/// Why a tree is not that of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTree {
    /// A node below the root without entries and subtrees.
    #[error("a node below the root is empty")]
    EmptyNode,
    /// A root without entries that has a subtree.
    #[error("the root has a subtree but no entries")]
    EmptyRoot,
    /// A node is not DRISL.
    #[error(transparent)]
    Encoding(#[from] InvalidData),
    /// A key stands at another height than its hash says.
    #[error("a key stands at another height than its hash says")]
    Height,
    /// A key is not `COLLECTION/RKEY`.
    #[error("a key is not COLLECTION/RKEY")]
    Key,
    /// Keys do not ascend, within a node or from node to node.
    #[error("its keys do not ascend")]
    KeyOrder,
    /// A prefix length that is not what a key has in common with the last one.
    #[error("a prefix length is not what a key has in common with the one before")]
    Prefix,
    /// A node or entry has not exactly its fields, or a field is of another kind.
    #[error("a node has not the fields that a node has")]
    Shape,
    /// More entries than a node may have.
    #[error("a node has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From an implementation of its own, in another language.
    #[test]
    fn the_height_of_a_key_is_half_the_zero_bits_that_its_hash_begins_with() {
        let cases = [
            ("", 0),
            ("com.example.a/key-0", 0),
            ("com.example.a/key-9", 1),
            ("com.example.a/key-52", 2),
            ("com.example.a/key-144", 3),
            ("com.example.a/key-195", 4),
            ("com.example.a/key-173", 5),
            ("com.example.a/key-15697", 6),
            ("com.example.a/key-22202", 7),
            ("com.example.a/key-8254", 8),
        ];
        for (key, expected) in cases {
            assert_eq!(height(key), expected, "{key}");
        }
    }

    #[test]
    fn common_prefixes_count_bytes() {
        let cases = [
            ("", "", 0),
            ("", "a", 0),
            ("a", "", 0),
            ("same", "same", 4),
            ("sam", "same", 3),
            ("same", "sam", 3),
            ("same", "some", 1),
            ("abc", "xbc", 0),
            ("abc", "abc\0", 3),
        ];
        for (a, b, expected) in cases {
            assert_eq!(common_prefix(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_node_reads_back_as_it_was_written() {
        let cid = super::super::record_cid(b"");
        let entry = |key: &str, right| Entry { key: format!("com.example.a/{key}"), value: cid, right };
        let nodes = [
            Node { left: None, entries: vec![] },
            Node { left: Some(cid), entries: vec![] },
            Node { left: Some(cid), entries: vec![entry("key-9", Some(cid))] },
            Node {
                left: None,
                entries: vec![entry("key-0", None), entry("key-00", None), entry("key-1", None)],
            },
        ];
        for node in nodes {
            assert_eq!(Node::decode(&node.encode().unwrap()).unwrap(), node);
        }
    }
}
