//! Host calls, in both versions of the runtime.

use super::*;

/// The import of `atproto`, which is the same in both versions.
fn atproto(version: &str) -> String {
    format!(
        r#"(import "atfunc:runtime/atproto@{version}" (instance $atproto
             (export "read-record" (func (param "at-uri" string) (result (result string (error string)))))
             (export "read-blob" (func (param "cid" string) (param "repo" string)
               (result (result (list u8) (error string)))))
             (export "list-collection" (func (param "repo" string) (param "collection" string)
               (param "cursor" (option string)) (param "limit" u32) (result (result string (error string)))))))"#
    )
}

const READ_RECORD: (&str, &str, &str) = ("read-record", "(param i32 i32 i32)", "$atproto \"read-record\"");
const READ_BLOB: (&str, &str, &str) = ("read-blob", "(param i32 i32 i32 i32 i32)", "$atproto \"read-blob\"");
const LIST: (&str, &str, &str) =
    ("list-collection", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32)", "$atproto \"list-collection\"");

const VERSIONS: [&str; 2] = ["0.1.0", "0.2.0"];

/// Gives the input to `read-record` and answers with what that gives.
fn reader(version: &str) -> String {
    let run = format!("(call $read-record (local.get $pointer) (local.get $length) {RESULT}) {RESULT}");
    Program { imports: &atproto(version), host: &[READ_RECORD], run: &run, ..Program::default() }.text()
}

#[test]
fn a_record_is_its_value() {
    for version in VERSIONS {
        let door = Scripted::new(|_| {
            Ok(HostReply::Record { cid: "bafyrecord".into(), value: Bytes::from("{\"text\":\"h\u{e9}\"}") })
        });
        let completion = run_with(&reader(version), "at://did:web:a.example/x.y.z/1", door.clone());
        assert_eq!(completion.result, Ok(Bytes::from("{\"text\":\"h\u{e9}\"}")), "{version}");
        assert_eq!(completion.usage.host_calls, 1);
        let asked = HostCall::ReadRecord { at_uri: "at://did:web:a.example/x.y.z/1".into() };
        assert_eq!(door.asked(), [asked]);
    }
}

#[test]
fn a_refused_read_is_an_error_to_the_guest_and_the_run_goes_on() {
    for version in VERSIONS {
        let door = Scripted::new(|_| Err(Denied("not covered: add at://did:web:b.example".into())));
        // It turns the error into its answer.
        let run = format!(
            "(call $read-record (local.get $pointer) (local.get $length) {RESULT}) \
             (i32.store (i32.const 16) (i32.eqz (i32.load8_u (i32.const 16)))) {RESULT}"
        );
        let text =
            Program { imports: &atproto(version), host: &[READ_RECORD], run: &run, ..Program::default() };
        let completion = run_with(&text.text(), "at://did:web:b.example/x.y.z/1", door);
        assert_eq!(
            completion.result,
            Ok(Bytes::from("\"not covered: add at://did:web:b.example\"")),
            "{version}"
        );
    }
}

#[test]
fn a_blob_is_its_bytes_and_no_repo_is_the_authors() {
    for version in VERSIONS {
        for (repo, asked) in [("", None), ("did:web:b.example", Some("did:web:b.example".to_owned()))] {
            let door = Scripted::new(|_| {
                Ok(HostReply::Blob { mime_type: "text/plain".into(), bytes: Bytes::from("[1,2]") })
            });
            let fields = format!("(data (i32.const 1024) \"{repo}\")");
            let run = format!(
                "(call $read-blob (local.get $pointer) (local.get $length) (i32.const 1024) \
                   (i32.const {}) {RESULT}) {RESULT}",
                repo.len()
            );
            let text = Program {
                imports: &atproto(version),
                host: &[READ_BLOB],
                fields: &fields,
                run: &run,
                ..Program::default()
            };
            let completion = run_with(&text.text(), "bafkcid", door.clone());
            assert_eq!(completion.result, Ok(Bytes::from("[1,2]")), "{version} {repo}");
            assert_eq!(door.asked(), [HostCall::ReadBlob { cid: "bafkcid".into(), repo: asked }]);
        }
    }
}

