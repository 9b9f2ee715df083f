//! DID documents: what an account says of its key, its host and its name.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Curve, Did, Handle, PublicKey};

/// What this service needs of a DID document.
///
/// Source: <https://atproto.com/specs/did#did-documents>. Foreign entries are passed over; an entry of
/// ours that cannot be used is as if it were absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    /// The DID it was asked for and that it names.
    pub did: Did,
    /// The first `at://` name of `alsoKnownAs`. A claim, until the handle points back.
    pub handle: Option<Handle>,
    /// The first `#atproto` verification method.
    pub signing_key: Option<PublicKey>,
    /// The origin of the `#atproto_pds` service, http or https. A claim of the account's own.
    pub pds: Option<Url>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    id: String,
    #[serde(default)]
    also_known_as: Vec<Value>,
    #[serde(default)]
    verification_method: Vec<Value>,
    #[serde(default)]
    service: Vec<Value>,
}

impl DidDocument {
    /// Reads the document that was served for `did`.
    pub fn parse(did: &Did, json: &[u8]) -> Result<DidDocument, InvalidDocument> {
        let json: Json = serde_json::from_slice(json).map_err(|_| InvalidDocument::Json)?;
        if json.id != did.as_str() {
            return Err(InvalidDocument::WrongId);
        }
        Ok(DidDocument {
            did: did.clone(),
            handle: handle(&json.also_known_as),
            signing_key: signing_key(did, &json.verification_method),
            pds: pds(did, &json.service)?,
        })
    }

    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        let handle = self.handle.as_ref().map_or(0, |handle| handle.as_str().len());
        let pds = self.pds.as_ref().map_or(0, |pds| pds.as_str().len());
        size_of::<DidDocument>() + 256 + self.did.as_str().len() + handle + pds
    }
}

fn handle(also_known_as: &[Value]) -> Option<Handle> {
    let first = also_known_as.iter().filter_map(Value::as_str).find_map(|name| name.strip_prefix("at://"))?;
    Handle::parse(first).ok()
}

fn signing_key(did: &Did, methods: &[Value]) -> Option<PublicKey> {
    let method = methods.iter().find(|method| has_id(did, method, "#atproto"))?;
    let text = method.get("publicKeyMultibase")?.as_str()?;
    let key = match method.get("type")?.as_str()? {
        "Multikey" => PublicKey::from_multikey(text),
        "EcdsaSecp256k1VerificationKey2019" => PublicKey::from_legacy(Curve::K256, text),
        "EcdsaSecp256r1VerificationKey2019" => PublicKey::from_legacy(Curve::P256, text),
        _ => return None,
    };
    key.ok()
}

/// Two services of one id would let two readers see two different hosts, so they are refused.
fn pds(did: &Did, services: &[Value]) -> Result<Option<Url>, InvalidDocument> {
    let mut found = services.iter().filter(|service| has_id(did, service, "#atproto_pds"));
    let Some(service) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(InvalidDocument::DuplicateService);
    }
    let text = |key: &str| service.get(key).and_then(Value::as_str);
    let is_pds = text("type") == Some("AtprotoPersonalDataServer");
    Ok(text("serviceEndpoint").filter(|_| is_pds).and_then(origin))
}

/// Ids may be relative to the document (`#atproto`) or absolute (`did:...#atproto`).
fn has_id(did: &Did, entry: &Value, fragment: &str) -> bool {
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    id.strip_prefix(did.as_str()).unwrap_or(id) == fragment
}

/// A URL of scheme, host and port, and nothing more.
fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "https" | "http") && url.has_host() && bare && anonymous).then_some(url)
}

