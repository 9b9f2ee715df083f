//! `lexicon publish` to the real PDS, with a name server on loopback that says whose the lexicons are.

use std::net::SocketAddr;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::Network;
use super::accounts::Person;

/// A name server that has these TXT records and nothing else.
pub(super) async fn name_server(records: Vec<(String, Vec<String>)>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).expect("a question");
            let query = &question.queries[0];
            let name = query.name().to_ascii();
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.add_query(query.clone());
            match records.iter().find(|(known, _)| *known == name && query.query_type() == RecordType::TXT) {
                Some((_, texts)) => answer.answers.extend(texts.iter().map(|text| {
                    Record::from_rdata(query.name().clone(), 60, RData::TXT(TXT::new(vec![text.clone()])))
                })),
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            let _ = socket.send_to(&answer.to_vec().expect("an answer"), from).await;
        }
    });
    address
}

pub(super) fn lexicon(id: &str, max: u32) -> Value {
    let properties = json!({"text": {"type": "string", "maxLength": max}});
    json!({
        "lexicon": 1, "id": id,
        "defs": {"main": {"type": "record", "key": "tid", "record": {"type": "object", "properties": properties}}},
    })
}

#[tokio::test]
async fn lexicons_are_published_by_the_account_that_dns_names() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    person.log_in(&author, &author.create_app_password("laptop").await).await;
    let of = |domain: &str, texts: &[String]| (format!("_lexicon.{domain}."), texts.to_vec());
    let own = format!("did={}", author.did);
    let other = "did=did:plc:ewvi7nxzyoun6zhxrhs64oiz".to_owned();
    let dns = name_server(vec![
        of("example.com", &["v=spf1".to_owned(), own.clone()]),
        of("other.com", std::slice::from_ref(&other)),
        of("both.com", &[own.clone(), other]),
    ])
    .await
    .to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, document: &Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, document.to_string()).expect("a file can be written");
        path.to_str().expect("a path that is text").to_owned()
    };
    let thing = file("thing.json", &lexicon("com.example.thing", 10));
    let publish = ["lexicon", "publish", "--yes", "--dns", &dns];
    let with = |files: &[&str]| -> Vec<String> {
        publish.iter().chain(files).map(|&word| word.to_owned()).collect()
    };
    let refusal = async |files: &[&str]| {
        let arguments = with(files);
        person.refusal(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let published = async |files: &[&str]| {
        let arguments = with(files);
        person.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };

    for (id, expected) in [
        ("com.other.thing", "it names did:plc:ewvi7nxzyoun6zhxrhs64oiz, and you are"),
        ("com.both.thing", "it names several accounts, which is none"),
        // Authority is not inherited from the domain above.
        ("com.example.sub.thing", "_lexicon.sub.example.com: there is none"),
    ] {
        let theirs = file("theirs.json", &lexicon(id, 10));
        let (code, told) = refusal(&[&thing, &theirs]).await;
        assert_eq!(code, 2);
        assert!(told.contains(expected) && told.contains(&format!("set it to {own}")), "{told}");
    }
    let broken = file(
        "broken.json",
        &json!({"lexicon": 1, "id": "com.example.thing", "defs": {"main": {"type": "x"}}}),
    );
    assert!(refusal(&[&broken]).await.1.contains("/defs/main/type: expected one of"));
    let records = author.query("com.atproto.repo.listRecords").param("repo", &author.did);
    let listed = records.param("collection", "com.atproto.lexicon.schema").send().await.ok();
    assert_eq!(listed["records"], json!([]), "one refusal is for all");

    let uri = format!("at://{}/com.atproto.lexicon.schema/com.example.thing", author.did);
    let first = published(&[&thing]).await;
    assert_eq!((&first["published"][0]["uri"], &first["unchanged"]), (&json!(uri), &json!([])));
    let get = author.query("com.atproto.repo.getRecord").param("repo", &author.did);
    let get = get.param("collection", "com.atproto.lexicon.schema").param("rkey", "com.example.thing");
    let mut expected = lexicon("com.example.thing", 10);
    expected["$type"] = "com.atproto.lexicon.schema".into();
    assert_eq!(get.send().await.ok()["value"], expected);
    assert_eq!(published(&[&thing]).await, json!({"published": [], "unchanged": [uri]}));
    file("thing.json", &lexicon("com.example.thing", 20));
    let changed = published(&[&thing]).await;
    assert_ne!(changed["published"][0]["cid"], first["published"][0]["cid"]);
}
