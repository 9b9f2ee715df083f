//! The authorization server of a PDS: found by what the PDS says, and judged by what the server says of itself.
//!
//! The rules are those of <https://atproto.com/specs/oauth#authorization-servers>. A server that breaks one is not asked
//! for anything: each is there because of an attack that it stops.

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::cli::client::{Http, host_of};
use crate::cli::error::CliError;
use crate::cli::locate::{may_take_credentials, origin};

/// An authorization server that may be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// An origin: its name.
    pub(super) issuer: Url,
    pub(super) authorization: Url,
    pub(super) pushed: Url,
    pub(super) token: Url,
    pub(super) revocation: Option<Url>,
}

/// What a PDS says of itself (RFC 9728).
#[derive(Deserialize)]
struct Resource {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
}

/// What a server says of itself (RFC 8414).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    pushed_authorization_request_endpoint: String,
    #[serde(default)]
    revocation_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    response_types_supported: Vec<String>,
    #[serde(default)]
    grant_types_supported: Vec<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    require_pushed_authorization_requests: bool,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
}

impl Server {
    /// The one that a PDS names.
    pub(super) async fn of_pds(http: &Http, pds: &Url) -> Result<Server, CliError> {
        Server::at(http, &Server::named_by(http, pds).await?).await
    }

    /// The issuer that a PDS names.
    pub(super) async fn named_by(http: &Http, pds: &Url) -> Result<Url, CliError> {
        let (url, unusable) = well_known(pds, "oauth-protected-resource")?;
        // What comes from there could be anybody's, and so would be the server that is shown the tokens.
        if !may_take_credentials(pds) {
            return Err(unusable("a login in the browser needs a PDS on https"));
        }
        let Some(resource) = document::<Resource>(http, &url).await? else {
            return Err(unusable("it offers no OAuth: `at-functions login --app-password` logs in without"));
        };
        issuer_of(pds, &resource).map_err(unusable)
    }

    /// The server of this name.
    pub(super) async fn at(http: &Http, issuer: &Url) -> Result<Server, CliError> {
        let (url, unusable) = well_known(issuer, "oauth-authorization-server")?;
        let Some(metadata) = document::<Metadata>(http, &url).await? else {
            return Err(unusable("your PDS names it for logins, and it is no authorization server"));
        };
        judged(issuer, &metadata).map_err(unusable)
    }

    /// Its name as the protocol spells it: an origin without a slash at its end.
    pub(super) fn name(&self) -> String {
        self.issuer.origin().ascii_serialization()
    }
}

type ToError = Box<dyn Fn(&'static str) -> CliError + Send + Sync>;

/// A document of a server, and how to tell that it cannot be used.
fn well_known(server: &Url, name: &str) -> Result<(Url, ToError), CliError> {
    let host = host_of(server);
    let url =
        server.join(&format!("/.well-known/{name}")).map_err(|error| CliError::setting(&host, error))?;
    Ok((url, Box::new(move |why| CliError::Unusable { host: host.clone(), why: why.to_owned() })))
}

/// `None` where the server has no such document.
async fn document<D: DeserializeOwned>(http: &Http, url: &Url) -> Result<Option<D>, CliError> {
    // Without following redirects, which the specification forbids too.
    let answer = http.get(url, "application/json").await?;
    let host = host_of(url);
    match answer.status() {
        StatusCode::OK => {
            let why = format!("{}: not what the specification has there", url.path());
            serde_json::from_slice(answer.body()).map(Some).map_err(|_| CliError::Unusable { host, why })
        }
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(CliError::Unusable { host, why: format!("{}: HTTP {}", url.path(), status.as_u16()) }),
    }
}

fn issuer_of(pds: &Url, resource: &Resource) -> Result<Url, &'static str> {
    if origin(&resource.resource).ok().as_ref().map(Url::origin) != Some(pds.origin()) {
        return Err("what it says of itself is about another server");
    }
    let [name] = resource.authorization_servers.as_slice() else {
        return Err("it does not name one authorization server, but none or several");
    };
    let issuer = issuer(name)?;
    match pds.scheme() == "https" && issuer.scheme() != "https" {
        true => Err("it names an authorization server that is not on https"),
        false => Ok(issuer),
    }
}

/// An origin in the one spelling that it has, on https; on plain http only on this very machine, as in tests.
fn issuer(name: &str) -> Result<Url, &'static str> {
    let bad = "the name of its authorization server is not an origin such as https://as.example.com";
    let url = origin(name).map_err(|_| bad)?;
    match url.origin().ascii_serialization() == name {
        false => Err(bad),
        true if !may_take_credentials(&url) => Err("its authorization server is not on https"),
        true => Ok(url),
    }
}

