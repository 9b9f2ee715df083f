//! Where JSON leaves the data model of AT Protocol: what clients that keep to the lexicon refuse of a
//! function's output.
//!
//! The lexicon of `at.functions.run` calls an output `unknown`, which is an object, and whatever is in
//! it must be data: no fractions, whole numbers that every implementation reads alike, and the names
//! `$link`, `$bytes` and `$type` only in the forms that are theirs. Sources:
//! <https://atproto.com/specs/data-model>, <https://atproto.com/specs/lexicon#unknown>.
//!
//! A service hands out any JSON, so all of this is told to authors as a warning and refused nowhere.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use crate::repo::{InvalidJson, json_to_ipld};

/// The whole numbers that are the same in every implementation: 2^53 - 1.
const MAX_SAFE: u64 = 9_007_199_254_740_991;
/// Places that are told one by one; the rest is counted.
const TOLD: usize = 5;
/// Characters of a place that are told.
const SHOWN_CHARS: usize = 200;

/// Looks for the places at which an output is not data of AT Protocol. Takes time in proportion to its
/// length, and memory in proportion to its depth. What is not JSON at all is looked at up to where it
/// breaks off.
pub fn misfits(json: &[u8]) -> Misfits {
    let mut walk = Walk::default();
    let mut parser = serde_json::Deserializer::from_slice(json);
    if let Ok(kind) = (Part { walk: &mut walk, wanted: Wanted::Anything }).deserialize(&mut parser)
        && let Some(kind) = kind.as_top()
    {
        // It comes first: without it, the others do not matter to a client.
        walk.found.total += 1;
        walk.found.first.insert(0, Misfit { pointer: String::new(), problem: Problem::Top(kind) });
        walk.found.first.truncate(TOLD);
    }
    walk.found
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfits {
    /// The first places, as far as they are told.
    pub first: Vec<Misfit>,
    /// How many there are.
    pub total: usize,
}

/// A place that is not data of AT Protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where: a JSON Pointer (RFC 6901), empty for the whole value; cut if it is very long.
    pub pointer: String,
    /// What is wrong there.
    pub problem: Problem,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        self.problem.fmt(f)
    }
}

/// Why a place is not data of AT Protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A number that is not whole.
    #[error("{0} is a fraction; write a text or a scaled whole number")]
    Fraction(String),
    /// `$link`, `$bytes`, `$type` or a blob that is not in its form.
    #[error(transparent)]
    Reserved(InvalidJson),
    /// The whole output is something else than an object.
    #[error("the output is {0}, not an object; put it into one")]
    Top(&'static str),
    /// A whole number that loses digits in some implementations.
    #[error("{0} is beyond ±(2^53 - 1) and loses digits in JavaScript; write a text")]
    Unsafe(String),
}

/// What a part of the value turned out to be, as far as the object around it must know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Blob,
    /// The text `blob`, where a type's name was wanted.
    BlobName,
    Bytes,
    Flag,
    Link,
    Null,
    Number {
        is_size: bool,
    },
    Object,
    /// `fits`: it is what was wanted.
    Text {
        fits: bool,
    },
}

impl Kind {
    /// Its name, where an object is expected and this is none.
    fn as_top(self) -> Option<&'static str> {
        Some(match self {
            Kind::Array => "an array",
            Kind::Blob => "a blob",
            Kind::Bytes => "bytes",
            Kind::Flag => "true or false",
            Kind::Link => "a link",
            Kind::Null => "null",
            Kind::Number { .. } => "a number",
            Kind::BlobName | Kind::Text { .. } => "a text",
            Kind::Object => return None,
        })
    }
}

/// What the name of a field says that its text should be.
#[derive(Clone, Copy)]
enum Wanted {
    Anything,
    Base64,
    Cid,
    TypeName,
}

enum Segment {
    Index(usize),
    Name(String),
}

/// The place that the walk has come to, and what it found on its way.
#[derive(Default)]
struct Walk {
    path: Vec<Segment>,
    found: Misfits,
}

impl Walk {
    fn report(&mut self, problem: Problem) {
        self.found.total += 1;
        if self.found.first.len() < TOLD {
            let pointer = self.pointer();
            self.found.first.push(Misfit { pointer, problem });
        }
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in &self.path {
            // Writing to a String cannot fail.
            let _ = match segment {
                Segment::Index(index) => write!(pointer, "/{index}"),
                Segment::Name(name) => write!(pointer, "/{}", name.replace('~', "~0").replace('/', "~1")),
            };
        }
        match pointer.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}...", &pointer[..end]),
            None => pointer,
        }
    }
}

