//! Whether PDSes can use a service's DID document, rule by rule.
//!
//! The rules are the reference PDS's (`did:web` resolution, `parseProxyHeader`, `getServiceEndpoint`,
//! the origin that its HTTP client demands), the stricter of its versions where they differ. A document
//! that breaks one shows up to callers as a bare 400, 500 or 502 of their own PDS.

use http::Response;
use http::header::{CONTENT_TYPE, LOCATION};
use serde_json::Value;
use url::{Host, Url};

use crate::identity::{Hostname, PublicKey, ServiceId};

/// Top-level names that the reference PDS refuses to connect to.
const UNREACHABLE_TLDS: [&str; 5] = ["test", "local", "localhost", "invalid", "example"];

/// How one rule fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Result {
    /// It holds.
    Holds,
    /// It does not, but calls work all the same.
    Unwise,
    /// It does not, and no PDS can use the document.
    Fails,
}

impl Result {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Result::Holds => "ok",
            Result::Unwise => "warning",
            Result::Fails => "FAILS",
        }
    }
}

/// What was found about one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) result: Result,
    /// What was seen and, where it is wrong, what it should be.
    pub(super) detail: String,
}

fn finding(check: &'static str, holds: bool, detail: impl Into<String>) -> Finding {
    Finding { check, result: if holds { Result::Holds } else { Result::Fails }, detail: detail.into() }
}

fn advised(check: &'static str, holds: bool, detail: impl Into<String>) -> Finding {
    Finding { check, result: if holds { Result::Holds } else { Result::Unwise }, detail: detail.into() }
}

/// All that can be said of the answer to a request for the document. Stops where nothing behind it
/// can be judged.
pub(super) fn findings(host: &Hostname, service_id: &ServiceId, answer: &Response<Vec<u8>>) -> Vec<Finding> {
    let mut found = vec![public_name(host), status(answer)];
    if answer.status() != 200 {
        return found;
    }
    found.push(content_type(answer));
    let document = serde_json::from_slice::<Value>(answer.body()).ok().filter(Value::is_object);
    found.push(finding("json", document.is_some(), "the body is a JSON object"));
    let Some(document) = document else { return found };
    found.extend([context(&document), id(host, &document)]);
    found.extend(services(host, service_id, &document));
    found.push(key(host, &document));
    found
}

/// A PDS in development mode reaches such names; one on the public network does not.
fn public_name(host: &Hostname) -> Finding {
    let origin = host.origin();
    let name = origin.split_once("://").map_or("", |(_, rest)| rest).split(':').next().unwrap_or_default();
    let public = !name.rsplit('.').next().is_some_and(|tld| UNREACHABLE_TLDS.contains(&tld));
    let detail = if public {
        name.to_owned()
    } else {
        format!("{name} is for development: only a PDS in dev mode reaches it")
    };
    advised("name", public, detail)
}

fn status(answer: &Response<Vec<u8>>) -> Finding {
    let status = answer.status();
    let detail = match answer.headers().get(LOCATION) {
        Some(location) if status.is_redirection() => {
            format!(
                "HTTP {} to {}: PDSes follow no redirect, serve it here",
                status.as_u16(),
                String::from_utf8_lossy(location.as_bytes())
            )
        }
        _ if status == 200 => "HTTP 200".to_owned(),
        _ => format!("HTTP {}, expected 200", status.as_u16()),
    };
    finding("status", status == 200, detail)
}

fn content_type(answer: &Response<Vec<u8>>) -> Finding {
    let stated = answer
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let stated = stated.unwrap_or_else(|| "none".to_owned());
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let fits = matches!(essence.as_str(), "application/json" | "application/did+ld+json");
    let detail = if fits { stated } else { format!("{stated}, expected application/json") };
    finding("content-type", fits, detail)
}

fn context(document: &Value) -> Finding {
    const FIRST: &str = "https://www.w3.org/ns/did/v1";
    let first = match &document["@context"] {
        Value::Array(all) => all.first().and_then(Value::as_str),
        other => other.as_str(),
    };
    let detail =
        if first == Some(FIRST) { FIRST.to_owned() } else { format!("@context must begin with {FIRST}") };
    finding("context", first == Some(FIRST), detail)
}

