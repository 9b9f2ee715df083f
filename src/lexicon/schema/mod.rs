//! JSON Schemas of strangers, as checks that end.
//!
//! In: a schema out of a record, then values as JSON text. Out: whether a value meets it, and if not,
//! where first. Never: fetch anything, run longer than its budget, or keep a value.
//!
//! A schema is anybody's and so is the value; together they must cost no more than a short run. Four
//! things see to that: the schema's text is bounded (`shape.rs`), patterns run in time linear in the
//! text (the `regex` engine) and weigh by their size, each part of the value that the library looks at is paid
//! for out of a budget (`meter.rs`), and what recurses deep does so on a stack made for it.
//!
//! `format`, `contentEncoding` and `contentMediaType` annotate, in all drafts: 2020-12 has it so
//! (Validation, sections 7.2.1 and 8.2), and nobody's parser of dates becomes part of the service.

mod dialect;
mod error;
mod meter;
mod problem;
mod shape;
mod tree;
mod unique;

use std::fmt;
use std::thread;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use self::dialect::Dialect;
use self::meter::{Metered, Part, Prices};
use self::shape::Shape;
use self::tree::Tree;

pub use self::error::{CheckError, Mismatch, SchemaError};

/// Sizes of compiled patterns in bytes. The engine may take a step for each state at each byte of the
/// text, which comes to some nanoseconds for each byte of the pattern; so what fits a smaller size is
/// cheaper.
const PATTERN_SIZES: [usize; 5] = [512, 2 * 1024, 8 * 1024, 32 * 1024, 128 * 1024];
/// Bytes of a compiled pattern to the unit of cost.
const PATTERN_BYTES_A_UNIT: u64 = 96;
/// What a pattern may cache while it matches.
const PATTERN_CACHE_BYTES: usize = 64 * 1024;
/// The stack on which schemas compile, and deep values are checked.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// The most subschemas within each other for a check on the caller's stack.
const SHALLOW: usize = 64;
/// The most subschemas within each other for any check.
const DEEPEST: usize = 4096;

/// What a check may take.
#[derive(Clone, Copy)]
struct Effort {
    /// For the verdict. A unit is some nanoseconds.
    budget: u64,
    /// For the place of a mismatch, which is looked for once it is known that there is one.
    place_budget: u64,
    /// Subschemas within each other, over the depth of the value.
    levels: usize,
    /// Whether a mismatch without its place is no answer.
    must_place: bool,
    /// The stack for values that are deep.
    stack_bytes: usize,
}

/// Below a tenth of a second, whatever the schema and the value.
const FULL: Effort = Effort {
    budget: 8_000_000,
    place_budget: 1_000_000,
    levels: DEEPEST,
    must_place: false,
    stack_bytes: STACK_BYTES,
};
/// Below a millisecond, on any stack.
const BRIEF: Effort =
    Effort { budget: 50_000, place_budget: 50_000, levels: SHALLOW, must_place: true, ..FULL };
/// Bytes of JSON that are read for a unit.
const BYTES_READ_A_UNIT: u64 = 4;

/// A compiled JSON Schema. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    validator: Validator<Metered>,
    shape: Shape,
    /// The size that its largest pattern fits.
    pattern_size: usize,
    bytes: usize,
}

impl Schema {
    /// The longest schema, in bytes of JSON.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Compiles a schema. It takes up to some hundred milliseconds where somebody made it to.
    pub fn compile(schema: &Value) -> Result<Schema, SchemaError> {
        Schema::compile_on(STACK_BYTES, schema)
    }

    fn compile_on(stack_bytes: usize, schema: &Value) -> Result<Schema, SchemaError> {
        let bytes = json_bytes(schema);
        if bytes > Self::MAX_BYTES {
            return Err(SchemaError::TooLarge { bytes, max: Self::MAX_BYTES });
        }
        let dialect = Dialect::of(schema)?;
        let compiled = on_deep_stack(stack_bytes, || {
            let shape = Shape::of(schema, dialect)?;
            let (validator, pattern_size) = build(schema, dialect)?;
            Ok(Schema { validator, shape, pattern_size, bytes })
        });
        match compiled {
            Ok(compiled) => compiled,
            Err(NotDone::NoThread) => Err(SchemaError::NoThread),
            Err(NotDone::Panicked) => Err(SchemaError::Compiler),
        }
    }

    /// Whether a JSON text meets the schema. It takes up to a tenth of a second, where schema and text
    /// were made to; costs are the same on every machine, so what is too costly always is.
    pub fn check(&self, json: &[u8]) -> Result<(), CheckError> {
        self.measure(json, FULL).map(|_| ())
    }

    /// The same, where it is over within a millisecond; otherwise `None`.
    pub fn check_briefly(&self, json: &[u8]) -> Option<Result<(), CheckError>> {
        match self.measure(json, BRIEF) {
            Err(CheckError::TooCostly) => None,
            checked => Some(checked.map(|_| ())),
        }
    }

