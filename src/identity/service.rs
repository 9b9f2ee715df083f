//! The service's own identity: its host name, its `did:web`, its service id, and the DID document
//! by which PDSes find it.
//!
//! Sources: <https://atproto.com/specs/did> (host-only `did:web`, a port for `localhost` alone),
//! <https://atproto.com/specs/xrpc> "Service Proxying" (`atproto-proxy: DID#id`).

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use super::did::{Did, DidMethod, InvalidDid};
use super::key::PublicKey;

/// The `type` of our entry in the document. A PDS looks entries up by id alone; people read this.
pub const SERVICE_TYPE: &str = "AtFunctionsService";

/// The longest service id that is taken; it travels in every `atproto-proxy` header and OAuth scope.
const MAX_SERVICE_ID_BYTES: usize = 64;

/// The name under which the service is reached: a domain name on port 443, or `localhost` with any
/// port for development.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(Did);

impl Hostname {
    /// Parses `functions.example.com` or `localhost:3000`, folding to lower case.
    pub fn parse(text: &str) -> Result<Hostname, InvalidService> {
        let lower = text.to_ascii_lowercase();
        if lower.contains("://") || lower.contains('/') {
            return Err(InvalidService::HostIsUrl);
        }
        if let Some((host, port)) = lower.split_once(':') {
            if host != "localhost" {
                return Err(InvalidService::HostHasPort);
            }
            return Ok(Hostname(Did::parse(&format!("did:web:localhost%3A{port}"))?));
        }
        // A per cent sign would let the DID's own spelling of a port in.
        if lower.contains('%') {
            return Err(InvalidService::Did(InvalidDid::Web));
        }
        Ok(Hostname(Did::parse(&format!("did:web:{lower}"))?))
    }

    /// The service's DID.
    pub fn did(&self) -> &Did {
        &self.0
    }

    /// Where the service answers: `https://HOST`, or `http://localhost:PORT`.
    pub fn origin(&self) -> String {
        match self.0.method() {
            DidMethod::Web { host, port } => web_origin(host, port),
            // `parse` makes nothing but did:web.
            DidMethod::Plc => String::new(),
        }
    }
}

/// The origin whose `/.well-known/did.json` is the document of a `did:web`: plain http for
/// `localhost` alone.
pub fn web_origin(host: &str, port: Option<u16>) -> String {
    match (host, port) {
        ("localhost", Some(port)) => format!("http://localhost:{port}"),
        ("localhost", None) => "http://localhost".to_owned(),
        _ => format!("https://{host}"),
    }
}

/// The fragment that names our entry among the services of a DID document, without its `#`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceId(Arc<str>);

impl ServiceId {
    /// Parses 1 to 64 characters of `A-Z a-z 0-9 _ -`: what needs no escaping in headers and scopes.
    pub fn parse(text: &str) -> Result<ServiceId, InvalidService> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let fits = (1..=MAX_SERVICE_ID_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(ServiceId(text.into())) } else { Err(InvalidService::Id) }
    }

    /// The id as it is written, without `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ServiceId {
    /// `at_functions`.
    fn default() -> ServiceId {
        ServiceId("at_functions".into())
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `DID#id`: one service, as the `atproto-proxy` header and a token's `aud` name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceRef {
    /// Whose document lists the service.
    pub did: Did,
    /// Which entry of it.
    pub id: ServiceId,
}

impl ServiceRef {
    /// Parses `DID#id`, or a bare DID for `DID#at_functions`.
    pub fn parse(text: &str) -> Result<ServiceRef, InvalidService> {
        match text.split_once('#') {
            Some((did, id)) => Ok(ServiceRef { did: Did::parse(did)?, id: ServiceId::parse(id)? }),
            None => Ok(ServiceRef { did: Did::parse(text)?, id: ServiceId::default() }),
        }
    }
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.did, self.id)
    }
}

/// The document to serve at `/.well-known/did.json`. Of `endpoint` only the origin is stated: a PDS
/// fails on an endpoint with a path.
pub fn service_document(did: &Did, service_id: &ServiceId, endpoint: &Url, key: &PublicKey) -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": [{
            "id": format!("{did}#atproto"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key.to_multikey(),
        }],
        "service": [{
            "id": format!("#{service_id}"),
            "type": SERVICE_TYPE,
            "serviceEndpoint": endpoint.origin().ascii_serialization(),
        }],
    })
}

