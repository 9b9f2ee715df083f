//! Values that cost: what the library reads of a value while it checks it, it pays for.
//!
//! The library is generic over how a value is represented. Ours hands out each part of the tree
//! against a budget; when that is spent, containers look empty, strings too, and the check comes to
//! its end by itself (its verdict is thrown away). So the time of a check has a bound that holds for
//! any schema and value, without knowing how the library goes about it.
//!
//! The budget is the thread's: names of members are handed to the library by a function that has
//! nothing of ours to carry it in. A check begins and ends on one thread and never waits.

use std::borrow::Cow;
use std::cell::Cell;
use std::slice;

use jsonschema::JsonType;
use jsonschema::json::{self, Array, Json, Node, NodeIdentity, Object};
use serde_json::{Map, Number, Value, map};

use super::unique;

/// What things cost under one schema, for one value. A unit is some nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prices {
    /// A part of a value handed out: all that the schema may do with it unseen.
    pub(super) part: u64,
    /// A byte of text that a pattern may go over.
    pub(super) text: u64,
    /// A byte of a name that all patterns for names go over.
    pub(super) name: u64,
    /// A number that may be divided.
    pub(super) number: u64,
    /// Asking which value it is, to find circles: the library looks through all that it is in.
    pub(super) identity: u64,
    /// An error, which holds paths and copies of what the schema says.
    pub(super) error: u64,
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static PRICES: Cell<Prices> =
        const { Cell::new(Prices { part: 0, text: 0, name: 0, number: 0, identity: 0, error: 0 }) };
}

/// Does `check` with a budget. Gives what it gave and what it cost, or `None` where the budget was spent.
pub(super) fn within<T>(budget: u64, prices: Prices, check: impl FnOnce() -> T) -> Option<(T, u64)> {
    // One unit more than the budget, so that nothing left means that more was asked for.
    LEFT.set(budget.saturating_add(1));
    PRICES.set(prices);
    let result = check();
    let left = LEFT.replace(0);
    (left > 0).then(|| (result, budget + 1 - left))
}

/// Pays. Says whether there was enough; once there was not, nothing is left.
pub(super) fn pay(price: u64) -> bool {
    let left = LEFT.get();
    LEFT.set(left.saturating_sub(price));
    left > price
}

/// The representation.
pub(super) struct Metered;

/// A value, or the name of a member.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Value(&'a Value),
    Name(&'a str),
}

impl Json for Metered {
    type Node<'a> = Part<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    // Lookups go through a tree of names, as in the library's own representation of such trees.
    const KEYS_PER_LOOKUP: usize = 2;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(_: &mut (), string: &str, f: impl FnOnce(Part<'_>) -> T) -> T {
        f(Part::Name(string))
    }
}

impl<'a> Node<'a, Metered> for Part<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        pay(1);
        match self {
            Part::Value(Value::Object(members)) => Some(Members(members)),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Items<'a>> {
        match self {
            Part::Value(Value::Array(items)) => {
                // It may keep a bit for each item.
                pay(1 + items.len() as u64 / 64);
                Some(Items(items))
            }
            _ => {
                pay(1);
                None
            }
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.text()?;
        Some(Cow::Borrowed(if pay(length(text) + text.len() as u64 * PRICES.get().text) { text } else { "" }))
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self {
            Part::Value(Value::Number(number)) => {
                pay(PRICES.get().number);
                Some(number)
            }
            _ => {
                pay(1);
                None
            }
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        pay(1);
        match self {
            Part::Value(Value::Bool(boolean)) => Some(*boolean),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        pay(1);
        matches!(self, Part::Value(Value::Null))
    }

    fn json_type(&self) -> JsonType {
        pay(1);
        match self {
            Part::Name(_) => JsonType::String,
            Part::Value(value) => JsonType::from(*value),
        }
    }

    fn string_length(&self) -> Option<u64> {
        let text = self.text()?;
        Some(if pay(1 + length(text)) { text.chars().count() as u64 } else { 0 })
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self, expected) {
            (Part::Value(value), expected) => unique::equal(value, expected),
            (Part::Name(name), Value::String(expected)) => pay(1 + length(name)) && name == expected,
            (Part::Name(_), _) => {
                pay(1);
                false
            }
        }
    }

    /// Errors hold no part of the value: they would copy it at each level that they are found on.
    fn to_value(&self) -> Cow<'a, Value> {
        pay(PRICES.get().error);
        Cow::Owned(Value::Null)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        pay(PRICES.get().identity);
        Some(match self {
            Part::Value(value) => NodeIdentity::new(std::ptr::from_ref::<Value>(value).addr()),
            Part::Name(name) => NodeIdentity::tagged(name.as_ptr().addr(), 1),
        })
    }
}

impl<'a> Part<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Part::Value(Value::String(text)) => Some(text),
            Part::Name(name) => Some(name),
            Part::Value(_) => {
                pay(1);
                None
            }
        }
    }
}

/// The members of an object.
#[derive(Clone, Copy)]
pub(super) struct Members<'a>(&'a Map<String, Value>);

impl<'a> Object<'a, Metered> for Members<'a> {
    type Node = Part<'a>;
    type MemberName = &'a str;
    type MembersIter = Each<map::Iter<'a>>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Part<'a>> {
        // A lookup compares with some names, which agree up to the length of the one.
        let found = pay(PRICES.get().part + 4 + length(key)).then(|| self.0.get(key.as_str())).flatten();
        found.map(Part::Value)
    }

    fn members(&self) -> Each<map::Iter<'a>> {
        Each(self.0.iter())
    }
}

/// The items of an array.
#[derive(Clone, Copy)]
pub(super) struct Items<'a>(&'a [Value]);

impl<'a> Array<'a, Metered> for Items<'a> {
    type Node = Part<'a>;
    type ElementsIter = Each<slice::Iter<'a, Value>>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Each<slice::Iter<'a, Value>> {
        Each(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        unique::all_differ(self.0)
    }
}

/// Parts, one after the other, each paid for.
pub(super) struct Each<I>(I);

impl<'a> Iterator for Each<slice::Iter<'a, Value>> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let value = self.0.next()?;
        pay(PRICES.get().part).then_some(Part::Value(value))
    }
}

impl<'a> Iterator for Each<map::Iter<'a>> {
    type Item = (&'a str, Part<'a>);

    fn next(&mut self) -> Option<(&'a str, Part<'a>)> {
        let (name, value) = self.0.next()?;
        let prices = PRICES.get();
        pay(prices.part + length(name) + name.len() as u64 * prices.name)
            .then_some((name.as_str(), Part::Value(value)))
    }
}

/// The length of a text in the unit in which it is paid for.
fn length(text: &str) -> u64 {
    1 + text.len() as u64 / 16
}

/// Equality of two numbers by their value, however they are written.
pub(super) fn same_number(one: &Number, other: &Number) -> bool {
    if let (Some(one), Some(other)) = (one.as_i64(), other.as_i64()) {
        return one == other;
    }
    json::cmp::equal(&Value::Number(one.clone()), &Value::Number(other.clone()))
}