    /// About what it takes in memory, with the caches of its patterns.
    pub fn weight(&self) -> usize {
        self.bytes * 24 + self.shape.patterns * (self.pattern_size + 2 * PATTERN_CACHE_BYTES)
    }

    /// One check. Gives what it cost.
    fn measure(&self, json: &[u8], effort: Effort) -> Result<u64, CheckError> {
        let reading = json.len() as u64 / BYTES_READ_A_UNIT;
        let left = effort.budget.checked_sub(reading).ok_or(CheckError::TooCostly)?;
        let tree = tree::read(json)?;
        let levels = (tree.depth + 1) * self.shape.height;
        if levels > effort.levels {
            return Err(CheckError::TooCostly);
        }
        let check = || self.check_tree(&tree, levels, left, effort);
        let cost = match levels {
            0..=SHALLOW => check(),
            _ => match on_deep_stack(effort.stack_bytes, check) {
                Ok(cost) => cost,
                Err(NotDone::NoThread) => Err(CheckError::NoThread),
                Err(NotDone::Panicked) => Err(CheckError::TooCostly),
            },
        };
        cost.map(|cost| reading + cost)
    }

    fn check_tree(&self, tree: &Tree, levels: usize, budget: u64, effort: Effort) -> Result<u64, CheckError> {
        let (root, prices) = (Part::Value(&tree.value), self.prices(tree, levels));
        let checked = meter::within(budget, prices, || self.validator.is_valid(root));
        let (valid, cost) = checked.ok_or(CheckError::TooCostly)?;
        if valid {
            return Ok(cost);
        }
        let found = meter::within(effort.place_budget, prices, || match self.validator.validate(root) {
            Ok(()) => None,
            Err(error) => Some(problem::mismatch(&error)),
        });
        match found.and_then(|(found, _)| found) {
            Some(mismatch) => Err(CheckError::Mismatch(mismatch)),
            // The place costs more than the verdict. The verdict stands without it.
            None if effort.must_place => Err(CheckError::TooCostly),
            None => Err(CheckError::Mismatch(Mismatch {
                path: String::new(),
                problem: "does not meet the schema, at a place that takes too long to find".to_owned(),
            })),
        }
    }

    fn prices(&self, tree: &Tree, levels: usize) -> Prices {
        let pattern = self.pattern_size as u64 / PATTERN_BYTES_A_UNIT;
        let copied = if self.shape.negates { self.bytes } else { self.bytes / 16 };
        Prices {
            part: 2 + self.shape.work / 4,
            text: if self.shape.patterns > 0 { pattern } else { 0 },
            name: 2 * self.shape.name_patterns * pattern,
            number: if self.shape.divides { 32 } else { 1 },
            identity: 2 + levels as u64 / 16,
            error: (64 + tree.path_bytes / 4 + copied + 8 * levels) as u64,
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Compiles by the library, with the smallest size of patterns that is enough.
fn build(schema: &Value, dialect: Dialect) -> Result<(Validator<Metered>, usize), SchemaError> {
    let mut refused = SchemaError::Compiler;
    for size in PATTERN_SIZES {
        let patterns = PatternOptions::regex().size_limit(size).dfa_size_limit(PATTERN_CACHE_BYTES);
        let built = jsonschema::options_for::<Metered>()
            .offline()
            .with_draft(dialect.draft())
            .should_validate_formats(false)
            .without_content_media_type_support("application/json")
            .without_content_encoding_support("base64")
            .with_pattern_options(patterns)
            .build(schema);
        refused = match built {
            Ok(validator) => return Ok((validator, size)),
            Err(error) => match error.kind() {
                // How the library says that the engine does not take a pattern.
                ValidationErrorKind::Format { format } if format == "regex" => {
                    SchemaError::Pattern(clip(error.instance().as_str().unwrap_or_default()))
                }
                ValidationErrorKind::Referencing(_) => {
                    return Err(SchemaError::Reference(clip(&error.to_string())));
                }
                _ => {
                    return Err(SchemaError::Invalid {
                        path: clip(error.instance_path().as_str()),
                        keyword: error.kind().keyword().to_owned(),
                    });
                }
            },
        };
    }
    Err(refused)
}

/// Why work on a stack of its own has no result.
enum NotDone {
    /// The machine gave no thread.
    NoThread,
    Panicked,
}

/// Does `work` on a stack of its own, which takes only the memory that is used.
fn on_deep_stack<T: Send>(stack_bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, NotDone> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("schema".to_owned()).stack_size(stack_bytes);
        let working = thread.spawn_scoped(scope, work).map_err(|_| NotDone::NoThread)?;
        working.join().map_err(|_| NotDone::Panicked)
    })
}

/// The length of a value as JSON, without writing it anywhere.
fn json_bytes(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Values whose keys are strings always serialise, and the counter takes everything.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// As much of a stranger's text as a message may repeat.
fn clip(text: &str) -> String {
    const MAX_CHARS: usize = 64;
    let mut clipped: String = text.chars().take(MAX_CHARS).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests;