fn id(host: &Hostname, document: &Value) -> Finding {
    let expected = host.did().as_str();
    let stated = document["id"].as_str();
    let detail = match stated {
        Some(id) if id == expected => id.to_owned(),
        Some(id) => format!("{id}, expected {expected}"),
        None => format!("missing, expected {expected}"),
    };
    finding("id", stated == Some(expected), detail)
}

/// The rules of the list of services, and of our entry in it.
fn services(host: &Hostname, service_id: &ServiceId, document: &Value) -> Vec<Finding> {
    let none = Vec::new();
    let entries = document["service"].as_array().unwrap_or(&none);
    let full = |entry: &Value| match entry["id"].as_str() {
        Some(id) if id.starts_with('#') => Some(format!("{}{id}", host.did())),
        other => other.map(str::to_owned),
    };
    let wanted = format!("{}#{service_id}", host.did());
    let Some(entry) = entries.iter().find(|entry| full(entry).as_ref() == Some(&wanted)) else {
        return vec![finding("service", false, format!("no entry with the id #{service_id}"))];
    };
    let mut ids: Vec<_> = entries.iter().map(full).collect();
    ids.sort();
    let unique = ids.windows(2).all(|pair| pair[0] != pair[1]);
    // One malformed entry, ours or not, spoils the document for a PDS.
    let shaped = entries.iter().all(|entry| {
        entry["id"].is_string() && entry["type"].is_string() && !entry["serviceEndpoint"].is_array()
    });
    vec![
        finding("service", true, format!("#{service_id}")),
        finding(
            "services",
            unique && shaped,
            "each has an id of its own, one type as text, and one endpoint",
        ),
        endpoint(host, entry),
    ]
}

fn endpoint(host: &Hostname, entry: &Value) -> Finding {
    let check = "endpoint";
    let Some(text) = entry["serviceEndpoint"].as_str() else {
        return finding(check, false, "the serviceEndpoint must be text");
    };
    let Ok(url) = Url::parse(text) else {
        return finding(check, false, format!("{text} is no URL"));
    };
    let development = host.origin().starts_with("http://");
    let fault = match url.host() {
        _ if url.scheme() != "https" && !(development && url.scheme() == "http") => "must be https",
        _ if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            "must have no path, query or fragment"
        }
        _ if !url.username().is_empty() || url.password().is_some() => "must hold no credentials",
        Some(Host::Domain(name)) if !development && !name.contains('.') => "must be a public name",
        Some(Host::Ipv4(_) | Host::Ipv6(_)) if !development => "should be a name, not an address",
        _ => "",
    };
    let detail = if fault.is_empty() { text.to_owned() } else { format!("{text} {fault}") };
    finding(check, fault.is_empty(), detail)
}

