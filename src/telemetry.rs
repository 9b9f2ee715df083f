//! Logs and metrics.
//!
//! In: events. Out: lines on stderr, and figures that `/metrics` shows.
//! Never: an input, an output or a token, and never a label that callers choose.

mod handles;
#[cfg(any(feature = "otlp", test))]
pub mod otlp;
mod stages;
mod zeros;

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::audit;
use crate::config::LogFormat;
use crate::egress::{Ended, Way};
use crate::idempotency;
use crate::memo;
use crate::policy::limits::Kind;
use crate::workers::{CacheState, CompileEnd, Flaw, Stats};

pub use stages::{Stage, Stages};

const ARTIFACT_LOOKUPS: &str = "at_functions_artifact_lookups_total";
const BUILD_INFO: &str = "at_functions_build_info";
const CALLS: &str = "at_functions_calls_total";
const CALL_SECONDS: &str = "at_functions_call_seconds";
const COMPILE_SECONDS: &str = "at_functions_compile_seconds";
const COMPILES_ENDED: &str = "at_functions_compiles_ended_total";
const DESCRIBES: &str = "at_functions_describes_total";
const HOST_CALLS: &str = "at_functions_host_calls_total";
const LOOKUPS: &str = "at_functions_lookups_total";
const READS: &str = "at_functions_reads_total";
const POLICY_RELOADS: &str = "at_functions_policy_reloads_total";
const POLICY_LOADED: &str = "at_functions_policy_loaded_timestamp_seconds";
const LIMITED: &str = "at_functions_limited_total";
const RUNS_REFUSED: &str = "at_functions_runs_refused_total";
const RUN_WAIT_SECONDS: &str = "at_functions_run_wait_seconds";

/// Why a run is not let into the queue, or does not come out of it in time.
const NOT_RUN: [&str; 4] = ["deadline", "full", "late", "share"];
const MEMO_LOOKUPS: &str = "at_functions_memo_lookups_total";
const NAMED_CALLS: &str = "at_functions_named_calls_total";
const READY: &str = "at_functions_ready";
const TRACED_CALLS: &str = "at_functions_traced_calls_total";
/// What becomes of a call that is told to a collector.
const TRACED_ENDS: [&str; 3] = ["dropped", "exported", "failed"];
const UPSTREAM_REQUESTS: &str = "at_functions_upstream_requests_total";
const UPSTREAM_SECONDS: &str = "at_functions_upstream_seconds";

/// From a warm echo to the deadline of a call, in seconds.
const CALL_BUCKETS: [f64; 13] =
    [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 9.0];
/// From a lookup in memory to the deadline of a call, in seconds.
const STAGE_BUCKETS: [f64; 12] = [0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 9.0];
/// From a small module to the longest compile, in seconds.
const COMPILE_BUCKETS: [f64; 8] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 6.0];
/// From a host next door to the longest exchange of a call, in seconds.
const UPSTREAM_BUCKETS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 9.0];
/// How often what histograms were told is sorted into their buckets. Until then each call's figures take
/// memory, also if nobody ever asks for `/metrics`.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts writing log lines to stderr. The error is about `filter`.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on stderr, where it cannot be written either, with a panic.
        .log_internal_errors(false)
        // Journals and files want no escape codes.
        .with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    Ok(())
}

