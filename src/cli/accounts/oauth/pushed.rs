//! What is asked for, told to the server beforehand (RFC 9126): the link that the person opens holds nothing to be changed.

use serde::Deserialize;
use url::Url;

use super::client::SCOPE;
use super::endpoint::Endpoint;
use super::pkce::Pkce;
use super::server::Server;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::lexicon::Authority;

/// Browsers and what opens them take a few thousand bytes; the reference PDS's page has some hundred.
const MAX_PAGE_BYTES: usize = 4 * 1024;

/// One login.
pub(super) struct Asked<'a> {
    pub(super) redirect_uri: &'a str,
    pub(super) state: &'a str,
    pub(super) pkce: &'a Pkce,
    /// Whose account; the person may still choose another one there.
    pub(super) who: &'a Authority,
}

#[derive(Deserialize)]
struct Pushed {
    request_uri: String,
}

/// Tells the server, and gives the page on which the person says yes or no.
pub(super) async fn push(
    endpoint: &Endpoint<'_>,
    server: &Server,
    asked: &Asked<'_>,
) -> Result<Url, CliError> {
    let who = asked.who.to_string();
    let fields = [
        ("response_type", "code"),
        ("redirect_uri", asked.redirect_uri),
        ("scope", SCOPE),
        ("state", asked.state),
        ("code_challenge", &asked.pkce.challenge),
        ("code_challenge_method", "S256"),
        ("login_hint", &who),
    ];
    let Pushed { request_uri } = endpoint.post(&server.pushed, &fields).await?;
    page(&server.authorization, endpoint.client_id(), &request_uri)
        .map_err(|why| CliError::Unusable { host: host_of(&server.pushed), why: why.to_owned() })
}

fn page(authorization: &Url, client_id: &str, request_uri: &str) -> Result<Url, &'static str> {
    if request_uri.is_empty() {
        return Err("it took the request and gave it no name");
    }
    let mut page = authorization.clone();
    page.query_pairs_mut().append_pair("client_id", client_id).append_pair("request_uri", request_uri);
    match page.as_str().len() > MAX_PAGE_BYTES {
        true => Err("the address of its page is longer than 4 KiB"),
        false => Ok(page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_request_and_nothing_of_it() {
        let server = Url::parse("https://as.example.com/oauth/authorize?theme=dark").unwrap();
        let page = page(&server, "http://localhost?scope=atproto", "urn:ietf:params:oauth:request_uri:req-1");
        let page = page.unwrap();
        assert_eq!(
            page.as_str(),
            "https://as.example.com/oauth/authorize?theme=dark&client_id=http%3A%2F%2Flocalhost%3Fscope%3Datproto\
             &request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3Areq-1"
        );
    }

    #[test]
    fn a_page_that_browsers_may_not_open_is_refused() {
        let server = Url::parse("https://as.example.com/a").unwrap();
        let rest = page(&server, "c", "x").unwrap().as_str().len() - 1;
        assert!(page(&server, "c", &"x".repeat(MAX_PAGE_BYTES - rest)).is_ok());
        let why = page(&server, "c", &"x".repeat(MAX_PAGE_BYTES - rest + 1));
        assert_eq!(why, Err("the address of its page is longer than 4 KiB"));
        assert_eq!(page(&server, "c", ""), Err("it took the request and gave it no name"));
    }
}
