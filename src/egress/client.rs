//! One hop: a checked URL in, a bounded answer out.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::Client;
use url::Url;

use super::address::Addresses;
use super::dns::{FilteringResolver, Lookup, LookupError, NoAllowedAddress};
use super::memory::{Memory, Share};
use super::url::{BlockReason, Rules};
use super::{EgressError, Get, Response, StartError};

/// How much of the body of an answer other than 2xx is read: an XRPC error and then some.
const ERROR_BODY_BYTES: usize = 16 * 1024;
/// A PDS behind two proxies sends about forty.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_LIST_BYTES: u32 = 32 * 1024;
/// What a peer may send ahead on HTTP/2 before it is read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Idle connections cost a socket each, and there are many hosts.
const IDLE_PER_HOST: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// A host that does not take a connection by then will not do so within any call's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The HTTP client, which by itself follows, retries, remembers and reveals nothing.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client,
    addresses: Addresses,
    memory: Arc<Memory>,
}

/// What came back from one hop.
pub(super) enum Hop {
    /// The end of the way.
    Answer(Response),
    /// Another address to ask, as the `Location` header has it.
    Redirect(Url),
    /// The host wants to be left alone, for this long if it said.
    RateLimited(Option<Duration>),
}

impl HttpClient {
    pub(super) fn new(rules: &Rules, lookup: Arc<dyn Lookup>) -> Result<HttpClient, StartError> {
        // The one place where a client is built: every rule of this room hangs on what is set here.
        #[allow(clippy::disallowed_methods)]
        let builder = Client::builder();
        let resolver = FilteringResolver { lookup, addresses: rules.addresses.clone() };
        let client = builder
            .dns_resolver(Arc::new(resolver))
            // A proxy would look names up by itself, past the rule on addresses.
            .no_proxy()
            .https_only(!rules.plain_http)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("at-functions/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .map_err(|error| StartError::Tls(error.to_string()))?;
        Ok(HttpClient { client, addresses: rules.addresses.clone(), memory: Memory::new() })
    }

    /// Asks `url`, which the caller has checked, for what `request` asks for. `follow` says whether a
    /// redirect is wanted as such.
    pub(super) async fn hop(&self, url: &Url, request: &Get<'_>, follow: bool) -> Result<Hop, EgressError> {
        let sent = self.client.get(url.clone()).header(ACCEPT, request.accept).send().await;
        let response = sent.map_err(|error| judge(&error))?;
        // The resolver let only allowed addresses through. Should the client ever connect elsewhere,
        // nothing of the answer gets further than here.
        if !response.remote_addr().is_some_and(|peer| self.addresses.allow(peer.ip())) {
            return Err(EgressError::Blocked(BlockReason::Address));
        }
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Hop::RateLimited(retry_after(response.headers())));
        }
        if follow && is_redirect(status) {
            return location(url, response.headers()).map(Hop::Redirect);
        }
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = if status.is_success() {
            let share = Memory::share(&self.memory, request.for_author);
            read_all(response, request.max_bytes, share).await?
        } else {
            read_start(response, request.max_bytes.min(ERROR_BODY_BYTES)).await?
        };
        Ok(Hop::Answer(Response { status: status.as_u16(), content_type, body }))
    }
}

