//! Projects under `dev`: built and published at the start, and again whenever a source changes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::super::error::CliError;
use super::super::output::{self, failure, printable};
use super::super::project::{BuildArgs, Project, Sources};
use super::super::put;
use super::super::record::Code;
use super::super::wasm;
use crate::clock::Clock;
use crate::dev::Author;
use crate::lexicon::Mode;
use crate::repo::blob_cid;

/// How long nothing may change before a build: editors save in several steps, with files that are gone at once.
const SETTLED: Duration = Duration::from_millis(50);
/// How often that is waited for, in a folder that is never at rest.
const SETTLING: usize = 6;

/// A project that is watched.
pub(super) struct Watched {
    project: Project,
    /// As they were when the last build began.
    seen: Option<Sources>,
    /// An input that its schema gives as an example.
    pub(super) example: Option<Value>,
}

impl Watched {
    pub(super) fn new(project: Project) -> Watched {
        Watched { project, seen: None, example: None }
    }

    pub(super) fn name(&self) -> String {
        printable(&self.project.manifest.name)
    }

    /// Builds and publishes the project if a source changed since the last build began. What goes wrong is told, and what
    /// was published before stays.
    pub(super) async fn keep_up(&mut self, author: &Author, clock: &Clock) {
        let now = Sources::of(&self.project);
        if self.seen.as_ref() == Some(&now) {
            return;
        }
        if self.seen.is_some() {
            self.settled(now).await;
        }
        if let Err(error) = self.build_and_publish(author, clock).await {
            output::note(&failure(&error.to_string(), error.advice()));
            output::note(&format!("not published: {}; it is built again when a file changes", self.name()));
        }
    }

    /// Waits until the sources stay as they are.
    async fn settled(&self, mut seen: Sources) {
        for _ in 0..SETTLING {
            tokio::time::sleep(SETTLED).await;
            let now = Sources::of(&self.project);
            if now == seen {
                break;
            }
            seen = now;
        }
    }

    async fn build_and_publish(&mut self, author: &Author, clock: &Clock) -> Result<(), CliError> {
        self.seen = Some(Sources::of(&self.project));
        // The manifest may be what changed.
        self.project = Project::at(Some(&self.project.root))?;
        // Sources that it names now count from the start of this build.
        self.seen = Some(Sources::of(&self.project));
        let built = self.project.build(BuildArgs::default()).await?;
        let (code, manifest) = (built.code, &self.project.manifest);
        let mode = manifest.mode.unwrap_or_else(|| wasm::likely_mode(&code));
        wasm::check(&code, mode)
            .map_err(|why| CliError::Build(format!("services refuse it as {mode}: {why}")))?;
        let record = self.record(mode, &code, clock).await?;
        self.example = record["inputSchema"]["examples"].get(0).cloned();
        let bytes = code.len();
        let published = author
            .put(self.project.rkey(), &record, [Bytes::from(code)])
            .map_err(|error| CliError::Build(error.to_string()))?;
        println!(
            "published {}  ({mode}, {bytes} bytes, record {}, built in {:.1} s)",
            published.uri,
            published.cid,
            built.took.as_secs_f64()
        );
        if !manifest.public {
            output::note("note: `public = false` holds where it is deployed: calls of `dev` have no token");
        }
        Ok(())
    }

    /// The record as a deploy would write it, but for what keeps callers out.
    async fn record(&self, mode: Mode, code: &[u8], clock: &Clock) -> Result<Value, CliError> {
        let blob = Code {
            cid: blob_cid(code).to_string(),
            mime_type: "application/wasm".to_owned(),
            size: code.len() as u64,
        };
        let mut record = self.project.draft(mode).await?.record(&blob, &put::now(clock));
        record["public"] = true.into();
        Ok(record)
    }
}
