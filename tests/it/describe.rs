//! `at.functions.describe` over HTTP: what is told of a function, to whom, and at what cost.

use at_functions::auth::ServiceToken;
use at_functions::clock::Clock;
use at_functions::config::{Anonymous, Settings, UndeclaredReads};
use at_functions::lexicon::{GrantSubject, Nsid, RecordKey};
use serde_json::{Value, json};

use crate::world::{Answer, Caller, ECHO, World, answer, xrpc_error};

const DESCRIBE: &str = "at.functions.describe";
const MIB: u64 = 1024 * 1024;

fn token(world: &World, caller: &Caller, method: &str) -> String {
    ServiceToken::new(&caller.did, &world.service_did, method, Clock::system().unix_seconds())
        .id(format!("{:x}", getrandom::u64().unwrap()))
        .sign(&caller.key)
}

fn request(world: &World, query: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let url = format!("{}/xrpc/{DESCRIBE}", world.endpoint);
    world.client.get(url::Url::parse_with_params(&url, query).unwrap())
}

async fn describe(world: &World, uri: &str) -> Answer {
    answer(request(world, &[("function", uri)])).await
}

async fn describe_as(world: &World, caller: &Caller, uri: &str) -> Answer {
    let token = token(world, caller, DESCRIBE);
    answer(request(world, &[("function", uri)]).bearer_auth(token)).await
}

fn told(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn author_of(world: &World) -> Caller {
    Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() }
}

#[tokio::test]
async fn a_description_says_what_the_record_says_and_what_holds_here() {
    let world = World::start().await;
    let published = world.publish_record("echo", ECHO, |record| {
        record["description"] = "says it again".into();
        record["updatedAt"] = "lately".into();
        record["outputSchema"] = json!({ "type": "object" });
        record["strictOutput"] = true.into();
    });
    let mut told = told(describe(&world, &published.uri.to_string()).await);
    let rev = told["rev"].take();
    assert_eq!(rev.as_str().map(str::len), Some(13), "{rev}");
    let expected = json!({
        "uri": published.uri.to_string(),
        "cid": published.cid.to_string(),
        "rev": null,
        "name": "test",
        "version": "0.1.0",
        "description": "says it again",
        "updatedAt": "lately",
        "mode": "pure-v1",
        "public": true,
        "code": { "cid": at_functions::repo::blob_cid(ECHO).to_string(), "size": ECHO.len() },
        "outputSchema": { "type": "object" },
        "strictOutput": true,
        "limits": {
            "maxMemoryMb": 32, "maxDurationMs": 100, "maxRequestBytes": MIB, "maxOutputBytes": MIB,
            "maxHostCalls": 0, "maxHostBytes": 0,
        },
        "reads": { "rule": "none" },
        "mayRun": true,
    });
    assert_eq!(told, expected);
    // By its handle it is the same function.
    let by_handle = describe(&world, "at://author.test/at.functions.metadata/echo").await;
    assert_eq!(by_handle.body["uri"], published.uri.to_string());
}

#[tokio::test]
async fn it_fetches_no_code_compiles_nothing_and_reads_a_record_once() {
    let world = World::start().await;
    let uri = world.publish("echo", ECHO).uri.to_string();
    for _ in 0..3 {
        assert_eq!(told(describe(&world, &uri).await)["mayRun"], true);
    }
    assert_eq!((world.compiles(), world.asked("getBlob"), world.asked("getRecord")), (0, 0, 1));
    // A call finds the record at hand.
    assert_eq!(world.run(&uri, json!(1)).await.output()["echo"], 1);
    assert_eq!((world.compiles(), world.asked("getRecord")), (1, 1));
}

