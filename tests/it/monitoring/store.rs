//! What is kept on disk, while it cannot be written: a limit on the size of files, which the kernel tells like a
//! disk without space.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use crate::audit::process::{self, Process};
use crate::patience::soon;
use crate::world::{Answer, ECHO, World};

/// Nothing but the first block of a file can be written.
const FULL: u64 = 1024;

/// What `/readyz` says is in the way, each as its part and the beginning of why.
async fn in_the_way(process: &Process) -> Vec<(String, String)> {
    let (status, text) = process.admin("readyz").await.unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["ready"], status == 200, "{told}");
    let reason = |reason: &Value| {
        let text = |member: &str| reason[member].as_str().unwrap().to_owned();
        let why = text("why");
        (text("part"), why.split(": ").next().unwrap().to_owned())
    };
    told["reasons"].as_array().unwrap().iter().map(reason).collect()
}

async fn echo(world: &World, key: &str) -> Answer {
    let function = world.publish(key, ECHO).uri.to_string();
    world.run(&function, json!(key)).await
}

#[tokio::test]
async fn what_cannot_be_written_is_told_with_its_reason_until_it_can() {
    // So that the audit log is not in the way, too.
    let (world, process) = process::start(&["--audit=drop", "--artifact-cache=0"]).await;
    assert_eq!(echo(&world, "first").await.output()["echo"], "first");
    assert_eq!(in_the_way(&process).await, []);
    assert_eq!(process.metric("at_functions_revisions_can_be_kept").await, 1);

    process.limit_files(Some(FULL));
    // Its revision is proved, and kept in memory.
    assert_eq!(echo(&world, "second").await.output()["echo"], "second");
    let revisions = ("store".to_owned(), "the file of revisions".to_owned());
    assert_eq!(in_the_way(&process).await, std::slice::from_ref(&revisions));
    assert_eq!(process.metric("at_functions_revisions_can_be_kept").await, 0);
    let function = format!("at://{}/at.functions.metadata/second", world.author.did());
    let named = json!({ "function": function, "input": 1, "idempotencyKey": "k" }).to_string();
    let token = world.token(&world.caller(1));
    assert_eq!(world.post(named, Some(&token)).await.error(), (503, "NotEnoughResources"));
    let answers = ("store".to_owned(), "the file of kept answers".to_owned());
    assert_eq!(in_the_way(&process).await, [revisions, answers]);

    process.limit_files(None);
    soon(async || in_the_way(&process).await.is_empty()).await;
    assert_eq!(process.metric("at_functions_revisions_can_be_kept").await, 1);
    assert_eq!(process.metric("at_functions_answers_can_be_kept").await, 1);
    assert_eq!(echo(&world, "third").await.output()["echo"], "third");
}