#[test]
fn a_page_is_json_and_its_limit_is_bounded() {
    for version in VERSIONS {
        for (limit, asked_limit) in [(0, 25), (1, 1), (100, 100), (101, 100), (u32::MAX, 100)] {
            for cursor in [None, Some("here")] {
                let door = Scripted::new(|call| {
                    let HostCall::ListCollection { cursor, .. } = call else { panic!("{call:?}") };
                    let records = (1..3)
                        .map(|number| Listed {
                            uri: format!("at://did:web:a.example/x.y.z/{number}"),
                            cid: format!("bafy{number}"),
                            value: Bytes::from(format!("{{\"n\": {number}}}")),
                        })
                        .collect();
                    Ok(HostReply::Listing { records, cursor: cursor.is_none().then(|| "n\"ext".to_owned()) })
                });
                let fields = "(data (i32.const 1024) \"x.y.zhere\")";
                let run = format!(
                    "(call $list-collection (local.get $pointer) (local.get $length) (i32.const 1024) (i32.const 5) \
                       (i32.const {}) (i32.const 1029) (i32.const 4) (i32.const {}) {RESULT}) {RESULT}",
                    u32::from(cursor.is_some()),
                    limit as i32
                );
                let text = Program {
                    imports: &atproto(version),
                    host: &[LIST],
                    fields,
                    run: &run,
                    ..Program::default()
                };
                let completion = run_with(&text.text(), "did:web:a.example", door.clone());
                let next = if cursor.is_none() { ",\"cursor\":\"n\\\"ext\"" } else { "" };
                let page = format!(
                    "{{\"records\":[{{\"uri\":\"at://did:web:a.example/x.y.z/1\",\"cid\":\"bafy1\",\"value\":{{\"n\": 1}}}},\
                     {{\"uri\":\"at://did:web:a.example/x.y.z/2\",\"cid\":\"bafy2\",\"value\":{{\"n\": 2}}}}]{next}}}"
                );
                assert_eq!(completion.result, Ok(Bytes::from(page)), "{version} {limit} {cursor:?}");
                let asked = HostCall::ListCollection {
                    repo: "did:web:a.example".into(),
                    collection: "x.y.z".into(),
                    cursor: cursor.map(str::to_owned),
                    limit: asked_limit,
                };
                assert_eq!(door.asked(), [asked]);
            }
        }
    }
}