fn judged(issuer: &Url, metadata: &Metadata) -> Result<Server, &'static str> {
    // RFC 8414, section 3.3: else one server could pass itself off as another.
    if metadata.issuer != issuer.origin().ascii_serialization() {
        return Err("its metadata are those of another authorization server");
    }
    let has = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted);
    let rules = [
        (
            has(&metadata.scopes_supported, "atproto"),
            "it is no authorization server of AT Protocol (scope atproto)",
        ),
        (has(&metadata.response_types_supported, "code"), "it gives no codes (response type code)"),
        (
            has(&metadata.grant_types_supported, "authorization_code"),
            "it takes no codes (grant authorization_code)",
        ),
        (
            has(&metadata.grant_types_supported, "refresh_token"),
            "it refreshes no tokens (grant refresh_token)",
        ),
        (has(&metadata.code_challenge_methods_supported, "S256"), "it does not protect codes (PKCE, S256)"),
        (
            has(&metadata.token_endpoint_auth_methods_supported, "none"),
            "it takes no programs that people run themselves (auth method none)",
        ),
        (
            has(&metadata.dpop_signing_alg_values_supported, "ES256"),
            "it does not bind tokens to keys (DPoP, ES256)",
        ),
        (
            metadata.authorization_response_iss_parameter_supported,
            "its answers do not say whose they are (RFC 9207)",
        ),
        (metadata.require_pushed_authorization_requests, "it does not insist on pushed requests (RFC 9126)"),
        (
            metadata.client_id_metadata_document_supported,
            "it takes only programs that registered with it (client id metadata documents)",
        ),
    ];
    if let Some((_, broken)) = rules.iter().find(|(is_kept, _)| !is_kept) {
        return Err(broken);
    }
    let endpoint = |text: &str| endpoint(issuer, text).ok_or("one of its endpoints is not on https");
    Ok(Server {
        issuer: issuer.clone(),
        authorization: endpoint(&metadata.authorization_endpoint)?,
        pushed: endpoint(&metadata.pushed_authorization_request_endpoint)?,
        token: endpoint(&metadata.token_endpoint)?,
        revocation: metadata.revocation_endpoint.as_deref().map(endpoint).transpose()?,
    })
}