/// Installs the recorder of metrics for this process.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(CALL_SECONDS.into()), &CALL_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(RUN_WAIT_SECONDS.into()), &CALL_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(stages::STAGE_SECONDS.into()), &STAGE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(COMPILE_SECONDS.into()), &COMPILE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(UPSTREAM_SECONDS.into()), &UPSTREAM_BUCKETS)?
        .install_recorder()?;
    zeros::register();
    handles::look_up();
    describe_gauge!(BUILD_INFO, "1, with the version of this service as a label");
    describe_gauge!(READY, "1 while the service takes calls, as /readyz has it, else 0");
    describe_histogram!(stages::STAGE_SECONDS, "Seconds that calls spent in a stage of their way");
    describe_counter!(DESCRIBES, "Requests for at.functions.describe, by ok or the name of the error");
    describe_counter!(ARTIFACT_LOOKUPS, "Where calls found the compiled code: warm, disk, or cold");
    describe_counter!(LOOKUPS, "What calls looked up, by what it was and where it came from");
    describe_counter!(COMPILES_ENDED, "Compiles by how they ended");
    describe_histogram!(COMPILE_SECONDS, "Seconds from the compiler's start to its end");
    describe_counter!(UPSTREAM_REQUESTS, "Requests to other hosts, by what for and what came of it");
    describe_histogram!(
        UPSTREAM_SECONDS,
        "Seconds from a request to another host to its end, turns included"
    );
    describe_counter!(TRACED_CALLS, "Calls whose spans were for a collector, by what became of them");
    describe_counter!(CALLS, "Calls of at.functions.run, by outcome of the run or name of the error");
    describe_histogram!(CALL_SECONDS, "Seconds from a call's head to its answer");
    describe_counter!(HOST_CALLS, "What guests asked their host for, by what it was and what came of it");
    describe_counter!(READS, "What was read for guests, by what it was and where it came from");
    describe_counter!(POLICY_RELOADS, "Times that the policy file was read, by what came of it");
    describe_gauge!(POLICY_LOADED, "When the rules in force were read from the policy file, as a Unix time");
    describe_counter!(LIMITED, "Calls refused by a limit, by which, and by how often or how many at once");
    describe_counter!(RUNS_REFUSED, "Runs refused by the queue, by why");
    describe_histogram!(RUN_WAIT_SECONDS, "Seconds that runs waited in the queue");
    describe_counter!(NAMED_CALLS, "Calls with an idempotency key, by where their answer came from");
    describe_counter!(MEMO_LOOKUPS, "Calls that might be answered without a run, by whether they were");
    describe_gauge!("at_functions_memo_outputs", "Outputs kept so that the same call need not run again");
    describe_gauge!("at_functions_memo_bytes", "What kept outputs weigh in memory");
    describe_gauge!("at_functions_kept_answers", "Answers kept for calls with an idempotency key");
    describe_gauge!("at_functions_kept_answer_bytes", "What kept answers count against their limit");
    describe_gauge!(
        "at_functions_answers_can_be_kept",
        "1 while kept answers can be written and read, else 0"
    );
    describe_gauge!(
        "at_functions_revisions_can_be_kept",
        "1 while the highest revisions of repos can be kept on disk, else 0"
    );
    describe_gauge!("at_functions_runs", "Guests running now");
    describe_gauge!("at_functions_instances", "Instances of guests that have not been given back");
    describe_gauge!("at_functions_run_places", "Guests that may run at once");
    describe_gauge!("at_functions_runs_waiting", "Runs waiting for a slot or for memory");
    describe_gauge!("at_functions_runs_ready", "Guests that are ready and wait for their turn on a thread");
    describe_gauge!("at_functions_memory_budget_bytes", "Memory that running guests may reserve together");
    describe_gauge!(
        "at_functions_kept_memory_bytes",
        "Memory of ended guests that is kept for the next ones"
    );
    describe_gauge!("at_functions_artifacts", "Compiled modules kept in memory");
    describe_gauge!("at_functions_artifact_memory_bytes", "What compiled modules weigh in memory");
    describe_gauge!("at_functions_tokens_remembered", "Used tokens that are remembered until they expire");
    describe_gauge!("at_functions_modules_preparing", "Modules being fetched or compiled, or waiting to be");
    describe_gauge!("at_functions_compiling", "Modules being compiled now");
    describe_counter!("at_functions_compiles_total", "Modules handed to the compiler");
    describe_counter!("at_functions_artifacts_from_disk_total", "Compiled modules taken from the disk");
    describe_counter!("at_functions_artifacts_stored_total", "Compiled modules written to the disk");
    describe_counter!(
        "at_functions_artifacts_not_stored_total",
        "Compiled modules that could not be written to the disk"
    );
    describe_counter!(
        "at_functions_artifacts_discarded_total",
        "Compiled modules on disk that were not used and were deleted, by what was wrong with them"
    );
    describe_gauge!("at_functions_artifact_disk_bytes", "What compiled modules take on disk");
    describe_gauge!("at_functions_memory_reserved_bytes", "Memory reserved by running guests");
    describe_gauge!("at_functions_workers", "Worker processes");
    describe_gauge!("at_functions_workers_shared", "Worker processes that have had runs of several authors");
    describe_counter!(
        "at_functions_worker_deaths_total",
        "Worker processes that ended without being told to"
    );
    describe_gauge!("at_functions_audit_seq", "The number of the audit log's last line");
    describe_gauge!(
        "at_functions_audit_committed_seq",
        "The number of the audit log's last line that is on disk, signed and committed"
    );
    describe_gauge!("at_functions_audit_writable", "1 while the audit log can be written, else 0");
    describe_counter!("at_functions_audit_dropped_total", "Calls that have no line in the audit log");
    Ok(handle)
}

