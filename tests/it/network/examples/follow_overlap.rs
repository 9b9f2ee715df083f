//! `examples/follow-overlap` over accounts with several pages of follows.

use serde_json::{Value, json};

use super::{Author, tid, time};
use crate::network::{Account, Network};

const FOLLOWS: &str = "app.bsky.graph.follow";

/// Somebody who is followed. Their numbers sort as their DIDs do.
fn somebody(n: usize) -> String {
    const DIGITS: &[u8] = b"234567abcdefghijklmnopqrstuvwxyz";
    let digits: String =
        (0..24).rev().map(|place| char::from(DIGITS[(n >> (5 * place).min(60)) % 32])).collect();
    format!("did:plc:{digits}")
}

impl Account {
    async fn follow(&self, whom: impl Iterator<Item = usize>) {
        let follow = |(n, whom): (usize, usize)| {
            (tid(n), json!({ "$type": FOLLOWS, "subject": somebody(whom), "createdAt": time(n) }))
        };
        let records: Vec<_> = whom.enumerate().map(follow).collect();
        self.write_all(FOLLOWS, &records).await;
    }
}

fn dids(of: impl Iterator<Item = usize>) -> Vec<String> {
    of.map(somebody).collect()
}

#[tokio::test]
async fn whom_two_accounts_follow_together_is_told_over_many_pages() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start(network).await;
    let alice = network.create_account(network.pds(0)).await;
    let bob = network.create_account(network.pds(1)).await;
    let carol = network.create_account(network.pds(1)).await;
    // Alice follows one account twice, and has a record that is no follow.
    alice.follow((0..250).chain([0])).await;
    let no_follow = ("3kzzzzzzzzz22".to_owned(), json!({ "$type": FOLLOWS, "subject": { "did": 7 } }));
    alice.write_all(FOLLOWS, &[no_follow]).await;
    bob.follow(150..420).await;
    let entries = [format!("at://{}/{FOLLOWS}", alice.handle), format!("at://{}/{FOLLOWS}", bob.did)];
    let function = author.deploys("follow-overlap", &["--allow", &entries[0], "--allow", &entries[1]]).await;

    // By handle and by DID, on two PDSes.
    let expected = json!({
        "accounts": [
            { "account": alice.handle, "follows": 250, "complete": true },
            { "account": bob.did, "follows": 270, "complete": true },
        ],
        "common": 100,
        "dids": dids(150..180),
        "complete": true,
    });
    let input = json!({ "accounts": [alice.handle, bob.did], "limit": 30 });
    let answer = author.answers(&function, &input, &expected).await;
    // The PDS gives a cursor to the page that ends a listing, too: three pages with records each, and an empty one.
    assert_eq!(answer["usage"]["hostCalls"], 8, "{answer}");
    let usual = json!({
        "accounts": [
            { "account": bob.handle, "follows": 270, "complete": true },
            { "account": alice.did, "follows": 250, "complete": true },
        ],
        "common": 100,
        "dids": dids(150..170),
        "complete": true,
    });
    author.answers(&function, &json!({ "accounts": [bob.handle, alice.did] }), &usual).await;

    let told = async |accounts: Value| {
        let answer = author.call(&function, &json!({ "accounts": accounts })).await;
        answer["output"]["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned()
    };
    assert_eq!(
        told(json!([alice.did, carol.did])).await,
        format!(
            "{}: the function's record does not allow this read; it would need at://{}/{FOLLOWS} in its allowedHosts",
            carol.did, carol.did
        )
    );
    let nobody = "@alice";
    let neither = "`repo` is neither a did:plc, a did:web nor a handle";
    assert_eq!(told(json!([nobody, alice.did])).await, format!("{nobody}: {neither}"));
    // What the schema says costs no run.
    let refused = author.refusal(&function, &json!({ "accounts": [alice.did] })).await;
    assert!(refused.contains("error: InvalidInput "), "{refused}");
}

#[tokio::test]
async fn an_account_that_is_not_there_or_gone_is_named() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start_in_threads(network).await;
    let alice = network.create_account(network.pds(0)).await;
    let gone = network.create_account(network.pds(1)).await;
    gone.deactivate().await;
    let function = author.deploys("follow-overlap", &[]).await;
    let nobody = somebody(7);
    let cases = [
        (nobody.as_str(), format!("{nobody} does not exist")),
        ("nobody.a.test", String::from("the handle nobody.a.test could not be resolved: ")),
        (&gone.did, format!("the PDS of {} refuses this read: ", gone.did)),
    ];
    for (account, why) in cases {
        let output = author.output_of_failure(&function, &json!({ "accounts": [alice.did, account] })).await;
        let told = output["error"].as_str().unwrap_or_else(|| panic!("no error: {output}"));
        assert!(told.starts_with(&format!("{account}: {why}")), "{told}");
    }
}

#[tokio::test]
async fn a_call_whose_time_does_not_do_says_so() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start_in_threads(network).await;
    let alice = network.create_account(network.pds(0)).await;
    let bob = network.create_account(network.pds(1)).await;
    // Less than it keeps for its answer: no page is begun.
    let function = author.deploys("follow-overlap", &["--max-duration-ms", "900"]).await;
    let account = |of: &Account| json!({ "account": of.did, "follows": 0, "complete": false });
    let expected = json!({
        "accounts": [account(&alice), account(&bob)], "common": 0, "dids": [], "complete": false,
    });
    let answer = author.call(&function, &json!({ "accounts": [alice.did, bob.did] })).await;
    assert_eq!((&answer["output"], &answer["usage"]["hostCalls"]), (&expected, &json!(0)));
}
