//! Where an account or service is: handle → DID → DID document → PDS or service endpoint.
//!
//! What is found here is used at the user's own risk and with the user's own rights, so there is no
//! cache and no address filter; that a handle's DID claims it back is checked all the same, because
//! a password may go to the PDS that comes out.

use clap::Args;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use super::Tools;
use super::client::{Http, Xrpc};
use super::error::{CliError, Refusal, Unresolved};
use super::txt;
use crate::identity::{Did, DidDocument, DidMethod, Handle, PublicKey, ServiceRef, web_origin};
use crate::lexicon::Authority;

/// How often `/.well-known/atproto-did` may redirect.
const HANDLE_REDIRECTS: u8 = 3;

/// Where to look.
#[derive(Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// The PDS of your own account, instead of the one that your DID document names; it is also
    /// asked about handles
    #[arg(long, env = "AT_FUNCTIONS_PDS", value_name = "URL", value_parser = origin, hide_env_values = true)]
    pub(super) pds: Option<Url>,
    #[command(flatten)]
    pub(super) plc: PlcArgs,
}

/// Who says where accounts live.
#[derive(Args)]
pub(super) struct PlcArgs {
    /// The PLC directory
    #[arg(
        long,
        env = "AT_FUNCTIONS_PLC_URL",
        value_name = "URL",
        value_parser = origin,
        default_value = "https://plc.directory",
        hide_env_values = true
    )]
    pub(super) plc_url: Url,
}

/// An account, and what proves its records.
pub(super) struct Author {
    pub(super) account: Account,
    /// The `#atproto` key of its DID document, if that has one that can be used.
    pub(super) key: Option<PublicKey>,
}

/// An account and the PDS that holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) did: Did,
    pub(super) pds: Url,
}

/// Parses the URL of a server: http or https, nothing after the host and port.
pub(super) fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "expected a URL such as https://pds.example.com".to_owned())?;
    let bare = matches!(url.path(), "/" | "") && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !bare {
        return Err("expected http:// or https:// and a host, without a path".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials in a URL are not used: leave them out".to_owned());
    }
    Ok(url)
}

/// The endpoint that a DID document names, if it may be trusted with credentials: https, or a
/// service on this very machine.
fn endpoint(text: &str) -> Option<Url> {
    origin(text).ok().filter(may_take_credentials)
}

/// Whether a server may be shown tokens and passwords: on https, or on this very machine.
pub(super) fn may_take_credentials(url: &Url) -> bool {
    let loopback = match url.host() {
        None => false,
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    };
    url.scheme() == "https" || loopback
}

/// The caller's own account: at `--pds` where that is given.
pub(super) async fn own_account(
    tools: &Tools,
    at: &NetworkArgs,
    who: &Authority,
) -> Result<Account, CliError> {
    match &at.pds {
        Some(pds) => Ok(Account { did: did_of(tools, at, who).await?, pds: pds.clone() }),
        None => account(tools, at, who).await,
    }
}

/// Anybody's account, at the PDS that its DID document names.
pub(super) async fn account(tools: &Tools, at: &NetworkArgs, who: &Authority) -> Result<Account, CliError> {
    Ok(author(tools, at, who).await?.account)
}

/// The same, with the key that signs its repo.
pub(super) async fn author(tools: &Tools, at: &NetworkArgs, who: &Authority) -> Result<Author, CliError> {
    let did = did_of(tools, at, who).await?;
    let document = document(&tools.http, at, &did).await?;
    let document = DidDocument::parse(&did, &document).map_err(|_| unresolved(&did, Unresolved::Document))?;
    if let Authority::Handle(handle) = who
        && document.handle.as_ref() != Some(handle)
    {
        let why = Unresolved::HandleMismatch(did.to_string());
        return Err(CliError::Unresolved { name: handle.to_string(), why });
    }
    let pds = document.pds.filter(may_take_credentials).ok_or_else(|| unresolved(&did, Unresolved::Pds))?;
    Ok(Author { account: Account { did, pds }, key: document.signing_key })
}

/// The endpoint of a service.
pub(super) async fn service(tools: &Tools, at: &NetworkArgs, service: &ServiceRef) -> Result<Url, CliError> {
    let document = document(&tools.http, at, &service.did).await?;
    let document: Option<ServiceDocument> = serde_json::from_slice(&document).ok();
    let document = document
        .filter(|document| document.id == service.did.as_str())
        .ok_or_else(|| unresolved(&service.did, Unresolved::Document))?;
    document.service(service.id.as_str()).ok_or_else(|| unresolved(service, Unresolved::Service))
}

fn unresolved(name: &impl ToString, why: Unresolved) -> CliError {
    CliError::Unresolved { name: name.to_string(), why }
}

async fn did_of(tools: &Tools, at: &NetworkArgs, who: &Authority) -> Result<Did, CliError> {
    match (who, &at.pds) {
        (Authority::Did(did), _) => Ok(did.clone()),
        (Authority::Handle(handle), Some(pds)) => did_by_pds(&tools.http, pds, handle).await,
        (Authority::Handle(handle), None) => did_by_network(&tools.http, handle).await,
    }
}

