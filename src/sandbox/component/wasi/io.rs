//! `wasi:io`: an input at its end, and outputs that are the log.

use wasmtime::component::Resource;

use super::of_nothing;
use crate::sandbox::LogLevel;
use crate::sandbox::component::bindings::wasi::io::error::{self, Error, HostError};
use crate::sandbox::component::bindings::wasi::io::poll::{self, HostPollable};
use crate::sandbox::component::bindings::wasi::io::streams::{
    self, HostInputStream, HostOutputStream, StreamError,
};
use crate::sandbox::component::state::{Nothing, Pollable, Stream};
use crate::sandbox::guest::Guest;

/// What an output stream takes in one go; the guest asks before it writes.
const WRITE_BYTES: u64 = 64 * 1024;

impl error::Host for Guest {}

of_nothing! {
    HostError for Error {
        fn to_debug_string() -> String;
    }
}

impl Guest {
    /// Sleeps until it has slept as long as the first of these says.
    async fn sleep_until_first(&mut self, pollables: &[Pollable]) -> wasmtime::Result<()> {
        let Some(first) = pollables.iter().map(|pollable| pollable.due).min() else { return Ok(()) };
        if first > self.component.slept {
            self.host.sleep(first - self.component.slept).await?;
            self.component.slept = first;
        }
        Ok(())
    }
}

impl poll::Host for Guest {
    async fn poll(&mut self, handles: Vec<Resource<Pollable>>) -> wasmtime::Result<Vec<u32>> {
        if handles.is_empty() {
            return Err(wasmtime::Error::msg("`poll` needs something to wait for"));
        }
        let pollables = handles
            .iter()
            .map(|handle| self.component.get(handle).copied())
            .collect::<wasmtime::Result<Vec<_>>>()?;
        self.sleep_until_first(&pollables).await?;
        let slept = self.component.slept;
        Ok((0..)
            .zip(pollables)
            .filter(|(_, pollable)| pollable.due <= slept)
            .map(|(index, _)| index)
            .collect())
    }
}

impl HostPollable for Guest {
    async fn ready(&mut self, handle: Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(self.component.get(&handle)?.due <= self.component.slept)
    }

    async fn block(&mut self, handle: Resource<Pollable>) -> wasmtime::Result<()> {
        let pollable = *self.component.get(&handle)?;
        self.sleep_until_first(&[pollable]).await
    }

    async fn drop(&mut self, handle: Resource<Pollable>) -> wasmtime::Result<()> {
        self.component.drop(handle).map(|_| ())
    }
}

/// What a read of an input at its end gives.
type AtItsEnd<T> = wasmtime::Result<Result<T, StreamError>>;

impl streams::Host for Guest {}

impl HostInputStream for Guest {
    fn read(&mut self, _: Resource<Nothing>, _: u64) -> AtItsEnd<Vec<u8>> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_read(&mut self, _: Resource<Nothing>, _: u64) -> AtItsEnd<Vec<u8>> {
        Ok(Err(StreamError::Closed))
    }

    fn skip(&mut self, _: Resource<Nothing>, _: u64) -> AtItsEnd<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_skip(&mut self, _: Resource<Nothing>, _: u64) -> AtItsEnd<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn subscribe(&mut self, _: Resource<Nothing>) -> wasmtime::Result<Resource<Pollable>> {
        self.component.push(Pollable::READY)
    }

    fn drop(&mut self, handle: Resource<Nothing>) -> wasmtime::Result<()> {
        self.component.drop(handle).map(|_| ())
    }
}

impl Guest {
    /// Adds to the log what is written to a stream.
    fn write_lines(&mut self, stream: &Resource<Stream>, bytes: &[u8]) -> wasmtime::Result<()> {
        let (lines, level) = match self.component.get(stream)? {
            Stream::Stdout => (&mut self.component.stdout, LogLevel::Info),
            Stream::Stderr => (&mut self.component.stderr, LogLevel::Warn),
        };
        lines.write(bytes, |line| self.host.log(level, line));
        Ok(())
    }

    /// Adds to the log what was written without the end of a line.
    pub(in crate::sandbox::component) fn finish_lines(&mut self) {
        self.component.stdout.finish(|line| self.host.log(LogLevel::Info, line));
        self.component.stderr.finish(|line| self.host.log(LogLevel::Warn, line));
    }
}

/// What a write gives, which always succeeds.
type Written<T = ()> = wasmtime::Result<Result<T, StreamError>>;

impl HostOutputStream for Guest {
    fn check_write(&mut self, _: Resource<Stream>) -> Written<u64> {
        Ok(Ok(WRITE_BYTES))
    }

    fn write(&mut self, stream: Resource<Stream>, contents: Vec<u8>) -> Written {
        self.write_lines(&stream, &contents).map(Ok)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<Stream>, contents: Vec<u8>) -> Written {
        self.write_lines(&stream, &contents).map(Ok)
    }

    fn flush(&mut self, _: Resource<Stream>) -> Written {
        Ok(Ok(()))
    }

    fn blocking_flush(&mut self, _: Resource<Stream>) -> Written {
        Ok(Ok(()))
    }

    fn subscribe(&mut self, _: Resource<Stream>) -> wasmtime::Result<Resource<Pollable>> {
        self.component.push(Pollable::READY)
    }

    fn write_zeroes(&mut self, stream: Resource<Stream>, len: u64) -> Written {
        // More is an error of the guest's, by the rules of `check-write`.
        let zeroes = vec![0; len.min(WRITE_BYTES) as usize];
        self.write_lines(&stream, &zeroes).map(Ok)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<Stream>, len: u64) -> Written {
        self.write_zeroes(stream, len)
    }

    fn splice(&mut self, _: Resource<Stream>, _: Resource<Nothing>, _: u64) -> Written<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_splice(&mut self, _: Resource<Stream>, _: Resource<Nothing>, _: u64) -> Written<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn drop(&mut self, handle: Resource<Stream>) -> wasmtime::Result<()> {
        self.component.drop(handle).map(|_| ())
    }
}
