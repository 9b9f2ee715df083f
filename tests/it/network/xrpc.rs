//! XRPC as a plain HTTP client speaks it, and what came back.

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Request;
use serde_json::Value;

/// One call that is being put together.
pub(crate) struct Call {
    request: Request,
}

impl Call {
    /// A GET of the query `nsid` at the service whose origin is `service`.
    pub(crate) fn query(service: &str, nsid: &str) -> Call {
        Call::new(Method::GET, service, nsid)
    }

    /// A POST of the procedure `nsid` at the service whose origin is `service`.
    pub(crate) fn procedure(service: &str, nsid: &str) -> Call {
        Call::new(Method::POST, service, nsid)
    }

    fn new(method: Method, service: &str, nsid: &str) -> Call {
        let url = format!("{service}/xrpc/{nsid}").parse().expect("an origin and a path make a URL");
        Call { request: Request::new(method, url) }
    }

    /// One query parameter more.
    pub(crate) fn param(mut self, name: &str, value: impl ToString) -> Call {
        self.request.url_mut().query_pairs_mut().append_pair(name, &value.to_string());
        self
    }

    /// With any header, in place of an earlier one of that name.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Call {
        let value = HeaderValue::from_str(value).expect("tests send headers that can be sent");
        self.request.headers_mut().insert(name, value);
        self
    }

    /// With a bearer token.
    pub(crate) fn bearer(self, token: &str) -> Call {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As the administrator of the PDS.
    pub(crate) fn admin(self, password: &str) -> Call {
        let credentials = BASE64.encode(format!("admin:{password}").as_bytes());
        self.header("authorization", &format!("Basic {credentials}"))
    }

    /// To be proxied by the PDS to a service, given as `DID#service-id`.
    pub(crate) fn through(self, service: &str) -> Call {
        self.header("atproto-proxy", service)
    }

    /// With a body of JSON.
    pub(crate) fn json(self, body: &Value) -> Call {
        self.body("application/json", body.to_string())
    }

    /// With a body of any type.
    pub(crate) fn body(self, content_type: &str, body: impl Into<Bytes>) -> Call {
        let mut call = self.header("content-type", content_type);
        *call.request.body_mut() = Some(body.into().into());
        call
    }

    /// Sends it; an error where no HTTP answer came.
    pub(crate) async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let response = client().execute(self.request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }

    /// Sends it where an HTTP answer, if only an error, is certain.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }
}

/// An HTTP answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Its body as JSON; the test fails unless its status is 200.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Its body as JSON, whatever its status; null where there is none.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.body)))
    }

    /// Status and name of an XRPC error, to be compared in one assertion.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), text(&self.json(), "/error"))
    }

    /// A header of it, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The text at a JSON pointer; the test fails if there is none.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no text at {pointer} of {value}")).to_owned()
}

/// The tests' way to HTTP. It keeps no connections: one made in the runtime of one test dies with it.
pub(super) fn client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "a test is the network's other end, not the service")]
        let builder = reqwest::Client::builder();
        builder.no_proxy().pool_max_idle_per_host(0).build().expect("a client without settings can be built")
    });
    &CLIENT
}
