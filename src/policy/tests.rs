use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The settings that policy files are read over in these tests.
pub(super) fn basis() -> Basis {
    let ceiling = Ceiling { memory_mb: 128, duration: Duration::from_secs(2), output_bytes: 2 * 1024 * 1024 };
    let rates = limits::Rates { function: "100/s burst 50 at-once 5".parse().unwrap(), ..Default::default() };
    Basis { anonymous: Anonymous::Deny, undeclared_reads: UndeclaredReads::Any, ceiling, rates }
}

fn policy(text: &str) -> Policy {
    Policy::from_file(text.as_bytes(), &basis()).unwrap()
}

fn wrong(text: &str) -> String {
    Policy::from_file(text.as_bytes(), &basis()).unwrap_err().to_string()
}

const PLC: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

fn did(text: &str) -> Did {
    Did::parse(text).unwrap()
}

fn host(origin: &str) -> PdsHost {
    PdsHost::of(&url::Url::parse(origin).unwrap()).unwrap()
}

/// What is decided about a caller: `yes`, `if confirmed` or `no`, and by which rule.
fn admitted(policy: &Policy, caller: &str, pds: Option<&str>) -> String {
    let caller = Caller::Verified(CallerDid::without_proof(did(caller)));
    match policy.admit(&caller, pds.map(host).as_ref()) {
        Ok(Admission::Given(None)) => "yes".into(),
        Ok(Admission::Given(Some(rule))) => format!("yes {rule}"),
        Ok(Admission::IfConfirmed(rule)) => format!("if confirmed {rule}"),
        Err(Refused { refusal: Refusal::CallerBlocked, rule }) => format!("no {rule}"),
        Err(other) => panic!("{other:?}"),
    }
}

fn function_admitted(policy: &Policy, author: &str, rkey: &str) -> String {
    function_admitted_at(policy, author, rkey, None)
}

