//! `wasmtime serve`, the engine's own server, beside ours: a component that says hello in a fresh instance a request, and
//! asks nobody who he is.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The version that is compared with.
pub(crate) const VERSION: &str = "48";
/// The longest that a start may take.
const START: Duration = Duration::from_secs(60);

/// A running server; killed when it is dropped.
pub(crate) struct WasmtimeServe {
    process: Child,
    _component: tempfile::NamedTempFile,
    pub(crate) address: SocketAddr,
}

impl WasmtimeServe {
    /// Starts the program that the variable `WASMTIME` names, or that of the path; `None`, and says why, where there is
    /// none of this version.
    pub(crate) async fn start() -> anyhow::Result<Option<WasmtimeServe>> {
        let program = std::env::var_os("WASMTIME").unwrap_or_else(|| "wasmtime".into());
        let version = Command::new(&program).arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let is_this = |version: &String| version.starts_with(&format!("wasmtime {VERSION}."));
        if !version.as_ref().is_ok_and(is_this) {
            let found = version.unwrap_or_else(|error| error.to_string());
            println!(
                "`wasmtime serve` is not measured: {} is no wasmtime {VERSION} ({found}). To have it: cargo install wasmtime-cli \
                 --version {VERSION}.0.8 --locked, and WASMTIME=PATH where it is not on the path",
                program.display()
            );
            return Ok(None);
        }
        let component = tempfile::NamedTempFile::new()?;
        std::fs::write(component.path(), hello()?)?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let process = Command::new(&program)
            .args(["serve".to_owned(), format!("--addr={address}")])
            .arg(component.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("wasmtime serve")?;
        let mut serving = WasmtimeServe { process, _component: component, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            anyhow::ensure!(serving.process.try_wait()?.is_none(), "wasmtime serve ended at its start");
            anyhow::ensure!(started.elapsed() < START, "wasmtime serve was not ready in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Some(serving))
    }
}

impl Drop for WasmtimeServe {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after `wait`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The component.
fn hello() -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("hello.wit", include_str!("hello.wit"))?;
    let world = resolve.select_world(&[package], None)?;
    let mut module = wat::parse_str(include_str!("hello.wat"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}
