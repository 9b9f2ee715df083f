//! Writes `seeds/`: one true input for each way through each target. Run it in `fuzz/`.

use std::fs;
use std::io;

use at_functions::lexicon::Mode;
use at_functions_fuzz::world::{RKEY, car, record, token};

const SCHEMA: &[u8] = br#"{"type":"object","required":["a"],"properties":{"a":{"pattern":"^[a-z]{2}$"}},"unevaluatedProperties":false,"patternProperties":{"^b":{"enum":[1,"x"],"not":{"const":2}}}}
{"a":"xy","b":1}"#;

fn main() -> io::Result<()> {
    let metadata = serde_ipld_dagcbor::to_vec(&record("echo")).map_err(io::Error::other)?;
    let claims = br#"{"iss":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","aud":"did:web:fn.example.com#at_functions","exp":1790000060,"iat":1790000000,"lxm":"at.functions.run","jti":"x"}"#;
    let mut seeds: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "allowed_hosts",
            "entries",
            b"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.post\nat://Alice.example.com".to_vec(),
        ),
        ("at_uri", "did", b"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/echo".to_vec()),
        ("at_uri", "handle", b"at://Alice.example.com/com.example.thing/3jzfcijpj2z2a".to_vec()),
        ("car_bytes", "present", car(RKEY)),
        ("car_bytes", "absent", car("fn7x")),
        ("car_edits", "copy", vec![3, 0, 60, 80, 9, 4, 0, 90, 70, 3]),
        ("jwt", "header", format!("\0Bearer {}", token()).into_bytes()),
        ("jwt", "claims", [b"\x01", &claims[..]].concat()),
        ("jwt", "token-header", br##"/{"typ":"JWT","alg":"ES256K","kid":"#atproto"}"##.to_vec()),
        ("metadata", "echo", metadata),
        (
            "module",
            "component",
            [b"\x02", &include_bytes!("../../examples/component-rust/lister.wasm")[..]].concat(),
        ),
        ("module", "pure", [b"\0", &include_bytes!("../../examples/pure-rust/echo.wasm")[..]].concat()),
        ("packed_pointer", "whole", [&7u32.to_le_bytes()[..], &1032u32.to_le_bytes(), b"[1,2,3]"].concat()),
        ("packed_pointer", "edge", [&2u32.to_le_bytes()[..], &65_534u32.to_le_bytes()].concat()),
        ("schema", "object", SCHEMA.to_vec()),
        (
            "schema",
            "tree",
            br##"{"anyOf":[{"type":"integer"},{"items":{"$ref":"#"}}]}"##
                .iter()
                .chain(b"\n[1,[2,\"x\"]]")
                .copied()
                .collect(),
        ),
    ];
    // One small function of each mode, under the number of its mode.
    let modules: [(&str, &[u8]); 5] = [
        ("pure-v1", include_bytes!("../../src/workers/process/canary/pure-v1.wasm")),
        ("host-v1", include_bytes!("../../src/workers/process/canary/host-v1.wasm")),
        ("component-v1", include_bytes!("../../src/workers/process/canary/component-v1.wasm")),
        ("wasi-v1", include_bytes!("../../src/workers/process/canary/wasi-v1.wasm")),
        ("cstr-v1", include_bytes!("../../src/workers/process/canary/cstr-v1.wasm")),
    ];
    for (name, code) in modules {
        let number = Mode::ALL.iter().position(|mode| mode.as_str() == name).unwrap_or_default() as u8;
        for target in ["any_module", "module"] {
            seeds.push((target, name, [&[number], code].concat()));
        }
    }
    for (name, step) in [("walk", 7), ("run", 59), ("leap", 131)] {
        let bytes = (0..160usize).map(|at| (at * at * step / 3 + at * step) as u8).collect();
        seeds.push(("generated", name, bytes));
    }
    for (target, name, bytes) in seeds {
        fs::create_dir_all(format!("seeds/{target}"))?;
        fs::write(format!("seeds/{target}/{name}"), bytes)?;
    }
    Ok(())
}
