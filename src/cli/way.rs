//! The ways to a method of a service: through the caller's PDS, directly, or without saying who calls.
//!
//! In: what somebody chose, and what their PDS says. Out: where a request goes and what it shows there. Never: a session's
//! credential to anything but the account's PDS.

use atrium_api::com::atproto::server::get_service_auth::{
    NSID as GET_SERVICE_AUTH, OutputData as ServiceAuth, ParametersData as ServiceAuthParameters,
};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, request};
use url::Url;

use super::Tools;
use super::client::Budget;
use super::credential::Credential;
use super::error::CliError;
use super::locate::{self, NetworkArgs};
use super::session::{LoginArgs, Session};
use crate::clock::Clock;
use crate::identity::ServiceRef;
use crate::lexicon::AtUri;

/// The method that tells the limits in force.
pub(super) const DESCRIBE: &str = "at.functions.describe";
/// Life of a token for one direct call, in seconds: enough for slow clocks, useless to a thief.
const TOKEN_LIFE: u64 = 60;

/// How somebody wants a method of a service to be asked, and as whom.
pub(super) struct Choice<'a> {
    pub(super) method: &'static str,
    /// Another method that is asked too.
    pub(super) also: Option<&'static str>,
    pub(super) direct: bool,
    pub(super) anonymous: bool,
    pub(super) login: &'a LoginArgs,
    pub(super) network: &'a NetworkArgs,
}

/// Where the call goes first, and what it shows there.
pub(super) struct Way {
    pub(super) server: Url,
    credential: Option<Credential>,
    /// For the other method, where a credential is good for one alone.
    also: Option<Credential>,
    /// For a PDS: whom to hand the call to.
    proxy: Option<String>,
}

/// The way to a service that was chosen.
pub(super) async fn to(tools: &Tools, args: &Choice<'_>, service: &ServiceRef) -> Result<Way, CliError> {
    if args.anonymous {
        let server = locate::service(tools, args.network, service).await?;
        return Ok(Way { server, credential: None, also: None, proxy: None });
    }
    if args.login.is_nobody(tools)? {
        let why = "log in with `at-functions login`, or set AT_FUNCTIONS_HANDLE; or call with --anonymous, where the service takes that";
        return Err(CliError::setting("account", why));
    }
    if !args.direct {
        let session = Session::open(tools, args.login, args.network).await?;
        return Ok(Way {
            server: session.pds().clone(),
            credential: Some(session.into_credential()),
            also: None,
            proxy: Some(service.to_string()),
        });
    }
    // Located first: a login is wasted on a service that is not there.
    let server = locate::service(tools, args.network, service).await?;
    let session = Session::open(tools, args.login, args.network).await?;
    let token = async |method: Option<&str>| match method {
        Some(method) => {
            service_token(tools, &session, service, method).await.map(Credential::Bearer).map(Some)
        }
        None => Ok(None),
    };
    let (credential, also) = tokio::try_join!(token(Some(args.method)), token(args.also))?;
    Ok(Way { server, credential, also, proxy: None })
}

/// A token that is good for one method of this service, for a minute.
async fn service_token(
    tools: &Tools,
    session: &Session,
    service: &ServiceRef,
    method: &str,
) -> Result<String, CliError> {
    let lxm = atrium_api::types::string::Nsid::new(method.to_owned())
        .map_err(|error| CliError::setting(method, error))?;
    let parameters =
        ServiceAuthParameters { aud: service.to_string(), exp: Some(expiry(&tools.clock)), lxm: Some(lxm) };
    let ServiceAuth { token } = session.xrpc(&tools.http).query(GET_SERVICE_AUTH, parameters).await?;
    Ok(token)
}

fn expiry(clock: &Clock) -> i64 {
    i64::try_from(clock.unix_seconds().saturating_add(TOKEN_LIFE)).unwrap_or(i64::MAX)
}

impl Way {
    /// A call of a procedure, but for the credential.
    pub(super) fn procedure(&self, method: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, CliError> {
        let url = format!("{}/xrpc/{method}", self.server.origin().ascii_serialization());
        self.request(Request::post(url).header(CONTENT_TYPE, "application/json"), body)
    }

    /// A question for what a service says of a function.
    pub(super) fn description(&self, function: &AtUri) -> Result<Request<Vec<u8>>, CliError> {
        let mut url = self.server.clone();
        url.set_path(&format!("/xrpc/{DESCRIBE}"));
        url.query_pairs_mut().clear().append_pair("function", &function.to_string());
        self.request(Request::get(url.as_str()), Vec::new())
    }

    fn request(&self, request: request::Builder, body: Vec<u8>) -> Result<Request<Vec<u8>>, CliError> {
        let request = request.header(ACCEPT, "application/json");
        let request = match &self.proxy {
            Some(proxy) => request.header("atproto-proxy", proxy),
            None => request,
        };
        request.body(body).map_err(|error| CliError::setting("--service", error))
    }

    /// Sends a request with the credential of this way.
    pub(super) async fn send(
        &self,
        tools: &Tools,
        request: Request<Vec<u8>>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        send(tools, self.credential.as_ref(), request, budget).await
    }

    /// The same for the other method.
    pub(super) async fn send_also(
        &self,
        tools: &Tools,
        request: Request<Vec<u8>>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        send(tools, self.also.as_ref().or(self.credential.as_ref()), request, budget).await
    }
}

async fn send(
    tools: &Tools,
    credential: Option<&Credential>,
    request: Request<Vec<u8>>,
    budget: Budget,
) -> Result<Response<Vec<u8>>, CliError> {
    match credential {
        Some(credential) => credential.send(&tools.http, request, budget).await,
        None => tools.http.exchange(request, budget).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_carries_what_it_should_and_nothing_more() {
        let server = Url::parse("https://pds.example.com").unwrap();
        let proxied = Way {
            server: server.clone(),
            also: None,
            credential: Some(Credential::Bearer("secret".to_owned())),
            proxy: Some("did:web:a.com#at_functions".to_owned()),
        };
        let sent = proxied.procedure("at.functions.run", b"{}".to_vec()).unwrap();
        assert_eq!(sent.uri(), "https://pds.example.com/xrpc/at.functions.run");
        assert_eq!(sent.headers()["atproto-proxy"], "did:web:a.com#at_functions");
        assert_eq!(sent.headers()["content-type"], "application/json");
        let anonymous = Way { server, credential: None, also: None, proxy: None };
        let anonymous = anonymous.procedure("at.functions.run", Vec::new()).unwrap();
        assert!(!anonymous.headers().contains_key("authorization"));
        assert!(!anonymous.headers().contains_key("atproto-proxy"));
    }

    #[test]
    fn a_token_lives_a_minute() {
        assert_eq!(expiry(&Clock::manual(1_000)), 1_060);
    }
}
