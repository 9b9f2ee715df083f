//! The fields of a record, read by the kinds of the lexicon language.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipld_core::ipld::Ipld;
use serde_json::Value;

use super::invalid::{InvalidMetadata, Problem};
use crate::repo::ipld_to_json;

/// The fields of a record.
pub(super) struct Fields<'a>(&'a BTreeMap<String, Ipld>);

/// What it means when a constant field is absent.
#[derive(PartialEq)]
pub(super) enum Absent {
    /// The constant: records of the first implementation left it out.
    Taken,
    Refused,
}

impl<'a> Fields<'a> {
    pub(super) fn of(record: &'a Ipld) -> Result<Fields<'a>, InvalidMetadata> {
        match record {
            Ipld::Map(map) => Ok(Fields(map)),
            _ => Err(InvalidMetadata::new("record", Problem::Kind("an object"))),
        }
    }

    /// A field's value. `null` is refused, as no field of the lexicon is nullable.
    pub(super) fn value(&self, field: &'static str) -> Result<Option<&'a Ipld>, InvalidMetadata> {
        match self.0.get(field) {
            Some(Ipld::Null) => Err(InvalidMetadata::new(field, Problem::Null)),
            value => Ok(value),
        }
    }

    pub(super) fn required_text(&self, field: &'static str, max: usize) -> Result<String, InvalidMetadata> {
        self.text(field, max)?.ok_or(InvalidMetadata::new(field, Problem::Missing))
    }

    /// A text of up to `max` bytes.
    pub(super) fn text(&self, field: &'static str, max: usize) -> Result<Option<String>, InvalidMetadata> {
        match self.value(field)? {
            None => Ok(None),
            Some(Ipld::String(text)) if text.len() <= max => Ok(Some(text.clone())),
            Some(Ipld::String(text)) => {
                Err(InvalidMetadata::new(field, Problem::TooLong { bytes: text.len(), max }))
            }
            Some(_) => Err(InvalidMetadata::new(field, Problem::Kind("a text"))),
        }
    }

    /// A field that has one value only.
    pub(super) fn constant(
        &self,
        field: &'static str,
        expected: &'static str,
        absent: Absent,
    ) -> Result<(), InvalidMetadata> {
        match self.value(field)? {
            None if absent == Absent::Taken => Ok(()),
            None => Err(InvalidMetadata::new(field, Problem::Missing)),
            Some(Ipld::String(text)) if text == expected => Ok(()),
            Some(_) => Err(InvalidMetadata::new(field, Problem::NotConstant(expected))),
        }
    }

    pub(super) fn integer(
        &self,
        field: &'static str,
        range: RangeInclusive<u16>,
    ) -> Result<Option<u16>, InvalidMetadata> {
        match self.value(field)? {
            None => Ok(None),
            Some(Ipld::Integer(found)) => {
                let fitting = u16::try_from(*found).ok().filter(|found| range.contains(found));
                let problem = Problem::OutOfRange { min: *range.start(), max: *range.end(), found: *found };
                fitting.map(Some).ok_or(InvalidMetadata::new(field, problem))
            }
            Some(Ipld::Float(_)) => Err(InvalidMetadata::new(field, Problem::Float)),
            Some(_) => Err(InvalidMetadata::new(field, Problem::Kind("an integer"))),
        }
    }

    pub(super) fn boolean(&self, field: &'static str) -> Result<Option<bool>, InvalidMetadata> {
        match self.value(field)? {
            None => Ok(None),
            Some(Ipld::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(InvalidMetadata::new(field, Problem::Kind("true or false"))),
        }
    }

    pub(super) fn texts(&self, field: &'static str) -> Result<Option<Vec<String>>, InvalidMetadata> {
        let not_texts = || InvalidMetadata::new(field, Problem::Kind("an array of texts"));
        let text = |item: &Ipld| match item {
            Ipld::String(text) => Ok(text.clone()),
            _ => Err(not_texts()),
        };
        match self.value(field)? {
            None => Ok(None),
            Some(Ipld::List(items)) => items.iter().map(text).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(not_texts()),
        }
    }

    /// A field of type `unknown`, which the lexicon language keeps to objects.
    pub(super) fn object(&self, field: &'static str) -> Result<Option<Value>, InvalidMetadata> {
        match self.value(field)? {
            None => Ok(None),
            Some(value @ Ipld::Map(_)) if has_float(value) => {
                Err(InvalidMetadata::new(field, Problem::Float))
            }
            Some(value @ Ipld::Map(_)) => Ok(Some(ipld_to_json(value))),
            Some(_) => Err(InvalidMetadata::new(field, Problem::Kind("an object"))),
        }
    }
}

fn has_float(value: &Ipld) -> bool {
    match value {
        Ipld::Float(_) => true,
        Ipld::List(items) => items.iter().any(has_float),
        Ipld::Map(map) => map.values().any(has_float),
        _ => false,
    }
}
