//! Who may run a function that is not public: what grants give, and everything that gives nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use at_functions::clock::Clock;
use at_functions::identity::Did;
use at_functions::lexicon::{GrantSubject, Nsid, RecordKey};
use serde_json::{Value, json};

use crate::world::{Caller, ECHO, World};

const COLLECTION: &str = "at.functions.grant";

fn private(world: &World, rkey: &str) -> String {
    world.publish_record(rkey, ECHO, |record| record["public"] = false.into()).uri.to_string()
}

fn subject(world: &World, rkey: &str, caller: &Did) -> GrantSubject {
    GrantSubject {
        author: world.author.did().clone(),
        function: RecordKey::parse(rkey).unwrap(),
        caller: caller.clone(),
    }
}

fn record(subject: &GrantSubject) -> Value {
    json!({
        "$type": COLLECTION,
        "function": subject.function_uri(),
        "caller": subject.caller,
        "createdAt": "2026-01-01T00:00:00Z",
    })
}

fn put(world: &World, rkey: &RecordKey, record: &Value) {
    world.author.put_into(Nsid::parse(COLLECTION).unwrap(), rkey, record, []).unwrap();
}

/// A moment so many seconds from now.
fn moment(from_now: i64) -> String {
    let now = Clock::system().unix_seconds() as i64;
    jiff::Timestamp::from_second(now + from_now).unwrap().to_string()
}

async fn decided(world: &World, caller: &Caller, uri: &str) -> String {
    let answer = world.run_as(caller, &uri, json!(1)).await;
    match answer.status {
        200 if answer.body["ok"] == true => "ok".to_owned(),
        _ => answer.error().1.to_owned(),
    }
}

#[tokio::test]
async fn who_calls_against_what_is_called() {
    let world = World::start().await;
    let [stranger, granted, expired] = [1, 2, 3].map(|seed| world.caller(seed));
    let author = Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() };
    let hidden = private(&world, "hidden");
    let open = world.publish("open", ECHO).uri.to_string();
    let absent = hidden.replace("hidden", "absent");
    for rkey in ["hidden", "absent"] {
        let subject = subject(&world, rkey, &granted.did);
        put(&world, &subject.record_key(), &record(&subject));
    }
    let over = subject(&world, "hidden", &expired.did);
    let mut ended = record(&over);
    ended["expiresAt"] = moment(-1).into();
    put(&world, &over.record_key(), &ended);

    for (who, caller, of_hidden) in [
        ("stranger", &stranger, "FunctionNotPublic"),
        ("granted", &granted, "ok"),
        ("expired", &expired, "FunctionNotPublic"),
        ("author", &author, "ok"),
    ] {
        assert_eq!(decided(&world, caller, &hidden).await, of_hidden, "{who}");
        assert_eq!(decided(&world, caller, &open).await, "ok", "{who}");
        assert_eq!(decided(&world, caller, &absent).await, "FunctionNotFound", "{who}");
    }
    assert_eq!(world.run(&hidden, json!(1)).await.error(), (403, "FunctionNotPublic"));
    assert_eq!(world.run(&open, json!(1)).await.output()["echo"], 1);
}

#[tokio::test]
async fn what_is_no_whole_grant_of_this_function_to_this_caller_grants_nothing() {
    let world = World::start().await;
    let uri = private(&world, "hidden");
    private(&world, "other");
    type Change = fn(&World, &mut Value);
    let changes: [(&str, Change); 6] = [
        ("of another function", |world, grant| {
            grant["function"] = format!("at://{}/at.functions.metadata/other", world.author.did()).into();
        }),
        ("by the author's handle", |_, grant| {
            grant["function"] = "at://author.test/at.functions.metadata/hidden".into();
        }),
        ("of another repo", |_, grant| {
            grant["function"] = "at://did:plc:zzzzzzzzzzzzzzzzzzzzzzzz/at.functions.metadata/hidden".into();
        }),
        ("to another", |world, grant| grant["caller"] = world.caller(20).did.as_str().into()),
        ("without its time", |_, grant| drop(grant.as_object_mut().unwrap().remove("createdAt"))),
        ("that ends at no time", |_, grant| grant["expiresAt"] = "never".into()),
    ];
    for (seed, (what, change)) in (1..).zip(changes) {
        let caller = world.caller(seed);
        let subject = subject(&world, "hidden", &caller.did);
        let mut grant = record(&subject);
        change(&world, &mut grant);
        put(&world, &subject.record_key(), &grant);
        assert_eq!(decided(&world, &caller, &uri).await, "FunctionNotPublic", "{what}");
    }
    // A whole one, but not where one proved read finds it.
    let caller = world.caller(10);
    let misplaced = subject(&world, "hidden", &caller.did);
    for rkey in ["self", caller.did.as_str()] {
        put(&world, &RecordKey::parse(rkey).unwrap(), &record(&misplaced));
    }
    assert_eq!(decided(&world, &caller, &uri).await, "FunctionNotPublic");
}

#[tokio::test]
async fn a_grant_is_read_once_and_its_end_is_judged_at_each_call() {
    let world = World::start().await;
    let (uri, caller) = (private(&world, "hidden"), world.caller(1));
    let subject = subject(&world, "hidden", &caller.did);
    let mut grant = record(&subject);
    grant["expiresAt"] = moment(8).into();
    put(&world, &subject.record_key(), &grant);
    let mut ran = 0;
    let end = Instant::now() + Duration::from_secs(20);
    let last = loop {
        match decided(&world, &caller, &uri).await.as_str() {
            "ok" => ran += 1,
            refused => break refused.to_owned(),
        }
        assert!(Instant::now() < end, "it runs after its end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(last, "FunctionNotPublic");
    assert!(ran > 0, "it never held");
    assert_eq!(world.asked(COLLECTION), 1);
}

#[tokio::test]
async fn strangers_cost_the_authors_host_a_bounded_number_of_reads_and_keep_no_grantee_out() {
    let mut world = World::start().await;
    let record_ttl = Duration::from_millis(300);
    world.restart_with_record_ttl(record_ttl).await;
    let (uri, grantee) = (private(&world, "hidden"), world.caller(200));
    let subject = subject(&world, "hidden", &grantee.did);
    let key = subject.record_key();
    put(&world, &key, &record(&subject));
    assert_eq!(decided(&world, &grantee, &uri).await, "ok");
    assert_eq!(world.asked(key.as_str()), 1);
    let began = Instant::now();
    let mut told = BTreeMap::new();
    for seed in 1..=100_u8 {
        let letters = [b'b' + seed / 20, b'b' + seed % 20].map(char::from).iter().collect::<String>();
        let stranger = world.caller_named(&letters.repeat(12), seed);
        *told.entry(decided(&world, &stranger, &uri).await).or_insert(0) += 1;
    }
    // The grantee's own, 32 at once, and one more each 200 ms.
    let most = 1 + 32 + 1 + began.elapsed().as_millis() as usize / 200;
    assert!(world.asked(COLLECTION) <= most, "{} of {most}", world.asked(COLLECTION));
    let names: Vec<_> = told.keys().map(String::as_str).collect();
    assert_eq!(names, ["FunctionNotPublic", "NotEnoughResources"], "{told:?}");
    // The first read of the 32 was the grantee's.
    assert!(told["FunctionNotPublic"] >= 31, "{told:?}");
    // What was known of the grantee is too old by then, and is read anew.
    tokio::time::sleep(record_ttl).await;
    assert_eq!(decided(&world, &grantee, &uri).await, "ok");
    assert_eq!(world.asked(key.as_str()), 2);
}
