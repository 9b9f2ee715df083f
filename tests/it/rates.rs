//! How often, and how many at once, over HTTP: each limit, what its callers are told, and floods.

mod floods;

use std::collections::BTreeMap;

use at_functions::clock::Clock;
use at_functions::config::{Anonymous, Settings};
use at_functions::policy::limits::Limit;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use crate::patience::soon;
use crate::world::{Answer, Caller, ECHO, World, answer};

fn limit(text: &str) -> Option<Limit> {
    Some(text.parse().unwrap())
}

/// Two in a row, and then none for half an hour.
const TWO: &str = "2/h burst 2 at-once 9";

/// A function that never ends by itself.
fn endless() -> Vec<u8> {
    wat::parse_str(
        r#"(module (memory (export "memory") 1)
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) (loop $l (br $l)) i64.const 0))"#,
    )
    .unwrap()
}

/// The number in a header.
fn number(answer: &Answer, name: &str) -> u64 {
    answer.headers[name].to_str().unwrap().parse().unwrap()
}

/// Holds an answer to be the refusal by a limit of [`TWO`], and that it says so everywhere.
fn assert_refused(answer: &Answer, whose: &str) {
    assert_eq!(answer.error(), (429, "RateLimitExceeded"), "{whose}");
    let seconds = number(answer, "retry-after");
    assert!((1_700..=1_800).contains(&seconds), "{seconds}");
    let message = format!("too many calls {whose}; retry in {seconds} s (request ");
    assert!(answer.message().starts_with(&message), "{}", answer.message());
    assert_eq!((number(answer, "ratelimit-limit"), number(answer, "ratelimit-remaining")), (2, 0));
    assert_eq!(answer.headers["ratelimit-policy"], "2;w=3600");
}

#[tokio::test]
async fn each_limit_refuses_the_call_that_is_one_too_many_and_no_other() {
    let none = || Settings { anonymous: Some(Anonymous::Public), ..Settings::default() };
    let two = || limit(TWO);
    let cases = [
        ("caller", Settings { caller_limit: two(), ..none() }, "by this caller"),
        (
            "host",
            Settings { host_limit: two(), ..none() },
            "by accounts that no PDS has confirmed to this service yet",
        ),
        ("address", Settings { address_limit: two(), ..none() }, "without a token from this address"),
        ("author", Settings { author_limit: two(), ..none() }, "of this author's functions"),
        ("function", Settings { function_limit: two(), ..none() }, "of this function"),
    ];
    for (name, settings, whose) in cases {
        let world = World::start_with(settings).await;
        let (echo, other) = (world.publish("echo", ECHO), world.publish("other", ECHO));
        let (alice, bob) = (world.caller(1), world.caller(2));
        for n in 0..2 {
            let served = match name {
                "address" => world.run(&echo.uri, json!(n)).await,
                _ => world.run_as(&alice, &echo.uri, json!(n)).await,
            };
            assert_eq!(served.output()["echo"], n, "{name}");
        }
        let mut decided = BTreeMap::new();
        for (what, answer) in [
            ("the same", world.run_as(&alice, &echo.uri, json!(1)).await),
            ("another caller", world.run_as(&bob, &echo.uri, json!(1)).await),
            ("nobody", world.run(&echo.uri, json!(1)).await),
            ("another function", world.run_as(&alice, &other.uri, json!(1)).await),
        ] {
            if answer.status == 429 {
                assert_refused(&answer, whose);
            } else {
                assert_eq!(answer.output()["echo"], 1, "{name}: {what}");
            }
            decided.insert(what, answer.status);
        }
        let refused: Vec<&str> =
            decided.into_iter().filter(|(_, status)| *status == 429).map(|(what, _)| what).collect();
        let expected = match name {
            "caller" => vec!["another function", "the same"],
            "host" => vec!["another caller", "another function", "the same"],
            "address" => vec!["nobody"],
            "author" => vec!["another caller", "another function", "nobody", "the same"],
            _ => vec!["another caller", "nobody", "the same"],
        };
        assert_eq!(refused, expected, "{name}");
    }
}

