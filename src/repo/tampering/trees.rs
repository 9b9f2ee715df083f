//! Trees that break a rule, signed by their author. Each would let one tree say two things.

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use super::super::{InvalidData, InvalidTree, Part, ProofError, blob_cid, record_cid};
use super::assert_refused;
use super::forge::*;

fn leaf(edit: impl Fn(&mut Vec<Ipld>) + 'static) -> Forge {
    Forge::new().leaf(move |node| edit(entries(node)))
}

/// The leaf with other keys, in this order, their prefixes as they should be.
fn leaf_of(names: &[&str]) -> Forge {
    let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
    leaf(move |entries| {
        *entries = with_prefixes(&paths);
    })
}

fn with_prefixes(paths: &[String]) -> Vec<Ipld> {
    let mut last = "";
    let mut entries = Vec::new();
    for path in paths {
        let prefix = last.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
        entries.push(entry(prefix as i128, &path.as_bytes()[prefix..], record()));
        last = path;
    }
    entries
}

fn record() -> Cid {
    record_cid(b"another record")
}

fn leaf_field(index: usize, field: &'static str, value: Ipld) -> Forge {
    leaf(move |entries| set(&mut entries[index], field, value.clone()))
}

fn invalid(reason: InvalidTree) -> ProofError {
    ProofError::Tree(reason)
}

/// The number of bytes that T has in common with A, and the rest of it.
fn suffix_of_t() -> (i128, Vec<u8>) {
    let Ipld::Map(entry) = &with_prefixes(&[path(&Keys::find().a), path(&Keys::find().t)])[1] else {
        panic!("an entry")
    };
    let (Ipld::Integer(prefix), Ipld::Bytes(suffix)) = (&entry["p"], &entry["k"]) else { panic!("a key") };
    (*prefix, suffix.clone())
}

#[test]
fn keys_out_of_place_are_refused() {
    let Keys { m, a, t, b, r } = Keys::find();
    let after_r = (0..).map(|n| format!("z{n}")).find(|n| super::super::mst::height(&path(n)) == 0).unwrap();
    let below_m = (0..).map(|n| format!("a{n}")).find(|n| super::super::mst::height(&path(n)) == 0).unwrap();
    let second = name_of_height(1, 1);
    assert_refused(vec![
        ("descending", leaf_of(&[&t, &a, &b]), invalid(InvalidTree::KeyOrder)),
        ("twice", leaf_of(&[&a, &t, &t, &b]), invalid(InvalidTree::KeyOrder)),
        ("before what the parent allows", leaf_of(&[&below_m, &t]), invalid(InvalidTree::KeyOrder)),
        ("after what the grandparent allows", leaf_of(&[&t, &after_r]), invalid(InvalidTree::KeyOrder)),
        ("of the next height", leaf_of(&[&a, &t, &second]), invalid(InvalidTree::Height)),
        ("only of the next height", leaf_of(&[&second]), invalid(InvalidTree::Height)),
        ("the parent's own", leaf_of(&[&m, &t]), invalid(InvalidTree::Height)),
        ("the root's own", leaf_of(&[&t, &r]), invalid(InvalidTree::Height)),
    ]);
}

#[test]
fn prefixes_that_are_not_what_keys_share_are_refused() {
    let (prefix, suffix) = suffix_of_t();
    let whole = path(&Keys::find().t).into_bytes();
    let t = move |prefix: i128, suffix: &[u8]| {
        let changed = entry(prefix, suffix, record());
        leaf(move |entries| entries[1] = changed.clone())
    };
    let short = [&whole[prefix as usize - 1..prefix as usize], &suffix[..]].concat();
    assert_refused(vec![
        ("none, where keys share one", t(0, &whole), invalid(InvalidTree::Prefix)),
        ("one byte too short", t(prefix - 1, &short), invalid(InvalidTree::Prefix)),
        ("longer than the key before", t(1000, &suffix), invalid(InvalidTree::Prefix)),
        (
            "one byte longer than the key before",
            t(whole.len() as i128 + 1, b"a"),
            invalid(InvalidTree::Prefix),
        ),
        ("negative", t(-1, &whole), invalid(InvalidTree::Prefix)),
        ("the greatest", t(i64::MAX.into(), &suffix), invalid(InvalidTree::Prefix)),
        ("of the first key", leaf_field(0, "p", Ipld::Integer(1)), invalid(InvalidTree::Prefix)),
    ]);
}

#[test]
fn keys_that_name_no_record_are_refused() {
    let first = |key: &[u8]| {
        let changed = entry(0, key, record());
        leaf(move |entries| *entries = vec![changed.clone()])
    };
    let long = [b"a/".as_slice(), &[b'b'; 1023]].concat();
    let cases: [&[u8]; 11] = [
        b"",
        b"/",
        b"noslash",
        b"/rkey",
        b"collection/",
        b"a/b/c",
        b"a/b c",
        b"a/b%20",
        b"a/\xff",
        "a/\u{e9}".as_bytes(),
        &long,
    ];
    for key in cases {
        assert_eq!(first(key).verify(), Err(invalid(InvalidTree::Key)), "{:?}", String::from_utf8_lossy(key));
    }
}

