//! Commits that are wrong, though hashed and, where that is possible, signed.

use std::time::Duration;

use ipld_core::ipld::Ipld;
use k256::ecdsa::Signature;
use k256::elliptic_curve::ops::Neg;

use super::super::{InvalidCommit, InvalidData, Proof, ProofError, blob_cid, record_cid};
use super::assert_refused;
use super::forge::*;
use crate::identity::{Curve, PublicKey, SigningKey};

fn with(field: &'static str, value: Ipld) -> Forge {
    Forge::new().commit(move |commit| set(commit, field, value.clone()))
}

fn without(field: &'static str) -> Forge {
    Forge::new().commit(move |commit| {
        fields(commit).remove(field);
    })
}

/// Changed after it was signed.
fn signed_with(field: &'static str, value: Ipld) -> Forge {
    Forge::new().signed(move |commit| set(commit, field, value.clone()))
}

fn refused(reason: InvalidCommit) -> ProofError {
    ProofError::Commit(reason)
}

#[test]
fn commits_of_another_form_are_refused() {
    assert_refused(vec![
        ("version 2", with("version", Ipld::Integer(2)), refused(InvalidCommit::Version)),
        ("version as text", with("version", text("3")), refused(InvalidCommit::Version)),
        ("no version", without("version"), refused(InvalidCommit::Version)),
        ("did as bytes", with("did", Ipld::Bytes(vec![1])), refused(InvalidCommit::Did)),
        ("no did", without("did"), refused(InvalidCommit::Did)),
        ("no rev", without("rev"), refused(InvalidCommit::Rev)),
        ("rev as number", with("rev", Ipld::Integer(1)), refused(InvalidCommit::Rev)),
        ("rev no TID", with("rev", text("0000000000000")), refused(InvalidCommit::Rev)),
        ("no data", without("data"), refused(InvalidCommit::Data)),
        ("data null", with("data", Ipld::Null), refused(InvalidCommit::Data)),
        ("data a blob", with("data", Ipld::Link(blob_cid(b""))), refused(InvalidCommit::Data)),
        ("no prev", without("prev"), refused(InvalidCommit::Prev)),
        ("prev as text", with("prev", text("")), refused(InvalidCommit::Prev)),
        ("an unknown field", with("extra", Ipld::Null), refused(InvalidCommit::UnknownField)),
        ("sig as text", signed_with("sig", text("sig")), refused(InvalidCommit::Signature)),
        ("sig too short", signed_with("sig", Ipld::Bytes(vec![1; 63])), refused(InvalidCommit::Signature)),
        ("sig too long", signed_with("sig", Ipld::Bytes(vec![1; 65])), refused(InvalidCommit::Signature)),
        (
            "no sig",
            Forge::new().signed(|commit| drop(fields(commit).remove("sig"))),
            refused(InvalidCommit::Signature),
        ),
        (
            "a list",
            Forge::new().signed(|commit| *commit = Ipld::List(vec![])),
            refused(InvalidCommit::NotAMap),
        ),
        ("a float", with("prev", Ipld::Float(1.5)), refused(InvalidCommit::Encoding(InvalidData::Float))),
        (
            "trailing bytes",
            Forge::new().signed_bytes(|bytes| bytes.push(0xf6)),
            refused(InvalidCommit::Encoding(InvalidData::TrailingBytes)),
        ),
        (
            "a length that is not the shortest",
            Forge::new().signed_bytes(|bytes| drop(bytes.splice(..1, [0xb8, 6]))),
            refused(InvalidCommit::Encoding(InvalidData::NotShortest)),
        ),
        (
            "a field twice",
            Forge::new().signed_bytes(|bytes| {
                assert_eq!(&bytes[..5], b"\xa6\x63did");
                bytes[0] += 1;
                bytes.splice(1..1, *b"\x63did\xf6");
            }),
            refused(InvalidCommit::Encoding(InvalidData::DuplicateKey)),
        ),
        (
            "fields out of order",
            Forge::new().signed_bytes(|bytes| {
                bytes[0] += 1;
                bytes.splice(1..1, *b"\x64zzzz\xf6");
            }),
            refused(InvalidCommit::Encoding(InvalidData::KeyOrder)),
        ),
        (
            "no bytes",
            Forge::new().signed_bytes(Vec::clear),
            refused(InvalidCommit::Encoding(InvalidData::Truncated)),
        ),
    ]);
}

