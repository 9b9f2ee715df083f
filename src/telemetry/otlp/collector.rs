//! The way to the collector, which the operator chose.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use url::Url;

/// One request, from the connection to the end of its answer's head.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);

/// A collector, by the URL of its traces.
pub(super) struct Collector {
    traces: Url,
    client: reqwest::Client,
}

/// Why it did not take a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For operators.
    pub(super) why: String,
    /// Whether it may take it later.
    pub(super) may_pass: bool,
}

impl Collector {
    /// The collector at `endpoint`, whose traces are at `v1/traces` below it.
    // The rules of `egress` are for hosts that strangers name. This one the operator names, and it is
    // on the same machine more often than not.
    #[allow(clippy::disallowed_methods)]
    pub(super) fn at(endpoint: &Url) -> Result<Collector, reqwest::Error> {
        let mut traces = endpoint.clone();
        traces.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        let client = reqwest::Client::builder()
            .user_agent(concat!("at-functions/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Collector { traces, client })
    }

    /// Sends a request of the binary form. What may pass is as the specification has it: no answer, and four
    /// statuses.
    pub(super) async fn take(&self, body: Bytes) -> Result<(), Refusal> {
        let request = self.client.post(self.traces.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        match request.body(body).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status().as_u16();
                let may_pass = matches!(status, 429 | 502 | 503 | 504);
                Err(Refusal { why: format!("it answers {status}"), may_pass })
            }
            Err(error) => {
                let why = match () {
                    () if error.is_timeout() => "it does not answer in time",
                    () if error.is_connect() => "no connection can be made",
                    () => "the connection is lost",
                };
                Err(Refusal { why: why.into(), may_pass: true })
            }
        }
    }
}