/// Counts one finished call. `decided` is of a closed set: an outcome or an error's name.
pub fn count_call(decided: &'static str, took: Duration) {
    let known = handles::known();
    match known.and_then(|known| known.call(decided)) {
        Some(counter) => counter.increment(1),
        None => counter!(CALLS, "decided" => decided).increment(1),
    }
    match known {
        Some(known) => known.call_seconds.record(took.as_secs_f64()),
        None => histogram!(CALL_SECONDS).record(took.as_secs_f64()),
    }
}

/// Counts one request for a description. `decided` is of a closed set.
pub fn count_describe(decided: &'static str) {
    counter!(DESCRIBES, "decided" => decided).increment(1);
}

/// Counts where a call found its compiled code.
pub fn count_artifact_lookup(from: CacheState) {
    match handles::known().and_then(|known| known.artifact(from)) {
        Some(counter) => counter.increment(1),
        None => counter!(ARTIFACT_LOOKUPS, "from" => from.as_str()).increment(1),
    }
}

/// Counts one lookup of a call. `what` is of a closed set.
pub fn count_lookup(what: &'static str, in_memory: bool) {
    if let (true, Some(counter)) = (in_memory, handles::known().and_then(|known| known.lookup(what))) {
        return counter.increment(1);
    }
    let from = if in_memory { "memory" } else { "network" };
    counter!(LOOKUPS, "what" => what, "from" => from).increment(1);
}

/// Counts one compile.
pub fn count_compile(ended: CompileEnd, took: Duration) {
    counter!(COMPILES_ENDED, "ended" => ended.as_str()).increment(1);
    histogram!(COMPILE_SECONDS).record(took.as_secs_f64());
}

/// Counts one request to another host.
pub fn count_upstream(way: Way, ended: Ended, took: Duration) {
    counter!(UPSTREAM_REQUESTS, "way" => way.as_str(), "ended" => ended.as_str()).increment(1);
    histogram!(UPSTREAM_SECONDS, "way" => way.as_str()).record(took.as_secs_f64());
}

/// Counts one host call. `call` and `answered` are of closed sets.
pub fn count_host_call(call: &'static str, answered: &'static str) {
    counter!(HOST_CALLS, "call" => call, "answered" => answered).increment(1);
}

/// Counts one call with an idempotency key. `from` is of a closed set.
pub fn count_named_call(from: &'static str) {
    counter!(NAMED_CALLS, "from" => from).increment(1);
}

/// Records what is kept of answers, when it is asked for.
pub fn record_kept_answers(kept: &idempotency::Stats) {
    gauge!("at_functions_kept_answers").set(kept.answers as f64);
    gauge!("at_functions_kept_answer_bytes").set(kept.bytes as f64);
    gauge!("at_functions_answers_can_be_kept").set(if kept.open { 1.0 } else { 0.0 });
}

/// Records whether the highest revisions of repos can be kept on disk, when it is asked for.
pub fn record_revisions(kept: bool) {
    gauge!("at_functions_revisions_can_be_kept").set(u8::from(kept));
}

/// Counts one look for the output of an earlier call.
pub fn count_memo_lookup(found: bool) {
    match handles::known() {
        Some(known) => known.memo_lookup(found).increment(1),
        None => counter!(MEMO_LOOKUPS, "found" => told_found(found)).increment(1),
    }
}

/// Whether something was found, as a label.
fn told_found(found: bool) -> &'static str {
    if found { "yes" } else { "no" }
}

/// Records what is kept of outputs, when it is asked for.
pub fn record_memo(kept: &memo::Stats) {
    gauge!("at_functions_memo_outputs").set(kept.outputs as f64);
    gauge!("at_functions_memo_bytes").set(kept.bytes as f64);
}