#[test]
fn commits_that_the_author_did_not_sign_like_this_are_refused() {
    let later = text(&rev_at(NOW + Duration::from_secs(1)).to_string());
    assert_refused(vec![
        ("another rev", signed_with("rev", later), ProofError::BadSignature),
        ("another tree", signed_with("data", Ipld::Link(record_cid(b""))), ProofError::BadSignature),
        ("another prev", signed_with("prev", Ipld::Link(record_cid(b""))), ProofError::BadSignature),
        ("a signature of zeros", signed_with("sig", Ipld::Bytes(vec![0; 64])), ProofError::BadSignature),
        ("a signature of ones", signed_with("sig", Ipld::Bytes(vec![0xff; 64])), ProofError::BadSignature),
        ("a signature with high s", Forge::new().signed(raise_s), ProofError::BadSignature),
    ]);
}

/// The other signature that whoever has one can make.
fn raise_s(commit: &mut Ipld) {
    let Some(Ipld::Bytes(signature)) = fields(commit).get("sig") else { panic!("a signature") };
    let (r, s) = Signature::from_slice(signature).unwrap().split_scalars();
    let high = Signature::from_scalars(*r, s.neg()).unwrap();
    set(commit, "sig", Ipld::Bytes(high.to_bytes().to_vec()));
}

#[test]
fn commits_of_another_repo_or_key_are_refused() {
    let other = with("did", text("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_eq!(other.verify(), Err(ProofError::OtherRepo));
    // DIDs are compared as they are written.
    let upper = with("did", text("did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ"));
    assert_eq!(upper.verify(), Err(ProofError::OtherRepo));

    let stranger = SigningKey::from_bytes(&[8; 32]).unwrap().public();
    let other_curve = PublicKey::from_sec1(Curve::P256, p256_key().compressed()).unwrap();
    for key in [stranger, other_curve] {
        let refused = verify_name(&Forge::new().car(), &Keys::find().t, &key);
        assert_eq!(refused, Err(ProofError::BadSignature));
    }
}

fn p256_secret() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap()
}

fn p256_key() -> PublicKey {
    PublicKey::from_sec1(Curve::P256, p256_secret().verifying_key().to_sec1_point(true).as_bytes()).unwrap()
}

/// Repositories are signed on either curve; the low half of `s` is the rule on both.
#[test]
fn a_commit_signed_on_the_other_curve_is_proved_and_its_high_twin_is_not() {
    use p256::ecdsa::signature::Signer;
    let sign = |raise: bool| {
        Forge::new().signed(move |commit| {
            fields(commit).remove("sig");
            let low: p256::ecdsa::Signature =
                Signer::<p256::ecdsa::Signature>::sign(&p256_secret(), &encode(commit));
            let (r, s) = low.normalize_s().split_scalars();
            let s = if raise { s.neg() } else { s };
            let signature = p256::ecdsa::Signature::from_scalars(*r, *s).unwrap();
            set(commit, "sig", Ipld::Bytes(signature.to_bytes().to_vec()));
        })
    };
    let name = Keys::find().t;
    let proof = verify_name(&sign(false).car(), &name, &p256_key()).unwrap();
    assert_eq!(proof.record.unwrap().value, lawful_record());
    assert_eq!(verify_name(&sign(true).car(), &name, &p256_key()), Err(ProofError::BadSignature));
}

#[test]
fn a_revision_may_lie_five_minutes_ahead_and_no_more() {
    let ahead = |time| with("rev", text(&rev_at(NOW + time).to_string())).verify();
    let limit = Duration::from_secs(300);
    assert!(matches!(ahead(limit), Ok(Proof { record: Some(_), .. })));
    assert_eq!(ahead(limit + Duration::from_micros(1)), Err(ProofError::RevInFuture));
    assert_eq!(with("rev", text("jzzzzzzzzzzzz")).verify(), Err(ProofError::RevInFuture));
}

#[test]
fn a_link_to_the_commit_before_is_taken() {
    assert!(with("prev", Ipld::Link(record_cid(b"before"))).verify().is_ok());
}
