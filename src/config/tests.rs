use super::*;

fn named(hostname: &str) -> Settings {
    Settings { hostname: Some(hostname.into()), ..Settings::default() }
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = Settings::from_toml("hostname = \"a.example.com\"\nservice_id = \"fn\"\nmax_duration_ms = 50")
        .unwrap();
    let flags = Settings { max_duration_ms: Some(70), ..Settings::default() };
    let config = Config::complete(flags.over(file)).unwrap();
    assert_eq!(config.max_duration, Duration::from_millis(70));
    assert_eq!(config.service_id.as_str(), "fn");
    assert_eq!(config.max_payload_bytes, 1024 * 1024);
}

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let cases = [
        (Settings::default(), "--hostname"),
        (named("https://fn.example.com"), "--hostname"),
        (named("fn.example.com:8080"), "--hostname"),
        (named("fn.example.com/x"), "--hostname"),
        (named("10.0.0.1"), "--hostname"),
        (Settings { service_id: Some("a#b".into()), ..named("a.example.com") }, "--service-id"),
        (Settings { max_payload_mb: Some(11), ..named("a.example.com") }, "--max-payload-mb"),
        (Settings { max_memory_mb: Some(0), ..named("a.example.com") }, "--max-memory-mb"),
        (Settings { max_duration_ms: Some(5001), ..named("a.example.com") }, "--max-duration-ms"),
        (Settings { memory_budget: Some(255), ..named("a.example.com") }, "--memory-budget"),
        (Settings { max_workers: Some(0), ..named("a.example.com") }, "--max-workers"),
        (Settings { service_threads: Some(0), ..named("a.example.com") }, "--service-threads"),
        (Settings { audit_max_mb: Some(0), ..named("a.example.com") }, "--audit-max-mb"),
        (Settings { idempotency_store: Some(32), ..named("a.example.com") }, "--idempotency-store"),
        (Settings { plc_url: Url::parse("ftp://plc").ok(), ..named("a.example.com") }, "--plc-url"),
    ];
    for (settings, name) in cases {
        let message = Config::complete(settings).unwrap_err().to_string();
        assert!(message.starts_with(name), "{message}");
    }
}

#[test]
fn one_thread_serves_for_two_cores_where_guests_have_processes_and_one_a_core_else() {
    let of_cores = |isolation| [1, 2, 3, 4, 16].map(|cores| service_threads(isolation, cores));
    assert_eq!(of_cores(Isolation::Process), [1, 1, 2, 2, 8]);
    assert_eq!(of_cores(Isolation::Thread), [1, 2, 3, 4, 16]);
    let cores = std::thread::available_parallelism().unwrap().get();
    for isolation in [Isolation::Process, Isolation::Thread] {
        let settings = Settings { isolation: Some(isolation), ..named("a.example.com") };
        assert_eq!(Config::complete(settings).unwrap().service_threads, service_threads(isolation, cores));
    }
    let given = Settings { service_threads: Some(7), ..named("a.example.com") };
    assert_eq!(Config::complete(given).unwrap().service_threads, 7);
}

#[test]
fn kept_answers_are_none_or_enough_for_the_largest_payload() {
    let stored = |idempotency_store, max_payload_mb| {
        let settings = Settings { idempotency_store, max_payload_mb, ..named("a.example.com") };
        Config::complete(settings).map(|config| config.idempotency_store_bytes / MIB).ok()
    };
    assert_eq!(stored(None, None), Some(256));
    assert_eq!(stored(None, Some(10)), Some(256));
    assert_eq!(stored(Some(0), None), Some(0));
    assert_eq!((stored(Some(32), None), stored(Some(33), None)), (None, Some(33)));
    assert_eq!((stored(Some(176), Some(10)), stored(Some(177), Some(10))), (None, Some(177)));
}

#[test]
fn an_unknown_key_or_variable_is_refused_by_its_name() {
    let error = Settings::from_toml("hostnam = \"a\"").unwrap_err().to_string();
    assert!(error.contains("hostnam"), "{error}");
    let error = Settings::from_toml("anonymous = \"yes\"").unwrap_err().to_string();
    assert!(error.contains("yes") && error.contains("public"), "{error}");
    let names = |name: &str| std::iter::once(name.to_owned());
    assert!(
        refuse_unknown_variables(names("AT_FUNCTIONS_LISTENN"))
            .unwrap_err()
            .0
            .contains("AT_FUNCTIONS_LISTENN")
    );
    assert_eq!(refuse_unknown_variables(names("AT_FUNCTIONS_LISTEN")), Ok(()));
    assert_eq!(refuse_unknown_variables(names("AT_FUNCTIONS_PASSWORD")), Ok(()));
    assert_eq!(refuse_unknown_variables(names("PATH")), Ok(()));
}
