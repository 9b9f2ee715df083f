//! Equality of JSON values, within the budget (`meter.rs`).
//!
//! The library's own search for equal items can be made to compare each with each: its hashes do not
//! tell `[[]]` from `[[[]]]`. These are keyed, and know where a container begins and ends.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use serde_json::{Number, Value};

use super::meter::{pay, same_number};

/// What a value costs to hash, beside the bytes of its texts.
const HASH: u64 = 8;

/// Whether two values are equal, as JSON Schema compares them: `1.0` is `1`, and the order of members is nothing.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    if !pay(1) {
        return false;
    }
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => same_number(one, other),
        (Value::String(one), Value::String(other)) => {
            one.len() == other.len() && pay(one.len() as u64 / 16) && one == other
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value): (&String, &Value)| {
                pay(4 + name.len() as u64 / 16) && other.get(name).is_some_and(|other| equal(value, other))
            };
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}

/// Whether no two of these are equal.
pub(super) fn all_differ(items: &[Value]) -> bool {
    if !pay(items.len() as u64 * 4) {
        return true;
    }
    let state = RandomState::new();
    let mut hashed: Vec<(u64, &Value)> = Vec::with_capacity(items.len());
    for item in items {
        let mut hasher = state.build_hasher();
        if !hash(item, &mut hasher) {
            return true;
        }
        hashed.push((hasher.finish(), item));
    }
    hashed.sort_unstable_by_key(|(hash, _)| *hash);
    // Different values with the same hash of 64 keyed bits do not happen; should they, a pair that
    // they stand between is missed.
    !hashed.windows(2).any(|pair| pair[0].0 == pair[1].0 && equal(pair[0].1, pair[1].1))
}

/// Hashes a value so that equal ones hash alike. Says whether the budget was enough.
fn hash(value: &Value, hasher: &mut impl Hasher) -> bool {
    if !pay(HASH) {
        return false;
    }
    match value {
        Value::Null => hasher.write_u8(0),
        Value::Bool(value) => hasher.write_u8(1 + u8::from(*value)),
        Value::Number(number) => hash_number(number, hasher),
        Value::String(text) => {
            hasher.write_u8(5);
            text.hash(hasher);
            return pay(text.len() as u64 / 8);
        }
        Value::Array(items) => {
            hasher.write_u8(6);
            hasher.write_usize(items.len());
            return items.iter().all(|item| hash(item, hasher));
        }
        // A map of serde_json is sorted by names unless its feature `preserve_order` is on, in which
        // case equal objects could hash apart; a test holds the order.
        Value::Object(members) => {
            hasher.write_u8(7);
            hasher.write_usize(members.len());
            return members.iter().all(|(name, member)| {
                name.hash(hasher);
                pay(name.len() as u64 / 8) && hash(member, hasher)
            });
        }
    }
    true
}

fn hash_number(number: &Number, hasher: &mut impl Hasher) {
    /// Floats below are whole numbers that an `i128` holds, if they have no fraction.
    const WHOLE: f64 = 1e38;
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let float = number.as_f64().unwrap_or(f64::INFINITY);
    match integer {
        Some(integer) => {
            hasher.write_u8(3);
            hasher.write_i128(integer);
        }
        None if float.fract() == 0.0 && float.abs() < WHOLE => {
            hasher.write_u8(3);
            hasher.write_i128(float as i128);
        }
        None => {
            hasher.write_u8(4);
            hasher.write_u64(float.to_bits());
        }
    }
}
