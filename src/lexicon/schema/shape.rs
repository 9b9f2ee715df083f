//! What a schema can cost, read off its text before anything compiles it.
//!
//! The library shares what references share, and the meter (`meter.rs`) prices what it does with a
//! value. What is left is work that touches no value: applicators that all look at the *same* value,
//! multiplied by references (`allOf: [{$ref: a}, {$ref: a}]`, and `a` again so with `b`). That work is
//! counted here, exactly for trees and from above for the rest, and bounded.
//!
//! So that references can be followed with certainty, a schema is one resource: `$id` stands at its
//! root only, an anchor in one place only, and a reference leads to a subschema of this text. It also
//! keeps the compiler from multiplying a dynamic reference by each order of resources in its scope.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::clip;
use super::dialect::Dialect;
use super::error::SchemaError;

/// The most steps that a schema may take for one value, its children not counted: some hundred
/// microseconds, and what a check may still do after its budget is spent.
pub(super) const MAX_WORK: u64 = 16_384;
/// The most subschemas that are applied to one value within each other, and the deepest nesting of
/// the text. Checks recurse by it.
pub(super) const MAX_HEIGHT: usize = 96;
/// The most patterns: each compiles in up to some milliseconds and keeps a cache when used.
pub(super) const MAX_PATTERNS: usize = 64;
/// The most bytes of patterns: a class like `\p{L}`, five bytes, takes a tenth of a millisecond.
pub(super) const MAX_PATTERN_BYTES: usize = 4096;

/// The most bytes that the paths of all subschemas have together: the library keeps each of them.
pub(super) const MAX_PATH_BYTES: usize = 2 * 1024 * 1024;

/// Keywords whose value is a subschema for the same value.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is a list of such.
const SAME_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value maps names to such, or to lists of names.
const SAME_MAP: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords whose value maps names to other subschemas.
const OTHER_MAP: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Keywords whose value is data.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Keywords for which the library goes through all subschemas of the same value twice more.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The cost of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Steps that one value can take, its children not counted.
    pub(super) work: u64,
    /// Subschemas that are applied to one value within each other.
    pub(super) height: usize,
    /// How many patterns there are, and how many bytes of them.
    pub(super) patterns: usize,
    pub(super) pattern_bytes: usize,
    /// How many of them are for names of members: each name is held against all.
    pub(super) name_patterns: u64,
    /// Whether `multipleOf` divides.
    pub(super) divides: bool,
    /// Whether `not` negates: the library copies what is negated into its errors.
    pub(super) negates: bool,
}

impl Shape {
    /// Reads a schema's shape, or refuses what has none within bounds.
    pub(super) fn of(schema: &Value, dialect: Dialect) -> Result<Shape, SchemaError> {
        let mut index = Index::new(dialect);
        index.schema(schema, &mut String::new(), 0)?;
        index.weigh()
    }
}

/// All subschemas of a text by their place, which is the JSON Pointer.
struct Index<'a> {
    dialect: Dialect,
    id: Option<&'a str>,
    nodes: Vec<Node<'a>>,
    path_bytes: usize,
    by_pointer: HashMap<String, usize>,
    by_anchor: HashMap<&'a str, usize>,
    shape: Shape,
}

struct Node<'a> {
    pointer: String,
    /// Subschemas for the same value, in the text.
    same: Vec<usize>,
    /// References, of any kind.
    references: Vec<&'a str>,
    keywords: u64,
    unevaluated: u64,
    weighed: Weighed,
}

#[derive(Clone, Copy)]
enum Weighed {
    Not,
    Begun,
    Done { work: u64, height: usize },
}

