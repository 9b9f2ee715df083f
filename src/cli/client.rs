//! How the commands reach the network: one HTTP client, bounded in bytes and time, and XRPC calls
//! to a PDS on top of it, with atrium's request types.
//!
//! Redirects are not followed: an XRPC server has none, and credentials must not travel along one.

use std::time::Duration;

use atrium_api::xrpc::error::{Error as AtriumError, ErrorResponseBody, XrpcErrorKind};
use atrium_api::xrpc::{HttpClient, InputDataOrBytes, OutputDataOrBytes, XrpcClient, XrpcRequest};
use http::header::{ACCEPT, LOCATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use url::Url;

use super::credential::Credential;
use super::error::{CliError, Refusal, Unreachable};
use super::output::printable;
use super::progress::upload_body;

/// What one exchange may cost.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// Bytes of the answer's body, after decompression.
    pub(super) bytes: usize,
    /// From the connection to the last byte.
    pub(super) time: Duration,
}

impl Budget {
    /// DID documents and handles.
    pub(super) const DOCUMENT: Budget = Budget { bytes: 256 * 1024, time: Duration::from_secs(10) };
    /// Calls to a PDS. A page of 100 records of up to 1 MiB could be larger; real ones are not.
    pub(super) const CALL: Budget = Budget { bytes: 16 * 1024 * 1024, time: Duration::from_secs(30) };
    /// Forms to an authorization server. Its answer may hold tokens that come once, and it may be busy: to give up early
    /// could end a session.
    pub(super) const TOKEN: Budget = Budget { time: Duration::from_secs(30), ..Budget::DOCUMENT };
    /// An upload, over a slow line.
    const UPLOAD: Budget = Budget { time: Duration::from_secs(600), ..Budget::CALL };
}

/// The commands' HTTP client.
#[derive(Clone)]
pub(super) struct Http(reqwest::Client);