#[test]
fn nodes_of_another_shape_are_refused() {
    let shape = || invalid(InvalidTree::Shape);
    let remove = |field: &'static str| leaf(move |entries| drop(fields(&mut entries[1]).remove(field)));
    let node_field =
        |field: &'static str, value: Ipld| Forge::new().leaf(move |node| set(node, field, value.clone()));
    let remove_node = |field: &'static str| Forge::new().leaf(move |node| drop(fields(node).remove(field)));
    let blob = Ipld::Link(blob_cid(b""));
    assert_refused(vec![
        ("no p", remove("p"), shape()),
        ("no k", remove("k"), shape()),
        ("no v", remove("v"), shape()),
        ("no t", remove("t"), shape()),
        ("no l", remove_node("l"), shape()),
        ("no e", remove_node("e"), shape()),
        ("p as text", leaf_field(1, "p", text("1")), shape()),
        ("k as text", leaf_field(1, "k", text("key")), shape()),
        ("v null", leaf_field(1, "v", Ipld::Null), shape()),
        ("v a blob", leaf_field(1, "v", blob.clone()), shape()),
        ("t a blob", leaf_field(1, "t", blob.clone()), shape()),
        ("l a blob", node_field("l", blob), shape()),
        ("l as text", node_field("l", text("")), shape()),
        ("e null", node_field("e", Ipld::Null), shape()),
        ("an entry null", leaf(|entries| entries[1] = Ipld::Null), shape()),
        ("an unknown field", node_field("x", Ipld::Null), shape()),
        ("an unknown field of an entry", leaf_field(1, "x", Ipld::Null), shape()),
        ("a list", Forge::new().leaf(|node| *node = Ipld::List(vec![])), shape()),
        (
            "too many entries",
            leaf(|entries| *entries = vec![Ipld::Null; 4097]),
            invalid(InvalidTree::TooManyEntries),
        ),
        ("a float", leaf_field(1, "p", Ipld::Float(1.0)), invalid(InvalidTree::Encoding(InvalidData::Float))),
        (
            "trailing bytes",
            Forge::new().leaf_bytes(|bytes| bytes.push(0)),
            invalid(InvalidTree::Encoding(InvalidData::TrailingBytes)),
        ),
        (
            "a field twice",
            Forge::new().leaf_bytes(|bytes| {
                assert_eq!(&bytes[..3], b"\xa2\x61e");
                bytes[0] += 1;
                bytes.splice(1..1, *b"\x61e\x80");
            }),
            invalid(InvalidTree::Encoding(InvalidData::DuplicateKey)),
        ),
        (
            "fields out of order",
            Forge::new().root_bytes(|bytes| {
                bytes[0] += 1;
                bytes.splice(1..1, *b"\x61f\x80");
            }),
            invalid(InvalidTree::Encoding(InvalidData::KeyOrder)),
        ),
    ]);
}

#[test]
fn subtrees_at_the_wrong_height_are_refused() {
    // Below the leaves nothing can be: T's own place is there, so ask for a key that would be below it.
    let absent = format!("{}0", Keys::find().t);
    let below = leaf_field(1, "t", Ipld::Link(record()));
    let refused = verify_name(&below.car(), &absent, &key().public());
    assert_eq!(refused, Err(invalid(InvalidTree::Height)));

    // A level is left out: the root points to the leaf.
    let leaf = Forge::new().make_blocks()[3].0;
    let skipped = Forge::new().root(move |node| set(node, "l", Ipld::Link(leaf)));
    assert_eq!(skipped.verify(), Err(invalid(InvalidTree::Height)));

    // What would be a cycle, were hashes not in the way: a middle below a middle.
    let middle = Forge::new().make_blocks()[2].clone();
    let repeated = middle.clone();
    let cyclic = Forge::new()
        .middle(move |node| set(&mut entries(node)[0], "t", Ipld::Link(middle.0)))
        .blocks(move |blocks| blocks.push(repeated.clone()));
    assert_eq!(cyclic.verify(), Err(invalid(InvalidTree::KeyOrder)));

    // The same where bounds say nothing: a chain of nodes without keys ends at height zero.
    let chain = |length: usize| {
        let mut blocks: Vec<Block> = Vec::new();
        for _ in 0..length {
            let left = blocks.last().map_or(Ipld::Link(record()), |block| Ipld::Link(block.0));
            let bytes = encode(&map([("l", left), ("e", Ipld::List(vec![]))]));
            blocks.push((record_cid(&bytes), bytes));
        }
        let top = blocks.last().unwrap().0;
        Forge::new()
            .root(move |node| set(node, "l", Ipld::Link(top)))
            .blocks(move |forged| forged.extend(blocks.iter().cloned()))
    };
    assert_eq!(chain(1).verify(), Err(ProofError::Missing(Part::Node)));
    assert_eq!(chain(2).verify(), Err(invalid(InvalidTree::Height)));
    assert_eq!(chain(3000).verify(), Err(invalid(InvalidTree::Height)));
}

#[test]
fn empty_nodes_are_refused_unless_the_repository_is_empty() {
    let empty = |node: &mut Ipld| *node = map([("l", Ipld::Null), ("e", Ipld::List(vec![]))]);
    assert_refused(vec![
        ("an empty leaf", Forge::new().leaf(empty), invalid(InvalidTree::EmptyNode)),
        ("an empty middle", Forge::new().middle(empty), invalid(InvalidTree::EmptyNode)),
        (
            "a root without keys",
            Forge::new().root(|node| entries(node).clear()),
            invalid(InvalidTree::EmptyRoot),
        ),
    ]);
    assert_eq!(Forge::new().root(empty).verify().unwrap().record, None);
}

/// What is not on the way is not looked at: it may be missing, and proves nothing.
#[test]
fn a_link_beside_the_way_is_not_followed() {
    let forge = Forge::new().root(|node| set(&mut entries(node)[0], "t", Ipld::Link(record())));
    assert_eq!(forge.verify().unwrap().record.unwrap().value, lawful_record());
}