#[tokio::test]
async fn whether_the_caller_may_run_it_is_what_a_run_would_be_answered() {
    let world = World::start().await;
    let hidden = world.publish_record("hidden", ECHO, |record| record["public"] = false.into());
    let hidden = hidden.uri.to_string();
    let open = world.publish("open", ECHO).uri.to_string();
    let (stranger, granted, author) = (world.caller(1), world.caller(2), author_of(&world));
    let subject = GrantSubject {
        author: author.did.clone(),
        function: RecordKey::parse("hidden").unwrap(),
        caller: granted.did.clone(),
    };
    let grant = json!({
        "$type": "at.functions.grant", "function": subject.function_uri(), "caller": granted.did,
        "createdAt": "2026-01-01T00:00:00Z",
    });
    let collection = Nsid::parse("at.functions.grant").unwrap();
    world.author.put_into(collection, &subject.record_key(), &grant, []).unwrap();

    for (who, caller, may_run) in [
        ("anonymous", None, false),
        ("a stranger", Some(&stranger), false),
        ("one with a grant", Some(&granted), true),
        ("the author", Some(&author), true),
    ] {
        let ask = async |uri: &str| match caller {
            Some(caller) => told(describe_as(&world, caller, uri).await),
            None => told(describe(&world, uri).await),
        };
        let of_hidden = ask(&hidden).await;
        assert_eq!((&of_hidden["public"], &of_hidden["mayRun"]), (&json!(false), &json!(may_run)), "{who}");
        let run = match caller {
            Some(caller) => world.run_as(caller, &hidden, json!(1)).await,
            None => world.run(&hidden, json!(1)).await,
        };
        match may_run {
            true => {
                assert_eq!(of_hidden.get("refusal"), None, "{who}");
                assert_eq!(run.output()["echo"], 1, "{who}");
            }
            false => {
                assert_eq!(of_hidden["refusal"]["error"], "FunctionNotPublic", "{who}");
                assert_eq!(run.error(), (403, "FunctionNotPublic"), "{who}");
                let message = of_hidden["refusal"]["message"].as_str().unwrap();
                assert!(run.message().starts_with(message), "{message}");
            }
        }
        assert_eq!(ask(&open).await["mayRun"], true, "{who}");
    }
}

#[tokio::test]
async fn the_lower_limit_and_the_operators_rule_on_reads_are_told() {
    let world = World::start_with(Settings {
        anonymous: Some(Anonymous::Public),
        max_memory_mb: Some(16),
        max_duration_ms: Some(400),
        max_payload_mb: Some(2),
        undeclared_reads: Some(UndeclaredReads::None),
        ..Settings::default()
    })
    .await;
    let host = |rkey: &str, allowed: Option<Value>| {
        let published = world.publish_record(rkey, ECHO, |record| {
            record["mode"] = "host-v1".into();
            record["maxMemoryMb"] = 64.into();
            record["maxDurationMs"] = 250.into();
            if let Some(allowed) = allowed {
                record["allowedHosts"] = allowed;
            }
        });
        published.uri.to_string()
    };
    let declared = host("declared", Some(json!(["at://author.test", "https://a.com"])));
    let told_of_declared = told(describe(&world, &declared).await);
    assert_eq!(
        told_of_declared["limits"],
        json!({
            "maxMemoryMb": 16, "maxDurationMs": 250, "maxRequestBytes": 2 * MIB, "maxOutputBytes": 2 * MIB,
            "maxHostCalls": 1_000, "maxHostBytes": 32 * MIB,
        })
    );
    assert_eq!(
        told_of_declared["reads"],
        json!({ "rule": "declared", "entries": [
            { "entry": "at://author.test" },
            { "entry": "https://a.com", "problem": "an at-uri starts with at://" },
        ] })
    );
    let nothing = told(describe(&world, &host("nothing", Some(json!([])))).await);
    assert_eq!(nothing["reads"], json!({ "rule": "declared", "entries": [] }));
    let undeclared = told(describe(&world, &host("undeclared", None)).await);
    assert_eq!(undeclared["reads"], json!({ "rule": "none" }));

    let open = World::start().await;
    let any = open.publish_record("any", ECHO, |record| record["mode"] = "host-v1".into());
    assert_eq!(told(describe(&open, &any.uri.to_string()).await)["reads"], json!({ "rule": "any" }));
}

