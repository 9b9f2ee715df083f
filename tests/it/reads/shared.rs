//! Reads of many runs at once, and of those that give up.

use super::*;

#[tokio::test]
async fn two_hundred_equal_reads_at_once_are_one() {
    let reader = Reader::start().await;
    let cid = reader.blob(b"shared");
    let uri = reader.post("a", json!({ "text": "hi" }));
    reader.world.delay([("/xrpc/", Duration::from_millis(50))]);
    let calls = [
        ("sync.getRecord", record(uri)),
        ("sync.getBlob", blob(&cid, None)),
        ("repo.listRecords", list(&reader.did(), None, 5)),
    ];
    for (method, call) in calls {
        let answers: Vec<_> =
            (0..200).map(|_| tokio::spawn(reader.door(None).call(call.clone(), LONG))).collect();
        for answer in answers {
            assert!(answer.await.unwrap().is_ok(), "{method}");
        }
        assert_eq!(reader.world.asked(method), 1, "{method}");
    }
    assert_eq!(reader.world.asked("did.json"), 1);
}

#[tokio::test]
async fn host_calls_are_counted_by_their_end_and_reads_by_where_they_came_from() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let reader = Reader::start().await;
    let (uri, cid) = (reader.post("a", json!({ "text": "hi" })), reader.blob(b"slow"));
    for _ in 0..2 {
        value(ask(&reader.door(None), record(&uri)).await);
    }
    refusal(ask(&reader.door(Some(&[])), record(&uri)).await);
    reader.world.delay([("repo.listRecords", Duration::from_millis(50))]);
    let pages: Vec<_> =
        (0..3).map(|_| tokio::spawn(reader.door(None).call(list(&reader.did(), None, 5), LONG))).collect();
    for listed in pages {
        page(listed.await.unwrap());
    }
    reader.world.slow_down("sync.getBlob", Duration::from_secs(60));
    refusal(reader.door(None).call(blob(&cid, None), Duration::from_millis(50)).await);

    let rendered = recorder.handle().render();
    let mut counted: Vec<_> = rendered.lines().filter(|line| line.starts_with("at_functions_")).collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"at_functions_host_calls_total{call="listCollection",answered="given"} 3"#,
            r#"at_functions_host_calls_total{call="readBlob",answered="abandoned"} 1"#,
            r#"at_functions_host_calls_total{call="readRecord",answered="given"} 2"#,
            r#"at_functions_host_calls_total{call="readRecord",answered="refused"} 1"#,
            // Of the record, of the page and of the blob.
            r#"at_functions_lookups_total{what="document",from="memory"} 2"#,
            r#"at_functions_lookups_total{what="document",from="network"} 1"#,
            r#"at_functions_reads_total{what="page",from="network"} 1"#,
            r#"at_functions_reads_total{what="page",from="shared"} 2"#,
            r#"at_functions_reads_total{what="record",from="memory"} 1"#,
            r#"at_functions_reads_total{what="record",from="network"} 1"#,
        ]
    );
}

#[tokio::test]
async fn a_read_that_others_wait_for_outlives_the_run_that_began_it() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    reader.world.delay([("sync.getRecord", Duration::from_secs(2))]);
    // Each is begun where it is made, so the second finds the first one's read.
    let first = reader.door(None).call(record(&uri), Duration::from_millis(500));
    let second = reader.door(None).call(record(&uri), LONG);
    refusal(first.await);
    assert_eq!(value(second.await).0["text"], "hi");
    assert_eq!(reader.world.asked("sync.getRecord"), 1);
}

/// Wakes the thread that waits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[tokio::test]
async fn a_door_is_used_from_threads_that_know_no_runtime() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    let door = reader.door(None);
    let thread = thread::spawn(move || {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut call = door.call(record(uri), LONG);
        loop {
            match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park_timeout(LONG),
            }
        }
    });
    let answer = tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    assert_eq!(value(answer).0["text"], "hi");
}

#[tokio::test]
async fn a_call_that_is_dropped_asks_no_further() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    reader.world.delay([("did.json", Duration::from_millis(500))]);
    let call = reader.door(None).call(record(uri), LONG);
    soon(async || reader.world.asked("did.json") == 1).await;
    drop(call);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!((reader.world.asked("did.json"), reader.world.asked("sync.getRecord")), (1, 0));
}

#[tokio::test]
async fn accounts_that_guests_make_the_service_look_up_are_bounded() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    let door = reader.door(None);
    let nobody = |n: usize| {
        let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
        format!("at://did:plc:{}{}{}/{POST}/a", "z".repeat(22), letter(n), letter(n / 26))
    };
    let mut refused = 0;
    for n in 0..260 {
        let message = refusal(ask(&door, record(nobody(n))).await);
        refused += usize::from(message.contains("by this author's functions; try again in"));
    }
    let asked = reader.world.asked("/did:plc:");
    assert!((200..250).contains(&asked) && refused == 260 - asked, "{asked} asked, {refused} refused");
    // Other authors' functions look up as before; and what is known costs nothing.
    let reads = Reads::of(None, UndeclaredReads::Any);
    let other = at_functions::identity::Did::parse("did:web:other.com").unwrap();
    let door = RunDoor::new(reader.registry.clone(), reads, other, tokio::runtime::Handle::current());
    assert_eq!(value(ask(&door, record(&uri)).await).0["text"], "hi");
    assert_eq!(value(ask(&reader.door(None), record(&uri)).await).0["text"], "hi");
}
