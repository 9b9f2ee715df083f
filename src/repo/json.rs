//! Records as JSON: links as `{"$link": CID}`, bytes as `{"$bytes": base64}`.
//!
//! Source: <https://atproto.com/specs/data-model#json-representation>.

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64_NOPAD};
use ipld_core::ipld::Ipld;
use serde_json::{Map, Number, Value, json};

use super::cid::cid_from_text;
use super::drisl::MAX_DEPTH;

/// Integers up to here are the same number in every JSON parser.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A decoded value as JSON. What decoded data never has (floats that are not finite, integers of
/// more than 64 bits) becomes `null`, as JSON has no word for it.
pub fn ipld_to_json(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(bool) => Value::Bool(*bool),
        Ipld::Integer(integer) => integer_to_json(*integer),
        Ipld::Float(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        Ipld::String(text) => Value::String(text.clone()),
        Ipld::Bytes(bytes) => json!({ "$bytes": BASE64_NOPAD.encode(bytes) }),
        Ipld::List(items) => Value::Array(items.iter().map(ipld_to_json).collect()),
        Ipld::Map(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), ipld_to_json(value))).collect())
        }
        Ipld::Link(cid) => json!({ "$link": cid.to_string() }),
    }
}

fn integer_to_json(integer: i128) -> Value {
    let number =
        i64::try_from(integer).map(Number::from).or_else(|_| u64::try_from(integer).map(Number::from));
    number.map_or(Value::Null, Value::Number)
}

/// Reads the JSON of a record, or of a part of one. A number with a fraction is refused; one that is
/// whole may be written as `1.0`.
pub fn json_to_ipld(value: &Value) -> Result<Ipld, InvalidJson> {
    at_depth(value, 0)
}