/// Counts one read for a guest. `what` and `from` are of closed sets.
pub fn count_read(what: &'static str, from: &'static str) {
    counter!(READS, "what" => what, "from" => from).increment(1);
}

/// What came of reading the policy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyReload {
    /// Its rules are in force.
    Loaded,
    /// It is wrong.
    Refused,
    /// It could not be read.
    Unreadable,
}

impl PolicyReload {
    /// All there are.
    pub const ALL: [PolicyReload; 3] =
        [PolicyReload::Loaded, PolicyReload::Refused, PolicyReload::Unreadable];

    /// Its name in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyReload::Loaded => "loaded",
            PolicyReload::Refused => "refused",
            PolicyReload::Unreadable => "unreadable",
        }
    }
}

/// Shows the policy file's figures from the start, at zero.
fn announce_policy_reloads() {
    for result in PolicyReload::ALL {
        counter!(POLICY_RELOADS, "result" => result.as_str()).increment(0);
    }
    gauge!(POLICY_LOADED).set(0.0);
}

/// Counts one reading of the policy file at `unix_seconds`.
pub fn record_policy(result: PolicyReload, unix_seconds: u64) {
    counter!(POLICY_RELOADS, "result" => result.as_str()).increment(1);
    if result == PolicyReload::Loaded {
        gauge!(POLICY_LOADED).set(unix_seconds as f64);
    }
}

/// Counts one call that a limit refused: by how many were under way, or by how often they came.
pub fn count_limited(limit: Kind, at_once: bool) {
    limited(limit, at_once).increment(1);
}

fn limited(limit: Kind, at_once: bool) -> metrics::Counter {
    counter!(LIMITED, "limit" => limit.as_str(), "by" => if at_once { "atOnce" } else { "rate" })
}

/// Counts one run that the queue refused. `why` is of a closed set.
pub fn count_run_refused(why: &'static str) {
    counter!(RUNS_REFUSED, "why" => why).increment(1);
}

/// Records how long a run waited in the queue.
pub fn observe_run_wait(wait: Duration) {
    match handles::known() {
        Some(known) => known.run_wait_seconds.record(wait.as_secs_f64()),
        None => histogram!(RUN_WAIT_SECONDS).record(wait.as_secs_f64()),
    }
}

/// Has every figure of limits and the queue there from the start.
fn begin_overload_at_zero() {
    for kind in Kind::ALL {
        for at_once in [false, true] {
            limited(kind, at_once).absolute(0);
        }
    }
    for why in NOT_RUN {
        counter!(RUNS_REFUSED, "why" => why).absolute(0);
    }
}

/// Sorts what histograms were told into their buckets, from time to time, for good.
pub async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// Records whether the service takes calls.
pub fn record_ready(ready: bool) {
    gauge!(READY).set(u8::from(ready));
}

/// Records how many used tokens are remembered.
pub fn record_tokens(remembered: usize) {
    gauge!("at_functions_tokens_remembered").set(remembered as f64);
}

/// Records the pool's state, when it is asked for.
pub fn record_workers(stats: &Stats) {
    gauge!("at_functions_runs").set(stats.runs as f64);
    gauge!("at_functions_run_places").set(stats.max_runs as f64);
    gauge!("at_functions_runs_ready").set(stats.sandbox.ready as f64);
    gauge!("at_functions_memory_budget_bytes").set(stats.memory_budget_bytes as f64);
    gauge!("at_functions_kept_memory_bytes").set(stats.sandbox.kept_bytes as f64);
    gauge!("at_functions_artifacts").set(stats.artifacts as f64);
    gauge!("at_functions_artifact_memory_bytes").set(stats.artifact_bytes as f64);
    gauge!("at_functions_instances").set(stats.sandbox.instances as f64);
    gauge!("at_functions_runs_waiting").set(stats.waiting_runs as f64);
    gauge!("at_functions_modules_preparing").set(stats.preparing as f64);
    gauge!("at_functions_compiling").set(stats.sandbox.compiling as f64);
    counter!("at_functions_compiles_total").absolute(stats.compiles_begun);
    counter!("at_functions_artifacts_from_disk_total").absolute(stats.store.loaded);
    counter!("at_functions_artifacts_stored_total").absolute(stats.store.stored);
    counter!("at_functions_artifacts_not_stored_total").absolute(stats.store.not_stored);
    for flaw in Flaw::ALL {
        let discarded = counter!("at_functions_artifacts_discarded_total", "reason" => flaw.as_str());
        discarded.absolute(stats.store.discarded_for(flaw));
    }
    gauge!("at_functions_artifact_disk_bytes").set(stats.store.bytes as f64);
    gauge!("at_functions_memory_reserved_bytes").set(stats.memory_reserved_bytes as f64);
    gauge!("at_functions_workers").set(stats.sandbox.workers as f64);
    gauge!("at_functions_workers_shared").set(stats.sandbox.shared_workers as f64);
    counter!("at_functions_worker_deaths_total").absolute(stats.sandbox.worker_deaths);
}

