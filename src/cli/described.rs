//! `describe --service`: what a service says of a function, and of the caller before it.

use clap::Args;
use serde_json::Value;

use super::Tools;
use super::advice;
use super::client::{Budget, host_of};
use super::error::{CliError, Refusal, shown};
use super::invoke;
use super::locate::NetworkArgs;
use super::output::{self, Report, printable};
use super::session::LoginArgs;
use super::way::{self, Choice, DESCRIBE};
use crate::identity::ServiceRef;
use crate::lexicon::AtUri;
use crate::policy::MAX_SCOPES;

/// Which service is asked, and as whom.
#[derive(Args)]
pub(super) struct ServiceArgs {
    /// Ask this service, through your PDS and as you: did:web:HOST, with #ID if it is not at_functions
    #[arg(long, value_name = "DID[#ID]", value_parser = invoke::service)]
    pub(super) service: Option<ServiceRef>,
    /// Ask the service yourself, with a token from your PDS
    #[arg(long, requires = "service")]
    direct: bool,
    /// Ask the service without saying who you are
    #[arg(long, requires = "service", conflicts_with = "direct")]
    anonymous: bool,
    #[command(flatten)]
    login: LoginArgs,
}

/// Asks the service, and tells its answer.
pub(super) async fn ask(
    tools: &Tools,
    args: &ServiceArgs,
    service: &ServiceRef,
    function: &AtUri,
    network: &NetworkArgs,
    json: bool,
) -> Result<Report, CliError> {
    let &ServiceArgs { direct, anonymous, ref login, .. } = args;
    let choice = Choice { method: DESCRIBE, also: None, direct, anonymous, login, network };
    let way = way::to(tools, &choice, service).await?;
    let request = way.description(function)?;
    let answer = way.send(tools, request, Budget::CALL).await?;
    let (status, body) = (answer.status().as_u16(), answer.into_body());
    let report = report(&host_of(&way.server), service, status, &body);
    Ok(if json { Report { text: body, ..report } } else { report })
}

/// What to print, and how to end, after `host` answered for `service`.
fn report(host: &str, service: &ServiceRef, status: u16, body: &[u8]) -> Report {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text_of = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    if status == 200 && answer["uri"].is_string() && answer["mayRun"].is_boolean() {
        return Report::done(text(service, &answer));
    }
    let host = host.to_owned();
    let (what, advice, exit) = if status != 200 && answer["error"].is_string() {
        let refusal = Refusal { host, status, name: text_of("error"), message: text_of("message") };
        let advice = advice::for_refusal(status, &refusal.name, &refusal.message);
        (refusal.to_string(), advice, refusal.exit())
    } else {
        let error =
            CliError::Unusable { host, why: format!("HTTP {status} with a body that describes nothing") };
        (error.to_string(), error.advice(), error.exit())
    };
    Report { text: Vec::new(), notes: output::failure(&what, advice), exit }
}

/// A description in words. Whoever answers may be anybody: what is not as the lexicon has it is left out.
fn text(service: &ServiceRef, answer: &Value) -> String {
    let limits = &answer["limits"];
    let told = |name: &str| answer[name].as_str().map(shown);
    let size = |name: &str| limits[name].as_u64().map(output::size);
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.push([format!("  {name}"), value]);
        }
    };
    row("name", told("name"));
    row("version", told("version"));
    row("description", told("description"));
    row("updated", told("updatedAt"));
    row("record", told("cid"));
    row("proved", told("rev").map(|rev| format!("by the service, as of rev {rev}")));
    row("code", answer["code"]["cid"].as_str().map(|cid| code(cid, answer["code"]["size"].as_u64())));
    row("mode", told("mode"));
    row("callers", answer["public"].as_bool().map(|public| callers(public).to_owned()));
    row("memory", limits["maxMemoryMb"].as_u64().map(|mib| format!("{mib} MiB")));
    row("time", limits["maxDurationMs"].as_u64().map(|ms| format!("{ms} ms")));
    row("request", size("maxRequestBytes").map(|size| format!("{size} at most")));
    row("output", size("maxOutputBytes").map(|size| format!("{size} at most")));
    row("host calls", host_calls(limits));
    row("calls", limits["functionCalls"].as_str().map(shown));
    row("of author", limits["authorCalls"].as_str().map(|rate| format!("{}, all functions", shown(rate))));
    for line in readable(&answer["reads"]) {
        row("may read", Some(line));
    }
    row("you", Some(verdict(answer)));
    let uri = told("uri").unwrap_or_default();
    let mut text = format!("{uri}\n{}", output::table(&rows));
    for (name, title) in [("inputSchema", "input schema"), ("outputSchema", "output schema")] {
        if let Some(schema) = answer.get(name) {
            text.push_str(&format!("  {title}\n{}\n", output::pretty(&schema.to_string())));
        }
    }
    text.push_str(&format!(
        "  This is what {} says; describe without --service proves the record itself.\n",
        printable(&service.to_string())
    ));
    text
}

fn code(cid: &str, size: Option<u64>) -> String {
    match size {
        Some(size) => format!("{} ({})", shown(cid), output::size(size)),
        None => format!("{} (size not stated)", shown(cid)),
    }
}

fn callers(public: bool) -> &'static str {
    if public { "everyone" } else { "the author, and those to whom the author grants it" }
}

