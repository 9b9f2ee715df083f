//! One stage of a call, so many times: what `benches/instructions` has valgrind count the instructions of.
//!
//! `stages STAGE TIMES` does the stage that often within a function of a name of its own, `counted`, and
//! all that must be there for it outside of that. Everything is on one thread, with a clock that stands still, and no
//! guest runs; so the counts of one build differ by no more than 2 % from run to run, which is what its caches' upkeep,
//! done by the clock, makes of it.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use at_functions::auth::ServiceToken;
use at_functions::clock::Clock;
use at_functions::config::{Config, Settings};
use at_functions::dev::{Author, Modules, host_router};
use at_functions::identity::{Did, SigningKey};
use at_functions::lexicon::Mode;
use at_functions::sandbox::{
    Artifact, BoxFuture, CompileError, Compiled, Completion, InstallError, Job, Lease, Limits, Load, Logs,
    Lost, Sandbox, Usage,
};
use at_functions::server::{self, Listener, Service, Stages};
use at_functions::workers::process::Frames;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

const NOW: u64 = 1_790_000_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(stage), Some(times)) = (arguments.next(), arguments.next()) else {
        println!("stages STAGE TIMES, as benches/instructions calls it");
        return Ok(());
    };
    let times: usize = times.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut call = runtime.block_on(Call::prepare(times))?;
    // Timers belong to a runtime; nothing here waits for one.
    let _entered = runtime.enter();
    let done = match stage.as_str() {
        "verify" => counted(times, |n| at_once(call.stages.verify(&call.headers[n + 1])).is_ok()),
        "authorize" => counted(times, |_| at_once(call.stages.authorize()).is_ok()),
        "resolve" => counted(times, |_| at_once(call.stages.resolve()).is_ok()),
        "recall" => counted(times, |_| !call.stages.recall()),
        "frame" => counted(times, |_| call.exchange()),
        "answer" => counted(times, |_| call.stages.answer()),
        other => anyhow::bail!("{other} is no stage"),
    };
    anyhow::ensure!(done == times, "{stage} was done {done} times of {times}");
    Ok(())
}

/// Only what is below this is counted. Says how often it went well. It has no closure of its own, whose name would hold
/// this one's, and turn the counting off again.
#[inline(never)]
fn counted(times: usize, mut stage: impl FnMut(usize) -> bool) -> usize {
    let mut done = 0;
    for n in 0..times {
        done += usize::from(black_box(stage(n)));
    }
    done
}

/// The end of what need not wait for anything.
fn at_once<T, E: std::fmt::Debug>(stage: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
    match pin!(stage).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map_err(|error| anyhow::anyhow!("{error:?}")),
        Poll::Pending => anyhow::bail!("it waits"),
    }
}

/// A call that is known, and tokens for more of it.
struct Call {
    stages: Stages,
    frames: Frames,
    headers: Vec<HeaderMap>,
    input: Bytes,
    completion: Completion,
    _data: tempfile::TempDir,
}

impl Call {
    async fn prepare(times: usize) -> anyhow::Result<Call> {
        let clock = Clock::manual(NOW);
        let data = tempfile::tempdir()?;
        let listener = Listener::bind("repo", ([127, 0, 0, 1], 0).into()).await?;
        let author = Arc::new(Author::at_port(listener.address().port(), clock.clone())?);
        let router = host_router(Arc::clone(&author));
        tokio::spawn(server::serve(listener, router, std::future::pending()));
        let config = Config::complete(Settings {
            hostname: Some("localhost:3000".into()),
            data_dir: Some(data.path().to_owned()),
            plc_url: Some(author.origin().parse()?),
            allow_private_network: Some(true),
            caller_limit: Some("1000000/s burst 1000000 at-once 64".parse()?),
            ..Settings::default()
        })?;
        let service = Service::start_with(&config, clock.clone(), Arc::new(NoSandbox))?;
        let key = SigningKey::from_bytes(&[7; 32])?;
        let caller = caller(&key).await?;
        let module = Modules::example();
        let published = author.publish(&module.rkey, Mode::PureV1, module.wasm)?;
        let headers = (0..=times)
            .map(|n| {
                let token = ServiceToken::new(&caller, "did:web:localhost%3A3000", "at.functions.run", NOW);
                let token = token.id(format!("{n:08}")).sign(&key);
                let value = HeaderValue::from_str(&format!("Bearer {token}"))?;
                Ok(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let body = json!({ "function": published.uri.to_string(), "input": { "hello": "world" } });
        let body = Bytes::from(body.to_string());
        let stages = Stages::start(service, &headers[0], body).await;
        let stages = stages.map_err(|error| anyhow::anyhow!("the first call: {error:?}"))?;
        let limits = Limits {
            memory_bytes: 32 << 20,
            duration: Duration::from_millis(100),
            output_bytes: 1 << 20,
            host_calls: 1_000,
            host_bytes: 32 << 20,
        };
        let context = at_functions::sandbox::Context {
            caller: Some(caller.to_string()),
            function: published.uri.to_string(),
            function_cid: published.cid.to_string(),
            request_id: "0123456789abcdef".into(),
            started: Duration::from_secs(NOW),
        };
        let output = Bytes::from_static(br#"{"ok":true,"echo":{"hello":"world"},"mode":"pure-v1"}"#);
        Ok(Call {
            stages,
            frames: Frames::new(limits, context)?,
            headers,
            input: Bytes::from_static(br#"{"hello":"world"}"#),
            completion: Completion {
                usage: Usage { output_bytes: output.len() as u64, ..Usage::default() },
                result: Ok(output),
                wall: Duration::from_micros(30),
                logs: Logs::default(),
            },
            _data: data,
        })
    }

    fn exchange(&mut self) -> bool {
        self.frames.exchange(self.input.clone(), self.completion.clone()).is_some()
    }
}

/// A caller whose DID document is served on loopback.
async fn caller(key: &SigningKey) -> anyhow::Result<Did> {
    let listener = Listener::bind("caller", ([127, 0, 0, 1], 0).into()).await?;
    let did = Did::parse(&format!("did:web:localhost%3A{}", listener.address().port()))?;
    let document = json!({
        "id": did,
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
            "publicKeyMultibase": key.public().to_multikey(),
        }],
    })
    .to_string();
    let answer = move || async move { ([("content-type", "application/json")], document) };
    let router = Router::new().route("/.well-known/did.json", get(answer));
    tokio::spawn(server::serve(listener, router, std::future::pending()));
    Ok(did)
}

/// Valgrind has no room for the address space of a true one, and nothing runs here.
struct NoSandbox;

impl Sandbox for NoSandbox {
    fn compile(&self, _: Mode, _: Bytes) -> BoxFuture<'static, Result<Compiled, CompileError>> {
        Box::pin(std::future::ready(Err(CompileError::Lost)))
    }

    fn install(&self, _: &Compiled) -> Result<Artifact, InstallError> {
        Err(InstallError::Machine("there is no sandbox".into()))
    }

    fn max_compiles(&self) -> usize {
        1
    }

    fn fingerprint(&self) -> u64 {
        0
    }

    fn run(&self, _: Job, _: Lease) -> BoxFuture<'static, Result<Completion, Lost>> {
        Box::pin(std::future::ready(Err(Lost::Closed)))
    }

    fn max_runs(&self) -> usize {
        1
    }

    fn load(&self) -> Load {
        Load::default()
    }
}
