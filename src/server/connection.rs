//! A connection's clock: a request's head must be complete soon after its first byte, while an idle
//! keep-alive connection may stay.
//!
//! hyper has one timer for both. A PDS (undici) keeps idle sockets for reuse, and a server that
//! closes them first makes some of its POSTs fail with 502; so the idle time is long, and the time
//! for a head, which a slow client could stretch, is kept here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// From a head's first byte to its last.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Where a connection is in its current exchange.
#[derive(Clone, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

const BETWEEN_REQUESTS: u8 = 0;
const READING_HEAD: u8 = 1;
const IN_REQUEST: u8 = 2;

impl Phase {
    /// The head is complete: what is read from here is the request's body.
    pub(super) fn head_is_read(&self) {
        self.0.store(IN_REQUEST, Ordering::Relaxed);
    }

    /// The response is ready: the next byte read starts another head.
    pub(super) fn request_is_answered(&self) {
        self.0.store(BETWEEN_REQUESTS, Ordering::Relaxed);
    }
}

/// A stream that fails when a head takes too long.
pub(super) struct HeadTimed<S> {
    stream: S,
    phase: Phase,
    head_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadTimed<S> {
    pub(super) fn new(stream: S, phase: Phase) -> HeadTimed<S> {
        HeadTimed { stream, phase, head_timer: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let phase = self.phase.0.load(Ordering::Relaxed);
        if phase == BETWEEN_REQUESTS && buffer.filled().len() > filled {
            self.phase.0.store(READING_HEAD, Ordering::Relaxed);
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

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
