//! A connection's clocks: a request's head must be complete soon after its first byte, and an answer
//! must be taken in time, while an idle keep-alive connection may stay.
//!
//! hyper has one timer for heads and idleness. A PDS (undici) keeps idle sockets for reuse, and a
//! server that closes them first makes some of its POSTs fail with 502; so the idle time is long, and
//! the time for a head, which a slow client could stretch, is kept here. So is the time for an answer,
//! for which hyper has none: a client that sends its next request and never reads would hold the
//! answer's memory for good.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// From a head's first byte to its last.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// From the first byte of an answer that the peer is not ready to take, to its last: the largest
/// answers at less than 3 Mbit/s.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Where a connection is in its current exchange.
#[derive(Clone)]
pub(super) struct Phase(Arc<Shared>);

struct Shared {
    phase: AtomicU8,
    opened: Instant,
    /// When it last began to wait for a request, in milliseconds from `opened`.
    waits_since: AtomicU64,
    unwanted: Notify,
}

const BETWEEN_REQUESTS: u8 = 0;
const READING_HEAD: u8 = 1;
const IN_REQUEST: u8 = 2;

impl Phase {
    /// That of a connection which opens now.
    pub(super) fn opening() -> Phase {
        Phase(Arc::new(Shared {
            phase: AtomicU8::new(BETWEEN_REQUESTS),
            opened: Instant::now(),
            waits_since: AtomicU64::new(0),
            unwanted: Notify::new(),
        }))
    }

    /// The head is complete: what is read from here is the request's body.
    pub(super) fn head_is_read(&self) {
        self.set(IN_REQUEST);
    }

    /// The response is ready: the next byte read starts another head.
    pub(super) fn request_is_answered(&self) {
        let waits_since = self.0.opened.elapsed().as_millis() as u64;
        self.0.waits_since.store(waits_since, Ordering::Relaxed);
        self.set(BETWEEN_REQUESTS);
    }

    /// Since when it has had no request in hand; `None` while it has one.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let waits_since = Duration::from_millis(self.0.waits_since.load(Ordering::Relaxed));
        (self.get() != IN_REQUEST).then(|| self.0.opened + waits_since)
    }

    /// Asks for its end.
    pub(super) fn give_up(&self) {
        self.0.unwanted.notify_one();
    }

    /// Resolves when its end is asked for.
    pub(super) async fn given_up(&self) {
        self.0.unwanted.notified().await;
    }

    fn get(&self) -> u8 {
        self.0.phase.load(Ordering::Relaxed)
    }

    fn set(&self, phase: u8) {
        self.0.phase.store(phase, Ordering::Relaxed);
    }
}

/// A stream that fails when a head takes too long to come, or an answer to be taken.
pub(super) struct Timed<S> {
    stream: S,
    phase: Phase,
    head_timer: Option<Pin<Box<Sleep>>>,
    answer_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, phase: Phase) -> Timed<S> {
        Timed { stream, phase, head_timer: None, answer_timer: None }
    }

    /// Counts the time from the first write that has to wait until [`Timed::poll_flush`] tells that
    /// everything was taken.
    fn timed_write(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            return polled;
        }
        let timer = self.answer_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(ANSWER_TIME)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let phase = self.phase.get();
        if phase == BETWEEN_REQUESTS && buffer.filled().len() > filled {
            self.phase.set(READING_HEAD);
            let at = Instant::now() + HEAD_TIME;
            match &mut self.head_timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.head_timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        } else if phase == READING_HEAD
            && let Some(timer) = &mut self.head_timer
            && timer.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed_write(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if polled.is_ready() {
            // hyper flushes when it has nothing more to write.
            self.answer_timer = None;
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed_write(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