#[test]
fn both_versions_work_in_one_component() {
    let imports = atproto("0.1.0")
        + &atproto("0.2.0").replace("$atproto", "$newer")
        + r#"(import "atfunc:runtime/log@0.2.0" (instance $log
               (type $level' (enum "debug" "info" "warn" "error"))
               (export "level" (type $level (eq $level')))
               (export "log" (func (param "level" $level) (param "message" string)))))"#;
    let run = format!(
        "(call $log (i32.const 2) (local.get $pointer) (local.get $length)) \
         (call $read-record (local.get $pointer) (local.get $length) {RESULT}) \
         (call $newer-record (local.get $pointer) (local.get $length) {RESULT}) {RESULT}"
    );
    let host = [
        READ_RECORD,
        ("newer-record", "(param i32 i32 i32)", "$newer \"read-record\""),
        ("log", "(param i32 i32 i32)", "$log \"log\""),
    ];
    let door = Scripted::new(|_| Ok(HostReply::Record { cid: "bafy".into(), value: Bytes::from("7") }));
    let text = Program { imports: &imports, host: &host, run: &run, ..Program::default() }.text();
    let completion = run_with(&text, "at://x", door.clone());
    assert_eq!(completion.result, Ok(Bytes::from("7")));
    assert_eq!(completion.usage.host_calls, 2);
    assert_eq!(door.asked().len(), 2);
    assert_eq!(completion.logs.lines, [LogLine { level: LogLevel::Warn, message: "at://x".into() }]);
}

#[test]
fn a_guest_learns_what_it_is() {
    let imports = r#"(import "atfunc:runtime/context@0.2.0" (instance $context
        (type $info' (record (field "caller" (option string)) (field "function" string)
          (field "function-cid" string) (field "request-id" string)))
        (export "info" (type $info (eq $info')))
        (export "get" (func (result $info)))
        (export "remaining-ms" (func (result u32)))))"#;
    let get = ("get", "(param i32)", "$context \"get\"");
    let field = |place: u32| {
        let run = format!(
            "(call $get (i32.const 128)) (i32.store (i32.const 16) (i32.const 0)) \
             (i64.store (i32.const 20) (i64.load (i32.const {place}))) {RESULT}"
        );
        Program { imports, host: &[get], run: &run, ..Program::default() }.text()
    };
    let asked = |text: &str, caller: Option<&str>| {
        let context = Arc::new(Context {
            caller: caller.map(str::to_owned),
            function: "at://did:web:a.example/at.functions.metadata/f".into(),
            function_cid: "bafyfunction".into(),
            request_id: "r1".into(),
            started: Duration::from_secs(1),
        });
        let job = Job { context, ..job(&compiled(text), "{}", WIDE) };
        let harness = shared();
        harness.runtime.block_on(harness.sandbox.run(job, Lease::none())).unwrap().result.unwrap()
    };
    let cases = [
        (132, "\"did:web:c.example\""),
        (140, "\"at://did:web:a.example/at.functions.metadata/f\""),
        (148, "\"bafyfunction\""),
        (156, "\"r1\""),
    ];
    for (place, value) in cases {
        assert_eq!(asked(&field(place), Some("did:web:c.example")), value);
    }
    let has_caller = Program {
        imports,
        host: &[get],
        run: &format!("(call $get (i32.const 128)) {}", digit("(i32.load8_u (i32.const 128))")),
        ..Program::default()
    }
    .text();
    assert_eq!(asked(&has_caller, Some("did:web:c.example")), "1");
    assert_eq!(asked(&has_caller, None), "0");

    // More than four of the five seconds are left.
    let remaining = ("remaining", "(result i32)", "$context \"remaining-ms\"");
    let run = format!(
        "(local $left i32) (local.set $left (call $remaining)) {}",
        digit(
            "(i32.and (i32.gt_u (local.get $left) (i32.const 4000)) (i32.le_u (local.get $left) (i32.const 5000)))"
        )
    );
    let text = Program { imports, host: &[remaining], run: &run, ..Program::default() }.text();
    assert_eq!(asked(&text, None), "1");
}

#[test]
fn long_texts_do_not_reach_the_door() {
    let of = |length: u32| {
        // Pages of zeroes are as good as any text.
        let run = format!(
            "(drop (memory.grow (i32.const 2))) \
             (call $read-record (i32.const 131072) (i32.const {length}) {RESULT}) {RESULT}"
        );
        let memory = "(memory (export \"memory\") 2)";
        let text =
            Program { imports: &atproto("0.2.0"), host: &[READ_RECORD], run: &run, ..Program::default() };
        text.text().replace(memory, "(memory (export \"memory\") 4)")
    };
    let door = || Scripted::new(|_| Err(Denied("no".into())));
    let fits = door();
    let completion = run_with(&of(65_536), "{}", fits.clone());
    assert_eq!((&failed(&completion).message[..], completion.usage.host_calls), ("no", 1));
    assert_eq!(fits.asked(), [HostCall::ReadRecord { at_uri: "\0".repeat(65_536) }]);
    let longer = door();
    let completion = run_with(&of(65_537), "{}", longer.clone());
    let message = "the request has 65537 bytes; at most 65536 are allowed".into();
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::GuestError, message }));
    assert_eq!((longer.asked(), completion.usage.host_calls), (vec![], 0));
}

#[test]
fn host_calls_beyond_their_number_end_the_run() {
    let limits = Limits { host_calls: 3, ..WIDE };
    let run = format!(
        "(loop $again (call $read-record (local.get $pointer) (local.get $length) {RESULT}) (br $again)) unreachable"
    );
    for version in VERSIONS {
        let text =
            Program { imports: &atproto(version), host: &[READ_RECORD], run: &run, ..Program::default() };
        let completion = super::run(&text.text(), "at://x", limits);
        assert_eq!(completion.outcome(), Outcome::HostCallLimit);
        assert_eq!(completion.usage.host_calls, 3);
    }
}

/// A door that never answers.
struct Silent;

impl Door for Silent {
    fn call(&self, _: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_call_that_is_never_answered_ends_with_the_run() {
    let duration = Duration::from_millis(50);
    let artifact = compiled(&reader("0.2.0"));
    within(duration + SLACK, || {
        let job = Job { door: Arc::new(Silent), ..job(&artifact, "at://x", Limits { duration, ..WIDE }) };
        let completion = shared().run_job(job);
        assert_eq!(completion.outcome(), Outcome::Timeout);
        assert!(completion.wall >= duration, "{:?}", completion.wall);
        completion.wall
    });
}