#[tokio::test]
async fn a_token_is_for_this_method_and_may_be_used_again() {
    let world = World::start_with(Settings::default()).await;
    let uri = world.publish("echo", ECHO).uri.to_string();
    let caller = world.caller(1);
    let asked = || request(&world, &[("function", &uri)]);
    assert_eq!(answer(asked()).await.error(), (401, "AuthMissing"));
    let for_runs = token(&world, &caller, "at.functions.run");
    assert_eq!(answer(asked().bearer_auth(&for_runs)).await.error(), (401, "BadJwtLexiconMethod"));
    // Nobody was asked anything for these.
    assert_eq!(world.asked("/"), 0);

    let good = token(&world, &caller, DESCRIBE);
    for _ in 0..2 {
        assert_eq!(told(answer(asked().bearer_auth(&good)).await)["mayRun"], true);
    }
    let body = json!({ "function": uri, "input": 1 }).to_string();
    assert_eq!(world.post(body, Some(&good)).await.error(), (401, "BadJwtLexiconMethod"));
}

#[tokio::test]
async fn what_is_no_request_for_a_function_is_refused_by_name() {
    let world = World::start().await;
    let uri = world.publish("echo", ECHO).uri.to_string();
    let broken = world.publish_record("broken", ECHO, |record| record["mode"] = "pure-v9".into());
    let of = |collection: &str| uri.replace("at.functions.metadata", collection);
    type Query<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Query<'_>, u16, &str); 8] = [
        (&[], 400, "InvalidRequest"),
        (&[("function", "nonsense")], 400, "InvalidRequest"),
        (&[("function", &uri), ("function", &uri)], 400, "InvalidRequest"),
        (&[("function", &of("com.example.post"))], 400, "InvalidRequest"),
        (&[("function", &uri.replace("echo", "absent"))], 400, "FunctionNotFound"),
        (&[("function", "at://nobody.test/at.functions.metadata/echo")], 400, "FunctionNotFound"),
        (&[("function", &broken.uri.to_string())], 400, "InvalidFunction"),
        (&[("function", &of("at.functions.workflow"))], 501, "MethodNotImplemented"),
    ];
    for (query, status, name) in cases {
        assert_eq!(answer(request(&world, query)).await.error(), (status, name), "{query:?}");
    }
    // What it does not know is not its own.
    assert_eq!(told(answer(request(&world, &[("function", &uri), ("other", "x")])).await)["mayRun"], true);

    let posted = world.client.post(format!("{}/xrpc/{DESCRIBE}", world.endpoint)).body("{}");
    let refused = answer(posted).await;
    assert_eq!(refused.error(), (400, "InvalidRequest"));
    assert!(refused.message().starts_with("Incorrect HTTP method (POST) expected GET"), "{refused:?}");
}

#[tokio::test]
async fn what_the_authors_pds_does_is_told_as_it_is_to_a_run() {
    type Fault = fn(&str) -> Option<axum::response::Response>;
    let cases: [(Fault, u16, &str); 3] = [
        (|path| path.contains("getRecord").then(|| xrpc_error(400, "RepoTakendown")), 403, "AuthorInactive"),
        (
            |path| path.contains("getRecord").then(|| xrpc_error(500, "InternalServerError")),
            502,
            "RepoUnreachable",
        ),
        (
            |path| {
                path.contains("getRecord").then(|| {
                    axum::response::IntoResponse::into_response((
                        [("content-type", "application/vnd.ipld.car")],
                        "no car",
                    ))
                })
            },
            502,
            "UnverifiedFunction",
        ),
    ];
    for (fault, status, name) in cases {
        let world = World::start().await;
        let uri = world.publish("echo", ECHO).uri.to_string();
        world.fail_with(fault);
        assert_eq!(describe(&world, &uri).await.error(), (status, name));
        assert_eq!(world.run(&uri, json!(1)).await.error(), (status, name));
    }
}