#[tokio::test]
async fn accounts_that_their_pds_confirmed_share_its_limit_and_leave_the_others_theirs() {
    let settings = Settings { host_limit: limit("50/h burst 50 at-once 9"), ..Settings::default() };
    let world = World::start_with(settings).await;
    let echo = world.publish("echo", ECHO).uri;
    let [alice, bob, liar] = [1, 2, 3].map(|seed| world.caller(seed));
    let hosted = [alice.did.to_string(), bob.did.to_string()];
    world.fail_with(move |path| {
        let did = path.split_once("getRepoStatus?did=")?.1.replace("%3A", ":");
        let status = json!({ "did": did, "active": hosted.contains(&did) }).to_string();
        Some(([("content-type", "application/json")], status).into_response())
    });
    let left = async |caller: &Caller| {
        let answer = world.run_as(caller, &echo, json!(1)).await;
        (answer.status == 200).then(|| number(&answer, "ratelimit-remaining"))
    };
    // Their first calls go on while the PDS is asked, and are charged with those whom none has confirmed.
    assert_eq!((left(&alice).await, left(&bob).await), (Some(49), Some(48)));
    // Then the PDS's limit is theirs, of which nobody has used anything: what is left of the other gets
    // less with each call until that.
    soon(async || left(&alice).await == Some(49)).await;
    soon(async || left(&bob).await == Some(48)).await;
    for still in (0..48).rev() {
        assert_eq!(left(if still % 2 == 0 { &alice } else { &bob }).await, Some(still));
    }
    let refused = world.run_as(&bob, &echo, json!(1)).await;
    assert_eq!(refused.error(), (429, "RateLimitExceeded"));
    assert!(
        refused.message().starts_with("too many calls by accounts of this caller's PDS; "),
        "{refused:?}"
    );
    // Who only says that they are there is not charged to them, however often they were asked about.
    for _ in 0..3 {
        assert!(left(&liar).await.is_some());
    }
    assert_eq!(world.asked("getRepoStatus"), 3);
}

#[tokio::test]
async fn a_caller_over_its_limit_costs_no_fetch_and_keeps_its_token() {
    let world = World::start_with(Settings { caller_limit: limit(TWO), ..Settings::default() }).await;
    let (echo, unread) = (world.publish("echo", ECHO), world.publish("unread", ECHO));
    let alice = world.caller(1);
    for n in 0..2 {
        assert_eq!(world.run_as(&alice, &echo.uri, json!(n)).await.output()["echo"], n);
    }
    let (asked, token) = (world.asked(""), world.token(&alice));
    let body = json!({ "function": unread.uri.to_string(), "input": 1 }).to_string();
    for _ in 0..3 {
        // A token that was used up would be 401 JwtReplayed.
        assert_refused(&world.post(body.clone(), Some(&token)).await, "by this caller");
    }
    assert_eq!(world.asked(""), asked);
    // Nor does the body have to be one.
    assert_refused(&world.post("{", Some(&token)).await, "by this caller");
}

#[tokio::test]
async fn strangers_who_are_refused_do_not_silence_a_function() {
    let settings = Settings { function_limit: limit(TWO), author_limit: limit(TWO), ..Settings::default() };
    let world = World::start_with(settings).await;
    let hidden = world.publish_record("hidden", ECHO, |record| record["public"] = false.into());
    let author =
        crate::world::Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() };
    let stranger = world.caller(1);
    for _ in 0..5 {
        let refused = world.run_as(&stranger, &hidden.uri, json!(1)).await;
        assert_eq!(refused.error(), (403, "FunctionNotPublic"));
    }
    for n in 0..2 {
        assert_eq!(world.run_as(&author, &hidden.uri, json!(n)).await.output()["echo"], n);
    }
    // And whoever may call learns of the limit, not the stranger.
    assert_refused(&world.run_as(&author, &hidden.uri, json!(1)).await, "of this author's functions");
    assert_eq!(world.run_as(&stranger, &hidden.uri, json!(1)).await.error(), (403, "FunctionNotPublic"));
}

#[tokio::test]
async fn calls_under_way_are_counted_until_they_end_or_are_given_up() {
    let settings = Settings { caller_limit: limit("1000/s burst 1000 at-once 1"), ..Settings::default() };
    let world = World::start_with(settings).await;
    let echo = world.publish("echo", ECHO);
    let spinner = world.publish_record("spin", &endless(), |record| record["maxDurationMs"] = 5_000.into());
    let (alice, bob) = (world.caller(1), world.caller(2));
    let body = json!({ "function": spinner.uri.to_string(), "input": {} }).to_string();
    let request = world.request().header("authorization", format!("Bearer {}", world.token(&alice)));
    let spinning = tokio::spawn(answer(request.body(body)));
    soon(async || world.stats().sandbox.instances == 1).await;
    let refused = world.run_as(&alice, &echo.uri, json!(1)).await;
    assert_eq!(refused.error(), (429, "RateLimitExceeded"));
    let told = "too many calls by this caller at once; retry in 1 s (request ";
    assert!(refused.message().starts_with(told), "{}", refused.message());
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(world.run_as(&bob, &echo.uri, json!(2)).await.output()["echo"], 2);
    spinning.abort();
    soon(async || world.run_as(&alice, &echo.uri, json!(3)).await.status == 200).await;
}

