//! Builds the one tree that a set of records has.

use std::collections::HashMap;

use ipld_core::cid::Cid;

use super::super::mst::{Entry, Node, height};
use super::super::record_cid;

/// The nodes of a tree.
pub(super) struct Tree {
    root: Cid,
    nodes: HashMap<Cid, Vec<u8>>,
}

/// A record's place: its key, the height of that, and its CID.
struct Leaf<'a> {
    key: &'a str,
    height: u8,
    value: Cid,
}

impl Tree {
    /// The tree of records in ascending order of their keys.
    pub(super) fn of<'a>(records: impl IntoIterator<Item = (&'a str, Cid)>) -> Tree {
        let leaves: Vec<_> =
            records.into_iter().map(|(key, value)| Leaf { key, height: height(key), value }).collect();
        let mut nodes = HashMap::new();
        let top = leaves.iter().map(|leaf| leaf.height).max().unwrap_or(0);
        let root = match subtree(&leaves, top, &mut nodes) {
            Some(root) => root,
            None => insert(Node { left: None, entries: Vec::new() }, &mut nodes),
        };
        Tree { root, nodes }
    }

    pub(super) fn root(&self) -> Cid {
        self.root
    }

    pub(super) fn node(&self, cid: &Cid) -> Option<&[u8]> {
        self.nodes.get(cid).map(Vec::as_slice)
    }
}

/// The node at `level` over some leaves, none of which stands higher. Recurses at most 128 deep.
fn subtree(leaves: &[Leaf<'_>], level: u8, nodes: &mut HashMap<Cid, Vec<u8>>) -> Option<Cid> {
    if leaves.is_empty() {
        return None;
    }
    let mut below = leaves.split(|leaf| leaf.height == level);
    let mut next_below = |nodes: &mut _| {
        let leaves = below.next().unwrap_or_default();
        // At level 0 every leaf is an entry, so nothing is left below.
        level.checked_sub(1).and_then(|level| subtree(leaves, level, nodes))
    };
    let left = next_below(nodes);
    let mut entries = Vec::new();
    for leaf in leaves.iter().filter(|leaf| leaf.height == level) {
        let right = next_below(nodes);
        entries.push(Entry { key: leaf.key.to_owned(), value: leaf.value, right });
    }
    Some(insert(Node { left, entries }, nodes))
}

fn insert(node: Node, nodes: &mut HashMap<Cid, Vec<u8>>) -> Cid {
    // Of paths and CIDs, far fewer than the thousands that a node would need to be too large.
    let bytes = node.encode().expect("a node has an encoding");
    let cid = record_cid(&bytes);
    nodes.insert(cid, bytes);
    cid
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The roots are from an implementation of its own, in another language, with an empty map as
    /// every record. The first is that of the specification's empty tree.
    #[test]
    fn a_set_of_keys_has_the_root_that_others_compute() {
        let numbered =
            |count: usize| (0..count).map(|n| format!("com.example.a/key-{n}")).collect::<Vec<_>>();
        let two_collections = ["a", "b"]
            .iter()
            .flat_map(|c| (0..1000).map(move |n| format!("com.example.{c}/{n:04}")))
            .collect();
        let cases = [
            (vec![], "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"),
            (
                vec!["com.example.a/one".to_owned()],
                "bafyreicuwe6nlbih2lzzw5pvtq55mcr7h52kqn6dttxmvksx2xxlcc4vti",
            ),
            (numbered(4), "bafyreigir6pz7fjed6scwkndbaou7l5qddu4lj3swoxpyce2llhq2ihy5q"),
            (numbered(200), "bafyreifxhdgeswv46p7shmm75czibm23nzeigy5l4zvlktbqdyejapx2om"),
            (two_collections, "bafyreiblejpenbxkzi2neba6qxs3k6zxxvs46tbfyj4efk7g7jcd4hja2i"),
        ];
        let record = record_cid(&[0xa0]);
        for (mut keys, root) in cases {
            keys.sort();
            let tree = Tree::of(keys.iter().map(|key| (key.as_str(), record)));
            assert_eq!(tree.root().to_string(), root, "{} keys", keys.len());
        }
    }
}