#[tokio::test]
async fn an_answer_has_what_the_lexicon_says_and_nothing_else() {
    let lexicon: Value =
        serde_json::from_str(include_str!("../../lexicons/at.functions.describe.json")).unwrap();
    let limit = Some("5/s burst 5 at-once 5".parse().unwrap());
    let world = World::start_with(Settings {
        anonymous: Some(Anonymous::Public),
        author_limit: limit,
        function_limit: limit,
        ..Settings::default()
    })
    .await;
    let hidden = world.publish_record("all", ECHO, |record| {
        record["public"] = false.into();
        record["mode"] = "host-v1".into();
        record["description"] = "x".into();
        record["updatedAt"] = "x".into();
        record["inputSchema"] = json!({});
        record["outputSchema"] = json!({});
        record["strictOutput"] = true.into();
        record["allowedHosts"] = json!(["at://a.com", "nonsense"]);
    });
    let told = told(describe(&world, &hidden.uri.to_string()).await);
    let main = &lexicon["defs"]["main"]["output"]["schema"];
    assert_eq!(names(&told), names(&main["properties"]));
    for (field, def) in [("code", "code"), ("limits", "limits"), ("reads", "reads"), ("refusal", "refusal")] {
        assert_eq!(names(&told[field]), names(&lexicon["defs"][def]["properties"]), "{field}");
    }
    assert_eq!(names(&told["reads"]["entries"][1]), names(&lexicon["defs"]["entry"]["properties"]));
    let open = world.publish("least", ECHO).uri.to_string();
    let least = self::told(describe(&world, &open).await);
    for required in main["required"].as_array().unwrap() {
        assert!(least.get(required.as_str().unwrap()).is_some(), "{required}");
    }
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn the_operators_rules_and_limits_hold_for_descriptions_too() {
    let file = tempfile::tempdir().unwrap().keep().join("policy.toml");
    std::fs::write(&file, "").unwrap();
    let world = World::start_with(Settings {
        anonymous: Some(Anonymous::Public),
        policy: Some(file.clone()),
        caller_limit: Some("3/h burst 3 at-once 9".parse().unwrap()),
        ..Settings::default()
    })
    .await;
    let uri = world.publish("echo", ECHO).uri.to_string();
    let (caller, blocked) = (world.caller(1), world.caller(2));
    let rule = async |text: String| {
        std::fs::write(&file, &text).unwrap();
        assert!(world.reload_policy().await, "{text}");
    };
    rule(format!("callers.block = [\"{}\"]\nfunctions.block = [\"{uri}\"]", blocked.did)).await;
    assert_eq!(describe_as(&world, &blocked, &uri).await.error(), (403, "CallerBlocked"));
    assert_eq!(describe_as(&world, &caller, &uri).await.error(), (403, "FunctionBlocked"));
    assert_eq!(world.asked("com.atproto.sync.getRecord"), 0);
    // What a run would get, and the rule that says so.
    rule(format!(
        "limits = [{{ function = \"{uri}\", max_memory_mb = 8, max_duration_ms = 50, max_output_kb = 4, \
                      calls = \"6/m burst 9 at-once 2\" }}]"
    ))
    .await;
    let limits = told(describe_as(&world, &caller, &uri).await)["limits"].take();
    assert_eq!(
        limits,
        json!({
            "maxMemoryMb": 8, "maxDurationMs": 50, "maxRequestBytes": MIB, "maxOutputBytes": 4_096,
            "maxHostCalls": 0, "maxHostBytes": 0, "functionCalls": "6/m burst 9 at-once 2",
        })
    );
    // A call and a description are charged alike.
    assert_eq!(world.run_as(&caller, &uri, json!(1)).await.status, 200);
    let refused = describe_as(&world, &caller, &uri).await;
    assert_eq!(refused.error(), (429, "RateLimitExceeded"));
    assert_eq!(refused.headers["ratelimit-remaining"], "0");
    assert_eq!(world.run_as(&caller, &uri, json!(1)).await.error(), (429, "RateLimitExceeded"));
}
