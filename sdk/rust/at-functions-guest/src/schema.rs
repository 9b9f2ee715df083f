//! JSON Schemas made of types, for `input-schema` and `output-schema` of a project. Needs the feature `schema`; used by tests, so
//! that nothing of it is in the module:
//!
//! ```toml
//! [dev-dependencies]
//! at-functions-guest = { path = "at-functions-guest", features = ["schema"] }
//! schemars = "1"
//! ```

use std::path::Path;
use std::{fs, io};

use schemars::JsonSchema;

/// The schema of a type, as a record holds it.
///
/// ```
/// #[derive(schemars::JsonSchema)]
/// struct Input {
///     #[allow(dead_code)]
///     text: String,
/// }
/// let schema = at_functions::schema::of::<Input>();
/// assert!(schema.contains(r#""required": ["#), "{schema}");
/// ```
pub fn of<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T).to_value();
    // What is made of strings, numbers and lists always has a JSON form.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Keeps the file at `path` the schema of a type. Where it was another, it is written anew, and that is told as an error: a
/// test that calls this fails once after a type changed, and leaves the new schema behind.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("at-functions-schema-{}.json", std::process::id()));
/// assert!(at_functions::schema::keep::<String>(&path).is_err());
/// assert!(at_functions::schema::keep::<String>(&path).is_ok());
/// # std::fs::remove_file(path).unwrap();
/// ```
pub fn keep<T: JsonSchema>(path: impl AsRef<Path>) -> io::Result<()> {
    let (path, schema) = (path.as_ref(), of::<T>());
    if fs::read_to_string(path).is_ok_and(|there| there == schema) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, schema)?;
    Err(io::Error::other(format!(
        "{} was not the schema of its type, and is now: run the tests again",
        path.display()
    )))
}