impl<'a> Index<'a> {
    fn new(dialect: Dialect) -> Index<'a> {
        Index {
            dialect,
            id: None,
            nodes: Vec::new(),
            path_bytes: 0,
            by_pointer: HashMap::new(),
            by_anchor: HashMap::new(),
            shape: Shape {
                work: 0,
                height: 0,
                patterns: 0,
                pattern_bytes: 0,
                name_patterns: 0,
                divides: false,
                negates: false,
            },
        }
    }

    /// Takes in a subschema and all below it. Gives its number.
    fn schema(&mut self, value: &'a Value, at: &mut String, depth: usize) -> Result<usize, SchemaError> {
        if depth > MAX_HEIGHT {
            return Err(SchemaError::TooDeep { max: MAX_HEIGHT });
        }
        let number = self.nodes.len();
        self.path_bytes += at.len();
        if self.path_bytes > MAX_PATH_BYTES {
            return Err(SchemaError::TooManyPaths { max: MAX_PATH_BYTES });
        }
        let keywords = value.as_object().map_or(0, Map::len) as u64;
        self.nodes.push(Node {
            pointer: clip(at),
            same: Vec::new(),
            references: Vec::new(),
            keywords,
            unevaluated: 0,
            weighed: Weighed::Not,
        });
        self.by_pointer.insert(at.clone(), number);
        let Value::Object(object) = value else { return Ok(number) };
        self.names(object, at, number)?;
        for (keyword, value) in object {
            let keyword = keyword.as_str();
            if DATA.contains(&keyword) {
                continue;
            }
            let length = at.len();
            push(at, keyword);
            self.keyword(keyword, value, at, depth, number)?;
            at.truncate(length);
        }
        Ok(number)
    }

    /// What a subschema calls itself.
    fn names(&mut self, object: &'a Map<String, Value>, at: &str, number: usize) -> Result<(), SchemaError> {
        let text = |keyword: &str| object.get(keyword).and_then(Value::as_str);
        if number != 0
            && let Some(uri) = text("$schema")
            && Dialect::of_uri(uri) != Some(self.dialect)
        {
            return Err(SchemaError::MixedDialects(clip(at)));
        }
        let mut anchors = vec![text("$anchor"), text("$dynamicAnchor")];
        if let Some(id) = text(self.dialect.id_keyword()) {
            match id.strip_prefix('#') {
                // Up to draft 7, an `$id` that is a fragment is an anchor.
                Some(anchor) => anchors.push(Some(anchor)),
                None if Dialect::owns(id) => return Err(SchemaError::Reserved(clip(id))),
                None if number == 0 => self.id = Some(id.strip_suffix('#').unwrap_or(id)),
                None => return Err(SchemaError::Nested(clip(at))),
            }
        }
        for anchor in anchors.into_iter().flatten() {
            if self.by_anchor.insert(anchor, number).is_some_and(|other| other != number) {
                return Err(SchemaError::Anchor(clip(anchor)));
            }
        }
        Ok(())
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &'a Value,
        at: &mut String,
        depth: usize,
        number: usize,
    ) -> Result<(), SchemaError> {
        self.shape.negates |= keyword == "not";
        if SAME.contains(&keyword) && (value.is_object() || value.is_boolean()) {
            let child = self.schema(value, at, depth + 1)?;
            self.nodes[number].same.push(child);
            return Ok(());
        }
        match keyword {
            "multipleOf" if value.is_f64() => return Err(SchemaError::Fraction(clip(at))),
            "multipleOf" => self.shape.divides = true,
            keyword if UNEVALUATED.contains(&keyword) => self.nodes[number].unevaluated += 1,
            _ => {}
        }
        match value {
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let length = at.len();
                    push(at, &place.to_string());
                    let child = self.anything(item, at, depth)?;
                    at.truncate(length);
                    if SAME_LIST.contains(&keyword) {
                        self.nodes[number].same.extend(child);
                    }
                }
            }
            Value::Object(members) if SAME_MAP.contains(&keyword) || OTHER_MAP.contains(&keyword) => {
                for (name, member) in members {
                    if keyword == "patternProperties" {
                        self.pattern(name)?;
                        self.shape.name_patterns += 1;
                    }
                    let length = at.len();
                    push(at, name);
                    let child = self.anything(member, at, depth)?;
                    at.truncate(length);
                    if SAME_MAP.contains(&keyword) {
                        self.nodes[number].same.extend(child);
                    }
                }
            }
            Value::String(reference) if REFERENCES.contains(&keyword) => {
                self.nodes[number].references.push(reference);
            }
            Value::String(pattern) if keyword == "pattern" => {
                self.pattern(pattern)?;
            }
            // Unknown keywords too: references may lead below them.
            value => {
                self.anything(value, at, depth)?;
            }
        }
        Ok(())
    }

    /// A subschema, a list of such, or nothing of the kind.
    fn anything(
        &mut self,
        value: &'a Value,
        at: &mut String,
        depth: usize,
    ) -> Result<Option<usize>, SchemaError> {
        match value {
            Value::Object(_) | Value::Bool(_) => self.schema(value, at, depth + 1).map(Some),
            Value::Array(items) => {
                if depth > MAX_HEIGHT {
                    return Err(SchemaError::TooDeep { max: MAX_HEIGHT });
                }
                for (place, item) in items.iter().enumerate() {
                    let length = at.len();
                    push(at, &place.to_string());
                    self.anything(item, at, depth + 1)?;
                    at.truncate(length);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), SchemaError> {
        self.shape.patterns += 1;
        self.shape.pattern_bytes += pattern.len();
        if self.shape.patterns > MAX_PATTERNS || self.shape.pattern_bytes > MAX_PATTERN_BYTES {
            return Err(SchemaError::TooManyPatterns { max: MAX_PATTERNS, max_bytes: MAX_PATTERN_BYTES });
        }
        Ok(())
    }

    /// The cost of the most costly subschema, which need not be the whole: any may be for children.
    fn weigh(mut self) -> Result<Shape, SchemaError> {
        for number in 0..self.nodes.len() {
            let (work, height) = self.weigh_node(number, 0)?;
            self.shape.work = self.shape.work.max(work);
            self.shape.height = self.shape.height.max(height);
        }
        Ok(self.shape)
    }

    fn weigh_node(&mut self, number: usize, depth: usize) -> Result<(u64, usize), SchemaError> {
        match self.nodes[number].weighed {
            Weighed::Done { work, height } => return Ok((work, height)),
            Weighed::Begun => return Err(SchemaError::Circular(clip(&self.nodes[number].pointer))),
            Weighed::Not if depth > MAX_HEIGHT => return Err(SchemaError::TooDeep { max: MAX_HEIGHT }),
            Weighed::Not => self.nodes[number].weighed = Weighed::Begun,
        }
        let node = &self.nodes[number];
        let passes = 1 + 2 * node.unevaluated;
        let mut targets = node.same.clone();
        for reference in &node.references {
            targets.push(self.target(reference)?);
        }
        let (mut work, mut height) = (1 + node.keywords, 0);
        for target in targets {
            let (its_work, its_height) = self.weigh_node(target, depth + 1)?;
            work = work.saturating_add(its_work.saturating_mul(passes));
            height = height.max(its_height);
        }
        height += 1;
        if work > MAX_WORK {
            return Err(SchemaError::TooCostly { max: MAX_WORK });
        }
        if height > MAX_HEIGHT {
            return Err(SchemaError::TooDeep { max: MAX_HEIGHT });
        }
        self.nodes[number].weighed = Weighed::Done { work, height };
        Ok((work, height))
    }

    /// The subschema that a reference leads to. With one resource and no anchor twice, the dynamic
    /// kinds lead where the plain one does.
    fn target(&self, reference: &str) -> Result<usize, SchemaError> {
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let refused = || SchemaError::Reference(clip(reference));
        if !uri.is_empty() && self.id != Some(uri) {
            return Err(refused());
        }
        let fragment = percent_decoded(fragment).ok_or_else(refused)?;
        let found = match fragment.as_str() {
            "" => Some(0),
            pointer if pointer.starts_with('/') => self.by_pointer.get(pointer).copied(),
            anchor => self.by_anchor.get(anchor).copied(),
        };
        found.ok_or_else(refused)
    }
}

/// Adds a token to a JSON Pointer (RFC 6901, section 3).
fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    for character in token.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// A fragment without its percent signs (RFC 3986, section 2.1).
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