fn host_calls(limits: &Value) -> Option<String> {
    let (calls, bytes) = (limits["maxHostCalls"].as_u64()?, limits["maxHostBytes"].as_u64()?);
    (calls > 0).then(|| format!("{calls} at most, {} in all", output::size(bytes)))
}

/// What the function may read there, a line each.
fn readable(reads: &Value) -> Vec<String> {
    let Some(rule) = reads["rule"].as_str() else { return Vec::new() };
    let entries = reads["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    match rule {
        "any" => vec!["any public repo".to_owned()],
        "declared" if !entries.is_empty() => entries.iter().take(MAX_SCOPES).filter_map(entry).collect(),
        "none" | "declared" => vec!["nothing".to_owned()],
        other => vec![shown(other)],
    }
}

fn entry(entry: &Value) -> Option<String> {
    let text = shown(entry["entry"].as_str()?);
    Some(match entry["problem"].as_str() {
        None => text,
        Some(problem) => format!("{text} (covers nothing: {})", shown(problem)),
    })
}

/// Whether the caller may run it.
fn verdict(answer: &Value) -> String {
    if answer["mayRun"] == true {
        return "may run it".to_owned();
    }
    let text = |name: &str| answer["refusal"][name].as_str().map(shown).unwrap_or_default();
    match (text("error"), text("message")) {
        (error, _) if error.is_empty() => "may not run it; the service does not say why".to_owned(),
        (error, message) => format!("may not run it. {error}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::output::Exit;
    use super::*;

    fn service() -> ServiceRef {
        ServiceRef::parse("did:web:fn.example.com").unwrap()
    }

    fn told(status: u16, body: &Value) -> (String, String, Exit) {
        let report = report("fn.test", &service(), status, body.to_string().as_bytes());
        (String::from_utf8(report.text).unwrap(), report.notes, report.exit)
    }

    fn description() -> Value {
        json!({
            "uri": "at://did:web:a.com/at.functions.metadata/k", "cid": "bafyrec", "rev": "3kczqm6lnjk2c",
            "name": "lister", "version": "1.0.0", "description": "two\nlines", "mode": "host-v1", "public": false,
            "code": { "cid": "bafkcode", "size": 2048 },
            "inputSchema": { "type": "string" },
            "limits": {
                "maxMemoryMb": 32, "maxDurationMs": 100, "maxRequestBytes": 1048576, "maxOutputBytes": 65536,
                "maxHostCalls": 1000, "maxHostBytes": 33554432, "functionCalls": "5/s burst 10 at-once 2",
            },
            "reads": { "rule": "declared", "entries": [
                { "entry": "at://b.com" }, { "entry": "https://c.com", "problem": "an at-uri starts with at://" },
            ] },
            "mayRun": false,
            "refusal": { "error": "FunctionNotPublic", "message": "this function is not public" },
        })
    }

    #[test]
    fn a_description_is_told_in_words() {
        let expected = "\
at://did:web:a.com/at.functions.metadata/k
  name         lister
  version      1.0.0
  description  two\\u{a}lines
  record       bafyrec
  proved       by the service, as of rev 3kczqm6lnjk2c
  code         bafkcode (2.0 KiB)
  mode         host-v1
  callers      the author, and those to whom the author grants it
  memory       32 MiB
  time         100 ms
  request      1.0 MiB at most
  output       64.0 KiB at most
  host calls   1000 at most, 32.0 MiB in all
  calls        5/s burst 10 at-once 2
  may read     at://b.com
  may read     https://c.com (covers nothing: an at-uri starts with at://)
  you          may not run it. FunctionNotPublic: this function is not public
  input schema
{
  \"type\": \"string\"
}
  This is what did:web:fn.example.com#at_functions says; describe without --service proves the record itself.
";
        assert_eq!(told(200, &description()), (expected.to_owned(), String::new(), Exit::Done));
        let mut open = description();
        open["mayRun"] = true.into();
        open["reads"] = json!({ "rule": "none" });
        let text = told(200, &open).0;
        assert!(text.contains("\n  you          may run it\n"), "{text}");
        assert!(text.contains("\n  may read     nothing\n"), "{text}");
    }

    #[test]
    fn what_is_no_description_is_told_as_what_it_is() {
        let error = json!({ "error": "FunctionBlocked", "message": "not here" });
        let (text, notes, exit) = told(403, &error);
        assert_eq!((text.as_str(), exit), ("", Exit::Refused));
        assert!(notes.starts_with("error: FunctionBlocked (HTTP 403 from fn.test): not here\n"), "{notes}");
        assert_eq!(told(429, &json!({ "error": "RateLimitExceeded", "message": "" })).2, Exit::Network);
        for (status, body) in [(200, json!({})), (200, json!([1])), (200, error), (404, json!("gone"))] {
            let (text, notes, exit) = told(status, &body);
            assert_eq!((text.as_str(), exit), ("", Exit::Network), "{body}");
            assert!(notes.contains("with a body that describes nothing"), "{notes}");
        }
    }

    #[test]
    fn a_service_cannot_drive_the_terminal() {
        let hostile = json!({
            "uri": "at://\x1b[31m", "mayRun": false, "name": 5, "limits": [], "mode": "\x1b[2J",
            "reads": { "rule": "\x07", "entries": [{ "entry": "\x1b" }] },
            "refusal": { "error": "\x1b]0;x\x07", "message": "\r" },
        });
        let (text, ..) = told(200, &hostile);
        assert!(!text.contains(['\x1b', '\x07', '\r']), "{text:?}");
    }
}
