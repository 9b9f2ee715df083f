//! Callers, authors and functions by the PDS that a DID document names: a claim that blocks, and that allows only
//! with the host's word.

use axum::response::IntoResponse;
use serde_json::json;

use super::Governed;
use crate::ports::closed_port;
use crate::world::{ECHO, World, xrpc_error};

/// Questions about authors, who are by `did:web` here; callers are by `did:plc`.
const OF_AUTHORS: &str = "getRepoStatus?did=did%3Aweb";

/// Has the author's host, which is everybody's PDS here unless they say otherwise, answer for accounts.
fn host_accounts(world: &World, active: impl Fn(&str) -> Option<bool> + Send + Sync + 'static) {
    world.fail_with(move |path| {
        let (_, query) = path.split_once("getRepoStatus?")?;
        let (_, did) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "did")?;
        Some(match active(&did) {
            Some(active) => {
                ([("content-type", "application/json")], json!({ "did": did, "active": active }).to_string())
                    .into_response()
            }
            None => xrpc_error(400, "RepoNotFound"),
        })
    });
}

#[tokio::test]
async fn a_pds_lets_its_accounts_in_only_by_its_own_word() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let echo = world.publish("echo", ECHO).uri.to_string();
    let origin = world.author.origin().to_owned();
    let entry = origin.replace("http://", "pds:");
    governed.rule(&format!("callers.allow = [\"{entry}\"]")).await;
    let [here, deactivated, liar] = [1, 2, 3].map(|seed| world.caller(seed));
    let other_host = world.caller_at(&"x".repeat(24), 9, "https://pds.elsewhere.com");
    let accounts = [(here.did.to_string(), true), (deactivated.did.to_string(), false)];
    host_accounts(world, move |did| {
        accounts.iter().find(|(known, _)| known == did).map(|(_, active)| *active)
    });

    for _ in 0..3 {
        assert_eq!(governed.decided(Some(&here), &echo).await, "ok");
        assert_eq!(governed.decided(Some(&deactivated), &echo).await, "CallerBlocked");
        let answer = world.run_as(&liar, &echo, json!(1)).await;
        assert_eq!(answer.error(), (403, "CallerBlocked"));
        assert!(answer.message().contains("your PDS did not confirm"), "{answer:?}");
        let answer = world.run_as(&other_host, &echo, json!(1)).await;
        assert_eq!(answer.error(), (403, "CallerBlocked"));
        assert!(!answer.message().contains("confirm"), "{answer:?}");
    }
    // Each is asked about once; who claims to be elsewhere is not asked about at all.
    assert_eq!(world.asked("getRepoStatus"), 3);
    // A block needs nobody's word.
    governed.rule(&format!("callers.allow = [\"{entry}\"]\ncallers.block = [\"{entry}\"]")).await;
    assert_eq!(governed.decided(Some(&here), &echo).await, "CallerBlocked");
    assert_eq!(world.asked("getRepoStatus"), 3);
}

#[tokio::test]
async fn a_pds_that_cannot_be_asked_lets_nobody_in() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let echo = world.publish("echo", ECHO).uri.to_string();
    let gone = format!("localhost:{}", closed_port());
    governed
        .rule(&format!("callers.allow = [\"pds:{gone}\", \"pds:{}\"]", &world.author.origin()[7..]))
        .await;
    let at_closed_port = world.caller_at(&"x".repeat(24), 1, &format!("http://{gone}"));
    assert_eq!(governed.decided(Some(&at_closed_port), &echo).await, "CallerBlocked");
    world.fail_with(|path| path.contains("getRepoStatus").then(|| xrpc_error(500, "InternalServerError")));
    assert_eq!(governed.decided(Some(&world.caller(2)), &echo).await, "CallerBlocked");
    // Another host's word is not this host's.
    let away = [("location", "https://pds.elsewhere.com/xrpc/com.atproto.sync.getRepoStatus")];
    world.fail_with(move |path| {
        path.contains("getRepoStatus").then(|| (http::StatusCode::FOUND, away).into_response())
    });
    assert_eq!(governed.decided(Some(&world.caller(3)), &echo).await, "CallerBlocked");
    assert_eq!(world.asked("getRepoStatus"), 2);
}

#[tokio::test]
async fn strangers_make_the_service_ask_a_host_a_bounded_number_of_times() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let echo = world.publish("echo", ECHO).uri.to_string();
    governed.rule(&format!("callers.allow = [\"pds:{}\"]", &world.author.origin()[7..])).await;
    host_accounts(world, |_| None);
    let began = std::time::Instant::now();
    for seed in 0..80_u8 {
        let letters = [b'a' + seed / 20, b'a' + seed % 20].map(char::from).iter().collect::<String>();
        let stranger = world.caller_at(&letters.repeat(12), seed + 1, world.author.origin());
        assert_eq!(governed.decided(Some(&stranger), &echo).await, "CallerBlocked");
    }
    // 50 at once, and one more each second.
    let most = 50 + 1 + began.elapsed().as_secs() as usize;
    let asked = world.asked("getRepoStatus");
    assert!((50..=most).contains(&asked), "{asked}, not 50 to {most}");
}