/// The same for a function whose author claims to be at this PDS.
fn function_admitted_at(policy: &Policy, author: &str, rkey: &str, pds: Option<&str>) -> String {
    let pds = pds.map(host);
    match policy.admit_function(&did(author), &RecordKey::parse(rkey).unwrap(), pds.as_ref()) {
        Ok(Admission::Given(None)) => "yes".into(),
        Ok(Admission::Given(Some(rule))) => format!("yes {rule}"),
        Ok(Admission::IfConfirmed(rule)) => format!("if confirmed {rule}"),
        Err(Refused { refusal: Refusal::FunctionBlocked, rule }) => format!("no {rule}"),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn without_rules_everybody_may_call_everything() {
    let policy = policy("");
    assert_eq!(admitted(&policy, PLC, Some("https://pds.example.com")), "yes");
    assert_eq!(function_admitted(&policy, PLC, "f"), "yes");
    assert!(!policy.admits_anonymous());
    assert_eq!(policy.undeclared_reads(), UndeclaredReads::Any);
    assert_eq!(policy.ceiling(&did(PLC), &RecordKey::parse("f").unwrap()), basis().ceiling);
}

#[test]
fn callers_are_blocked_by_did_by_domain_and_by_the_pds_that_they_claim() {
    let policy = policy(&format!(
        r#"[callers]
           block = ["{PLC}", "did:web:bad.example.com", "did:web:*.farm.com", "pds:pds.bad.com", "pds:*.spam.net", "pds:odd.com:8443"]"#
    ));
    let other = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz";
    let good = Some("https://good.com");
    let cases = [
        (PLC, good, "no callers.block[0]"),
        (other, good, "yes"),
        (other, None, "yes"),
        ("did:web:bad.example.com", good, "no callers.block[1]"),
        ("did:web:very.bad.example.com", good, "yes"),
        ("did:web:example.com", good, "yes"),
        ("did:web:a.farm.com", good, "no callers.block[2]"),
        ("did:web:b.a.farm.com", None, "no callers.block[2]"),
        ("did:web:farm.com", good, "yes"),
        ("did:web:notfarm.com", good, "yes"),
        (other, Some("https://pds.bad.com"), "no callers.block[3]"),
        // Other spellings and ports of a host are that host.
        (other, Some("https://PDS.bad.com."), "no callers.block[3]"),
        (other, Some("https://pds.bad.com:8443"), "no callers.block[3]"),
        (other, Some("https://a.pds.bad.com"), "yes"),
        (other, Some("https://a.b.spam.net:8443"), "no callers.block[4]"),
        (other, Some("https://spam.net"), "yes"),
        (other, Some("https://odd.com:8443"), "no callers.block[5]"),
        (other, Some("https://odd.com"), "yes"),
    ];
    for (caller, pds, decided) in cases {
        assert_eq!(admitted(&policy, caller, pds), decided, "{caller} at {pds:?}");
    }
}

#[test]
fn a_list_of_those_who_may_call_keeps_out_everybody_else() {
    let policy = policy(&format!(
        r#"[callers]
           block = ["did:web:thief.ours.com", "pds:bad.ours.org"]
           allow = ["{PLC}", "did:web:*.ours.com", "pds:*.ours.org", "pds:localhost:2583"]"#
    ));
    let other = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz";
    let cases = [
        (PLC, None, "yes callers.allow[0]"),
        ("did:web:a.ours.com", None, "yes callers.allow[1]"),
        ("did:web:thief.ours.com", None, "no callers.block[0]"),
        (other, None, "no callers.allow"),
        (other, Some("https://elsewhere.org"), "no callers.allow"),
        // A claim is not enough, and another port is somebody else's.
        (other, Some("https://a.ours.org"), "if confirmed callers.allow[2]"),
        (other, Some("https://a.ours.org:8443"), "no callers.allow"),
        (other, Some("http://localhost:2583"), "if confirmed callers.allow[3]"),
        (other, Some("http://localhost:2584"), "no callers.allow"),
        (other, Some("https://bad.ours.org"), "no callers.block[1]"),
        (PLC, Some("https://bad.ours.org"), "no callers.block[1]"),
        (PLC, Some("https://a.ours.org"), "yes callers.allow[0]"),
    ];
    for (caller, pds, decided) in cases {
        assert_eq!(admitted(&policy, caller, pds), decided, "{caller} at {pds:?}");
    }
}

#[test]
fn a_list_that_is_empty_lets_nobody_in() {
    let nobody = policy("callers.allow = []\nauthors.allow = []");
    assert_eq!(admitted(&nobody, PLC, None), "no callers.allow");
    assert_eq!(function_admitted(&nobody, PLC, "f"), "no authors.allow");
    assert_eq!(function_admitted(&policy("functions.allow = []"), PLC, "f"), "no functions.allow");
    assert_eq!(admitted(&policy("callers.block = []"), PLC, None), "yes");
}

#[test]
fn functions_pass_every_list_that_there_is() {
    let lists = policy(&format!(
        r#"[authors]
           block = ["did:web:bad.com", "did:web:*.bad.com"]
           allow = ["{PLC}", "did:web:bad.com"]
           [functions]
           block = ["at://{PLC}/at.functions.metadata/no"]
           allow = ["at://{PLC}/at.functions.metadata/yes", "at://{PLC}/at.functions.metadata/no",
                    "at://did:web:other.com/at.functions.metadata/f", "at://did:web:bad.com/at.functions.metadata/f"]"#
    ));
    let cases = [
        (PLC, "yes", "yes functions.allow[0]"),
        (PLC, "no", "no functions.block[0]"),
        (PLC, "third", "no functions.allow"),
        ("did:web:other.com", "f", "no authors.allow"),
        ("did:web:bad.com", "f", "no authors.block[0]"),
        ("did:web:a.bad.com", "f", "no authors.block[1]"),
    ];
    for (author, rkey, decided) in cases {
        assert_eq!(function_admitted(&lists, author, rkey), decided, "{author} {rkey}");
    }
    let authors = policy(&format!("authors.allow = [\"{PLC}\"]"));
    assert_eq!(function_admitted(&authors, PLC, "any"), "yes authors.allow[0]");
}

#[test]
fn authors_and_functions_are_named_by_pds_too() {
    let text = format!(
        r#"[authors]
           block = ["pds:bad.com", "did:web:bad.author.com"]
           allow = ["{PLC}", "pds:*.ours.org", "pds:good.org"]
           [functions]
           block = ["pds:slow.ours.org", "at://{PLC}/at.functions.metadata/no", "did:web:idle.com"]
           allow = ["at://{PLC}/at.functions.metadata/yes", "pds:*.ours.org", "did:web:good.com"]"#
    );
    let lists = policy(&text);
    let other = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz";
    let cases = [
        // A claim is enough to be blocked, whatever the port.
        (PLC, "yes", Some("https://bad.com:8443"), "no authors.block[0]"),
        (PLC, "yes", Some("https://slow.ours.org"), "no functions.block[0]"),
        (PLC, "yes", Some("https://elsewhere.com"), "yes functions.allow[0]"),
        (PLC, "no", Some("https://a.ours.org"), "no functions.block[1]"),
        ("did:web:idle.com", "f", Some("https://a.ours.org"), "no functions.block[2]"),
        // It is not enough to be allowed, by either list.
        (PLC, "f", Some("https://a.ours.org"), "if confirmed functions.allow[1]"),
        (PLC, "f", Some("https://elsewhere.com"), "no functions.allow"),
        (PLC, "f", None, "no functions.allow"),
        (other, "f", Some("https://a.ours.org"), "if confirmed authors.allow[1]"),
        (other, "f", Some("https://a.ours.org:8443"), "no authors.allow"),
        (other, "f", Some("https://good.org"), "no functions.allow"),
        (other, "f", None, "no authors.allow"),
        // What one list leaves to the PDS, the other does not give.
        ("did:web:good.com", "f", Some("https://good.org"), "if confirmed authors.allow[2]"),
    ];
    for (author, rkey, pds, decided) in cases {
        assert_eq!(function_admitted_at(&lists, author, rkey, pds), decided, "{author} {rkey} at {pds:?}");
    }
}

#[test]
fn where_an_author_is_matters_only_under_rules_on_pdses() {
    let asks = |text: &str, author: &str| {
        policy(text).asks_where_author_is(&did(author), &RecordKey::parse("f").unwrap())
    };
    for text in [
        "authors.block = [\"pds:a.com\"]",
        "authors.allow = [\"pds:a.com\"]",
        "functions.block = [\"pds:a.com\"]",
        "functions.allow = [\"pds:a.com\"]",
    ] {
        assert!(asks(text, PLC), "{text}");
    }
    for text in [
        "",
        "callers.block = [\"pds:a.com\"]",
        "authors.block = [\"did:web:*.a.com\"]\nfunctions.allow = [\"did:web:a.com\"]",
    ] {
        assert!(!asks(text, PLC), "{text}");
    }
    // What is blocked by name is so wherever it is.
    let named = format!("authors.block = [\"pds:a.com\", \"{PLC}\"]");
    assert!(!asks(&named, PLC) && asks(&named, "did:web:a.com"));
}

#[test]
fn the_lowest_rate_of_calls_counts_in_each_respect() {
    let policy = policy(&format!(
        r#"[[limits]]
           author = "{PLC}"
           calls = "10/s burst 40 at-once 4"
           [[limits]]
           author = "{PLC}"
           calls = "20/s burst 20 at-once 8"
           [[limits]]
           function = "at://{PLC}/at.functions.metadata/f"
           calls = "60/m burst 50 at-once 5"
           max_duration_ms = 50"#
    ));
    let calls = |author: &str, rkey: &str| {
        let rates = policy.call_rates(&did(author), &RecordKey::parse(rkey).unwrap());
        [rates.author.to_string(), rates.function.to_string()]
    };
    assert_eq!(calls(PLC, "f"), ["10/s burst 20 at-once 4", "1/s burst 50 at-once 5"]);
    assert_eq!(calls(PLC, "g"), ["10/s burst 20 at-once 4", "100/s burst 50 at-once 5"]);
    let all = ["1000/s burst 5000 at-once 512", "100/s burst 50 at-once 5"];
    assert_eq!(calls("did:web:a.com", "f"), all);
    // A limit of calls alone leaves the runs as they are.
    assert_eq!(policy.ceiling(&did(PLC), &RecordKey::parse("g").unwrap()), basis().ceiling);
}

#[test]
fn the_file_decides_over_the_settings_where_it_says_something() {
    let open = Basis { anonymous: Anonymous::Public, undeclared_reads: UndeclaredReads::None, ..basis() };
    let read = |text: &str| Policy::from_file(text.as_bytes(), &open).unwrap();
    assert!(read("").admits_anonymous());
    assert!(!read("anonymous = \"deny\"").admits_anonymous());
    assert!(policy("anonymous = \"public\"").admits_anonymous());
    // Whoever is not on the list could leave their token away.
    assert!(!read("callers.allow = []").admits_anonymous());
    assert!(read("callers.block = [\"did:web:a.com\"]").admits_anonymous());
    assert_eq!(read("").undeclared_reads(), UndeclaredReads::None);
    assert_eq!(read("undeclared_reads = \"any\"").undeclared_reads(), UndeclaredReads::Any);
    assert_eq!(policy("undeclared_reads = \"none\"").undeclared_reads(), UndeclaredReads::None);
}

#[test]
fn the_lowest_of_all_limits_that_mean_a_function_counts() {
    let policy = policy(&format!(
        r#"[[limits]]
           author = "{PLC}"
           max_memory_mb = 64
           max_output_kb = 512
           [[limits]]
           function = "at://{PLC}/at.functions.metadata/f"
           max_memory_mb = 128
           max_duration_ms = 50
           [[limits]]
           author = "{PLC}"
           max_memory_mb = 32"#
    ));
    let ceiling = |author: &str, rkey: &str| {
        let of = policy.ceiling(&did(author), &RecordKey::parse(rkey).unwrap());
        (of.memory_mb, of.duration.as_millis(), of.output_bytes)
    };
    assert_eq!(ceiling(PLC, "f"), (32, 50, 512 * 1024));
    assert_eq!(ceiling(PLC, "g"), (32, 2000, 512 * 1024));
    assert_eq!(ceiling("did:web:a.com", "f"), (128, 2000, 2 * 1024 * 1024));
}

#[test]
fn a_file_that_is_wrong_is_refused_whole_with_the_place_and_the_rule() {
    let limits = |line: &str| format!("[[limits]]\nauthor = \"{PLC}\"\n{line}\n");
    let cases = [
        ("nonsense".to_owned(), "line 1, column 9: "),
        (
            "[callers]\nblok = []".into(),
            "line 2, column 1: unknown field `blok`, expected `block` or `allow`, in: blok = []",
        ),
        ("[rules]".into(), "line 1, column 2: unknown field `rules`"),
        (
            "callers.block = [\"did:web:a.com\", 5]".into(),
            "line 1, column 35: invalid type: integer `5`, expected a string",
        ),
        ("anonymous = \"yes\"".into(), "line 1, column 13: unknown variant `yes`"),
        (
            "anonymous = \"public\"\ncallers.allow = []".into(),
            "line 1, column 13: anonymous: \"public\" contradicts callers.allow",
        ),
        (
            "[callers]\nblock = [\n  \"did:web:a.com\", # \u{e9}\n  \"a.com\",\n]".into(),
            "line 4, column 3: callers.block[1]: \"a.com\": expected did:plc:ID,",
        ),
        (
            "callers.allow = [\"\u{e9}\", \"did:plc:short\"]".into(),
            "line 1, column 18: callers.allow[0]: \"\u{e9}\": ",
        ),
        (
            "callers.allow = [\"did:plc:short\"]".into(),
            "line 1, column 18: callers.allow[0]: \"did:plc:short\": a did:plc has 24",
        ),
        (
            "callers.allow = [\"pds:https://a.com\"]".into(),
            "line 1, column 18: callers.allow[0]: \"pds:https://a.com\": expected the name of a host",
        ),
        (
            "callers.allow = [\"pds:*.\"]".into(),
            "line 1, column 18: callers.allow[0]: \"pds:*.\": expected a domain after *.",
        ),
        ("callers.allow = [\"did:web:*.*.a.com\"]".into(), "line 1, column 18: callers.allow[0]: "),
        (
            "authors.block = [\"pds:https://a.com\"]".into(),
            "line 1, column 18: authors.block[0]: \"pds:https://a.com\": expected the name of a host",
        ),
        (
            "authors.block = [\"at://did:web:a.com/at.functions.metadata/f\"]".into(),
            "line 1, column 18: authors.block[0]: \"at://did:web:a.com/at.functions.metadata/f\": expected did:plc:ID,",
        ),
        (
            "functions.block = [\"at://alice.example.com/at.functions.metadata/f\"]".into(),
            "line 1, column 20: functions.block[0]: \"at://alice.example.com/at.functions.metadata/f\": name the author by their DID",
        ),
        (
            format!("functions.block = [\"at://{PLC}/com.example.other/f\"]"),
            "line 1, column 20: functions.block[0]: \"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.other/f\": a function is",
        ),
        (
            "functions.allow = [\"f\"]".into(),
            "line 1, column 20: functions.allow[0]: \"f\": expected did:plc:ID, did:web:HOST, did:web:*.DOMAIN, pds:HOST or pds:*.DOMAIN, or at://DID/at.functions.metadata/KEY",
        ),
        (
            limits("max_memory_mb = 129"),
            "line 3, column 17: limits[0].max_memory_mb: 129 is not 1 to 128: a policy only lowers what --max-memory-mb gives to all",
        ),
        (
            limits("max_duration_ms = 2001"),
            "line 3, column 19: limits[0].max_duration_ms: 2001 is not 1 to 2000: ",
        ),
        (
            limits("max_output_kb = 2049"),
            "line 3, column 17: limits[0].max_output_kb: 2049 is not 1 to 2048: ",
        ),
        (limits("max_output_kb = 0"), "line 3, column 17: limits[0].max_output_kb: 0 is not 1 to 2048: "),
        (limits("max_memory_mb = -1"), "line 3, column 17: "),
        (limits(""), "line 1, column 1: limits[0]: nothing is limited"),
        (
            limits("calls = \"1001/s burst 1 at-once 1\""),
            "line 3, column 9: limits[0].calls: \"1001/s burst 1 at-once 1\": no number may be above those of --author-limit (1000/s burst 5000 at-once 512)",
        ),
        (limits("calls = \"1/s burst 5001 at-once 1\""), "line 3, column 9: limits[0].calls: "),
        (limits("calls = \"1/s burst 1 at-once 513\""), "line 3, column 9: limits[0].calls: "),
        (limits("calls = \"none\""), "line 3, column 9: limits[0].calls: \"none\": no number may be"),
        (
            limits("calls = \"5/s\""),
            "line 3, column 9: limits[0].calls: \"5/s\": expected \"RATE/s burst N at-once N\"",
        ),
        (limits("calls = 5"), "line 3, column 9: invalid type: integer `5`, expected a string"),
        (
            format!(
                "[[limits]]\nfunction = \"at://{PLC}/at.functions.metadata/f\"\ncalls = \"200/s burst 1 at-once 1\""
            ),
            "line 3, column 9: limits[0].calls: \"200/s burst 1 at-once 1\": no number may be above those of --function-limit (100/s burst 50 at-once 5)",
        ),
        (limits("function = \"at://a\"\nmax_memory_mb = 1"), "line 1, column 1: limits[0]: whose runs?"),
        ("[[limits]]\nmax_memory_mb = 1".into(), "line 1, column 1: limits[0]: whose runs?"),
        (
            "[[limits]]\nauthor = \"a\"\nmax_memory_mb = 1".into(),
            "line 2, column 10: limits[0].author: \"a\": not a DID",
        ),
        (
            "[[limits]]\nfunction = \"a\"\nmax_memory_mb = 1".into(),
            "line 2, column 12: limits[0].function: \"a\": an at-uri",
        ),
    ];
    for (text, told) in &cases {
        let found = wrong(text);
        assert!(found.starts_with(told), "{text:?}\n  is told: {found}\n  not:     {told}");
    }
    let not_text = Policy::from_file(b"# \xc3\xa9\ncallers.block = [\"\xff\"]", &basis()).unwrap_err();
    assert_eq!(not_text.to_string(), "line 2, column 19: the file is not UTF-8, in: callers.block = [\"");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn whatever_is_in_the_file_it_is_read_or_told_where_it_is_wrong(
        before in "[a-z =\\[\\]\"\n#\u{e9}]{0,40}",
        entry in "[ -~\u{e9}\u{1f600}]{0,40}",
        after in any::<Vec<u8>>(),
    ) {
        let mut bytes = before.into_bytes();
        bytes.extend(format!("\n[callers]\nblock = [{entry:?}, '{entry}'").into_bytes());
        bytes.extend(after);
        if let Err(error) = Policy::from_file(&bytes, &basis()) {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            prop_assert!((1..=lines).contains(&error.line), "{error}");
        }
    }

    #[test]
    fn no_entry_but_a_name_of_hosts_means_any(entry in "pds:[ -~\u{e9}]{0,20}") {
        let mut list = accounts::AccountList::default();
        if list.add(0, &entry).is_ok() {
            prop_assert!(!entry.contains(['/', '@', '?', '#', '\\', ' ', '%']), "{entry}");
        }
    }
}