async fn did_by_pds(http: &Http, pds: &Url, handle: &Handle) -> Result<Did, CliError> {
    #[derive(Deserialize)]
    struct Output {
        did: String,
    }
    let pds = Xrpc::anonymous(http, pds);
    let answer: Result<Output, CliError> =
        pds.query("com.atproto.identity.resolveHandle", [("handle", handle.as_str())]).await;
    match answer {
        Ok(Output { did }) => Did::parse(&did).map_err(|_| unresolved(handle, Unresolved::Handle)),
        Err(CliError::Refused(Refusal { status: 400, .. })) => Err(unresolved(handle, Unresolved::Handle)),
        Err(error) => Err(error),
    }
}

/// By DNS and, where DNS says nothing, by the handle's own web server
/// (<https://atproto.com/specs/handle>).
async fn did_by_network(http: &Http, handle: &Handle) -> Result<Did, CliError> {
    if let Some(did) = did_by_dns(handle).await {
        return Ok(did);
    }
    let url = Url::parse(&format!("https://{handle}/.well-known/atproto-did"))
        .map_err(|_| unresolved(handle, Unresolved::Handle))?;
    let answer = http.get_following(&url, HANDLE_REDIRECTS).await;
    let did = answer.ok().filter(|a| a.status() == StatusCode::OK).and_then(|answer| {
        let text = str::from_utf8(answer.body()).ok()?;
        Did::parse(text.lines().next()?.trim()).ok()
    });
    did.ok_or_else(|| unresolved(handle, Unresolved::Handle))
}

/// The one `did=` among the TXT records of `_atproto.HANDLE`; two of them are none.
async fn did_by_dns(handle: &Handle) -> Option<Did> {
    let records = txt::records(None, &format!("_atproto.{handle}")).await.ok()?;
    Did::parse(txt::did(&records)?).ok()
}

/// The DID document of a service, as far as a caller looks into it. Entries of shapes that we do not
/// know are passed over.
#[derive(Deserialize)]
struct ServiceDocument {
    id: String,
    #[serde(default)]
    service: Vec<Value>,
}

impl ServiceDocument {
    /// The endpoint of the first entry with this id.
    fn service(&self, id: &str) -> Option<Url> {
        let full = format!("{}#{id}", self.id);
        let is_it = |entry: &&Value| {
            entry["id"].as_str().is_some_and(|found| found.strip_prefix('#') == Some(id) || found == full)
        };
        endpoint(self.service.iter().find(is_it)?["serviceEndpoint"].as_str()?)
    }
}

/// Where the document of a DID is.
fn document_url(did: &Did, plc: &Url) -> Option<Url> {
    match did.method() {
        DidMethod::Plc => plc.join(&format!("/{did}")).ok(),
        DidMethod::Web { host, port } => {
            Url::parse(&format!("{}/.well-known/did.json", web_origin(host, port))).ok()
        }
    }
}

/// The bytes that are served as the document of a DID.
async fn document(http: &Http, at: &NetworkArgs, did: &Did) -> Result<Vec<u8>, CliError> {
    let url = document_url(did, &at.plc.plc_url).ok_or_else(|| unresolved(did, Unresolved::Did))?;
    let answer = http.get(&url, "application/did+ld+json, application/json").await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(unresolved(did, Unresolved::Did)),
        status => {
            let refusal = Refusal {
                host: super::client::host_of(&url),
                status: status.as_u16(),
                name: String::new(),
                message: String::new(),
            };
            return Err(refusal.into());
        }
    }
    Ok(answer.into_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_bare_origin() {
        for text in ["https://pds.example.com", "http://localhost:2583/", "http://pds:3000"] {
            assert!(origin(text).is_ok(), "{text}");
        }
        for text in [
            "pds.example.com",
            "",
            "ftp://a.com",
            "https://a.com/xrpc",
            "https://a.com/?q",
            "https://u:p@a.com",
            "https://a.com#x",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_in_a_document_is_https_or_on_this_machine() {
        for text in ["https://a.com", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert!(endpoint(text).is_some(), "{text}");
        }
        for text in ["http://a.com", "http://localhost.a.com", "http://10.0.0.1", "https://a.com/path", "x"] {
            assert!(endpoint(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_document_is_read_as_a_pds_reads_it() {
        let document: ServiceDocument = serde_json::from_str(
            r##"{"id": "did:web:a.com",
                "service": ["x", {"id": "#a", "serviceEndpoint": {"not": "text"}},
                    {"id": "#b", "serviceEndpoint": "https://first.com"},
                    {"id": "#b", "serviceEndpoint": "https://second.com"},
                    {"id": "did:web:a.com#c", "serviceEndpoint": "https://c.com"},
                    {"id": "did:web:other.com#d", "serviceEndpoint": "https://d.com"},
                    {"id": "e", "serviceEndpoint": "https://e.com"}]}"##,
        )
        .unwrap();
        let found = |id| document.service(id).map(|url| url.to_string());
        assert_eq!(found("a"), None);
        assert_eq!(found("b").as_deref(), Some("https://first.com/"));
        assert_eq!(found("c").as_deref(), Some("https://c.com/"));
        assert_eq!(found("d"), None);
        assert_eq!(found("e"), None);
    }

    #[test]
    fn a_document_is_where_its_method_says() {
        let plc = Url::parse("http://localhost:2582").unwrap();
        let cases = [
            ("did:plc:ewvi7nxzyoun6zhxrhs64oiz", "http://localhost:2582/did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
            ("did:web:a.com", "https://a.com/.well-known/did.json"),
            ("did:web:localhost%3A3999", "http://localhost:3999/.well-known/did.json"),
        ];
        for (did, url) in cases {
            assert_eq!(document_url(&Did::parse(did).unwrap(), &plc).unwrap().as_str(), url);
        }
    }
}