#[tokio::test]
async fn functions_run_by_the_pds_of_their_author_only_by_its_own_word() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let (caller, author) = (world.caller(1), world.author.did().to_string());
    let echo = world.publish("echo", ECHO).uri.to_string();
    let entry = world.author.origin().replace("http://", "pds:");

    // The author's document is at the PDS's own host, which does not know of the author.
    host_accounts(world, |_| None);
    for list in ["authors", "functions"] {
        governed.rule(&format!("{list}.allow = [\"{entry}\"]")).await;
        let answer = world.run_as(&caller, &echo, json!(1)).await;
        assert_eq!(answer.error(), (403, "FunctionBlocked"));
        assert!(answer.message().contains("that PDS did not confirm"), "{answer:?}");
    }
    // Nothing was fetched from a host that is not allowed, and it was asked once.
    assert_eq!((world.asked("getRecord"), world.asked(OF_AUTHORS)), (0, 1));

    governed.rule("authors.allow = [\"pds:pds.elsewhere.com\"]").await;
    let answer = world.run_as(&caller, &echo, json!(1)).await;
    assert_eq!(answer.error(), (403, "FunctionBlocked"));
    assert!(!answer.message().contains("confirm"), "{answer:?}");

    for list in ["authors", "functions"] {
        // A function that is named needs nobody's word; nor does a block.
        governed.rule(&format!("functions.allow = [\"{entry}\", \"{echo}\", \"{author}\"]")).await;
        assert_eq!(governed.decided(Some(&caller), &echo).await, "ok");
        governed.rule(&format!("{list}.block = [\"{entry}\"]\nfunctions.allow = [\"{echo}\"]")).await;
        assert_eq!(governed.decided(Some(&caller), &echo).await, "FunctionBlocked");
        assert_eq!(governed.decided(None, &echo).await, "FunctionBlocked");
    }
    assert_eq!(world.asked(OF_AUTHORS), 1);
}

#[tokio::test]
async fn a_pds_that_confirms_its_authors_is_asked_about_each_once() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let caller = world.caller(1);
    let echo = world.publish("echo", ECHO).uri.to_string();
    let entry = world.author.origin().replace("http://", "pds:");
    let author = world.author.did().to_string();
    host_accounts(world, move |did| (did == author).then_some(true));
    governed.rule(&format!("authors.allow = [\"{entry}\"]\nfunctions.allow = [\"{entry}\"]")).await;
    for _ in 0..3 {
        assert_eq!(governed.decided(Some(&caller), &echo).await, "ok");
        assert_eq!(governed.decided(None, &echo).await, "ok");
    }
    assert_eq!(world.asked(OF_AUTHORS), 1);
    // A handle means its DID, and who is no account has no functions.
    assert_eq!(governed.decided(None, "at://author.test/at.functions.metadata/echo").await, "ok");
    let nobody = format!("at://did:plc:{}/at.functions.metadata/echo", "z".repeat(24));
    assert_eq!(governed.decided(None, &nobody).await, "FunctionNotFound");
}

#[tokio::test]
async fn whoever_names_many_authors_uses_up_nothing_of_what_callers_may_have_asked() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let origin = world.author.origin();
    let (author, callers) = (world.author.did().to_string(), [1, 2].map(|seed| world.caller(seed)));
    let accounts: Vec<String> = callers.iter().map(|caller| caller.did.to_string()).chain([author]).collect();
    host_accounts(world, move |did| accounts.iter().any(|known| known == did).then_some(true));
    let entry = origin.replace("http://", "pds:");
    governed.rule(&format!("callers.allow = [\"{entry}\"]\nauthors.allow = [\"{entry}\"]")).await;
    let [first, second] = &callers;
    let echo = world.publish("echo", ECHO).uri.to_string();
    assert_eq!(governed.decided(Some(first), &echo).await, "ok");
    // More than a host is asked about in a row; it knows none of them.
    for number in 0..60_u8 {
        let letters = [b'd' + number / 20, b'g' + number % 20].map(char::from).iter().collect::<String>();
        let named = world.caller_at(&letters.repeat(12), 9, origin);
        let function = format!("at://{}/at.functions.metadata/f", named.did);
        assert_eq!(governed.decided(Some(first), &function).await, "FunctionBlocked");
    }
    assert_eq!(governed.decided(Some(second), &echo).await, "ok");
    // An author whom the host confirmed is familiar to it.
    assert_eq!(governed.decided(Some(first), &echo).await, "ok");
}