impl Http {
    // The commands run as the user, on the user's machine: they may go wherever the user may. The
    // rules of `egress` protect a service from its callers; here, the two are one person.
    #[allow(clippy::disallowed_methods)]
    pub(super) fn new() -> Result<Http, CliError> {
        reqwest::Client::builder()
            .user_agent(concat!("at-functions/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map(Http)
            .map_err(|error| CliError::setting("HTTPS", chain(&error)))
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let failed = |why| CliError::Unreachable { host: host.clone(), why };
        let request = reqwest::Request::try_from(request.map(upload_body))
            .map_err(|error| CliError::setting(format!("the address {host}"), chain(&error)))?;
        let exchange = async {
            let mut answer = self.0.execute(request).await.map_err(|error| match () {
                () if error.is_timeout() => Unreachable::Timeout,
                () if error.is_connect() => Unreachable::Connect,
                () => Unreachable::Lost,
            })?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|_| Unreachable::Lost)? {
                if body.len() + chunk.len() > budget.bytes {
                    return Err(Unreachable::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(body);
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        };
        match tokio::time::timeout(budget.time, exchange).await {
            Ok(outcome) => outcome.map_err(failed),
            Err(_) => Err(failed(Unreachable::Timeout)),
        }
    }

    /// Gets a document, following no redirect.
    pub(super) async fn get(&self, url: &Url, accept: &str) -> Result<Response<Vec<u8>>, CliError> {
        let request = Request::get(url.as_str()).header(ACCEPT, accept).body(Vec::new());
        let request = request.map_err(|error| CliError::setting(url.as_str(), error))?;
        self.exchange(request, Budget::DOCUMENT).await
    }

    /// Gets a document that may have moved, over https alone, `hops` times at most.
    pub(super) async fn get_following(&self, url: &Url, mut hops: u8) -> Result<Response<Vec<u8>>, CliError> {
        let mut url = url.clone();
        loop {
            let answer = self.get(&url, "text/plain").await?;
            let target = answer.headers().get(LOCATION).and_then(|l| url.join(l.to_str().ok()?).ok());
            match target {
                Some(next) if answer.status().is_redirection() && next.scheme() == "https" && hops > 0 => {
                    url = next;
                    hops -= 1;
                }
                _ => return Ok(answer),
            }
        }
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    printable(&text)
}

/// XRPC calls to one PDS, in a session's name or in nobody's.
pub(super) struct Xrpc<'a> {
    http: &'a Http,
    base: &'a Url,
    credential: Option<&'a Credential>,
    /// For a PDS: whom to hand the call to.
    proxy: Option<&'a str>,
    budget: Budget,
}

impl<'a> Xrpc<'a> {
    /// Calls without credentials.
    pub(super) fn anonymous(http: &'a Http, base: &'a Url) -> Xrpc<'a> {
        Xrpc { http, base, credential: None, proxy: None, budget: Budget::CALL }
    }

    /// Calls with the credential of a session.
    pub(super) fn with(http: &'a Http, base: &'a Url, credential: &'a Credential) -> Xrpc<'a> {
        Xrpc { credential: Some(credential), ..Xrpc::anonymous(http, base) }
    }

    /// The same, handed on by the PDS to a service, as `DID#ID`.
    pub(super) fn through(self, service: &'a str) -> Xrpc<'a> {
        Xrpc { proxy: Some(service), ..self }
    }

    /// A query; `O` is the shape of its answer.
    pub(super) async fn query<P, O>(&self, nsid: &str, parameters: P) -> Result<O, CliError>
    where
        P: Serialize + Send + Sync,
        O: DeserializeOwned + Send + Sync,
    {
        self.call::<P, (), O>(XrpcRequest {
            method: Method::GET,
            nsid: nsid.to_owned(),
            parameters: Some(parameters),
            input: None,
            encoding: None,
        })
        .await
    }

    /// A query whose answer is a file.
    pub(super) async fn download<P>(&self, nsid: &str, parameters: P) -> Result<Vec<u8>, CliError>
    where
        P: Serialize + Send + Sync,
    {
        let request = XrpcRequest::<P, ()> {
            method: Method::GET,
            nsid: nsid.to_owned(),
            parameters: Some(parameters),
            input: None,
            encoding: None,
        };
        match self.send_xrpc::<P, (), IgnoredAny, ErrorResponseBody>(&request).await {
            Ok(OutputDataOrBytes::Bytes(bytes)) => Ok(bytes),
            Ok(OutputDataOrBytes::Data(_)) => Err(self.unusable(nsid, "it is JSON")),
            Err(error) => Err(self.failure(nsid, error)),
        }
    }

    /// A procedure with a JSON body.
    pub(super) async fn procedure<I, O>(&self, nsid: &str, input: I) -> Result<O, CliError>
    where
        I: Serialize + Send + Sync,
        O: DeserializeOwned + Send + Sync,
    {
        self.call::<(), I, O>(XrpcRequest {
            method: Method::POST,
            nsid: nsid.to_owned(),
            parameters: None,
            input: Some(InputDataOrBytes::Data(input)),
            encoding: Some("application/json".to_owned()),
        })
        .await
    }

    /// A procedure whose answer is of no interest, and may be empty.
    pub(super) async fn command<I>(&self, nsid: &str, input: I) -> Result<(), CliError>
    where
        I: Serialize + Send + Sync,
    {
        let request = XrpcRequest::<(), I> {
            method: Method::POST,
            nsid: nsid.to_owned(),
            parameters: None,
            input: Some(InputDataOrBytes::Data(input)),
            encoding: Some("application/json".to_owned()),
        };
        match self.send_xrpc::<(), I, IgnoredAny, ErrorResponseBody>(&request).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(nsid, error)),
        }
    }

    /// A procedure without a body: what refreshes a session takes none.
    pub(super) async fn bare_procedure<O>(&self, nsid: &str) -> Result<O, CliError>
    where
        O: DeserializeOwned + Send + Sync,
    {
        self.call::<(), (), O>(bare(nsid)).await
    }

    /// The same, whose answer is of no interest.
    pub(super) async fn bare_command(&self, nsid: &str) -> Result<(), CliError> {
        match self.send_xrpc::<(), (), IgnoredAny, ErrorResponseBody>(&bare(nsid)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(nsid, error)),
        }
    }

    /// A procedure whose body is a file of this type.
    pub(super) async fn upload<O>(&self, nsid: &str, encoding: &str, bytes: Vec<u8>) -> Result<O, CliError>
    where
        O: DeserializeOwned + Send + Sync,
    {
        // A file that is refused for the credential's sake is sent twice, or cut on its way: something small goes first.
        if self.credential.is_some_and(Credential::may_be_refused_once) {
            let no_parameters: [(&str, &str); 0] = [];
            self.query::<_, IgnoredAny>("com.atproto.server.getSession", no_parameters).await?;
        }
        let slow = Xrpc { budget: Budget::UPLOAD, ..*self };
        slow.call::<(), (), O>(XrpcRequest {
            method: Method::POST,
            nsid: nsid.to_owned(),
            parameters: None,
            input: Some(InputDataOrBytes::Bytes(bytes)),
            encoding: Some(encoding.to_owned()),
        })
        .await
    }

    async fn call<P, I, O>(&self, request: XrpcRequest<P, I>) -> Result<O, CliError>
    where
        P: Serialize + Send + Sync,
        I: Serialize + Send + Sync,
        O: DeserializeOwned + Send + Sync,
    {
        match self.send_xrpc::<P, I, O, ErrorResponseBody>(&request).await {
            Ok(OutputDataOrBytes::Data(data)) => Ok(data),
            Ok(OutputDataOrBytes::Bytes(_)) => Err(self.unusable(&request.nsid, "it is not JSON")),
            Err(error) => Err(self.failure(&request.nsid, error)),
        }
    }

    fn unusable(&self, nsid: &str, why: &str) -> CliError {
        CliError::Unusable { host: host_of(self.base), why: format!("{nsid}: {why}") }
    }

    fn failure(&self, nsid: &str, error: AtriumError<ErrorResponseBody>) -> CliError {
        match error {
            AtriumError::XrpcResponse(response) => {
                let body = response.error.map(|kind| match kind {
                    XrpcErrorKind::Custom(body) | XrpcErrorKind::Undefined(body) => body,
                });
                let (name, message) = body.map_or((None, None), |body| (body.error, body.message));
                CliError::Refused(Refusal {
                    host: host_of(self.base),
                    status: response.status.as_u16(),
                    name: name.unwrap_or_default(),
                    message: message.unwrap_or_default(),
                })
            }
            // What `send_http` below returned comes back as it was.
            AtriumError::HttpClient(error) => match error.downcast::<CliError>() {
                Ok(error) => *error,
                Err(error) => self.unusable(nsid, &chain(&*error)),
            },
            error => self.unusable(nsid, &chain(&error)),
        }
    }
}

fn bare(nsid: &str) -> XrpcRequest<(), ()> {
    XrpcRequest { method: Method::POST, nsid: nsid.to_owned(), parameters: None, input: None, encoding: None }
}

impl HttpClient for Xrpc<'_> {
    async fn send_http(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn std::error::Error + Send + Sync + 'static>> {
        let mut response = match self.credential {
            Some(credential) => credential.send(self.http, request, self.budget).await?,
            None => self.http.exchange(request, self.budget).await?,
        };
        // With this header atrium drops the body, and with it what the PDS says is wrong.
        response.headers_mut().remove(WWW_AUTHENTICATE);
        Ok(response)
    }
}

impl XrpcClient for Xrpc<'_> {
    fn base_uri(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    async fn atproto_proxy_header(&self) -> Option<String> {
        self.proxy.map(str::to_owned)
    }
}

/// The host of a URL with its port, as messages name it.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