/// Why bytes are not the DID document that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDocument {
    /// Two `#atproto_pds` services.
    #[error("the DID document has two #atproto_pds services")]
    DuplicateService,
    /// Not JSON, or not of a DID document's shape.
    #[error("the DID document is not valid JSON of its kind")]
    Json,
    /// More bytes than any account's document has.
    #[error("the DID document is too large")]
    TooLarge,
    /// Its `id` is another DID.
    #[error("the DID document is that of another DID")]
    WrongId,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";
    const LEGACY_KEY: &str =
        "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";

    fn did() -> Did {
        Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
    }

    fn parse(mut json: Value) -> Result<DidDocument, InvalidDocument> {
        if json.get("id").is_none() {
            json["id"] = did().as_str().into();
        }
        DidDocument::parse(&did(), json.to_string().as_bytes())
    }

    fn with_method(method: Value) -> Option<PublicKey> {
        parse(json!({"verificationMethod": [method]})).unwrap().signing_key
    }

    fn with_endpoint(endpoint: Value) -> Option<String> {
        let service =
            json!({"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint});
        parse(json!({"service": [service]})).unwrap().pds.map(|url| url.as_str().to_owned())
    }

    #[test]
    fn the_directorys_own_shape_is_read() {
        let document = parse(json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": did().as_str(),
            "alsoKnownAs": ["https://alice.com", "at://Alice.Example.com", "at://second.com"],
            "verificationMethod": [
                {"id": "#other", "type": "Multikey", "publicKeyMultibase": "x"},
                {"id": format!("{}#atproto", did()), "type": "Multikey", "controller": did().as_str(), "publicKeyMultibase": KEY},
            ],
            "service": [
                {"id": "#labeler", "type": "AtprotoLabeler", "serviceEndpoint": "https://labels.com"},
                {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.com"},
            ],
        }))
        .unwrap();
        assert_eq!(document.handle.unwrap().as_str(), "alice.example.com");
        assert_eq!(document.signing_key.unwrap().to_multikey(), KEY);
        assert_eq!(document.pds.unwrap().as_str(), "https://pds.com/");
        assert_eq!(document.did, did());
    }

    #[test]
    fn a_document_without_our_entries_is_valid_and_empty() {
        let foreign = parse(json!({
            "alsoKnownAs": [1, null, "mailto:a@b.c"],
            "verificationMethod": [null, "x", {"id": 1}, {"id": "did:web:other.com#atproto", "type": "Multikey", "publicKeyMultibase": KEY}],
            "service": [{"id": ["#atproto_pds"]}, {"id": "atproto_pds"}, {}],
        }));
        let empty = DidDocument { did: did(), handle: None, signing_key: None, pds: None };
        assert_eq!(foreign, Ok(empty.clone()));
        assert_eq!(parse(json!({})), Ok(empty));
    }

    #[test]
    fn what_is_no_document_of_this_did_is_refused_with_its_reason() {
        let cases: [(&[u8], InvalidDocument); 8] = [
            (b"", InvalidDocument::Json),
            (b"<html>", InvalidDocument::Json),
            (b"{}", InvalidDocument::Json),
            (b"[]", InvalidDocument::Json),
            (b"{\"id\":\"did:plc:ewvi7nxzyoun6zhxrhs64oiz\",\"service\":{}}", InvalidDocument::Json),
            (
                b"{\"id\":\"did:plc:ewvi7nxzyoun6zhxrhs64oiz\",\"id\":\"did:web:a.com\"}",
                InvalidDocument::Json,
            ),
            (b"{\"id\":\"did:web:a.com\"}", InvalidDocument::WrongId),
            (b"{\"id\":\"did:plc:ewvi7nxzyoun6zhxrhs64oiz#atproto\"}", InvalidDocument::WrongId),
        ];
        for (bytes, reason) in cases {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(DidDocument::parse(&did(), bytes), Err(reason), "{text}");
        }
        let deep = "[".repeat(50_000);
        assert_eq!(DidDocument::parse(&did(), deep.as_bytes()), Err(InvalidDocument::Json));
    }

    #[test]
    fn all_three_kinds_of_key_are_read_and_the_first_match_counts() {
        let multikey = with_method(json!({"id": "#atproto", "type": "Multikey", "publicKeyMultibase": KEY}));
        let legacy = json!({"id": "#atproto", "type": "EcdsaSecp256k1VerificationKey2019", "publicKeyMultibase": LEGACY_KEY});
        assert_eq!(with_method(legacy), multikey);
        let secret = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
        let point = secret.verifying_key().to_sec1_point(false);
        let text = multibase::encode(multibase::Base::Base58Btc, point.as_bytes());
        let p256 = json!({"id": "#atproto", "type": "EcdsaSecp256r1VerificationKey2019", "publicKeyMultibase": text});
        assert_eq!(with_method(p256).unwrap().curve(), Curve::P256);

        for (kind, text) in [
            ("Multikey", LEGACY_KEY),
            ("Multikey", "not multibase"),
            ("EcdsaSecp256r1VerificationKey2019", LEGACY_KEY),
            ("Ed25519VerificationKey2020", KEY),
        ] {
            let method = json!({"id": "#atproto", "type": kind, "publicKeyMultibase": text});
            assert_eq!(with_method(method), None, "{kind} {text}");
        }
        let broken_first = json!({"verificationMethod": [
            {"id": "#atproto", "type": "Multikey"},
            {"id": "#atproto", "type": "Multikey", "publicKeyMultibase": KEY},
        ]});
        assert_eq!(parse(broken_first).unwrap().signing_key, None);
    }

    #[test]
    fn an_endpoint_is_a_bare_origin() {
        let read = |text: &str| with_endpoint(text.into());
        assert_eq!(read("https://pds.com/").as_deref(), Some("https://pds.com/"));
        assert_eq!(read("https://PDS.com:8443").as_deref(), Some("https://pds.com:8443/"));
        assert_eq!(read("http://localhost:2583").as_deref(), Some("http://localhost:2583/"));
        for text in [
            "https://pds.com/path",
            "https://pds.com/?q",
            "https://pds.com/#f",
            "https://user@pds.com",
            "ftp://pds.com",
            "did:web:pds.com",
            "pds.com",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(with_endpoint(json!({"uri": "https://pds.com"})), None);
        assert_eq!(with_endpoint(json!(["https://pds.com"])), None);
    }

    #[test]
    fn a_service_of_another_type_is_no_pds_and_two_of_one_id_are_refused() {
        let service =
            |id: &str, kind: &str| json!({"id": id, "type": kind, "serviceEndpoint": "https://pds.com"});
        let other = parse(json!({"service": [service("#atproto_pds", "Other")]})).unwrap();
        assert_eq!(other.pds, None);
        let twice = json!({"service": [
            service("#atproto_pds", "AtprotoPersonalDataServer"),
            service(&format!("{}#atproto_pds", did()), "Other"),
        ]});
        assert_eq!(parse(twice), Err(InvalidDocument::DuplicateService));
    }

    #[test]
    fn only_the_first_at_name_counts_as_the_handle() {
        let read = |names: Value| parse(json!({"alsoKnownAs": names})).unwrap().handle;
        assert_eq!(read(json!(["at://a.com"])).unwrap().as_str(), "a.com");
        assert_eq!(read(json!(["at://not a handle", "at://a.com"])), None);
        assert_eq!(read(json!(["at://a.com/path"])), None);
        assert_eq!(read(json!(["a.com"])), None);
    }
}
