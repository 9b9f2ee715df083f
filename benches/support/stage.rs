//! A service, an author beside it, and callers.

use std::net::SocketAddr;
use std::sync::Arc;

use at_functions::clock::Clock;
use at_functions::config::Isolation;
use at_functions::dev::Author;
use at_functions::lexicon::{Mode, RecordKey};
use serde_json::{Value, json};

use super::callers::{Callers, Key};
use super::load::{Called, call_each};
use super::network;
use super::running::{Options, Running};

/// The service, an author, and callers.
pub(crate) struct Stage {
    pub(crate) author: Arc<Author>,
    pub(crate) service: SocketAddr,
    pub(crate) running: Running,
    options: Options,
    callers: Callers,
    data: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn start(isolation: Isolation) -> anyhow::Result<Stage> {
        Stage::start_with(Options::new(isolation)).await
    }

    pub(crate) async fn start_with(options: Options) -> anyhow::Result<Stage> {
        let author = network::author().await?;
        let data = tempfile::tempdir()?;
        let running = Running::start(&options, data.path(), author.origin()).await?;
        Ok(Stage {
            service: running.address,
            running,
            author,
            options,
            callers: Callers::start().await?,
            data,
        })
    }

    /// Stops the service and starts it anew, with what it kept.
    pub(crate) async fn restart(self) -> anyhow::Result<Stage> {
        self.running.stop()?;
        let running = Running::start(&self.options, self.data.path(), self.author.origin()).await?;
        Ok(Stage { service: running.address, running, ..self })
    }

    /// Fresh tokens with ES256K.
    pub(crate) fn tokens(&mut self, count: usize) -> Arc<Vec<String>> {
        self.tokens_of(Key::K256, count)
    }

    /// Fresh tokens.
    pub(crate) fn tokens_of(&mut self, key: Key, count: usize) -> Arc<Vec<String>> {
        self.callers.tokens(key, count, &self.running.did, Clock::system().unix_seconds())
    }

    /// Publishes a function of the stage's author; the body of a call of it.
    pub(crate) fn publish(&self, name: &str, mode: Mode, wasm: Vec<u8>) -> anyhow::Result<String> {
        call_of(&self.author, name, mode, wasm, &json!({ "hello": "world" }))
    }

    /// Calls each of these bodies once, one after the other, with ES256K; what each came to, in that order.
    pub(crate) async fn one_after_the_other(&mut self, bodies: &[String]) -> anyhow::Result<Vec<Called>> {
        let tokens = self.tokens(bodies.len());
        let called = call_each(self.service, bodies, &tokens).await?;
        match called.iter().find(|call| call.cache.is_empty()) {
            Some(call) => anyhow::bail!("a call was refused after {:.0} us: {}", call.micros, call.refusal),
            None => Ok(called),
        }
    }

    /// How many compiled modules are on disk.
    pub(crate) fn artifacts_on_disk(&self) -> usize {
        std::fs::read_dir(self.data.path().join("artifacts")).map_or(0, |files| files.count())
    }
}

/// Publishes a function; the body of a call of it.
pub(crate) fn call_of(
    author: &Author,
    name: &str,
    mode: Mode,
    wasm: Vec<u8>,
    input: &Value,
) -> anyhow::Result<String> {
    let published = author.publish(&RecordKey::parse(name)?, mode, wasm.into())?;
    Ok(json!({ "function": published.uri.to_string(), "input": input }).to_string())
}

/// Publishes a function whose record asks for this much time and memory.
pub(crate) fn record_of(
    author: &Author,
    name: &str,
    wasm: Vec<u8>,
    (millis, memory_mb): (u32, u32),
) -> anyhow::Result<String> {
    let record = json!({
        "$type": "at.functions.metadata",
        "name": name,
        "version": "0.1.0",
        "updatedAt": "2026-01-01T00:00:00Z",
        "mode": "pure-v1",
        "code": {
            "$type": "blob",
            "ref": { "$link": at_functions::repo::blob_cid(&wasm).to_string() },
            "mimeType": "application/wasm",
            "size": wasm.len(),
        },
        "entrypoint": "run",
        "inputEncoding": "application/json",
        "outputEncoding": "application/json",
        "maxDurationMs": millis,
        "maxMemoryMb": memory_mb,
    });
    let published = author.put(&RecordKey::parse(name)?, &record, [wasm.into()])?;
    Ok(json!({ "function": published.uri.to_string(), "input": {} }).to_string())
}