/// Why a text names no service of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidService {
    /// The DID, or the DID that the host name makes, is none.
    #[error(transparent)]
    Did(#[from] InvalidDid),
    /// A port after a name other than `localhost`.
    #[error("a did:web has no port (except localhost:PORT): serve it on 443, behind a front if need be")]
    HostHasPort,
    /// A URL where a host name was asked for.
    #[error("expected a host name such as functions.example.com, not a URL")]
    HostIsUrl,
    /// Characters or a length that no service id has.
    #[error("a service id has 1 to {MAX_SERVICE_ID_BYTES} characters of A-Z a-z 0-9 _ -")]
    Id,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SigningKey;

    #[test]
    fn a_host_name_makes_a_did_and_an_origin() {
        let cases = [
            ("functions.example.com", "did:web:functions.example.com", "https://functions.example.com"),
            ("Functions.Example.COM", "did:web:functions.example.com", "https://functions.example.com"),
            ("localhost:3000", "did:web:localhost%3A3000", "http://localhost:3000"),
            ("localhost", "did:web:localhost", "http://localhost"),
        ];
        for (text, did, origin) in cases {
            let host = Hostname::parse(text).unwrap();
            assert_eq!(host.did().as_str(), did, "{text}");
            assert_eq!(host.origin(), origin, "{text}");
        }
    }

    #[test]
    fn a_host_name_that_makes_no_did_web_is_refused() {
        let cases = [
            ("", InvalidService::Did(InvalidDid::Web)),
            ("https://fn.example.com", InvalidService::HostIsUrl),
            ("fn.example.com/", InvalidService::HostIsUrl),
            ("fn.example.com:8443", InvalidService::HostHasPort),
            ("127.0.0.1", InvalidService::Did(InvalidDid::Web)),
            ("127.0.0.1:3000", InvalidService::HostHasPort),
            ("[::1]:3000", InvalidService::HostHasPort),
            ("localhost%3a3000", InvalidService::Did(InvalidDid::Web)),
            ("localhost:0x50", InvalidService::Did(InvalidDid::Web)),
            ("localhost:", InvalidService::Did(InvalidDid::Web)),
            ("localhost:1:2", InvalidService::Did(InvalidDid::Web)),
            ("example", InvalidService::Did(InvalidDid::Web)),
        ];
        for (text, reason) in cases {
            assert_eq!(Hostname::parse(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_service_is_named_with_or_without_its_id() {
        let cases = [
            ("did:web:fn.example.com", "did:web:fn.example.com#at_functions"),
            ("did:web:fn.example.com#other", "did:web:fn.example.com#other"),
            ("did:web:localhost%3A3000#at_functions", "did:web:localhost%3A3000#at_functions"),
        ];
        for (text, full) in cases {
            assert_eq!(ServiceRef::parse(text).unwrap().to_string(), full);
        }
        let refused = [
            ("fn.example.com", InvalidService::Did(InvalidDid::NotADid)),
            ("did:web:fn.example.com#", InvalidService::Id),
            ("did:web:fn.example.com#a#b", InvalidService::Id),
            ("did:web:fn.example.com#a b", InvalidService::Id),
            ("did:web:fn.example.com#a\r\nx: y", InvalidService::Id),
        ];
        for (text, reason) in refused {
            assert_eq!(ServiceRef::parse(text), Err(reason), "{text}");
        }
        assert_eq!(ServiceId::parse(&"a".repeat(65)), Err(InvalidService::Id));
    }

    #[test]
    fn the_document_is_exactly_what_a_pds_reads() {
        let host = Hostname::parse("fn.example.com").unwrap();
        let key = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        let endpoint = Url::parse("https://fn.example.com/some/path?query").unwrap();
        assert_eq!(
            service_document(host.did(), &ServiceId::default(), &endpoint, &key),
            json!({
                "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
                "id": "did:web:fn.example.com",
                "verificationMethod": [{
                    "id": "did:web:fn.example.com#atproto",
                    "type": "Multikey",
                    "controller": "did:web:fn.example.com",
                    "publicKeyMultibase": key.to_multikey(),
                }],
                "service": [{
                    "id": "#at_functions",
                    "type": "AtFunctionsService",
                    "serviceEndpoint": "https://fn.example.com",
                }],
            })
        );
    }

    #[test]
    fn the_endpoint_keeps_its_port_for_development() {
        let host = Hostname::parse("localhost:3000").unwrap();
        let key = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        let document = service_document(
            host.did(),
            &ServiceId::parse("other").unwrap(),
            &Url::parse(&host.origin()).unwrap(),
            &key,
        );
        assert_eq!(document["service"][0]["serviceEndpoint"], "http://localhost:3000");
        assert_eq!(document["service"][0]["id"], "#other");
    }
}