fn at_depth(value: &Value, depth: usize) -> Result<Ipld, InvalidJson> {
    if depth > MAX_DEPTH {
        return Err(InvalidJson::TooDeep);
    }
    Ok(match value {
        Value::Null => Ipld::Null,
        Value::Bool(bool) => Ipld::Bool(*bool),
        Value::Number(number) => Ipld::Integer(integer(number)?),
        Value::String(text) => Ipld::String(text.clone()),
        Value::Array(items) => {
            Ipld::List(items.iter().map(|item| at_depth(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => object_to_ipld(object, depth)?,
    })
}

fn integer(number: &Number) -> Result<i128, InvalidJson> {
    if let Some(integer) = number.as_i64() {
        return Ok(i128::from(integer));
    }
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= MAX_EXACT_FLOAT => {
            Ok(float as i128)
        }
        Some(_) if number.is_u64() => Err(InvalidJson::Integer),
        _ => Err(InvalidJson::Float),
    }
}

fn object_to_ipld(object: &Map<String, Value>, depth: usize) -> Result<Ipld, InvalidJson> {
    if let Some(link) = object.get("$link") {
        let cid = link.as_str().and_then(cid_from_text).filter(|_| object.len() == 1);
        return cid.map(Ipld::Link).ok_or(InvalidJson::Link);
    }
    if let Some(bytes) = object.get("$bytes") {
        let bytes = bytes.as_str().and_then(base64).filter(|_| object.len() == 1);
        return bytes.map(Ipld::Bytes).ok_or(InvalidJson::Bytes);
    }
    let mut map = BTreeMap::new();
    for (key, value) in object {
        map.insert(key.clone(), at_depth(value, depth + 1)?);
    }
    check_type(&map)?;
    Ok(Ipld::Map(map))
}

/// `$type` is a name; that of a blob promises the fields of a blob.
fn check_type(map: &BTreeMap<String, Ipld>) -> Result<(), InvalidJson> {
    match map.get("$type") {
        None => Ok(()),
        Some(Ipld::String(name)) if name == "blob" => {
            let has_fields = matches!(map.get("ref"), Some(Ipld::Link(_)))
                && matches!(map.get("mimeType"), Some(Ipld::String(_)))
                && matches!(map.get("size"), Some(Ipld::Integer(0..)));
            if has_fields { Ok(()) } else { Err(InvalidJson::Blob) }
        }
        Some(Ipld::String(name)) if !name.is_empty() => Ok(()),
        Some(_) => Err(InvalidJson::Type),
    }
}

/// Base64 of the standard alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let encoding = if text.ends_with('=') { BASE64 } else { BASE64_NOPAD };
    encoding.decode(text.as_bytes()).ok()
}

/// Why JSON is not data of AT Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJson {
    /// `$type: blob` without the fields of one.
    #[error("a blob has a `ref` link, a `mimeType` text and a `size` of zero or more")]
    Blob,
    /// `$bytes` that is not base64, or not alone.
    #[error("`$bytes` is base64 text and the only field of its object")]
    Bytes,
    /// A number with a fraction, or beyond what a float holds exactly.
    #[error("AT Protocol data has no floats; use an integer or a string")]
    Float,
    /// An integer of more than 64 signed bits.
    #[error("an integer has more than 64 signed bits")]
    Integer,
    /// `$link` that is not a CID, or not alone.
    #[error("`$link` is the text of a CIDv1 (b...) and the only field of its object")]
    Link,
    /// Lists and objects nest too deep.
    #[error("arrays and objects nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// `$type` that is not text, or empty.
    #[error("`$type` is a text that is not empty")]
    Type,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::blob_cid;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let cid = blob_cid(b"wasm").to_string();
        let record = json!({
            "$type": "com.example.thing",
            "text": "naïve 👩‍🚀",
            "numbers": [0, -1, i64::MAX, i64::MIN],
            "flags": [true, false, null],
            "link": { "$link": cid },
            "bytes": { "$bytes": "nFERjvLLiw" },
            "none": { "$bytes": "" },
            "blob": { "$type": "blob", "ref": { "$link": cid }, "mimeType": "application/wasm", "size": 0 },
            "schema": { "$ref": "#/$defs/a", "$defs": {} },
        });
        let value = json_to_ipld(&record).unwrap();
        let Ipld::Map(map) = &value else { panic!("a map") };
        assert_eq!(map["link"], Ipld::Link(blob_cid(b"wasm")));
        assert_eq!(map["bytes"], Ipld::Bytes(vec![0x9c, 0x51, 0x11, 0x8e, 0xf2, 0xcb, 0x8b]));
        assert_eq!(ipld_to_json(&value), record);
    }

    #[test]
    fn padding_and_whole_numbers_with_a_point_are_taken() {
        assert_eq!(json_to_ipld(&json!({ "$bytes": "AAE=" })), Ok(Ipld::Bytes(vec![0, 1])));
        assert_eq!(json_to_ipld(&json!(123.0)), Ok(Ipld::Integer(123)));
        assert_eq!(json_to_ipld(&json!(-0.0)), Ok(Ipld::Integer(0)));
    }

    #[test]
    fn json_that_is_no_data_is_refused_with_its_reason() {
        let cid = blob_cid(b"wasm").to_string();
        let deep = (0..=MAX_DEPTH).fold(json!(null), |inner, _| json!([inner]));
        let cases = [
            (json!(123.456), InvalidJson::Float),
            (json!({ "a": [1.5] }), InvalidJson::Float),
            (json!(1e300), InvalidJson::Float),
            (json!(9_007_199_254_740_994.0), InvalidJson::Float),
            (json!(u64::MAX), InvalidJson::Integer),
            (json!(1u64 << 63), InvalidJson::Integer),
            (json!({ "$type": null }), InvalidJson::Type),
            (json!({ "$type": 123 }), InvalidJson::Type),
            (json!({ "$type": "" }), InvalidJson::Type),
            (json!({ "$link": 1234 }), InvalidJson::Link),
            (json!({ "$link": "." }), InvalidJson::Link),
            (json!({ "$link": cid, "other": 1 }), InvalidJson::Link),
            (json!({ "$bytes": [1, 2, 3] }), InvalidJson::Bytes),
            (json!({ "$bytes": "AAE", "other": 1 }), InvalidJson::Bytes),
            (json!({ "$bytes": "A" }), InvalidJson::Bytes),
            (json!({ "$bytes": "AA=" }), InvalidJson::Bytes),
            (json!({ "$bytes": "_-8" }), InvalidJson::Bytes),
            (json!({ "$type": "blob", "mimeType": "a/b", "size": 1 }), InvalidJson::Blob),
            (json!({ "$type": "blob", "ref": cid, "mimeType": "a/b", "size": 1 }), InvalidJson::Blob),
            (json!({ "$type": "blob", "ref": { "$link": cid }, "size": 1 }), InvalidJson::Blob),
            (
                json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "a/b", "size": "1" }),
                InvalidJson::Blob,
            ),
            (
                json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "a/b", "size": -1 }),
                InvalidJson::Blob,
            ),
            (deep, InvalidJson::TooDeep),
        ];
        for (value, reason) in cases {
            assert_eq!(json_to_ipld(&value), Err(reason), "{value}");
        }
    }

    #[test]
    fn what_json_cannot_say_becomes_null() {
        assert_eq!(ipld_to_json(&Ipld::Float(f64::NAN)), Value::Null);
        assert_eq!(ipld_to_json(&Ipld::Integer(i128::MAX)), Value::Null);
        assert_eq!(ipld_to_json(&Ipld::Integer(u64::MAX.into())), json!(u64::MAX));
    }
}