/// A visit to one part of the value.
struct Part<'a> {
    walk: &'a mut Walk,
    wanted: Wanted,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Flag)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Kind, E> {
        if number.fract() != 0.0 {
            self.walk.report(Problem::Fraction(number.to_string()));
        } else if number.abs() > MAX_SAFE as f64 {
            self.walk.report(Problem::Unsafe(format!("{number:e}")));
        }
        Ok(Kind::Number { is_size: number.fract() == 0.0 && number >= 0.0 })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Kind, E> {
        if number.unsigned_abs() > MAX_SAFE {
            self.walk.report(Problem::Unsafe(number.to_string()));
        }
        Ok(Kind::Number { is_size: number >= 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            let wanted = match name.as_str() {
                "$link" => Wanted::Cid,
                "$bytes" => Wanted::Base64,
                "$type" => Wanted::TypeName,
                _ => Wanted::Anything,
            };
            self.walk.path.push(Segment::Name(name));
            let kind = map.next_value_seed(Part { walk: &mut *self.walk, wanted })?;
            if let Some(Segment::Name(name)) = self.walk.path.pop() {
                fields.note(&name, kind);
            }
        }
        Ok(fields.judge().unwrap_or_else(|problem| {
            self.walk.report(Problem::Reserved(problem));
            Kind::Object
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        for index in 0.. {
            self.walk.path.push(Segment::Index(index));
            let part = Part { walk: &mut *self.walk, wanted: Wanted::Anything };
            let next = seq.next_element_seed(part)?;
            self.walk.path.pop();
            if next.is_none() {
                break;
            }
        }
        Ok(Kind::Array)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        let reads_as = |name: &str| json_to_ipld(&json!({ name: text })).is_ok();
        Ok(match self.wanted {
            Wanted::TypeName if text == "blob" => Kind::BlobName,
            Wanted::TypeName => Kind::Text { fits: !text.is_empty() },
            Wanted::Base64 => Kind::Text { fits: reads_as("$bytes") },
            Wanted::Cid => Kind::Text { fits: reads_as("$link") },
            Wanted::Anything => Kind::Text { fits: true },
        })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Kind, E> {
        if number > MAX_SAFE {
            self.walk.report(Problem::Unsafe(number.to_string()));
        }
        Ok(Kind::Number { is_size: true })
    }

    fn visit_unit<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
}

/// What an object has of the fields that make it something else than an object. The last of two
/// fields of one name counts, as in JavaScript.
#[derive(Default)]
struct Fields {
    count: usize,
    link: Option<Kind>,
    bytes: Option<Kind>,
    type_name: Option<Kind>,
    reference: Option<Kind>,
    mime_type: Option<Kind>,
    size: Option<Kind>,
}

impl Fields {
    fn note(&mut self, name: &str, kind: Kind) {
        self.count += 1;
        let field = match name {
            "$link" => &mut self.link,
            "$bytes" => &mut self.bytes,
            "$type" => &mut self.type_name,
            "ref" => &mut self.reference,
            "mimeType" => &mut self.mime_type,
            "size" => &mut self.size,
            _ => return,
        };
        *field = Some(kind);
    }

    /// What the object is.
    fn judge(&self) -> Result<Kind, InvalidJson> {
        let alone = |field| field == Kind::Text { fits: true } && self.count == 1;
        match (self.link, self.bytes, self.type_name) {
            (Some(link), ..) => alone(link).then_some(Kind::Link).ok_or(InvalidJson::Link),
            (_, Some(bytes), _) => alone(bytes).then_some(Kind::Bytes).ok_or(InvalidJson::Bytes),
            (_, _, Some(Kind::BlobName)) => self.is_blob().then_some(Kind::Blob).ok_or(InvalidJson::Blob),
            (_, _, None | Some(Kind::Text { fits: true })) => Ok(Kind::Object),
            (_, _, Some(_)) => Err(InvalidJson::Type),
        }
    }

    fn is_blob(&self) -> bool {
        self.reference == Some(Kind::Link)
            && matches!(self.mime_type, Some(Kind::Text { .. }))
            && self.size == Some(Kind::Number { is_size: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::blob_cid;

    fn told(json: &str) -> Vec<String> {
        misfits(json.as_bytes()).first.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn data_is_not_warned_of() {
        let cid = blob_cid(b"x").to_string();
        let cases = [
            "{}".to_owned(),
            r#"{"a":[null,true,-1,0,9007199254740991,-9007199254740991],"b":{"c":"1.5"}}"#.to_owned(),
            // Whole, and the same number without its point, in any implementation.
            r#"{"a":1.0,"b":-0.0,"c":1e3}"#.to_owned(),
            format!(r#"{{"link":{{"$link":"{cid}"}},"bytes":{{"$bytes":"AAE="}},"none":{{"$bytes":""}}}}"#),
            format!(r#"{{"b":{{"$type":"blob","ref":{{"$link":"{cid}"}},"mimeType":"a/b","size":0}}}}"#),
            r##"{"$type":"com.example.thing","$ref":"#","":{"~":"/"}}"##.to_owned(),
        ];
        for json in cases {
            assert_eq!(misfits(json.as_bytes()), Misfits::default(), "{json}");
        }
    }

    #[test]
    fn an_output_that_is_no_object_is_named_by_what_it_is() {
        let cid = blob_cid(b"x").to_string();
        let link = format!(r#"{{"$link":"{cid}"}}"#);
        let blob = format!(r#"{{"$type":"blob","ref":{link},"mimeType":"a/b","size":1}}"#);
        let cases = [
            ("[1]", "an array"),
            ("\"x\"", "a text"),
            ("\"blob\"", "a text"),
            ("1", "a number"),
            ("null", "null"),
            ("false", "true or false"),
            (r#"{"$bytes":"AAE"}"#, "bytes"),
            (link.as_str(), "a link"),
            (blob.as_str(), "a blob"),
        ];
        for (json, what) in cases {
            assert_eq!(told(json), [format!("the output is {what}, not an object; put it into one")]);
        }
    }

    #[test]
    fn each_place_that_is_not_data_is_told_with_its_pointer() {
        let cases = [
            (r#"{"a":1.5}"#, "/a: 1.5 is a fraction; write a text or a scaled whole number"),
            (
                r#"{"a":{"b":[0,-0.25]}}"#,
                "/a/b/1: -0.25 is a fraction; write a text or a scaled whole number",
            ),
            (r#"{"a/b~c":0.5}"#, "/a~1b~0c: 0.5 is a fraction; write a text or a scaled whole number"),
            (r#"{"":0.5}"#, "/: 0.5 is a fraction; write a text or a scaled whole number"),
            (
                r#"{"a":9007199254740992}"#,
                "/a: 9007199254740992 is beyond ±(2^53 - 1) and loses digits in JavaScript; write a text",
            ),
            (
                r#"{"a":-9007199254740992}"#,
                "/a: -9007199254740992 is beyond ±(2^53 - 1) and loses digits in JavaScript; write a text",
            ),
            (
                r#"{"a":123456789012345678901234567890}"#,
                "/a: 1.2345678901234568e29 is beyond ±(2^53 - 1) and loses digits in JavaScript; write a text",
            ),
            (
                r#"{"a":1e300}"#,
                "/a: 1e300 is beyond ±(2^53 - 1) and loses digits in JavaScript; write a text",
            ),
            (
                r#"{"a":{"$link":"nonsense"}}"#,
                "/a: `$link` is the text of a CIDv1 (b...) and the only field of its object",
            ),
            (r#"{"$link":1}"#, "`$link` is the text of a CIDv1 (b...) and the only field of its object"),
            (
                r#"{"a":[{"$bytes":"AAE","x":1}]}"#,
                "/a/0: `$bytes` is base64 text and the only field of its object",
            ),
            (r#"{"a":{"$bytes":"_-8"}}"#, "/a: `$bytes` is base64 text and the only field of its object"),
            (
                r#"{"a":{"$type":"blob","size":1}}"#,
                "/a: a blob has a `ref` link, a `mimeType` text and a `size` of zero or more",
            ),
            (r#"{"a":{"$type":""}}"#, "/a: `$type` is a text that is not empty"),
            (r#"{"$type":null}"#, "`$type` is a text that is not empty"),
        ];
        for (json, line) in cases {
            assert_eq!(told(json), [line], "{json}");
        }
    }

    #[test]
    fn reserved_forms_are_judged_as_records_are() {
        let cid = blob_cid(b"x").to_string();
        let forms = [
            json!({"$link": cid}),
            json!({"$link": cid, "$bytes": ""}),
            json!({"$link": cid.to_uppercase()}),
            json!({"$bytes": "AA="}),
            json!({"$bytes": "AAE=", "$type": "x"}),
            json!({"$type": "blob", "ref": {"$link": cid}, "mimeType": "a/b", "size": -1}),
            json!({"$type": "blob", "ref": cid, "mimeType": "a/b", "size": 1}),
            json!({"$type": "blob", "ref": {"$link": cid}, "mimeType": 1, "size": 1}),
            json!({"$type": {}}),
            json!({"$type": "x", "ref": 1}),
        ];
        for form in forms {
            let found = misfits(json!({"a": form}).to_string().as_bytes());
            let problem = found.first.into_iter().next().map(|misfit| misfit.problem);
            assert_eq!(problem, json_to_ipld(&form).err().map(Problem::Reserved), "{form}");
        }
    }

    #[test]
    fn the_first_are_told_and_the_rest_counted() {
        let found = misfits(format!("[{}1]", "0.5,".repeat(1000)).as_bytes());
        assert_eq!(found.total, 1001);
        let pointers: Vec<_> = found.first.iter().map(|misfit| misfit.pointer.as_str()).collect();
        assert_eq!(pointers, ["", "/0", "/1", "/2", "/3"]);
    }

    #[test]
    fn hostile_output_neither_floods_nor_ends_the_program() {
        let name = "é".repeat(100_000);
        let found = misfits(format!(r#"{{"{name}":0.5}}"#).as_bytes());
        assert_eq!(found.first[0].pointer.chars().count(), SHOWN_CHARS + 3);
        for broken in ["", "{", r#"{"a":0.5"#, "nonsense", &"[".repeat(100_000)] {
            assert!(misfits(broken.as_bytes()).total <= 1, "{broken:.20}");
        }
        assert_eq!(misfits(br#"{"a":0.5"#).total, 1);
    }
}
