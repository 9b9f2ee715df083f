//! JSON text as a tree, within bounds.
//!
//! A member that stands twice in an object is refused: readers differ in which one they take, so
//! what was checked might not be what the guest sees (RFC 8259, section 4).

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::error::CheckError;

/// What a tree may take in memory. An object of one member takes half a kilobyte for its seven bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What an object takes at least: the first node of its map.
const OBJECT_BYTES: usize = 640;
/// What a value takes in its parent, with room that the parent keeps.
const VALUE_BYTES: usize = 2 * size_of::<Value>();

/// A JSON text, read.
#[derive(Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) value: Value,
    /// Containers within each other: 0 for a scalar.
    pub(super) depth: usize,
    /// The bytes of the longest path to a part.
    pub(super) path_bytes: usize,
}

/// The tree of one JSON text.
pub(super) fn read(json: &[u8]) -> Result<Tree, CheckError> {
    let bounds = Bounds {
        left: Cell::new(MAX_BYTES),
        deepest: Cell::new(0),
        longest: Cell::new(0),
        fault: RefCell::new(None),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Seed { bounds: &bounds, depth: 0, path_bytes: 0 }.deserialize(&mut deserializer);
    match value.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(Tree { value, depth: bounds.deepest.get(), path_bytes: bounds.longest.get() }),
        Err(_) => Err(bounds.fault.take().unwrap_or(CheckError::Unreadable)),
    }
}

/// The digits of an index in an array, at most.
const INDEX_BYTES: usize = 8;

struct Bounds {
    left: Cell<usize>,
    deepest: Cell<usize>,
    longest: Cell<usize>,
    fault: RefCell<Option<CheckError>>,
}

impl Bounds {
    fn take<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.fail(CheckError::TooCostly)),
        }
    }

    fn fail<E: serde::de::Error>(&self, fault: CheckError) -> E {
        *self.fault.borrow_mut() = Some(fault);
        E::custom("out of bounds")
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    bounds: &'a Bounds,
    depth: usize,
    path_bytes: usize,
}

impl Seed<'_> {
    /// For a part under a name of so many bytes.
    fn below(self, name: usize) -> Self {
        let (depth, path_bytes) = (self.depth + 1, self.path_bytes + 1 + name);
        self.bounds.deepest.set(self.bounds.deepest.get().max(depth));
        self.bounds.longest.set(self.bounds.longest.get().max(path_bytes));
        Seed { depth, path_bytes, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.bounds.take(VALUE_BYTES)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.bounds.take(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(INDEX_BYTES))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let node = if object.is_empty() { OBJECT_BYTES } else { 0 };
            self.bounds.take(node + size_of::<String>() + name.len())?;
            let value = members.next_value_seed(self.below(name.len()))?;
            match object.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    let name = super::clip(place.key());
                    return Err(self.bounds.fail(CheckError::Duplicate(name)));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_serde_json_reads() {
        let texts = [
            "null",
            "[]",
            "{}",
            " [1, -2, 3.5, 1e308, 18446744073709551615, 18446744073709551616] ",
            "\"a\\u0000é\"",
            "{\"a\":{\"b\":[true,false]},\"\":0}",
            "-0.0",
            "-9223372036854775808",
        ];
        for text in texts {
            let tree = read(text.as_bytes()).unwrap();
            assert_eq!(tree.value, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn depth_counts_containers() {
        for (text, depth) in [("1", 0), ("[]", 1), ("[1]", 1), ("{\"a\":[1]}", 2), ("[[1],[[2]]]", 3)] {
            assert_eq!(read(text.as_bytes()).unwrap().depth, depth, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused_with_its_reason() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let objects = format!("[{}0]", "{\"a\":0},".repeat(130_000));
        let cases = [
            ("1e400", CheckError::Unreadable),
            ("", CheckError::Unreadable),
            ("1 2", CheckError::Unreadable),
            (deep.as_str(), CheckError::Unreadable),
            (objects.as_str(), CheckError::TooCostly),
            ("[{\"a\":1,\"b\":2,\"a\":1}]", CheckError::Duplicate("a".to_owned())),
            ("{\"a\":1,\"\\u0061\":2}", CheckError::Duplicate("a".to_owned())),
        ];
        for (text, reason) in cases {
            assert_eq!(read(text.as_bytes()), Err(reason), "{}", &text[..text.len().min(40)]);
        }
    }
}
