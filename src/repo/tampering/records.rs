//! Records that an author signed, and that are no records.

use ipld_core::ipld::Ipld;

use super::super::{InvalidData, ProofError};
use super::assert_refused;
use super::forge::*;

fn with(edit: impl Fn(&mut Ipld) + 'static) -> Forge {
    Forge::new().record(move |bytes| {
        let mut value = lawful_record();
        edit(&mut value);
        *bytes = encode(&value);
    })
}

fn with_field(value: Ipld) -> Forge {
    with(move |record| set(record, "field", value.clone()))
}

fn of_bytes(bytes: &'static [u8]) -> Forge {
    Forge::new().record(move |record| *record = bytes.to_vec())
}

#[test]
fn records_of_another_form_are_refused() {
    let deep = (0..40).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]));
    let invalid = ProofError::Record;
    assert_refused(vec![
        (
            "another $type",
            with(|record| set(record, "$type", text("com.example.other"))),
            ProofError::RecordType,
        ),
        ("$type no text", with(|record| set(record, "$type", Ipld::Integer(1))), ProofError::RecordType),
        ("no $type", with(|record| drop(fields(record).remove("$type"))), ProofError::RecordType),
        ("a list", with(|record| *record = Ipld::List(vec![])), ProofError::RecordType),
        ("a text", with(|record| *record = text("at.functions.metadata")), ProofError::RecordType),
        ("a float", with_field(Ipld::Float(1.5)), invalid(InvalidData::Float)),
        ("a whole float", with_field(Ipld::Float(1.0)), invalid(InvalidData::Float)),
        ("a wide integer", with_field(Ipld::Integer(u64::MAX.into())), invalid(InvalidData::Integer)),
        ("a deep list", with_field(deep), invalid(InvalidData::TooDeep)),
        ("a long list", with_field(Ipld::List(vec![Ipld::Null; 70_000])), invalid(InvalidData::TooManyItems)),
        ("more than 1 MiB", with_field(Ipld::Bytes(vec![0; 1024 * 1024])), invalid(InvalidData::TooLarge)),
        ("trailing bytes", Forge::new().record(|bytes| bytes.push(0)), invalid(InvalidData::TrailingBytes)),
        (
            "cut short",
            Forge::new().record(|bytes| bytes.truncate(bytes.len() - 1)),
            invalid(InvalidData::Truncated),
        ),
        ("no bytes", of_bytes(b""), invalid(InvalidData::Truncated)),
        ("keys out of order", of_bytes(b"\xa2\x61b\x01\x61a\x01"), invalid(InvalidData::KeyOrder)),
        ("a key twice", of_bytes(b"\xa2\x61a\x01\x61a\x02"), invalid(InvalidData::DuplicateKey)),
        ("a number as key", of_bytes(b"\xa1\x01\x01"), invalid(InvalidData::Key)),
        ("an indefinite map", of_bytes(b"\xbf\x61a\x01\xff"), invalid(InvalidData::Indefinite)),
        ("a long form", of_bytes(b"\xa1\x61a\x18\x01"), invalid(InvalidData::NotShortest)),
        ("another tag", of_bytes(b"\xa1\x61a\xc1\x01"), invalid(InvalidData::Tag)),
        (
            "a link of another hash",
            of_bytes(b"\xa1\x61a\xd8\x2a\x43\x00\x01\x71"),
            invalid(InvalidData::Link),
        ),
        ("undefined", of_bytes(b"\xa1\x61a\xf7"), invalid(InvalidData::Unsupported)),
        ("text not UTF-8", of_bytes(b"\xa1\x61a\x61\xff"), invalid(InvalidData::Utf8)),
    ]);
}
