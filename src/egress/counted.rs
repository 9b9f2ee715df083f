//! What came of each request, for the metrics: by what it was for and how it ended, never by host.

use std::time::Instant;

use super::{EgressError, Response};
use crate::telemetry;

/// What a way out is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// DID documents and handles.
    Identities,
    /// Records, blobs and pages of repos.
    Repos,
}

impl Way {
    /// All there are.
    pub const ALL: [Way; 2] = [Way::Identities, Way::Repos];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Identities => "identities",
            Way::Repos => "repos",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody waited for it any more.
    Abandoned,
    /// A redirect that does not say where to.
    BadRedirect,
    /// The rules on addresses and URLs.
    Blocked,
    /// Our own queue.
    Busy,
    /// An answer 4xx.
    ClientError,
    /// The host's name has no address.
    NoSuchHost,
    /// An answer 2xx.
    Ok,
    /// The host wants to be left alone.
    RateLimited,
    /// An answer 1xx or 3xx.
    Redirect,
    /// An answer 5xx.
    ServerError,
    /// No whole answer in time.
    Timeout,
    /// More than is read.
    TooLarge,
    /// Redirects without end.
    TooManyRedirects,
    /// No connection.
    Unreachable,
}

impl Ended {
    /// All there are.
    pub const ALL: [Ended; 14] = [
        Ended::Abandoned,
        Ended::BadRedirect,
        Ended::Blocked,
        Ended::Busy,
        Ended::ClientError,
        Ended::NoSuchHost,
        Ended::Ok,
        Ended::RateLimited,
        Ended::Redirect,
        Ended::ServerError,
        Ended::Timeout,
        Ended::TooLarge,
        Ended::TooManyRedirects,
        Ended::Unreachable,
    ];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::Abandoned => "abandoned",
            Ended::BadRedirect => "badRedirect",
            Ended::Blocked => "blocked",
            Ended::Busy => "busy",
            Ended::ClientError => "clientError",
            Ended::NoSuchHost => "noSuchHost",
            Ended::Ok => "ok",
            Ended::RateLimited => "rateLimited",
            Ended::Redirect => "redirect",
            Ended::ServerError => "serverError",
            Ended::Timeout => "timeout",
            Ended::TooLarge => "tooLarge",
            Ended::TooManyRedirects => "tooManyRedirects",
            Ended::Unreachable => "unreachable",
        }
    }

    fn of(answer: &Result<Response, EgressError>) -> Ended {
        match answer {
            Ok(response) => match response.status {
                200..=299 => Ended::Ok,
                400..=499 => Ended::ClientError,
                500.. => Ended::ServerError,
                _ => Ended::Redirect,
            },
            Err(EgressError::BadRedirect) => Ended::BadRedirect,
            Err(EgressError::Blocked(_)) => Ended::Blocked,
            Err(EgressError::Busy) => Ended::Busy,
            Err(EgressError::NoSuchHost) => Ended::NoSuchHost,
            Err(EgressError::RateLimited { .. }) => Ended::RateLimited,
            Err(EgressError::Timeout) => Ended::Timeout,
            Err(EgressError::TooLarge) => Ended::TooLarge,
            Err(EgressError::TooManyRedirects) => Ended::TooManyRedirects,
            Err(EgressError::Unreachable) => Ended::Unreachable,
        }
    }
}

/// A request that is under way; counted when it is over, also if nobody waits for it.
pub(super) struct Counted {
    way: Option<Way>,
    ended: Ended,
    began: Instant,
}

impl Counted {
    /// One that begins now. Without a way it is not counted.
    pub(super) fn begin(way: Option<Way>) -> Counted {
        Counted { way, ended: Ended::Abandoned, began: Instant::now() }
    }

    pub(super) fn end(mut self, answer: &Result<Response, EgressError>) {
        self.ended = Ended::of(answer);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(way) = self.way {
            telemetry::count_upstream(way, self.ended, self.began.elapsed());
        }
    }
}
