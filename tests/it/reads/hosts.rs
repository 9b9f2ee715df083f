//! Repo hosts that are slow, endless, broken or not to be asked.

use super::*;

#[tokio::test]
async fn a_slow_host_is_left_at_the_runs_end_and_not_later() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    let cid = reader.blob(b"slow");
    reader.world.slow_down("/xrpc/", Duration::from_secs(60));
    for call in [record(uri), blob(&cid, None), list(&reader.did(), None, 5)] {
        let started = Instant::now();
        let message = refusal(reader.door(None).call(call, Duration::from_millis(200)).await);
        assert!(message.contains("within the run's time"), "{message}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(10), "{took:?}");
    }
    // Nobody waits for them any more, so nothing of them is left: whoever comes now asks again.
    let uri = format!("at://{}/{POST}/a", reader.did());
    let before = reader.world.asked("sync.getRecord");
    let again = reader.door(None).call(record(uri), LONG);
    soon(async || reader.world.asked("sync.getRecord") == before + 1).await;
    drop(again);
}

#[tokio::test]
async fn a_host_that_asks_for_it_is_left_alone() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    reader.world.fail_with(|path| {
        path.contains("/xrpc/").then(|| {
            let mut response = xrpc_error(429, "RateLimitExceeded");
            response.headers_mut().insert("retry-after", "60".parse().unwrap());
            response
        })
    });
    let door = reader.door(None);
    for call in [record(&uri), record(uri.replace("/a", "/b")), list(&reader.did(), None, 5)] {
        let message = refusal(ask(&door, call).await);
        assert!(message.contains("try again in 60 s") || message.contains("try again in 59 s"), "{message}");
    }
    assert_eq!(reader.world.asked("/xrpc/"), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    reader.world.fail_with(|path| {
        path.contains("/xrpc/").then(|| {
            let mebibyte = Bytes::from(vec![b' '; 1 << 20]);
            let endless =
                futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(mebibyte.clone()));
            Body::from_stream(endless).into_response()
        })
    });
    let cid = blob_cid(b"endless").to_string();
    for call in [record(uri), blob(&cid, None), list(&reader.did(), None, 5)] {
        let message = refusal(ask(&reader.door(None), call).await);
        assert!(message.contains("more than is taken"), "{message}");
    }
    reader.world.fail_with(|path| {
        path.contains("/xrpc/").then(|| {
            // Ten gigabytes are announced.
            (
                [("content-length", "10737418240")],
                Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()),
            )
                .into_response()
        })
    });
    let message = refusal(ask(&reader.door(None), blob(&blob_cid(b"large").to_string(), None)).await);
    assert!(message.contains("more than is taken"), "{message}");
}

#[tokio::test]
async fn the_rules_on_addresses_hold_for_what_guests_read() {
    let world = World::start().await;
    let registry = registry(&world, false);
    let author = world.author.did().clone();
    let uri = put(&world.author, "a", &json!({ "$type": POST }), []);
    let door = RunDoor::new(registry, Reads::Any, author.clone(), tokio::runtime::Handle::current());
    for call in [record(uri), blob(&blob_cid(b"x").to_string(), None), list(author.as_str(), None, 5)] {
        let message = refusal(ask(&door, call).await);
        assert!(message.contains("address that this service does not connect to"), "{message}");
    }
    assert_eq!(world.asked("/xrpc/"), 0);
}

#[tokio::test]
async fn what_a_failing_host_does_is_told_apart() {
    const DOWN: &str = "is not active (taken down)";
    // What is told of a record, a blob and a page.
    let cases = [
        (400, "RepoTakendown", [DOWN; 3]),
        (400, "RepoDeactivated", ["is not active (deactivated)"; 3]),
        (400, "RepoSuspended", ["is not active (suspended)"; 3]),
        (400, "RepoNotFound", ["does not have its repo", "does not have the blob", "does not have its repo"]),
        (400, "InvalidRequest", ["refuses this read", "does not have the blob", "refuses this read"]),
        (500, "InternalServerError", ["failed; try again"; 3]),
        (302, "Found", ["cannot be reached"; 3]),
    ];
    for (status, name, told) in cases {
        let reader = Reader::start().await;
        let uri = reader.post("a", json!({}));
        reader.world.fail_with(move |path| path.contains("/xrpc/").then(|| xrpc_error(status, name)));
        let cid = blob_cid(b"x").to_string();
        let calls = [record(&uri), blob(&cid, None), list(&reader.did(), None, 5)];
        for (call, told) in calls.into_iter().zip(told) {
            let message = refusal(ask(&reader.door(None), call.clone()).await);
            assert!(message.contains(told), "{status} {name} {call:?}: {message}");
            assert!(!message.contains("127.0.0.1") && !message.contains("made by the test"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_repo_that_does_not_exist_is_told_so() {
    let reader = Reader::start().await;
    let nobody = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz";
    let message = refusal(ask(&reader.door(None), record(format!("at://{nobody}/{POST}/a"))).await);
    assert_eq!(message, format!("{nobody} does not exist"));
}
