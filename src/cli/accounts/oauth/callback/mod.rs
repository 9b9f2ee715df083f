//! The port of this machine that the browser brings the answer to.
//!
//! In: any request that anything on this machine sends there. Out: the one answer of this login. Never: an answer whose
//! `state` is not this login's, a second answer, or a byte of the request on the page that comes back. What is no answer
//! does not end the waiting: any web page can make a browser ask this port.

mod answer;
mod page;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

pub(super) use self::answer::Expected;
use self::answer::{Answer, Verdict, judge};
use super::client::CALLBACK_PATH;
use crate::cli::error::{CliError, shown};
use crate::cli::output;

/// From a connection to its last byte. A browser takes milliseconds.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);
/// Connections at once; beyond it, the oldest is cut. A browser opens two or three.
const MAX_CONNECTIONS: usize = 64;
/// More than the address of an answer has.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Before the next connection is taken, where one could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// A port that nothing listens to yet but the system.
pub(super) struct Callback {
    listener: TcpListener,
    address: SocketAddr,
    redirect_uri: String,
}

impl Callback {
    /// A port that the system chooses, on the one address that only this machine reaches.
    pub(super) async fn bind() -> Result<Callback, CliError> {
        let failed = |error| CliError::setting("127.0.0.1", format!("cannot listen there: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let redirect_uri = format!("http://{address}{CALLBACK_PATH}");
        Ok(Callback { listener, address, redirect_uri })
    }

    /// Where the browser is sent back to.
    pub(super) fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Listens until the value that comes back is dropped.
    pub(super) fn listen(self, expected: Expected) -> Listening {
        // One answer and no more is ever sent.
        let (found, answers) = mpsc::channel(1);
        let login =
            Arc::new(Login { host: self.address.to_string(), expected, state: Mutex::default(), found });
        Listening { answers, serving: tokio::spawn(serve(self.listener, login)) }
    }
}

/// The answer, and the end of the connection that brought it.
type Found = (Answer, oneshot::Receiver<()>);

/// The port while it listens.
pub(super) struct Listening {
    answers: mpsc::Receiver<Found>,
    serving: JoinHandle<()>,
}

impl Listening {
    /// Waits for the answer, and gives its code.
    pub(super) async fn answer(&mut self, wait: Duration) -> Result<String, CliError> {
        let Ok(Some((answer, page_sent))) = tokio::time::timeout(wait, self.answers.recv()).await else {
            let told =
                "no answer came from the browser: run it again when you are ready, or use --app-password";
            return Err(CliError::NotLoggedIn(told.to_owned()));
        };
        // So that the program's end does not cut the page. It ends by itself, and how does not matter.
        let _ = page_sent.await;
        Err(CliError::NotLoggedIn(match answer {
            Answer::Code(code) => return Ok(code),
            Answer::Refused { error, .. } if error == "access_denied" => {
                "you did not allow it in the browser: nothing was kept".to_owned()
            }
            Answer::Refused { error, description } => {
                format!("your PDS refused the login: {}: {}", shown(&error), shown(&description))
            }
            Answer::Forged(why) => {
                format!("the browser brought an answer that breaks a rule: {why}; nothing was kept")
            }
        }))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // With it go all connections.
        self.serving.abort();
    }
}

/// What all connections of one login share.
struct Login {
    /// As a browser names this port.
    host: String,
    expected: Expected,
    state: Mutex<State>,
    found: mpsc::Sender<Found>,
}

#[derive(Default)]
struct State {
    is_answered: bool,
    was_bothered: bool,
}

async fn serve(listener: TcpListener, login: Arc<Login>) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection| !connection.is_finished());
                    if oldest_first.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    oldest_first.push_back(connections.spawn(converse(stream, Arc::clone(&login))));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection: one request, one page.
async fn converse(stream: TcpStream, login: Arc<Login>) {
    let (_open, ended) = oneshot::channel();
    let ended = Mutex::new(Some(ended));
    let service = service_fn(|request: Request<Incoming>| {
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let page = login.meet(&request, ended);
        async { Ok::<Response<Full<Bytes>>, Infallible>(page) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // However it ends: what came is judged already, and what did not come is not waited for.
    let _ = tokio::time::timeout(CONNECTION_LIFE, connection).await;
}

impl Login {
    /// The page for a request, whose answer is handed on if it is the first one.
    fn meet(
        &self,
        request: &Request<Incoming>,
        ended: Option<oneshot::Receiver<()>>,
    ) -> Response<Full<Bytes>> {
        let verdict = judge(request, &self.host, &self.expected);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Verdict::Nothing => page::nothing(),
            Verdict::Stranger => {
                if !std::mem::replace(&mut state.was_bothered, true) {
                    output::note("note: something came that is not the answer of this login; still waiting");
                }
                page::stranger()
            }
            Verdict::Answer(_) if state.is_answered => page::answered(),
            Verdict::Answer(answer) => {
                let page = page::of(&answer);
                // The first request of its connection is its only one, and the channel has room for the one answer.
                if let Some(ended) = ended {
                    state.is_answered = self.found.try_send((answer, ended)).is_ok();
                }
                page
            }
        }
    }
}

#[cfg(test)]
mod tests;
