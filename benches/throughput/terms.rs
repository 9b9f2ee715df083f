//! What a call cannot do without, each measured alone, on all cores at once.

use std::time::Duration;

use at_functions::config::Isolation;
use at_functions::identity::{Curve, PublicKey, SigningKey};
use k256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
};

use super::support::network::Mirror;
use super::support::processes::repeated;
use super::support::{Key, median, modules};

const TIME: Duration = Duration::from_millis(500);
/// About what a token's signature covers.
const SIGNED_BYTES: usize = 330;
const INPUT: &[u8] = br#"{"hello":"world"}"#;

/// Processor microseconds of each, round by round.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) http: Vec<f64>,
    k256: Vec<f64>,
    libsecp256k1: Vec<f64>,
    p256: Vec<f64>,
    instance: Vec<f64>,
    round_trip: Vec<f64>,
}

impl Terms {
    /// One more round of each but HTTP.
    pub(crate) fn measure(mut self) -> anyhow::Result<Terms> {
        self.k256.push(repeated(TIME, k256_verify)?);
        self.libsecp256k1.push(repeated(TIME, libsecp256k1_verify)?);
        self.p256.push(repeated(TIME, p256_verify)?);
        let pre = instance_pre().map_err(told)?;
        self.instance.push(repeated(TIME, || Ok(instance_call(pre.clone())))?);
        self.round_trip.push(repeated(TIME, || {
            let mirror = Mirror::start()?;
            Ok(move || mirror.round_trip().map(drop))
        })?);
        Ok(self)
    }

    /// Each with its name.
    pub(crate) fn told(&self) -> [(&'static str, f64); 6] {
        [
            ("HTTP, load generator included", self.http_micros()),
            ("one ES256K verification, libsecp256k1", median(&self.libsecp256k1)),
            ("one ES256K verification, k256", median(&self.k256)),
            ("one ES256 verification, aws-lc-rs", median(&self.p256)),
            ("one instance and call", median(&self.instance)),
            ("one bare round trip to another process", median(&self.round_trip)),
        ]
    }

    /// The floor of HTTP; nothing where it was not measured.
    pub(crate) fn http_micros(&self) -> f64 {
        if self.http.is_empty() { 0.0 } else { median(&self.http) }
    }

    /// What a call costs at least.
    pub(crate) fn sum_micros(&self, key: Key, isolation: Isolation) -> f64 {
        let verification = match key {
            Key::K256 => median(&self.libsecp256k1).min(median(&self.k256)),
            Key::P256 => median(&self.p256),
        };
        let wall = match isolation {
            Isolation::Process => median(&self.round_trip),
            Isolation::Thread => 0.0,
        };
        self.http_micros() + verification + median(&self.instance) + wall
    }
}

fn message() -> Vec<u8> {
    vec![b'm'; SIGNED_BYTES]
}

fn k256_verify() -> anyhow::Result<impl FnMut() -> anyhow::Result<()> + Send> {
    use k256::ecdsa::signature::Verifier as _;
    let message = message();
    let key = k256::ecdsa::SigningKey::from_slice(&[7; 32])?;
    let signature: k256::ecdsa::Signature = key.sign(&message);
    let public = *key.verifying_key();
    Ok(move || Ok(public.verify(&message, &signature.normalize_s())?))
}

fn libsecp256k1_verify() -> anyhow::Result<impl FnMut() -> anyhow::Result<()> + Send> {
    let message = message();
    let key = SigningKey::from_bytes(&[7; 32])?;
    let compact = key.sign(&message);
    let public = secp256k1::PublicKey::from_slice(key.public().compressed())?;
    Ok(move || {
        let digest: [u8; 32] = Sha256::digest(&message).into();
        let mut signature = secp256k1::ecdsa::Signature::from_compact(&compact)?;
        signature.normalize_s();
        Ok(secp256k1::ecdsa::verify(&signature, secp256k1::Message::from_digest(digest), &public)?)
    })
}

fn p256_verify() -> anyhow::Result<impl FnMut() -> anyhow::Result<()> + Send> {
    let message = message();
    let key = p256::ecdsa::SigningKey::from_slice(&[9; 32])?;
    let signature: p256::ecdsa::Signature = key.sign(&message);
    let point = key.verifying_key().to_sec1_point(false);
    let public = PublicKey::from_sec1(Curve::P256, point.as_bytes())?;
    let signature = signature.to_bytes();
    Ok(move || Ok(public.verify_lenient(&message, &signature)?))
}

/// The example's echo, ready to be instantiated, with the settings of the service's engine (`src/sandbox/engine.rs`)
/// as far as they matter for one small guest.
fn instance_pre() -> wasmtime::Result<InstancePre<()>> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(64)
        .total_memories(64)
        .total_tables(64)
        .max_unused_warm_slots(32)
        .linear_memory_keep_resident(128 * 1024)
        .table_keep_resident(16 * 1024);
    let mut config = Config::new();
    config
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let module = Module::from_binary(&engine, &modules::echo())?;
    Linker::new(&engine).instantiate_pre(&module)
}

/// One instance made, called and dropped.
fn instance_call(pre: InstancePre<()>) -> impl FnMut() -> anyhow::Result<()> + Send {
    move || {
        let output = output_of(&pre).map_err(told)?;
        anyhow::ensure!(output.starts_with(b"{\"ok\":true"), "not the echo's output");
        Ok(())
    }
}

fn output_of(pre: &InstancePre<()>) -> wasmtime::Result<Vec<u8>> {
    let mut store = Store::new(pre.module().engine(), ());
    store.set_epoch_deadline(1);
    let instance = pre.instantiate(&mut store)?;
    let missing = || wasmtime::Error::msg("the echo has no memory");
    let memory = instance.get_memory(&mut store, "memory").ok_or_else(missing)?;
    let alloc = instance.get_typed_func::<i32, i32>(&mut store, "alloc")?;
    let run = instance.get_typed_func::<(i32, i32), i64>(&mut store, "run")?;
    let place = alloc.call(&mut store, INPUT.len() as i32)?;
    memory.write(&mut store, place as usize, INPUT)?;
    let packed = run.call(&mut store, (place, INPUT.len() as i32))? as u64;
    let mut output = vec![0; packed as u32 as usize];
    memory.read(&store, (packed >> 32) as usize, &mut output)?;
    Ok(output)
}

fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