#[tokio::test]
async fn direct_callers_are_told_what_is_left_as_the_reference_tells_it() {
    let settings = Settings { caller_limit: limit("1/m burst 3 at-once 9"), ..Settings::default() };
    let world = World::start_with(settings).await;
    let echo = world.publish("echo", ECHO);
    let alice = world.caller(1);
    let now = || Clock::system().unix_seconds();
    let began = now();
    for remaining in [2, 1, 0] {
        let answer = world.run_as(&alice, &echo.uri, json!(1)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(number(&answer, "ratelimit-limit"), 3);
        assert_eq!(number(&answer, "ratelimit-remaining"), remaining);
        assert_eq!(answer.headers["ratelimit-policy"], "3;w=180");
        // The moment at which all are back, in seconds since 1970.
        let reset = began + 60 * (3 - remaining);
        assert!((reset..=reset + 2 + (now() - began)).contains(&number(&answer, "ratelimit-reset")));
    }
    // On refusals of all kinds too, and of the tightest limit.
    let answer = world.run_as(&alice, &echo.uri, json!(1)).await;
    assert_eq!((answer.error().0, number(&answer, "ratelimit-remaining")), (429, 0));
    assert_eq!(answer.headers["retry-after"], answer.message().split(' ').nth(8).unwrap());
    let bob = world.caller(2);
    let missing = format!("at://{}/at.functions.metadata/missing", world.author.did());
    let answer = world.run_as(&bob, &missing, json!(1)).await;
    assert_eq!((answer.error().0, number(&answer, "ratelimit-remaining")), (400, 2));
    // Who is not known has none.
    assert!(!world.post("{}", Some("a.b.c")).await.headers.contains_key("ratelimit-limit"));
}

#[tokio::test]
async fn addresses_are_those_that_trusted_fronts_tell() {
    let settings = |trusted: Option<&str>| Settings {
        anonymous: Some(Anonymous::Public),
        address_limit: limit("1/h burst 1 at-once 9"),
        trusted_proxies: trusted.map(|networks| networks.parse().unwrap()),
        ..Settings::default()
    };
    let call = async |world: &World, function: &Value, forwarded: &[&str]| {
        let body = json!({ "function": function, "input": 1 }).to_string();
        let mut request = world.request().body(body);
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        answer(request).await.status
    };
    let world = World::start_with(settings(Some("127.0.0.0/8, ::1, 10.0.0.0/8"))).await;
    let echo = json!(world.publish("echo", ECHO).uri.to_string());
    let cases: [(&[&str], u16); 10] = [
        (&["203.0.113.7"], 200),
        (&["203.0.113.7"], 429),
        (&["203.0.113.8"], 200),
        // What a client writes itself stands left of what the front appends.
        (&["198.51.100.1, 203.0.113.7"], 429),
        (&["198.51.100.1", "203.0.113.7"], 429),
        (&["203.0.113.7, 10.1.2.3"], 429),
        // Of IPv6, a holder has 64 bits.
        (&["2001:db8::1"], 200),
        (&["2001:db8::ffff:2"], 429),
        // The front itself.
        (&[], 200),
        (&["nonsense"], 429),
    ];
    for (forwarded, status) in cases {
        assert_eq!(call(&world, &echo, forwarded).await, status, "{forwarded:?}");
    }
    for trusted in [None, Some("10.0.0.0/8")] {
        let world = World::start_with(settings(trusted)).await;
        let echo = json!(world.publish("echo", ECHO).uri.to_string());
        assert_eq!(call(&world, &echo, &["203.0.113.7"]).await, 200);
        // Anybody could say so.
        assert_eq!(call(&world, &echo, &["203.0.113.8"]).await, 429, "{trusted:?}");
    }
}

#[test]
fn a_wrong_limit_or_network_stops_the_start_and_names_itself() {
    for (text, name) in [
        ("caller_limit = \"50/s\"", "caller_limit"),
        ("function_limit = 7", "function_limit"),
        ("trusted_proxies = \"10.0.0.0/33\"", "trusted_proxies"),
    ] {
        let error = Settings::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