/// Only needed once the service signs something itself; a PDS that proxies does not look at it.
fn key(host: &Hostname, document: &Value) -> Finding {
    let full = format!("{}#atproto", host.did());
    let methods = document["verificationMethod"].as_array();
    let method = methods
        .and_then(|methods| methods.iter().find(|m| m["id"] == full.as_str() || m["id"] == "#atproto"));
    let readable = method
        .and_then(|m| m["publicKeyMultibase"].as_str())
        .is_some_and(|k| PublicKey::from_multikey(k).is_ok());
    let detail =
        if readable { "#atproto" } else { "no readable #atproto key: the service could not sign as itself" };
    advised("key", readable, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::{SigningKey, service_document};

    fn host() -> Hostname {
        Hostname::parse("fn.example.com").unwrap()
    }

    fn document() -> Value {
        let key = SigningKey::from_bytes(&[3; 32]).unwrap().public();
        let endpoint = Url::parse(&host().origin()).unwrap();
        service_document(host().did(), &ServiceId::default(), &endpoint, &key)
    }

    fn answer(document: &Value) -> Response<Vec<u8>> {
        let body = document.to_string().into_bytes();
        Response::builder().header("content-type", "application/json").body(body).unwrap()
    }

    /// The checks that do not hold.
    fn faults(answer: &Response<Vec<u8>>) -> Vec<(&'static str, Result)> {
        let all = findings(&host(), &ServiceId::default(), answer);
        all.into_iter().filter(|f| f.result != Result::Holds).map(|f| (f.check, f.result)).collect()
    }

    #[test]
    fn our_own_document_passes() {
        let all = findings(&host(), &ServiceId::default(), &answer(&document()));
        let checks: Vec<_> = all.iter().map(|f| f.check).collect();
        assert_eq!(
            checks,
            [
                "name",
                "status",
                "content-type",
                "json",
                "context",
                "id",
                "service",
                "services",
                "endpoint",
                "key"
            ]
        );
        assert!(all.iter().all(|f| f.result == Result::Holds), "{all:?}");
    }

    #[test]
    fn a_development_document_passes_with_a_warning() {
        let host = Hostname::parse("localhost:3000").unwrap();
        let key = SigningKey::from_bytes(&[3; 32]).unwrap().public();
        let document =
            service_document(host.did(), &ServiceId::default(), &Url::parse(&host.origin()).unwrap(), &key);
        let faults: Vec<_> = findings(&host, &ServiceId::default(), &answer(&document))
            .into_iter()
            .filter(|f| f.result != Result::Holds)
            .map(|f| (f.check, f.result))
            .collect();
        assert_eq!(faults, [("name", Result::Unwise)]);
    }

    fn add(document: &mut Value, entry: Value) {
        document["service"].as_array_mut().unwrap().push(entry);
    }

    #[test]
    fn each_broken_rule_is_named() {
        type Break = fn(&mut Value);
        let endpoint = |to: &'static str| move |d: &mut Value| d["service"][0]["serviceEndpoint"] = to.into();
        let breaks: [(Break, &str); 11] = [
            (|d| d["id"] = "did:web:other.com".into(), "id"),
            (|d| d["id"] = Value::Null, "id"),
            (|d| d["@context"] = json!(["https://w3id.org/security/multikey/v1"]), "context"),
            (|d| d["service"] = json!([]), "service"),
            (|d| d["service"] = json!({"id": "#at_functions"}), "service"),
            (|d| d["service"][0]["id"] = "at_functions".into(), "service"),
            (|d| d["service"][0]["type"] = json!(["AtFunctionsService"]), "services"),
            (|d| add(d, d["service"][0].clone()), "services"),
            (
                |d| {
                    add(
                        d,
                        json!({"id": "did:web:fn.example.com#at_functions", "type": "x", "serviceEndpoint": "https://a.com"}),
                    )
                },
                "services",
            ),
            (|d| add(d, json!("not an entry")), "services"),
            (|d| d["service"][0]["serviceEndpoint"] = json!({"uri": "https://a.com"}), "endpoint"),
        ];
        for (change, check) in breaks {
            let mut broken = document();
            change(&mut broken);
            assert_eq!(faults(&answer(&broken)), [(check, Result::Fails)], "{broken}");
        }
        for text in [
            "http://fn.example.com",
            "https://fn.example.com/xrpc",
            "https://fn.example.com?x",
            "https://u@fn.example.com",
            "https://fn",
            "https://203.0.113.1",
            "not a url",
        ] {
            let mut broken = document();
            endpoint(text)(&mut broken);
            assert_eq!(faults(&answer(&broken)), [("endpoint", Result::Fails)], "{text}");
        }
        let mut keyless = document();
        keyless["verificationMethod"] = json!([]);
        assert_eq!(faults(&answer(&keyless)), [("key", Result::Unwise)]);
    }

    #[test]
    fn an_answer_that_is_no_document_is_told_as_what_it_is() {
        let redirect = Response::builder()
            .status(301)
            .header("location", "https://www.a.com/x")
            .body(Vec::new())
            .unwrap();
        assert_eq!(faults(&redirect), [("status", Result::Fails)]);
        let told = findings(&host(), &ServiceId::default(), &redirect);
        assert!(told[1].detail.contains("HTTP 301 to https://www.a.com/x"), "{told:?}");
        let missing = Response::builder().status(404).body(Vec::new()).unwrap();
        assert_eq!(faults(&missing), [("status", Result::Fails)]);
        let page = Response::builder()
            .header("content-type", "text/html; charset=utf-8")
            .body(b"<html>".to_vec())
            .unwrap();
        assert_eq!(faults(&page), [("content-type", Result::Fails), ("json", Result::Fails)]);
        let list = Response::builder()
            .header("content-type", "application/did+ld+json")
            .body(b"[]".to_vec())
            .unwrap();
        assert_eq!(faults(&list), [("json", Result::Fails)]);
    }
}
