//! What `verify` finds of lines that were changed, and of heads that were kept.

use super::*;

#[test]
fn a_whole_log_is_whole() {
    let (lines, expected) = log();
    let found = verified(&lines.concat(), &expected);
    let whole = Findings {
        files: 1,
        lines: 10,
        calls: 7,
        first: Some(1),
        last: Some(expected.heads[0]),
        signed: Some(10),
        ..Findings::default()
    };
    assert_eq!(found, whole);
    // Without the last checkpoint, and without a head that says that there is one.
    let found = verified(&lines[..9].concat(), &Expected { heads: Vec::new(), ..expected });
    assert_eq!((found.issues, found.signed, found.unsigned_tail), (Vec::new(), Some(4), 5));
}

fn change_is_found(lines: &[Vec<u8>], expected: &Expected, at: usize, mask: u8) {
    let mut bytes = lines.concat();
    bytes[at] ^= mask;
    let ends = lines.iter().scan(0, |end, line| {
        *end += line.len();
        Some(*end)
    });
    let line = ends.take_while(|end| *end <= at).count() as u64 + 1;
    let found = verified(&bytes, expected);
    // The last line's end: there is one line less.
    let named = if at + 1 == bytes.len() { line - 1 } else { line };
    assert!(found.issues.iter().any(|issue| issue.line == named), "byte {at} of line {line}: {found:?}");
    let near = |issue: &Issue| issue.line + 1 >= line && issue.line <= line + 1;
    assert!(found.issues.iter().all(near), "byte {at} of line {line}: {found:?}");
}

#[test]
fn a_flipped_bit_of_any_byte_is_found_at_its_line() {
    let (lines, expected) = log();
    for at in 0..lines.concat().len() {
        change_is_found(&lines, &expected, at, 1);
    }
}

proptest! {
    #[test]
    fn a_changed_byte_is_found_at_its_line(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let (lines, expected) = log();
        change_is_found(&lines, &expected, at.index(lines.concat().len()), mask);
    }
}

#[test]
fn a_dropped_line_is_found() {
    let (lines, expected) = log();
    for dropped in 1..=10 {
        let mut rest = lines.clone();
        rest.remove(dropped - 1);
        let seq = dropped as u64;
        let flaw = match seq {
            10 => (9, Flaw::Truncated(10)),
            _ => (seq, Flaw::Missing { from: seq, to: seq }),
        };
        assert_eq!(flaws(&rest, &expected), [flaw]);
    }
}

#[test]
fn swapped_lines_are_found() {
    let (lines, expected) = log();
    for first in 1..10 {
        let mut swapped = lines.clone();
        swapped.swap(first - 1, first);
        let seq = first as u64;
        assert_eq!(flaws(&swapped, &expected), [(seq + 1, Flaw::Reordered(seq))]);
    }
}

#[test]
fn a_repeated_line_is_found() {
    let (lines, expected) = log();
    for twice in 1..=10 {
        let mut longer = lines.clone();
        longer.insert(twice, lines[twice - 1].clone());
        let seq = twice as u64;
        assert_eq!(flaws(&longer, &expected), [(seq + 1, Flaw::Repeated(seq))]);
    }
}

#[test]
fn a_tail_cut_below_the_committed_head_is_found() {
    let (lines, expected) = log();
    for left in 0..10 {
        let found = flaws(&lines[..left], &expected);
        let mut cut = vec![(left as u64, Flaw::Truncated(10))];
        if (1..4).contains(&left) {
            cut.push((left as u64, Flaw::Unsigned));
        }
        assert_eq!(found, cut);
    }
    // In the middle of a line.
    let bytes = lines.concat();
    let found = verified(&bytes[..bytes.len() - 7], &expected);
    assert_eq!(found.issues, [Issue { file: NAME.into(), line: 9, flaw: Flaw::Truncated(10) }]);
    assert!(found.torn_bytes > 0);
}

#[test]
fn a_log_written_anew_is_found_by_its_signatures_and_by_a_head_from_before() {
    let (_, expected) = log();
    let theirs = key(2).public().to_multikey();
    let (forged, head) = lines_by(&key(2), &key(2));
    let unsigned = (10, Flaw::Unsigned);
    let unknown = |line| (line, Flaw::UnknownKey(theirs.clone()));
    let without_head = Expected { heads: vec![head], ..expected.clone() };
    assert_eq!(flaws(&forged, &without_head), [unknown(4), unknown(10), unsigned.clone()]);
    let (forged, head) = lines_by(&key(2), &key(1));
    let without_head = Expected { heads: vec![head], ..expected.clone() };
    let wrong = [(4, Flaw::WrongSignature), (10, Flaw::WrongSignature), unsigned];
    assert_eq!(flaws(&forged, &without_head), wrong);
    // By somebody who has the key.
    let mut chain = Chain { head: Head::START };
    let mut anew = Vec::new();
    for _ in 1..10 {
        chain.line(&json!({"kind": "call"}).to_string(), &mut anew);
    }
    let body = json!({"kind": CHECKPOINT, "key": key(1).public().to_multikey()});
    chain.checkpoint(&body.to_string(), &key(1), &mut anew);
    let issue = |flaw| vec![Issue { file: NAME.into(), line: 10, flaw }];
    assert_eq!(verified(&anew, &expected).issues, issue(Flaw::NotCommitted(10)));
    let unknowing = Expected { heads: Vec::new(), ..expected };
    assert_eq!(verified(&anew, &unknowing).issues, []);
}