/// Records the state of the audit log, when it is asked for.
pub fn record_audit(stats: &audit::Stats) {
    gauge!("at_functions_audit_seq").set(stats.written as f64);
    gauge!("at_functions_audit_committed_seq").set(stats.committed as f64);
    gauge!("at_functions_audit_writable").set(if stats.trouble.is_none() { 1.0 } else { 0.0 });
    counter!("at_functions_audit_dropped_total").absolute(stats.dropped);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workers::StoreStats;

    fn metrics_in(text: &str) -> BTreeSet<&str> {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        text.split(|c| !is_name(c)).filter(|word| word.starts_with(concat!("at_functions", "_"))).collect()
    }

    #[test]
    fn what_was_wrong_with_artifacts_on_disk_is_counted_by_reason() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut store = StoreStats { loaded: 3, bytes: 8192, ..StoreStats::default() };
        store.discarded[Flaw::Unauthentic as usize] = 2;
        metrics::with_local_recorder(&recorder, || record_workers(&Stats { store, ..Stats::default() }));
        let text = recorder.handle().render();
        for line in [
            "at_functions_artifacts_from_disk_total 3",
            "at_functions_artifacts_discarded_total{reason=\"unauthentic\"} 2",
            "at_functions_artifacts_discarded_total{reason=\"owner\"} 0",
            "at_functions_artifact_disk_bytes 8192",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn what_limits_and_the_queue_refused_is_there_from_the_start_and_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            begin_overload_at_zero();
            count_limited(Kind::Caller, false);
            count_limited(Kind::Function, true);
            count_run_refused("share");
            observe_run_wait(Duration::from_millis(3));
        });
        let text = recorder.handle().render();
        for line in [
            "at_functions_limited_total{limit=\"caller\",by=\"rate\"} 1",
            "at_functions_limited_total{limit=\"caller\",by=\"atOnce\"} 0",
            "at_functions_limited_total{limit=\"function\",by=\"atOnce\"} 1",
            "at_functions_limited_total{limit=\"address\",by=\"rate\"} 0",
            "at_functions_limited_total{limit=\"author\",by=\"rate\"} 0",
            "at_functions_limited_total{limit=\"host\",by=\"rate\"} 0",
            "at_functions_limited_total{limit=\"unconfirmed\",by=\"rate\"} 0",
            "at_functions_runs_refused_total{why=\"share\"} 1",
            "at_functions_runs_refused_total{why=\"deadline\"} 0",
            "at_functions_runs_refused_total{why=\"full\"} 0",
            "at_functions_runs_refused_total{why=\"late\"} 0",
            &format!("{RUN_WAIT_SECONDS}_count 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn the_policy_files_figures_are_there_before_it_is_read() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, announce_policy_reloads);
        let text = recorder.handle().render();
        for result in PolicyReload::ALL.map(PolicyReload::as_str) {
            let line = format!("at_functions_policy_reloads_total{{result=\"{result}\"}} 0");
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        assert!(text.contains("at_functions_policy_loaded_timestamp_seconds 0"), "{text}");
    }

    #[test]
    fn the_manual_names_every_metric_and_no_other() {
        let manual = metrics_in(include_str!("../docs/operating.md"));
        let sources = [include_str!("telemetry.rs"), include_str!("telemetry/stages.rs")];
        assert_eq!(manual, sources.into_iter().flat_map(metrics_in).collect());
    }
}
