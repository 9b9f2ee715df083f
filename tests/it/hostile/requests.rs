//! Callers and records that mean harm: what stands before a function runs.

use std::time::Duration;

use at_functions::identity::SigningKey;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::arena::*;
use crate::modules::*;
use crate::world::{Caller, ECHO};

/// Sends these bytes over a connection of their own, and gives the first line of the answer, or nothing
/// where the connection was closed without one.
async fn raw(arena: &Arena, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", arena.service.port())).await.unwrap();
    // The service may have refused before all of it was sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

pub(crate) async fn requests_that_are_no_requests_are_refused(arena: &Arena) {
    let head = |length: usize, more: &str| {
        format!(
            "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n{more}\r\n"
        )
    };
    let slow = async {
        let mut stream = TcpStream::connect(("127.0.0.1", arena.service.port())).await.unwrap();
        stream.write_all(head(100_000, "").as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let drip = async {
            // One byte a while: a timeout that each byte renews would never fire.
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let answer = async {
            let mut text = Vec::new();
            reading.read_to_end(&mut text).await.unwrap_or(0);
            String::from_utf8_lossy(&text).into_owned()
        };
        let answer = tokio::select! {
            answer = answer => answer,
            () = drip => String::new(),
        };
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("did not arrive within 5 s"),
            "{answer}"
        );
    };
    let quick = async {
        let over = vec![b' '; 1024 * 1024 + 1];
        assert_eq!(arena.world.post(over, None).await.error(), (413, "PayloadTooLarge"));
        let uri = arena.bystander().uri.to_string();
        let around =
            |input: &[u8]| [format!("{{\"function\":\"{uri}\",\"input\":").as_bytes(), input, b"}"].concat();
        let bodies = [
            Vec::new(),
            b"{".to_vec(),
            b"null".to_vec(),
            around(b"\"\xff\xfe\""),
            around(b"\"\xed\xa0\x80\""),
            around(b"NaN"),
            around("[".repeat(500_000).as_bytes()),
            around(&["[".repeat(10_000), "]".repeat(10_000)].concat().into_bytes()),
            b"{\"a\":".repeat(100_000),
        ];
        for body in bodies {
            let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let answer = arena.world.post(body, None).await;
            assert_eq!(answer.error(), (400, "InvalidRequest"), "{start}");
            assert!(answer.message().len() < 500, "{answer:?}");
        }
        let many: String = (0..100_000).map(|n| format!("x-{n}: y\r\n")).collect();
        let one = format!("x: {}\r\n", "y".repeat(1 << 20));
        for headers in [many, one] {
            let line = raw(arena, head(2, &headers).as_bytes()).await;
            assert!(line.is_empty() || line.starts_with("HTTP/1.1 431"), "{line}");
        }
        assert_eq!(
            raw(arena, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await,
            "HTTP/1.1 400 Bad Request"
        );
    };
    tokio::join!(slow, quick);
}

/// A token of this header and these claims, with the signature that `sign` makes.
fn token(header: &str, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let [header, claims] =
        [header.to_owned(), claims.to_string()].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
    let input = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&sign(input.as_bytes()));
    format!("{input}.{signature}")
}

pub(crate) async fn tokens_that_prove_nothing_are_refused(arena: &Arena) {
    const ES256K: &str = r#"{"typ":"JWT","alg":"ES256K"}"#;
    let alice = arena.world.caller(1);
    let mallory = SigningKey::from_bytes(&[99; 32]).unwrap();
    let now = at_functions::clock::Clock::system().unix_seconds();
    let claims = || {
        json!({
            "iss": alice.did, "aud": arena.world.service_did, "lxm": "at.functions.run", "iat": now, "exp": now + 60,
            "jti": format!("{:x}", getrandom::u64().unwrap()),
        })
    };
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        token(ES256K, &claims, |input| alice.key.sign(input).to_vec())
    };
    let by_alice = |input: &[u8]| alice.key.sign(input).to_vec();
    let der = |input: &[u8]| {
        k256::ecdsa::Signature::from_slice(&alice.key.sign(input)).unwrap().to_der().as_bytes().to_vec()
    };
    let hmac = |input: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, alice.key.public().compressed());
        aws_lc_rs::hmac::sign(&key, input).as_ref().to_vec()
    };
    let cases = [
        ("no algorithm", token(r#"{"typ":"JWT","alg":"none"}"#, &claims(), |_| Vec::new()), "BadJwt"),
        ("the public key as a secret", token(r#"{"typ":"JWT","alg":"HS256"}"#, &claims(), hmac), "BadJwt"),
        (
            "of the other curve",
            token(r#"{"typ":"JWT","alg":"ES256"}"#, &claims(), by_alice),
            "BadJwtSignature",
        ),
        ("DER", token(ES256K, &claims(), der), "BadJwtSignature"),
        (
            "somebody else's",
            token(ES256K, &claims(), |input| mallory.sign(input).to_vec()),
            "BadJwtSignature",
        ),
        ("a signature of nothing", token(ES256K, &claims(), |_| vec![0; 64]), "BadJwtSignature"),
        ("for another service", with("aud", json!("did:web:other.example.com")), "BadJwtAudience"),
        ("for another method", with("lxm", json!("com.atproto.repo.createRecord")), "BadJwtLexiconMethod"),
        ("of nobody", with("iss", json!("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz")), "BadJwtIss"),
        ("of no DID", with("iss", json!("https://example.com")), "BadJwtIss"),
        ("expired", with("exp", json!(now - 10)), "JwtExpired"),
        ("for a year", with("exp", json!(now + 31_536_000)), "BadJwt"),
        ("of tomorrow", with("iat", json!(now + 86_400)), "BadJwt"),
        ("no token", "a.b".into(), "BadJwt"),
    ];
    let body = json!({ "function": arena.bystander().uri.to_string(), "input": 1 }).to_string();
    for (what, token, name) in cases {
        let answer = arena.world.post(body.clone(), Some(&token)).await;
        assert_eq!(answer.error(), (401, name), "{what}: {answer:?}");
    }
    // A good one is good once, and so is the other signature that stands for it.
    let mut twin = None;
    let good = token(ES256K, &claims(), |input| {
        use k256::elliptic_curve::ops::Neg;
        let low = alice.key.sign(input).to_vec();
        let (r, s) = k256::ecdsa::Signature::from_slice(&low).unwrap().split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(*r, s.neg()).unwrap().to_bytes().to_vec();
        twin = Some(format!("{}.{}", String::from_utf8_lossy(input), BASE64URL_NOPAD.encode(&high)));
        low
    });
    assert_eq!(arena.world.post(body.clone(), Some(&good)).await.output()["echo"], 1);
    for used in [good, twin.unwrap()] {
        assert_eq!(arena.world.post(body.clone(), Some(&used)).await.error(), (401, "JwtReplayed"));
    }
    let long = format!(
        "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nauthorization: Bearer {}\r\n\r\n{{}}",
        "a".repeat(1 << 20)
    );
    let line = raw(arena, long.as_bytes()).await;
    assert!(line.is_empty() || line.starts_with("HTTP/1.1 431"), "{line}");
    assert_eq!(arena.world.post(body, Some(&"a".repeat(10_000))).await.error(), (401, "BadJwt"));
}

pub(crate) async fn a_private_function_runs_for_its_author_alone(arena: &Arena) {
    let private = arena.publish_record(&wasm(&seven()), |record| record["public"] = false.into());
    assert_eq!(arena.call(&private).await.error(), (403, "FunctionNotPublic"));
    let stranger = arena.world.caller(2);
    let answer = arena.world.run_as(&stranger, &private.uri, json!({})).await;
    assert_eq!(answer.error(), (403, "FunctionNotPublic"));
    let author = &arena.world.author;
    let author = Caller { did: author.did().clone(), key: author.signing_key().clone() };
    assert_eq!(arena.world.run_as(&author, &private.uri, json!({})).await.output(), &json!(7));
}

pub(crate) async fn limits_that_are_none_make_the_record_invalid(arena: &Arena) {
    let cases = [
        ("maxMemoryMb", json!(0)),
        ("maxMemoryMb", json!(257)),
        ("maxMemoryMb", json!(-1)),
        ("maxMemoryMb", json!("32")),
        ("maxMemoryMb", json!(null)),
        ("maxDurationMs", json!(5001)),
        ("maxDurationMs", json!(0)),
        ("maxDurationMs", json!(-1)),
    ];
    for (field, value) in cases {
        let function = arena.publish_record(&wasm(&seven()), |record| record[field] = value.clone());
        let answer = arena.call(&function).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{field} {value}");
        assert!(answer.message().contains(field), "{answer:?}");
    }
    // Absent are 32 MiB, and 100 ms.
    let grow = run(&format!(
        "(i32.store8 (i32.const 8) (select (i32.const 0x39) (i32.const 0x31)
           (i32.eq (memory.grow (i32.const 511)) (i32.const -1)))) {}",
        output_at(8, 1)
    ));
    let grown = arena.call(&arena.publish_record(&wasm(&grow), |_| {})).await;
    assert_eq!((grown.output(), peak(&grown)), (&json!(1), 32 << 20));
    let spun = arena
        .call(&arena.publish_record(&wasm(&run(SPIN)), |record| {
            record.as_object_mut().unwrap().remove("maxDurationMs");
        }))
        .await;
    failed(&spun, "timeout");
    assert!(spun.body["error"].as_str().unwrap().contains("within 100 ms"), "{spun:?}");
}

pub(crate) async fn names_and_messages_carry_nothing_that_a_terminal_obeys(arena: &Arena) {
    let long = arena.publish_record(ECHO, |record| record["name"] = "x".repeat(129).into());
    assert_eq!(arena.call(&long).await.error(), (400, "InvalidFunction"));
    let evil = "\u{1b}[31m\u{202e}\u{7}\r\n";
    let bad = arena.publish_record(ECHO, |record| record["mode"] = evil.into());
    let answer = arena.call(&bad).await;
    assert_eq!(answer.error(), (400, "InvalidFunction"));
    let plain = |text: &str| !text.chars().any(|c| c.is_control() || c == '\u{202e}');
    assert!(plain(answer.message()), "{answer:?}");
    for text in [
        r#"(module (func (export "\1b[31m\e2\80\ae\0d\0a")))"#,
        r#"(module (import "env" "\1b[31m\e2\80\ae\0d\0a" (func)))"#,
    ] {
        assert!(plain(&arena.refusal(&crate::modules::plain(text)).await), "{text}");
    }
    // What a function says itself is JSON in the answer, and not in the log.
    let named = arena.publish_record(ECHO, |record| record["name"] = evil.into());
    let answer = arena.world.run(&named.uri, json!(evil)).await;
    assert_eq!(answer.output()["echo"], evil);
    let answer = arena.world.run(&format!("at://{evil}/at.functions.metadata/x"), json!({})).await;
    assert_eq!(answer.error(), (400, "InvalidRequest"));
    assert!(plain(answer.message()), "{answer:?}");
    assert!(!arena.service.log().contains(['\u{1b}', '\u{202e}', '\u{7}', '\r']));
}

pub(crate) async fn schemas_that_mean_harm_make_the_function_invalid(arena: &Arena) {
    let own = arena.world.author.origin();
    let refused = [
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "$ref": format!("{own}/schema") }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "$schema": format!("{own}/schema") }),
        json!({ "$id": format!("{own}/schema"), "items": { "$dynamicRef": "other" } }),
        json!({ "pattern": "(?=a)" }),
        json!({ "description": "x".repeat(1 << 19) }),
    ];
    let before = arena.world.asked("/schema");
    for schema in refused {
        let function = arena.publish_record(ECHO, |record| record["inputSchema"] = schema.clone());
        let answer = arena.call(&function).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{:.80}", schema.to_string());
    }
    assert_eq!(arena.world.asked("/schema"), before);
    // What makes others look back forever is linear here.
    let function =
        arena.publish_record(ECHO, |record| record["inputSchema"] = json!({ "pattern": "^(a+)+$" }));
    let began = std::time::Instant::now();
    let answer = arena.world.run(&function.uri, json!(format!("{}!", "a".repeat(50_000)))).await;
    assert_eq!(answer.error(), (400, "InvalidInput"));
    arena.within("a pattern", began.elapsed(), Duration::from_secs(2));
}