/// Where codes and tokens may go: https; on this very machine plain http too, for a server that is there itself.
fn endpoint(issuer: &Url, text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_safe = match url.scheme() {
        "https" => true,
        "http" => issuer.scheme() == "http" && may_take_credentials(&url),
        _ => false,
    };
    (is_bare && is_safe && url.has_host()).then_some(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn named(pds: &str, resource: &str, servers: &[&str]) -> Result<String, &'static str> {
        let json = json!({"resource": resource, "authorization_servers": servers});
        issuer_of(&url(pds), &serde_json::from_value(json).unwrap()).map(|url| url.to_string())
    }

    /// What the reference PDS says, as far as it is looked at.
    fn metadata() -> Value {
        json!({
            "issuer": "https://as.example.com",
            "scopes_supported": ["atproto", "transition:generic"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "dpop_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": true,
            "require_pushed_authorization_requests": true,
            "client_id_metadata_document_supported": true,
            "authorization_endpoint": "https://as.example.com/oauth/authorize",
            "token_endpoint": "https://as.example.com/oauth/token",
            "pushed_authorization_request_endpoint": "https://as.example.com/oauth/par",
            "revocation_endpoint": "https://as.example.com/oauth/revoke",
        })
    }

    fn server(issuer: &str, metadata: &Value) -> Result<Server, &'static str> {
        judged(&url(issuer), &serde_json::from_value(metadata.clone()).unwrap())
    }

    #[test]
    fn a_pds_names_one_server_that_may_be_trusted() {
        let https = "https://pds.example.com";
        assert_eq!(named(https, https, &["https://as.example.com"]).unwrap(), "https://as.example.com/");
        // Of one machine, as in tests.
        let local = "http://localhost:2583";
        assert_eq!(named(local, local, &[local]).unwrap(), "http://localhost:2583/");
        let (one, two) = ("https://as.example.com", "https://b.example.com");
        let bad = "the name of its authorization server is not an origin such as https://as.example.com";
        for (pds, resource, servers, why) in [
            (
                https,
                "https://other.example.com",
                &[one][..],
                "what it says of itself is about another server",
            ),
            (https, "https://pds.example.com/path", &[one], "what it says of itself is about another server"),
            (https, "nonsense", &[one], "what it says of itself is about another server"),
            (https, https, &[], "it does not name one authorization server, but none or several"),
            (https, https, &[one, two], "it does not name one authorization server, but none or several"),
            (https, https, &["http://as.example.com"], "its authorization server is not on https"),
            (https, https, &["http://localhost:1"], "it names an authorization server that is not on https"),
            (https, https, &["http://127.0.0.1:1"], "it names an authorization server that is not on https"),
            (local, local, &["http://10.0.0.1"], "its authorization server is not on https"),
            (https, https, &["https://as.example.com/"], bad),
            (https, https, &["https://as.example.com/path"], bad),
            (https, https, &["https://AS.example.com"], bad),
            (https, https, &["https://as.example.com:443"], bad),
            (https, https, &["https://u:p@as.example.com"], bad),
            (https, https, &["https://as.example.com?x"], bad),
            (https, https, &["as.example.com"], bad),
        ] {
            assert_eq!(named(pds, resource, servers), Err(why), "{pds} {resource} {servers:?}");
        }
    }

    #[test]
    fn a_server_that_keeps_every_rule_is_taken() {
        let server = server("https://as.example.com", &metadata()).unwrap();
        assert_eq!(server.name(), "https://as.example.com");
        assert_eq!(server.token.as_str(), "https://as.example.com/oauth/token");
        assert_eq!(server.revocation.unwrap().as_str(), "https://as.example.com/oauth/revoke");
    }

    #[test]
    fn a_server_that_breaks_a_rule_is_refused_with_the_rule() {
        for (key, value, why) in [
            (
                "issuer",
                json!("https://evil.example.com"),
                "its metadata are those of another authorization server",
            ),
            (
                "issuer",
                json!("https://as.example.com/"),
                "its metadata are those of another authorization server",
            ),
            (
                "scopes_supported",
                json!(["openid"]),
                "it is no authorization server of AT Protocol (scope atproto)",
            ),
            ("response_types_supported", json!(["token"]), "it gives no codes (response type code)"),
            (
                "grant_types_supported",
                json!(["refresh_token"]),
                "it takes no codes (grant authorization_code)",
            ),
            (
                "grant_types_supported",
                json!(["authorization_code"]),
                "it refreshes no tokens (grant refresh_token)",
            ),
            ("code_challenge_methods_supported", json!(["plain"]), "it does not protect codes (PKCE, S256)"),
            (
                "token_endpoint_auth_methods_supported",
                json!(["private_key_jwt"]),
                "it takes no programs that people run themselves (auth method none)",
            ),
            (
                "dpop_signing_alg_values_supported",
                json!(["RS256"]),
                "it does not bind tokens to keys (DPoP, ES256)",
            ),
            (
                "authorization_response_iss_parameter_supported",
                json!(false),
                "its answers do not say whose they are (RFC 9207)",
            ),
            (
                "require_pushed_authorization_requests",
                json!(false),
                "it does not insist on pushed requests (RFC 9126)",
            ),
            (
                "client_id_metadata_document_supported",
                json!(false),
                "it takes only programs that registered with it (client id metadata documents)",
            ),
        ] {
            let mut broken = metadata();
            broken[key] = value.clone();
            assert_eq!(server("https://as.example.com", &broken), Err(why), "{key}: {value}");
            if key != "issuer" {
                broken.as_object_mut().unwrap().remove(key);
                assert!(server("https://as.example.com", &broken).is_err(), "without {key}");
            }
        }
    }

    #[test]
    fn codes_and_tokens_go_to_https_or_stay_on_this_machine() {
        let endpoints = [
            "authorization_endpoint",
            "token_endpoint",
            "pushed_authorization_request_endpoint",
            "revocation_endpoint",
        ];
        for key in endpoints {
            for text in [
                "http://as.example.com/x",
                "http://localhost:1/x",
                "ftp://as.example.com/x",
                "https://u:p@as.example.com/x",
                "https://as.example.com/x#y",
                "/x",
                "javascript:alert(1)",
            ] {
                let mut broken = metadata();
                broken[key] = text.into();
                let why = server("https://as.example.com", &broken);
                assert_eq!(why, Err("one of its endpoints is not on https"), "{key} {text}");
            }
        }
        let text = metadata().to_string().replace("https://as.example.com", "http://localhost:2583");
        let local: Value = serde_json::from_str(&text).unwrap();
        assert!(server("http://localhost:2583", &local).is_ok());
        let mut leaves = local;
        leaves["token_endpoint"] = "http://10.0.0.1/x".into();
        assert!(server("http://localhost:2583", &leaves).is_err());
    }
}
