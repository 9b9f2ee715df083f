//! Bytes as they cross to another process: in one piece, not one by one.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::Failure;

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    deserializer.deserialize_bytes(BytesVisitor)
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }
}

/// An output or why there is none.
pub(super) mod result {
    use super::*;

    #[derive(Serialize, Deserialize)]
    enum Wire {
        Failed(Failure),
        Output(#[serde(with = "super")] Bytes),
    }

    pub(crate) fn serialize<S: Serializer>(
        result: &Result<Bytes, Failure>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match result.clone() {
            Ok(output) => Wire::Output(output).serialize(serializer),
            Err(failure) => Wire::Failed(failure).serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Result<Bytes, Failure>, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Output(output) => Ok(output),
            Wire::Failed(failure) => Err(failure),
        })
    }
}
