//! Makes a component of a core module: `componentize MODULE COMPONENT [WIT WORLD]`.
//!
//! What the module's functions mean in terms of a WIT world stands in a section of the module, which
//! binding generators for Rust write. For a module without that section, `WIT` (a file or folder) and
//! `WORLD` say it. Imports of WASI preview 1 become imports of WASI 0.2, by the adapter that the
//! Bytecode Alliance publishes.

use std::borrow::Cow;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use wasi_preview1_component_adapter_provider as adapter;
use wasm_encoder::{CustomSection, Encode, Section};
use wit_component::{ComponentEncoder, StringEncoding, metadata};
use wit_parser::Resolve;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (module, component, world) = match arguments[..] {
        [module, component] => (module, component, None),
        [module, component, wit, world] => (module, component, Some((wit, world))),
        _ => bail!("usage: componentize MODULE COMPONENT [WIT WORLD]"),
    };
    let mut code = fs::read(module).with_context(|| format!("reading {module}"))?;
    if let Some((wit, world)) = world {
        code.extend(world_section(Path::new(wit), world)?);
    }
    let made = ComponentEncoder::default()
        .module(&code)?
        .validate(true)
        .adapter(
            adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?
        .encode()
        .with_context(|| format!("making a component of {module}"))?;
    fs::write(component, made).with_context(|| format!("writing {component}"))
}

/// The section that says which world a module is written for.
fn world_section(wit: &Path, world: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("reading {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let data = metadata::encode(&resolve, world, StringEncoding::UTF8, None)?;
    let section =
        CustomSection { name: Cow::Borrowed("component-type:componentize"), data: Cow::Borrowed(&data) };
    let mut bytes = vec![section.id()];
    section.encode(&mut bytes);
    Ok(bytes)
}
