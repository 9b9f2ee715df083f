//! Which DID a handle points to. That the DID points back is for the resolver to check.
//!
//! Source: <https://atproto.com/specs/handle#handle-resolution>.

use std::time::Duration;

use url::Url;

use super::resolver::Web;
use super::{Did, Handle, IdentityError};
use crate::egress::{Egress, EgressError, Get, Redirects, Response};

/// For one of the ways.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A DID has at most 2 KiB; the rest is for white space and, in JSON, the braces.
const MAX_BYTES: usize = 4 * 1024;
/// From a bare domain to its `www` and back to a file, say.
const MAX_REDIRECTS: u8 = 3;

/// Asks the DNS first and the handle's web server second; a record in the DNS is the last word.
pub(super) async fn by_dns_or_https(
    egress: &Egress,
    web: Web,
    handle: &Handle,
) -> Result<Did, IdentityError> {
    if is_for_tests(handle) {
        return Err(IdentityError::NotFound);
    }
    let by_dns = match egress.txt(&format!("_atproto.{handle}")).await {
        Ok(records) => did_among(&records),
        Err(error) => Err(error.into()),
    };
    let dns_trouble = match by_dns {
        Ok(Some(did)) => return Ok(did),
        Ok(None) => None,
        Err(error) if error.is_trouble() => Some(error),
        Err(error) => return Err(error),
    };
    match (by_https(egress, web, handle).await, dns_trouble) {
        // The record may well be there: we could not look.
        (Err(IdentityError::NotFound), Some(trouble)) => Err(trouble),
        (answer, _) => answer,
    }
}

/// Asks a service that resolves handles for others.
///
/// Source: lexicon `com.atproto.identity.resolveHandle`.
pub(super) async fn by_service(
    egress: &Egress,
    service: &Url,
    handle: &Handle,
) -> Result<Did, IdentityError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        did: String,
    }
    let mut url = service.clone();
    url.set_path("/xrpc/com.atproto.identity.resolveHandle");
    url.set_query(Some(&format!("handle={handle}")));
    let response = egress.get(request(&url, "application/json", Redirects::None)).await?;
    match response.status {
        200 => {
            let answer: Answer =
                serde_json::from_slice(&response.body).map_err(|_| IdentityError::Status(200))?;
            Did::parse(&answer.did).map_err(|_| IdentityError::NotFound)
        }
        // `HandleNotFound`, and `InvalidRequest` "Unable to resolve handle" of a PDS.
        400 => Err(IdentityError::NotFound),
        status => Err(IdentityError::Status(status)),
    }
}

async fn by_https(egress: &Egress, web: Web, handle: &Handle) -> Result<Did, IdentityError> {
    // A handle is a domain name, so the URL is one whose host it is; were it not, it points nowhere.
    let url = Url::parse(&format!("{}/.well-known/atproto-did", web.origin(handle.as_str())))
        .map_err(|_| IdentityError::NotFound)?;
    match egress.get(request(&url, "text/plain", Redirects::Follow(MAX_REDIRECTS))).await {
        Ok(response) => did_in(&response),
        // Too much for a DID, or a name without a web server.
        Err(EgressError::TooLarge | EgressError::NoSuchHost) => Err(IdentityError::NotFound),
        Err(error) => Err(error.into()),
    }
}

fn request<'a>(url: &'a Url, accept: &'static str, redirects: Redirects) -> Get<'a> {
    Get { url, accept, max_bytes: MAX_BYTES, timeout: TIMEOUT, redirects, for_author: None, rationed: false }
}

/// `.test` names exist on development networks only.
fn is_for_tests(handle: &Handle) -> bool {
    handle.as_str().ends_with(".test")
}

/// The DID of the one record that starts with `did=`. Several are a contradiction, and resolve to nothing.
fn did_among(records: &[String]) -> Result<Option<Did>, IdentityError> {
    let mut dids = records.iter().filter_map(|record| record.strip_prefix("did="));
    match (dids.next(), dids.next()) {
        (None, _) => Ok(None),
        (Some(did), None) => Did::parse(did).map(Some).map_err(|_| IdentityError::NotFound),
        (Some(_), Some(_)) => Err(IdentityError::NotFound),
    }
}

fn did_in(response: &Response) -> Result<Did, IdentityError> {
    match response.status {
        200..=299 => {
            let text = std::str::from_utf8(&response.body).unwrap_or_default();
            let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
            Did::parse(line).map_err(|_| IdentityError::NotFound)
        }
        status @ 500.. => Err(IdentityError::Status(status)),
        _ => Err(IdentityError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    #[test]
    fn exactly_one_did_record_is_the_answer() {
        let did = Did::parse(DID).unwrap();
        let record = format!("did={DID}");
        type Found = Result<Option<Did>, IdentityError>;
        let cases: [(&[&str], Found); 7] = [
            (&[], Ok(None)),
            (&["v=spf1 -all", "did:plc:x", " did=x"], Ok(None)),
            (&[&record], Ok(Some(did.clone()))),
            (&["v=spf1 -all", &record], Ok(Some(did))),
            (&[&record, "did=did:web:a.com"], Err(IdentityError::NotFound)),
            (&["did="], Err(IdentityError::NotFound)),
            (&["did=did:key:zQ3sh"], Err(IdentityError::NotFound)),
        ];
        for (records, expected) in cases {
            let records: Vec<String> = records.iter().map(|&record| record.to_owned()).collect();
            assert_eq!(did_among(&records), expected, "{records:?}");
        }
    }

    #[test]
    fn the_first_line_of_the_file_is_the_answer() {
        let did = Did::parse(DID).unwrap();
        let read = |status, body: &[u8]| {
            did_in(&Response { status, content_type: None, body: Bytes::copy_from_slice(body) })
        };
        for text in [DID.to_owned(), format!("{DID}\n"), format!("\n {DID} \r\nsecond line")] {
            assert_eq!(read(200, text.as_bytes()), Ok(did.clone()), "{text:?}");
        }
        for (status, body, error) in [
            (200, &b"<!doctype html>"[..], IdentityError::NotFound),
            (200, b"", IdentityError::NotFound),
            (200, b"\xff\xfe", IdentityError::NotFound),
            (404, DID.as_bytes(), IdentityError::NotFound),
            (403, DID.as_bytes(), IdentityError::NotFound),
            (500, DID.as_bytes(), IdentityError::Status(500)),
        ] {
            assert_eq!(read(status, body), Err(error), "{status} {body:?}");
        }
    }
}
