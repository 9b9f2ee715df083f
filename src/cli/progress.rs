//! How far an upload is, told to whoever watches.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Small enough that a slow line shows steps, large enough to cost nothing.
const STEP_BYTES: usize = 64 * 1024;
/// Below this, it is over before anybody reads it.
const WORTH_TELLING_BYTES: usize = 4 * STEP_BYTES;

/// A body that hands out its bytes in steps, and tells after each how far it is.
pub(super) struct Steps<F> {
    left: Bytes,
    total: usize,
    tell: F,
}

impl<F: FnMut(usize) + Unpin> Steps<F> {
    fn new(bytes: Vec<u8>, tell: F) -> Steps<F> {
        Steps { total: bytes.len(), left: bytes.into(), tell }
    }
}

impl<F: FnMut(usize) + Unpin> Body for Steps<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        let step = this.left.split_to(STEP_BYTES.min(this.left.len()));
        (this.tell)((this.total - this.left.len()) * 100 / this.total);
        Poll::Ready(Some(Ok(Frame::data(step))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// The body of an upload; on a terminal, it says how many percent are on their way.
pub(super) fn upload_body(bytes: Vec<u8>) -> reqwest::Body {
    if bytes.len() < WORTH_TELLING_BYTES || !std::io::stderr().is_terminal() {
        return bytes.into();
    }
    reqwest::Body::wrap(Steps::new(bytes, |percent| {
        let end = if percent == 100 { "\r      \r" } else { "" };
        // Nobody misses it who has no stderr.
        let _ = write!(std::io::stderr(), "\r{percent:3} %{end}");
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_in_steps_is_whole_and_tells_how_far_it_is() {
        let bytes: Vec<u8> = (0..STEP_BYTES * 2 + 1).map(|n| n as u8).collect();
        let (tell, told) = std::sync::mpsc::channel();
        let body = Steps::new(bytes.clone(), move |percent| tell.send(percent).unwrap());
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        assert_eq!(told.iter().collect::<Vec<_>>(), [49, 99, 100]);
    }

    #[tokio::test]
    async fn no_bytes_are_no_steps() {
        let body = Steps::new(Vec::new(), |_| unreachable!("there is nothing to tell"));
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
}
