//! Questions to an authorization server: forms, with a proof, in this client's name.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::Serializer;

use super::client::Client;
use super::dpop::Proofs;
use crate::cli::client::{Budget, Http, host_of};
use crate::cli::error::{CliError, Refusal};

/// The way to the endpoints of one authorization server.
pub(super) struct Endpoint<'a> {
    http: &'a Http,
    proofs: &'a Proofs,
    client_id: &'a str,
}

impl<'a> Endpoint<'a> {
    pub(super) fn new(http: &'a Http, proofs: &'a Proofs, client: &'a Client) -> Endpoint<'a> {
        Endpoint::of(http, proofs, &client.id)
    }

    /// In the name of the client that a kept session was made by.
    pub(super) fn of(http: &'a Http, proofs: &'a Proofs, client_id: &'a str) -> Endpoint<'a> {
        Endpoint { http, proofs, client_id }
    }

    /// The client in whose name it asks.
    pub(super) fn client_id(&self) -> &str {
        self.client_id
    }

    /// Posts a form and reads what comes back.
    pub(super) async fn post<O: DeserializeOwned>(
        &self,
        url: &Url,
        fields: &[(&str, &str)],
    ) -> Result<O, CliError> {
        let answer = self.send(url, fields).await?;
        let why = |_| CliError::Unusable { host: host_of(url), why: "no answer of OAuth".to_owned() };
        serde_json::from_slice(answer.body()).map_err(why)
    }

    /// The same where the answer is of no interest.
    pub(super) async fn tell(&self, url: &Url, fields: &[(&str, &str)]) -> Result<(), CliError> {
        self.send(url, fields).await.map(|_| ())
    }

    async fn send(&self, url: &Url, fields: &[(&str, &str)]) -> Result<Response<Vec<u8>>, CliError> {
        let form = Serializer::new(String::new())
            .append_pair("client_id", self.client_id)
            .extend_pairs(fields)
            .finish();
        let request = Request::post(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.into_bytes())
            .map_err(|error| CliError::setting(url.as_str(), error))?;
        let answer = self.proofs.send(self.http, request, None, Budget::TOKEN).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refusal(host_of(url), &answer).into()),
        }
    }
}

/// The error that the server tells (RFC 6749, section 5.2).
fn refusal(host: String, answer: &Response<Vec<u8>>) -> Refusal {
    #[derive(Default, Deserialize)]
    struct Told {
        #[serde(default)]
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let told: Told = serde_json::from_slice(answer.body()).unwrap_or_default();
    Refusal { host, status: answer.status().as_u16(), name: told.error, message: told.error_description }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_as_the_server_named_it() {
        let told = |body: &str| {
            let answer = Response::builder().status(400).body(body.as_bytes().to_vec()).unwrap();
            refusal("as.test".to_owned(), &answer).to_string()
        };
        let body = r#"{"error":"invalid_grant","error_description":"This code has expired"}"#;
        assert_eq!(told(body), "invalid_grant (HTTP 400 from as.test): This code has expired");
        assert_eq!(told("<html>"), "error without a name (HTTP 400 from as.test)");
        assert_eq!(told(r#"{"error":1}"#), "error without a name (HTTP 400 from as.test)");
    }
}
