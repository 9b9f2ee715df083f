use crate::auth::CallerDid;
use crate::identity::Did;
use crate::lexicon::FunctionMetadata;

use super::*;

const MIB: u64 = 1024 * 1024;

fn memo(bytes: u64, across_callers: bool) -> Memo {
    Memo::new(MemoConfig { bytes, across_callers, engine: 1 }, Clock::manual(1_790_000_000))
}

fn did(name: &str) -> Did {
    Did::parse(&format!("did:web:{name}.example")).unwrap()
}

fn caller(name: &str) -> Caller {
    Caller::Verified(CallerDid::without_proof(did(name)))
}

fn function(author: &str, mode: Mode, public: bool) -> Function {
    let record = serde_json::json!({
        "$type": "at.functions.metadata", "name": "f", "version": "1", "mode": mode.as_str(), "public": public,
        "code": { "$type": "blob", "ref": { "$link": crate::repo::blob_cid(b"code").to_string() },
                  "mimeType": "application/wasm", "size": 4 },
        "entrypoint": "run", "inputEncoding": "application/json", "outputEncoding": "application/json",
    });
    let record = crate::repo::json_to_ipld(&record).unwrap();
    Function::unproved(did(author), FunctionMetadata::from_record(&record).unwrap())
}

const LIMITS: Limits = Limits {
    memory_bytes: 32 * MIB,
    duration: Duration::from_millis(100),
    output_bytes: MIB as usize,
    host_calls: 1,
    host_bytes: 1,
};

fn kept(output: &[u8]) -> Kept {
    Kept { output: Bytes::copy_from_slice(output), output_bytes: output.len() as u64, mismatch: None }
}

#[test]
fn what_was_kept_is_found_by_the_same_call_and_by_no_other() {
    let memo = memo(MIB, false);
    let echo = function("author", Mode::PureV1, true);
    let key = |caller: &Caller, function: &Function, limits: &Limits, input: &[u8]| {
        memo.key(caller, function, limits, input).unwrap()
    };
    let first = key(&caller("a"), &echo, &LIMITS, b"1");
    memo.keep(first.clone(), kept(b"one"));
    assert_eq!(memo.find(&key(&caller("a"), &echo, &LIMITS, b"1")).as_deref(), Some(&kept(b"one")));
    let mut changed = function("author", Mode::PureV1, true);
    changed.cid = crate::repo::record_cid(b"another");
    let others = [
        key(&caller("b"), &echo, &LIMITS, b"1"),
        key(&caller("a"), &echo, &LIMITS, b"2"),
        key(&caller("a"), &changed, &LIMITS, b"1"),
        key(&caller("a"), &function("other", Mode::PureV1, true), &LIMITS, b"1"),
        key(&caller("a"), &echo, &Limits { memory_bytes: MIB, ..LIMITS }, b"1"),
        key(&caller("a"), &echo, &Limits { duration: Duration::from_millis(99), ..LIMITS }, b"1"),
        key(&caller("a"), &echo, &Limits { output_bytes: 1, ..LIMITS }, b"1"),
        Memo::new(MemoConfig { bytes: MIB, across_callers: false, engine: 2 }, Clock::system())
            .key(&caller("a"), &echo, &LIMITS, b"1")
            .unwrap(),
    ];
    for (number, other) in others.iter().enumerate() {
        assert!(*other != first && memo.find(other).is_none(), "{number}");
    }
}

#[test]
fn callers_share_what_public_functions_answer_only_where_the_operator_says_so() {
    let (public, private) = (function("x", Mode::PureV1, true), function("x", Mode::PureV1, false));
    let keys = |memo: &Memo, function: &Function| {
        [caller("a"), caller("b"), Caller::Anonymous].map(|caller| memo.key(&caller, function, &LIMITS, b"1"))
    };
    let [a, b, nobody] = keys(&memo(MIB, false), &public);
    assert!(a.is_some() && b.is_some() && a != b && nobody.is_none());
    let [a, b, nobody] = keys(&memo(MIB, true), &public);
    assert!(a.is_some() && a == b && a == nobody);
    let [a, b, nobody] = keys(&memo(MIB, true), &private);
    assert!(a.is_some() && b.is_some() && a != b && nobody.is_none());
}

#[test]
fn only_pure_functions_and_short_inputs_have_a_key() {
    let memo = memo(MIB, false);
    for mode in [Mode::HostV1, Mode::ComponentV1, Mode::WasiV1, Mode::CstrV1] {
        assert_eq!(memo.key(&caller("a"), &function("x", mode, true), &LIMITS, b"1"), None, "{mode}");
    }
    let echo = function("x", Mode::PureV1, true);
    let input = vec![b'1'; MAX_INPUT_BYTES + 1];
    assert!(memo.key(&caller("a"), &echo, &LIMITS, &input[1..]).is_some());
    assert_eq!(memo.key(&caller("a"), &echo, &LIMITS, &input), None);
    let off = self::memo(0, true);
    assert_eq!(off.key(&caller("a"), &echo, &LIMITS, b"1"), None);
    assert_eq!(off.stats(), Stats::default());
}

#[test]
fn what_is_kept_stays_within_its_bytes() {
    let memo = memo(MIB, false);
    let echo = function("x", Mode::PureV1, true);
    let key = |n: usize| memo.key(&caller("a"), &echo, &LIMITS, n.to_string().as_bytes()).unwrap();
    memo.keep(key(0), kept(&vec![b'x'; MAX_OUTPUT_BYTES + 1]));
    assert_eq!((memo.find(&key(0)), memo.stats()), (None, Stats::default()));
    for n in 0..1_000 {
        memo.keep(key(n), kept(&[b'x'; 10_000]));
    }
    let stats = memo.stats();
    assert!(stats.outputs > 50 && stats.bytes > MIB / 2 && stats.bytes <= MIB, "{stats:?}");
    assert_eq!(stats.bytes, stats.outputs * (10_000 + ENTRY_BYTES as u64));
}

#[test]
fn what_was_kept_is_forgotten_after_its_time() {
    let clock = Clock::manual(1_790_000_000);
    let memo = Memo::new(MemoConfig { bytes: MIB, across_callers: false, engine: 1 }, clock.clone());
    let key = memo.key(&caller("a"), &function("x", Mode::PureV1, true), &LIMITS, b"1").unwrap();
    memo.keep(key.clone(), kept(b"one"));
    clock.advance(KEPT_FOR - Duration::from_secs(1));
    assert_eq!(memo.find(&key).as_deref(), Some(&kept(b"one")));
    clock.advance(Duration::from_secs(1));
    assert_eq!(memo.find(&key), None);
    // The next run is kept in its place.
    memo.keep(key.clone(), kept(b"two"));
    assert_eq!(memo.find(&key).as_deref(), Some(&kept(b"two")));
    assert_eq!(memo.stats().outputs, 1);
}