/// The redirects of a GET (RFC 9110 section 15.4).
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn location(from: &Url, headers: &HeaderMap) -> Result<Url, EgressError> {
    let text = headers.get(LOCATION).and_then(|v| v.to_str().ok()).ok_or(EgressError::BadRedirect)?;
    from.join(text).map_err(|_| EgressError::BadRedirect)
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3). Its other form, a date, would need the host's clock to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The whole body, decompressed, unless it is longer than `max` bytes.
async fn read_all(
    mut response: reqwest::Response,
    max: usize,
    mut share: Share,
) -> Result<Bytes, EgressError> {
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(EgressError::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| judge(&error))? {
        if chunk.len() > max - body.len() {
            return Err(EgressError::TooLarge);
        }
        share.grow_to(body.len() + chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(share.keep(body))
}

/// The first `max` bytes of a body.
async fn read_start(mut response: reqwest::Response, max: usize) -> Result<Bytes, EgressError> {
    let mut body = BytesMut::new();
    while body.len() < max {
        let Some(chunk) = response.chunk().await.map_err(|error| judge(&error))? else { break };
        body.extend_from_slice(&chunk[..chunk.len().min(max - body.len())]);
    }
    Ok(body.freeze())
}

fn judge(error: &reqwest::Error) -> EgressError {
    tracing::debug!(?error, "outbound request failed");
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NoAllowedAddress>() {
            return EgressError::Blocked(BlockReason::Address);
        }
        if let Some(lookup) = error.downcast_ref::<LookupError>() {
            return (*lookup).into();
        }
        cause = error.source();
    }
    if error.is_timeout() { EgressError::Timeout } else { EgressError::Unreachable }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::egress::Redirects;
    use crate::egress::memory::{SMALL_BYTES, UNIT_BYTES};
    use crate::egress::testing::{PUBLIC, RawServer, TestDns};

    fn request(url: &Url, max_bytes: usize) -> Get<'_> {
        let timeout = Duration::from_secs(60);
        Get {
            url,
            accept: "*/*",
            max_bytes,
            timeout,
            redirects: Redirects::None,
            for_author: None,
            rationed: false,
        }
    }

    #[tokio::test]
    async fn an_answer_from_an_address_that_is_not_allowed_goes_no_further() {
        let server = RawServer::saying(PUBLIC, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await;
        let lookup = Arc::new(TestDns::default());
        let mut client = HttpClient::new(&Rules::private_network(), lookup).unwrap();
        let url = Url::parse(&format!("http://a.com:{}/", server.port)).unwrap();
        assert!(matches!(client.hop(&url, &request(&url, 9), false).await, Ok(Hop::Answer(_))));
        client.addresses = Addresses::Public;
        let answer = client.hop(&url, &request(&url, 9), false).await;
        assert!(matches!(answer, Err(EgressError::Blocked(BlockReason::Address))));
    }

    #[tokio::test]
    async fn large_bodies_share_a_memory_and_small_ones_need_none() {
        let server = RawServer::start(PUBLIC, |head: String, mut stream: TcpStream| async move {
            // A length as the path, and a body that stops before its last byte where it is to be slow.
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let length: usize = path.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            let sent = if path.ends_with("slow") { length - 1 } else { length };
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![b'x'; sent]).await;
            if sent < length {
                std::future::pending::<()>().await;
            }
        })
        .await;
        let mut client = HttpClient::new(&Rules::private_network(), Arc::new(TestDns::default())).unwrap();
        client.memory = Memory::of_units(2, 2);
        let large = SMALL_BYTES + 2 * UNIT_BYTES;
        let get = |path: String| {
            let (client, port) = (client.clone(), server.port);
            async move {
                let url = Url::parse(&format!("http://a.com:{port}/{path}")).unwrap();
                match client.hop(&url, &request(&url, 1 << 20), false).await {
                    Ok(Hop::Answer(answer)) => Ok(answer.body),
                    Ok(_) => panic!("not an answer"),
                    Err(error) => Err(error),
                }
            }
        };
        let length = |body: Result<Bytes, EgressError>| body.map(|body| body.len());
        assert_eq!(length(get(format!("{large}")).await), Ok(large));
        assert_eq!(length(get(format!("{}", large + 1)).await), Err(EgressError::Busy));
        let slow = tokio::spawn(get(format!("{large}slow")));
        while client.memory.units_left() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(length(get(format!("{large}")).await), Err(EgressError::Busy));
        assert_eq!(length(get(format!("{SMALL_BYTES}")).await), Ok(SMALL_BYTES));
        slow.abort();
        assert!(slow.await.is_err());
        let kept = get(format!("{large}")).await.expect("the memory came back");

        // A body that was read counts for as long as any part of it is kept.
        let part = kept.slice(..1);
        drop(kept);
        assert_eq!(length(get(format!("{large}")).await), Err(EgressError::Busy));
        drop(part);
        assert_eq!(length(get(format!("{large}")).await), Ok(large));
    }

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        let cases = [
            ("30", Some(30)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("99999999999999999999999", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_location_is_read_relative_to_where_it_was_given() {
        let from = Url::parse("https://a.com/x/y").unwrap();
        let read = |text: &str| location(&from, &HeaderMap::from_iter([(LOCATION, text.parse().unwrap())]));
        assert_eq!(read("z").unwrap().as_str(), "https://a.com/x/z");
        assert_eq!(read("//b.com/").unwrap().as_str(), "https://b.com/");
        assert_eq!(read("https://").unwrap_err(), EgressError::BadRedirect);
        assert_eq!(location(&from, &HeaderMap::new()).unwrap_err(), EgressError::BadRedirect);
    }
}
