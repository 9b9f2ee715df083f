//! The log, and what is found of what was done to it.

mod kept;
mod verified;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::chain::{CHECKPOINT, Chain};
use super::state::Source;
use super::*;
use crate::clock::Clock;
use crate::config::AuditRule;
use crate::identity::SigningKey;

const NAME: &str = "00000000000000000001.jsonl";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

/// A log of ten lines: a start, calls, and a checkpoint in fourth place and at the end.
fn lines_by(signer: &SigningKey, named: &SigningKey) -> (Vec<Vec<u8>>, Head) {
    let mut chain = Chain { head: Head::START };
    let lines = (1..=10)
        .map(|number| {
            let mut line = Vec::new();
            match number {
                1 => chain.line(&json!({"kind": "start", "committed": "new"}).to_string(), &mut line),
                4 | 10 => {
                    let body = json!({"kind": CHECKPOINT, "key": named.public().to_multikey()});
                    chain.checkpoint(&body.to_string(), signer, &mut line);
                }
                _ => chain.line(&json!({"kind": "call", "request": number}).to_string(), &mut line),
            }
            line
        })
        .collect();
    (lines, chain.head)
}

fn log() -> (Vec<Vec<u8>>, Expected) {
    let (lines, head) = lines_by(&key(1), &key(1));
    (lines, Expected { keys: vec![key(1).public()], heads: vec![head], first: Some(1) })
}

fn verified(bytes: &[u8], expected: &Expected) -> Findings {
    verify([Ok((NAME.to_owned(), bytes))], expected).unwrap()
}

/// The flaws and their lines.
fn flaws(lines: &[Vec<u8>], expected: &Expected) -> Vec<(u64, Flaw)> {
    let found = verified(&lines.concat(), expected);
    found.issues.into_iter().map(|issue| (issue.line, issue.flaw)).collect()
}
